"""Looking at processes from outside, and waiting for what they do."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds for what the product should do by itself in a few."""
patience: ContextVar[float] = ContextVar("patience", default=PATIENCE)
"""The same, of this play."""


def family(pid: int) -> set[int]:
    """A process and all below it."""
    found, waiting = set[int](), [pid]
    while waiting:
        one = waiting.pop()
        found.add(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                waiting += map(int, task.read_text().split())
            except OSError:
                continue  # it has just ended
    return found


def having(variable: str, value: str) -> set[int]:
    """All processes that were started with this in their environment."""
    wanted, found = f"{variable}={value}".encode(), set[int]()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.add(int(folder.name))
        except OSError:
            continue  # it has just ended, or is not ours
    return found


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie of the kernel's."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def stopped(pid: int) -> bool:
    """Whether no thread of the process runs any more, because of SIGSTOP or because it is dead.

    One that has just made a child waits in the kernel (D) until that has begun, which it does not while it is stopped itself.
    """
    return not alive(pid) or all(map(_stands, Path(f"/proc/{pid}/task").glob("*/stat")))


def _stands(stat: Path) -> bool:
    try:
        return stat.read_text().rpartition(")")[2].split()[0] in "TD"
    except OSError:
        return True  # it has just ended


def holding(path: Path, pids: Collection[int]) -> bool:
    """Whether one of these processes, which are stopped, has the lock of this file (flock), as the kernel tells."""
    return any(_locked(file, path) for pid in pids for file in Path(f"/proc/{pid}/fd").glob("*"))


def _locked(file: Path, path: Path) -> bool:
    try:
        return file.samefile(path) and "FLOCK" in (file.parent.parent / "fdinfo" / file.name).read_text()
    except OSError:
        return False  # a socket or the like, or a process that has ended


def send(number: int, pids: Iterable[int]) -> None:
    """Send a signal to those that still exist."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


async def until(condition: Callable[[], Any], within: float | None = None, every: float = 0.01) -> Any:
    """The condition's answer (awaited if need be), once it is true. Raises `TimeoutError` when our patience is over, or sooner."""
    end = time.monotonic() + (patience.get() if within is None else within)
    while True:
        answer = condition()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError("waited in vain")
        await asyncio.sleep(every)
