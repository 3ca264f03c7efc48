"""What each run of a job leaves behind, in a file outside of the system under test."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from windlass import Context, current
from windlass.failpoints import failpoint


class Trace(msgspec.Struct, frozen=True):
    """One line of evidence. what: "start", or how a run ended: "done", "raised", "limit", "lost" (to another worker), "interrupted".

    at: seconds since boot. above: the process's parents, the nearest first.
    """

    what: str
    job: str
    token: int
    attempt: int
    pid: int
    above: tuple[int, ...]
    at: float


def now() -> float:
    """Seconds since boot, the same clock in every process."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def parent_of(pid: int) -> int:
    """The parent of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


LOOK = 0.01
"""Seconds between two looks at something."""
ABOVE = (os.getppid(), parent_of(os.getppid()))


TOLD = {"lost": "lost", "limit": "limit"}
"""Why a run was told to end, where that matters: its job is another worker's; it was over its time limit."""


def leave(what: str, ctx: Context) -> None:
    """One line in one write: whole, whoever else writes."""
    trace = Trace(what, ctx.job_id, ctx.token, ctx.attempt, os.getpid(), ABOVE, now())
    line = msgspec.json.encode(trace) + b"\n"
    file = os.open(os.environ["CHAOS_EVIDENCE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)
    finally:
        os.close(file)


@contextmanager
def witnessed() -> Iterator[Context]:
    """Leave a trace of the start and the end of this run."""
    ctx = current()
    leave("start", ctx)
    try:
        failpoint("task.running")
        yield ctx
        leave("done", ctx)  # in here: an interruption may strike a thread as late as this
    except Exception:
        leave("raised", ctx)
        raise
    except BaseException:
        leave(TOLD.get(ctx._stopping or "", "interrupted"), ctx)
        raise
