"""The program of the tests about jobs that block their runner."""

from __future__ import annotations

import asyncio
import os
import re
import time
from pathlib import Path

from windlass import Retry, Windlass, current

app = Windlass(
    os.environ.get("WINDLASS_URL", "memory://blocking-tasks"),
    kill_after=1.0, beat=0.1, upkeep=0.1, lease=3, processes=1, threads=4,
)  # fmt: skip
ONCE = Retry(attempts=1)


def hold_the_gil() -> None:
    re.match(r"(a+)+$", "a" * 64 + "b")


def look(how: str) -> None:
    """What the code of a job does: it blocks the loop, or holds the interpreter."""
    if how == "sleep":
        time.sleep(60)
    elif how == "hold":
        hold_the_gil()


def block_until(mark: str) -> None:
    """Blocks until the mark is there, or it has crashed."""
    while not Path(mark).exists() and not current().crashes:
        time.sleep(0.05)


@app.task(timeout=1.0, retry=ONCE)
async def step(how: str) -> int:
    if how == "wait":
        await asyncio.sleep(0.5)
    await asyncio.sleep(0)
    look(how)
    return current().attempt


@app.task(timeout=1.0, retry=ONCE)
def thread_step(how: str) -> int:
    if how == "wait":
        time.sleep(0.5)
    look(how)
    return current().attempt


@app.task(timeout=1.0, retry=Retry(attempts=2, first=0.01))
async def once(mark: str) -> int:
    if not Path(mark).exists():  # noqa: ASYNC240 # a moment, on a local disk
        Path(mark).touch()  # noqa: ASYNC240 # the same
        look("sleep")
    return current().attempt


@app.task
async def for_ever(mark: str) -> int:
    """Without a limit."""
    block_until(mark)
    return current().attempt


@app.task(timeout=60)
async def within(mark: str) -> int:
    """With a limit, which it does not reach."""
    block_until(mark)
    return current().attempt
