"""A program whose jobs leave a record of each run, in the file $RECORDS."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from windlass import Context, Depends, Windlass


async def short(number: int) -> int:
    record(number)
    await asyncio.sleep(0.05)
    return number


async def gated(number: int, gate: str) -> int:
    """Ends once the gate is there."""
    record(number)
    while not Path(gate).exists():  # noqa: ASYNC110, ASYNC240 # a file is how another process can tell; a moment, on a local disk
        await asyncio.sleep(0.01)
    return number


async def talkative(number: int, ctx: Context = Depends()) -> int:
    ctx.log(f"this is {number}")
    ctx.progress(number)
    ctx.chunk(number)
    return number


def record(number: int) -> None:
    """One line in one write: whole, whoever else writes."""
    with open(os.environ["RECORDS"], "ab", buffering=0) as file:
        file.write(f"{number} {os.getpid()}\n".encode())


def build(url: str) -> Windlass:
    """The program over a store."""
    app = Windlass(url)
    for function in (short, gated, talkative):
        app.task(function)
    return app


app = build(os.environ.get("WINDLASS_URL", "memory://recorded"))
