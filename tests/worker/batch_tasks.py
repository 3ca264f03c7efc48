"""The program of the tests about batches: the same functions in each lane."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from windlass import Batch, Context, Depends, Fail, Retry, Snooze, Windlass, current
from windlass.errors import JobInterrupted

BATCH = Batch(size=4, wait="200ms")
ONCE = Retry(attempts=1)
LANES = ("loop", "thread", "process")


def answers(words: list[str]) -> list[Any]:
    """What each word is answered: what it asks for, or with how many it came."""
    found: list[Any] = []
    for word in words:
        match word.split():
            case ["raise", *_]:
                found.append(ValueError(word))
            case ["fail", *_]:
                found.append(Fail("no good"))
            case ["snooze", *_] if current().meta.get("again") is None:
                found.append(Snooze(60))
            case ["object", *_]:
                found.append(object())
            case _:
                found.append([word, len(words)])
    return found


def do(words: list[str], ctx: Context) -> list[list[str | int] | Exception]:
    """Answers each; what some words ask for happens to all of the run."""
    print("working on", len(words))
    if "die" in words:
        os._exit(3)
    if "all" in words:
        raise ValueError("all of them")
    if "none" in words:
        return None  # type: ignore[return-value]  # that is the test
    ctx.progress(len(words), 4)
    return answers(words)[1 if "short" in words else 0 :]


def marks(words: list[str]) -> list[Path]:
    """What is to be waited for: a file that tells, "wait FILE", once it stands beside that there is one "FILE go"."""
    return [Path(word.removeprefix("wait ")) for word in words if word.startswith("wait ")]


def may_go(mark: Path) -> bool:
    return Path(f"{mark} go").exists()


def note_interruption(mark: Path) -> None:
    Path(f"{mark} interrupted").touch()


def work(words: list[str], ctx: Context = Depends()) -> list[list[str | int] | Exception]:
    for mark in marks(words):
        mark.touch()
        try:
            while not may_go(mark):
                time.sleep(0.01)
        except JobInterrupted:
            note_interruption(mark)
            raise
    return do(words, ctx)


async def work_async(words: list[str], ctx: Context = Depends()) -> list[list[str | int] | Exception]:
    for mark in marks(words):
        mark.touch()
        try:
            while not may_go(mark):  # noqa: ASYNC110 # the test tells
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            note_interruption(mark)
            raise
    return do(words, ctx)


def length(numbers: list[int]) -> list[tuple[int, int]]:
    """Each with the size of its run."""
    return [(number, len(numbers)) for number in numbers]


app = Windlass(
    os.environ.get("WINDLASS_URL", "memory://batch-tasks"),
    kill_after=0.5, beat=0.05, upkeep=0.05, lease=2, processes=1, threads=2,
)  # fmt: skip
app.task(name="loop", batch=BATCH, retry=ONCE)(work_async)
app.task(name="thread", batch=BATCH, retry=ONCE)(work)
app.task(name="process", batch=BATCH, retry=ONCE, lane="process", crash_limit=3)(work)
app.task(name="loop limited", batch=BATCH, retry=ONCE, timeout=0.3)(work_async)
app.task(name="thread limited", batch=BATCH, retry=ONCE, timeout=0.3)(work)
app.task(name="process limited", batch=BATCH, retry=ONCE, timeout=0.3, lane="process")(work)
app.task(name="by", batch=Batch(size=4, wait="200ms", by=lambda number: number % 2, runs=2))(length)
app.task(name="by in process", lane="process", batch=Batch(size=4, wait="200ms", by=lambda number: number % 2, runs=2))(
    length
)
