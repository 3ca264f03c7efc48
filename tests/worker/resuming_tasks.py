"""The program of the tests about jobs that go on where they were: long walks, in each lane, that note each of their steps in a file."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from windlass import Context, Depends, Windlass

STEPS = 2000
EVERY = 0.1


def note(file: str, token: int, number: int) -> None:
    """Durable against any death of the process: the kernel has it when this returns."""
    with Path(file).open("ab", buffering=0) as book:
        book.write(f"{token} {number}\n".encode())


async def pages(after: int | None) -> AsyncIterator[tuple[int, int]]:
    for number in range(after or 0, STEPS):
        await asyncio.sleep(0.004)
        yield number + 1, number


async def scrape(file: str, ctx: Context = Depends()) -> int:
    async for number in ctx.iterate(pages, every=EVERY):
        note(file, ctx.token, number)
    return ctx.attempt


def count(file: str, ctx: Context = Depends()) -> int:
    for number in ctx.iterate(range(STEPS), every=EVERY):
        note(file, ctx.token, number)
        time.sleep(0.004)
    return ctx.attempt


def rows(after: int | None) -> Iterator[tuple[int, int]]:
    for number in range(after or 0, STEPS):
        yield number + 1, number


def walk(file: str, ctx: Context = Depends()) -> int:
    for number in ctx.iterate(rows, every=EVERY):
        note(file, ctx.token, number)
        time.sleep(0.004)
    return ctx.attempt


def build(url: str) -> Windlass:
    """The program over a store."""
    app = Windlass(url, kill_after=1.0, beat=0.1, upkeep=0.1, lease=1, processes=1, threads=1, shutdown_timeout=10)
    app.task(crash_limit=10_000)(scrape)
    app.task(crash_limit=10_000)(count)
    app.task(lane="process", crash_limit=10_000)(walk)
    return app


app = build(os.environ.get("WINDLASS_URL", "memory://resuming-tasks"))
