"""What an operator wishes of a worker: of the whole tree of processes over SQLite, and of a worker inside of an application."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import blocking_tasks
import pytest
import worker_tasks
from faulty import FaultyProgram
from trees import Tree, producer, tree

from windlass import State, Windlass
from windlass.broker.port import Broker
from windlass.core.job import Worker
from windlass.errors import BrokerUnavailable
from windlass.worker.heart import STACKS
from windlass.worker.runner import Runner, work, working

Until = Callable[..., Any]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Windlass]:
    app = worker_tasks.build(f"sqlite:///{tmp_path}/jobs.db")
    await app.broker()
    yield app
    await app.close()


async def enqueue(app: Windlass, name: str, *args: Any) -> Any:
    return await app.get_task(f"worker_tasks.{name}").enqueue(*args)


async def worker_of(broker: Broker, pid: int, until: Until) -> str:
    """The id of this runner."""

    async def find() -> str:
        return next((one.id for one in await broker.workers() if one.card.pid == pid), "")

    found: str = await until(find)
    return found


async def is_in(broker: Broker, worker: str, state: str, until: Until) -> None:
    """Wait until the worker says so."""

    async def look() -> bool:
        return any(one.id == worker and one.card.state == state for one in await broker.workers())

    await until(look)


async def beats(broker: Broker, worker: str, count: int, until: Until) -> None:
    """Wait for some beats of it."""

    async def lease() -> Any:
        return next((one.until for one in await broker.workers() if one.id == worker), None)

    for _ in range(count):
        before = await lease()

        async def beaten(before: Any = before) -> bool:
            return bool(await lease() != before)

        await until(beaten)


async def shown(broker: Broker, worker: str, until: Until, *, other: bytes | None = None) -> str:
    """Its stacks, once there are some other ones."""

    async def look() -> bytes | None:
        found = await broker.leaf(STACKS, worker)
        return None if found == other else found

    return str((await until(look)).decode())


async def test_a_quiet_worker_claims_no_more_and_goes_on_when_it_may(
    store: Windlass, tmp_path: Path, until: Until
) -> None:
    broker, log = await store.broker(), tmp_path / "log"
    with tree(store, log) as worker:
        runs = await enqueue(store, "nap", 1.0, str(tmp_path / "mark"))
        await until((tmp_path / "mark").exists)
        name = await worker_of(broker, worker.runners[0], until)
        for _ in range(2):
            assert await broker.wish(name, "quiet")
            await is_in(broker, name, "quiet", until)
        waits = await enqueue(store, "pid")
        assert await runs.result(timeout=20) == worker.runners[0], "what runs goes on"
        await beats(broker, name, 5, until)
        assert (await waits.info()).state is State.READY
        assert await broker.wish(name, "working")
        assert await waits.result(timeout=20) == worker.runners[0]
        await is_in(broker, name, "working", until)
        assert await broker.wish(name, "quiet")
        await is_in(broker, name, "quiet", until)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(20) == 0
    assert not await broker.wish(name, "working")


async def test_who_takes_the_place_of_a_quiet_one_works(store: Windlass, tmp_path: Path, until: Until) -> None:
    broker = await store.broker()
    with tree(store, tmp_path / "log") as worker:
        first = await (await enqueue(store, "pid")).result(timeout=20)
        name = await worker_of(broker, first, until)
        await broker.wish(name, "quiet")
        await is_in(broker, name, "quiet", until)
        os.kill(first, signal.SIGKILL)
        assert await (await enqueue(store, "pid")).result(timeout=20) != first
        assert worker.process.poll() is None


async def test_one_that_is_to_stop_ends_with_all_its_neighbours(store: Windlass, tmp_path: Path, until: Until) -> None:
    """As on SIGTERM: what is short is finished, what is long is handed back; and a wish that is told with each beat is one wish."""
    broker = await store.broker()
    with tree(store, tmp_path / "log", runners=2, shutdown_timeout=1.5) as worker:
        await until(lambda: len(worker.runners) == 2)
        name = await worker_of(broker, worker.runners[1], until)
        short = await enqueue(store, "nap", 0.7, str(tmp_path / "short"))
        long = await enqueue(store, "nap", 60, str(tmp_path / "long"))
        for mark in ("short", "long"):
            await until((tmp_path / mark).exists)
        assert await broker.wish(name, "stopped")
        assert worker.process.wait(30) == 0
        assert worker.said.count("what='stopping'") == 1
    assert (await short.info()).state is State.SUCCEEDED
    left = await long.info()
    assert (left.state, left.attempt, left.crashes) == (State.READY, 0, 0)
    assert await broker.workers() == []
    assert not await broker.wish(name, "stopped")


async def test_the_stacks_of_a_runner_are_shown_once_for_each_wish(
    store: Windlass, tmp_path: Path, until: Until
) -> None:
    broker = await store.broker()
    with tree(store, tmp_path / "log") as worker:
        nap = await enqueue(store, "thread_nap", 60)
        await until(lambda: worker.runners)
        name = await worker_of(broker, worker.runners[0], until)

        async def runs() -> bool:
            return (await nap.info()).state is State.RUNNING

        await until(runs)
        await broker.wish(name, stacks=1.0)
        first = await shown(broker, name, until)
        assert "worker_tasks.py" in first
        assert "in thread_nap" in first
        await broker.put(STACKS, name, b"seen")
        await broker.wish(name, "working", stacks=1.0)
        await beats(broker, name, 3, until)
        assert await broker.leaf(STACKS, name) == b"seen", "a repeat asks for nothing new"
        await broker.wish(name, stacks=0.5)
        assert "in thread_nap" in await shown(broker, name, until, other=b"seen")
        await _dies_without_them(worker, nap, until)
        assert await broker.leaf(STACKS, name) is None, "who is gone leaves none"


async def _dies_without_them(worker: Tree, nap: Any, until: Until) -> None:
    """What was only looked at is no evidence of a death."""
    os.kill(worker.runners[0], signal.SIGKILL)

    async def crashed() -> Any:
        return (await nap.info()).error

    error = await until(crashed)
    assert (error.evidence["signal"], error.traceback) == (signal.SIGKILL, "")


async def test_the_stacks_of_a_runner_that_stands_still(tmp_path: Path, until: Until) -> None:
    """Whatever holds its loop: they come from outside of it."""
    store = producer(blocking_tasks.app, tmp_path)
    broker = await store.broker()
    with tree(store, tmp_path / "log", "blocking_tasks:app") as worker:
        job = await store.get_task("blocking_tasks.for_ever").enqueue(str(tmp_path / "go"))
        await until(lambda: "stuck" in worker.said)
        name = await worker_of(broker, worker.runners[0], until)
        await broker.wish(name, stacks=1.0)
        assert "in block_until" in await shown(broker, name, until)
        await is_in(broker, name, "stuck", until)
        (tmp_path / "go").touch()
        await job.result(timeout=20)
    await store.close()


async def test_a_runner_that_is_stopped_has_no_stacks(store: Windlass, tmp_path: Path, until: Until) -> None:
    """And dies not of the question, once it goes on."""
    broker = await store.broker()
    with tree(store, tmp_path / "log") as worker:
        await until(lambda: worker.runners)
        pid = worker.runners[0]
        name = await worker_of(broker, pid, until)
        while True:
            os.kill(pid, signal.SIGSTOP)
            try:
                await broker.wish(name, stacks=2.0)
                break
            except BrokerUnavailable:  # it was stopped in a transaction
                os.kill(pid, signal.SIGCONT)
        assert "it is stopped" in await shown(broker, name, until)
        os.kill(pid, signal.SIGCONT)
        assert await (await enqueue(store, "pid")).result(timeout=20) == pid


# --- inside of an application


async def test_a_worker_in_an_application_is_quiet(app: Windlass, until: Until) -> None:
    @app.task
    async def three() -> int:
        return 3

    broker = await app.broker()
    async with working(app):
        (worker,) = await broker.workers()
        await broker.wish(worker.id, "quiet")
        await is_in(broker, worker.id, "quiet", until)
        waits = await three.enqueue()
        await beats(broker, worker.id, 5, until)
        assert (await waits.info()).state is State.READY
        await broker.wish(worker.id, "working")
        assert await waits.result(timeout=20) == 3


async def test_a_worker_in_an_application_stops_and_the_application_goes_on(make_app: Any, until: Until) -> None:
    app, began, go = make_app(shutdown_timeout=20), asyncio.Event(), asyncio.Event()

    @app.task
    async def wait() -> int:
        began.set()
        await go.wait()
        return 3

    broker = await app.broker()
    async with working(app) as runner:
        job = await wait.enqueue()
        await began.wait()
        (worker,) = await broker.workers()
        await broker.wish(worker.id, "stopped")
        await is_in(broker, worker.id, "draining", until)
        ending = asyncio.create_task(runner.stop())
        await beats(broker, worker.id, 2, until)
        assert not ending.done(), "who stops it once more waits for the end"
        go.set()
        await ending
        assert (await job.info()).state is State.SUCCEEDED
        assert await broker.workers() == []
        left = await wait.enqueue()
    assert (await left.info()).state is State.READY


async def test_a_program_that_only_works_ends_when_its_worker_is_to_stop(app: Windlass, until: Until) -> None:
    works = asyncio.create_task(work(app))
    broker = await app.broker()
    (worker,) = await until(broker.workers)
    await broker.wish(worker.id, "stopped")
    await asyncio.wait_for(works, 20)
    assert await broker.workers() == []


async def test_the_stacks_of_a_worker_in_an_application(app: Windlass, until: Until) -> None:
    """They are asked for again when the store did not take them."""
    program = FaultyProgram(app)
    runner = Runner(program)
    await runner.start()
    try:
        broker = await app.broker()
        (worker,) = await broker.workers()
        program.faults.before["put"] = 2
        await broker.wish(worker.id, stacks=7.5)
        assert "Current thread" in await shown(broker, worker.id, until)
        assert program.faults.raised["put"] == 2
    finally:
        await runner.stop()
    assert await broker.leaves(STACKS) == []


async def test_a_wish_to_an_id_of_the_past_counts_as_well(app: Windlass, until: Until) -> None:
    """A worker that took a new id stays as it was wished to be; what is wished last counts, of whichever of its ids."""
    began, go = asyncio.Event(), asyncio.Event()

    @app.task
    async def wait() -> None:
        began.set()
        await go.wait()

    broker = await app.broker()
    async with working(app) as runner:
        job = await wait.enqueue()
        await began.wait()
        (old,) = await broker.workers()
        await broker.wish(old.id, "quiet")
        await is_in(broker, old.id, "quiet", until)
        newest = runner.identities._newest
        assert newest is not None
        runner.identities.doubt(newest)

        async def both() -> list[Worker]:
            found = await broker.workers()
            return found if len(found) == 2 else []

        (new,) = [one for one in await until(both) if one.id != old.id]
        await is_in(broker, new.id, "quiet", until)
        await broker.wish(new.id, "working")
        await is_in(broker, new.id, "working", until)
        await beats(broker, old.id, 3, until)
        await is_in(broker, new.id, "working", until)
        await broker.wish(old.id, "working")
        await beats(broker, old.id, 1, until)
        await broker.wish(old.id, "quiet")
        await is_in(broker, new.id, "quiet", until)
        go.set()
        await job.result(timeout=20)
