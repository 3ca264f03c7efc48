"""Chapter: limits, and who passes them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from windlass.broker.port import Broker
from windlass.core.gates import LimitInfo
from windlass.core.job import JobId, NewJob
from windlass.core.outcome import Cancelled, Failed, Outcome, Parked, Released, Retried, Snoozed
from windlass.core.state import State
from windlass.core.terms import Meter, Terms, Use
from windlass.testing.conformance.kit import (
    AGAIN,
    DONE,
    ERROR,
    NOW,
    Chapter,
    add,
    date,
    end,
    hire,
    job,
    look,
    state,
    take,
)

ONE = Use("openai", "alice", running=1)
STRICT = Use("order", "alice", ordered=True)


def using(*uses: Use, **fields: Any) -> NewJob:
    """A job with these limits."""
    return job(terms=Terms(uses=uses), **fields)


async def put(broker: Broker, *uses: Use, many: int = 1, now: float = NOW, **fields: Any) -> list[JobId]:
    """Store so many jobs with these limits, one after the other."""
    stored = list[JobId]()
    for _ in range(many):
        stored.append(await add(broker, terms=Terms(uses=uses), now=now, **fields))
    return stored


async def states(broker: Broker, jobs: Sequence[JobId]) -> str:
    """Where they stand, by the first letters."""
    return " ".join([(await state(broker, one)).value[:2] for one in jobs])


async def gate(broker: Broker, use: Use = ONE, *, now: float = NOW) -> LimitInfo | None:
    """What is known of the limit of a use."""
    found = await broker.limits([(use.limit, use.key)], now=now)
    return found[0] if found else None


async def counts(broker: Broker, use: Use = ONE, *, now: float = NOW) -> tuple[float, float, int]:
    """Held, reserved, waiting."""
    found = await gate(broker, use, now=now)
    return (found.held, found.reserved, found.waiting) if found else (0, 0, 0)


class Limiting(Chapter):
    """Terms with `uses`."""

    async def test_at_most_running_at_once(self, broker: Broker) -> None:
        """So many units of one key pass and run at once; another key is another limit."""
        use = Use("openai", "alice", running=2)
        mine, other = await put(broker, use, many=3), await put(broker, replace(use, key="bob"))
        assert await states(broker, mine + other) == "re re wa re"
        assert await counts(broker, use) == (2, 0, 1)
        await hire(broker)
        first, *_ = claims = await take(broker)
        assert len(claims) == 3
        assert await states(broker, mine) == "ru ru wa"
        assert await counts(broker, use) == (2, 0, 1)
        applied, ready = await broker.settle([(first, DONE)], now=NOW + 1)
        assert (applied, [one.id for one in ready]) == ([True], mine[2:])
        assert await states(broker, mine) == "su ru re"

    async def test_answers_the_state_at_enqueue(self, broker: Broker) -> None:
        """One that passes at once is ready, others wait; what comes together passes by its priority."""
        low, high = using(ONE, priority=1), using(ONE, priority=9)
        assert [one.state for one in await broker.enqueue([low, high], now=NOW)] == [State.WAITING, State.READY]
        placed = await broker.enqueue([low, high], now=NOW)
        assert [(one.state, one.fresh) for one in placed] == [(State.WAITING, False), (State.READY, False)]
        assert await counts(broker) == (1, 0, 1)
        assert (await broker.tally())[0].counts == {State.READY: 1, State.WAITING: 1}

    async def test_units_weigh(self, broker: Broker) -> None:
        """The first that does not fit stops those behind it, so that a large one is not starved; nobody at another gate."""
        use = Use("memory", running=10)
        (large, larger, small) = [(await put(broker, replace(use, units=units)))[0] for units in (6, 5, 1)]
        (other,) = await put(broker, Use("else", running=1))
        assert await states(broker, [large, larger, small, other]) == "re wa wa re"
        await broker.cancel([larger], now=NOW + 1)
        assert await states(broker, [large, larger, small]) == "re ca re"
        assert await counts(broker, use) == (7, 0, 0)

    async def test_more_than_all_counts_as_all(self, broker: Broker) -> None:
        """Units that are more than all of a limit count as all of it: such a job runs alone."""
        use = Use("memory", units=99, running=2)
        mine = await put(broker, use, many=2)
        assert await states(broker, mine) == "re wa"
        await hire(broker)
        await end(broker, (await take(broker))[0])
        assert await states(broker, mine) == "su re"

    async def test_fractions_add_up(self, broker: Broker) -> None:
        """Sums of units are exact: no count drifts."""
        use = Use("cpu", units=0.1, running=1.0)
        await hire(broker)
        for _ in range(3):
            await put(broker, use, many=10)
            for claim in await take(broker):
                await end(broker, claim)
        assert await broker.limits(now=NOW) == []

    async def test_limited_jobs_block_nobody(self, broker: Broker) -> None:
        """A limited job takes no slot and stands in nobody's way."""
        await put(broker, ONE, many=200, priority=9)
        plain = await add(broker, priority=0)
        await hire(broker)
        assert plain in [claim.id for claim in await take(broker, 2)]

    async def test_priority_then_age(self, broker: Broker) -> None:
        """At a gate the higher priority passes first, then who is due for longer."""
        (first,) = await put(broker, ONE)
        order = [
            (await put(broker, ONE, priority=priority, now=NOW + at))[0]
            for priority, at in ((5, 3.0), (5, 2.0), (7, 4.0))
        ]
        await hire(broker)
        passed = list[JobId]()
        for _ in range(4):
            (claim,) = await take(broker)
            passed.append(claim.id)
            await end(broker, claim)
        assert passed == [first, order[2], order[1], order[0]]

    async def test_rate(self, broker: Broker) -> None:
        """A bucket holds `burst` at first, and `rate` more come each second: `promote` lets pass whose time has come."""
        use = Use("openai", rate=0.5, burst=2)
        mine = await put(broker, use, many=5)
        assert await states(broker, mine) == "re re wa wa wa"
        assert await counts(broker, use) == (2, 2, 3)
        await hire(broker)
        assert len(await take(broker)) == 2
        assert await counts(broker, use) == (2, 0, 3)
        assert await broker.promote(now=NOW + 1.9) == []
        assert [one.id for one in await broker.promote(now=NOW + 2)] == [mine[2]]
        assert await broker.promote(now=NOW + 3.9) == []
        assert [one.id for one in await broker.promote(now=NOW + 4)] == [mine[3]]

    async def test_the_bucket_pays_at_the_start(self, broker: Broker) -> None:
        """However long jobs were ready before they start, the starts never go faster than the rate."""
        use = Use("openai", rate=1.0, burst=2)
        mine = await put(broker, use, many=6)
        assert await broker.promote(now=NOW + 100) == []
        assert await states(broker, mine) == "re re wa wa wa wa"
        await hire(broker, now=NOW + 100)
        assert len(await take(broker, now=NOW + 100)) == 2
        assert await broker.promote(now=NOW + 100.5) == []
        assert [one.id for one in await broker.promote(now=NOW + 101)] == [mine[2]]
        assert len(await take(broker, now=NOW + 101)) == 1
        assert len(await broker.promote(now=NOW + 103)) == 2

    async def test_what_was_reserved_comes_back(self, broker: Broker) -> None:
        """A job that passed and is cancelled before it starts pays nothing."""
        use = Use("openai", rate=0.001)
        mine = await put(broker, use, many=2)
        await broker.cancel(mine[:1], now=NOW)
        assert await states(broker, mine) == "ca re"

    async def test_a_clock_that_was_set_back_fills_nothing(self, broker: Broker) -> None:
        """And it holds nobody back for as long as it was set back."""
        use = Use("openai", rate=1.0)
        mine = await put(broker, use, many=3)
        await hire(broker)
        assert len(await take(broker)) == 1
        await put(broker, use, now=NOW - 1000)
        assert "re" not in await states(broker, mine)
        assert len(await broker.promote(now=NOW - 998)) == 1

    async def test_all_limits_or_none(self, broker: Broker) -> None:
        """A job passes all its limits in one step, or none: it holds nothing while it waits."""
        a, b = Use("a", running=1), Use("b", running=1)
        (first,) = await put(broker, b)
        both, alone = await put(broker, a, b), await put(broker, a)
        assert await states(broker, [first, *both, *alone]) == "re wa re"
        await hire(broker)
        claims = {claim.id: claim for claim in await take(broker)}
        await end(broker, claims[first])
        assert await states(broker, both) == "wa"
        await end(broker, claims[alone[0]])
        assert await states(broker, both) == "re"
        assert await counts(broker, a) == await counts(broker, b) == (1, 0, 0)

    async def test_ordered(self, broker: Broker) -> None:
        """Strictly one after the other, retries included, whatever the priority; other keys go on."""
        (first,), (second,) = await put(broker, STRICT), await put(broker, STRICT, priority=9, now=NOW + 1)
        (other,) = await put(broker, replace(STRICT, key="bob"))
        assert await states(broker, [first, second, other]) == "re wa re"
        await hire(broker)
        claim = next(one for one in await take(broker) if one.id == first)
        await end(broker, claim, Retried(30.0, ERROR), now=NOW + 2)
        assert await states(broker, [first, second]) == "sc wa"
        assert [one.id for one in await broker.promote(now=NOW + 32)] == [first]
        (claim,) = await take(broker, now=NOW + 32)
        await end(broker, claim, AGAIN, now=NOW + 33)
        (claim,) = await take(broker, now=NOW + 33)
        assert claim.id == first
        await end(broker, claim, Failed(ERROR), now=NOW + 34)
        assert await states(broker, [first, second]) == "fa re"

    async def test_order_is_kept_at_other_gates(self, broker: Broker) -> None:
        """A job keeps its turn also while it waits at another gate."""
        (busy,) = await put(broker, ONE)
        first, second = await put(broker, ONE, STRICT), await put(broker, STRICT, now=NOW + 1)
        assert await states(broker, first + second) == "wa wa"
        found = await gate(broker, STRICT)
        assert found is not None
        assert (found.turn, found.waiting) == (first[0], 1)
        await broker.cancel([busy], now=NOW + 2)
        assert await states(broker, first + second) == "re wa"

    async def test_who_gives_up_gives_the_turn_on(self, broker: Broker) -> None:
        """Parked, cancelled and forgotten jobs have no turn."""
        mine = await put(broker, STRICT, many=4)
        await hire(broker)
        await end(broker, (await take(broker))[0], Parked("?"))
        assert await states(broker, mine) == "pa re wa wa"
        await broker.cancel(mine[1:2], now=NOW)
        assert await states(broker, mine) == "pa ca re wa"
        await broker.forget(mine[2:3], now=NOW)
        assert await state(broker, mine[3]) is State.READY
        assert await broker.revive(mine[:1], now=NOW + 9) == []
        assert await states(broker, [mine[0], mine[3]]) == "wa re"

    async def test_whatever_ends_gives_room(self, broker: Broker) -> None:
        """In the same step, and says so: what a job held comes back, and the next one passes."""
        outcomes: list[Outcome] = [DONE, Failed(ERROR), Cancelled("x"), Parked("x"), Retried(9, ERROR), Snoozed(9)]
        await hire(broker, ttl=1000)
        for number, outcome in enumerate(outcomes):
            use = replace(ONE, key=str(number))
            mine = await put(broker, use, many=2)
            (claim,) = await take(broker)
            _, ready = await broker.settle([(claim, outcome)], now=NOW)
            assert [one.id for one in ready] == mine[1:], outcome
            assert await counts(broker, use) == (1, 0, 0)
            await broker.cancel(mine, now=NOW)
            assert await gate(broker, use) is None

    async def test_who_is_handed_back_goes_to_the_gate(self, broker: Broker) -> None:
        """A released or retried job stands where its time says; one of a dead worker, too."""
        mine = await put(broker, ONE, many=2)
        await hire(broker)
        _, ready = await broker.settle([((await take(broker))[0], Released())], now=NOW + 1)
        assert [one.id for one in ready] == mine[1:]
        assert await states(broker, mine) == "wa re"
        await take(broker, now=NOW + 2)
        assert [one.id for one in await broker.reclaim(now=NOW + 60)] == mine[:1]
        assert await states(broker, mine) == "re wa"
        assert await counts(broker) == (1, 0, 1)

    async def test_quarantined_gives_room(self, broker: Broker) -> None:
        """A job that took its worker down too often holds nothing."""
        mine = await put(broker, ONE, many=2, crash_limit=1)
        await hire(broker)
        await take(broker)
        assert [one.id for one in await broker.reclaim(now=NOW + 60)] == mine[1:]
        assert await states(broker, mine) == "fa re"

    async def test_expired_gives_room(self, broker: Broker) -> None:
        """Also one that expires while it waits leaves its gate."""
        mine = [*await put(broker, ONE, many=2, expires=10.0), *await put(broker, ONE)]
        assert await states(broker, mine) == "re wa wa"
        assert [one.id for one in await broker.promote(now=NOW + 10)] == mine[2:]
        assert await states(broker, mine) == "ca ca re"
        assert await counts(broker) == (1, 0, 0)

    async def test_delayed_jobs_hold_nothing(self, broker: Broker) -> None:
        """A job comes to its gate when it is due, and keeps its due time."""
        (late,), (soon,) = await put(broker, ONE, delay=10.0), await put(broker, ONE)
        assert await states(broker, [late, soon]) == "sc re"
        assert await broker.promote(now=NOW + 20) == []
        await broker.cancel([soon], now=NOW + 30)
        seen = await look(broker, late)
        assert (seen.state, seen.run_at) == (State.READY, date(NOW + 10))

    async def test_paused_queues_give_room(self, broker: Broker) -> None:
        """Jobs of a paused queue that have not started wait; others pass in their place."""
        mine = [*await put(broker, ONE, many=2, queue="a"), *await put(broker, ONE, many=2, queue="b")]
        await broker.pause("a", now=NOW)
        assert await states(broker, mine) == "wa wa re wa"
        late = await put(broker, ONE, queue="a", priority=9)
        await hire(broker)
        await end(broker, (await take(broker, queues="ab"))[0])
        assert await states(broker, mine + late) == "wa wa su re wa"
        await broker.pause("a", False, now=NOW)
        await end(broker, (await take(broker, queues="ab"))[0])
        assert await states(broker, mine + late) == "wa wa su su re"
        assert await counts(broker) == (1, 0, 2)

    async def test_units_are_settled_afterwards(self, broker: Broker) -> None:
        """The bucket gets back, or pays, what the run did not take, or took besides; it may go below zero."""
        use = Use("tokens", "alice", units=4, rate=1.0, burst=10)
        await hire(broker, ttl=1000)
        (claim,) = await start_all(broker, use)
        await end(broker, replace(claim, meters=(Meter("tokens", used=1.5),)))
        assert (await level(broker, use)) == 8.5
        (claim,) = await start_all(broker, use)
        assert not await end(broker, replace(claim, token=claim.token - 1, meters=(Meter("tokens", used=99),)))
        await end(broker, replace(claim, meters=(Meter("tokens", used=20.0), Meter("other", used=1))))
        assert (await level(broker, use)) == -11.5
        mine = await put(broker, use)
        assert await broker.promote(now=NOW + 15) == []
        assert [one.id for one in await broker.promote(now=NOW + 15.5)] == mine

    async def test_a_pause_closes_the_gate(self, broker: Broker) -> None:
        """Nobody passes until then, who passed and has not started goes back; what runs goes on, other keys pass."""
        use = Use("openai", "alice", running=3)
        mine, other = await put(broker, use, many=4), await put(broker, replace(use, key="bob"), queue="other")
        await hire(broker)
        first, second = await take(broker, 2)
        closing = replace(first, meters=(Meter("openai", pause=30.0),))
        assert (await broker.settle([(closing, Retried(30.0, ERROR))], now=NOW))[1] == []
        assert await states(broker, [*mine, *other]) == "sc ru wa wa re"
        found = await gate(broker, use)
        assert found is not None
        assert found.closed_until == date(NOW + 30)
        await end(broker, second, now=NOW + 1)
        assert await broker.promote(now=NOW + 29.9) == []
        assert {one.id for one in await broker.promote(now=NOW + 30)} == {mine[0], *mine[2:]}

    async def test_the_newest_definition_counts(self, broker: Broker) -> None:
        """What a limit admits is what the newest job said that came to it, at once for all who wait."""
        mine = await put(broker, ONE, many=3)
        await put(broker, replace(ONE, running=3))
        assert await states(broker, mine) == "re re re"
        await put(broker, ONE, now=NOW + 1)
        found = await gate(broker)
        assert found is not None
        assert (found.running, found.held, found.waiting) == (1, 3, 2)

    async def test_a_long_line_passes_in_its_order(self, broker: Broker) -> None:
        """However many stand at a gate: the first ones pass, at once, and those who stand at another gate then are its first ones."""
        many, other = [using(ONE, Use("b", running=60), priority=n % 3) for n in range(150)], Use("b", running=60)
        await broker.enqueue(many, now=NOW)
        await put(broker, replace(ONE, running=100), now=NOW + 1)
        ready = [one for one in many if await state(broker, one.id) is State.READY]
        first = sorted(many, key=lambda one: (-one.priority, one.id))[:60]
        assert {one.id for one in ready} == {one.id for one in first}
        assert await counts(broker) == (61, 0, 0)
        assert await counts(broker, other) == (60, 0, 90)

    async def test_what_nobody_needs_is_forgotten(self, broker: Broker) -> None:
        """Nothing held, nobody waiting, the bucket full: then a limit is as if it had never been."""
        full, slow = Use("a", running=1), Use("b", rate=1.0)
        await hire(broker)
        for claim in [*await start_all(broker, full), *await start_all(broker, slow)]:
            await end(broker, claim)
        assert [one.limit for one in await broker.limits(now=NOW)] == ["b"]
        assert await broker.limits(now=NOW + 1) == []
        await broker.prune(now=NOW + 1)
        assert await broker.limits(now=NOW) == []

    async def test_lists_by_limit_and_key(self, broker: Broker) -> None:
        """By limit and key, at most `limit`, `after` another one; with `names` only these, in their order."""
        names = [("a", "x"), ("a", "y"), ("b", ""), ("bb", "x")]
        await broker.enqueue([using(Use(*name, running=1)) for name in reversed(names)], now=NOW)
        found = await broker.limits(now=NOW)
        assert [(one.limit, one.key) for one in found] == names
        page = await broker.limits(after=("a", "x"), limit=2, now=NOW)
        assert [(one.limit, one.key) for one in page] == names[1:3]
        some = await broker.limits([("b", ""), ("no", "such"), ("a", "x")], now=NOW)
        assert [(one.limit, one.key) for one in some] == [("b", ""), ("a", "x")]
        assert some[0] == LimitInfo("b", "", 1.0, float("inf"), 1.0, 1.0, 0.0, 0, None, None, None)

    async def test_one_of_many_limits(self, broker: Broker) -> None:
        """A thousand keys in one call, each with its own room."""
        uses = [Use("tenant", str(n // 2), running=1) for n in range(1000)]
        placed = await broker.enqueue([using(use) for use in uses], now=NOW)
        assert [one.state for one in placed] == [State.READY, State.WAITING] * 500
        await hire(broker)
        claims = await take(broker, 250) + await take(broker, 250)
        assert len(claims) == 500
        _, ready = await broker.settle([(claim, DONE) for claim in claims], now=NOW)
        assert len({one.id for one in ready}) == 500
        claims = await take(broker, 250) + await take(broker, 250)
        await broker.settle([(claim, DONE) for claim in claims], now=NOW)
        assert await broker.limits(now=NOW) == []

    async def test_a_waiting_claim_is_woken_for_who_passes(self, broker: Broker, second: Broker) -> None:
        """What passes is ready for whoever waits for work."""
        mine = await put(broker, ONE, many=2)
        await hire(broker)
        (claim,) = await take(broker)
        waiting = asyncio.ensure_future(second.claim(["default"], {"loop": 1}, "w", wait=60.0, now=NOW))
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        await end(broker, claim)
        assert [one.id for one in await asyncio.wait_for(waiting, 20.0)] == mine[1:]


async def start_all(broker: Broker, use: Use) -> list[Any]:
    """Store one job with this limit, and claim it."""
    await put(broker, use)
    return await take(broker)


async def level(broker: Broker, use: Use) -> float | None:
    """What the bucket holds."""
    found = await gate(broker, use)
    return found.level if found else None
