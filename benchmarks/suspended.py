"""What 10,000 suspended flows hold of their worker: its memory before and after they wait, against as many plain jobs that have ended.

Then all of them are signalled, and the time is taken until they have ended. The bar: they hold no memory of the worker, so that it grows by
no more than what plain jobs leave behind.

    python benchmarks/suspended.py [--store sqlite|redis] [--flows 10000] [--redis URL]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

_records = Path("/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()) / f"windlass-bench-{os.getpid()}"
os.environ["BENCH_RECORDS"] = str(_records)  # before jobs.py is imported, here and in the workers

from bench import Bench, loop_run, tree_pss  # noqa: E402 # it reads BENCH_RECORDS

from windlass.core.state import State  # noqa: E402 # behind it

WARM, BATCH, ASIDE = 200, 500, 32
"""Jobs and flows that warm a worker up; jobs of one call; calls at the same time."""


async def counted(bench: Bench, *states: State) -> int:
    """How many jobs stand there."""
    return sum(one.counts.get(state, 0) for one in await (await bench.app.broker()).tally() for state in states)


async def growth(
    bench: Bench, jobs: int, suspends: bool, then: Callable[[list[str]], Awaitable[None]]
) -> tuple[float, float]:
    """MiB of a worker before and after so many jobs; what comes then happens while it lives."""
    async with bench.worker() as worker:
        bench.clear()
        for handle in await bench.app.enqueue_many([bench.waits.bind(-1 - number) for number in range(WARM)]):
            await bench.app.signal(handle.id, "go")
        await bench.fill(WARM)
        await bench.ran(2 * WARM)
        await bench.settled()
        before, ids = tree_pss(worker.pid), list[str]()
        task, ended = (bench.waits if suspends else bench.noop), await counted(bench, State.SUCCEEDED)
        for start in range(0, jobs, BATCH):
            calls = [task.bind(number) for number in range(start, min(start + BATCH, jobs))]
            ids += [handle.id for handle in await bench.app.enqueue_many(calls)]

        async def over() -> bool:
            waiting = suspends and await counted(bench, State.WAITING, State.SCHEDULED) == jobs
            return waiting or await counted(bench, State.SUCCEEDED) == ended + jobs

        await bench.until(over, f"{jobs} jobs")
        await bench.settled(State.SCHEDULED)
        after = tree_pss(worker.pid)
        await then(ids)
        return before, after


async def measure(store: str, url: str, folder: Path, flows: int) -> None:
    """Print a line of the table."""

    async def nothing(_: list[str]) -> None:
        pass

    async def wake(ids: list[str]) -> None:
        bench.clear()
        began = time.monotonic()
        for start in range(0, flows, ASIDE):
            await asyncio.gather(*(bench.app.signal(one, "go") for one in ids[start : start + ASIDE]))
        told = time.monotonic()
        await bench.ran(flows)
        await bench.settled()
        took.extend((told - began, time.monotonic() - began))

    took = list[float]()
    async with Bench(url, folder) as bench:
        plain = await growth(bench, flows, False, nothing)
        waiting = await growth(bench, flows, True, wake)
    cells = [f"{before:.1f} to {after:.1f} ({after - before:+.1f})" for before, after in (plain, waiting)]
    print(f"| {store} | {flows:,} | {' | '.join(cells)} | {took[0]:.2f} | {took[1]:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("sqlite", "redis"), action="append", help="only this one")
    parser.add_argument("--flows", type=int, default=10_000)
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/15", help="an empty database")
    args = parser.parse_args()
    print("| store | jobs | MiB: worker, plain jobs | suspended flows | s: all signalled | all ended |")
    print("|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as name:
        urls = {"sqlite": f"sqlite:///{name}/jobs.db", "redis": args.redis}
        for store in args.store or urls:
            loop_run(measure(store, urls[store], Path(name), args.flows))


if __name__ == "__main__":
    try:
        main()
    finally:
        _records.unlink(missing_ok=True)
