"""`Windlass`: the composition root. A registry of tasks, a broker, settings; no logic of its own."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import accumulate
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

from windlass.asking import OnConflict, Text, Unique
from windlass.blocking import background
from windlass.broker.port import Broker
from windlass.broker.sealed import sealed
from windlass.broker.url import make_broker
from windlass.connections import Connections
from windlass.core.batch import Batch
from windlass.core.durations import Duration
from windlass.core.ids import check_id, is_id
from windlass.core.job import DEFAULT_CRASH_LIMIT, NewJob, StoreInfo
from windlass.core.keys import Debounce, Throttle
from windlass.core.payload import read_json, write_json
from windlass.core.retry import Retry
from windlass.core.schedule import Schedule, When
from windlass.core.seal import Seal
from windlass.definition import Definition, Lane, define
from windlass.errors import (
    BrokerUnavailable,
    ConfigurationError,
    DuplicateTask,
    InvalidArguments,
    StoreFull,
    TaskDefinitionError,
    UnknownTask,
)
from windlass.events import Events
from windlass.handle import Handle
from windlass.limit import Limit
from windlass.middleware import Middleware
from windlass.options import FlowOptions
from windlass.schedules import Schedules
from windlass.settings import Settings, default_url, load
from windlass.task import BatchTask, Call, Task

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

logger = logging.getLogger("windlass")


class TaskDecorator(Protocol):
    """What `@app.task(...)` gives: a decorator for sync and async functions."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class BatchDecorator(Protocol):
    """What `@app.task(batch=...)` gives: a decorator for functions of a list, whose jobs have one item each."""

    @overload
    def __call__(
        self, function: Callable[[list[T]], Coroutine[Any, Any, Sequence[R | Exception]]], /
    ) -> BatchTask[T, R, Coroutine[Any, Any, list[R]]]: ...
    @overload
    def __call__(self, function: Callable[[list[T]], Sequence[R | Exception]], /) -> BatchTask[T, R, list[R]]: ...


class FlowDecorator(Protocol):
    """What `@app.flow(...)` gives: a decorator for async functions."""

    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...


class Windlass:
    """An app: its tasks, and the store their jobs live in.

    url: "sqlite:///file", "memory://"; by default $WINDLASS_URL, or a SQLite file beside the nearest pyproject.toml.
    name: keeps several apps on one store apart. settings: any field of `Settings`, for example `concurrency=20`.
    seal: signs or encrypts what jobs carry; by default with the keys in $WINDLASS_ENCRYPTION_KEYS and $WINDLASS_SIGNING_KEYS, if any.
    schedules: of its tasks, to be looked at and changed at run time.
    queue_limits: limits of all jobs that this program enqueues into a queue, by its name, beside those of their tasks; may be added to.
    Nothing is opened before it is used; each event loop gets its own connection.
    """

    def __init__(
        self, url: str | None = None, *, name: str = "windlass", seal: Seal | None = None, **settings: Any
    ) -> None:
        if not name or not name.replace("-", "").replace("_", "").isalnum():
            raise ConfigurationError(f"an app's name is made of letters, digits, '-' and '_', not {name!r}")
        self.url = url or default_url()
        self.name = name
        self.seal = seal or Seal.from_environment()
        self.settings: Settings = load(**settings)
        self.events = Events()
        self.definitions: dict[str, Definition] = {}
        self.middlewares: list[Middleware] = []
        self.queue_limits: dict[str, Sequence[Limit]] = {}
        self.around_broker: Callable[[Broker], Broker] = lambda broker: broker  # for instrumentation
        self.dependency_overrides: dict[Callable[..., Any], Callable[..., Any]] = {}
        self.schedules = Schedules(self)
        self._tasks: dict[str, Task[..., Any, Any]] = {}
        self._first = make_broker(self.url, name)
        self._connections = Connections(self.make_broker, self.settings.durability)

    def __repr__(self) -> str:
        return f"<Windlass {self.name!r}: {len(self.definitions)} tasks>"

    # --- tasks

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        /,
        *,
        name: str | None = None,
        lane: Lane | None = None,
        queue: str | None = None,
        priority: int | None = None,
        timeout: Duration | None = None,
        retry: Retry | None = None,
        keep: Duration | None = None,
        expires: Duration | None = None,
        key: Text | None = None,
        unique: Unique | None = None,
        on_conflict: OnConflict | None = None,
        debounce: Debounce | None = None,
        throttle: Throttle | None = None,
        fair_by: Text | None = None,
        weight: float | Callable[..., float] | None = None,
        ageing: Duration | None = None,
        memory: int | str | None = None,
        crash_limit: int = DEFAULT_CRASH_LIMIT,
        on_oom: str | None = None,
        needs: dict[str, int] | None = None,
        limits: Sequence[Limit] = (),
        meta: dict[str, str] | None = None,
        schedule: When | Schedule | Sequence[When | Schedule] = (),
    ) -> TaskDecorator: ...
    @overload
    def task(
        self,
        /,
        *,
        batch: Batch,
        name: str | None = None,
        lane: Lane | None = None,
        queue: str | None = None,
        priority: int | None = None,
        timeout: Duration | None = None,
        retry: Retry | None = None,
        keep: Duration | None = None,
        expires: Duration | None = None,
        memory: int | str | None = None,
        crash_limit: int = DEFAULT_CRASH_LIMIT,
        on_oom: str | None = None,
        needs: dict[str, int] | None = None,
        meta: dict[str, str] | None = None,
    ) -> BatchDecorator: ...
    def task(self, function: Any = None, /, **given: Any) -> Any:
        """Make a function a task: `@app.task` or `@app.task(queue="video", timeout="2h")`.

        name: the stable name, "module.function" by default. lane: "loop" for async def, "thread" (default) or "process" for def.
        queue, priority (0 to 9), timeout, retry, keep, expires, meta: defaults for every job; see `Task.options`.
        key, fair_by, weight: text (a number), or a function of the arguments that gives it: `key=lambda video: f"video:{video}"`.
        unique, on_conflict, debounce, throttle: what happens to jobs with the same key; ageing: of priorities. See `Asking`.
        memory: limit of a run in lane "process". crash_limit: processes that may die under one job before it is quarantined.
        on_oom: in lane "process", the queue for the next run after one that died for want of memory; `memory` does not hold there.
        schedule: when it runs by itself: `Cron`, `Every`, a `Schedule`, or several.
        needs: resources, {"gpu": 1}, of a worker that has them (`--has gpu=2`); `ctx.devices` says which.
        batch: jobs that run together; the function takes a list of items, one of each job, and gives a list of results.
        limits: what its jobs take of something that others need, too; see `Limit`.
        Raises `TaskDefinitionError`, `DuplicateTask` or `ConfigurationError`.
        """
        if function is None:
            return partial(self._register, **given)
        return self._register(function, **given)

    def _register(self, function: Callable[..., Any], **given: Any) -> Task[..., Any, Any]:
        definition = define(function, **given)
        known = self.definitions.get(definition.name)
        if known is not None and known.source != definition.source:
            raise DuplicateTask(
                f"two tasks are called {definition.name!r}: {known.source} and {definition.source}; give one a name=..."
            )
        self.definitions[definition.name] = definition
        task_class: type[Task[..., Any, Any]] = Task if definition.batch is None else BatchTask
        task = self._tasks[definition.name] = task_class(definition, self)
        return task

    def get_task(self, name: str) -> Task[..., Any, Any]:
        """The task of that name. Raises `UnknownTask`, listing near misses."""
        if name not in self._tasks:
            near = [known for known in self._tasks if name.rpartition(".")[2] in known]
            raise UnknownTask(f"there is no task {name!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
        return self._tasks[name]

    @overload
    def flow(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def flow(self, /, **given: Unpack[FlowOptions]) -> FlowDecorator: ...
    def flow(self, function: Any = None, /, **given: Any) -> Any:
        """Make an async function with a parameter `flow: Flow = Depends()` a durable flow: a task that goes on where it was.

        Takes what `task` takes (`FlowOptions`). Raises `TaskDefinitionError`, too, for a function that has no such parameter.
        """
        if function is None:
            return partial(self.flow, **given)
        task = self._register(function, **given)
        if not task.definition.is_flow:
            raise TaskDefinitionError(f"{task.name} is no flow: it has no parameter `flow: Flow = Depends()`")
        return task

    def middleware(self, layer: Middleware) -> Middleware:
        """Register code that runs around every job (a decorator); the first one registered is the outermost."""
        self.middlewares.append(layer)
        return layer

    # --- jobs

    async def enqueue_many(self, calls: Iterable[Call[R]]) -> list[Handle[R]]:
        """Store many calls in one round trip, all or none. Raises `ConfigurationError` for calls of another app's tasks."""
        calls = list(calls)
        if foreign := [call for call in calls if call.app is not self]:
            raise ConfigurationError(f"{foreign[0]!r} belongs to {foreign[0].app!r}, not to {self!r}: enqueue it there")
        parts = [call.jobs() for call in calls]
        handles = await self.place([job for part in parts for job in part])
        firsts = accumulate(map(len, parts[:-1]), initial=0)
        return [handles[first] for first in firsts] if parts else []

    async def signal(self, job_id: str, name: str, data: Any = None) -> bool:
        """Tell a flow of an event, for its `flow.event(name)`. Answers whether it takes any: it is there, and has not finished.

        The first signal of a name counts. Raises `InvalidArguments` or `PayloadTooLarge`.
        """
        if not 0 < len(name) <= 255 or not name.isprintable() or is_id(name):
            raise InvalidArguments(
                f"an event has a name of 1 to 255 printable characters that is no job's id, not {name!r:.80}"
            )
        data = write_json("the event", data, self.settings.max_payload)
        return await (await self.broker()).deliver(check_id(job_id), name, data)

    def job(self, job_id: str) -> Handle[Any]:
        """A handle for an id, from anywhere. Raises `InvalidArguments` when it is no job id."""
        return Handle(check_id(job_id), self)

    async def place(self, jobs: Sequence[NewJob]) -> list[Handle[Any]]:
        """Store new jobs, all or none, and give their handles."""
        placed = await (await self.broker()).enqueue(jobs)
        return [Handle(one.id, self, fresh=one.fresh) for one in placed]

    def decode(self, task: str, data: bytes) -> Any:
        """A result of a task, by its annotation if it is known here. Raises `Undecodable`."""
        definition = self.definitions.get(task)
        decode: Callable[..., Any] = definition.result.decode if definition else partial(read_json, "the result")
        return decode(data, limit=self.settings.max_payload)

    # --- connections

    async def broker(self) -> Broker:
        """The open broker of the running event loop."""
        return await self._connections.get()

    def make_broker(self) -> Broker:
        """A new, unopened broker over this app's store."""
        sibling = getattr(self._first, "sibling", None)
        broker = cast(Broker, sibling()) if sibling else make_broker(self.url, self.name)
        return self.around_broker(broker if self.seal is None else sealed(broker, self.seal))

    @contextmanager
    def store_replaced(self, broker: Broker) -> Generator[None]:
        """For tests: inside the `with`, everything goes to `broker` (which knows how to make siblings of itself), unsealed."""
        kept = self._first, self._connections, self.seal
        self._first, self._connections, self.seal = broker, Connections(self.make_broker, ""), None
        try:
            yield
        finally:
            self._first, self._connections, self.seal = kept

    def run_blocking(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run `work` in the process's background loop and wait for it."""
        return background.run(work)

    async def run_worker(self, *, queues: Sequence[str] | None = None, burst: bool = False) -> None:
        """Work in this event loop until SIGTERM or SIGINT (or this call is cancelled), as `windlass worker` does in its own processes.

        queues: served strictly in this order, or by weight (["video:2", "default:10"]); by default all queues of the tasks, alike.
        burst: return once nothing is ready or running.
        """
        from windlass.worker.runner import work  # producers and `windlass version` need no worker

        await work(self, queues=queues, burst=burst)

    async def describe(self) -> StoreInfo:
        """The live store: what it is, and which faults an accepted job survives there."""
        return await (await self.broker()).describe()

    async def close(self) -> None:
        """Close this event loop's connection."""
        await self._connections.close()

    @asynccontextmanager
    async def lifespan(self, _api: object = None) -> AsyncGenerator[None]:
        """Opens and closes the app: `FastAPI(lifespan=app.lifespan)` or `async with app.lifespan():`.

        A store that is out of reach, or full, is no reason not to start: it is asked again with each use.
        """
        try:
            await self.broker()
        except (BrokerUnavailable, StoreFull) as error:
            logger.warning("%r starts without its store, and asks again: %s", self, error)
        try:
            yield
        finally:
            await self.close()
