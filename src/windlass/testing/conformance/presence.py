"""Chapter: who works, and for how long that is believed."""

from __future__ import annotations

from windlass.broker.port import Broker
from windlass.core.job import Card, Duty, Wish
from windlass.core.state import State
from windlass.testing.conformance.kit import DONE, NOW, Chapter, add, date, end, hire, start, state, take


class Beating(Chapter):
    """`beat` and `workers`."""

    async def test_the_first_beat_makes_the_worker_known(self, broker: Broker, second: Broker) -> None:
        """The workers that are alive, each with the card of its latest beat, the number of jobs it holds and what is wished of it."""
        assert await broker.workers(now=NOW) == []
        assert (await hire(broker)).alive
        card = Card(
            host="there", pid=2, queues=("a", "b"), slots={"loop": 5}, busy={"loop": 1}, past=((0.5, 90), (1.0, 95))
        )
        assert (await broker.beat("w", card, 30.0, now=NOW + 10)).alive
        (known,) = await second.workers(now=NOW + 10)
        assert (known.id, known.card, known.until, known.running) == ("w", card, date(NOW + 40), 0)

    async def test_workers_by_id_with_what_they_hold(self, broker: Broker) -> None:
        """By id, and the number of jobs it holds."""
        for worker in ("c", "a", "b"):
            await hire(broker, worker)
        for _ in range(3):
            await add(broker)
        claims = await take(broker, 2, worker="b")
        assert [(one.id, one.running) for one in await broker.workers(now=NOW)] == [("a", 0), ("b", 2), ("c", 0)]
        await end(broker, claims[0], DONE)
        assert [one.running for one in await broker.workers(now=NOW)] == [0, 1, 0]

    async def test_alive_until_now_plus_ttl(self, broker: Broker) -> None:
        """Keep the worker alive until now + ttl: at that moment it is over."""
        await hire(broker, ttl=10.0)
        assert len(await broker.workers(now=NOW + 9.5)) == 1
        assert await broker.workers(now=NOW + 10) == []

    async def test_before_its_end_a_lease_lasts_though_it_was_over_before(self, broker: Broker) -> None:
        """Only the store's clock judges leases, also after it was set back: before its end a lease lasts."""
        await hire(broker, ttl=10.0)
        assert await broker.reclaim(now=NOW + 20) == []
        assert [one.id for one in await broker.workers(now=NOW + 5)] == ["w"]
        stored = await add(broker)
        assert [claim.id for claim in await take(broker, now=NOW + 5)] == [stored]
        assert [one.id for one in await broker.reclaim(now=NOW + 10)] == [stored]

    async def test_a_beat_keeps_every_job_it_holds(self, broker: Broker) -> None:
        """And with it every job it holds, however often it beats."""
        claims = [await start(broker) for _ in range(3)]
        for beat in range(1, 5):
            assert (await hire(broker, now=NOW + 50 * beat)).alive
            assert await broker.reclaim(now=NOW + 50 * beat + 59) == []
        assert {await state(broker, claim.id) for claim in claims} == {State.RUNNING}

    async def test_answers_which_are_to_be_cancelled(self, broker: Broker, second: Broker) -> None:
        """Answers which of them are to be cancelled, until they have ended; other workers' jobs are not told."""
        claims = [await start(broker) for _ in range(3)]
        assert (await hire(broker)).cancelling == []
        await second.cancel([claims[0].id, claims[2].id], now=NOW)
        for _ in range(2):
            assert set((await hire(broker)).cancelling) == {claims[0].id, claims[2].id}
        assert (await hire(second, "other")).cancelling == []
        await end(broker, claims[0])
        assert (await hire(broker)).cancelling == [claims[2].id]

    async def test_a_wish_is_told_with_each_beat(self, broker: Broker, second: Broker) -> None:
        """Which is told with each of its beats; None: what was wished before. Repeating a wish is harmless."""
        await hire(broker, "other")
        assert (await hire(broker)).wish == Wish()
        told = list[Wish]()
        wishes: list[tuple[Duty | None, float | None]] = [
            ("quiet", None),
            (None, 1.9e9 + 0.25),
            ("quiet", None),
            (None, None),
            ("working", 3.0),
        ]
        for wish in wishes:
            for _ in range(2):
                assert await second.wish("w", *wish, now=NOW)
                told.append((await hire(broker)).wish)
            told.append((await hire(broker)).wish)
        states = ["quiet"] * 12 + ["working"] * 3
        assert told == [Wish(*one) for one in zip(states, [0.0] * 3 + [1.9e9 + 0.25] * 9 + [3.0] * 3, strict=True)]
        assert [one.wish for one in await broker.workers(now=NOW)] == [Wish(), Wish("working", 3.0)]
        assert (await hire(broker, "other")).wish == Wish()

    async def test_of_the_dead_nothing_is_wished(self, broker: Broker) -> None:
        """Answers whether it is alive: known, not past its lease, and not robbed. A wish outlasts a lease that ran out for a while."""
        assert not await broker.wish("w", "quiet", now=NOW)
        await start(broker)
        assert await broker.wish("w", "quiet", now=NOW + 59)
        assert not await broker.wish("w", "stopped", 1.0, now=NOW + 60)
        assert (await hire(broker, now=NOW + 70)).wish == Wish("quiet")
        await broker.reclaim(now=NOW + 200)
        assert not await broker.wish("w", "stopped", now=NOW + 201)
        assert (await hire(broker, now=NOW + 202)).wish == Wish()

    async def test_robbed_is_dead_for_ever(self, broker: Broker) -> None:
        """A worker whose jobs were taken back is not alive any more, whatever it does."""
        await start(broker)
        await broker.reclaim(now=NOW + 60)
        for later in (60, 61, 1000):
            assert not (await hire(broker, now=NOW + later)).alive
        assert await broker.workers(now=NOW + 1000) == []

    async def test_a_lapsed_lease_lives_again(self, broker: Broker) -> None:
        """A worker whose lease ran out, but from which nothing was taken yet, lives again with its next beat."""
        claim = await start(broker)
        await hire(broker, "idle")
        assert (await hire(broker, now=NOW + 100)).alive
        assert await broker.reclaim(now=NOW + 101) == []
        assert (await hire(broker, "idle", now=NOW + 102)).alive
        assert await state(broker, claim.id) is State.RUNNING

    async def test_a_ttl_of_0_ends_the_lease_at_once(self, broker: Broker) -> None:
        """What the worker still holds may be reclaimed."""
        claim = await start(broker)
        await hire(broker, ttl=0.0)
        assert await broker.workers(now=NOW) == []
        assert [ready.id for ready in await broker.reclaim(now=NOW)] == [claim.id]
