"""The typed front door to a task: call it, enqueue it, bind its arguments for later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, Protocol, cast

from typing_extensions import TypeVar

from windlass.core.durations import Duration
from windlass.core.ids import new_id
from windlass.core.job import DEFAULT_QUEUE, NewJob
from windlass.core.payload import pack
from windlass.core.retry import Retry
from windlass.definition import Definition, Options
from windlass.handle import Handle
from windlass.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")
Given = TypeVar("Given", covariant=True)  # so that calls of several tasks go into one list
Called = TypeVar("Called", default=R)  # what calling the task directly gives: R, or for async def a coroutine of R

_NO_OPTIONS = Options()


class Counter(Protocol):
    """What a task needs of its app: the place where work is handed in."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> Settings: ...

    def job(self, job_id: str) -> Handle[Any]: ...

    async def place(self, jobs: Sequence[NewJob]) -> list[Handle[Any]]: ...

    def place_blocking(self, jobs: Sequence[NewJob]) -> list[Handle[Any]]: ...


class Call(Generic[Given]):
    """A task with its arguments, checked and encoded, not yet enqueued (`task.bind(...)`). `counter`: where to hand it in."""

    __slots__ = ("counter", "job")

    def __init__(self, job: NewJob, counter: Counter) -> None:
        self.job = job
        self.counter = counter

    def __repr__(self) -> str:
        return f"<Call {self.job.task} {self.job.id}>"


class Task(Generic[P, R, Called]):
    """A function that can be run here (`task(...)`) or by a worker (`await task.enqueue(...)`, `task.delay(...)`)."""

    def __init__(self, definition: Definition, counter: Counter, options: Options = _NO_OPTIONS) -> None:
        self.definition = definition
        self._counter = counter
        self._options = options
        update_wrapper(self, definition.function)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    @property
    def name(self) -> str:
        """The name under which jobs of this task are stored."""
        return self.definition.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Called:
        """Run the function here and now, as if it were not decorated."""
        return cast(Called, self.definition.function(*args, **kwargs))

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Store a job that calls the function with these arguments; on return it is safe.

        Raises `InvalidArguments` (nothing is stored), or a `BrokerError`.
        """
        return (await self._counter.place((self._new_job(args, kwargs),)))[0]

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """The sync twin of `enqueue`; works everywhere, in an `async def` too (which it holds up for one write)."""
        return self._counter.place_blocking((self._new_job(args, kwargs),))[0]

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """The call, checked and encoded, for `app.enqueue_many` and `Accepted`. Raises `InvalidArguments`."""
        return Call(self._new_job(args, kwargs), self._counter)

    def options(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        expires: Duration | None = None,
        key: str | None = None,
        timeout: Duration | None = None,
        retry: Retry | None = None,
        keep: Duration | None = None,
        meta: dict[str, str] | None = None,
    ) -> Task[P, R, Called]:
        """This task with other options for what is enqueued through it. Raises `ConfigurationError` for nonsense.

        delay, at: not before. expires: cancelled when not started by then. key: at most one unfinished job has it.
        """
        options = Options.parse(
            queue=queue,
            priority=priority,
            delay=delay,
            at=at,
            expires=expires,
            key=key,
            timeout=timeout,
            retry=retry,
            keep=keep,
            meta=meta,
        )
        return Task(self.definition, self._counter, options.over(self._options))

    def _new_job(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> NewJob:
        definition, options, settings = self.definition, self._options, self._counter.settings
        encoded = definition.arguments.encode(args, kwargs, settings.max_payload)
        if options is _NO_OPTIONS and definition.plain:
            return NewJob(
                id=new_id(),
                task=definition.name,
                body=pack(encoded),
                lane=definition.lane,
                crash_limit=definition.crash_limit,
                keep=settings.keep,
                keep_failed=settings.keep_failed,
            )
        every = options.over(definition.options)
        return NewJob(
            id=new_id(),
            task=definition.name,
            body=pack(encoded, timeout=options.timeout, retry=options.retry, meta=every.meta),
            queue=every.queue or DEFAULT_QUEUE,
            lane=definition.lane,
            priority=definition.priority if options.priority is None else options.priority,
            delay=every.delay or 0.0,
            at=every.at,
            expires=every.expires,
            key=every.key,
            crash_limit=definition.crash_limit,
            keep=settings.keep if every.keep is None else every.keep,
            keep_failed=settings.keep_failed if every.keep is None else every.keep,
        )
