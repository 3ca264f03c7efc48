"""Chapter: limits, where they meet letters, flows, keys and fair shares."""

from __future__ import annotations

from msgspec.structs import replace

from windlass.broker.port import Broker
from windlass.core.job import JobId
from windlass.core.outcome import Failed, Suspended
from windlass.core.state import State
from windlass.core.terms import Terms, Use
from windlass.testing.conformance.kit import DONE, ERROR, NOW, Chapter, add, date, end, hire, job, look, state, take
from windlass.testing.conformance.limits import ONE, STRICT, counts, put, states


async def ask(broker: Broker, *uses: Use, now: float = NOW, terms: Terms | None = None, **fields: object) -> JobId:
    """Store a job with these limits and other terms."""
    return await add(broker, now=now, terms=replace(terms or Terms(), uses=uses), **fields)


class Meeting(Chapter):
    """Terms with `uses` and others."""

    async def test_letters_first_then_limits(self, broker: Broker) -> None:
        """A job that waits for letters stands at no gate; with the last of them it comes to it, and the answers say who passed."""
        (busy,) = await put(broker, ONE)
        join = await ask(broker, ONE, terms=Terms(letters=1))
        assert await counts(broker) == (1, 0, 0)
        part = await add(broker, terms=Terms(to=(join,)), queue="parts")
        await hire(broker)
        (claim,) = await take(broker, queues=["parts"])
        assert (await broker.settle([(claim, DONE)], now=NOW + 1))[1] == []
        assert (await state(broker, join), await counts(broker)) == (State.WAITING, (1, 0, 1))
        assert await broker.deliver(join, "more", b"1", now=NOW + 2)
        assert (await look(broker, join)).run_at == date(NOW + 1)
        (claim,) = await take(broker, now=NOW + 3)
        assert claim.id == busy
        _, ready = await broker.settle([(claim, DONE)], now=NOW + 3)
        assert [one.id for one in ready] == [join]
        assert (part, await state(broker, join)) != (join, State.WAITING)

    async def test_who_came_to_a_gate_meets_others_of_its_key_in_the_same_call(self, broker: Broker) -> None:
        """Whoever has the key, or becomes another one, is one job at one gate, however often it was met before."""
        key = {"key": "k", "queue": "default"}
        becomes = Terms(uses=(ONE,), replaces=True)
        placed = await broker.enqueue(
            [
                job(terms=Terms(uses=(ONE,)), **key),
                job(**key),
                job(terms=becomes, **key),
                job(**key),
                job(terms=becomes, **key),
            ],
            now=NOW,
        )
        assert {one.id for one in placed} == {placed[0].id}
        assert [one.replaced for one in placed] == [False, False, True, False, True]
        assert await counts(broker) == (1, 0, 0)
        (queue,) = await broker.tally()
        assert queue.counts == {State.READY: 1}

    async def test_an_event_brings_to_the_gate(self, broker: Broker) -> None:
        """What `deliver` completes passes at once, or waits."""
        mine = [await ask(broker, ONE, terms=Terms(letters=1)) for _ in range(2)]
        for one in mine:
            assert await broker.deliver(one, "go", b"1", now=NOW + 1)
        assert await states(broker, mine) == "re wa"

    async def test_what_a_letter_fails_gives_its_turn_on(self, broker: Broker) -> None:
        """A join that is failed by a part holds nothing any more, and who waits passes in the same step."""
        join = await ask(broker, STRICT, terms=Terms(letters=1))
        part = await ask(broker, STRICT, ONE, terms=Terms(to=(join,)))
        after = await ask(broker, STRICT, now=NOW + 1)
        await hire(broker)
        (claim,) = await take(broker)
        assert claim.id == part
        _, ready = await broker.settle([(claim, Failed(ERROR))], now=NOW + 2)
        assert [one.id for one in ready] == [after]
        assert await states(broker, [join, part, after]) == "fa fa re"

    async def test_suspended_holds_nothing(self, broker: Broker) -> None:
        """A suspended flow gives room to the next one, and goes to the gate again when it goes on."""
        flow, other = await put(broker, ONE, many=2)
        await hire(broker)
        (claim,) = await take(broker)
        _, ready = await broker.settle([(claim, Suspended(1))], now=NOW + 1)
        assert [one.id for one in ready] == [other]
        assert await counts(broker) == (1, 0, 0)
        await broker.deliver(flow, "go", b"1", now=NOW + 2)
        assert (await states(broker, [flow, other]), await counts(broker)) == ("wa re", (1, 0, 1))
        await broker.cancel([other], now=NOW + 3)
        assert await state(broker, flow) is State.READY

    async def test_a_timeout_at_the_gate_awaits_no_letter(self, broker: Broker) -> None:
        """A flow whose time is over stands at the gate; a letter that comes then is kept, and does not move it."""
        flow, other = await put(broker, ONE, many=2)
        await hire(broker, ttl=1000)
        (claim,) = await take(broker)
        await end(broker, claim, Suspended(1, 5.0), now=NOW + 1)
        assert await broker.promote(now=NOW + 6) == []
        assert await broker.deliver(flow, "late", b"1", now=NOW + 8)
        seen = await look(broker, flow)
        assert (seen.state, seen.run_at, seen.letters) == (State.WAITING, date(NOW + 6), 1)
        assert await counts(broker) == (1, 0, 1)
        await broker.forget([other], now=NOW + 9)
        assert await state(broker, flow) is State.READY

    async def test_ordered_keeps_its_turn_while_suspended(self, broker: Broker) -> None:
        """Nobody else has it meanwhile."""
        flow, other = await put(broker, STRICT, many=2)
        await hire(broker)
        await end(broker, (await take(broker))[0], Suspended(1), now=NOW + 1)
        assert await states(broker, [flow, other]) == "wa wa"
        await broker.deliver(flow, "go", b"1", now=NOW + 2)
        assert await states(broker, [flow, other]) == "re wa"

    async def test_replaced_at_a_gate(self, broker: Broker) -> None:
        """Whoever is replaced leaves its gates, waiting or passed; the new one comes to its own, under the old id."""
        (busy,), other = await put(broker, ONE), replace(ONE, key="bob")
        old = await ask(broker, ONE, key="k", terms=Terms(replaces=True))
        assert (await state(broker, old), await counts(broker)) == (State.WAITING, (1, 0, 1))
        for use, stands in ((other, State.READY), (ONE, State.WAITING), (other, State.READY)):
            new = job(key="k", terms=Terms(replaces=True, uses=(use,)))
            (placed,) = await broker.enqueue([new], now=NOW + 1)
            assert (placed.id, placed.state, placed.replaced) == (old, stands, True)
            assert await counts(broker) == (1, 0, int(use is ONE))
            assert await counts(broker, other) == (int(use is other), 0, 0)
        await broker.enqueue([job(key="k", terms=Terms(replaces=True))], now=NOW + 2)
        assert (await counts(broker, other), await state(broker, busy)) == ((0, 0, 0), State.READY)

    async def test_replaced_in_one_call(self, broker: Broker) -> None:
        """The same of jobs that come together: who waited is answered as it stands in the end."""
        (busy,) = await put(broker, ONE)
        terms = Terms(replaces=True, uses=(ONE,))
        placed = await broker.enqueue([job(key="k", terms=terms), job(key="k", terms=terms)], now=NOW)
        assert [one.state for one in placed] == [State.WAITING, State.WAITING]
        assert await counts(broker) == (1, 0, 1)
        free = Terms(replaces=True, uses=(Use("free"),))
        placed = await broker.enqueue([job(key="k", terms=terms), job(key="k", terms=free)], now=NOW)
        assert [one.state for one in placed] == [State.READY, State.READY]
        assert (await counts(broker), await counts(broker, Use("free"))) == ((1, 0, 0), (1, 0, 0))
        assert await state(broker, busy) is State.READY

    async def test_a_group_takes_its_turn_when_it_passes(self, broker: Broker) -> None:
        """Who waits at a gate takes no turn of its group; who goes back to it gives it back."""
        (busy,) = await put(broker, ONE, queue="other")
        late = await ask(broker, ONE, terms=Terms(group="a"))
        mine = [await add(broker, terms=Terms(group="a"), now=NOW + 1) for _ in range(2)]
        theirs = await add(broker, terms=Terms(group="b"), now=NOW + 1)
        await broker.cancel([busy], now=NOW + 2)
        await hire(broker, now=NOW + 2)
        order = [(await take(broker, 1, now=NOW + 2))[0].id for _ in range(4)]
        assert order == [mine[0], theirs, mine[1], late]

    async def test_ageing_counts_from_the_due_time(self, broker: Broker) -> None:
        """Not from when it passed."""
        (busy,) = await put(broker, ONE, queue="other")
        old = await ask(broker, ONE, terms=Terms(ageing=10.0), priority=4)
        young = await add(broker, terms=Terms(ageing=10.0), priority=5, now=NOW + 20)
        await broker.cancel([busy], now=NOW + 25)
        await hire(broker, now=NOW + 25)
        assert [(await take(broker, 1, now=NOW + 25))[0].id for _ in range(2)] == [old, young]

    async def test_revived_without_letters(self, broker: Broker) -> None:
        """It waits for what is missing first, and comes to the gate then."""
        (busy,), join = await put(broker, ONE), await ask(broker, ONE, terms=Terms(letters=1))
        await broker.cancel([join], now=NOW)
        assert await broker.revive([join, join], now=NOW + 1) == []
        assert (await state(broker, join), await counts(broker)) == (State.WAITING, (1, 0, 0))
        await broker.deliver(join, "go", b"1", now=NOW + 2)
        assert await counts(broker) == (1, 0, 1)
        await broker.cancel([join, busy], now=NOW + 3)
        assert [one.id for one in await broker.revive([join, join], now=NOW + 4)] == [join]
        reading = await broker.read(join)
        assert reading is not None
        assert reading.last == 3
