"""The jobs that every contender runs, and how they tell that they ran.

Each job appends one record of 24 bytes to a file on tmpfs. The append is atomic and takes about a microsecond, in any process, thread or
greenlet, and no library pays a round trip for it: that is the completion detector, the same for everyone. Only the standard library here.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

RECORD = struct.Struct("<iiqd")
START, END = 0, 1
BURN_SECONDS = 0.05
"""What one CPU job is meant to take; `calibrate` finds the number of turns for it."""


class Record(NamedTuple):
    """One job began (START) or ended (END) in a process, at `time.monotonic()`, which all processes of a machine share."""

    number: int
    kind: int
    pid: int
    when: float


class Records:
    """The file of records, as the measuring side sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def clear(self) -> None:
        """Forget what ran so far."""
        os.truncate(self.path, 0)

    def count(self) -> int:
        """How many records there are."""
        return self.path.stat().st_size // RECORD.size

    def read(self) -> list[Record]:
        """All records, in the order in which they were written."""
        data = self.path.read_bytes()
        whole = data[: len(data) // RECORD.size * RECORD.size]
        return [Record(*fields) for fields in RECORD.iter_unpack(whole)]


_file = os.open(os.environ.get("PEERS_RECORDS", os.devnull), os.O_APPEND | os.O_CREAT | os.O_WRONLY)
_turns = int(os.environ.get("PEERS_BURN", "1000000"))


def record(number: int, kind: int = START) -> None:
    """Say that a job began or ended here and now."""
    os.write(_file, RECORD.pack(number, kind, os.getpid(), time.monotonic()))


def turn(turns: int) -> int:
    """Keep the CPU busy for so many turns, in pure Python."""
    value = 0
    for step in range(turns):
        value = (value * 31 + step) & 0xFFFFFFFF
    return value


def calibrate() -> int:
    """The turns that take `BURN_SECONDS` on this machine and interpreter: of the fastest of five tries."""
    tries, best = 300_000, float("inf")
    for _ in range(5):
        began = time.perf_counter()
        turn(tries)
        best = min(best, time.perf_counter() - began)
    return round(tries * BURN_SECONDS / best)


# --- the bodies, for libraries that want functions and for those that want coroutines -----------------------------


def noop(number: int) -> int:
    record(number)
    return number


def sleep(number: int, seconds: float) -> int:
    record(number)
    time.sleep(seconds)
    record(number, END)
    return number


def burn(number: int) -> int:
    record(number)
    turn(_turns)
    record(number, END)
    return number


async def async_noop(number: int) -> int:
    record(number)
    return number


async def async_sleep(number: int, seconds: float) -> int:
    record(number)
    await asyncio.sleep(seconds)
    record(number, END)
    return number


async def async_burn(number: int) -> int:
    record(number)
    turn(_turns)
    record(number, END)
    return number


SYNC: dict[str, Callable[..., int]] = {"noop": noop, "sleep": sleep, "burn": burn}
ASYNC: dict[str, Callable[..., Awaitable[int]]] = {"noop": async_noop, "sleep": async_sleep, "burn": async_burn}
PARAMETERS = {"noop": ("number",), "sleep": ("number", "seconds"), "burn": ("number",)}


def named(task: str, args: tuple[Any, ...]) -> dict[str, Any]:
    """The arguments by name, for libraries that take no others."""
    return dict(zip(PARAMETERS[task], args, strict=True))


if __name__ == "__main__":
    if sys.argv[1:] == ["--calibrate"]:
        print(calibrate())
    else:  # a bare process without any queue: burn through the numbers of a range
        for number in range(int(sys.argv[1]), int(sys.argv[2])):
            burn(number)
