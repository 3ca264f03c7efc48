"""A job's life so far, from its journal and from itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

from windlass.broker.port import Journals
from windlass.core.durations import date
from windlass.core.job import Entry, Job, Tried
from windlass.core.outcome import ErrorInfo
from windlass.core.payload import Undecodable, read_json
from windlass.core.state import State
from windlass.definition import GATHER
from windlass.web.admin.shapes import Span, SpanError
from windlass.web.admin.steps import Step, Steps

KEPT = 200
"""Jobs whose runs are remembered."""
DELAYED = ("retried", "snoozed", "suspended")
"""Outcomes after which a job waits for its time; after the others it is ready at once."""
_WAITS = {State.SCHEDULED: "scheduled", State.WAITING: "waiting", State.READY: "ready", State.CANCELLED: "ready"}

Try = tuple[int, float, Tried]
"""Attempt, end, and what is told of a run that did not succeed."""


class Tries:
    """The runs and steps that the journals of the jobs looked at lately tell of: what was read of a journal once is not read again."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[datetime, int, list[Try], Steps]] = {}

    async def of(self, broker: Journals, job: Job) -> list[Try]:
        """The runs of a job that did not succeed, as far as they can be read."""
        return (await self._read(broker, job))[0]

    async def steps(self, broker: Journals, job: Job, now: float) -> list[Step]:
        """The steps of a flow; nothing of what has never run, or is none."""
        if job.started_at is None or job.terms is None or not job.terms.collects or job.task == GATHER:
            return []
        return (await self._read(broker, job))[1].told(now)

    async def _read(self, broker: Journals, job: Job) -> tuple[list[Try], Steps]:
        made, last, tries, steps = self._known.pop(job.id, (None, 0, [], Steps(job.id)))
        if made != job.created_at:  # it was made anew under the same id
            last, tries, steps = 0, [], Steps(job.id)
        reading = await broker.read(job.id, after=last)
        if reading is None:
            return [], steps
        tries += _tries(reading.entries)
        steps.add(reading.entries)
        self._known[job.id] = job.created_at, reading.last, tries, steps
        if len(self._known) > KEPT:
            del self._known[next(iter(self._known))]
        return tries, steps


def _tries(entries: Iterable[Entry]) -> Iterator[Try]:
    for entry in entries:
        if entry.kind == "attempt":
            with suppress(Undecodable):
                yield entry.attempt, entry.at, read_json("a run", entry.data, Tried)


def timeline(job: Job, tries: Iterable[Try]) -> list[Span]:
    """Waits and runs in their order. A run that has ended is one span, its kind being its outcome.

    tries: as the journal has them. What it does not tell (the run that goes on, or succeeded, or whose worker was lost) the job does.
    """
    runs = list(_runs(job, sorted(tries, key=lambda one: one[2].started_at)))
    found = [Span(at=job.created_at, until=None, kind="enqueued", attempt=0)]
    free, kind = job.created_at, "ready"
    started = job.state is State.RUNNING or job.state.finished
    for run in runs:
        due = job.run_at if run is runs[-1] and started else free
        found += _waits(free, min(due, run.at), run.at, kind, run.attempt)
        found.append(run)
        free, kind = run.until or run.at, "scheduled" if run.kind in DELAYED else "ready"
    if job.state in _WAITS and (job.finished_at is None or job.finished_at > free):
        found += _now(job, free, found[-1].attempt + 1)
    return found


def _runs(job: Job, tries: list[Try]) -> Iterator[Span]:
    for attempt, end, told in tries:
        yield Span(
            at=date(told.started_at),
            until=date(end),
            kind=told.outcome,
            attempt=attempt,
            worker=told.worker,
            error=_error(told.error),
        )
    started = job.started_at
    if started is None or (tries and tries[-1][1] >= started.timestamp()):
        return
    ended = job.state.finished
    interrupted = "suspended" if job.awaited else "crashed"
    kind = job.state.value if ended or job.state is State.RUNNING else interrupted
    # Who takes back a lost worker's job knows only when that was: then the job was due again. When a flow was suspended nobody notes:
    # soon after it started.
    back = started if kind == "suspended" else max(job.run_at, started)
    until = job.finished_at if ended else None if kind == "running" else back
    error = None if kind in ("running", "succeeded") else _error(job.error)
    yield Span(at=started, until=until, kind=kind, attempt=max(1, job.attempt), worker=job.worker, error=error)


def _waits(start: datetime, due: datetime, end: datetime, kind: str, attempt: int) -> Iterator[Span]:
    """From `start` to `end`: until it was due, and after that; nothing of no length."""
    if start < due:
        yield Span(at=start, until=due, kind="scheduled" if kind == "ready" else kind, attempt=attempt)
        kind, start = "ready", due
    if start < end:
        yield Span(at=start, until=end, kind=kind, attempt=attempt)


def _now(job: Job, start: datetime, attempt: int) -> Iterator[Span]:
    """The wait that goes on, or was ended by a cancel."""
    kind = _WAITS[job.state]
    if kind == "ready" and start < job.run_at < (job.finished_at or datetime.max.replace(tzinfo=UTC)):
        yield Span(at=start, until=job.run_at, kind="scheduled", attempt=attempt)
        start = job.run_at
    yield Span(at=start, until=job.finished_at, kind=kind, attempt=attempt)


def _error(error: ErrorInfo | None) -> SpanError | None:
    return SpanError(type=error.type, message=error.message, traceback=error.traceback) if error else None
