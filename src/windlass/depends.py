"""`Depends`, as in FastAPI: what a task needs beside its arguments, made for each job or once per worker process.

A dependency is any callable: sync (run in a thread), async, or a generator of either kind, whose code after `yield`
runs when the job is over and sees the job's exception. Results are cached within a job. `dependency_overrides` of the
app replace callables in tests.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from windlass.errors import DependencyError, TaskDefinitionError

Scope = Literal["job", "worker"]
Overrides = Mapping[Callable[..., Any], Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Dependency:
    """The marker that `Depends(...)` leaves in a signature. Without a callable, the annotation says what is meant."""

    dependency: Callable[..., Any] | None = None
    scope: Scope = "job"
    use_cache: bool = True


def Depends(dependency: Callable[..., Any] | None = None, *, scope: Scope = "job", use_cache: bool = True) -> Any:
    """Declare a dependency: `db: Session = Depends(get_db)` or `ctx: Context = Depends()`.

    scope="worker": made once per worker process, when first needed, and closed when the process stops (a loaded model,
    a connection pool). use_cache=False: made anew for each place that asks for it.
    """
    if scope not in ("job", "worker"):
        raise TaskDefinitionError(f'Depends(scope=...) is "job" or "worker", not {scope!r}')
    return Dependency(dependency, scope, use_cache)


@dataclass(frozen=True, slots=True)
class Given:
    """A parameter that the runtime fills in itself, by its class (the `Context`)."""

    kind: type


@dataclass(frozen=True, slots=True)
class Node:
    """One dependency and what it needs in turn."""

    call: Callable[..., Any]
    scope: Scope
    use_cache: bool
    needs: dict[str, Node | Given] = field(default_factory=dict)


Needs = dict[str, Node | Given]


def needs_of(function: Callable[..., Any], hints: Mapping[str, Any], given: frozenset[type], chain: str = "") -> Needs:
    """What `function` has injected, by parameter. `given` are the classes the runtime provides.

    Raises `TaskDefinitionError` for what could never be resolved in a job, naming the whole chain.
    """
    chain = chain or getattr(function, "__qualname__", repr(function))
    needs: Needs = {}
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints.get(name, Any)
        kind, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        # Looked at, not asked for its class: FastAPI's own marker is welcome too.
        markers = (
            one for one in (parameter.default, *extras) if hasattr(one, "dependency") and hasattr(one, "use_cache")
        )
        if (marker := next(markers, None)) is None:
            continue
        call = marker.dependency or kind
        if isinstance(call, type) and call in given:
            needs[name] = Given(call)
        elif not callable(call) or call is Any:
            raise TaskDefinitionError(
                f"{chain}: parameter {name!r} says Depends() without a callable or a class to make"
            )
        else:
            needs[name] = _node(call, marker, given, f"{chain} -> {getattr(call, '__qualname__', call)}")
    return needs


def _node(call: Callable[..., Any], marker: Any, given: frozenset[type], chain: str) -> Node:
    if chain.count(" -> ") > 50:
        raise TaskDefinitionError(f"dependencies go round in a circle: {chain[:200]} ...")
    needs = needs_of(call, hints_of(call), given, chain)
    scope: Scope = "worker" if getattr(marker, "scope", "job") == "worker" else "job"
    for name, parameter in inspect.signature(call).parameters.items():
        free = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if name not in needs and parameter.default is parameter.empty and not free:
            raise TaskDefinitionError(
                f"{chain} needs {name!r}, which a job does not have; give it a default or a Depends()"
            )
    if scope == "worker":
        for name, need in needs.items():
            if isinstance(need, Given) or need.scope == "job":
                raise TaskDefinitionError(
                    f"{chain} lives as long as the worker, but its {name!r} only as long as a job"
                )
    return Node(call, scope, bool(marker.use_cache), needs)


def hints_of(call: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a callable (of a class: its constructor's), Annotated kept. NameError for names not yet defined."""
    target: Any = getattr(call, "__init__") if isinstance(call, type) else call  # noqa: B009 # mypy calls the plain access unsound
    if not inspect.isroutine(target):
        target = type(target).__call__
    try:
        return get_type_hints(target, include_extras=True)
    except TypeError:  # builtins have no annotations
        return {}


class Resolver:
    """Makes dependencies and keeps them until it is closed. One per job; one more per worker process, its `worker`.

    Enter it with `async with`: leaving closes what was made, in reverse, and hands a job's exception to its generators.
    """

    def __init__(self, given: Mapping[type, Any], overrides: Overrides, worker: Resolver | None = None) -> None:
        self._given = given
        self._overrides = overrides
        self._worker = worker
        self._made: dict[Callable[..., Any], Any] = {}
        self._making: dict[Callable[..., Any], asyncio.Future[Any]] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Resolver:
        return self

    async def __aexit__(self, *exc: Any) -> None:
        if making := [made for made in self._making.values() if not made.done()]:
            for made in making:
                made.cancel()
            await asyncio.wait(making)
        # What a generator swallows does not turn a failed job into a finished one.
        await self._stack.__aexit__(*exc)

    async def resolve(self, needs: Needs) -> dict[str, Any]:
        """The value for each need. Raises `DependencyError`, with the dependency's own error as its cause."""
        return {name: await self._value(need) for name, need in needs.items()}

    async def _value(self, need: Node | Given) -> Any:
        if isinstance(need, Given):
            return self._given[need.kind]
        if need.scope == "worker" and self._worker is not None:
            return await self._worker._value(need)
        if not need.use_cache:
            return await self._make(need)
        if need.scope == "worker":
            return await self._shared(need)
        if need.call not in self._made:
            self._made[need.call] = await self._make(need)
        return self._made[need.call]

    async def _shared(self, need: Node) -> Any:
        """A worker-scoped value. Jobs that need it at once wait for one making of it, which outlives each of them."""
        made = self._making.get(need.call)
        if made is None or (made.done() and (made.cancelled() or made.exception() is not None)):
            made = self._making[need.call] = asyncio.ensure_future(self._make(need))
        return await asyncio.shield(made)

    async def _make(self, need: Node) -> Any:
        call = self._overrides.get(need.call, need.call)
        values = await self.resolve(
            need.needs if call is need.call else needs_of(call, hints_of(call), frozenset(self._given))
        )
        try:
            return await self._call(call, values)
        except DependencyError:
            raise
        except Exception as error:
            name = getattr(call, "__qualname__", repr(call))
            raise DependencyError(f"dependency {name} failed: {type(error).__name__}: {error}") from error

    async def _call(self, call: Callable[..., Any], values: dict[str, Any]) -> Any:
        if inspect.isasyncgenfunction(call):
            opened: AsyncGenerator[Any, None] = call(**values)
            return await self._stack.enter_async_context(asynccontextmanager(lambda: opened)())
        if inspect.isgeneratorfunction(call):
            return await self._stack.enter_async_context(_in_thread(call(**values)))
        if inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None)):  # noqa: B004 # not a test for callability
            return await call(**values)
        return await asyncio.to_thread(call, **values)


@asynccontextmanager
async def _in_thread(generator: Generator[Any, None, None]) -> AsyncGenerator[Any, None]:
    """A sync generator as an async context manager whose steps run in threads."""
    manager = contextmanager(lambda: generator)()
    value = await asyncio.to_thread(manager.__enter__)
    try:
        yield value
    except BaseException as error:
        if not await asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__):
            raise
    else:
        await asyncio.to_thread(manager.__exit__, None, None, None)
