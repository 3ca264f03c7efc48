"""A soak: runners and whole worker trees are killed (SIGKILL) while jobs run; afterwards every job must have its right result.

    python benchmarks/soak.py [--jobs 20000] [--kills 15]

Each run leaves a record, which tells how many runs were repeated. Exits 1 when a job was lost or has a wrong result.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from windlass import State

_folder = tempfile.TemporaryDirectory(prefix="windlass-soak-")
RECORDS = Path(_folder.name, "ran")
os.environ |= {"WINDLASS_URL": f"sqlite:///{_folder.name}/jobs.db", "BENCH_RECORDS": str(RECORDS)}

from jobs import app, nap, records  # noqa: E402 # here and in the workers, after the environment says where

TREE_EVERY = 8
"""So many kills of a runner, then one of the whole tree."""
PATIENCE = 120.0


def start() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "windlass.cli.main", "worker", "jobs:app", "--runners=2", "--log-level=error"]
    return subprocess.Popen(command, cwd=Path(__file__).parent, stderr=subprocess.DEVNULL)


async def finished() -> int:
    counts = [one.counts for one in await (await app.broker()).tally()]
    return sum(jobs for states in counts for state, jobs in states.items() if State(state).finished)


async def soak(jobs: int, kills: int) -> tuple[int, int]:
    """Kill until `kills` runners are dead, wait for the end; answers the runners and trees that were killed."""
    killed = trees = 0
    tree, end = start(), time.monotonic() + PATIENCE
    broker = await app.broker()
    while await finished() < jobs and time.monotonic() < end:
        await asyncio.sleep(random.uniform(0.2, 0.6))
        workers = await broker.workers() if killed < kills else []
        if workers:
            try:
                os.kill(random.choice(workers).card.pid, 9)
                killed += 1
            except ProcessLookupError:
                continue  # killed before, and its lease has not run out yet
            if killed % TREE_EVERY == 0:
                tree.kill()
                tree.wait()
                tree, trees = start(), trees + 1
    tree.terminate()
    tree.wait(30)
    return killed, trees


async def main(jobs: int, kills: int) -> int:
    handles = []
    for first in range(0, jobs, 500):
        handles += await app.enqueue_many(nap.bind(n) for n in range(first, min(jobs, first + 500)))
    killed, trees = await soak(jobs, kills)
    found = await asyncio.gather(*(handle.result(0) for handle in handles), return_exceptions=True)
    wrong = sum(result != number for number, result in enumerate(found))
    ran = [number for number, _, _ in records(RECORDS)]
    await app.close()
    print(
        f"{jobs} jobs, {killed} runners and {trees} trees killed: {wrong} lost or wrong, {len(ran) - len(set(ran))} runs repeated"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=15)
    given = parser.parse_args()
    with _folder:
        sys.exit(asyncio.run(main(given.jobs, given.kills)))
