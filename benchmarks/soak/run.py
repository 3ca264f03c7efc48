"""A soak: mixed load for N minutes while runners and whole workers are killed at random; flat lines are the pass.

    make soak [ARGS="--minutes 30 --store redis"]

Two workers share a store. One is killed again and again: its runners, and in every eighth kill all of it. The other is never touched:
its memory, descriptors and threads are what must stay flat, beside the store's size and the latency. Every job must end with its right
result. Writes benchmarks/results/soak-STORE.json, .png and a table. Exits 1 when a job is lost or wrong, or a line is not flat.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
sys.path.insert(0, str(HERE.parent))

from peers.environments import Environment, Interpreter, Unavailable  # noqa: E402 # it lies beside this folder
from peers.run import PLOTTING  # noqa: E402 # as above
from peers.servers import Server  # noqa: E402 # as above

EVERY = 2.0
"""Seconds between two samples."""
KILL_EVERY = 10.0
TREE_EVERY = 8
"""So many kills of a runner, then one of its whole worker."""
BATCH = 20
PATIENCE = 120.0
GROWTH = {"memory": 5.0, "descriptors": 5.0, "threads": 5.0, "store": 10.0}
"""Percent that a line may be higher in the last third than in the second: the first third is for warming up."""


def family(pid: int) -> Iterator[int]:
    """A process and all below it."""
    waiting = [pid]
    while waiting:
        yield (one := waiting.pop())
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                waiting += map(int, task.read_text().split())
            except OSError:
                continue  # it has just ended


def usage(pids: list[int]) -> dict[str, float]:
    """MiB resident, open descriptors and threads of these processes together."""
    pages = descriptors = threads = 0
    for pid in pids:
        pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        descriptors += len(os.listdir(f"/proc/{pid}/fd"))
        threads += len(os.listdir(f"/proc/{pid}/task"))
    return {"memory": pages * os.sysconf("SC_PAGE_SIZE") / 2**20, "descriptors": descriptors, "threads": threads}


class Worker:
    """`windlass worker` as a process tree."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "windlass.cli.main", "worker", "program:app", "--log-level=error"]
        self.process = subprocess.Popen(command, cwd=HERE)

    def runners(self) -> list[int]:
        """The processes right below the supervisor."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def kill(self, runner_only: bool) -> None:
        pids = self.runners() if runner_only else [self.process.pid]
        for pid in pids[:1]:
            os.kill(pid, signal.SIGKILL)
        if not runner_only:
            self.process.wait()

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)


class Soak:
    """The load, the harm and the samples of one run. store_size: answers MiB."""

    def __init__(self, rate: float, seconds: float, store_size: Callable[[], float]) -> None:
        from program import MIX, PAYLOAD, app, probe

        self.app, self._mix, self._payload, self._probe = app, MIX, PAYLOAD, probe
        self._rate, self._end, self._began = rate, time.monotonic() + seconds, time.monotonic()
        self._store_size = store_size
        self.samples: list[dict[str, float]] = []
        self.open: dict[str, int] = {}
        self.done = self.wrong = self.killed = self.trees = 0
        self._latencies: list[float] = []
        self.steady, self.harmed = Worker(), Worker()

    @property
    def going(self) -> bool:
        return time.monotonic() < self._end

    async def run(self) -> None:
        """All at once until the time is over; then until every job has ended."""
        async with asyncio.TaskGroup() as group:
            for part in (self._load(), self._harm(), self._ask(), self._sample(), self._count()):
                group.create_task(part)
        self.steady.end()
        self.harmed.end()
        await self.app.close()

    async def _load(self) -> None:
        tasks, weights = list(self._mix), list(self._mix.values())
        number = 0
        while self.going:
            began = time.monotonic()
            calls = []
            for task in random.choices(tasks, weights, k=BATCH):
                number += 1
                more = {"text": "x" * self._payload} if "light" in task.name and number % 10 == 0 else {}
                call = task.options(delay=random.choice([None, None, None, 1.0])).bind(number, **more)
                calls.append(call)
                self.open[call.job.id] = number
            await self.app.enqueue_many(calls)
            await asyncio.sleep(max(0.0, BATCH / self._rate - (time.monotonic() - began)))

    async def _harm(self) -> None:
        while self.going:
            await asyncio.sleep(KILL_EVERY * random.uniform(0.5, 1.5))
            whole = self.killed % TREE_EVERY == TREE_EVERY - 1
            self.harmed.kill(runner_only=not whole)
            self.killed += 1
            if whole:
                self.trees += 1
                self.harmed = Worker()

    async def _ask(self) -> None:
        while self.going:
            began = time.monotonic()
            await (await self._probe.enqueue(1)).result(timeout=PATIENCE)
            self._latencies.append(time.monotonic() - began)
            await asyncio.sleep(0.1)

    async def _sample(self) -> None:
        while self.going:
            await asyncio.sleep(EVERY)
            if self.steady.process.poll() is not None:
                raise RuntimeError("the worker that nobody harmed is gone")
            taken, self._latencies = sorted(self._latencies), []
            self.samples.append(
                {"at": time.monotonic() - self._began, **usage([self.steady.process.pid, *self.steady.runners()])}
                | {"store": self._store_size(), "open": float(len(self.open)), "done": float(self.done)}
                | ({"p50": statistics.median(taken) * 1e3, "most": taken[-1] * 1e3} if taken else {})
            )

    async def _count(self) -> None:
        """See every job end, before it is forgotten; what is not there any more before it was seen to end is lost."""
        broker, give_up = await self.app.broker(), self._end + PATIENCE
        while self.going or (self.open and time.monotonic() < give_up):
            await asyncio.sleep(1.0)
            ids = list(self.open)
            for start in range(0, len(ids), 500):
                batch = ids[start : start + 500]
                for job_id, job in zip(batch, await broker.get(batch), strict=True):
                    if job is not None and job.state.finished:
                        self.done += 1
                        self.wrong += job.result != str(self.open.pop(job_id)).encode()


def third(samples: list[dict[str, float]], key: str, number: int) -> float:
    """The median of a line in its first, second or third third."""
    size = len(samples) // 3
    return statistics.median(sample[key] for sample in samples[size * (number - 1) : size * number] if key in sample)


def growth(samples: list[dict[str, float]]) -> dict[str, float]:
    """Percent by which each line is higher in the last third than in the second."""
    return {key: 100 * (third(samples, key, 3) / third(samples, key, 2) - 1) for key in GROWTH}


def report(store: str, soak: Soak, minutes: float) -> bool:
    """Print and write what was seen; whether it is as it should be."""
    grown, lost = growth(soak.samples), len(soak.open)
    flat = all(grown[key] < most for key, most in GROWTH.items())
    about = {"store": store, "minutes": minutes, "python": platform.python_version(), "cores": os.cpu_count()}
    found: dict[str, Any] = {
        **about, "date": date.today().isoformat(), "jobs": soak.done, "lost": lost, "wrong": soak.wrong,
        "runners_killed": soak.killed - soak.trees, "workers_killed": soak.trees,
        "growth_percent": {key: round(value, 1) for key, value in grown.items()},
        "p50_ms": {"second third": third(soak.samples, "p50", 2), "last third": third(soak.samples, "p50", 3)},
    }  # fmt: skip
    print(json.dumps(found, indent=2))
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"soak-{store}.json"
    target.write_text(json.dumps({**found, "samples": soak.samples}) + "\n")
    draw(target)
    return flat and not lost and not soak.wrong


def draw(source: Path) -> None:
    """The plot, by matplotlib in an environment of its own."""
    place = Environment("plots", PLOTTING, Interpreter.of(sys.executable))
    try:
        if not place.ready():
            place.make()
    except Unavailable as error:
        print(f"no plot: {error}")
        return
    subprocess.run([str(place.python), str(HERE / "plot.py"), str(source), str(source.with_suffix(".png"))], check=True)


def main(minutes: float, store: str, rate: float) -> int:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="windlass-soak-")))
        path = folder / "jobs.db"
        url, size = f"sqlite:///{path}", lambda: sum(one.stat().st_size for one in folder.glob("jobs.*")) / 2**20
        if store == "redis":
            server = stack.enter_context(Server(folder, "soak", durable=True))
            url, size = server.url, lambda: server.memory() / 2**20
        os.environ["WINDLASS_URL"] = url
        sys.path.insert(0, str(HERE))
        soak = asyncio.run(_soak(rate, minutes * 60, size))
        return 0 if report(store, soak, minutes) else 1


async def _soak(rate: float, seconds: float, size: Callable[[], float]) -> Soak:
    soak = Soak(rate, seconds, size)
    await soak.run()
    return soak


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--store", choices=["sqlite", "redis"], default="sqlite")
    parser.add_argument("--rate", type=float, default=60.0, help="jobs a second")
    given = parser.parse_args()
    sys.exit(main(given.minutes, given.store, given.rate))
