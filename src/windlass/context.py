"""The running job, as its own code sees it: `current()`, or a parameter `ctx: Context = Depends()`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from math import inf, isfinite
from typing import Any

import msgspec
from pydantic_core import PydanticSerializationError, to_json

from windlass.core.job import Claim, Entry, LogLine, Progress
from windlass.core.outcome import bounded
from windlass.core.payload import check_size
from windlass.errors import InvalidArguments, WindlassError

Sink = Callable[[Entry], None]
"""Takes one journal entry; returns at once, from any thread."""

LOG_LINE_LIMIT = 4000
"""Characters kept of one log line."""


class Context:
    """A run of a job. All methods are sync, cheap, and may be called from any thread of the job.

    job_id: stable over all attempts, so fit as an idempotency key for side effects. token: grows with every run; the fence.
    attempt: from 1. crashes: how often a process died under this job before. meta: the tags given at enqueue.
    max_payload: the bytes of a chunk or checkpoint at most.
    """

    def __init__(
        self,
        claim: Claim,
        sink: Sink,
        *,
        meta: Mapping[str, str],
        last_checkpoint: bytes | None = None,
        max_payload: float = inf,
    ) -> None:
        self.job_id = claim.id
        self.task = claim.task
        self.attempt = claim.attempt
        self.crashes = claim.crashes
        self.token = claim.token
        self.meta = meta
        self._sink = sink
        self._last_checkpoint = last_checkpoint
        self._max_payload = max_payload
        self._stopping: str | None = None

    def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Say how far the job is: `current` of `total`, and a word about it. Only the latest is kept."""
        if not all(isfinite(number) for number in (current, total or 0.0)):
            raise InvalidArguments(f"progress is told in finite numbers, not {current!r} of {total!r}")
        total = None if total is None else float(total)
        data = Progress(float(current), total, bounded(message, LOG_LINE_LIMIT))
        self._append("progress", msgspec.json.encode(data))

    def log(self, message: object, level: str = "info") -> None:
        """Write a line to the job's journal. `print` and `logging` inside a job land there too."""
        self._append("log", msgspec.json.encode(LogLine(level, bounded(str(message), LOG_LINE_LIMIT))))

    def chunk(self, value: Any) -> None:
        """Publish a partial result (a token, a row, a preview's URL) to who follows the job: JSON of at most `max_payload`."""
        self._append("chunk", self._json("chunk", value))

    def checkpoint(self, value: Any) -> None:
        """Remember `value` (JSON of at most `max_payload`), so that a later run of this job finds it in `last_checkpoint`.

        It is stored before the outcome is. Like `chunk`, raises `InvalidArguments` or `PayloadTooLarge`.
        """
        self._last_checkpoint = self._json("checkpoint", value)
        self._append("checkpoint", self._last_checkpoint)

    @property
    def last_checkpoint(self) -> Any:
        """The latest checkpoint of this job, of this run or an earlier one; None without one."""
        return None if self._last_checkpoint is None else msgspec.json.decode(self._last_checkpoint)

    @property
    def cancelled(self) -> bool:
        """Whether this run is to stop because of a cancel, its time limit or a lost lease. Poll it in long loops."""
        return self._stopping is not None and self._stopping != "shutdown"

    @property
    def shutting_down(self) -> bool:
        """Whether the worker is stopping: save a checkpoint and return or raise Snooze(0) soon, or be handed back."""
        return self._stopping == "shutdown"

    def stop(self, why: str) -> None:
        """Used by the worker: say why this run should end ("cancel", "limit", "lost", "shutdown")."""
        self._stopping = why

    def _append(self, kind: str, data: bytes) -> None:
        self._sink(Entry(kind, data, time.time(), self.attempt))

    def _json(self, kind: str, value: Any) -> bytes:
        try:
            data = to_json(value, bytes_mode="base64", inf_nan_mode="strings")
        except PydanticSerializationError as error:
            raise InvalidArguments(f"{type(value).__name__} cannot be stored as JSON: {error}") from None
        check_size(f"the {kind} takes", data, self._max_payload)
        return data


Open = Callable[[], Context]
"""Gives the context of one run, which is made when it is first asked for: most jobs never do."""

_current: ContextVar[Open] = ContextVar("windlass_job")


def current() -> Context:
    """The context of the job this code runs in. Raises `WindlassError` outside of a job."""
    try:
        opened = _current.get()
    except LookupError:
        raise WindlassError("current() was called outside of a job; call it in a task that a worker runs") from None
    return opened()


def current_or_none() -> Context | None:
    """The context of the job this code runs in, None outside."""
    opened = _current.get(None)
    return None if opened is None else opened()


def enter(opened: Open) -> None:
    """Used by the worker: what `opened` gives is the current context from now on, in this thread or task."""
    _current.set(opened)
