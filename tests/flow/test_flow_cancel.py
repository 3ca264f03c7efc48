"""The cancel of a whole: of what waits, what runs and what a flow has only just asked for, in every store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from servers import BINARIES, MISSING, RedisServer
from windlass import Depends, Flow, Handle, State, Windlass, group
from windlass.broker import whole
from windlass.core.ids import derived
from windlass.worker.runner import working


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Windlass]:
    if request.param == "redis" and not BINARIES:
        pytest.skip(MISSING)
    server = RedisServer() if request.param == "redis" else None
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/jobs.db"}
    app = Windlass(server.start().url() if server else urls[request.param], beat=0.1, lease=5.0, upkeep=0.1)
    yield app
    await app.close()
    if server:
        server.close()


class Gates:
    """Jobs that run until they are told to end."""

    def __init__(self, app: Windlass) -> None:
        self.began, self.interrupted = list[int](), list[int]()

        @app.task
        async def held(n: int) -> int:
            self.began.append(n)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.interrupted.append(n)
                raise
            return n

        @app.task
        async def joined(numbers: list[int]) -> int:
            return len(numbers)

        self.held, self.joined = held, joined


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)


async def states(app: Windlass, *handles: Handle[Any]) -> list[State]:
    return [(await one.info()).state for one in handles]


async def test_parts_that_run_are_told_and_others_go_at_once(app: Windlass) -> None:
    gates = Gates(app)
    call = group([gates.held.bind(1), gates.held.bind(2), gates.held.options(delay="1h").bind(3)]).then(gates.joined)
    async with working(app):
        handle = await call.enqueue()
        await until(lambda: len(gates.began) == 2)
        assert await handle.cancel() is State.CANCELLED
        parts = [app.job(derived(handle.id, n)) for n in range(3)]
        await until(lambda: sorted(gates.interrupted) == [1, 2])

        async def ended() -> bool:
            return await states(app, handle, *parts) == [State.CANCELLED] * 4

        await until(ended)
    assert sorted(gates.began) == [1, 2]


async def test_the_jobs_of_a_suspended_flow_go_with_it(app: Windlass) -> None:
    gates = Gates(app)

    @app.flow
    async def inner(flow: Flow = Depends()) -> int:
        return await flow.run(gates.held.bind(2))

    @app.flow
    async def outer(flow: Flow = Depends()) -> Any:
        return await flow.gather(flow.run(gates.held.bind(1)), flow.run(inner.bind()), flow.event("never"))

    async with working(app):
        handle = await outer.enqueue()
        jobs = [handle, app.job(derived(handle.id, 1)), app.job(derived(handle.id, 2))]
        jobs.append(app.job(derived(jobs[2].id, 1)))
        await until(lambda: sorted(gates.began) == [1, 2])

        async def suspended() -> bool:
            return (await states(app, handle, jobs[2])) == [State.WAITING] * 2

        await until(suspended)
        assert await handle.cancel() is State.CANCELLED

        async def ended() -> bool:
            return await states(app, *jobs) == [State.CANCELLED] * 4

        await until(ended)
        assert sorted(gates.interrupted) == [1, 2]


async def test_what_a_flow_asks_for_after_its_cancel_does_not_run(app: Windlass) -> None:
    """Who cancels marks the flow, which runs, and then looks for its jobs; those that come later find the mark."""
    gates, began, goes_on = Gates(app), asyncio.Event(), asyncio.Event()
    app.settings = replace(app.settings, beat=60.0, lease=200.0)  # its worker is not told

    @app.flow
    async def late(flow: Flow = Depends()) -> int:
        began.set()
        await goes_on.wait()
        return await flow.run(group([gates.held.options(delay="1h").bind(1)]).then(gates.joined))

    async with working(app):
        handle = await late.enqueue()
        await began.wait()
        assert await handle.cancel() is State.RUNNING
        goes_on.set()

        async def ended() -> bool:
            return await states(app, handle) == [State.CANCELLED]

        await until(ended)
        left = (await (await app.broker()).find(root=handle.id)).jobs
        assert {one.state for one in left} <= {State.CANCELLED}
        assert len(left) == 2


async def test_only_what_belongs_to_it(app: Windlass) -> None:
    """A plain job, one of a workflow that is not the last, and one that is not there take nothing with them."""
    gates = Gates(app)
    broker = await app.broker()
    plain, other = await gates.held.enqueue(1), await gates.held.enqueue(2)
    handle = await group([gates.held.bind(3), gates.held.bind(4)], collect=True).then(gates.joined).enqueue()
    part = derived(handle.id, 0)
    told = await whole.cancel(broker, [plain.id, part, derived(plain.id, 7)])
    assert told == {plain.id: State.CANCELLED, part: State.CANCELLED}
    assert await states(app, other, handle, app.job(derived(handle.id, 1))) == [State.READY, State.WAITING, State.READY]
