"""Records that cannot be read, because somebody else wrote them or a disk lost bits: one error for all, and what is shown instead.

Such a job is in nobody's way: looked for, it is answered as `unreadable`; claimed, it is parked at once, with its record as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import ParamSpec, TypeVar

import msgspec

from windlass.core.job import Job, JobId, Progress
from windlass.core.state import State
from windlass.errors import StoreCorrupt

P = ParamSpec("P")
R = TypeVar("R")

UNREADABLE = "its record in the store cannot be read: it was damaged, or written by something else; delete the job, or restore the store"
"""Why such a job is parked."""


def decoder(decode: Callable[P, R]) -> Callable[P, R]:
    """A function that reads what is stored: whatever goes wrong in it is `StoreCorrupt`."""

    @wraps(decode)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return decode(*args, **kwargs)
        except Exception as error:
            raise StoreCorrupt(
                f"a record in the store cannot be read: {type(error).__name__}: {str(error)!r:.200}"
            ) from error

    return checked


def unreadable(job: JobId, found: bytes) -> Job:
    """What is answered in the place of such a job; its body is what was found."""
    never = datetime.fromtimestamp(0, UTC)
    return Job(
        id=job,
        task="?",
        queue="?",
        lane="?",
        state=State.PARKED,
        priority=0,
        attempt=0,
        crashes=0,
        created_at=never,
        run_at=never,
        reason=UNREADABLE,
        body=found,
    )


def progress(data: bytes | str | None) -> Progress | None:
    """What a "progress" entry says; None when there is none, or it says nothing that can be read."""
    try:
        return None if data is None else msgspec.json.decode(data, type=Progress)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
