"""What a join and a due time cost: a group of 10,000 with a join, and 100,000 jobs that are due at once, each against as many plain jobs.

Both are measured end to end, with a worker that lives already, in turns. The bars: the group takes at most 1.3 times as long as the plain
jobs, from the first call that enqueues to the last end; what is due at once is started at half the rate of a drain, or faster.

    python benchmarks/workflows.py [--store sqlite|redis] [--jobs 10000] [--due 100000] [--rounds 3] [--redis URL]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

_records = Path("/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()) / f"windlass-bench-{os.getpid()}"
os.environ["BENCH_RECORDS"] = str(_records)  # before jobs.py is imported, here and in the workers

from bench import QUEUE, Bench, loop_run  # noqa: E402 # it reads BENCH_RECORDS

from windlass import group  # noqa: E402 # behind it

Figures = dict[str, float]
BATCH, AHEAD = 500, 2.0
"""Jobs of one call; seconds between the last of them and the moment at which they are due."""
JOIN_BAR, DUE_BAR = 1.3, 0.5


async def all_plain(bench: Bench, jobs: int) -> float:
    """Seconds of so many plain jobs, which are enqueued in one call, too."""
    bench.clear()
    began = time.monotonic()
    await bench.fill(jobs, size=jobs)
    ran = await bench.ran(jobs)
    return max(when for _, _, when in ran) - began


async def joined(bench: Bench, jobs: int) -> float:
    """Seconds of a group of as many, up to the start of its join."""
    bench.clear()
    began = time.monotonic()
    handle = await group(bench.noop.bind(number) for number in range(jobs)).then(bench.total, -1).enqueue()
    (when,) = [when for number, _, when in await bench.ran(jobs + 1) if number == -1]
    if await handle.result(timeout=30) != sum(range(jobs)):
        raise AssertionError("the join is wrong")
    return when - began


async def drained(bench: Bench, jobs: int) -> float:
    """Jobs a second, once all are there."""
    broker = await bench.app.broker()
    bench.clear()
    await broker.pause(QUEUE)
    await bench.fill(jobs)
    began = time.monotonic()
    await broker.pause(QUEUE, False)
    ran = await bench.ran(jobs)
    return jobs / (max(when for _, _, when in ran) - began)


async def due(bench: Bench, jobs: int, seconds: float) -> float:
    """Jobs a second, from the moment at which all are due. seconds: what it takes to enqueue them."""
    bench.clear()
    moment, now = time.time() + seconds + AHEAD, time.monotonic()
    task = bench.noop.options(at=datetime.fromtimestamp(moment, UTC))
    for start in range(0, jobs, BATCH):
        await bench.app.enqueue_many(task.bind(number) for number in range(start, min(start + BATCH, jobs)))
    if (late := time.time() - moment) > 0:
        raise AssertionError(f"they were due {late:.1f} s before all were there; give it more time")
    began = now + seconds + AHEAD
    ran = await bench.ran(jobs)
    if min(when for _, _, when in ran) < began - 0.01:
        raise AssertionError("one started before it was due")
    return jobs / (max(when for _, _, when in ran) - began)


async def one_round(bench: Bench, jobs: int, many: int) -> Figures:
    """All figures, once."""
    figures = {"plain": await all_plain(bench, jobs), "join": await joined(bench, jobs)}
    began = time.monotonic()
    figures["drain"] = await drained(bench, many)
    figures["due"] = await due(bench, many, 2 * (time.monotonic() - began))
    await bench.settled()
    return figures


async def measure(store: str, url: str, folder: Path, sizes: tuple[int, int], rounds: int) -> None:
    """Print a line of the table: the medians, after a small round that only warms up."""
    found = defaultdict[str, list[float]](list)
    async with Bench(url, folder) as bench, bench.worker("--concurrency", "500"):
        await one_round(bench, max(1, sizes[0] // 10), max(1, sizes[1] // 10))
        for _ in range(rounds):
            for name, value in (await one_round(bench, *sizes)).items():
                found[name].append(value)
    plain, join, drain, at_once = (median(found[name]) for name in ("plain", "join", "drain", "due"))
    ratio, share = join / plain, at_once / drain
    verdicts = ["bar" if kept else "below" for kept in (ratio <= JOIN_BAR, share >= DUE_BAR)]
    cells = (
        f"{plain:.2f}",
        f"{join:.2f}",
        f"{ratio:.2f}",
        verdicts[0],
        f"{drain:,.0f}",
        f"{at_once:,.0f}",
        f"{share:.0%}",
        verdicts[1],
    )
    print(f"| {store} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("sqlite", "redis"), action="append", help="only this one")
    parser.add_argument("--jobs", type=int, default=10_000, help="of the group")
    parser.add_argument("--due", type=int, default=100_000, help="jobs that are due at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/15", help="an empty database")
    args = parser.parse_args()
    print(
        f"| store | s: {args.jobs:,} plain | group and join | times | | jobs/s: {args.due:,} drained | due at once | share | |"
    )
    print("|---|--:|--:|--:|---|--:|--:|--:|---|")
    with tempfile.TemporaryDirectory() as name:
        urls = {"sqlite": f"sqlite:///{name}/jobs.db", "redis": args.redis}
        for store in args.store or urls:
            loop_run(measure(store, urls[store], Path(name), (args.jobs, args.due), args.rounds))


if __name__ == "__main__":
    try:
        main()
    finally:
        _records.unlink(missing_ok=True)
