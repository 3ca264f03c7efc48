"""Chapter: what must happen without anybody asking."""

from __future__ import annotations

import pytest

from windlass.broker.port import Broker
from windlass.core.job import DAY
from windlass.core.outcome import RELEASE_LIMIT, Cancelled, ErrorInfo, Failed, Outcome, Retried, lost
from windlass.core.state import State
from windlass.testing.conformance.kit import (
    AGAIN,
    DONE,
    ERROR,
    NOW,
    Chapter,
    add,
    date,
    end,
    entry,
    hire,
    look,
    start,
    state,
    take,
)


class Promoting(Chapter):
    """`promote`."""

    async def test_due_jobs_become_ready(self, broker: Broker) -> None:
        """Scheduled jobs whose time has come become ready, and only they."""
        due, later = await add(broker, delay=10.0, queue="videos"), await add(broker, delay=11.0)
        assert await broker.promote(now=NOW + 9) == []
        assert [(one.id, one.queue) for one in await broker.promote(now=NOW + 10)] == [(due, "videos")]
        assert (await state(broker, due), await state(broker, later)) == (State.READY, State.SCHEDULED)
        assert (await look(broker, due)).run_at == date(NOW + 10)
        assert await broker.promote(now=NOW + 10) == []

    async def test_longest_due_first_at_most_limit(self, broker: Broker) -> None:
        """At most `limit`, the longest due first."""
        stored = [await add(broker, delay=delay) for delay in (3.0, 1.0, 4.0, 2.0)]
        batches = [[one.id for one in await broker.promote(2, now=NOW + 10)] for _ in range(3)]
        assert batches == [[stored[1], stored[3]], [stored[0], stored[2]], []]

    async def test_expired_jobs_are_cancelled(self, broker: Broker) -> None:
        """Jobs past their expiry without having been started are cancelled with the reason "expired", and free their key."""
        ready, scheduled = await add(broker, expires=10.0, key="a"), await add(broker, expires=10.0, delay=5.0, key="b")
        await broker.promote(now=NOW + 4)
        assert await state(broker, ready) is State.READY
        assert await broker.promote(now=NOW + 10) == []
        for stored, key in ((ready, "a"), (scheduled, "b")):
            seen = await look(broker, stored)
            assert (seen.state, seen.reason, seen.finished_at) == (State.CANCELLED, "expired", date(NOW + 10))
            assert await add(broker, key=key) != stored

    async def test_running_and_retried_jobs_do_not_expire(self, broker: Broker) -> None:
        """Without having been started."""
        claim = await start(broker, expires=10.0)
        await broker.promote(now=NOW + 20)
        assert await state(broker, claim.id) is State.RUNNING


class Reclaiming(Chapter):
    """`reclaim`."""

    async def test_jobs_of_lost_workers_become_ready_again(self, broker: Broker, second: Broker) -> None:
        """One crash counted, the attempt given back, the error kept; other workers' jobs are left alone."""
        claim = await start(broker, queue="videos")
        await hire(broker, "other", ttl=1000.0)
        kept = await add(broker)
        await take(broker, worker="other")
        assert await second.reclaim(now=NOW + 59) == []
        assert [(one.id, one.queue) for one in await second.reclaim(now=NOW + 60)] == [(claim.id, "videos")]
        seen = await look(broker, claim.id)
        assert (seen.state, seen.attempt, seen.crashes, seen.run_at) == (State.READY, 0, 1, date(NOW + 60))
        assert seen.error == lost("w")
        assert await state(broker, kept) is State.RUNNING
        assert await broker.reclaim(now=NOW + 61) == []

    async def test_last_words_are_kept(self, broker: Broker) -> None:
        """The worker's last words are kept as the job's error."""
        claim = await start(broker)
        words = ErrorInfo("crash", "Killed", "killed by signal 9", evidence={"signal": 9})
        await hire(broker, ttl=0.0, words=words)
        await broker.reclaim(now=NOW)
        assert (await look(broker, claim.id)).error == words

    async def test_quarantined(self, broker: Broker) -> None:
        """A job whose crashes reach its crash_limit fails instead, as quarantined, with the last words as evidence."""
        stored = await add(broker, crash_limit=2, key="k")
        words = ErrorInfo("crash", "Killed", "killed by signal 9", evidence={"signal": 9})
        for n, became in ((1, [stored]), (2, [])):
            await hire(broker, f"w{n}")
            (claim,) = await take(broker, worker=f"w{n}")
            assert (claim.attempt, claim.crashes) == (1, n - 1)
            await hire(broker, f"w{n}", ttl=0.0, words=words)
            assert [one.id for one in await broker.reclaim(now=NOW)] == became
        seen = await look(broker, stored)
        assert (seen.state, seen.crashes, seen.finished_at) == (State.FAILED, 2, date(NOW))
        assert seen.error is not None
        assert (seen.error.kind, seen.error.evidence) == ("quarantined", {"signal": 9})
        assert await add(broker, key="k") != stored

    async def test_a_crash_told_by_settle_counts_too(self, broker: Broker) -> None:
        """Crashes are one count, whoever counted them."""
        claim = await start(broker, crash_limit=2)
        await end(broker, claim, Retried(0.0, ERROR, crash=True))
        await take(broker)
        assert await broker.reclaim(now=NOW + 60) == []
        assert await state(broker, claim.id) is State.FAILED

    async def test_to_be_cancelled_is_cancelled(self, broker: Broker) -> None:
        """A job that was to be cancelled is cancelled instead; no crash counted, no attempt given back."""
        claim = await start(broker, crash_limit=1)
        await broker.cancel([claim.id], now=NOW)
        assert await broker.reclaim(now=NOW + 60) == []
        seen = await look(broker, claim.id)
        assert (seen.state, seen.reason) == (State.CANCELLED, "cancelled while running")
        assert (seen.attempt, seen.crashes) == (1, 0)

    async def test_the_old_token_is_dead(self, broker: Broker) -> None:
        """The old claim's token is dead from then on, before anybody else has claimed the job."""
        claim = await start(broker)
        await broker.reclaim(now=NOW + 60)
        assert not await end(broker, claim, DONE, now=NOW + 60)
        assert await broker.append([(claim, [entry()])], now=NOW + 60) == [False]
        assert await state(broker, claim.id) is State.READY

    async def test_jobs_of_a_blameless_worker_are_released(self, broker: Broker, second: Broker) -> None:
        """Ready, no crash counted, the attempt given back, its error as it was; the worker is not alive any more."""
        fresh, failed = await start(broker, crash_limit=1), await start(broker, crash_limit=1)
        await end(broker, failed, AGAIN)
        await take(broker)
        words = ErrorInfo("crash", "Killed", "killed by signal 9", evidence={"signal": 9})
        await hire(broker, ttl=0.0, words=words, blameless=True)
        assert {(one.id, one.queue) for one in await second.reclaim(now=NOW)} == {
            (claim.id, "default") for claim in (fresh, failed)
        }
        for claim, error, attempt in ((fresh, None, 0), (failed, ERROR, 1)):
            seen = await look(broker, claim.id)
            assert (seen.state, seen.attempt, seen.crashes, seen.error) == (State.READY, attempt, 0, error)
            assert (seen.run_at, seen.cancelling) == (date(NOW), False)
            assert not await end(broker, claim, DONE)
        assert not (await hire(broker)).alive

    async def test_blameless_is_what_the_latest_card_says(self, broker: Broker) -> None:
        """The worker's card: of its latest beat."""
        for n, told in enumerate([(True, False), (False, True)]):
            stored = await add(broker)
            await hire(broker, f"w{n}", blameless=told[0])
            await take(broker, worker=f"w{n}")
            await hire(broker, f"w{n}", ttl=0.0, blameless=told[1])
            assert [one.id for one in await broker.reclaim(now=NOW)] == [stored]
            assert (await look(broker, stored)).crashes == (not told[1])
            await broker.forget([stored])

    async def test_what_a_blameless_worker_was_to_cancel_is_cancelled(self, broker: Broker) -> None:
        """A job that was to be cancelled is cancelled; no attempt given back."""
        claim = await start(broker, key="k")
        await broker.cancel([claim.id], now=NOW)
        await hire(broker, ttl=0.0, blameless=True)
        assert await broker.reclaim(now=NOW) == []
        seen = await look(broker, claim.id)
        assert (seen.state, seen.reason, seen.attempt) == (State.CANCELLED, "cancelled while running", 1)
        assert await add(broker, key="k") != claim.id

    async def test_blameless_ends_give_back_a_limited_number_of_times(self, broker: Broker) -> None:
        """Released: the attempt is given back at most RELEASE_LIMIT times, ready all the same."""
        await add(broker)
        for n in range(RELEASE_LIMIT + 2):
            await hire(broker, f"w{n}")
            (claim,) = await take(broker, worker=f"w{n}")
            assert claim.attempt == max(1, n - RELEASE_LIMIT + 1), n
            await hire(broker, f"w{n}", ttl=0.0, blameless=True)
            await broker.reclaim(now=NOW)

    async def test_only_from_the_workers_that_are_meant(self, broker: Broker, second: Broker) -> None:
        """With `workers`, only from these; gap and grace do not count then."""
        meant = await start(broker)
        await hire(broker, "other")
        await add(broker)
        (other,) = await take(broker, worker="other")
        assert await second.reclaim(workers=[], now=NOW + 60) == []
        assert await second.reclaim(workers=["nobody"], now=NOW + 60) == []
        taken = await second.reclaim(workers=["w", "nobody"], gap=1.0, grace=9.0, now=NOW + 60)
        assert [one.id for one in taken] == [meant.id]
        assert await state(broker, other.id) is State.RUNNING
        assert [one.id for one in await second.reclaim(now=NOW + 60)] == [other.id]

    async def test_after_a_gap_the_living_have_time_to_speak_up(self, broker: Broker, second: Broker) -> None:
        """When `gap` seconds have passed since the last such call, nothing is taken back for `grace` seconds, whoever asks."""
        claim = await start(broker)
        assert await broker.reclaim(gap=10.0, grace=5.0, now=NOW + 41) == []
        assert await broker.reclaim(gap=10.0, grace=5.0, now=NOW + 50) == []
        assert await second.reclaim(gap=10.0, grace=5.0, now=NOW + 60) == [], "for the tenth second"
        assert await broker.reclaim(gap=10.0, grace=5.0, now=NOW + 64.5) == []
        assert [one.id for one in await second.reclaim(gap=10.0, grace=5.0, now=NOW + 65)] == [claim.id]

    async def test_the_first_to_ask_gives_time_too(self, broker: Broker) -> None:
        """None was made before: nothing is taken back for `grace` seconds."""
        claim = await start(broker)
        assert await broker.reclaim(gap=10.0, grace=5.0, now=NOW + 60) == []
        assert [one.id for one in await broker.reclaim(gap=10.0, grace=5.0, now=NOW + 65)] == [claim.id]

    async def test_a_clock_that_was_set_back_is_a_gap(self, broker: Broker) -> None:
        """The store's clock was set back: nothing is taken back for `grace` seconds."""
        await broker.reclaim(gap=1000.0, grace=0.0, now=NOW + 200)
        claim = await start(broker)
        assert await broker.reclaim(gap=1000.0, grace=5.0, now=NOW + 100) == []
        assert await broker.reclaim(gap=1000.0, grace=5.0, now=NOW + 104.5) == []
        assert [one.id for one in await broker.reclaim(gap=1000.0, grace=5.0, now=NOW + 105)] == [claim.id]

    async def test_bounded_batches_take_everything_in_the_end(self, broker: Broker) -> None:
        """Each call does a bounded batch: a worker that was robbed once cannot keep the rest by beating."""
        claims = [await start(broker) for _ in range(5)]
        taken = await broker.reclaim(2, now=NOW + 60)
        assert len(taken) == 2
        assert not (await hire(broker, ttl=1000.0, now=NOW + 61)).alive
        taken += await broker.reclaim(2, now=NOW + 61) + await broker.reclaim(2, now=NOW + 61)
        assert {one.id for one in taken} == {claim.id for claim in claims}


class Pruning(Chapter):
    """`prune`."""

    @pytest.mark.parametrize(("outcome", "keep"), [(DONE, 10), (Cancelled("enough"), 10), (Failed(ERROR), 20)])
    async def test_kept_for_their_time(self, broker: Broker, outcome: Outcome, keep: int) -> None:
        """Succeeded and cancelled jobs are kept `keep` seconds from their end, failed ones `keep_failed`, journal included."""
        claim = await start(broker, keep=10.0, keep_failed=20.0)
        await broker.append([(claim, [entry()])], now=NOW)
        await end(broker, claim, outcome, now=NOW + 5)
        assert await broker.prune(now=NOW + 4 + keep) == 0
        assert await broker.prune(now=NOW + 5 + keep) == 1
        assert await broker.get([claim.id]) == [None]
        assert await broker.read(claim.id) is None
        assert await broker.tally() == []

    async def test_unfinished_jobs_stay(self, broker: Broker) -> None:
        """Only finished jobs are deleted; one that was revived is not finished."""
        claim = await start(broker, keep=1.0, keep_failed=1.0)
        await end(broker, claim, Failed(ERROR))
        await broker.revive([claim.id], now=NOW)
        await add(broker, keep=0.0)
        assert await broker.prune(now=NOW + 100 * DAY) == 0

    async def test_at_most_limit(self, broker: Broker) -> None:
        """At most `limit`; answers how many."""
        stored = [await add(broker, keep=1.0) for _ in range(5)]
        await broker.cancel(stored, now=NOW)
        assert [await broker.prune(2, now=NOW + 10) for _ in range(4)] == [2, 2, 1, 0]

    async def test_a_pruned_id_may_come_again(self, broker: Broker) -> None:
        """Deleted is deleted: the id is free, and the journal of the new job starts anew."""
        old = await start(broker, keep=1.0)
        await broker.append([(old, [entry(), entry()])], now=NOW)
        await end(broker, old)
        await broker.prune(now=NOW + 10)
        new = await start(broker, id=old.id, now=NOW + 10)
        await broker.append([(new, [entry()])], now=NOW + 10)
        reading = await broker.read(new.id)
        assert reading is not None
        assert [one.seq for one in reading.entries] == [1]

    async def test_workers_gone_for_a_day_are_forgotten(self, broker: Broker) -> None:
        """Workers that have been gone for a day are forgotten: not the living."""
        await hire(broker, "gone", ttl=1.0)
        await hire(broker, "here", ttl=2 * DAY)
        assert await broker.prune(now=NOW + DAY + 1) == 0
        assert [one.id for one in await broker.workers(now=NOW)] == ["here"]
