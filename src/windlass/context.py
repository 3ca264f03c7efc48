"""The running job, as its own code sees it: `current()`, or a parameter `ctx: Context = Depends()`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from math import inf, isfinite
from typing import Any

import msgspec

from windlass.core.durations import Duration, seconds
from windlass.core.job import Claim, Entry, LogLine, Progress
from windlass.core.outcome import bounded
from windlass.core.payload import Undecodable, read_json, write_json
from windlass.core.secret import SHOWN, texts
from windlass.core.terms import Meter
from windlass.errors import InvalidArguments, UnreadableCheckpoint, WindlassError

Sink = Callable[[Entry], None]
"""Takes one journal entry; returns at once, from any thread."""

LOG_LINE_LIMIT = 4000
"""Characters kept of one log line."""


class Context:
    """A run of a job. All methods are sync, cheap, and may be called from any thread of the job.

    job_id: stable over all attempts, so fit as an idempotency key for side effects. token: grows with every run; the fence.
    attempt: from 1. crashes: how often a process died under this job before. meta: the tags given at enqueue.
    enqueued_at, due_at: when it was enqueued, and since when it was due (Unix time).
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
        self.queue = claim.queue
        self.attempt = claim.attempt
        self.crashes = claim.crashes
        self.token = claim.token
        self.enqueued_at = claim.enqueued_at
        self.due_at = claim.due_at
        self.meta = meta
        self._sink = sink
        self._last_checkpoint = last_checkpoint
        self._max_payload = max_payload
        self._stopping: str | None = None
        self._hidden: list[str] = []

    def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Say how far the job is: `current` of `total`, and a word about it. Only the latest is kept."""
        if not all(isfinite(number) for number in (current, total or 0.0)):
            raise InvalidArguments(f"progress is told in finite numbers, not {current!r} of {total!r}")
        total = None if total is None else float(total)
        data = Progress(float(current), total, bounded(self.scrub(message), LOG_LINE_LIMIT))
        self._append("progress", msgspec.json.encode(data))

    def log(self, message: object, level: str = "info") -> None:
        """Write a line to the job's journal. `print` and `logging` inside a job land there too."""
        self._append("log", msgspec.json.encode(LogLine(level, bounded(self.scrub(str(message)), LOG_LINE_LIMIT))))

    def chunk(self, value: Any) -> None:
        """Publish a partial result (a token, a row, a preview's URL) to who follows the job: JSON of at most `max_payload`."""
        self._append("chunk", write_json("the chunk", value, self._max_payload))

    def checkpoint(self, value: Any) -> None:
        """Remember `value` (JSON of at most `max_payload`), so that a later run of this job finds it in `last_checkpoint`.

        It is stored before the outcome is. Like `chunk`, raises `InvalidArguments` or `PayloadTooLarge`.
        """
        self._last_checkpoint = write_json("the checkpoint", value, self._max_payload)
        self._append("checkpoint", self._last_checkpoint)

    @property
    def last_checkpoint(self) -> Any:
        """The latest checkpoint of this job, of this run or an earlier one; None without one. Raises `UnreadableCheckpoint`."""
        try:
            stored = self._last_checkpoint
            return None if stored is None else read_json("the checkpoint", stored, limit=self._max_payload)
        except Undecodable as error:
            raise UnreadableCheckpoint(str(error)) from None

    def used(self, limit: str, units: float) -> None:
        """Say how many units of a limit's rate this run really took; it counts, in the place of what was estimated, when the run ends."""
        if not (isfinite(units) and units >= 0):
            raise InvalidArguments(f"units of a limit are a finite number from 0 on, not {units!r}")
        self._append("meter", msgspec.json.encode(Meter(limit, used=units)))

    def pause_limit(self, limit: str, delay: Duration) -> None:
        """When this run ends, let nobody pass this limit under this job's key for so long: the other side said that it is enough."""
        self._append("meter", msgspec.json.encode(Meter(limit, pause=seconds(delay))))

    def hide(self, *values: Any) -> None:
        """Treat these values as secret from now on: what this job logs, or says in an error, shows "[secret]" in their place.

        Arguments marked with `Secret` are hidden already. Texts of fewer than four characters are not.
        """
        self._hidden = sorted({*self._hidden, *texts(values)}, key=len, reverse=True)

    def scrub(self, text: str) -> str:
        """`text` without what is hidden."""
        for hidden in self._hidden:
            text = text.replace(hidden, SHOWN)
        return text

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
