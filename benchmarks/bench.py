"""What every benchmark needs: a store to measure, a worker process beside it, percentiles, and what machine this is."""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jobs import RECORD, noop, records, total, waits

from windlass import State, Windlass

HERE = Path(__file__).parent
QUEUE = "default"
PATIENCE = 120.0
"""Seconds after which a measurement that has not ended is given up."""


class Bench:
    """One store under measurement. `app` is the producer's side; `worker` starts the other one."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.app = Windlass(url)
        self.noop = self.app.task(name=noop.name)(noop.definition.function)
        self.total = self.app.task(name=total.name)(total.definition.function)
        self.waits = self.app.flow(name=waits.name)(waits.definition.function)
        self.log = folder / "worker.log"
        self.file = Path(os.environ["BENCH_RECORDS"])

    async def __aenter__(self) -> Bench:
        await self.app.broker()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.app.close()

    def clear(self) -> None:
        """Forget what ran so far."""
        os.truncate(self.file, 0)

    async def fill(self, jobs: int, size: int = 500) -> None:
        """Store so many jobs."""
        for start in range(0, jobs, size):
            await self.app.enqueue_many(self.noop.bind(number) for number in range(start, min(start + size, jobs)))

    async def until(self, enough: Callable[[], bool | Awaitable[bool]], what: str) -> None:
        """Look every few milliseconds until it is so."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = enough()
            if found if isinstance(found, bool) else await found:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not after {PATIENCE:.0f} s\n{self.log.read_text()[-4000:]}")
            await asyncio.sleep(0.01)

    async def ran(self, jobs: int) -> list[tuple[int, int, float]]:
        """The records, once so many jobs ran. Raises when one ran twice."""
        await self.until(lambda: self.file.stat().st_size >= jobs * RECORD.size, f"{jobs} jobs")
        found = records(self.file)
        if len({number for number, _, _ in found}) != len(found):
            raise AssertionError("a job ran twice while its worker lived")
        return found

    async def settled(self, *also: State) -> None:
        """Wait until nothing is ready or running, and see that nothing failed. also: where jobs may stand."""

        async def quiet() -> bool:
            counts = {
                state.value: n for one in await (await self.app.broker()).tally() for state, n in one.counts.items()
            }
            if counts.keys() & {"failed", "parked", "cancelled", "scheduled"}.difference(also):
                raise AssertionError(f"jobs did not succeed: {counts}")
            return not counts.keys() & {"ready", "running"}

        await self.until(quiet, "every job settled")

    async def living(self) -> int:
        """How many workers are alive."""
        return len(await (await self.app.broker()).workers())

    @asynccontextmanager
    async def worker(self, *options: str, alive: int = 1) -> AsyncIterator[Process]:
        """A worker as users start it, from the moment on at which so many of its runners are alive (0: at once)."""
        command = [sys.executable, "-m", "windlass.cli.main", "worker", "jobs:app", "--log-level", "warning", *options]
        environment = {**os.environ, "WINDLASS_URL": self.url}
        with self.log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(*command, cwd=HERE, env=environment, stdout=log, stderr=log)
        try:
            if alive:
                await self.until(lambda: self._alive(alive), f"{alive} runners")
            yield process
        finally:
            process.terminate()
            code = await asyncio.wait_for(process.wait(), 60)
        told = self.log.read_text()
        if code or "locked" in told or "Traceback" in told:
            raise AssertionError(f"the worker ended with {code} and said:\n{told[-4000:]}")

    async def _alive(self, runners: int) -> bool:
        return await self.living() >= runners


def tree_pss(pid: int) -> float:
    """Proportional resident memory of a process and all below it, MiB."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
        for task in Path(f"/proc/{one}/task").iterdir():
            waiting += map(int, (task / "children").read_text().split())
    return total / 1024


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of all lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def machine() -> str:
    """The machine and the versions, in a line; nothing that names anybody."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    packages = ", ".join(f"{name} {version(name)}" for name in ("windlass", "msgspec", "pydantic"))
    try:
        packages += f", uvloop {version('uvloop')}"
    except ModuleNotFoundError:
        packages += ", no uvloop"
    return (
        f"{os.cpu_count()} x {cpu}, Linux {platform.release()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {packages}"
    )


def loop_run(work: Any) -> Any:
    """`asyncio.run`, on uvloop where it is installed, as the worker does."""
    try:
        from uvloop import run
    except ModuleNotFoundError:
        return asyncio.run(work)
    return run(work)
