"""Workflows and flows with a real worker: in every lane, sealed, and followed while they go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from windlass import Depends, Flow, Seal, State, Windlass, group
from windlass.core.job import Card
from windlass.core.letters import found
from windlass.worker.executor import Executor
from windlass.worker.runner import working


@pytest.fixture(params=["plain", "sealed"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Windlass]:
    seal = Seal.signing({"one": b"k" * 32}) if request.param == "sealed" else None
    app = Windlass(f"sqlite:///{tmp_path}/jobs.db", seal=seal, concurrency=2)
    yield app
    await app.close()


async def test_what_letters_carry_arrives_and_stays_sealed(app: Windlass) -> None:
    @app.task
    async def secret(x: int) -> str:
        return f"the word is {x}"

    @app.task
    def joined(words: list[str]) -> str:
        return " ".join(words)

    @app.flow
    async def asks(flow: Flow = Depends()) -> str:
        word = await flow.event("word")
        return await flow.run(group(secret.bind(n) for n in (1, 2)).then(joined)) + word

    handle = await asks.enqueue()
    await app.signal(handle.id, "word", "!")
    async with working(app):
        assert await handle.result(timeout=20) == "the word is 1 the word is 2!"
    keyless = Windlass(app.url)
    stored = await (await keyless.broker()).read(handle.id)
    assert stored is not None
    assert {one.data[:1] == b"\0" for one in found(stored.entries).values()} == {app.seal is not None}
    await keyless.close()


async def test_results_come_while_the_rest_goes_on(app: Windlass) -> None:
    gates = [asyncio.Event() for _ in range(3)]

    @app.task
    async def waits(n: int) -> int:
        await gates[n].wait()
        return n

    app.settings = replace(app.settings, concurrency=3)
    async with working(app), asyncio.timeout(30):
        gathering = await waits.map(range(3)).enqueue()
        results = aiter(gathering)
        for n in (1, 2, 0):
            gates[n].set()
            assert await anext(results) == n
            assert (await gathering.progress()).total == 3
        assert await gathering == [0, 1, 2]


async def test_flows_that_wait_hold_nothing(app: Windlass) -> None:
    """A run that is suspended is over: no slot, no task, nothing that the worker remembers of it."""

    @app.flow
    async def patient(flow: Flow = Depends()) -> object:
        return await flow.event("go")

    async with working(app) as runner, asyncio.timeout(60):
        handles = await app.enqueue_many([patient.bind() for _ in range(50)])
        for handle in handles:
            async for event in handle.events():
                if event.data is State.WAITING:
                    break
        assert not runner.executor.runs
        for handle in handles[:3]:
            assert await app.signal(handle.id, "go", 1)
            assert await handle == 1


async def test_a_flow_that_crashed_goes_on_where_its_journal_is(app: Windlass, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other jobs have their last chance in a child process; a child does not know what the flow remembers."""
    asked = list[str]()
    monkeypatch.setattr(Executor, "_isolated", lambda _, claim: asked.append(claim.task))

    @app.flow(crash_limit=2, name="flow")
    async def crashed(flow: Flow = Depends()) -> int:
        return await flow.step(abs, -1)

    @app.task(crash_limit=2, name="task")
    async def task() -> int:
        return 2

    flow, plain = await crashed.enqueue(), await task.enqueue()
    broker = await app.broker()
    await broker.beat("dead", Card(host="here", pid=1), 60.0)
    assert len(await broker.claim(["default"], {"loop": 2}, "dead")) == 2
    await broker.beat("dead", Card(host="here", pid=1), 0.0)
    await broker.reclaim(workers=["dead"])
    async with working(app):
        assert (await flow.result(timeout=20), await plain.result(timeout=20)) == (1, 2)
    assert asked == ["task"]
