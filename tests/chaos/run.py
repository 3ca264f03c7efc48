"""The long form of the chaos suite: every scenario on every store, a table, and the page "What can go wrong".

    python tests/chaos/run.py [--scale 2] [--storm 5] [--only A1,D4] [--store redis] [--seed 7] [--side-by-side 2]
    python tests/chaos/run.py --write-docs | --check-docs

`make chaos` calls it. A whole run writes benchmarks/results/chaos.md, chaos.json and the page; one with --only or --store writes nothing.
Leaves with 1 when a promise was broken. $CHAOS_KEEP names a folder that keeps what a broken play has left.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import io
import multiprocessing
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import report  # noqa: E402 # found by the line above
from catalogue import CATALOGUE  # noqa: E402 # the same
from history import Outcome  # noqa: E402 # the same
from scenario import play  # noqa: E402 # the same
from stage import STORES  # noqa: E402 # the same

PR_SET_PDEATHSIG = 1  # of Linux
SAID = 8000
"""Characters of what a broken play has said that are shown."""


def main() -> int:
    """Play, print, write; the exit code."""
    asked = arguments()
    if asked.write_docs:
        report.PAGE.write_text(report.page(CATALOGUE, report.stored()))
        return 0
    if asked.check_docs:
        current = report.PAGE.exists() and report.PAGE.read_text() == report.page(CATALOGUE, report.stored())
        print("" if current else f"{report.PAGE.name} is stale: python tests/chaos/run.py --write-docs", end="")
        return int(not current)
    began = time.monotonic()
    plays = play_all(asked)
    order = list(CATALOGUE)
    plays.sort(key=lambda one: (order.index(one.scenario), one.store))
    print("\n" + report.summary(report.totals(plays)))
    if not (asked.only or asked.store):
        made = report.results(plays, time.monotonic() - began, " ".join(["python tests/chaos/run.py", *sys.argv[1:]]))
        report.store(made)
        report.PAGE.write_text(report.page(CATALOGUE, made))
    return int(any(one.violations for one in plays))


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scale", type=int, default=2, help="how many times as many jobs and faults as in the short form"
    )
    parser.add_argument("--storm", type=int, default=5, help="how many times more than that in the storm")
    parser.add_argument("--only", default="", help="numbers or their beginnings: A1,D4")
    parser.add_argument("--store", default="", help="sqlite or redis")
    parser.add_argument("--seed", type=int, default=None, help="of all that is left to chance")
    parser.add_argument("--side-by-side", type=int, default=2, help="plays at the same time")
    parser.add_argument("--write-docs", action="store_true", help="write the page from the stored results")
    parser.add_argument("--check-docs", action="store_true", help="leave with 1 when the page is not current")
    return parser.parse_args()


def play_all(asked: argparse.Namespace) -> list[Outcome]:
    """Play what was asked for, the longest first, and print a line for each as it ends."""
    print(report.line(report.HEAD), flush=True)
    plays = list[Outcome]()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(asked.side_by_side, context, initializer=end_in_order) as pool:
        waiting = list[Future[tuple[Outcome, str]]]()
        for number, store in chosen(asked):
            scale = asked.scale * (asked.storm if number == report.STORM else 1)
            seed = random.randrange(1 << 32) if asked.seed is None else asked.seed
            waiting.append(pool.submit(played, number, store, scale, seed))
        try:
            for done in as_completed(waiting):
                outcome, said = done.result()
                plays.append(outcome)
                print(report.line(report.cells(outcome)), flush=True)
                if outcome.violations:
                    print(said, *outcome.violations[:20], "", sep="\n", flush=True)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return plays


def chosen(asked: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The plays: the storm first, so that the others can go on beside it."""
    numbers = [number for number in CATALOGUE if not asked.only or number.startswith(tuple(asked.only.split(",")))]
    for number in sorted(numbers, key=lambda number: number != report.STORM):
        for store in CATALOGUE[number].stores:
            if store in STORES and asked.store in ("", store):
                yield number, store


def end_in_order() -> None:
    """So that a play that is broken off, by a signal or by our own death, takes its processes, disks and servers with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def played(number: str, store: str, scale: int, seed: int) -> tuple[Outcome, str]:
    """In a process of its own: play, and what was said."""
    said = io.StringIO()
    began = time.monotonic()
    with contextlib.redirect_stdout(said):
        try:
            outcome = asyncio.run(play(CATALOGUE[number], store, scale=scale, seed=seed))
        except Exception as error:
            said.write(traceback.format_exc())
            took = time.monotonic() - began
            outcome = Outcome(number, store, 0, 0, 0, [], [f"the play could not be played: {error!r}"], took)
    return outcome, said.getvalue()[-SAID:]


if __name__ == "__main__":
    sys.exit(main())
