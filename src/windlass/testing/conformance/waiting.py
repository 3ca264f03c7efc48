"""Chapter: calls that wait, and what wakes them; and many calls at once. Told by the store's clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from windlass.broker.port import Broker
from windlass.core.job import Card, Claim, JobId
from windlass.core.state import State
from windlass.testing.conformance.kit import AGAIN, DONE, NOW, Chapter, entry, job

T = TypeVar("T")
SOON = 20.0
"""Seconds after which a call that should have been woken counts as asleep."""
CARD = Card(host="here", pid=1)


async def _woken(call: Coroutine[Any, Any, T], deed: Callable[[], Awaitable[object]]) -> T:
    """The answer of a call that waits for an hour, unless `deed` wakes it."""
    task = asyncio.ensure_future(call)
    done, _ = await asyncio.wait({task}, timeout=0.05)
    assert not done, f"it did not wait, it answered {task.result()}"
    await deed()
    return await asyncio.wait_for(task, SOON)


async def _running(broker: Broker, **fields: Any) -> Claim:
    await broker.beat("w", CARD, 3600.0)
    await broker.enqueue([job(**fields)])
    return (await broker.claim(["default"], {"loop": 1}, "w"))[0]


class Waiting(Chapter):
    """`wait`."""

    async def test_claim_waits_at_most_wait(self, broker: Broker) -> None:
        """When nothing is ready, waits at most `wait` seconds."""
        await broker.beat("w", CARD, 3600.0)
        assert await asyncio.wait_for(broker.claim(["default"], {"loop": 1}, "w", wait=0.05), SOON) == []

    @pytest.mark.parametrize("deed", ["enqueue", "promote", "settle", "reclaim", "revive", "pause"])
    async def test_what_makes_work_ready_wakes_a_claim(self, broker: Broker, second: Broker, deed: str) -> None:
        """For something to become ready, wherever that is done."""
        claim = await _running(broker)
        stored = claim.id
        if deed in ("promote", "revive"):
            stored = (await second.enqueue([job(delay=3600.0)]))[0].id
        if deed == "pause":
            stored = (await second.enqueue([job(queue="other")]))[0].id
            await second.pause("other")
        new = job()
        deeds: dict[str, Callable[[], Awaitable[object]]] = {
            "enqueue": lambda: second.enqueue([new]),
            "promote": lambda: second.promote(now=2 * NOW),
            "settle": lambda: second.settle([(claim, AGAIN)]),
            "reclaim": lambda: _lose("w", second),
            "revive": lambda: second.revive([stored]),
            "pause": lambda: second.pause("other", False),
        }
        await broker.beat("waiter", CARD, 3600.0)
        call = broker.claim(["other", "default"], {"loop": 1}, "waiter", wait=3600.0)
        (found,) = await _woken(call, deeds[deed])
        assert found.id == (new.id if deed == "enqueue" else stored)

    async def test_a_job_that_moves_wakes_a_claim_of_its_new_queue(self, broker: Broker, second: Broker) -> None:
        """Ready there, and not where it was."""
        claim = await _running(broker)
        moved = replace(AGAIN, queue="big")
        await broker.beat("waiter", CARD, 3600.0)
        call = broker.claim(["big"], {"loop": 1}, "waiter", wait=3600.0)
        (found,) = await _woken(call, lambda: second.settle([(claim, moved)]))
        assert (found.id, found.queue) == (claim.id, "big")

    async def test_only_one_of_many_waiting_gets_it(self, broker: Broker, second: Broker) -> None:
        """No job is handed to two claims; who got nothing goes on waiting for the next."""
        await broker.beat("w", CARD, 3600.0)
        calls = [
            asyncio.ensure_future(one.claim(["default"], {"loop": 1}, "w", wait=3600.0))
            for one in (broker, second)
            for _ in range(4)
        ]
        found: list[JobId] = []
        jobs = [job() for _ in calls]
        for new in jobs:
            await second.enqueue([new])
            done, _ = await asyncio.wait(calls, timeout=SOON, return_when=asyncio.FIRST_COMPLETED)
            assert len(done) == 1
            found += [claim.id for claim in done.pop().result()]
            calls = [call for call in calls if not call.done()]
        assert found == [new.id for new in jobs]

    async def test_a_cancelled_wait_takes_nothing_later(self, broker: Broker) -> None:
        """A call that was cancelled while it waited does not swallow what becomes ready afterwards."""
        await broker.beat("w", CARD, 3600.0)
        call = asyncio.ensure_future(broker.claim(["default"], {"loop": 1}, "w", wait=3600.0))
        await asyncio.wait({call}, timeout=0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await broker.enqueue([job()])
        assert len(await broker.claim(["default"], {"loop": 1}, "w")) == 1

    async def test_wake_ends_the_waits_of_claims(self, broker: Broker) -> None:
        """End the waits of this broker's claims now: each answers with what it has. Harmless when nothing waits."""
        broker.wake()
        await broker.beat("w", CARD, 3600.0)
        other = asyncio.ensure_future(broker.claim(["other", "default"], {"thread": 1}, "w", wait=3600.0))
        assert await _woken(broker.claim(["default"], {"loop": 1}, "w", wait=3600.0), _waking(broker)) == []
        assert await asyncio.wait_for(other, SOON) == []

    async def test_wake_ends_waits_that_are_yet_to_come(self, broker: Broker) -> None:
        """Each that has begun, also if its wait is yet to come: whoever stops a worker cannot know how far a claim is."""
        await broker.beat("w", CARD, 3600.0)
        for steps in range(5):
            call = asyncio.ensure_future(broker.claim(["default"], {"loop": 1}, "w", wait=3600.0))
            for _ in range(1 + steps):
                await asyncio.sleep(0)
            broker.wake()
            assert await asyncio.wait_for(call, SOON) == []

    async def test_wake_loses_nothing(self, broker: Broker, second: Broker) -> None:
        """What it has: a job that a woken claim took is in its answer, and one that is not is still there."""
        await broker.beat("w", CARD, 3600.0)
        for _ in range(20):
            call = asyncio.ensure_future(broker.claim(["default"], {"loop": 1}, "w", wait=3600.0))
            await asyncio.sleep(0)
            new = job()
            enqueueing = asyncio.ensure_future(second.enqueue([new]))
            await asyncio.sleep(0)
            broker.wake()
            await enqueueing
            claims = await asyncio.wait_for(call, SOON) or await broker.claim(["default"], {"loop": 1}, "w")
            assert [claim.id for claim in claims] == [new.id]

    async def test_wake_disturbs_nobody_else(self, broker: Broker, second: Broker) -> None:
        """Not a read, not another broker's claim, not a claim that begins later."""
        claim = await _running(broker)
        calls: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(broker.read(claim.id, wait=3600.0)),
            asyncio.ensure_future(second.claim(["default"], {"loop": 1}, "w", wait=3600.0)),
        ]
        await asyncio.wait(calls, timeout=0.05)
        broker.wake()
        calls.append(asyncio.ensure_future(broker.claim(["default"], {"loop": 1}, "w", wait=3600.0)))
        done, waiting = await asyncio.wait(calls, timeout=0.1)
        assert not done
        for call in waiting:
            call.cancel()
        await asyncio.wait(waiting)

    async def test_a_worker_that_lives_again_takes_what_became_ready_meanwhile(self, broker: Broker) -> None:
        """A claim of it that waits then finds what became ready meanwhile."""
        await broker.beat("w", CARD, 0.0)
        new = job()
        await broker.enqueue([new])
        call = broker.claim(["default"], {"loop": 1}, "w", wait=3600.0)
        (found,) = await _woken(call, lambda: broker.beat("w", CARD, 3600.0))
        assert found.id == new.id

    async def test_a_promote_that_waits_finds_what_falls_due(self, broker: Broker, second: Broker) -> None:
        """Waits at most `wait` seconds for a job to be due, also one that came when the wait had begun; or answers at once."""
        await second.enqueue([job(delay=3600.0)])
        assert await asyncio.wait_for(broker.promote(wait=0.05), SOON) == []
        call = asyncio.ensure_future(broker.promote(wait=3600.0))
        new = job(delay=0.1)
        await second.enqueue([new])
        async with asyncio.timeout(SOON):
            while not (ready := await call):
                call = asyncio.ensure_future(broker.promote(wait=3600.0))
                await asyncio.sleep(0.01)  # a store that does not push
        assert [one.id for one in ready] == [new.id]

    async def test_close_wakes_every_waiting_call(self, broker: Broker, second: Broker) -> None:
        """Wake every waiting call with what it has."""
        await second.beat("w", CARD, 3600.0)
        stored = (await second.enqueue([job(queue="elsewhere")]))[0].id
        reading = asyncio.ensure_future(second.read(stored, wait=3600.0))
        assert await _woken(second.claim(["default"], {"loop": 1}, "w", wait=3600.0), second.close) == []
        answer = await asyncio.wait_for(reading, SOON)
        assert answer is not None
        assert (answer.state, answer.entries) == (State.READY, [])

    async def test_read_waits_at_most_wait(self, broker: Broker) -> None:
        """Then answers with what there is."""
        claim = await _running(broker)
        reading = await asyncio.wait_for(broker.read(claim.id, wait=0.05), SOON)
        assert reading is not None
        assert (reading.state, reading.entries, reading.end) == (State.RUNNING, [], None)

    async def test_an_entry_wakes_a_read(self, broker: Broker, second: Broker) -> None:
        """Waits for one: the first past `after`."""
        claim = await _running(broker)
        await broker.append([(claim, [entry()])])
        reading = await _woken(broker.read(claim.id, after=1, wait=3600.0), lambda: second.append([(claim, [entry()])]))
        assert reading is not None
        assert [one.seq for one in reading.entries] == [2]

    async def test_the_end_wakes_a_read(self, broker: Broker, second: Broker) -> None:
        """For the end."""
        claim = await _running(broker)
        reading = await _woken(broker.read(claim.id, wait=3600.0), lambda: second.settle([(claim, DONE)]))
        assert reading is not None
        assert reading.end is not None
        assert reading.end.state is State.SUCCEEDED

    async def test_a_change_of_state_wakes_a_read_that_asked_for_it(self, broker: Broker, second: Broker) -> None:
        """With `seen`, for a state or attempt other than the seen one; one that differs already is answered at once."""
        claim = await _running(broker)
        seen = (State.RUNNING, 1)
        reading = await _woken(broker.read(claim.id, wait=3600.0, seen=seen), lambda: second.settle([(claim, AGAIN)]))
        assert reading is not None
        assert (reading.state, reading.attempt) == (State.READY, 1)
        assert await asyncio.wait_for(broker.read(claim.id, wait=3600.0, seen=seen), SOON) == reading
        await broker.claim(["default"], {"loop": 1}, "w")
        reading = await asyncio.wait_for(broker.read(claim.id, wait=3600.0, seen=seen), SOON)
        assert reading is not None
        assert (reading.state, reading.attempt) == (State.RUNNING, 2)

    async def test_a_change_of_state_does_not_end_a_read_that_did_not_ask(self, broker: Broker, second: Broker) -> None:
        """Without `seen`, only entries and the end count."""
        claim = await _running(broker)
        call = asyncio.ensure_future(broker.read(claim.id, wait=3600.0))
        await second.settle([(claim, AGAIN)])
        done, _ = await asyncio.wait({call}, timeout=0.1)
        assert not done
        await second.cancel([claim.id])
        reading = await asyncio.wait_for(call, SOON)
        assert reading is not None
        assert reading.state is State.CANCELLED


class Crowding(Chapter):
    """Verbs may be called from any number of tasks of one event loop at once."""

    async def test_no_job_is_handed_to_two_claims_of_a_crowd(self, broker: Broker, second: Broker) -> None:
        """However many workers claim at once; and none is left behind."""
        jobs = [job(priority=n % 10) for n in range(300)]
        await broker.enqueue(jobs)

        async def work(one: Broker, name: str) -> list[JobId]:
            await one.beat(name, CARD, 3600.0)
            taken: list[JobId] = []
            while claims := await one.claim(["default"], {"loop": 7}, name):
                taken += [claim.id for claim in claims]
                applied, _ = await one.settle([(claim, DONE) for claim in claims])
                assert all(applied)
            return taken

        crowd = await asyncio.gather(*(work(one, f"w{n}") for n, one in enumerate([broker, second] * 6)))
        assert Counter(taken for each in crowd for taken in each) == Counter(one.id for one in jobs)
        assert (await second.tally())[0].counts == {State.SUCCEEDED: 300}

    async def test_a_crowd_that_enqueues_one_key_stores_one_job(self, broker: Broker, second: Broker) -> None:
        """A `key` admits one unfinished job, and an id one job."""
        same = job()
        placed = await asyncio.gather(*(one.enqueue([same, job(key="k")]) for one in [broker, second] * 8))
        assert Counter(one.fresh for each in placed for one in each) == {True: 2, False: 30}
        assert len({each[1].id for each in placed}) == 1

    async def test_one_of_a_crowd_settles(self, broker: Broker, second: Broker) -> None:
        """Applied once, of many repeats at once."""
        claim = await _running(broker)
        answers = await asyncio.gather(*(one.settle([(claim, DONE)]) for one in [broker, second] * 8))
        assert Counter(applied[0] for applied, _ in answers) == {True: 1, False: 15}

    async def test_upkeep_may_be_called_everywhere_at_once(self, broker: Broker, second: Broker) -> None:
        """Safe to call everywhere at once: each job is promoted once, reclaimed once, pruned once."""
        both = [broker, second] * 4
        await broker.enqueue([job(delay=1.0, keep=0.0) for _ in range(50)], now=NOW)
        promoted = await asyncio.gather(*(one.promote(20, now=NOW + 1) for one in both))
        assert sorted(Counter(ready.id for each in promoted for ready in each).values()) == [1] * 50
        await broker.beat("w", CARD, 3600.0)
        await broker.claim(["default"], {"loop": 50}, "w")
        await broker.beat("w", CARD, 0.0)
        taken = await asyncio.gather(*(one.reclaim(20) for one in both))
        ids = [ready.id for each in taken for ready in each]
        assert len(ids) == len(set(ids)) == 50
        await broker.cancel(ids)
        assert sum(await asyncio.gather(*(one.prune(20) for one in both))) == 50


def _waking(broker: Broker) -> Callable[[], Awaitable[object]]:
    async def wake() -> None:
        broker.wake()

    return wake


async def _lose(worker: str, broker: Broker) -> None:
    """The worker says farewell, and its jobs are taken back."""
    await broker.beat(worker, CARD, 0.0)
    await broker.reclaim()
