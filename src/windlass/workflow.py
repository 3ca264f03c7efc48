"""Workflows: calls that wait for the results of others. A chain, a group, a join; each is stored at once, all of it or nothing.

No process walks a graph: what waits is told by those that it waits for (letters), and the id of each part follows from the whole's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from msgspec.structs import replace

from windlass.core import letters
from windlass.core.durations import Duration
from windlass.core.ids import derived, new_id
from windlass.core.job import JobId, NewJob, Progress
from windlass.core.payload import packer
from windlass.core.terms import Terms
from windlass.definition import GATHER
from windlass.errors import ConfigurationError, JobError
from windlass.handle import WAIT, App, Handle, not_found, outcome_of

Q = ParamSpec("Q")
S = TypeVar("S")
T = TypeVar("T")
Given = TypeVar("Given", covariant=True)  # so that calls of several tasks go into one list
S_co = TypeVar("S_co", covariant=True)


class Follows(Protocol[Q, S_co]):
    """A task, as what follows others."""

    def bind(self, *args: Q.args, **kwargs: Q.kwargs) -> Call[S_co]: ...
    def after(self, inputs: Inputs, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call[S_co]: ...


class Inputs:
    """What a call waits for. listed: it takes all results in one list. collects: failures, too."""

    __slots__ = ("calls", "collects", "listed")

    def __init__(self, calls: Sequence[Call[Any]], *, listed: bool, collects: bool = False) -> None:
        self.calls, self.listed, self.collects = tuple(calls), listed, collects


NOTHING = Inputs((), listed=False)


class Call(Generic[Given]):
    """A job of `app`, its arguments checked and encoded, not yet enqueued (`task.bind(...)`), and all that it waits for."""

    __slots__ = ("app", "inputs", "job")

    def __init__(self, job: NewJob, app: App, inputs: Inputs = NOTHING) -> None:
        self.job = job
        self.app = app
        self.inputs = inputs

    def __repr__(self) -> str:
        return f"<Call {self.job.task} {self.job.id}>"

    @property
    def name(self) -> str:
        """The name of its task."""
        return self.job.task

    def then(self, task: Follows[Concatenate[Given, Q], S], /, *args: Q.args, **kwargs: Q.kwargs) -> Call[S]:
        """A call of `task` with this call's result as its first argument, once there is one: `resize.bind(photo).then(upload, "s3://...")`.

        A failure fails what waits for it. Raises `InvalidArguments`, or `TaskDefinitionError` for a task that takes nothing.
        """
        return task.after(Inputs((self,), listed=False), args, kwargs)

    def jobs(self, job: JobId | None = None, to: JobId | None = None) -> list[NewJob]:
        """All jobs that are to be stored. job: the id of the last one. to: whom it tells of its end, and whose workflow it belongs to."""
        if to is None and not self.inputs.calls and not self.inputs.listed:
            return [self.job if job is None else replace(self.job, id=job)]
        first = job or self.job.id
        root, found = to or first, list[NewJob]()
        left: list[tuple[Call[Any], JobId, Terms]] = [(self, first, Terms(root=root, to=(to,) if to else ()))]
        while left:
            call, mine, terms = left.pop()
            parts = call.inputs.calls
            if call.job.key is not None and (terms.to or parts):
                raise ConfigurationError(
                    f"{call!r} has a key, and no job of a workflow or flow can: who has the key already belongs to another one;"
                    " leave it out, or start the whole from a job that has the key"
                )
            own = call.job.terms
            if parts or own is not None or call.inputs.collects:
                collects = call.inputs.collects or (own is not None and own.collects)
                given = replace(own or Terms(), root=terms.root, to=terms.to, letters=len(parts), collects=collects)
            else:
                given = terms
            found.append(replace(call.job, id=mine, terms=given))
            below = Terms(root=root, to=(mine,))  # one for all: stores take many of a kind at once
            left += [(part, derived(mine, number), below) for number, part in reversed([*enumerate(parts)])]
        return found

    def decode(self, data: bytes) -> Given:
        """A result of it from JSON. Raises `Undecodable`."""
        return cast(Given, self.app.decode(self.job.task, data))

    async def enqueue(self) -> Handle[Given]:
        """Store it, and all that it waits for; on return it is safe. The handle is that of the last job; its cancel cancels all."""
        jobs = self.jobs()
        return (await self.app.place(jobs))[0]

    def delay(self) -> Handle[Given]:
        """The sync twin of `enqueue`."""
        return cast("Handle[Given]", self.app.run_blocking(self.enqueue()))


class Group(Generic[T]):
    """Calls that run side by side. chunked: each of them gives several results."""

    def __init__(self, app: App, calls: Sequence[Call[Any]], *, collects: bool, chunked: bool = False) -> None:
        self._app, self._chunked = app, chunked
        self._inputs = Inputs(calls, listed=True, collects=collects)

    def then(self, task: Follows[Concatenate[list[T], Q], S], /, *args: Q.args, **kwargs: Q.kwargs) -> Call[S]:
        """A join: a call of `task` with the list of all results, in the order of the calls, as its first argument."""
        if self._chunked:
            raise ConfigurationError("a map with chunk=... gives its results one by one; join it without chunks")
        return task.after(self._inputs, args, kwargs)

    async def enqueue(self) -> Gathering[T]:
        """Store all calls, or none, and give the one handle on all of them."""
        calls = self._inputs.calls
        like = calls[0].job if calls else NewJob(id="", task="", body=b"")
        job = NewJob(
            id=new_id(),
            task=GATHER,
            body=packer()(b"{}"),
            queue=like.queue,
            priority=like.priority,
            keep=like.keep,
            keep_failed=like.keep_failed,
        )
        await self._app.place(Call[None](job, self._app, self._inputs).jobs())
        return Gathering(job.id, self._app, chunked=self._chunked)

    def delay(self) -> Gathering[T]:
        """The sync twin of `enqueue`."""
        return cast("Gathering[T]", self._app.run_blocking(self.enqueue()))


class Gathering(Handle[list[T]]):
    """All jobs of a group: `await` it for the list of results, or take them as they come: `async for result in gathering`."""

    __slots__ = ("_chunked",)

    def __init__(self, job_id: str, app: App, *, chunked: bool = False) -> None:
        super().__init__(job_id, app)
        self._chunked = chunked

    async def progress(self) -> Progress:
        """How many of its jobs are done."""
        job = await self.info()
        return Progress(float(job.letters), float(job.awaited))

    async def __aiter__(self) -> AsyncGenerator[T]:
        async for letter in self._letters():
            for value in self._values(letter):
                yield value

    async def result(self, timeout: Duration | None = None) -> list[T]:
        """Wait for all, and give the results in the order of the calls. Raises what `Handle.result` raises."""
        await super().result(timeout)
        found = {letter.name: letter async for letter in self._letters()}
        return [value for n in range(len(found)) for value in self._values(found[derived(self.id, n)])]

    async def _letters(self) -> AsyncGenerator[letters.Letter]:
        last = 0
        while True:
            reading = await (await self._app.broker()).read(self.id, after=last, wait=WAIT)
            if reading is None:
                raise not_found(self.id)
            for letter in letters.found(reading.entries).values():
                yield letter
            last = max((entry.seq for entry in reading.entries), default=last)
            if reading.end is not None:
                outcome_of(reading.end, self._app.decode)  # raises what ended it
                return

    def _values(self, letter: letters.Letter) -> list[T]:
        found = letters.answer(letter, lambda data: self._app.decode(letter.task, data))
        return cast("list[T]", found if self._chunked and not isinstance(found, JobError) else [found])


@overload
def group(calls: Iterable[Call[T]], *, collect: Literal[False] = False) -> Group[T]: ...
@overload
def group(calls: Iterable[Call[T]], *, collect: Literal[True]) -> Group[T | JobError]: ...
def group(calls: Iterable[Call[Any]], *, collect: bool = False) -> Group[Any]:
    """Calls that run side by side: `group(resize.bind(one) for one in photos).then(publish)`.

    The first failure fails what waits for them; with `collect` it stands as an error among the results. Raises `ConfigurationError`.
    """
    calls = list(calls)
    if not calls:
        raise ConfigurationError("a group needs at least one call")
    return Group(calls[0].app, calls, collects=collect)


def chain(call: Call[Any], *tasks: Follows[..., Any]) -> Call[Any]:
    """A call and what follows it, one after the other, each with the result of the one before it."""
    for task in tasks:
        call = task.after(Inputs((call,), listed=False), (), {})
    return call
