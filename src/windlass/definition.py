"""What a task *is*: the function, the options of its decorator, and how its arguments, result and needs are handled."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, get_args

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from windlass.asking import check_functions
from windlass.broker.port import Broker
from windlass.context import Context
from windlass.core.batch import Batch, Item, item_of
from windlass.core.codecs import Arguments, Result
from windlass.core.durations import Duration, size
from windlass.core.job import DEFAULT_CRASH_LIMIT, DEFAULT_QUEUE, NewJob
from windlass.core.resources import Amounts, amounts
from windlass.core.schedule import Schedule, When
from windlass.depends import Given, Needs, Overrides, hints_of, needs_of
from windlass.errors import InvalidArguments, TaskDefinitionError
from windlass.events import Events
from windlass.flow import Flow
from windlass.limit import Limit, compile_limits
from windlass.middleware import Middleware
from windlass.options import Options
from windlass.settings import Settings

T = TypeVar("T")
Lane = Literal["loop", "thread", "process"]
SCHEDULED = 1 << 16
"""Bytes that the arguments of a schedule may take: they are read again and again."""


class _UndefinedName(TaskDefinitionError):
    """An annotation names what does not exist, or not yet."""


def _compiled(build: Callable[[Definition], T]) -> cached_property[T]:
    """A cached property of a definition, made from annotations, which may name what does not exist."""

    @wraps(build)
    def get(definition: Definition) -> T:
        try:
            return build(definition)
        except NameError as error:
            raise _UndefinedName(
                f"{definition.name}: an annotation names {error.name!r}, which its module does not have at run time; "
                f"define it there, or import it outside of TYPE_CHECKING"
            ) from None

    return cached_property(get)


@dataclass(slots=False, kw_only=True)
class Definition:
    """One task. `memory` (bytes) limits a run in lane "process"; `crash_limit` counts processes that died under one job.

    on_oom: the queue to which a job moves when a run of it died for want of memory. schedules: when it runs by itself.
    """

    name: str
    function: Callable[..., Any]
    lane: Lane
    options: Options
    memory: int | None = None
    crash_limit: int = DEFAULT_CRASH_LIMIT
    on_oom: str | None = None
    schedules: tuple[Schedule, ...] = ()
    batch: Batch | None = None
    resources: Amounts = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()

    @cached_property
    def slot(self) -> str:
        """The lane that its jobs are stored with: who needs resources has one of its own, "process+gpu=1", and so has each batch."""
        lane = "+".join([self.lane, *map("%s=%d".__mod__, self.resources.items())])
        return lane if self.batch is None else f"{lane}:{self.name}"

    @property
    def queue(self) -> str:
        return self.options.queue or DEFAULT_QUEUE

    def memory_in(self, queue: str) -> int | None:
        """The limit of a run from that queue: in its `on_oom` queue, only the machine's own."""
        return None if queue == self.on_oom else self.memory

    @property
    def source(self) -> str:
        """Where the function stands: "file:line"."""
        return f"{self.function.__code__.co_filename}:{self.function.__code__.co_firstlineno}"

    @cached_property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function."""
        return inspect.iscoroutinefunction(self.function)

    @_compiled
    def _hints(self) -> dict[str, Any]:
        return hints_of(self.function)

    @_compiled
    def needs(self) -> Needs:
        """What is injected, by parameter."""
        return needs_of(self.function, self._hints, frozenset({Context, Flow}))

    @cached_property
    def is_flow(self) -> bool:
        """Whether the function is given a `Flow`."""
        return any(isinstance(need, Given) and need.kind is Flow for need in self.needs.values())

    @_compiled
    def item(self) -> Item:
        """Of a batch: what its list holds."""
        return item_of(self.name, self.function, self._hints, self.needs)

    @_compiled
    def arguments(self) -> Arguments:
        """The codec of the arguments that travel."""
        hints = self._hints if self.batch is None else {self.item.parameter: self.item.kind}
        return Arguments(self.name, self.function, hints, frozenset(self.needs))

    @cached_property
    def decode(self) -> Callable[[Raw | bytes], dict[str, Any]]:
        """Gives the arguments of a job as the function takes them: the item of a batch in a list. Raises `Undecodable`."""
        return self.arguments.decode if self.batch is None else self._decode_item

    def _decode_item(self, args: Raw | bytes) -> dict[str, Any]:
        values = self.arguments.decode(args)
        return {**values, self.item.parameter: [values[self.item.parameter]]}

    def items(self, values: Mapping[str, Any]) -> int:
        """How many jobs are in a run of a batch with these arguments."""
        return len(values[self.item.parameter])

    @_compiled
    def rest(self) -> tuple[str, Arguments]:
        """The first parameter that travels, and the codec of the others: the first one is filled from letters."""
        first = next(iter(self.arguments.signature.parameters.values()), None)
        if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
            raise TaskDefinitionError(
                f"{self.name} has no first parameter that could take the result of what comes before it"
            )
        return first.name, Arguments(self.name, self.function, self._hints, frozenset(self.needs) | {first.name})

    @property
    def takes_no_list(self) -> bool:
        """Whether its first parameter is certainly none for a list."""
        return self._hints.get(self.rest[0]) in (int, float, bool, str, bytes, dict)

    @_compiled
    def result(self) -> Result:
        """The codec of the result."""
        hint = self._hints.get("return", Any) if self.batch is None else self.item.result
        return Result(self.name, type(None) if hint is None else hint)

    def compile(self) -> None:
        """Build everything now; raises `TaskDefinitionError` for what can never work."""
        _ = self.needs, self.arguments, self.result
        if self.is_flow and self.lane != "loop":
            raise TaskDefinitionError(f'{self.name} takes a Flow, so it is an async def in lane "loop"')
        compile_limits(self.name, self.limits, self.arguments.signature)


def define(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    lane: Lane | None = None,
    memory: int | str | None = None,
    crash_limit: int = DEFAULT_CRASH_LIMIT,
    on_oom: str | None = None,
    schedule: When | Schedule | Sequence[When | Schedule] = (),
    batch: Batch | None = None,
    needs: Amounts | None = None,
    limits: Sequence[Limit] = (),
    **options: Any,
) -> Definition:
    """The definition of a decorated function; `options` as `Options.parse` takes them. `TaskDefinitionError` for what can never work.

    Annotations that name what is not defined yet (forward references) are looked at when the task is first used.
    """
    lane = _lane(function, lane)
    definition = Definition(
        name=name or stable_name(function),
        function=function,
        lane=lane,
        options=Options.parse(**options),
        memory=None if memory is None else size(memory),
        crash_limit=crash_limit,
        on_oom=on_oom,
        batch=batch,
        resources=amounts(needs or {}),
        limits=tuple(limits),
    )
    _check(definition)
    check_functions(definition.options, function)
    several = schedule if isinstance(schedule, Sequence) else [schedule]
    definition.schedules = tuple(scheduled(definition, one, n * (len(several) > 1)) for n, one in enumerate(several, 1))
    if len({one.name for one in definition.schedules}) < len(several):
        raise TaskDefinitionError(f"{function.__qualname__}: two of its schedules have one name")
    try:
        definition.compile()
    except _UndefinedName:
        pass  # perhaps it is defined further down
    return definition


def scheduled(definition: Definition, schedule: When | Schedule, number: int = 0) -> Schedule:
    """A schedule of this task, with its name (that of the task, with a number above 0) and its arguments as they travel.

    Raises `ConfigurationError` for options that make no sense, `TaskDefinitionError` unless the task can be called with the arguments.
    """
    one = schedule if isinstance(schedule, Schedule) else Schedule(schedule)
    Options.parse(**one.options)
    try:
        args = json.loads(definition.arguments.encode((), one.args, SCHEDULED))
    except InvalidArguments as error:
        raise TaskDefinitionError(
            f"{error}; a schedule calls the task with its own arguments only: Schedule(Cron(...), args={{...}})"
        ) from None
    name = one.name or f"{definition.name}{f':{number}' if number else ''}"
    secret = tuple(sorted(definition.arguments.secret))
    return replace(
        one, name=name, task=definition.name, args=args, secret=secret, module=definition.function.__module__
    )


def _check(definition: Definition) -> None:
    queue, name, batch = definition.on_oom, definition.function.__qualname__, definition.batch
    if not isinstance(definition.name, str) or len(definition.name) > 255 or not definition.name.isprintable():
        raise TaskDefinitionError(
            f"{name}: a task's name is 1 to 255 printable characters, not {definition.name!r:.80}"
        )
    if definition.memory is not None and definition.lane != "process":
        raise TaskDefinitionError(f'{name}: memory=... can only be enforced in lane "process"')
    if definition.crash_limit < 1:
        raise TaskDefinitionError(f"{name}: crash_limit is at least 1")
    if batch is not None and not isinstance(batch, Batch):
        raise TaskDefinitionError(f"{name}: batch=... takes a Batch(size=...), not {batch!r:.80}")
    if queue is None:
        return
    if definition.lane != "process":
        raise TaskDefinitionError(f'{name}: on_oom=... needs lane "process", where a run can die alone')
    if not isinstance(queue, str) or not 0 < len(queue) <= 255:
        raise TaskDefinitionError(f"{name}: on_oom is a queue, text of 1 to 255 characters, not {queue!r:.80}")
    if queue == definition.queue:
        raise TaskDefinitionError(f"{name}: on_oom={queue!r} is its own queue; name another one, with a bigger machine")


def _lane(function: Callable[..., Any], lane: Lane | None) -> Lane:
    """The lane that `function` runs in. Raises `TaskDefinitionError` for what is no task, or cannot run in that lane."""
    if not inspect.isfunction(function):
        raise TaskDefinitionError(f"@app.task decorates a function (def or async def), not {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TaskDefinitionError(
            f"{function.__qualname__} yields; a task returns its result (use ctx.chunk(...) for partial ones)"
        )
    is_async = inspect.iscoroutinefunction(function)
    lane = lane or ("loop" if is_async else "thread")
    if lane not in get_args(Lane):
        raise TaskDefinitionError(f"{function.__qualname__}: lane is one of {', '.join(get_args(Lane))}, not {lane!r}")
    if lane == "loop" and not is_async:
        raise TaskDefinitionError(
            f'{function.__qualname__} is a plain def and would block lane "loop"; use "thread" or "process"'
        )
    if lane == "thread" and is_async:
        raise TaskDefinitionError(f'{function.__qualname__} is an async def; use lane "loop" or "process"')
    return lane


def stable_name(function: Callable[..., Any]) -> str:
    """ "module.function", also for a script run as __main__, so that producer and worker agree."""
    module = function.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        module = spec.name.removesuffix(".__main__") if spec else Path(file).stem if file else "__main__"
    name = function.__qualname__.replace("<locals>.", "")
    if "<lambda>" in name:
        raise TaskDefinitionError('a lambda has no stable name; use a def, or name="..."')
    return f"{module}.{name}"


async def _gathered() -> None:
    """What stands for a group of jobs: it has waited for all of them, and their results are in its letters."""


GATHER = "windlass.gather"
BUILT_IN = {GATHER: define(_gathered, name=GATHER)}
"""Tasks that every program knows."""


class Program(Protocol):
    """What a worker needs of an app. `Windlass` is one."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def definitions(self) -> Mapping[str, Definition]: ...
    @property
    def middlewares(self) -> Sequence[Middleware]: ...
    @property
    def dependency_overrides(self) -> Overrides: ...
    @property
    def events(self) -> Events: ...
    async def broker(self) -> Broker:
        """The open broker of the running event loop."""
        ...

    def make_broker(self) -> Broker:
        """A new, unopened broker over the app's store, for the calling thread's event loop."""
        ...

    def get_task(self, name: str) -> Makes: ...


class Makes(Protocol):
    """What makes jobs of one task. `Task` is one."""

    def options(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        expires: Duration | None = None,
        timeout: Duration | None = None,
        keep: Duration | None = None,
        meta: dict[str, str] | None = None,
    ) -> Makes: ...
    def pack(self, arguments: bytes) -> NewJob: ...


def scheduled_job(task: Makes, schedule: Schedule, **meta: str) -> NewJob:
    """A new job as a schedule of this task says. It has the schedule's name, and `meta`, among its tags."""
    options: dict[str, Any] = dict(schedule.options)
    options["meta"] = {**options.get("meta", {}), "schedule": schedule.name, **meta}
    job = task.options(**options).pack(msgspec.json.encode(schedule.args))
    return replace(job, key=f"schedule:{schedule.name}") if schedule.overlap == "skip" else job
