"""A handle on one job: wait for its result, look at it, cancel it, follow it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, Protocol, TypeVar, cast, overload

from windlass.broker import whole
from windlass.broker.port import Broker
from windlass.core.codecs import Result
from windlass.core.durations import Duration, date, seconds
from windlass.core.job import Entry, Job, LogLine, NewJob, Progress, Reading
from windlass.core.payload import read_json
from windlass.core.state import State
from windlass.errors import JobCancelled, JobFailed, JobNotFound, ResultTimeout, Undecodable
from windlass.limit import Limit
from windlass.settings import Settings

R = TypeVar("R", covariant=True)
T = TypeVar("T")

WAIT = 20.0
"""Seconds of one waiting read; longer waits are several of them."""

PAST_ALL_ENTRIES = 1 << 60
"""To `read` after this: how the job stands, without its journal."""

UNTOLD = ("attempt", "letter", "step")
"""Kinds of entries that are not for those who follow a job: they see its states."""

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
    def decode(self, task: str, data: bytes) -> Any: ...
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

    fresh: False when the job was there before: under this id, or with this key.
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
                raise not_found(self.id)
            if reading.end is not None:
                return cast(R, outcome_of(reading.end, self._app.decode))
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
            raise not_found(self.id)
        return job

    async def cancel(self) -> State:
        """Cancel the job: at once if it has not started, with the worker's next beat if it runs; answers its state.

        With it goes all that belongs to its workflow, or to its flow. A finished job is left as it is. Raises `JobNotFound`.
        """
        states = await whole.cancel(await self._app.broker(), [self.id])
        if self.id not in states:
            raise not_found(self.id)
        return states[self.id]

    async def parts(self) -> AsyncGenerator[Job]:
        """The other jobs of this workflow, or those that this flow has run so far. The newest first."""
        async for jobs in whole.pages(await self._app.broker(), self.id):
            for job in jobs:
                if job.id != self.id:
                    yield job

    async def events(self, after: int | None = None) -> AsyncGenerator[JobEvent]:
        """Follow the job to its end: its state now and at each change, each journal entry past id `after`, then "end".

        Raises `JobNotFound`. Break out of the loop to stop following.
        """
        seen = None
        async with aclosing(self._readings(after or 0)) as readings:
            async for reading in readings:
                for entry in reading.entries:
                    if entry.kind not in UNTOLD:
                        yield event_of(entry, self._app.settings.max_payload)
                if reading.end is not None:
                    yield JobEvent("end", reading.end, reading.last + 1, reading.attempt)
                elif seen != (reading.state, reading.attempt):
                    seen = (reading.state, reading.attempt)
                    yield JobEvent("state", reading.state, None, reading.attempt)

    @overload
    def stream(self, kind: type[T], *, after: int = 0) -> Stream[T]: ...
    @overload
    def stream(self, kind: Any = Any, *, after: int = 0) -> Stream[Any]: ...
    def stream(self, kind: Any = Any, *, after: int = 0) -> Stream[Any]:
        """The partial results of the job (`ctx.chunk`) as they come, each a `kind`: `async for token in job.stream(str)`.

        after: the `last` of a stream that was broken off; by default from the first one.
        Ends with the job; then raises `JobFailed` or `JobCancelled` when it did not succeed. Raises `JobNotFound`, and `Undecodable`
        for what is no `kind`.
        """
        codec = Result("what stream(...) was asked for", kind, f"a chunk of job {self.id}")
        return Stream(self, codec, after, self._app.settings.max_payload)

    async def _readings(self, after: int) -> AsyncGenerator[Reading]:
        """What stands in the journal past number `after`, and how the job stands: now, and each time that there is more, to the end.

        Raises `JobNotFound`.
        """
        seen = None
        while True:
            broker = await self._app.broker()
            reading = await broker.read(self.id, after=after, wait=WAIT if seen else 0.0, seen=seen)
            if reading is None:
                raise not_found(self.id)
            yield reading
            if reading.end is not None:
                return
            after = reading.entries[-1].seq if reading.entries else after
            seen = (reading.state, reading.attempt)


class Stream(Generic[T]):
    """The partial results of a job. last: the number of the latest; `job.stream(after=last)` goes on behind it."""

    def __init__(self, handle: Handle[Any], codec: Result, after: int, limit: float) -> None:
        self.last = after
        self._handle, self._codec, self._limit = handle, codec, limit

    async def __aiter__(self) -> AsyncGenerator[T]:
        async with aclosing(self._handle._readings(self.last)) as readings:
            async for reading in readings:
                for entry in reading.entries:
                    if entry.kind == "chunk":
                        value: T = self._codec.decode(entry.data, self._limit)
                        self.last = entry.seq
                        yield value
                if reading.end is not None:
                    outcome_of(reading.end, lambda _task, data: data)  # raises what ended it


def not_found(job_id: str) -> JobNotFound:
    """There is no such job."""
    return JobNotFound(f"there is no job {job_id}; it never existed, or its time to be kept is over")


def outcome_of(job: Job, decode: Callable[[str, bytes], Any]) -> Any:
    """The result of a finished job, decoded. Raises `JobFailed` or `JobCancelled` when it has none."""
    if job.state is State.SUCCEEDED:
        return decode(job.task, job.result or b"null")
    if job.state is State.CANCELLED:
        raise JobCancelled(job.id, f"job {job.id} ({job.task}) was cancelled: {job.reason or 'no reason given'}")
    said = f"{job.error.type}: {job.error.message}" if job.error else "no reason recorded"
    raise JobFailed(job.id, f"job {job.id} ({job.task}) failed: {said}", job.error)
