"""Chapter: putting work in."""

from __future__ import annotations

from msgspec.structs import asdict, replace

from windlass.broker.port import Broker
from windlass.core.ids import new_id
from windlass.core.state import State
from windlass.core.terms import Terms, Use
from windlass.testing.conformance.kit import NOW, Chapter, add, date, end, job, look, start, state, take


class Enqueueing(Chapter):
    """`enqueue`."""

    async def test_empty_list_answers_an_empty_list(self, broker: Broker) -> None:
        """Hot verbs take lists and answer lists; an empty list is no work."""
        assert await broker.enqueue([]) == []

    async def test_answers_in_the_same_order(self, broker: Broker) -> None:
        """Answer lists, in the same order."""
        jobs = [job(priority=n % 3) for n in range(20)]
        assert [placed.id for placed in await broker.enqueue(jobs, now=NOW)] == [one.id for one in jobs]

    async def test_what_was_stored_is_what_was_given(self, broker: Broker, second: Broker) -> None:
        """A verb has happened entirely when it returns: every other connection sees the job as it was given."""
        given = job(queue="videos", lane="process", priority=9, key="k", body=b"\x00\xff", expires=50.0, task="a.b")
        assert (await broker.enqueue([given], now=NOW))[0].fresh
        seen = await look(second, given.id)
        same = ("id", "task", "queue", "lane", "priority", "key", "body")
        assert {name: getattr(seen, name) for name in same} == {name: asdict(given)[name] for name in same}
        assert (seen.created_at, seen.run_at, seen.expires_at) == (date(NOW), date(NOW), date(NOW + 50))
        assert (seen.state, seen.attempt, seen.crashes, seen.started_at) == (State.READY, 0, 0, None)

    async def test_the_terms_of_a_job_are_kept_as_given(self, broker: Broker, second: Broker) -> None:
        """A job's terms are seen as they were given, before and after its end; a plain job has none."""
        given = Terms(root=new_id(), group="a", weight=0.5, uses=(Use("openai", "alice", 3.0, rate=10.0),))
        claim = await start(broker, terms=given)
        plain = await add(broker)
        assert (await look(second, claim.id)).terms == given
        assert await end(broker, claim)
        assert ((await look(second, claim.id)).terms, (await look(second, plain)).terms) == (given, None)
        reading = await second.read(claim.id)
        assert reading is not None
        assert reading.end is not None
        assert reading.end.terms == given

    async def test_idempotent_by_id(self, broker: Broker, second: Broker) -> None:
        """A job whose id is known already is left as it is and answered with `fresh=False` and its state."""
        first = job(body=b"first")
        await broker.enqueue([first], now=NOW)
        again = (await second.enqueue([replace(first, body=b"other", delay=5.0)], now=NOW + 1))[0]
        assert (again.id, again.state, again.fresh) == (first.id, State.READY, False)
        assert (await look(broker, first.id)).body == b"first"

    async def test_idempotent_by_id_within_one_call(self, broker: Broker) -> None:
        """The same id twice in one call is one job."""
        one = job()
        assert [placed.fresh for placed in await broker.enqueue([one, one], now=NOW)] == [True, False]
        assert len((await broker.find()).jobs) == 1

    async def test_idempotent_by_id_also_when_finished(self, broker: Broker) -> None:
        """A repeat of a call whose job has finished meanwhile starts nothing."""
        claim = await start(broker)
        await end(broker, claim)
        placed = (await broker.enqueue([job(id=claim.id)], now=NOW))[0]
        assert (placed.id, placed.state, placed.fresh) == (claim.id, State.SUCCEEDED, False)

    async def test_key_admits_one_unfinished_job(self, broker: Broker, second: Broker) -> None:
        """A second one is not stored and is answered with the first one's id and `fresh=False`."""
        first, other = await add(broker, key="k", delay=5.0), job(key="k")
        placed = (await second.enqueue([other], now=NOW))[0]
        assert (placed.id, placed.state, placed.fresh) == (first, State.SCHEDULED, False)
        assert await broker.get([other.id]) == [None]

    async def test_key_holds_within_one_call(self, broker: Broker) -> None:
        """The key admits one job also within one call; jobs with other keys are not touched by it."""
        jobs = [job(key="a"), job(key="a"), job(key="b"), job()]
        placed = await broker.enqueue(jobs, now=NOW)
        assert [one.fresh for one in placed] == [True, False, True, True]
        assert placed[1].id == jobs[0].id

    async def test_key_holds_while_running(self, broker: Broker) -> None:
        """Running is unfinished."""
        claim = await start(broker, key="k")
        assert await add(broker, key="k") == claim.id

    async def test_key_is_free_once_the_first_has_finished(self, broker: Broker) -> None:
        """Once the first has finished the key is free again."""
        claim = await start(broker, key="k")
        await end(broker, claim)
        assert await add(broker, key="k") != claim.id

    async def test_delay_makes_it_scheduled(self, broker: Broker) -> None:
        """A job with a `delay` or `at` in the future is scheduled, and not handed out."""
        for fields in (
            {"delay": 10.0},
            {"at": NOW + 10},
            {"delay": 10.0, "at": NOW + 5},
            {"delay": 1.0, "at": NOW + 10},
        ):
            stored = await look(broker, await add(broker, **fields))
            assert (stored.state, stored.run_at) == (State.SCHEDULED, date(NOW + 10)), fields
        claim = await start(broker)
        assert [claim.id] == [one.id for one in (await broker.find(states=[State.RUNNING])).jobs]

    async def test_no_delay_makes_it_ready_at_once(self, broker: Broker) -> None:
        """Otherwise it is ready at once: without a time, or with one that has come."""
        for fields in ({}, {"at": NOW - 10}, {"at": NOW}):
            stored = await look(broker, await add(broker, **fields))
            assert (stored.state, stored.run_at) == (State.READY, date(NOW)), fields

    async def test_a_large_batch_is_one_batch(self, broker: Broker) -> None:
        """All jobs or none, also when they are many."""
        placed = await broker.enqueue([job() for _ in range(2500)], now=NOW)
        assert sum(one.fresh for one in placed) == 2500
        assert (await broker.tally())[0].counts == {State.READY: 2500}

    async def test_default_clock_is_the_stores(self, broker: Broker) -> None:
        """None, the default, means the store's clock."""
        stored = (await broker.enqueue([job(delay=3600.0)]))[0].id
        assert await state(broker, stored) is State.SCHEDULED
        seen = await look(broker, stored)
        assert 3599 < (seen.run_at - seen.created_at).total_seconds() < 3601
        assert await take(broker) == []
