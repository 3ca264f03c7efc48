"""Train, and kill the worker on the way: `python run.py [--kills 2] [--epochs 30]`. The store is $WINDLASS_URL, or a file.

Each kill is a SIGKILL to the whole worker, as when a machine loses its power. Another worker takes the job over, and goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tasks
from tasks import Trained

HERE = Path(__file__).resolve().parent


@contextmanager
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A worker, in a session of its own."""
    command = [sys.executable, "-m", "windlass.cli.main", "worker", "tasks:app"]
    process = subprocess.Popen(command, cwd=HERE, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker and all that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


async def train(epochs: int, kills: int) -> int:
    """Do it; answers the exit code."""
    job = await tasks.train.enqueue(epochs=epochs)
    deadly = [epochs * (number + 1) // (2 * kills) for number in range(kills)]  # all in the first half
    after: int | None = None
    while True:
        with worker() as process:
            async for event in job.events(after=after):
                after = event.id or after
                if event.kind == "log":
                    print(f"  {event.data.message}", flush=True)
                if event.kind == "progress" and deadly and event.data.current >= deadly[0]:
                    deadly.pop(0)
                    kill(process)
                    print("  the worker was killed; another one takes over", flush=True)
                    break
                if event.kind == "end":
                    return report(await job, epochs)


def report(trained: Trained, epochs: int) -> int:
    """Say what came of it; 0 when every epoch was trained once."""
    for number, run in enumerate(trained.epochs, 1):
        print(f"run {number} trained the epochs {run[0] + 1} to {run[-1] + 1}")
    print(f"the model tells {trained.accuracy:.1%} of the digits that it has never seen")
    return 0 if [epoch for run in trained.epochs for epoch in run] == list(range(epochs)) else 1


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description="A training whose worker is killed on the way.")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--kills", type=int, default=2)
    given = parser.parse_args()
    return asyncio.run(train(given.epochs, given.kills))


if __name__ == "__main__":
    sys.exit(main())
