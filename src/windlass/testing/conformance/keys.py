"""Chapter: keys: how long one is taken, and who waits under it."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec.structs import replace

from windlass.broker.port import Broker
from windlass.core.job import JobId, Placed
from windlass.core.state import State
from windlass.core.terms import Terms
from windlass.testing.conformance.kit import AGAIN, NOW, Chapter, add, date, end, hire, job, look, start, state, take

STARTED, THROTTLED, REPLACES = Terms(unique="started"), Terms(unique_for=60.0), Terms(unique="started", replaces=True)


class Keeping(Chapter):
    """`unique` and `unique_for`."""

    async def test_a_key_can_be_free_from_the_start_on(self, broker: Broker, second: Broker) -> None:
        """With `unique="started"`: one may wait while one runs, and no more."""
        first = await add(broker, key="k", terms=STARTED)
        assert await add(second, key="k", terms=STARTED) == first
        await hire(broker)
        await take(broker)
        waiting = await add(broker, key="k", terms=STARTED)
        assert waiting != first
        assert await add(second, key="k", terms=STARTED) == waiting

    async def test_the_job_that_has_the_key_says_how_long(self, broker: Broker) -> None:
        """Whatever the other asks for."""
        plain = await start(broker, key="k")
        assert await add(broker, key="k", terms=STARTED) == plain.id
        started = await start(broker, key="l", terms=STARTED)
        assert await add(broker, key="l") != started.id

    async def test_what_has_let_go_of_its_key_does_not_take_it_again(self, broker: Broker) -> None:
        """Neither when it is retried nor when it ends: the key is another's."""
        claim = await start(broker, key="k", terms=STARTED)
        waiting = await add(broker, key="k", terms=STARTED)
        assert await end(broker, claim, AGAIN)
        assert await add(broker, key="k") == waiting
        again = next(one for one in await take(broker) if one.id == claim.id)
        assert await end(broker, again)
        last = await add(broker, key="k", terms=STARTED)
        assert last not in (waiting, claim.id)
        assert await add(broker, key="k") == last

    async def test_a_job_that_never_started_frees_its_key(self, broker: Broker) -> None:
        """Cancelled, it will not start any more."""
        first = await add(broker, key="k", terms=STARTED)
        await broker.cancel([first], now=NOW)
        assert await add(broker, key="k", terms=STARTED) != first

    async def test_a_key_can_be_taken_for_a_time(self, broker: Broker, second: Broker) -> None:
        """With `unique_for`, so many seconds from its enqueueing, finished or not."""
        claim = await start(broker, key="k", terms=THROTTLED)
        assert await end(broker, claim, now=NOW + 1)
        placed = (await second.enqueue([job(key="k")], now=NOW + 59))[0]
        assert (placed.id, placed.state, placed.fresh) == (claim.id, State.SUCCEEDED, False)
        (placed,) = await second.enqueue([job(key="k")], now=NOW + 60)
        assert placed.fresh
        assert await add(broker, key="k", now=NOW + 61) == placed.id

    async def test_a_time_that_is_over_frees_no_unfinished_job(self, broker: Broker) -> None:
        """Not before, and not without its end."""
        claim = await start(broker, key="k", terms=THROTTLED)
        assert await add(broker, key="k", now=NOW + 90) == claim.id
        assert await end(broker, claim, now=NOW + 95)
        assert await add(broker, key="k", now=NOW + 95) != claim.id

    async def test_a_cancelled_job_keeps_its_time(self, broker: Broker) -> None:
        """Whatever becomes of it; forgotten, it frees its key."""
        first = await add(broker, key="k", terms=THROTTLED)
        await broker.cancel([first], now=NOW + 1)
        assert await add(broker, key="k", now=NOW + 2) == first
        assert await broker.forget([first]) == [first]
        assert await add(broker, key="k", now=NOW + 3) != first

    async def test_a_job_is_kept_as_long_as_its_key(self, broker: Broker) -> None:
        """Pruned not before; so who was throttled may ask for the result of the one that counts."""
        ended = await start(broker, key="k", terms=THROTTLED, keep=10.0)
        assert await end(broker, ended, now=NOW + 1)
        cancelled = await add(broker, key="l", terms=THROTTLED, keep=10.0)
        await broker.cancel([cancelled], now=NOW)
        assert await broker.prune(now=NOW + 59) == 0
        assert await add(broker, key="k", now=NOW + 59) == ended.id
        assert await broker.prune(now=NOW + 60) == 2
        assert await add(broker, key="k", now=NOW + 60) != ended.id

    async def test_revived_it_needs_its_key(self, broker: Broker) -> None:
        """If another job has its key meanwhile it is left as it is; what has let go of its key needs none."""
        first = await add(broker, key="k", terms=THROTTLED)
        await broker.cancel([first], now=NOW)
        other = await add(broker, key="k", now=NOW + 60)
        assert await broker.revive([first], now=NOW + 61) == []
        await broker.cancel([other], now=NOW + 62)
        assert [one.id for one in await broker.revive([first], now=NOW + 63)] == [first]
        assert await add(broker, key="k", now=NOW + 64) == first
        claim = await start(broker, key="l", terms=STARTED, queue="other")
        waiting = await add(broker, key="l", terms=STARTED)
        await broker.cancel([claim.id], now=NOW)
        assert await end(broker, claim, AGAIN)
        assert [one.id for one in await broker.revive([claim.id], now=NOW + 65)] == [claim.id]
        assert await add(broker, key="l", now=NOW + 66) == waiting


class Replacing(Chapter):
    """`replaces` and `latest`."""

    async def test_what_waits_becomes_the_new_one(self, broker: Broker, second: Broker) -> None:
        """It keeps its id, and when it came; everything else is as the new one says."""
        first = await add(broker, key="k", terms=Terms(group="a"), expires=5.0, delay=9.0)
        new = job(
            key="k", task="other", body=b"new", queue="videos", lane="thread", priority=9, expires=50.0, crash_limit=7,
            terms=Terms(replaces=True, group="b"),
        )  # fmt: skip
        (placed,) = await second.enqueue([new], now=NOW + 2)
        assert placed == Placed(first, State.READY, fresh=False, replaced=True)
        seen = await look(broker, first)
        assert (seen.task, seen.body, seen.queue, seen.lane, seen.priority) == ("other", b"new", "videos", "thread", 9)
        assert (seen.created_at, seen.run_at, seen.expires_at) == (date(NOW), date(NOW + 2), date(NOW + 52))
        assert (seen.terms, seen.key, seen.state) == (new.terms, "k", State.READY)
        assert await broker.get([new.id]) == [None]
        assert [(info.name, info.counts) for info in await broker.tally()] == [("videos", {State.READY: 1})]
        await hire(broker, now=NOW + 10)
        (claim,) = await broker.claim(["default", "videos"], {"loop": 9, "thread": 9}, "w", now=NOW + 10)
        assert (claim.id, claim.body, claim.crash_limit, claim.enqueued_at) == (first, b"new", 7, NOW)
        assert await broker.promote(now=NOW + 60) == []

    async def test_the_expiry_is_the_new_ones(self, broker: Broker) -> None:
        """Of one that does not expire: none."""
        first = await add(broker, key="k", expires=5.0)
        assert await add(broker, key="k", terms=REPLACES) == first
        await broker.promote(now=NOW + 9)
        assert await state(broker, first) is State.READY
        await hire(broker)
        assert [claim.id for claim in await take(broker, now=NOW + 9)] == [first]

    async def test_it_is_put_off(self, broker: Broker) -> None:
        """Due as the new one says: the last counts."""
        first = await _knock(broker, NOW, delay=10.0)
        assert await _knock(broker, NOW + 5, delay=10.0) == first
        assert await broker.promote(now=NOW + 14) == []
        assert [one.id for one in await broker.promote(now=NOW + 15)] == [first]
        assert await _knock(broker, NOW + 16, delay=10.0) == first
        assert (await state(broker, first), await broker.promote(now=NOW + 25)) == (State.SCHEDULED, [])
        assert [one.id for one in await broker.promote(now=NOW + 26)] == [first]

    async def test_but_not_for_ever(self, broker: Broker) -> None:
        """At the latest `latest` seconds after the first of them came."""
        terms = replace(REPLACES, latest=25.0)
        first = await _knock(broker, NOW, delay=10.0, terms=terms)
        for now, due in ((8, 18), (16, 25), (24, 25)):
            assert await _knock(broker, NOW + now, delay=10.0, terms=terms) == first
            assert (await look(broker, first)).run_at == date(NOW + due)
        assert [one.id for one in await broker.promote(now=NOW + 25)] == [first]
        assert await _knock(broker, NOW + 40, delay=10.0, terms=terms) == first
        assert await state(broker, first) is State.READY
        assert (await look(broker, first)).run_at == date(NOW + 40)

    async def test_what_has_started_is_not_replaced(self, broker: Broker) -> None:
        """It runs with what it was given: another one is stored, or, where it has the key still, none."""
        claim = await start(broker, key="k", terms=REPLACES, body=b"old")
        other = await add(broker, key="k", terms=REPLACES)
        assert other != claim.id
        assert await end(broker, claim, AGAIN)
        assert (await look(broker, claim.id)).body == b"old"
        plain = await start(broker, key="l", queue="other")
        assert await add(broker, key="l", terms=REPLACES) == plain.id
        assert await end(broker, plain, AGAIN)
        assert await add(broker, key="l", terms=REPLACES) == plain.id
        assert (await look(broker, plain.id)).terms is None

    async def test_who_does_not_replace_changes_nothing(self, broker: Broker) -> None:
        """The new one says whether it replaces."""
        first = await add(broker, key="k", terms=REPLACES, body=b"first")
        assert await add(broker, key="k", body=b"second") == first
        assert (await look(broker, first)).body == b"first"

    async def test_without_a_key_nothing_is_replaced(self, broker: Broker) -> None:
        """What it finds under its key."""
        assert await add(broker, terms=REPLACES) != await add(broker, terms=REPLACES)

    async def test_within_one_call(self, broker: Broker) -> None:
        """The last of a call is what is stored."""
        jobs = [job(key="k", terms=REPLACES, body=b"%d" % n) for n in range(3)]
        placed = await broker.enqueue(jobs, now=NOW)
        assert [(one.id, one.fresh) for one in placed] == [(jobs[0].id, True), (jobs[0].id, False), (jobs[0].id, False)]
        assert (await look(broker, jobs[0].id)).body == b"2"
        assert len((await broker.find()).jobs) == 1

    async def test_a_repeat_puts_nothing_off(self, broker: Broker, second: Broker) -> None:
        """A repeat of the enqueueing that a job became last leaves it as it is, waiting, running or finished."""
        first = await _knock(broker, NOW, delay=10.0)
        last = job(key="k", delay=10.0, terms=REPLACES, body=b"last")
        for now, replaced in ((NOW + 5, True), (NOW + 9, False)):
            assert await second.enqueue([last], now=now) == [
                Placed(first, State.SCHEDULED, fresh=False, replaced=replaced)
            ]
            assert (await look(broker, first)).run_at == date(NOW + 15)
        await broker.promote(now=NOW + 15)
        await hire(broker, now=NOW + 15)
        (claim,) = await take(broker, now=NOW + 15)
        assert await second.enqueue([last], now=NOW + 16) == [Placed(first, State.RUNNING, fresh=False)]
        other = await _knock(broker, NOW + 17, delay=10.0)
        assert await end(broker, claim, now=NOW + 18)
        assert await second.enqueue([last], now=NOW + 19) == [Placed(first, State.SUCCEEDED, fresh=False)]
        assert (await look(broker, other)).run_at == date(NOW + 27)
        await broker.forget([first])
        assert [one.id for one in await second.enqueue([last], now=NOW + 20)] == [other]

    async def test_a_repeat_of_an_earlier_one_counts_as_a_new_one(self, broker: Broker) -> None:
        """Only the last is known by its id; the first, whose id it has, too."""
        first, one, two = (job(key="k", terms=REPLACES, body=body) for body in (b"first", b"one", b"two"))
        for new in (first, one, two, one, first):
            assert [placed.id for placed in await broker.enqueue([new], now=NOW)] == [first.id]
        assert (await look(broker, first.id)).body == b"one"

    async def test_many_at_once_are_one(self, broker: Broker, second: Broker) -> None:
        """Two producers at once, and a worker: what is stored last starts last, and nothing that was told of is lost."""
        await hire(broker)
        started = list[bytes]()

        async def produce(side: Broker, name: bytes) -> None:
            for n in range(30):
                await side.enqueue([job(key="k", terms=REPLACES, body=name + b"%d" % n)], now=NOW)

        async def work() -> None:
            for _ in range(30):
                started.extend(claim.body for claim in await take(broker))
                await asyncio.sleep(0)

        await asyncio.gather(produce(broker, b"a"), produce(second, b"b"), work())
        started += [claim.body for claim in await take(broker)]
        assert started[-1] in (b"a29", b"b29")
        assert len(started) == len(set(started))
        assert (await broker.tally())[0].counts == {State.RUNNING: len(started)}

    async def test_an_end_that_was_taken_back_stays_known(self, broker: Broker) -> None:
        """The numbers of a journal go on: a revived job that is replaced keeps them."""
        first = await add(broker, key="k", terms=REPLACES)
        await broker.cancel([first], now=NOW)
        await broker.revive([first], now=NOW)
        assert await add(broker, key="k", terms=REPLACES) == first
        reading = await broker.read(first)
        assert reading is not None
        assert reading.last == 1


async def _knock(broker: Broker, now: float, **fields: Any) -> JobId:
    """Enqueue once more under the key "k"."""
    return await add(broker, now=now, **{"key": "k", "terms": REPLACES, **fields})
