"""Chapter: looking, and steering by hand; and the store's own life."""

from __future__ import annotations

from typing import Any

from windlass.broker.port import Broker
from windlass.core.ids import first_id_at, new_id
from windlass.core.job import JobId
from windlass.core.outcome import Cancelled, Failed, Outcome, Parked, Retried
from windlass.core.state import State
from windlass.testing.conformance.kit import (
    DONE,
    ERROR,
    NOW,
    Chapter,
    add,
    date,
    end,
    entry,
    hire,
    job,
    look,
    start,
    state,
    take,
)


class Looking(Chapter):
    """`get`, `find`, `tally`."""

    async def test_get(self, broker: Broker) -> None:
        """Each job by its id; None where there is none."""
        a, b, unknown = await add(broker), await add(broker), new_id()
        found = await broker.get([b, unknown, a, b])
        assert [one and one.id for one in found] == [b, None, a, b]
        assert await broker.get([]) == []

    async def test_find_matches_every_filter(self, broker: Broker) -> None:
        """Jobs that match every filter given."""
        stored = await add(broker, queue="videos", task="a.b", key="k", delay=1.0)
        await add(broker, queue="videos", task="a.b")
        await add(broker, queue="videos", delay=1.0)
        await add(broker, task="a.b", delay=1.0)
        found = (await broker.find(states=[State.SCHEDULED], queue="videos", task="a.b", key="k")).jobs
        assert [one.id for one in found] == [stored]
        assert found == await broker.get([stored])
        by_one = [
            (await broker.find(queue="videos")).jobs,
            (await broker.find(task="a.b")).jobs,
            (await broker.find(key="k")).jobs,
        ]
        assert [len(jobs) for jobs in by_one] == [3, 3, 1]

    async def test_find_in_some_states(self, broker: Broker) -> None:
        """In one of these states, if any are given; those of different states stand in one order."""
        claims = [await start(broker) for _ in range(6)]
        outcomes: list[Outcome] = [Failed(ERROR), DONE, Cancelled("no"), DONE, Failed(ERROR), Cancelled("no")]
        for claim, outcome in zip(claims, outcomes, strict=True):
            await end(broker, claim, outcome)
        ids = [claim.id for claim in claims]
        for states, places in (
            ([State.FAILED, State.CANCELLED], (5, 4, 2, 0)),
            ((State.SUCCEEDED, State.CANCELLED, State.READY), (5, 3, 2, 1)),
            ({State.PARKED}, ()),
            ([], (5, 4, 3, 2, 1, 0)),
        ):
            for scan in (1, 2, 50):
                assert await _listed(broker, scan=scan, states=states) == [ids[place] for place in places]

    async def test_find_by_descending_id(self, broker: Broker) -> None:
        """By descending id, at most `limit`. None ends it: nothing more matches."""
        stored = sorted([await add(broker) for _ in range(7)], reverse=True)
        assert await _listed(broker) == stored
        assert (await broker.find(limit=7)).next is None

    async def test_find_between_two_ids(self, broker: Broker) -> None:
        """Only ids smaller than `before`, and larger than `after`; these may be those of no job."""
        stored = sorted([await add(broker, queue="ab"[n % 2], delay=n) for n in range(8)], reverse=True)
        cases: list[tuple[dict[str, Any], list[int]]] = [
            ({}, [3, 4]),
            ({"states": [State.SCHEDULED]}, [3, 4]),
            ({"states": [State.READY, State.SCHEDULED]}, [3, 4]),
            ({"queue": "a"}, [3]),
        ]
        for filters, places in cases:
            found = await _listed(broker, before=stored[2], after=stored[5], **filters)
            assert found == [stored[place] for place in places]
        assert await _listed(broker, before=first_id_at(0.0)) == []
        assert await _listed(broker, after=new_id(), states=[State.SCHEDULED]) == []
        assert await _listed(broker, before=new_id(), after=first_id_at(0.0)) == stored

    async def test_find_says_how_far_it_came(self, broker: Broker) -> None:
        """It looks at no more than `scan` jobs: `next`, as `before`, continues the listing, also when nothing was found."""
        for n in range(12):
            await start(broker, queue="rare" if n == 0 else "common", key="k" if n == 1 else None, task=f"t{n % 3}")
        assert len((await broker.find(scan=5)).jobs) == 5
        cases: list[tuple[dict[str, Any], int]] = [
            ({"queue": "rare"}, 1),
            ({"key": "k"}, 1),
            ({"queue": "none"}, 0),
            ({"task": "t2", "states": [State.RUNNING]}, 4),
            ({"queue": "common", "states": [State.READY, State.FAILED]}, 0),
        ]
        for filters, count in cases:
            for scan in (1, 5, 12, 50):
                assert len(await _listed(broker, scan=scan, **filters)) == count

    async def test_tally(self, broker: Broker, second: Broker) -> None:
        """Every queue that holds a job or is paused, by name, with counts per state (only states that occur)."""
        assert await broker.tally() == []
        claim = await start(broker)
        for queue in ("b", "b", "a"):
            await add(broker, queue=queue)
        await add(broker, queue="b", delay=1.0)
        await broker.pause("c")
        await broker.pause("b")
        seen = [(one.name, one.counts, one.paused) for one in await second.tally()]
        assert seen == [
            ("a", {State.READY: 1}, False),
            ("b", {State.READY: 2, State.SCHEDULED: 1}, True),
            ("c", {}, True),
            ("default", {State.RUNNING: 1}, False),
        ]
        await end(broker, claim)
        await broker.forget([claim.id])
        await broker.pause("c", False)
        assert [one.name for one in await second.tally()] == ["a", "b"]

    async def test_tally_tells_since_when_the_oldest_is_due(self, broker: Broker, second: Broker) -> None:
        """The ready job that is due for longest, of any lane and any priority, though others are served first; None: nothing is ready."""

        async def oldest() -> list[float | None]:
            return [one.oldest for one in await second.tally()]

        for lane, priority, due in (("thread", 9, 40.25), ("loop", 9, 30.25), ("loop", 0, 20.25)):
            await add(broker, queue="a", lane=lane, priority=priority, now=NOW + due)
        await add(broker, queue="b", now=NOW + 10)
        await add(broker, queue="c", delay=5.0)
        await broker.pause("b")
        assert await oldest() == [NOW + 20.25, NOW + 10, None]
        await hire(broker, now=NOW + 50)
        left: list[tuple[str, float | None]] = [("loop", NOW + 20.25), ("loop", NOW + 40.25), ("thread", None)]
        for lane, since in left:
            (_,) = await broker.claim(["a"], {lane: 1}, "w", now=NOW + 50)
            assert (await oldest())[0] == since

    async def test_pause_lets_running_jobs_run(self, broker: Broker) -> None:
        """What runs goes on running. Pausing twice is harmless."""
        claim = await start(broker)
        await broker.pause("default")
        await broker.pause("default")
        assert await end(broker, claim, DONE)

    async def test_the_clock(self, broker: Broker, second: Broker) -> None:
        """What the store's clock shows: the one by which jobs are dated."""
        before, (placed,), after = await broker.now(), await broker.enqueue([job()]), await second.now()
        assert before - 0.001 <= (await look(broker, placed.id)).created_at.timestamp() <= after + 0.001

    async def test_describe(self, broker: Broker) -> None:
        """What the store is and which faults an accepted job survives."""
        info = await broker.describe()
        assert info.kind
        assert set(info.survives) <= {"process crash", "power cut", "node loss"}

    async def test_opening_and_closing_twice_is_harmless(self, broker: Broker, second: Broker) -> None:
        """Opening twice is harmless. Closing twice is harmless, to this connection and to others."""
        stored = await add(broker)
        await second.open()
        await second.open()
        assert await state(second, stored) is State.READY
        await second.close()
        await second.close()
        assert await state(broker, stored) is State.READY


async def _listed(broker: Broker, *, scan: int = 50, before: JobId | None = None, **filters: Any) -> list[JobId]:
    """The whole listing, in pages of three."""
    listed = list[JobId]()
    while True:
        jobs, more = await broker.find(before=before, limit=3, scan=scan, **filters)
        assert len(jobs) <= min(3, scan)
        listed += [job.id for job in jobs]
        if more is None:
            return listed
        assert before is None or more < before
        before = more


class Steering(Chapter):
    """`cancel`, `revive`, `forget`."""

    async def test_cancel_what_has_not_started(self, broker: Broker, second: Broker) -> None:
        """Cancel what has not started, with the reason "cancelled": it is never handed out again, and its key is free."""
        parked = await start(broker)
        await end(broker, parked, Parked("unknown"))
        stored = [await add(broker, key="k"), await add(broker, delay=5.0), parked.id]
        assert await second.cancel(stored, now=NOW + 1) == dict.fromkeys(stored, State.CANCELLED)
        for one in stored:
            seen = await look(broker, one)
            assert (seen.state, seen.reason, seen.finished_at) == (State.CANCELLED, "cancelled", date(NOW + 1))
        await broker.promote(now=NOW + 10)
        assert await take(broker, now=NOW + 10) == []
        assert await add(broker, key="k") not in stored

    async def test_cancel_marks_what_runs(self, broker: Broker) -> None:
        """Mark what runs, so that its worker is told with its next beat."""
        claim = await start(broker)
        assert await broker.cancel([claim.id], now=NOW) == {claim.id: State.RUNNING}
        seen = await look(broker, claim.id)
        assert (seen.state, seen.cancelling) == (State.RUNNING, True)
        assert (await hire(broker)).cancelling == [claim.id]

    async def test_cancel_ignores_what_has_finished(self, broker: Broker) -> None:
        """Ignore what has finished; answers each known job's state afterwards."""
        claim = await start(broker)
        await end(broker, claim, DONE)
        before = await look(broker, claim.id)
        assert await broker.cancel([claim.id, new_id()], now=NOW + 1) == {claim.id: State.SUCCEEDED}
        assert await look(broker, claim.id) == before

    async def test_revive(self, broker: Broker) -> None:
        """Make parked, scheduled, failed and cancelled jobs ready now, their crashes, reason and expiry forgotten."""
        claims = [await start(broker, queue="videos", expires=100.0) for _ in range(4)]
        crashed = (Retried(50.0, ERROR, crash=True), Failed(ERROR, crash=True))
        outcomes: list[Outcome] = [Parked("what?"), *crashed, Cancelled("no")]
        for claim, outcome in zip(claims, outcomes, strict=True):
            await end(broker, claim, outcome)
        ready = await broker.revive([claim.id for claim in claims], now=NOW + 200)
        assert {(one.id, one.queue) for one in ready} == {(claim.id, "videos") for claim in claims}
        for claim in claims:
            seen = await look(broker, claim.id)
            assert (seen.state, seen.run_at, seen.crashes) == (State.READY, date(NOW + 200), 0)
            assert (seen.reason, seen.finished_at, seen.expires_at) == (None, None, None)

    async def test_revive_an_expired_job(self, broker: Broker) -> None:
        """The expiry is forgotten: what was revived is handed out."""
        stored = await add(broker, expires=10.0)
        await broker.promote(now=NOW + 10)
        await broker.revive([stored], now=NOW + 20)
        await broker.promote(now=NOW + 30)
        await hire(broker)
        assert [claim.id for claim in await take(broker, now=NOW + 30)] == [stored]

    async def test_revive_leaves_others_alone(self, broker: Broker) -> None:
        """Leave all others alone: ready, running, succeeded, unknown."""
        done, running = await start(broker), await start(broker)
        await end(broker, done)
        stored = [done.id, running.id, await add(broker)]
        before = await broker.get(stored)
        assert await broker.revive([*stored, new_id()], now=NOW + 5) == []
        assert await broker.get(stored) == before

    async def test_revived_attempts_stay_counted(self, broker: Broker) -> None:
        """Attempts stay counted: a job that failed its last attempt gets exactly one more."""
        claim = await start(broker)
        await end(broker, claim, Failed(ERROR))
        await broker.revive([claim.id], now=NOW)
        assert [again.attempt for again in await take(broker)] == [2]

    async def test_revive_respects_keys(self, broker: Broker) -> None:
        """If another unfinished job took its key meanwhile, it is left as it is; else it holds the key again."""
        claims = [await start(broker, key="taken"), await start(broker, key="free")]
        for claim in claims:
            await end(broker, claim, Failed(ERROR))
        await add(broker, key="taken")
        ready = await broker.revive([claim.id for claim in claims], now=NOW)
        assert [one.id for one in ready] == [claims[1].id]
        assert await state(broker, claims[0].id) is State.FAILED
        assert await add(broker, key="free") == claims[1].id

    async def test_revive_two_of_one_key(self, broker: Broker) -> None:
        """A key admits one unfinished job, also within one call of revive."""
        claims = []
        for _ in range(2):
            claims.append(await start(broker, key="k"))
            await end(broker, claims[-1], Failed(ERROR))
        assert len(await broker.revive([claim.id for claim in claims], now=NOW)) == 1
        assert len((await broker.find(states=[State.READY])).jobs) == 1

    async def test_forget(self, broker: Broker) -> None:
        """Delete these jobs, journal included, unless they run; answers which were deleted."""
        running, done = await start(broker, key="r"), await start(broker)
        await broker.append([(done, [entry()])], now=NOW)
        await end(broker, done)
        ready = await add(broker, key="k")
        gone = await broker.forget([running.id, done.id, ready, new_id()])
        assert set(gone) == {done.id, ready}
        assert await broker.get([done.id, ready]) == [None, None]
        assert await broker.read(done.id) is None
        assert await state(broker, running.id) is State.RUNNING
        assert await add(broker, key="k") != ready
        assert await add(broker, key="r") == running.id
