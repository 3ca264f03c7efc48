"""`make bench`: the figures of each store, end to end, through the public API and real worker processes.

Each figure is the median of three rounds after a warm-up. The bare probe (`sqlite_store.Probe`: the least code that keeps the same safety)
is measured in the same rounds, on the same disk. Prints a table and writes it to `benchmarks/results/<store>.md`.

    python benchmarks/run.py [--store sqlite|memory] [--rounds 3] [--folder DIR] [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
_records = Path("/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()) / f"windlass-bench-{os.getpid()}"
os.environ["BENCH_RECORDS"] = str(_records)  # before jobs.py is imported, here and in the workers
sys.path.insert(0, str(HERE))

from bench import QUEUE, Bench, loop_run, machine, percentile, tree_pss  # noqa: E402 # they read BENCH_RECORDS
from sqlite_store import Probe, measure  # noqa: E402 # the same

from windlass.worker.runner import working  # noqa: E402 # the same

Figures = dict[str, float]
PROCESSES, CALLERS = 8, 32


@dataclass(frozen=True)
class Row:
    """A figure: its name, unit and format, the bar and the full marks (of the probe, when given as a share), and its probe."""

    key: str
    name: str
    unit: str = "jobs/s"
    bar: float | str | None = None
    full: float | str | None = None
    probe: str | None = None
    form: str = ",.0f"
    lower: bool = False


DRAIN_CONCURRENCY = "500"
"""Jobs at once while draining: the worker's best setting for no-ops, as the peers have theirs."""

SQLITE = [
    Row("drain", "drain of no-ops, 1 worker process", bar=20_000, full=28_000, probe="claim + settle of 200"),
    Row("drain8", f"drain, {PROCESSES} processes on one file", bar="70 % of one", full="100 % of one"),
    Row("bulk", "bulk enqueue, 500 a call", bar=45_000, full=70_000, probe="bulk of 500"),
    Row("single", "enqueue awaited one by one", bar="60 % of the probe", full="85 % of the probe", probe="one by one"),
    Row(
        "callers", f"enqueue, {CALLERS} callers", bar="40 % of the probe", full="60 % of the probe", probe="32 callers"
    ),
    Row("trip50", "round trip to another process and back, p50", "ms", 3, 1, form=".2f", lower=True),
    Row("trip99", "the same, p99", "ms", form=".2f", lower=True),
    Row("start50", "enqueue to start in another process, p50", "ms", form=".2f", lower=True),
    Row("first", "start of the worker to its first job", "s", 0.6, 0.3, form=".2f", lower=True),
    Row("pss", "idle worker tree (supervisor, runner), PSS", "MiB", 70, 50, form=".0f", lower=True),
]
MEMORY = [
    Row("drain", "drain of no-ops, worker in the same process"),
    Row("bulk", "bulk enqueue, 500 a call"),
    Row("single", "enqueue awaited one by one"),
    Row("callers", f"enqueue, {CALLERS} callers"),
    Row("trip50", "round trip, p50", "ms", form=".2f", lower=True),
    Row("trip99", "the same, p99", "ms", form=".2f", lower=True),
    Row("start50", "enqueue to start, p50", "ms", form=".2f", lower=True),
]


# --- measurements -------------------------------------------------------------------------------------------

Work = Callable[[Bench], Awaitable[Figures]]


async def producing(bench: Bench, scale: float) -> Figures:
    """Enqueueing, with nobody who works."""
    one, each, bulk = (int(number * scale) for number in (1500, 400, 30_000))
    rates: Figures = {}

    async def timed(key: str, jobs: int, work: Awaitable[object]) -> None:
        start = time.perf_counter()
        await work
        rates[key] = jobs / (time.perf_counter() - start)

    async def caller(jobs: int) -> None:
        for number in range(jobs):
            await bench.noop.enqueue(number)

    await timed("single", one, caller(one))
    await timed("callers", each * CALLERS, asyncio.gather(*(caller(each) for _ in range(CALLERS))))
    await timed("bulk", bulk, bench.fill(bulk))
    return rates


async def drained(bench: Bench, jobs: int) -> float:
    """Jobs a second from the first start to the last, once the workers are up and the jobs are there."""
    bench.clear()
    await (await bench.app.broker()).pause(QUEUE, False)
    ran = await bench.ran(jobs)
    await bench.settled()
    times = [when for _, _, when in ran]
    return (jobs - 1) / (max(times) - min(times))


async def tripping(bench: Bench, trips: int) -> Figures:
    """One job at a time, with a worker that has nothing else to do."""
    whole, starts = [], []
    for number in range(-20, trips):
        bench.clear()
        began = time.monotonic()
        job = await bench.noop.enqueue(number)
        await job.result(timeout=30)
        done = time.monotonic()
        ((_, _, started),) = await bench.ran(1)
        if number >= 0:
            whole.append((done - began) * 1000)
            starts.append((started - began) * 1000)
        await asyncio.sleep(0.005)
    return {
        "trip50": percentile(whole, 0.5), "trip99": percentile(whole, 0.99), "start50": percentile(starts, 0.5),
    }  # fmt: skip


async def sqlite(folder: Path, scale: float) -> Figures:
    """One round of SQLite, every part on a file of its own."""
    jobs, fresh = int(20_000 * scale), iter(range(100))

    @asynccontextmanager
    async def store() -> AsyncIterator[Bench]:
        place = folder / f"windlass{next(fresh)}"
        place.mkdir()
        async with Bench(f"sqlite:///{place}/jobs.db", place) as bench:
            yield bench

    figures: Figures = {}
    async with store() as bench:
        figures |= await producing(bench, scale)
    for key, runners in (("drain", 1), ("drain8", PROCESSES)):
        async with store() as bench:
            await (await bench.app.broker()).pause(QUEUE)
            await bench.fill(jobs)
            async with bench.worker("--runners", str(runners), "--concurrency", DRAIN_CONCURRENCY, alive=runners):
                figures[key] = await drained(bench, jobs)
    async with store() as bench:
        bench.clear()
        await bench.noop.enqueue(0)
        started = time.monotonic()
        async with bench.worker(alive=0) as worker:
            ((_, _, first),) = await bench.ran(1)
            figures["first"] = first - started
            await asyncio.sleep(2)
            figures["pss"] = tree_pss(worker.pid)
            figures |= await tripping(bench, int(300 * scale))
    return figures


async def memory(folder: Path, scale: float) -> Figures:
    """One round of the store in memory, which ends where its process does: the worker is embedded."""
    jobs = int(20_000 * scale)
    async with Bench("memory://", folder) as bench:
        figures = await producing(bench, scale)
    async with Bench("memory://", folder) as bench:
        await (await bench.app.broker()).pause(QUEUE)
        await bench.fill(jobs)
        async with working(bench.app):
            figures["drain"] = await drained(bench, jobs)
            figures |= await tripping(bench, int(300 * scale))
    return figures


# --- rounds and report --------------------------------------------------------------------------------------


def rounds(store: str, count: int, parent: Path, scale: float) -> tuple[Figures, Figures]:
    """The medians of Windlass and of the probe, after a small round that only warms up.

    The probe is measured before and after each round: a disk that others use, too, is not the same for long.
    """
    ours, bare = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    measured = sqlite if store == "sqlite" else memory

    def probe(path: Path) -> None:
        if store == "sqlite":
            for key, rate in loop_run(measure(Probe(path), False)).items():
                bare[key].append(rate)

    if scale == 1.0:
        with tempfile.TemporaryDirectory(dir=parent, prefix=".bench-") as name:
            loop_run(measured(Path(name), 0.1))
    for number in range(1, count + 1):
        with tempfile.TemporaryDirectory(dir=parent, prefix=".bench-") as name:
            folder = Path(name)
            probe(folder / "before.db")
            for key, value in loop_run(measured(folder, scale)).items():
                ours[key].append(value)
            probe(folder / "after.db")
        print(f"{store}: round {number} of {count}", file=sys.stderr, flush=True)
    return (
        {key: statistics.median(values) for key, values in ours.items()},
        {key: statistics.median(values) for key, values in bare.items()},
    )


def target(row: Row, wanted: float | str | None, ours: Figures, bare: Figures) -> float | None:
    """A bar as a number: as it stands, or its share of the probe or of one process."""
    if not isinstance(wanted, str):
        return wanted
    share = float(wanted.split(" %")[0]) / 100
    return share * (bare[str(row.probe)] if "probe" in wanted else ours["drain"])


def report(store: str, rows: list[Row], ours: Figures, bare: Figures, count: int) -> str:
    """The table, in Markdown."""

    def shown(row: Row, value: float | None) -> str:
        return "" if value is None else f"{value:{row.form}}"

    lines = [
        f"# {store}{', synchronous=FULL' if store == 'sqlite' else ''}", "",
        f"Median of {count} after a warm-up. {machine()}. Made by `make bench`.", "",
        "| figure | Windlass | unit | bare probe | share | bar | full marks | |", "|---|--:|---|--:|--:|--:|--:|---|",
    ]  # fmt: skip
    for row in rows:
        value, probe = ours[row.key], bare.get(row.probe or "")
        verdicts = []
        for word, wanted in (("bar", row.bar), ("full", row.full)):
            number = target(row, wanted, ours, bare)
            if number is not None and (value <= number if row.lower else value >= number):
                verdicts = [word]
        verdict = (verdicts or ["below"])[0] if row.bar is not None else ""
        bars = [shown(row, target(row, wanted, ours, bare)) for wanted in (row.bar, row.full)]
        share = f"{value / probe:.0%}" if probe else ""
        lines.append(
            f"| {row.name} | {shown(row, value)} | {row.unit} | {shown(row, probe)} | {share} | {' | '.join(bars)} | {verdict} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("sqlite", "memory"), action="append", help="only this one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=HERE, help="on the disk that is to be measured")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the work, to see that it runs; nothing is written"
    )
    args = parser.parse_args()
    for store in args.store or ("memory", "sqlite"):
        ours, bare = rounds(store, args.rounds, args.folder, 0.1 if args.quick else 1.0)
        text = report(store, SQLITE if store == "sqlite" else MEMORY, ours, bare, args.rounds)
        print(text)
        if not args.quick:
            results = HERE / "results"
            results.mkdir(exist_ok=True)
            (results / f"{store}.md").write_text(text)


if __name__ == "__main__":
    try:
        main()
    finally:
        _records.unlink(missing_ok=True)
