"""Chapter: saying how it ended, and the fence around it."""

from __future__ import annotations

import pytest

from windlass.broker.port import Broker
from windlass.core.outcome import (
    RELEASE_LIMIT,
    Cancelled,
    Failed,
    Outcome,
    Parked,
    Released,
    Retried,
    Snoozed,
    Succeeded,
)
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

FINAL: list[Outcome] = [Succeeded(b"1"), Failed(ERROR), Cancelled("enough")]
UNDECIDED: list[Outcome] = [AGAIN, Retried(5.0, ERROR, crash=True), Snoozed(5.0), Released(), Parked("what is this?")]


class Settling(Chapter):
    """`settle`."""

    async def test_succeeded(self, broker: Broker) -> None:
        """Succeeded: succeeded, with its result; an earlier attempt's error is gone."""
        await end(broker, await start(broker), AGAIN)
        claim = (await take(broker))[0]
        assert await end(broker, claim, Succeeded(b'{"a":1}'), now=NOW + 5)
        seen = await look(broker, claim.id)
        assert (seen.state, seen.result, seen.error) == (State.SUCCEEDED, b'{"a":1}', None)
        assert (seen.finished_at, seen.worker, seen.attempt) == (date(NOW + 5), "w", 2)

    async def test_failed(self, broker: Broker) -> None:
        """Failed: failed, with its error."""
        claim = await start(broker)
        assert await end(broker, claim, Failed(ERROR), now=NOW + 5)
        seen = await look(broker, claim.id)
        assert (seen.state, seen.error, seen.finished_at) == (State.FAILED, ERROR, date(NOW + 5))
        assert (seen.attempt, seen.crashes) == (1, 0)

    async def test_cancelled(self, broker: Broker) -> None:
        """Cancelled: cancelled, with its reason."""
        claim = await start(broker)
        assert await end(broker, claim, Cancelled("enough"), now=NOW + 5)
        seen = await look(broker, claim.id)
        assert (seen.state, seen.reason, seen.finished_at) == (State.CANCELLED, "enough", date(NOW + 5))

    async def test_retried_with_a_delay(self, broker: Broker) -> None:
        """Retried: scheduled, the error kept; the attempt stays spent."""
        claim = await start(broker)
        assert await broker.settle([(claim, Retried(7.0, ERROR))], now=NOW + 5) == ([True], [])
        seen = await look(broker, claim.id)
        assert (seen.state, seen.run_at, seen.error) == (State.SCHEDULED, date(NOW + 12), ERROR)
        assert (seen.attempt, seen.crashes, seen.finished_at) == (1, 0, None)

    async def test_retried_without_a_delay(self, broker: Broker) -> None:
        """Or ready, without a delay; answers what became ready."""
        claim = await start(broker, queue="videos")
        applied, ready = await broker.settle([(claim, AGAIN)], now=NOW + 5)
        assert (applied, [(one.id, one.queue) for one in ready]) == ([True], [(claim.id, "videos")])
        seen = await look(broker, claim.id)
        assert (seen.state, seen.run_at, seen.error) == (State.READY, date(NOW + 5), ERROR)

    async def test_snoozed(self, broker: Broker) -> None:
        """Snoozed: the same, and the attempt is given back."""
        for delay, expected in ((7.0, State.SCHEDULED), (0.0, State.READY)):
            claim = await start(broker)
            _, ready = await broker.settle([(claim, Snoozed(delay))], now=NOW)
            seen = await look(broker, claim.id)
            assert (seen.state, seen.run_at, seen.attempt) == (expected, date(NOW + delay), 0)
            assert [one.id for one in ready] == ([] if delay else [claim.id])

    async def test_released(self, broker: Broker) -> None:
        """Released: ready at once, the attempt given back."""
        claim = await start(broker)
        _, ready = await broker.settle([(claim, Released())], now=NOW + 5)
        assert [one.id for one in ready] == [claim.id]
        seen = await look(broker, claim.id)
        assert (seen.state, seen.attempt, seen.error) == (State.READY, 0, None)

    async def test_released_gives_back_a_limited_number_of_times(self, broker: Broker) -> None:
        """At most RELEASE_LIMIT times; after that a release spends the attempt, and is ready all the same."""
        claim = await start(broker)
        for _ in range(RELEASE_LIMIT):
            assert claim.attempt == 1
            await end(broker, claim, Released())
            claim = (await take(broker))[0]
        await end(broker, claim, Released())
        assert (await take(broker))[0].attempt == 2

    async def test_parked(self, broker: Broker) -> None:
        """Parked: parked, the attempt given back."""
        claim = await start(broker)
        assert await broker.settle([(claim, Parked("unknown task"))], now=NOW) == ([True], [])
        seen = await look(broker, claim.id)
        assert (seen.state, seen.reason, seen.attempt) == (State.PARKED, "unknown task", 0)
        assert seen.finished_at is None
        assert await take(broker) == []

    @pytest.mark.parametrize("outcome", [Retried(1.0, ERROR, crash=True), Failed(ERROR, crash=True)])
    async def test_crash_is_counted(self, broker: Broker, outcome: Outcome) -> None:
        """`crash` on Retried and Failed counts a crash and gives the attempt back."""
        claim = await start(broker)
        await end(broker, claim, outcome)
        seen = await look(broker, claim.id)
        assert (seen.attempt, seen.crashes, seen.error) == (0, 1, ERROR)

    async def test_each_answer_stands_for_its_pair(self, broker: Broker) -> None:
        """Answers which were applied, in the same order; an empty list is no work."""
        claims = [await start(broker) for _ in range(4)]
        await end(broker, claims[1])
        applied, _ = await broker.settle([(claim, DONE) for claim in claims], now=NOW)
        assert applied == [True, False, True, True]
        assert await broker.settle([]) == ([], [])

    @pytest.mark.parametrize("outcome", FINAL + UNDECIDED)
    async def test_repeating_is_harmless(self, broker: Broker, second: Broker, outcome: Outcome) -> None:
        """Repeating a settle is harmless: it is not applied again, also within one call."""
        claim = await start(broker)
        assert (await broker.settle([(claim, outcome), (claim, outcome)], now=NOW))[0] == [True, False]
        before = await look(broker, claim.id)
        assert await second.settle([(claim, outcome)], now=NOW + 1) == ([False], [])
        assert await look(broker, claim.id) == before

    @pytest.mark.parametrize("outcome", FINAL + UNDECIDED)
    async def test_a_stale_token_changes_nothing(self, broker: Broker, second: Broker, outcome: Outcome) -> None:
        """Iff the claim's token is the job's live one: a run that was taken back cannot end its successor."""
        stale = await start(broker)
        await broker.reclaim(now=NOW + 60)
        await hire(second, "new", now=NOW + 60)
        live = (await take(second, worker="new", now=NOW + 60))[0]
        before = await look(second, live.id)
        assert not await end(broker, stale, outcome, now=NOW + 61)
        assert await broker.append([(stale, [entry()])], now=NOW + 61) == [False]
        assert await look(second, live.id) == before
        assert await end(second, live, DONE, now=NOW + 62)

    async def test_an_unknown_job_is_not_settled(self, broker: Broker) -> None:
        """A claim on a job that was deleted meanwhile is not applied."""
        claim = await start(broker)
        await end(broker, claim)
        await broker.forget([claim.id])
        assert not await end(broker, claim)
        assert await broker.get([claim.id]) == [None]

    async def test_a_lease_that_ran_out_may_still_settle(self, broker: Broker) -> None:
        """Only the token counts: what was not taken back yet may be ended."""
        claim = await start(broker)
        assert await end(broker, claim, DONE, now=NOW + 1000)

    @pytest.mark.parametrize("outcome", UNDECIDED)
    async def test_cancel_beats_what_would_run_again(self, broker: Broker, outcome: Outcome) -> None:
        """A requested cancel beats Retried, Snoozed, Released and Parked: cancelled, no attempt given back, no crash counted."""
        claim = await start(broker, key="k")
        await broker.cancel([claim.id], now=NOW)
        assert await broker.settle([(claim, outcome)], now=NOW + 1) == ([True], [])
        seen = await look(broker, claim.id)
        assert (seen.state, seen.reason, seen.attempt, seen.crashes) == (
            State.CANCELLED,
            "cancelled while running",
            1,
            0,
        )
        assert (seen.cancelling, seen.finished_at) == (False, date(NOW + 1))
        assert await add(broker, key="k") != claim.id

    @pytest.mark.parametrize(("outcome", "expected"), [(DONE, State.SUCCEEDED), (Failed(ERROR), State.FAILED)])
    async def test_cancel_does_not_beat_the_end(self, broker: Broker, outcome: Outcome, expected: State) -> None:
        """It does not beat Succeeded or Failed."""
        claim = await start(broker)
        await broker.cancel([claim.id], now=NOW)
        assert await end(broker, claim, outcome)
        assert await state(broker, claim.id) is expected

    @pytest.mark.parametrize("outcome", FINAL)
    async def test_a_finished_job_frees_its_key(self, broker: Broker, outcome: Outcome) -> None:
        """A finished job frees its key in the same step."""
        claim = await start(broker, key="k")
        await end(broker, claim, outcome)
        assert await add(broker, key="k") != claim.id

    @pytest.mark.parametrize("outcome", UNDECIDED)
    async def test_an_unfinished_job_keeps_its_key(self, broker: Broker, outcome: Outcome) -> None:
        """What may run again is unfinished."""
        claim = await start(broker, key="k")
        await end(broker, claim, outcome)
        assert await add(broker, key="k") == claim.id
