"""Chapter: taking work out."""

from __future__ import annotations

from windlass.broker.port import Broker
from windlass.core.outcome import Released
from windlass.core.state import State
from windlass.testing.conformance.kit import AGAIN, NOW, Chapter, add, date, end, hire, job, look, start, state, take


class Claiming(Chapter):
    """`claim`."""

    async def test_takes_ready_jobs(self, broker: Broker) -> None:
        """The claim tells what the worker needs, and the job is running from then on."""
        stored = await add(broker, task="a.b", body=b"\x00", crash_limit=7)
        await hire(broker, now=NOW + 1)
        claim = (await take(broker, now=NOW + 2))[0]
        assert (claim.id, claim.task, claim.queue, claim.lane, claim.body) == (
            stored,
            "a.b",
            "default",
            "loop",
            b"\x00",
        )
        assert (claim.attempt, claim.crashes, claim.crash_limit) == (1, 0, 7)
        assert (claim.enqueued_at, claim.due_at, claim.claimed_at) == (NOW, NOW, NOW + 2)
        seen = await look(broker, stored)
        assert (seen.state, seen.attempt, seen.worker, seen.started_at) == (State.RUNNING, 1, "w", date(NOW + 2))

    async def test_tells_since_when_it_was_due(self, broker: Broker) -> None:
        """`due_at` is the job's `run_at`: of one that was scheduled its due time, of one that became ready again that moment."""
        await add(broker, delay=5.0)
        await hire(broker)
        await broker.promote(now=NOW + 10)
        (claim,) = await take(broker, now=NOW + 20)
        assert claim.due_at == NOW + 5
        await end(broker, claim, AGAIN, now=NOW + 30)
        (claim,) = await take(broker, now=NOW + 40)
        assert (claim.enqueued_at, claim.due_at, claim.claimed_at) == (NOW, NOW + 30, NOW + 40)

    async def test_at_most_room_of_each_lane(self, broker: Broker) -> None:
        """At most `room[lane]` of each lane; lanes that are not in `room` give nothing."""
        await broker.enqueue([job(lane=lane) for lane in ("loop", "thread", "process") for _ in range(4)], now=NOW)
        await hire(broker)
        claims = await broker.claim(["default"], {"loop": 3, "thread": 1}, "w", now=NOW)
        assert sorted(claim.lane for claim in claims) == ["loop", "loop", "loop", "thread"]
        assert await broker.claim(["default"], {"loop": 0}, "w", now=NOW) == []
        assert await broker.claim(["default"], {}, "w", now=NOW) == []

    async def test_a_full_lane_does_not_hide_another(self, broker: Broker) -> None:
        """Jobs without room stay where they are; those behind them in other lanes are found."""
        await broker.enqueue([job(lane="loop", priority=9) for _ in range(300)], now=NOW)
        stored = await add(broker, lane="thread", priority=0)
        await hire(broker)
        assert [claim.id for claim in await broker.claim(["default"], {"thread": 5}, "w", now=NOW)] == [stored]

    async def test_queues_that_were_not_asked_give_nothing(self, broker: Broker) -> None:
        """Only the queues asked for."""
        await add(broker, queue="other")
        await hire(broker)
        assert await take(broker) == []
        assert await take(broker, queues=[]) == []

    async def test_order(self, broker: Broker) -> None:
        """Queues in the order asked, then the higher priority, then the longer due."""
        expected = await _spread(broker)
        assert [claim.id for claim in await take(broker, queues=["urgent", "later"], now=NOW + 60)] == expected

    async def test_order_one_at_a_time(self, broker: Broker) -> None:
        """Also when taken one at a time."""
        expected = await _spread(broker)
        taken = [await take(broker, 1, queues=["urgent", "later"], now=NOW + 60) for _ in expected]
        assert [claim.id for claims in taken for claim in claims] == expected

    async def test_order_of_lanes_is_one_order(self, broker: Broker) -> None:
        """Priority counts before the lane."""
        stored = [await add(broker, lane="loop" if n % 2 else "thread", priority=n) for n in range(6)]
        await hire(broker)
        claims = await broker.claim(["default"], {"thread": 9, "loop": 9}, "w", now=NOW)
        assert [claim.id for claim in claims] == stored[::-1]

    async def test_promoted_keeps_its_due_time_and_retried_gets_a_new_one(self, broker: Broker) -> None:
        """What makes a job ready sets `run_at` to now, except that a promoted job keeps its due time."""
        retried = await start(broker)
        late = await add(broker, delay=20.0)
        early = await add(broker, now=NOW + 10)
        between = await add(broker, now=NOW + 25)
        await broker.promote(now=NOW + 30)
        await end(broker, retried, AGAIN, now=NOW + 40)
        assert [claim.id for claim in await take(broker, now=NOW + 50)] == [early, late, between, retried.id]

    async def test_each_claim_spends_an_attempt(self, broker: Broker) -> None:
        """Each claim spends an attempt and carries a token that is larger than any earlier token of that job id."""
        claims = [await start(broker)]
        for _ in range(3):
            await end(broker, claims[-1], AGAIN)
            claims += await take(broker)
        assert [claim.attempt for claim in claims] == [1, 2, 3, 4]
        assert [claim.resumed for claim in claims] == [False, True, True, True]
        tokens = [claim.token for claim in claims]
        assert tokens == sorted(set(tokens))

    async def test_tokens_grow_over_a_forgotten_job(self, broker: Broker) -> None:
        """Forgotten jobs included: a stale worker cannot end the new job that got the old one's id."""
        stale = await start(broker)
        await end(broker, stale, Released())
        await broker.forget([stale.id])
        fresh = await start(broker, id=stale.id)
        assert fresh.token > stale.token
        assert not await end(broker, stale)
        assert await state(broker, stale.id) is State.RUNNING

    async def test_no_job_is_handed_out_twice(self, broker: Broker, second: Broker) -> None:
        """No job is ever handed to two claims."""
        await start(broker)
        await hire(second, "other")
        assert await take(second, worker="other") == []
        assert await take(broker) == []

    async def test_a_paused_queue_gives_nothing(self, broker: Broker, second: Broker) -> None:
        """A paused queue gives nothing, the others do; what was paused is there when it goes on."""
        paused, other = await add(broker), await add(broker, queue="other")
        await hire(broker)
        await second.pause("default")
        assert [claim.id for claim in await take(broker, queues=["default", "other"])] == [other]
        await second.pause("default", False)
        assert [claim.id for claim in await take(broker)] == [paused]

    async def test_a_job_past_its_expiry_is_never_handed_out(self, broker: Broker) -> None:
        """A job past its expiry that has never been started is never handed out, promoted or not."""
        expired = [await add(broker, expires=10.0), await add(broker, expires=10.0, delay=5.0)]
        behind = await add(broker, priority=0)
        await hire(broker)
        await broker.promote(now=NOW + 6)
        assert [claim.id for claim in await take(broker, now=NOW + 10)] == [behind]
        assert {one.id for one in (await broker.find(states=[State.READY])).jobs} == set(expired), (
            "until `promote` cancels them"
        )

    async def test_a_started_job_does_not_expire(self, broker: Broker) -> None:
        """Expiry is over with the first start."""
        claim = await start(broker, expires=10.0)
        await end(broker, claim, AGAIN)
        await broker.promote(now=NOW + 20)
        assert [again.id for again in await take(broker, now=NOW + 20)] == [claim.id]

    async def test_a_clock_that_steps_back_holds_up_nothing(self, broker: Broker) -> None:
        """What is ready is handed out, by a living worker, with a larger token; what is not due waits; leases count from the new time."""
        first, early = await start(broker), NOW - 3600
        ready, later = await add(broker), await add(broker, delay=10.0)
        await hire(broker, now=early)
        (claim,) = await take(broker, now=early)
        assert (claim.id, claim.claimed_at) == (ready, early)
        assert await end(broker, first, AGAIN, now=early + 1)
        (again,) = await take(broker, now=early + 1)
        assert again.token > first.token
        assert await broker.promote(now=early + 59) == []
        assert await broker.reclaim(now=early + 59) == []
        assert {one.id for one in await broker.reclaim(now=early + 60)} == {ready, first.id}
        assert [one.id for one in await broker.promote(now=NOW + 10)] == [later]

    async def test_a_worker_that_is_not_alive_gets_nothing(self, broker: Broker) -> None:
        """No beat, or its lease ran out: nothing."""
        await add(broker)
        assert await take(broker, worker="never seen") == []
        await hire(broker, ttl=10.0)
        assert await take(broker, now=NOW + 10) == []
        assert len(await take(broker, now=NOW + 9)) == 1

    async def test_a_worker_that_lost_its_jobs_gets_nothing(self, broker: Broker) -> None:
        """A worker whose jobs were taken back gets nothing, whatever it beats."""
        await start(broker)
        await broker.reclaim(now=NOW + 60)
        await hire(broker, now=NOW + 61)
        assert await take(broker, now=NOW + 61) == []


async def _spread(broker: Broker) -> list[str]:
    """Jobs over two queues, three priorities and two times; answers the order in which they are due."""
    await hire(broker, ttl=1000.0)
    stored = {}
    for late, (n, queue) in enumerate([(1, "later"), (1, "urgent"), (2, "later"), (2, "urgent")]):
        for priority in (0, 9, 5):
            stored[queue != "urgent", -priority, n] = await add(broker, queue=queue, priority=priority, now=NOW + late)
    return [stored[key] for key in sorted(stored)]
