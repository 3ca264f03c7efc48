"""A handle on one job: wait for its result, look at it, cancel it, follow it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

from windlass.broker.port import Broker
from windlass.core.durations import Duration, date, seconds
from windlass.core.job import Entry, Job, LogLine, NewJob, Progress
from windlass.core.payload import read_json
from windlass.core.state import State
from windlass.errors import JobCancelled, JobFailed, JobNotFound, ResultTimeout, Undecodable
from windlass.limit import Limit
from windlass.settings import Settings

R = TypeVar("R", covariant=True)

WAIT = 20.0
"""Seconds of one waiting read; longer waits are several of them."""

PAST_ALL_ENTRIES = 1 << 60
"""To `read` after this: how the job stands, without its journal."""

_DATA: dict[str, Any] = {"progress": Progress, "log": LogLine, "chunk": Any, "checkpoint": Any}
"""What the data of an entry is decoded to."""


class App(Protocol):
    """What handles, calls and tasks need of their app. `Windlass` is one."""

    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def queue_limits(self) -> Mapping[str, Sequence[Limit]]: ...
    async def broker(self) -> Broker: ...
    async def place(self, jobs: Sequence[NewJob]) -> list[Handle[Any]]: ...
    def job(self, job_id: str) -> Handle[Any]: ...
    def decode_result(self, job: Job) -> Any: ...
    def run_blocking(self, work: Coroutine[Any, Any, Any]) -> Any: ...


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One thing that happened to a job.

    kind: "state", "progress", "log", "chunk", "checkpoint" or "end". id: resume after it; None for "state", which is not stored.
    data: State, Progress, LogLine, any JSON value, any JSON value, or, for "end", the finished Job. at: when it was stored.
    """

    kind: Literal["state", "progress", "log", "chunk", "checkpoint", "end"]
    data: Any
    id: int | None
    attempt: int
    at: datetime | None = None


def event_of(entry: Entry, limit: float) -> JobEvent:
    """A journal entry of at most `limit` bytes as an event; one that cannot be read is a log line that says so."""
    at = date(entry.at)
    try:
        data = read_json("its data", entry.data, _DATA[entry.kind], limit)
        return JobEvent(cast(Any, entry.kind), data, entry.seq, entry.attempt, at)
    except KeyError:
        why = "there is no such kind"
    except Undecodable as error:
        why = str(error)
    line = LogLine("error", f"entry {entry.seq} of kind {entry.kind!a:.40} makes no sense: {why}")
    return JobEvent("log", line, entry.seq, entry.attempt, at)


class Handle(Generic[R]):
    """A job, by its id. `await handle` is its result. Handles are cheap; make one anywhere with `app.job(job_id)`.

    fresh: False when the job was there before (its key or id was taken) and this enqueue stored nothing.
    """

    __slots__ = ("_app", "fresh", "id")

    def __init__(self, job_id: str, app: App, *, fresh: bool = True) -> None:
        self.id = job_id
        self.fresh = fresh
        self._app = app

    def __repr__(self) -> str:
        return f"<Handle {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __await__(self) -> Generator[Any, None, R]:
        return self.result().__await__()

    async def result(self, timeout: Duration | None = None) -> R:
        """Wait for the job's end and give its result.

        Raises `JobFailed`, `JobCancelled`, `JobNotFound`, `Undecodable` (what is stored is no result of this task, or not sealed by
        one of our keys), or `ResultTimeout` after `timeout`, which leaves the job running.
        """
        deadline = None if timeout is None else time.monotonic() + seconds(timeout)
        while True:
            left = WAIT if deadline is None else max(0.0, min(WAIT, deadline - time.monotonic()))
            # Asked for anew each time: a closed broker answers at once, and the app opens another.
            broker = await self._app.broker()
            reading = await broker.read(self.id, after=PAST_ALL_ENTRIES, wait=left)
            if reading is None:
                raise _not_found(self.id)
            if reading.end is not None:
                return cast(R, self._app.decode_result(reading.end))
            if deadline is not None and time.monotonic() >= deadline:
                raise ResultTimeout(
                    f"job {self.id} is still {reading.state} after {timeout}"
                    + ("; is a worker running? (windlass worker)" if reading.state is State.READY else "")
                )

    def get(self, timeout: Duration | None = None) -> R:
        """The sync twin of `result`."""
        return cast(R, self._app.run_blocking(self.result(timeout)))

    async def info(self) -> Job:
        """The job as the store knows it now. Raises `JobNotFound`."""
        (job,) = await (await self._app.broker()).get([self.id])
        if job is None:
            raise _not_found(self.id)
        return job

    async def cancel(self) -> State:
        """Cancel the job: at once if it has not started, with the worker's next beat if it runs; answers its state.

        A finished job is left as it is. Raises `JobNotFound`.
        """
        states = await (await self._app.broker()).cancel([self.id])
        if self.id not in states:
            raise _not_found(self.id)
        return states[self.id]

    async def events(self, after: int | None = None) -> AsyncGenerator[JobEvent]:
        """Follow the job to its end: its state now and at each change, each journal entry past id `after`, then "end".

        Raises `JobNotFound`. Break out of the loop to stop following.
        """
        last, seen = after or 0, None
        while True:
            broker = await self._app.broker()
            reading = await broker.read(self.id, after=last, wait=WAIT if seen else 0.0, seen=seen)
            if reading is None:
                raise _not_found(self.id)
            for entry in reading.entries:
                last = entry.seq
                if entry.kind == "attempt":  # the history's: whoever follows a job sees its states
                    continue
                yield event_of(entry, self._app.settings.max_payload)
            if reading.end is not None:
                yield JobEvent("end", reading.end, reading.last + 1, reading.attempt)
                return
            if seen != (reading.state, reading.attempt):
                seen = (reading.state, reading.attempt)
                yield JobEvent("state", reading.state, None, reading.attempt)


def _not_found(job_id: str) -> JobNotFound:
    return JobNotFound(f"there is no job {job_id}; it never existed, or its time to be kept is over")


def outcome_of(job: Job, decode: Callable[[bytes], Any]) -> Any:
    """The result of a finished job, decoded. Raises `JobFailed` or `JobCancelled` when it has none."""
    if job.state is State.SUCCEEDED:
        return decode(job.result or b"null")
    if job.state is State.CANCELLED:
        raise JobCancelled(job.id, f"job {job.id} ({job.task}) was cancelled: {job.reason or 'no reason given'}")
    said = f"{job.error.type}: {job.error.message}" if job.error else "no reason recorded"
    raise JobFailed(job.id, f"job {job.id} ({job.task}) failed: {said}", job.error)
