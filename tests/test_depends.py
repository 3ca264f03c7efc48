"""Dependencies: made in order, once, closed in reverse, and refused at the definition when they could never be made."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import fastapi
import pytest

from windlass import Context, Depends
from windlass.core.job import Claim
from windlass.depends import Needs, Resolver, hints_of, needs_of
from windlass.errors import DependencyError, TaskDefinitionError

GIVEN = frozenset({Context})
tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


def needs(function: Callable[..., Any]) -> Needs:
    return needs_of(function, hints_of(function), GIVEN)


def context() -> Context:
    claim = Claim("j", 1, "t", "default", "loop", b"", 1, 0, 3, 0.0, 0.0)
    return Context(claim, lambda entry: None, meta={})


async def failing_job(function: Callable[..., Any], error: Exception) -> None:
    """A job that gets what it needs and then raises."""
    async with job() as resolver:
        await resolver.resolve(needs(function))
        raise error


def job(worker: Resolver | None = None, **overrides: Any) -> Resolver:
    """A job's resolver, for a fresh context."""
    return Resolver({Context: context()}, overrides.get("overrides", {}), worker)


class Tally:
    """Counts how often its method `make` was called, and what was opened and closed in which order."""

    def __init__(self) -> None:
        self.made = 0
        self.story: list[str] = []

    def make(self) -> int:
        self.made += 1
        return self.made

    def opened(self, name: str, *needed: Any) -> Callable[..., AsyncIterator[str]]:
        async def dependency() -> AsyncIterator[str]:
            self.story.append(f"open {name}")
            try:
                yield name
            finally:
                self.story.append(f"close {name}")

        return dependency


# --- what may be a dependency -------------------------------------------------------------------------------


def sync_value() -> str:
    return threading.current_thread().name


async def async_value() -> str:
    return "async"


def sync_generator() -> Iterator[str]:
    yield "sync generator"


async def async_generator() -> AsyncIterator[str]:
    yield "async generator"


class Callable_:
    async def __call__(self, ctx: Context = Depends()) -> str:
        return f"callable of {ctx.job_id}"


@dataclass
class Settings:
    url: str = "memory://"
    value: str = Depends(async_value)


async def test_every_kind_of_callable_is_resolved() -> None:
    def task(
        a: str = Depends(sync_value),
        b: str = Depends(async_value),
        c: str = Depends(sync_generator),
        d: str = Depends(async_generator),
        e: str = Depends(Callable_()),
        f: Settings = Depends(Settings),
        g: str = Depends(partial(async_value)),
        h: Any = Depends(lambda: "lambda"),
    ) -> None: ...

    async with job() as resolver:
        values = await resolver.resolve(needs(task))
    assert values.pop("a") != threading.current_thread().name, "sync code would block the loop"
    assert values == {
        "b": "async",
        "c": "sync generator",
        "d": "async generator",
        "e": "callable of j",
        "f": Settings("memory://", "async"),
        "g": "async",
        "h": "lambda",
    }


async def test_the_context_and_classes_are_known_by_their_annotation() -> None:
    def task(
        plain: int,
        ctx: Context = Depends(),
        settings: Settings = Depends(),
        annotated: Annotated[str, Depends(async_value)] = "",
        both: Annotated[Context, Depends()] = None,  # type: ignore[assignment]  # a default that contradicts the annotation is the test
        default: int = 3,
    ) -> None: ...

    async with job() as resolver:
        values = await resolver.resolve(needs(task))
    assert values.keys() == {"ctx", "settings", "annotated", "both"}
    assert values["ctx"] is values["both"]
    assert isinstance(values["settings"], Settings)


def fastapi_dependency(inner: str = fastapi.Depends(async_value)) -> str:
    return f"got {inner}"


async def test_the_marker_of_fastapi_is_welcome() -> None:
    def task(
        a: Annotated[str, fastapi.Depends(fastapi_dependency)],
        b: str = fastapi.Depends(fastapi_dependency, use_cache=False),
    ) -> None: ...

    async with job() as resolver:
        assert await resolver.resolve(needs(task)) == {"a": "got async", "b": "got async"}


def test_what_needs_a_request_is_refused_with_the_chain() -> None:
    def current_user(request: fastapi.Request) -> str:
        return str(request.url)

    def session(user: str = Depends(current_user)) -> None: ...

    def task(db: None = Depends(session)) -> None: ...

    with pytest.raises(
        TaskDefinitionError, match=r"task -> .*session -> .*current_user needs 'request', which a job does not"
    ):
        needs(task)


# --- once, in order, and back -------------------------------------------------------------------------------


async def test_a_dependency_is_made_once_per_job_and_anew_for_the_next() -> None:
    tally = Tally()

    def middle(value: int = Depends(tally.make)) -> int:
        return value

    def task(a: int = Depends(tally.make), b: int = Depends(middle), c: int = Depends(tally.make)) -> None: ...

    for expected in (1, 2):
        async with job() as resolver:
            assert await resolver.resolve(needs(task)) == dict.fromkeys("abc", expected)


async def test_without_the_cache_each_place_gets_its_own() -> None:
    tally = Tally()

    def task(
        a: int = Depends(tally.make), b: int = Depends(tally.make, use_cache=False), c: int = Depends(tally.make)
    ) -> None: ...

    async with job() as resolver:
        assert await resolver.resolve(needs(task)) == {"a": 1, "b": 2, "c": 1}


async def test_what_was_opened_is_closed_in_reverse() -> None:
    tally = Tally()
    first, second = tally.opened("first"), tally.opened("second")

    def third(a: str = Depends(first), b: str = Depends(second)) -> Iterator[str]:
        tally.story.append("open third")
        yield "third"
        tally.story.append("close third")

    def task(c: str = Depends(third), a: str = Depends(first)) -> None: ...

    async with job() as resolver:
        await resolver.resolve(needs(task))
        tally.story.append("run")
    assert tally.story == [
        *("open first", "open second", "open third"),
        "run",
        *("close third", "close second", "close first"),
    ]


async def test_generators_see_how_the_job_ended() -> None:
    seen: list[str] = []

    def transaction() -> Iterator[None]:
        try:
            yield
            seen.append("commit")
        except KeyError as error:
            seen.append(f"sync rollback {error}")
            raise

    async def span() -> AsyncIterator[None]:
        try:
            yield
            seen.append("fine")
        except KeyError as error:
            seen.append(f"async saw {error}")
            raise

    def task(a: None = Depends(transaction), b: None = Depends(span)) -> None: ...

    async with job() as resolver:
        await resolver.resolve(needs(task))
    with pytest.raises(KeyError):
        await failing_job(task, KeyError("x"))
    assert seen == ["fine", "commit", "async saw 'x'", "sync rollback 'x'"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_generator_cannot_turn_a_failed_job_into_a_finished_one(kind: str) -> None:
    def swallows() -> Iterator[None]:
        try:
            yield
        except KeyError:
            pass

    async def swallows_too() -> AsyncIterator[None]:
        try:
            yield
        except KeyError:
            pass

    def task(a: None = Depends(swallows if kind == "sync" else swallows_too)) -> None: ...

    with pytest.raises(KeyError):
        await failing_job(task, KeyError("x"))


async def test_an_error_on_closing_does_not_keep_the_others_open() -> None:
    tally = Tally()

    async def breaks() -> AsyncIterator[None]:
        yield
        raise RuntimeError("cannot commit")

    def task(a: str = Depends(tally.opened("first")), b: None = Depends(breaks)) -> None: ...

    with pytest.raises(RuntimeError, match="cannot commit"):
        async with job() as resolver:
            await resolver.resolve(needs(task))
    assert tally.story == ["open first", "close first"]


async def test_a_dependency_opens_and_closes_in_the_task_of_its_job() -> None:
    """Else `asyncio.timeout`, task groups and context variables would not work in dependencies."""

    async def bounded() -> AsyncIterator[None]:
        token = tenant.set("acme")
        async with asyncio.timeout(60):
            yield
        tenant.reset(token)

    def task(a: None = Depends(bounded)) -> None: ...

    async with job() as resolver:
        await resolver.resolve(needs(task))
        assert tenant.get() == "acme"
    assert tenant.get() == "nobody"


# --- failures -----------------------------------------------------------------------------------------------


async def test_a_dependency_that_raises_is_named_and_what_was_open_is_closed() -> None:
    tally = Tally()

    def broken() -> None:
        raise ConnectionError("no database")

    def session(a: str = Depends(tally.opened("first")), b: None = Depends(broken)) -> None: ...

    def task(db: None = Depends(session)) -> None: ...

    with pytest.raises(DependencyError, match=r"broken failed: ConnectionError: no database") as failed:
        async with job() as resolver:
            await resolver.resolve(needs(task))
    assert isinstance(failed.value.__cause__, ConnectionError)
    assert tally.story == ["open first", "close first"]


async def test_a_dependency_that_raised_is_tried_again_when_asked_again() -> None:
    tally = Tally()

    def flaky() -> int:
        if tally.make() == 1:
            raise OSError("first time")
        return tally.made

    def task(a: int = Depends(flaky)) -> None: ...

    async with job() as resolver:
        with pytest.raises(DependencyError):
            await resolver.resolve(needs(task))
        assert await resolver.resolve(needs(task)) == {"a": 2}


def circle_one(a: None = Depends(lambda: circle_two)) -> None: ...  # its real dependency is set below


def circle_two(a: None = Depends(circle_one)) -> None: ...


def test_a_circle_is_refused() -> None:
    def closes(a: None = Depends(circle_two)) -> None: ...

    circle_one.__defaults__ = (Depends(circle_two),)
    with pytest.raises(
        TaskDefinitionError, match=r"dependencies go round in a circle: .*closes -> circle_two -> circle_one"
    ):
        needs(closes)


@pytest.mark.parametrize("hint", ["", ": int | None", ": 3"])
def test_a_marker_that_names_nothing_is_refused(hint: str) -> None:
    scope: dict[str, Any] = {"Depends": Depends}
    exec(f"def task(thing{hint} = Depends()): ...", scope)
    with pytest.raises(TaskDefinitionError, match="parameter 'thing' says Depends\\(\\) without a callable or a class"):
        needs(scope["task"])


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(TaskDefinitionError, match=r"""Depends\(scope=...\) is "job" or "worker", not 'global'"""):
        Depends(sync_value, scope="global")  # type: ignore[arg-type]  # the wrong scope is the test


# --- for the whole worker -----------------------------------------------------------------------------------


async def test_what_is_worker_scoped_is_made_once_and_outlives_the_jobs() -> None:
    tally = Tally()
    model = tally.opened("model")

    def task(a: str = Depends(model, scope="worker"), b: int = Depends(tally.make)) -> None: ...

    async with Resolver({}, {}) as worker:
        for number in (1, 2):
            async with job(worker) as resolver:
                assert await resolver.resolve(needs(task)) == {"a": "model", "b": number}
        assert tally.story == ["open model"]
    assert tally.story == ["open model", "close model"]


async def test_jobs_that_need_it_at_once_wait_for_one_making_which_outlives_each_of_them() -> None:
    may_finish, started, made = asyncio.Event(), asyncio.Event(), []

    async def model() -> str:
        made.append(1)
        started.set()
        await may_finish.wait()
        return "model"

    def task(a: str = Depends(model, scope="worker")) -> None: ...

    async def run() -> Any:
        async with job(worker) as resolver:
            return await resolver.resolve(needs(task))

    async with Resolver({}, {}) as worker:
        first, second = asyncio.create_task(run()), asyncio.create_task(run())
        await started.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        may_finish.set()
        assert await second == {"a": "model"}
        assert made == [1]


async def test_a_worker_scoped_dependency_that_failed_is_tried_again_by_the_next_job() -> None:
    tally = Tally()

    def model() -> int:
        if tally.make() == 1:
            raise OSError("no disk")
        return tally.made

    def task(a: int = Depends(model, scope="worker")) -> None: ...

    async with Resolver({}, {}) as worker:
        with pytest.raises(DependencyError, match="no disk"):
            async with job(worker) as resolver:
                await resolver.resolve(needs(task))
        async with job(worker) as resolver:
            assert await resolver.resolve(needs(task)) == {"a": 2}


async def test_what_is_still_being_made_when_the_worker_stops_is_not_left_behind() -> None:
    started, story = asyncio.Event(), list[str]()

    async def model() -> AsyncIterator[str]:
        try:
            started.set()
            await asyncio.Event().wait()
            yield "never"
        finally:
            story.append("cleaned up")

    def task(a: str = Depends(model, scope="worker")) -> None: ...

    async with Resolver({}, {}) as worker:
        waiting = asyncio.create_task(job(worker).resolve(needs(task)))
        await started.wait()
    assert story == ["cleaned up"]
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize("needed", [Depends(), Depends(async_value)])
def test_what_lives_with_the_worker_cannot_need_what_lives_with_a_job(needed: Any) -> None:
    def model(ctx: Context = needed) -> None: ...

    def task(a: None = Depends(model, scope="worker")) -> None: ...

    with pytest.raises(TaskDefinitionError, match="lives as long as the worker, but its 'ctx' only as long as a job"):
        needs(task)


# --- in tests of users --------------------------------------------------------------------------------------


async def test_overrides_replace_a_callable_wherever_it_is_needed() -> None:
    def fake(ctx: Context = Depends()) -> str:
        return f"fake for {ctx.job_id}"

    def middle(value: str = Depends(async_value)) -> str:
        return f"middle of {value}"

    def task(a: str = Depends(async_value), b: str = Depends(middle)) -> None: ...

    async with job(overrides={async_value: fake}) as resolver:
        assert await resolver.resolve(needs(task)) == {"a": "fake for j", "b": "middle of fake for j"}
