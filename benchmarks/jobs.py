"""The jobs of the benchmarks, and how they tell that they ran: each appends one record of 24 bytes to a file on tmpfs.

The append is atomic, takes a microsecond, and adds no round trip to the store: it says when a job *started*, in any process.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from pathlib import Path

from windlass import Depends, Flow, Windlass

RECORD = struct.Struct("<qqd")
"""A job's number, the process it ran in, and `time.monotonic()`, which all processes of a machine share."""

app = Windlass(os.environ.get("WINDLASS_URL", "memory://"))
_file = os.open(os.environ.get("BENCH_RECORDS", os.devnull), os.O_APPEND | os.O_CREAT | os.O_WRONLY)


@app.task
async def noop(number: int) -> int:
    os.write(_file, RECORD.pack(number, os.getpid(), time.monotonic()))
    return number


@app.task(crash_limit=1000)
async def nap(number: int) -> int:
    """For the soak: lasts long enough to be killed, and is never given up."""
    await asyncio.sleep(0.01)
    return await noop(number)


@app.task
async def total(numbers: list[int], number: int) -> int:
    """A join."""
    await noop(number)
    return sum(numbers)


@app.flow
async def waits(number: int, flow: Flow = Depends()) -> int:
    """Suspended until it is told to go on; every other one with a time at which it would do so by itself."""
    await flow.event("go", timeout="1d" if number % 2 else None)
    return await noop(number)


def records(path: Path) -> list[tuple[int, int, float]]:
    """What ran so far, in order."""
    data = path.read_bytes()
    return list(RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size]))
