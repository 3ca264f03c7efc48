from __future__ import annotations

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor

from windlass.broker.memory import MemoryBroker
from windlass.core.state import State
from windlass.testing.conformance import Conformance
from windlass.testing.conformance.kit import DONE, NOW, add, end, hire, job, state, take
from windlass.testing.conformance.machine import check_against_model


class TestMemory(Conformance):
    """The model obeys its own port."""


def test_model_makes_only_legal_moves() -> None:
    check_against_model(MemoryBroker)


async def test_a_named_space_is_shared_by_all_who_name_it() -> None:
    stored = await add(one := MemoryBroker("memory://shared"))
    assert await state(MemoryBroker("memory://shared"), stored) is State.READY
    assert await MemoryBroker("memory://shared", "other app").get([stored]) == [None]
    assert await MemoryBroker("memory://other").get([stored]) == [None]
    del one
    gc.collect()
    assert await MemoryBroker("memory://shared").get([stored]) == [None]


async def test_an_unnamed_space_is_each_brokers_own() -> None:
    stored = await add(MemoryBroker())
    assert await MemoryBroker().get([stored]) == [None]


async def test_the_clock_may_be_assigned_and_is_the_spaces() -> None:
    broker = MemoryBroker(clock=lambda: NOW)
    sibling = broker.sibling()
    stored = (await broker.enqueue([job(delay=10.0)]))[0].id
    assert await sibling.promote() == []
    broker.clock = lambda: NOW + 10
    assert [ready.id for ready in await sibling.promote()] == [stored]


async def test_a_claim_is_woken_from_another_threads_loop(broker: MemoryBroker) -> None:
    new = job()
    await hire(broker)
    claiming = asyncio.ensure_future(broker.claim(["default"], {"loop": 1}, "w", wait=60.0, now=NOW))
    await asyncio.sleep(0)
    with ThreadPoolExecutor(1) as thread:
        await asyncio.wrap_future(thread.submit(asyncio.run, broker.sibling().enqueue([new])))
    assert [claim.id for claim in await asyncio.wait_for(claiming, 20.0)] == [new.id]


async def test_a_reader_in_another_threads_loop_is_woken(broker: MemoryBroker) -> None:
    stored = await add(broker)
    await hire(broker)
    (claim,) = await take(broker)
    sibling = broker.sibling()
    with ThreadPoolExecutor(1) as thread:
        reading = asyncio.wrap_future(thread.submit(asyncio.run, sibling.read(stored, wait=60.0)))
        done, _ = await asyncio.wait({reading}, timeout=0.05)
        assert not done
        await end(broker, claim, DONE)
        reading_of_the_end = await asyncio.wait_for(reading, 20.0)
    assert reading_of_the_end is not None
    assert reading_of_the_end.end is not None


async def test_a_reader_whose_loop_is_gone_does_not_disturb(broker: MemoryBroker) -> None:
    """A program may drop a loop with a call still waiting in it; who wakes the others must not trip over it."""
    stored = await add(broker)
    other = asyncio.new_event_loop()
    with ThreadPoolExecutor(1) as thread:

        def abandon() -> asyncio.Task[object]:
            asyncio.set_event_loop(other)
            task: asyncio.Task[object] = other.create_task(broker.sibling().read(stored, wait=60.0))
            other.run_until_complete(asyncio.sleep(0))
            return task

        task = thread.submit(abandon).result()
        waiters = list(broker._space.waiting["job", stored])
        task.cancel()
        thread.submit(other.run_until_complete, asyncio.wait({task})).result()
        other.close()
    broker._space.waiting["job", stored].update(waiters)  # as if the loop had been closed before the call could tidy up
    assert await broker.cancel([stored], now=NOW) == {stored: State.CANCELLED}
