"""The typed front door to a task: call it, enqueue it, bind its arguments for later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property, update_wrapper
from typing import Any, Generic, ParamSpec, cast

from msgspec.structs import replace
from typing_extensions import TypeVar

from windlass.core.durations import Duration
from windlass.core.ids import new_id
from windlass.core.job import DEFAULT_PRIORITY, DEFAULT_QUEUE, NewJob
from windlass.core.payload import packer
from windlass.core.retry import Retry
from windlass.definition import Definition, Options
from windlass.handle import App, Handle
from windlass.limit import with_limits

P = ParamSpec("P")
R = TypeVar("R")
Given = TypeVar("Given", covariant=True)  # so that calls of several tasks go into one list
Called = TypeVar("Called", default=R)  # what calling the task directly gives: R, or for async def a coroutine of R


class Call(Generic[Given]):
    """A job of `app`, its arguments checked and encoded, not yet enqueued (`task.bind(...)`)."""

    __slots__ = ("app", "job")

    def __init__(self, job: NewJob, app: App) -> None:
        self.job = job
        self.app = app

    def __repr__(self) -> str:
        return f"<Call {self.job.task} {self.job.id}>"


class Task(Generic[P, R, Called]):
    """A function that can be run here (`task(...)`) or by a worker (`await task.enqueue(...)`, `task.delay(...)`)."""

    def __init__(self, definition: Definition, app: App, options: Options | None = None) -> None:
        self.definition = definition
        self.app = app
        self._options = options or Options()
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
        return (await self.app.place([self._new_job(args, kwargs)]))[0]

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """The sync twin of `enqueue`; works everywhere, in an `async def` too (which it holds up for one write)."""
        return cast("Handle[R]", self.app.run_blocking(self.app.place([self._new_job(args, kwargs)]))[0])

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """The call, checked and encoded, for `app.enqueue_many` and `Accepted`. Raises `InvalidArguments`."""
        return Call(self._new_job(args, kwargs), self.app)

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
        return Task(self.definition, self.app, options.over(self._options))

    def _new_job(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> NewJob:
        arguments = self.definition.arguments.encode(args, kwargs, self.app.settings.max_payload)
        blank, pack = self._form
        job = replace(blank, id=new_id(), body=pack(arguments))
        limits = (*self.definition.limits, *self.app.queue_limits.get(job.queue, ()))
        if not limits:
            return job
        return replace(
            job, terms=with_limits(job.terms, limits, lambda: self.definition.arguments.complete(args, kwargs))
        )

    @cached_property
    def _form(self) -> tuple[NewJob, Callable[[bytes], bytes]]:
        """What all jobs that are enqueued through this have in common: a job without id and body, and what makes a body."""
        options, settings = self._options.over(self.definition.options), self.app.settings
        secret = sorted(self.definition.arguments.secret)
        pack = packer(timeout=self._options.timeout, retry=self._options.retry, meta=options.meta, secret=secret)
        blank = NewJob(
            id="",
            task=self.name,
            body=b"",
            queue=options.queue or DEFAULT_QUEUE,
            lane=self.definition.lane,
            priority=DEFAULT_PRIORITY if options.priority is None else options.priority,
            delay=options.delay or 0.0,
            at=options.at,
            expires=options.expires,
            key=options.key,
            crash_limit=self.definition.crash_limit,
            keep=settings.keep if options.keep is None else options.keep,
            keep_failed=settings.keep_failed if options.keep is None else options.keep,
        )
        return blank, pack
