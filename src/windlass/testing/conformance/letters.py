"""Chapter: letters, by which jobs wait for others and for events."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec

from windlass.broker.port import Broker
from windlass.core import letters
from windlass.core.ids import new_id
from windlass.core.job import Claim, JobId
from windlass.core.letters import Letter
from windlass.core.outcome import Cancelled, Failed, Outcome, Released, Retried, Succeeded, Suspended
from windlass.core.state import State
from windlass.core.terms import Terms
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
    job,
    look,
    start,
    state,
    take,
)

ERROR_DATA = msgspec.json.encode(ERROR)


async def receiver(
    broker: Broker, wanted: int = 1, *, collects: bool = False, to: Sequence[JobId] = (), **fields: Any
) -> JobId:
    """Store one job that waits for so many letters."""
    return await add(broker, terms=Terms(letters=wanted, collects=collects, to=tuple(to)), **fields)


async def sender(broker: Broker, *to: JobId, **fields: Any) -> Claim:
    """Start one job that tells of its end."""
    return await start(broker, terms=Terms(to=to), **fields)


async def flow(broker: Broker, **fields: Any) -> Claim:
    """Start one job that takes all letters."""
    return await start(broker, terms=Terms(collects=True), **fields)


async def mail(broker: Broker, stored: JobId) -> list[Letter]:
    """The letters in a job's journal, in the order in which they came."""
    reading = await broker.read(stored)
    assert reading is not None
    return [letters.read(one.data) for one in reading.entries if one.kind == "letter"]


class Writing(Chapter):
    """What a job tells others of its end, `deliver`, and `Suspended`."""

    async def test_a_job_waits_for_its_letters(self, broker: Broker, second: Broker) -> None:
        """It is waiting until so many have come, then it is ready, due from that moment; the letters are in its journal."""
        joined = await receiver(broker, 2)
        assert (await broker.tally())[0].counts == {State.WAITING: 1}
        parts = [await sender(broker, joined, task=f"part.{n}") for n in range(2)]
        assert await take(broker) == []
        assert await broker.settle([(parts[0], Succeeded(b"1"))], now=NOW + 1) == ([True], [])
        seen = await look(second, joined)
        assert (seen.state, seen.letters, seen.awaited) == (State.WAITING, 1, 2)
        applied, ready = await broker.settle([(parts[1], Succeeded(b"2"))], now=NOW + 2)
        assert (applied, [one.id for one in ready]) == ([True], [joined])
        (claim,) = await take(second, now=NOW + 3)
        assert (claim.id, claim.due_at, claim.attempt, claim.resumed) == (joined, NOW + 2, 1, False)
        assert await mail(second, joined) == [
            Letter(parts[0].id, "succeeded", "part.0", b"1"),
            Letter(parts[1].id, "succeeded", "part.1", b"2"),
        ]
        assert (await look(broker, joined)).letters == 2
        assert await broker.tally() == await second.tally()

    async def test_placed_as_waiting(self, broker: Broker) -> None:
        """One whose terms ask for letters is waiting; asked again it is the same."""
        new = job(terms=Terms(letters=1))
        (first,) = await broker.enqueue([new], now=NOW)
        (again,) = await broker.enqueue([new], now=NOW)
        assert [(one.state, one.fresh) for one in (first, again)] == [(State.WAITING, True), (State.WAITING, False)]

    async def test_the_order_within_a_call_does_not_matter(self, broker: Broker) -> None:
        """A receiver is enqueued with its senders: before them, or after."""
        for forward in (True, False):
            joined, part = job(terms=Terms(letters=1)), new_id()
            both = [joined, job(id=part, terms=Terms(to=(joined.id,)))]
            await broker.enqueue(both if forward else both[::-1], now=NOW)
            await hire(broker)
            (claim,) = await take(broker)
            await end(broker, claim)
            (claim,) = await take(broker)
            assert claim.id == joined.id
            await end(broker, claim)

    async def test_nobody_there(self, broker: Broker) -> None:
        """A job that is not stored when a letter to it is written, has succeeded, or has no terms, gets none."""
        plain, late = await start(broker), new_id()
        done = await flow(broker)
        await end(broker, done)
        part = await sender(broker, plain.id, late, done.id)
        assert await end(broker, part)
        await broker.enqueue([job(id=late, terms=Terms(letters=1))], now=NOW)
        assert [await mail(broker, one) for one in (plain.id, late, done.id)] == [[], [], []]
        assert await state(broker, late) is State.WAITING

    async def test_several_receivers(self, broker: Broker) -> None:
        """Whatever ends a job writes to all that its terms name."""
        joined = [await receiver(broker) for _ in range(3)]
        await end(broker, await sender(broker, *joined))
        assert {await state(broker, one) for one in joined} == {State.READY}

    async def test_what_is_tried_again_has_not_ended(self, broker: Broker) -> None:
        """No letter of a run that was no end, and one of the end; a settle that is repeated writes nothing more."""
        joined = await receiver(broker)
        claim = await sender(broker, joined)
        for outcome in (AGAIN, Released(), Suspended(0)):
            await end(broker, claim, outcome)
            (claim,) = await take(broker)
            assert await mail(broker, joined) == []
        assert await end(broker, claim)
        assert not await end(broker, claim)
        assert len(await mail(broker, joined)) == 1

    async def test_a_failure_fails_who_waits(self, broker: Broker) -> None:
        """Others it fails ("PartFailed"); it is not kept then. That end writes its own letters, and counts in the history."""
        last = await receiver(broker, collects=True)
        joined = await receiver(broker, 2, to=[last], task="join")
        part = await sender(broker, joined, task="part")
        await end(broker, part, Failed(ERROR), now=NOW + 5)
        failed = await look(broker, joined)
        assert failed.error is not None
        assert (failed.state, failed.error.type, failed.finished_at) == (State.FAILED, "PartFailed", date(NOW + 5))
        assert failed.error.message == f"it waited for the job {part.id} (part), which failed"
        assert (await mail(broker, joined), failed.letters) == ([], 0)
        assert await mail(broker, last) == [Letter(joined, "failed", "join", msgspec.json.encode(failed.error))]
        assert await state(broker, last) is State.READY
        rollups = [one for one in await broker.series(3600, 0, NOW + 9999) if one.task == "join"]
        assert [(one.outcome, one.count) for one in rollups] == [("failed", 1)]
        assert [(one.task, one.type) for one in await broker.faults()] == [("join", "PartFailed")]

    async def test_failures_that_are_collected_count(self, broker: Broker) -> None:
        """One that tells of a failure or a cancel counts only with a job that collects; it carries the error, or the reason."""
        joined = await receiver(broker, 3, collects=True)
        outcomes: list[Outcome] = [Failed(ERROR), Cancelled("enough"), DONE]
        parts = [await sender(broker, joined) for _ in outcomes]
        for part, outcome in zip(parts, outcomes, strict=True):
            assert await state(broker, joined) is State.WAITING
            await end(broker, part, outcome)
        assert await state(broker, joined) is State.READY
        assert [(one.name, one.said, one.data) for one in await mail(broker, joined)] == [
            (parts[0].id, "failed", ERROR_DATA),
            (parts[1].id, "cancelled", b'"enough"'),
            (parts[2].id, "succeeded", b'"done"'),
        ]

    async def test_successes_are_told_first(self, broker: Broker) -> None:
        """Of what ends in one call, successes are told first."""
        joined = await receiver(broker)
        bad, good = await sender(broker, joined), await sender(broker, joined)
        await broker.settle([(bad, Failed(ERROR)), (good, DONE)], now=NOW)
        assert await state(broker, joined) is State.READY

    async def test_every_way_to_end_a_job_is_told(self, broker: Broker) -> None:
        """`cancel`, an expiry, a quarantine, a cancel that beats an outcome, and `forget` of what has not finished."""
        joined = await receiver(broker, 9, collects=True)
        terms = Terms(to=(joined,))
        cancelled = await add(broker, terms=terms)
        await broker.cancel([cancelled], now=NOW)
        expired = await add(broker, terms=terms, expires=5.0)
        await broker.promote(now=NOW + 5)
        forgotten = await add(broker, terms=terms)
        await broker.forget([forgotten, joined[:-1] + "x"], now=NOW)
        beaten = await sender(broker, joined)
        await broker.cancel([beaten.id], now=NOW)
        await end(broker, beaten, AGAIN)
        crashed = await sender(broker, joined, crash_limit=1)
        await broker.reclaim(now=NOW + 60)
        told = {one.name: (one.said, one.data) for one in await mail(broker, joined)}
        quarantined = (await look(broker, crashed.id)).error
        assert quarantined is not None
        assert told == {
            cancelled: ("cancelled", b'"cancelled"'),
            expired: ("cancelled", b'"expired"'),
            forgotten: ("cancelled", b'"forgotten"'),
            beaten.id: ("cancelled", b'"cancelled while running"'),
            crashed.id: ("failed", msgspec.json.encode(quarantined)),
        }

    async def test_what_has_ended_is_forgotten_without_a_word(self, broker: Broker) -> None:
        """`forget` writes only for what has not finished; a receiver that is deleted is in nobody's way."""
        joined = await receiver(broker, 2, collects=True)
        part, other = await sender(broker, joined), await sender(broker, joined)
        await end(broker, part)
        await broker.forget([part.id], now=NOW)
        assert len(await mail(broker, joined)) == 1
        await broker.forget([joined], now=NOW)
        assert await end(broker, other)
        assert await broker.read(joined) is None

    async def test_a_waiting_job_is_cancelled_and_expires(self, broker: Broker) -> None:
        """At once, as all that does not run."""
        one, other = await receiver(broker), await receiver(broker, expires=5.0)
        assert await broker.cancel([one], now=NOW) == {one: State.CANCELLED}
        await broker.promote(now=NOW + 5)
        assert (await look(broker, other)).reason == "expired"
        assert (await broker.tally())[0].counts == {State.CANCELLED: 2}

    async def test_not_before_its_own_time(self, broker: Broker) -> None:
        """What waits since it was enqueued is ready when its own time has come, too: until then it is scheduled."""
        joined = await receiver(broker, delay=100.0)
        await broker.promote(now=NOW + 100)
        assert await state(broker, joined) is State.WAITING
        await end(broker, await sender(broker, joined), now=NOW + 50)
        assert await state(broker, joined) is State.SCHEDULED
        assert [one.id for one in await broker.promote(now=NOW + 100)] == [joined]
        late = await receiver(broker, delay=100.0)
        await end(broker, await sender(broker, late), now=NOW + 150)
        assert (await look(broker, late)).run_at == date(NOW + 150)

    async def test_a_name_counts_once(self, broker: Broker) -> None:
        """A letter whose name came before takes the older one's place until its receiver is started first."""
        joined = await receiver(broker, 2, collects=True)
        part = await sender(broker, joined)
        await end(broker, part, Failed(ERROR))
        await broker.revive([part.id], now=NOW)
        (claim,) = await take(broker)
        await end(broker, claim)
        assert [(one.said, one.data) for one in await mail(broker, joined)] == [("succeeded", b'"done"')]
        assert (await look(broker, joined)).letters == 1
        assert await state(broker, joined) is State.WAITING

    async def test_what_a_run_has_read_stays(self, broker: Broker) -> None:
        """From then on the first one stays, so that what a run has read is what the next run reads."""
        claim = await flow(broker)
        part = await sender(broker, claim.id)
        await end(broker, part, Failed(ERROR))
        await broker.deliver(claim.id, "approved", b"1", now=NOW)
        await broker.revive([part.id], now=NOW)
        await end(broker, (await take(broker))[0])
        assert await broker.deliver(claim.id, "approved", b"2", now=NOW)
        assert [(one.said, one.data) for one in await mail(broker, claim.id)] == [
            ("failed", ERROR_DATA),
            ("event", b"1"),
        ]
        assert (await look(broker, claim.id)).letters == 2

    async def test_a_letter_between_two_calls_that_are_the_same(self, broker: Broker) -> None:
        """What a run says twice, because the first answer got lost, is written once, whatever came meanwhile."""
        claim = await flow(broker)
        said = [(claim, [entry("checkpoint", b"1", number=1), entry("chunk", b"2", number=2)])]
        assert await broker.append(said, now=NOW) == [True]
        assert await broker.deliver(claim.id, "approved", b"1", now=NOW)
        assert await broker.append(said, now=NOW) == [True]
        reading = await broker.read(claim.id)
        assert reading is not None
        assert [one.kind for one in reading.entries] == ["checkpoint", "chunk", "letter"]

    async def test_of_what_failed_the_newest_letter_counts_again(self, broker: Broker) -> None:
        """Who retries the part by hand, and then the receiver, is told of the retry."""
        claim = await flow(broker)
        part = await sender(broker, claim.id)
        await end(broker, part, Failed(ERROR))
        await end(broker, claim, Failed(ERROR))
        await broker.revive([part.id], now=NOW)
        await end(broker, (await take(broker))[0])
        assert [one.said for one in await mail(broker, claim.id)] == ["succeeded"]
        assert (await look(broker, claim.id)).letters == 1
        await broker.revive([claim.id], now=NOW)
        (again,) = await take(broker)
        await broker.revive([part.id], now=NOW)
        assert (again.id, [one.said for one in await mail(broker, claim.id)]) == (claim.id, ["succeeded"])

    async def test_who_revives_the_part_and_then_the_join(self, broker: Broker) -> None:
        """Of what is revived, what was never started and lacks letters waits again; what came after its failure is there."""
        joined = await receiver(broker, 3)
        bad, late, good = [await sender(broker, joined) for _ in range(3)]
        await end(broker, good)
        await end(broker, bad, Failed(ERROR))
        await end(broker, late)
        assert await state(broker, joined) is State.FAILED
        assert await broker.revive([joined], now=NOW) == []
        seen = await look(broker, joined)
        assert (seen.state, seen.letters, seen.finished_at) == (State.WAITING, 2, None)
        await broker.revive([bad.id], now=NOW)
        await end(broker, (await take(broker))[0])
        assert await state(broker, joined) is State.READY
        assert {one.name for one in await mail(broker, joined)} == {bad.id, late.id, good.id}

    async def test_the_part_first_and_then_the_join(self, broker: Broker) -> None:
        """A failed join that got all its letters meanwhile is ready at once when it is revived."""
        joined = await receiver(broker)
        part = await sender(broker, joined)
        await end(broker, part, Failed(ERROR))
        await broker.revive([part.id], now=NOW)
        await end(broker, (await take(broker))[0])
        assert await state(broker, joined) is State.FAILED
        assert [one.id for one in await broker.revive([joined], now=NOW)] == [joined]

    async def test_letters_to_what_failed_have_numbers_of_their_own(self, broker: Broker) -> None:
        """An end counts as one entry; a letter that comes after it takes the next number, and its successor the one after that."""
        joined = await receiver(broker, 2)
        bad, good = await sender(broker, joined), await sender(broker, joined)
        await end(broker, bad, Failed(ERROR))
        await end(broker, good)
        await broker.revive([joined], now=NOW)
        await broker.deliver(joined, "go", b"1", now=NOW)
        reading = await broker.read(joined)
        assert reading is not None
        assert [one.seq for one in reading.entries] == [1, 3]

    async def test_a_chain_of_failures(self, broker: Broker) -> None:
        """All that waits for what failed fails in the same step, however far it goes."""
        chain = [new_id() for _ in range(300)]
        links = [job(id=one, terms=Terms(letters=1, to=(then,))) for one, then in itertools.pairwise(chain)]
        await broker.enqueue([*links, job(id=chain[-1], terms=Terms(letters=1))], now=NOW)
        await end(broker, await sender(broker, chain[0]), Failed(ERROR))
        assert (await broker.tally())[0].counts == {State.FAILED: 301}

    async def test_a_join_of_many(self, broker: Broker) -> None:
        """However many end in one call."""
        joined, parts = new_id(), [new_id() for _ in range(200)]
        terms = Terms(to=(joined,), root=joined)
        await broker.enqueue(
            [*(job(id=one, terms=terms) for one in parts), job(id=joined, terms=Terms(letters=200))], now=NOW
        )
        await hire(broker)
        claims = await take(broker, 200)
        await broker.settle([(one, DONE) for one in claims[:199]], now=NOW)
        assert await state(broker, joined) is State.WAITING
        await end(broker, claims[199])
        assert await state(broker, joined) is State.READY
        assert {one.name for one in await mail(broker, joined)} == set(parts)

    async def test_events(self, broker: Broker, second: Broker) -> None:
        """Write a letter from outside; answers whether the job takes letters: it is there, has terms, and has not finished."""
        joined, plain, claim = await receiver(broker, 2), await add(broker), await flow(broker)
        assert await second.deliver(joined, "go", b'{"by":"me"}', now=NOW)
        assert await second.deliver(joined, "go", b'{"by":"you"}', now=NOW)
        assert await mail(broker, joined) == [Letter("go", "event", "", b'{"by":"you"}')]
        assert await state(broker, joined) is State.WAITING
        assert await second.deliver(joined, "done", b"1", now=NOW + 1)
        assert await state(broker, joined) is State.READY
        await end(broker, claim)
        assert [await broker.deliver(one, "go", b"1", now=NOW) for one in (plain, claim.id, new_id())] == [False] * 3

    async def test_suspended(self, broker: Broker) -> None:
        """Waiting, until so many letters have come in all; the attempt is given back, and the next run goes on."""
        claim = await flow(broker)
        part = await sender(broker, claim.id)
        assert await broker.settle([(claim, Suspended(1))], now=NOW + 1) == ([True], [])
        seen = await look(broker, claim.id)
        assert (seen.state, seen.attempt, seen.awaited, seen.run_at) == (State.WAITING, 0, 1, date(NOW + 1))
        assert not await end(broker, claim)
        await end(broker, part, Failed(ERROR), now=NOW + 9)
        (claim,) = await take(broker, now=NOW + 9)
        assert (claim.attempt, claim.due_at, claim.resumed) == (1, NOW + 9, True)

    async def test_suspended_with_letters_there(self, broker: Broker) -> None:
        """Ready at once, if they have come: nothing can slip between the look and the wait."""
        for delay in (None, 50.0):
            claim = await flow(broker)
            await end(broker, await sender(broker, claim.id))
            _, ready = await broker.settle([(claim, Suspended(1, delay))], now=NOW)
            assert [one.id for one in ready] == [claim.id]
            (claim,) = await take(broker)
            part = await sender(broker, claim.id)
            _, ready = await broker.settle([(claim, Suspended(2, delay)), (part, DONE)], now=NOW)
            assert [one.id for one in ready] == [claim.id]
            await end(broker, (await take(broker))[0])

    async def test_suspended_until_a_time(self, broker: Broker) -> None:
        """With a delay scheduled, and ready then at the latest; a letter makes it ready before."""
        claim, other = await flow(broker), await flow(broker)
        await broker.settle([(claim, Suspended(1, 50.0)), (other, Suspended(1, 50.0))], now=NOW)
        assert (await look(broker, claim.id)).run_at == date(NOW + 50)
        assert (await broker.tally())[0].counts == {State.SCHEDULED: 2}
        await broker.deliver(other.id, "go", b"1", now=NOW + 20)
        (went_on,) = await take(broker, now=NOW + 20)
        assert (went_on.id, went_on.due_at) == (other.id, NOW + 20)
        await broker.promote(now=NOW + 50)
        (went_on,) = await take(broker, now=NOW + 50)
        assert (went_on.id, went_on.due_at) == (claim.id, NOW + 50)
        assert await broker.deliver(claim.id, "late", b"1", now=NOW + 51)
        assert await state(broker, claim.id) is State.RUNNING

    async def test_what_was_suspended_and_revived_goes_on(self, broker: Broker) -> None:
        """It looks for itself what it lacks: it was started."""
        claim = await flow(broker)
        await end(broker, claim, Suspended(1))
        await broker.cancel([claim.id], now=NOW)
        assert [one.id for one in await broker.revive([claim.id], now=NOW)] == [claim.id]

    async def test_a_letter_does_not_hurry_what_lacks_none(self, broker: Broker) -> None:
        """One that is scheduled for another reason stays so."""
        claim = await flow(broker)
        await end(broker, claim, Retried(50.0, ERROR))
        await broker.deliver(claim.id, "go", b"1", now=NOW)
        assert await state(broker, claim.id) is State.SCHEDULED

    async def test_a_cancel_beats_suspended(self, broker: Broker) -> None:
        """A requested cancel beats Suspended: the job is cancelled."""
        claim = await flow(broker)
        await broker.cancel([claim.id], now=NOW)
        await end(broker, claim, Suspended(1))
        assert (await look(broker, claim.id)).reason == "cancelled while running"

    async def test_by_workflow(self, broker: Broker) -> None:
        """root: the workflow that they belong to, by their terms."""
        root = new_id()
        mine = [await add(broker, terms=Terms(root=root)) for _ in range(3)]
        for other in (None, Terms(root=new_id()), Terms()):
            await add(broker, terms=other)
        await broker.cancel(mine[:1], now=NOW)
        assert {one.id for one in (await broker.find(root=root)).jobs} == set(mine)
        assert {one.id for one in (await broker.find(root=root, states={State.READY})).jobs} == set(mine[1:])
        first = await broker.find(root=root, limit=2)
        assert [one.id for one in first.jobs] == sorted(mine)[:0:-1]
        assert [one.id for one in (await broker.find(root=root, before=first.next)).jobs] == [min(mine)]
        await broker.forget(mine)
        assert await broker.find(root=root) == ([], None)
