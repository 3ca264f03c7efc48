"""The typed front door to a task: call it, enqueue it, bind its arguments for later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cached_property, partial, update_wrapper
from itertools import islice
from typing import Any, Concatenate, Generic, Literal, ParamSpec, cast, overload

from msgspec.structs import replace
from typing_extensions import TypeVar

from windlass.asking import OnConflict, Text, Unique
from windlass.core.durations import Duration
from windlass.core.ids import new_id
from windlass.core.job import DEFAULT_PRIORITY, DEFAULT_QUEUE, NewJob
from windlass.core.keys import Debounce, Throttle
from windlass.core.payload import Fill, packer, with_fill
from windlass.core.retry import Retry
from windlass.core.terms import Terms
from windlass.definition import Definition
from windlass.errors import ConfigurationError, JobError, JobExists, TaskDefinitionError
from windlass.handle import App, Handle
from windlass.limit import with_limits
from windlass.options import Options
from windlass.workflow import Call as Call
from windlass.workflow import Group, Inputs

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")
Called = TypeVar("Called", default=R)  # what calling the task directly gives: R, or for async def a coroutine of R


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

        Raises `InvalidArguments` (nothing is stored), `JobExists` where `on_conflict` says so, or a `BrokerError`.
        """
        return self._checked(await self.app.place([self._new_job(args, kwargs)]))

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """The sync twin of `enqueue`; works everywhere, in an `async def` too (which it holds up for one write)."""
        return self._checked(self.app.run_blocking(self.app.place([self._new_job(args, kwargs)])))

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """The call, checked and encoded, for `app.enqueue_many` and `Accepted`. Raises `InvalidArguments`.

        Where its key is taken, the handle tells: `fresh`.
        """
        return Call(self._new_job(args, kwargs), self.app)

    def after(self, inputs: Inputs, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call[R]:
        """Used by workflows: the call whose first argument is what `inputs` give. Raises `InvalidArguments` or `TaskDefinitionError`."""
        first, rest = self.definition.rest
        if inputs.listed and self.definition.takes_no_list:
            raise TaskDefinitionError(f"{self.name} follows a group, so its first parameter {first!r} takes a list")
        blank, pack = self._form
        parts = len(inputs.calls) if inputs.listed else None
        body = pack(rest.encode(args, kwargs, self.app.settings.max_payload))
        job = replace(blank, id=new_id(), body=with_fill(body, Fill(first, parts, inputs.collects)))
        return Call(self._limited(job, partial(rest.named, args, kwargs)), self.app, inputs)

    @overload
    def map(
        self: Task[Concatenate[T, Q], S, Any], items: Iterable[T], *, collect: Literal[False] = False
    ) -> Group[S]: ...
    @overload
    def map(
        self: Task[Concatenate[T, Q], S, Any], items: Iterable[T], *, collect: Literal[True]
    ) -> Group[S | JobError]: ...
    @overload
    def map(
        self: Task[Concatenate[list[T], Q], list[S], Any],
        items: Iterable[T],
        *,
        chunk: int,
        collect: Literal[False] = False,
    ) -> Group[S]: ...
    @overload
    def map(
        self: Task[Concatenate[list[T], Q], list[S], Any], items: Iterable[T], *, chunk: int, collect: Literal[True]
    ) -> Group[S | JobError]: ...
    def map(self: Any, items: Iterable[Any], *, chunk: int | None = None, collect: bool = False) -> Group[Any]:
        """A job for each item: `async for size in await measure.map(photos).enqueue()`.

        chunk: the task takes a list of so many items and returns the list of their results. collect: see `group`.
        """
        if chunk is not None and chunk < 1:
            raise ConfigurationError(f"chunk={chunk}: a job takes at least one item")
        items = iter(items)
        pieces = items if chunk is None else iter(lambda: list(islice(items, chunk)), [])
        return Group(self.app, [self.bind(one) for one in pieces], collects=collect, chunked=chunk is not None)

    def options(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        expires: Duration | None = None,
        key: Text | None = None,
        unique: Unique | None = None,
        on_conflict: OnConflict | None = None,
        debounce: Debounce | None = None,
        throttle: Throttle | None = None,
        fair_by: Text | None = None,
        weight: float | Callable[..., float] | None = None,
        ageing: Duration | None = None,
        timeout: Duration | None = None,
        retry: Retry | None = None,
        keep: Duration | None = None,
        meta: dict[str, str] | None = None,
    ) -> Task[P, R, Called]:
        """This task with other options for what is enqueued through it. Raises `ConfigurationError` for nonsense.

        delay, at: not before. expires: cancelled when not started by then. key: at most one unfinished job has it. unique, on_conflict,
        debounce, throttle, fair_by, weight, ageing: see `Asking`.
        """
        options = Options.parse(
            queue=queue, priority=priority, delay=delay, at=at, expires=expires, timeout=timeout, retry=retry, keep=keep, meta=meta,
            key=key, unique=unique, on_conflict=on_conflict, debounce=debounce, throttle=throttle,
            fair_by=fair_by, weight=weight, ageing=ageing,
        )  # fmt: skip
        return Task(self.definition, self.app, options.over(self._options))

    def _new_job(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> NewJob:
        arguments, (blank, pack) = self.definition.arguments, self._form
        body = pack(arguments.encode(args, kwargs, self.app.settings.max_payload))
        job = replace(blank, id=new_id(), body=body)
        return self._asking(job, partial(arguments.named, args, kwargs)) if self._asks else job

    def pack(self, arguments: bytes) -> NewJob:
        """A new job with arguments that are encoded already."""
        said, (blank, pack) = self.definition.arguments, self._form
        job = replace(blank, id=new_id(), body=pack(arguments))
        return self._asking(job, lambda: said.defaults | said.decode(arguments)) if self._asks else job

    @property
    def _asks(self) -> bool:
        """Whether a job of its asks for what depends on the arguments, or for limits."""
        return bool(self._depends or self.definition.limits or self.app.queue_limits)

    def _asking(self, job: NewJob, named: Callable[[], dict[str, Any]]) -> NewJob:
        """The job with what it asks for. named: gives the arguments by name, for the functions that tell what that is."""
        if self._depends:
            key, terms = self._asked(named())
            job = replace(job, key=key, terms=terms)
        return self._limited(job, named)

    def _limited(self, job: NewJob, named: Callable[[], Mapping[str, Any]]) -> NewJob:
        """The job with what it takes of limits."""
        limits = (*self.definition.limits, *self.app.queue_limits.get(job.queue, ()))
        return replace(job, terms=with_limits(job.terms, limits, named)) if limits else job

    def _asked(self, arguments: Mapping[str, Any]) -> tuple[str | None, Terms | None]:
        """The key and the terms of a job with these arguments."""
        key, terms = self._given.for_call(arguments)
        return key, replace(terms or Terms(), collects=True) if self.definition.is_flow else terms

    def _checked(self, handles: list[Handle[Any]]) -> Handle[R]:
        (handle,) = handles
        if self._given.on_conflict == "raise" and not handle.fresh:
            raise JobExists(
                handle.id, f"the job {handle.id} has the key of this call of {self.name}; nothing was stored"
            )
        return handle

    @cached_property
    def _depends(self) -> bool:
        """Whether what is asked for depends on the arguments."""
        return bool(self._given.functions)

    @cached_property
    def _given(self) -> Options:
        return self._options.over(self.definition.options)

    @cached_property
    def _form(self) -> tuple[NewJob, Callable[[bytes], bytes]]:
        """What all jobs that are enqueued through this have in common: a job without id and body, and what makes a body."""
        options, settings = self._given, self.app.settings
        key, terms = (None, None) if self._depends else self._asked({})
        wait = options.debounce.delay if options.debounce else 0.0
        secret = sorted(self.definition.arguments.secret)
        pack = packer(timeout=self._options.timeout, retry=self._options.retry, meta=options.meta, secret=secret)
        blank = NewJob(
            id="",
            task=self.name,
            body=b"",
            queue=options.queue or DEFAULT_QUEUE,
            lane=self.definition.slot,
            priority=DEFAULT_PRIORITY if options.priority is None else options.priority,
            delay=max(options.delay or 0.0, wait),
            at=options.at,
            expires=options.expires,
            key=key,
            terms=terms,
            crash_limit=self.definition.crash_limit,
            keep=settings.keep if options.keep is None else options.keep,
            keep_failed=settings.keep_failed if options.keep is None else options.keep,
        )
        return blank, pack


class BatchTask(Task[[T], R, Called], Generic[T, R, Called]):
    """A task of a `Batch`: each job is enqueued with one item and has its own result. Called here, it is the function, over a list."""

    def __call__(self, items: list[T], /, *args: Any, **kwargs: Any) -> Called:  # type: ignore[override]  # it is no job's call
        return cast(Called, self.definition.function(items, *args, **kwargs))
