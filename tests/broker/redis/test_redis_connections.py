"""Connections that end, stall or lie, and servers that go away: nothing is lost, nothing is done twice, and who waits goes on waiting."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import redis.asyncio as redis
from faults import A_WHILE, CARD, SOON, Connect, Start, insist, journal, soon, started, until, waiting, works

from servers import Proxy, RedisServer
from windlass.broker.redis.broker import RedisBroker
from windlass.broker.url import make_broker
from windlass.core.job import JobId, NewJob
from windlass.core.state import State
from windlass.errors import BrokerUnavailable
from windlass.testing.conformance.kit import DONE, entry, job, look, state

AOF = {"appendonly": "yes", "appendfsync": "always"}


def cut(server: RedisServer) -> int:
    """End all connections; answers how many."""
    return sum(server.command("CLIENT KILL TYPE", kind) for kind in ("normal", "pubsub"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without an answer is given up after a second; who waits looks again as often."""
    monkeypatch.setattr("windlass.broker.redis.broker.LOOK_AGAIN", 1.0)
    monkeypatch.setattr("windlass.broker.redis.line.ANSWER_TIMEOUT", 1.0)


async def test_scripts_survive_a_flush(shared: RedisServer, broker: RedisBroker) -> None:
    """Each verb finds its script gone; and so do many calls at once."""
    claim = await started(broker)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: broker.enqueue([job(), job(key="k", delay=60.0)]),
        lambda: broker.claim(["empty"], {"loop": 1}, "w"),
        lambda: broker.append([(claim, [entry()])]),
        lambda: broker.read(claim.id),
        lambda: broker.settle([(claim, DONE)]),
        lambda: broker.beat("w", CARD, 60.0),
        lambda: broker.get([claim.id]),
        lambda: broker.cancel([claim.id]),
        lambda: broker.revive([claim.id]),
        lambda: broker.pause("other"),
        lambda: broker.forget([claim.id]),
        *(broker.promote, broker.reclaim, broker.prune, broker.tally, broker.workers, broker.find, broker.describe),
    ]
    for call in calls:
        shared.command("SCRIPT FLUSH")
        await call()
    shared.command("SCRIPT FLUSH")
    await asyncio.gather(*(broker.enqueue([job()]) for _ in range(50)))
    counts = {one.name: one.counts for one in await broker.tally()}
    assert counts["default"] == {State.READY: 51, State.SCHEDULED: 1}


async def test_waiting_calls_outlive_their_connections(
    shared: RedisServer, broker: RedisBroker, second: RedisBroker
) -> None:
    """Whatever comes while they connect anew reaches them, too."""
    claim = await started(second)
    await broker.beat("waiter", CARD, 3600.0)
    for n in range(5):
        new = job()
        claiming = await waiting(broker.claim(["default"], {"loop": 1}, "waiter", wait=3600.0))
        reading = await waiting(broker.read(claim.id, after=n, wait=3600.0))
        assert cut(shared) >= 2
        await insist(second.enqueue, [new])
        await insist(second.append, [(claim, [entry()])])
        assert [one.id for one in await soon(claiming)] == [new.id]
        heard = await soon(reading)
        assert heard is not None
        assert [one.seq for one in heard.entries] == [n + 1]


async def test_work_goes_on_while_connections_are_cut_all_the_time(
    shared: RedisServer, broker: RedisBroker, second: RedisBroker
) -> None:
    jobs = [job() for _ in range(200)]
    ended: list[JobId] = []

    async def produce() -> None:
        for new in jobs:
            assert (await insist(second.enqueue, [new]))[0].id == new.id

    async def work(name: str) -> None:
        while len(ended) < len(jobs):
            await insist(broker.beat, name, CARD, 3600.0)
            try:
                claims = await broker.claim(["default"], {"loop": 5}, name, wait=0.2)
            except BrokerUnavailable:  # what it was given, if anything, is nobody's
                await insist(broker.beat, name, CARD, 0.0)
                await insist(broker.reclaim)
                name += "'"
                continue
            await insist(broker.settle, [(claim, DONE) for claim in claims])
            ended.extend(claim.id for claim in claims)

    async def disturb() -> None:
        while True:
            cut(shared)
            await asyncio.sleep(random.uniform(0.0, 0.03))

    disturbing = asyncio.ensure_future(disturb())
    await soon(asyncio.gather(produce(), work("a"), work("b")))
    disturbing.cancel()
    assert Counter(ended) == Counter(new.id for new in jobs)
    assert (await insist(second.tally))[0].counts == {State.SUCCEEDED: len(jobs)}


async def test_a_killed_server_loses_nothing_that_it_accepted(start: Start, connect: Connect) -> None:
    server = start(**AOF)
    broker = await connect(server.url())
    claim = await started(broker)
    await broker.pause("paused")
    accepted: list[JobId] = []

    async def produce() -> None:
        while True:
            accepted.extend(placed.id for placed in await insist(broker.enqueue, [job()]))

    producing = asyncio.ensure_future(produce())
    for _ in range(5):
        await until(lambda before=len(accepted): len(accepted) > before + 30)
        await asyncio.to_thread(server.restart)
    producing.cancel()
    await soon(asyncio.wait({producing}))
    assert producing.cancelled()
    assert None not in await insist(broker.get, accepted)
    assert [one.name for one in await broker.tally() if one.paused] == ["paused"]
    assert await broker.settle([(claim, DONE)]) == ([True], [])


async def test_a_cancellation_that_the_library_loses_is_not_lost(
    url: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As asyncio.wait_for does in Python 3.11, when what it waits for is done in the same moment."""
    write = redis.Connection.send_packed_command

    async def careless(self: redis.Connection, *args: Any, **kwargs: Any) -> None:
        caller = asyncio.current_task()
        assert caller is not None
        caller.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        await write(self, *args, **kwargs)

    broker = make_broker(url, "windlass")
    with monkeypatch.context() as patch:
        patch.setattr(redis.Connection, "send_packed_command", careless)
        opening = asyncio.ensure_future(broker.open())
        await soon(asyncio.wait({opening}))
    await broker.close()
    assert opening.cancelled()
    await works(await connect(url))


async def test_waiting_calls_outlive_their_server(start: Start, connect: Connect) -> None:
    """They have asked, and wait to be told: that it is away for a while is no news."""
    server = start(**AOF)
    broker, second = await connect(server.url()), await connect(server.url())
    claim = await started(broker)
    claiming = await waiting(second.claim(["other"], {"loop": 1}, "w", wait=3600.0))
    reading = await waiting(second.read(claim.id, wait=3600.0))
    server.kill()
    await asyncio.sleep(A_WHILE)
    await asyncio.to_thread(server.start)
    await insist(broker.settle, [(claim, DONE)])
    heard = await soon(reading)
    assert heard is not None
    assert heard.end is not None
    await broker.enqueue([new := job(queue="other")])
    assert [one.id for one in await soon(claiming)] == [new.id]


@pytest.mark.parametrize("fault", ["CLIENT PAUSE 800 ALL", "CLIENT PAUSE 800 WRITE", "DEBUG SLEEP 0.8", "frozen"])
async def test_a_server_that_stalls_is_waited_for(start: Start, connect: Connect, fault: str) -> None:
    server = start()
    broker, second = await connect(server.url()), await connect(server.url())
    claim = await started(broker)
    claiming = await waiting(second.claim(["default"], {"loop": 1}, "w", wait=3600.0))
    stall = server.freeze if fault == "frozen" else partial(server.command, *fault.split())
    stalling = asyncio.ensure_future(asyncio.to_thread(stall))
    await asyncio.wait({stalling}, timeout=A_WHILE)
    new = job()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: broker.enqueue([new]),
        lambda: broker.settle([(claim, DONE)]),
        lambda: broker.beat("w", CARD, 60.0),
    ]
    asked = [asyncio.ensure_future(insist(call)) for call in calls]
    await asyncio.sleep(A_WHILE)
    server.thaw()
    await soon(asyncio.gather(stalling, *asked))
    assert [one.id for one in await soon(claiming)] == [new.id]
    assert await state(broker, claim.id) is State.SUCCEEDED


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_never_answers_is_given_up(start: Start, connect: Connect) -> None:
    server = start()
    broker = await connect(server.url())
    await works(broker)
    server.freeze()
    with pytest.raises(BrokerUnavailable):
        await soon(broker.enqueue([job(queue="other")]))
    server.thaw()
    await insist(works, broker)


@pytest.mark.usefixtures("impatient")
async def test_a_line_that_went_dead_is_replaced(shared: RedisServer, second: RedisBroker, connect: Connect) -> None:
    """Nothing arrives on it in either direction, and nobody is told: who waits finds out by itself."""
    async with Proxy(shared.port) as proxy:
        broker = await connect(f"redis://127.0.0.1:{proxy.port}/0")
        claim = await started(second)
        reading = await waiting(broker.read(claim.id, wait=3600.0))
        proxy.deaden()
        await second.append([(claim, [entry()])])
        heard = await soon(reading)
        assert heard is not None
        assert [one.seq for one in heard.entries] == [1]
        await works(broker, "other")
        await broker.close()


async def test_an_answer_that_was_lost_is_not_made_up(
    shared: RedisServer, second: RedisBroker, connect: Connect
) -> None:
    """The verb says that it does not know, or answers as if nothing had been lost; a repeat does no harm."""

    async def known(call: Callable[[], Awaitable[Any]]) -> Any:
        before = proxy.lost
        proxy.lose_answer(b"EVALSHA")
        try:
            return await soon(call())
        except BrokerUnavailable:
            return None
        finally:
            assert proxy.lost == before + 1

    async with Proxy(shared.port) as proxy:
        broker = await connect(f"redis://127.0.0.1:{proxy.port}/0")
        await works(broker)
        claim = await started(second, "other")
        # The server knows all scripts now: what gets lost is the answer, and not "no such script".
        assert await broker.append([(claim, [entry()])]) == [True]
        new = job()
        placed = await known(lambda: broker.enqueue([new]))
        assert placed is None or placed[0].fresh
        assert not (await insist(broker.enqueue, [new]))[0].fresh
        claims = await known(lambda: broker.claim(["default"], {"loop": 1}, "w"))
        assert claims is None or [claim.id for claim in claims] == [new.id]
        for n in range(3):
            assert await known(lambda: broker.append([(claim, [entry()])])) in (None, [True])
            assert (await journal(second, claim.id)).last == n + 2
        assert await known(lambda: broker.settle([(claim, DONE)])) in (None, ([True], []))
        assert await insist(broker.settle, [(claim, DONE)]) == ([False], [])
        await broker.close()


async def test_a_cancelled_call_leaves_no_answer_to_the_next(shared: RedisServer, connect: Connect) -> None:
    """Calls are cancelled while they are under way; each of the others gets the answer to its own question."""
    async with Proxy(shared.port) as proxy:
        proxy.delay = 0.002
        broker = await connect(f"redis://127.0.0.1:{proxy.port}/0")
        jobs = [job() for _ in range(50)]
        await broker.enqueue(jobs)

        async def ask(new: NewJob) -> None:
            assert (await look(broker, new.id)).id == new.id

        for _ in range(20):
            calls = [asyncio.ensure_future(ask(one)) for one in random.sample(jobs, 20)]
            await asyncio.sleep(random.uniform(0.0, 0.008))
            for call in random.sample(calls, 10):
                call.cancel()
            for answer in await asyncio.gather(*calls, return_exceptions=True):
                assert answer is None or isinstance(answer, asyncio.CancelledError)
        await broker.close()


async def test_a_server_that_hangs_up_on_whoever_calls() -> None:
    """At any moment of the greeting, as one does that is being killed."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as thread:
        broker = RedisBroker(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        for number in range(300):
            hanging_up = thread.submit(hang_up, server, number % 20 * 5e-5)
            with pytest.raises(BrokerUnavailable):
                await broker.open()
            hanging_up.result()
        await broker.close()


def hang_up(server: socket.socket, after: float) -> None:
    """Accept one connection, and reset it after so many seconds."""
    connection, _ = server.accept()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(after)
    connection.close()


async def test_close_does_not_wait_for_a_dead_server(start: Start) -> None:
    server = start()
    broker = RedisBroker(server.url())
    await broker.open()
    claim = await started(broker)
    reading = await waiting(broker.read(claim.id, wait=3600.0))
    server.kill()
    await soon(broker.close())
    heard = await soon(reading)
    assert heard is not None
    assert heard.state is State.RUNNING


async def test_a_store_that_was_emptied_can_be_used_at_once(shared: RedisServer, broker: RedisBroker) -> None:
    """FLUSHALL by an operator: what was there is gone, and nothing else is wrong."""
    claim = await started(broker)
    claiming = await waiting(broker.claim(["default"], {"loop": 1}, "w", wait=SOON))
    shared.command("FLUSHALL")
    assert await broker.settle([(claim, DONE)]) == ([False], [])
    assert await broker.append([(claim, [entry()])]) == [False]
    assert await broker.read(claim.id) is None
    claiming.cancel()
    await works(broker)
