"""Chapter: parts, the jobs that another one waits for, whose ids follow from its own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from windlass.broker.port import Broker
from windlass.core.ids import derived
from windlass.core.job import JobId, NewJob
from windlass.core.letters import UNWANTED
from windlass.core.outcome import Failed, Retried, Suspended
from windlass.core.state import State
from windlass.core.terms import Terms
from windlass.testing.conformance.kit import ERROR, NOW, Chapter, end, hire, job, look, state, take

CANCELLED, WAITING, READY = State.CANCELLED, State.WAITING, State.READY


def part(of: JobId, number: int, **fields: Any) -> NewJob:
    """One job that is to tell only its receiver of its end."""
    terms = Terms(to=(of,), letters=fields.pop("letters", 0))
    return job(id=derived(of, number), terms=terms, **fields)


def join(parts: int, *, collects: bool = False, **fields: Any) -> NewJob:
    """One job that waits for so many."""
    return job(terms=Terms(letters=parts, collects=collects), **fields)


async def states(broker: Broker, jobs: Collection[NewJob]) -> list[State]:
    """Where these stand."""
    return [await state(broker, one.id) for one in jobs]


class Parting(Chapter):
    """What becomes of parts whose receiver ends without them, and comes back."""

    async def test_parts_go_with_their_receiver(self, broker: Broker, second: Broker) -> None:
        """Those that were never started are cancelled in the same step; they count in the history."""
        whole = join(5)
        bad, runs, retried = (part(whole.id, n, priority=9) for n in range(3))
        ready, later = part(whole.id, 3), part(whole.id, 4, delay=50.0)
        await broker.enqueue([whole, bad, runs, retried, ready, later], now=NOW)
        await hire(broker)
        claims = {claim.id: claim for claim in await take(broker, 3)}
        await end(broker, claims[retried.id], Retried(30.0, ERROR))
        await end(broker, claims[bad.id], Failed(ERROR), now=NOW + 5)
        assert await states(second, [whole, bad]) == [State.FAILED] * 2
        assert await states(second, [ready, later]) == [CANCELLED] * 2
        assert {(await look(second, one.id)).reason for one in (ready, later)} == {UNWANTED}
        assert await states(second, [runs, retried]) == [State.RUNNING, State.SCHEDULED]
        assert await take(broker, now=NOW + 20) == []
        assert await end(broker, claims[runs.id])
        assert (await look(broker, whole.id)).letters == 1
        rollups = await broker.series(3600, 0, NOW + 9999)
        assert sum(one.count for one in rollups if one.outcome == "cancelled") == 2

    async def test_parts_of_parts_go_too(self, broker: Broker) -> None:
        """However deep, and none of what has ended."""
        whole = join(2)
        inner = part(whole.id, 0, letters=2)
        chain = part(inner.id, 0, letters=1)
        first, done, bad = part(chain.id, 0), part(inner.id, 1, priority=9), part(whole.id, 1, priority=9)
        await broker.enqueue([whole, inner, chain, first, done, bad], now=NOW)
        await hire(broker)
        claims = {claim.id: claim for claim in await take(broker, 2)}
        await end(broker, claims[done.id])
        await end(broker, claims[bad.id], Failed(ERROR))
        assert await states(broker, [inner, chain, first, done]) == [CANCELLED, CANCELLED, CANCELLED, State.SUCCEEDED]

    async def test_who_collects_waits_for_all(self, broker: Broker) -> None:
        """A failure that is collected ends nothing."""
        whole = join(2, collects=True)
        bad, other = part(whole.id, 0, priority=9), part(whole.id, 1)
        await broker.enqueue([whole, bad, other], now=NOW)
        await hire(broker)
        await end(broker, (await take(broker, 1))[0], Failed(ERROR))
        assert await states(broker, [whole, other]) == [WAITING, READY]

    async def test_however_it_ends(self, broker: Broker) -> None:
        """A cancel, an expiry, `forget`: its parts go with it."""
        wholes = [join(1), join(1, expires=5.0), join(1)]
        parts = [part(whole.id, 0) for whole in wholes]
        await broker.enqueue([*wholes, *parts], now=NOW)
        await broker.cancel([wholes[0].id], now=NOW)
        await broker.promote(now=NOW + 5)
        await broker.forget([wholes[2].id], now=NOW)
        assert await states(broker, parts) == [CANCELLED] * 3

    async def test_who_tells_others_too_stays(self, broker: Broker) -> None:
        """Only those that tell nobody else, and have such an id: what else waits for its letter is still served."""
        whole, other = join(3), join(1)
        shared = job(id=derived(whole.id, 0), terms=Terms(to=(whole.id, other.id)))
        stranger = job(terms=Terms(to=(whole.id,)))
        await broker.enqueue([whole, other, shared, stranger, job(id=derived(whole.id, 1))], now=NOW)
        await broker.cancel([whole.id], now=NOW)
        assert await states(broker, [shared, stranger]) == [READY] * 2
        assert await state(broker, derived(whole.id, 1)) is READY

    async def test_who_was_started_has_no_parts(self, broker: Broker) -> None:
        """What a run has asked for is its own: a flow that is cancelled while it waits leaves the jobs that it runs to the caller."""
        flow = job(terms=Terms(collects=True))
        await broker.enqueue([flow], now=NOW)
        await hire(broker)
        (claim,) = await take(broker)
        await broker.enqueue([part(flow.id, 0)], now=NOW)
        await end(broker, claim, Suspended(1))
        await broker.cancel([flow.id], now=NOW)
        assert await state(broker, derived(flow.id, 0)) is READY

    async def test_parts_come_back_with_their_receiver(self, broker: Broker) -> None:
        """With what waits again, its parts that have failed or were cancelled are revived, too."""
        whole = join(3)
        inner = part(whole.id, 0, letters=1)
        deep, good, bad = part(inner.id, 0), part(whole.id, 1, priority=9), part(whole.id, 2, priority=9)
        await broker.enqueue([whole, inner, deep, good, bad], now=NOW)
        await hire(broker)
        claims = {claim.id: claim for claim in await take(broker, 2)}
        await end(broker, claims[good.id])
        await end(broker, claims[bad.id], Failed(ERROR))
        ready = await broker.revive([whole.id], now=NOW)
        assert {one.id for one in ready} == {bad.id, deep.id}
        assert await states(broker, [whole, inner, good]) == [WAITING, WAITING, State.SUCCEEDED]
        for claim in await take(broker, 2):
            await end(broker, claim)
        (last,) = await take(broker)
        assert last.id == inner.id
        await end(broker, last)
        assert await state(broker, whole.id) is READY

    async def test_what_waits_for_nothing_comes_back_alone(self, broker: Broker) -> None:
        """A receiver that has got all its letters meanwhile is ready; nothing else happens."""
        whole = join(1)
        one = part(whole.id, 0)
        await broker.enqueue([whole, one], now=NOW)
        await hire(broker)
        (claim,) = await take(broker)
        await broker.cancel([whole.id], now=NOW)
        await end(broker, claim)
        assert [one.id for one in await broker.revive([whole.id], now=NOW)] == [whole.id]
        assert await states(broker, [whole, one]) == [READY, State.SUCCEEDED]

    async def test_a_thousand_go_in_one_step(self, broker: Broker) -> None:
        """All of them, in every list that they stand in."""
        whole, many = join(1001), 1000
        await broker.enqueue([whole, part(whole.id, 0, priority=9)], now=NOW)
        await broker.enqueue([part(whole.id, n) for n in range(1, many + 1)], now=NOW)
        await hire(broker)
        await end(broker, (await take(broker, 1))[0], Failed(ERROR))
        assert (await broker.tally())[0].counts == {State.FAILED: 2, CANCELLED: many}
        assert await take(broker) == []
