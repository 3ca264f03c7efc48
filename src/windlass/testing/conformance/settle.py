"""Chapter: saying how it ended, and the fence around it."""

from __future__ import annotations

from typing import Any

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
UNDECIDED: list[Outcome] = [
    AGAIN,
    Retried(5.0, ERROR, crash=True),
    Retried(0.0, ERROR, queue="big"),
    Snoozed(5.0),
    Released(),
    Parked("what is this?"),
]

TABLE: list[tuple[Outcome, dict[str, Any]]] = [
    (Succeeded(b'{"a":1}'), {"state": State.SUCCEEDED, "result": b'{"a":1}', "attempt": 1}),
    (Failed(ERROR), {"state": State.FAILED, "error": ERROR, "attempt": 1}),
    (Failed(ERROR, crash=True), {"state": State.FAILED, "error": ERROR, "attempt": 0, "crashes": 1}),
    (Cancelled("enough"), {"state": State.CANCELLED, "reason": "enough", "attempt": 1}),
    (Retried(7.0, ERROR), {"state": State.SCHEDULED, "run_at": date(NOW + 12), "error": ERROR, "attempt": 1}),
    (Retried(0.0, ERROR), {"state": State.READY, "run_at": date(NOW + 5), "error": ERROR, "attempt": 1}),
    (Retried(0.0, ERROR, crash=True), {"state": State.READY, "error": ERROR, "attempt": 0, "crashes": 1}),
    (Snoozed(7.0), {"state": State.SCHEDULED, "run_at": date(NOW + 12), "attempt": 0}),
    (Snoozed(0.0), {"state": State.READY, "run_at": date(NOW + 5), "attempt": 0}),
    (Released(), {"state": State.READY, "run_at": date(NOW + 5), "attempt": 0}),
    (Parked("unknown task"), {"state": State.PARKED, "reason": "unknown task", "attempt": 0}),
]


class Settling(Chapter):
    """`settle`."""

    @pytest.mark.parametrize(("outcome", "becomes"), TABLE)
    async def test_each_outcome(self, broker: Broker, outcome: Outcome, becomes: dict[str, Any]) -> None:
        """Each outcome means its state, keeps its result, error or reason, and spends or gives back the attempt."""
        claim = await start(broker, queue="videos")
        applied, ready = await broker.settle([(claim, outcome)], now=NOW + 5)
        seen = await look(broker, claim.id)
        nothing = {"result": None, "error": None, "reason": None, "crashes": 0, "worker": "w", "cancelling": False}
        expected = {**nothing, "finished_at": date(NOW + 5) if seen.state.finished else None, **becomes}
        assert {name: getattr(seen, name) for name in expected} == expected
        assert applied == [True]
        assert [(one.id, one.queue) for one in ready] == ([(claim.id, "videos")] if seen.state is State.READY else [])

    async def test_success_ends_an_error(self, broker: Broker) -> None:
        """The error of an earlier attempt is kept until the job succeeds."""
        claim = await start(broker)
        await end(broker, claim, AGAIN)
        (claim,) = await take(broker)
        assert (await look(broker, claim.id)).error == ERROR
        await end(broker, claim, DONE)
        assert (await look(broker, claim.id)).error is None

    async def test_released_gives_back_a_limited_number_of_times(self, broker: Broker) -> None:
        """At most RELEASE_LIMIT times; after that a release spends the attempt, and is ready all the same."""
        claim = await start(broker)
        for _ in range(RELEASE_LIMIT):
            assert claim.attempt == 1
            await end(broker, claim, Released())
            claim = (await take(broker))[0]
        await end(broker, claim, Released())
        assert (await take(broker))[0].attempt == 2

    @pytest.mark.parametrize("delay", [0.0, 7.0])
    async def test_retried_into_another_queue(self, broker: Broker, second: Broker, delay: float) -> None:
        """Retried with a `queue`: the job moves to that queue; every verb finds it there, and only there."""
        claim = await start(broker, queue="small", lane="loop", priority=7, key="k")
        applied, ready = await broker.settle([(claim, Retried(delay, ERROR, queue="big"))], now=NOW)
        ready += await broker.promote(now=NOW + delay)
        assert (applied, [(one.id, one.queue) for one in ready]) == ([True], [(claim.id, "big")])
        seen = await look(second, claim.id)
        assert (seen.queue, seen.lane, seen.priority, seen.attempt) == ("big", "loop", 7, 1)
        assert (seen.task, seen.body, seen.key, seen.error) == (claim.task, claim.body, "k", ERROR)
        assert (await second.find(queue="small")).jobs == []
        assert [one.id for one in (await second.find(queue="big", states=[State.READY])).jobs] == [claim.id]
        assert [(one.name, one.counts) for one in await second.tally()] == [("big", {State.READY: 1})]
        assert await add(broker, key="k") == claim.id, "its key is held"
        assert await take(broker, queues=["small"], now=NOW + delay) == []
        (again,) = await take(broker, queues=["small", "big"], now=NOW + delay)
        assert (again.id, again.queue, again.lane, again.attempt) == (claim.id, "big", "loop", 2)
        assert await end(second, again, DONE)
        assert [(one.name, one.counts) for one in await broker.tally()] == [("big", {State.SUCCEEDED: 1})]

    async def test_retried_into_a_queue_that_counts_the_crash(self, broker: Broker) -> None:
        """A move and a crash in one outcome: counted, and the attempt given back."""
        claim = await start(broker)
        await end(broker, claim, Retried(5.0, ERROR, crash=True, queue="big"))
        seen = await look(broker, claim.id)
        assert (seen.queue, seen.state, seen.attempt, seen.crashes) == ("big", State.SCHEDULED, 0, 1)
        assert [(one.name, one.counts) for one in await broker.tally()] == [("big", {State.SCHEDULED: 1})]

    async def test_a_moved_job_stays_where_it_is(self, broker: Broker) -> None:
        """And stands there from then on: what is retried, released, parked, failed, revived or taken back later is in the new queue."""
        claim = await start(broker)
        await end(broker, claim, Retried(0.0, ERROR, queue="big"))
        for outcome in (AGAIN, Released(), Snoozed(5.0), Parked("?"), Failed(ERROR), Retried(0.0, ERROR, queue="big")):
            (claim,) = await take(broker, queues=["default", "big"])
            assert claim.queue == "big"
            await end(broker, claim, outcome)
            assert [ready.queue for ready in await broker.revive([claim.id], now=NOW)] in ([], ["big"])
            assert [(one.name, one.counts) for one in await broker.tally()] == [("big", {State.READY: 1})]
        await take(broker, queues=["big"])
        assert [ready.queue for ready in await broker.reclaim(now=NOW + 60)] == ["big"]

    async def test_a_moved_job_may_move_back(self, broker: Broker) -> None:
        """To the queue that it came from, and among jobs that never moved."""
        claim = await start(broker, priority=9)
        others = [await add(broker), await add(broker, queue="big")]
        for queue in ("big", "default", "default"):
            await end(broker, claim, Retried(0.0, ERROR, queue=queue))
            (claim,) = await take(broker, 1, queues=[queue])
            assert claim.queue == queue
        await end(broker, claim)
        assert {claim.id for claim in await take(broker, queues=["default", "big"])} == set(others)

    @pytest.mark.parametrize("queue", ["a b", "wörk", "%z.*", "x" * 300])
    async def test_any_text_names_a_queue(self, broker: Broker, queue: str) -> None:
        """Enqueued into, claimed from, moved to, counted, paused: whatever its letters are."""
        claim = await start(broker, queue=queue)
        assert claim.queue == queue
        await end(broker, claim, Retried(0.0, ERROR, queue=f"{queue}{queue}"))
        assert [one.id for one in (await broker.find(queue=f"{queue}{queue}", states=[State.READY])).jobs] == [claim.id]
        await broker.pause(f"{queue}{queue}")
        assert [(one.name, one.counts, one.paused) for one in await broker.tally()] == [
            (f"{queue}{queue}", {State.READY: 1}, True)
        ]
        await broker.pause(f"{queue}{queue}", False)
        (again,) = await take(broker, queues=[f"{queue}{queue}"])
        assert await end(broker, again, Retried(0.0, ERROR, queue=queue))
        assert [one.queue for one in await take(broker, queues=[queue])] == [queue]
        assert (await broker.find(queue=f"{queue}{queue}")).jobs == []

    async def test_moved_into_a_paused_queue(self, broker: Broker) -> None:
        """It waits there like any other; the old queue's pause is nothing to it."""
        claims = [await start(broker), await start(broker, queue="big")]
        await broker.pause("big")
        await broker.settle(
            list(zip(claims, [Retried(0.0, ERROR, queue="big"), Retried(0.0, ERROR, queue="default")], strict=True)),
            now=NOW,
        )
        assert [claim.id for claim in await take(broker, queues=["big", "default"])] == [claims[1].id]

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
        assert seen.queue == "default"
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
