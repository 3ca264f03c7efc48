"""Chapter: who goes first, where it is not only who came first: groups and ageing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from windlass.broker.port import Broker
from windlass.core.job import JobId
from windlass.core.outcome import Outcome, Parked, Released
from windlass.core.terms import Terms
from windlass.testing.conformance.kit import AGAIN, NOW, Chapter, add, end, hire, job, start, take


class Sharing(Chapter):
    """Fair shares."""

    async def test_a_big_group_delays_no_other(self, broker: Broker) -> None:
        """One group with 3,000 jobs and 19 with 5: the 19 have ended after 5 rounds, in whatever steps they are taken."""
        await _fill(broker, "big", 3000)
        small = [f"small{n}" for n in range(19)]
        for group in small:
            await _fill(broker, group, 5)
        await hire(broker)
        started = [group for room in (1, 7, 92) for group in await _groups(broker, room)]
        assert Counter(started) == dict.fromkeys((*small, "big"), 5)

    async def test_a_newcomer_begins_with_the_present_round(self, broker: Broker) -> None:
        """Also after long running: neither before its turn nor behind what the others wait for."""
        for group in ("a", "b", "c"):
            await _fill(broker, group, 200)
        await hire(broker)
        assert Counter(await _groups(broker, 300)) == dict.fromkeys("abc", 100)
        await _fill(broker, "new", 3)
        assert Counter(await _groups(broker, 12)) == dict.fromkeys(("a", "b", "c", "new"), 3)

    async def test_who_had_its_share_has_no_debts(self, broker: Broker) -> None:
        """A group whose jobs were all handed out comes back as a newcomer does."""
        await _fill(broker, "a", 100)
        await hire(broker)
        await _groups(broker, 100)
        await _fill(broker, "b", 5)
        await _fill(broker, "a", 5)
        assert Counter(await _groups(broker, 4)) == {"a": 2, "b": 2}

    async def test_who_was_away_has_saved_nothing(self, broker: Broker) -> None:
        """Turns that a group did not take are nobody's: it comes back as a newcomer does."""
        await _fill(broker, "a", 1)
        await _fill(broker, "b", 100)
        await hire(broker)
        await _groups(broker, 60)
        await _fill(broker, "a", 20)
        assert Counter(await _groups(broker, 10)) == {"a": 5, "b": 5}

    async def test_weights(self, broker: Broker) -> None:
        """As often as their weight says."""
        await _fill(broker, "double", 40, weight=2.0)
        await _fill(broker, "single", 40)
        await _fill(broker, "half", 40, weight=0.5)
        await hire(broker)
        assert Counter(await _groups(broker, 35)) == {"double": 20, "single": 10, "half": 5}

    async def test_within_a_group_the_longer_due_goes_first(self, broker: Broker) -> None:
        """The longer due first within one."""
        stored = [await add(broker, now=NOW + n, terms=Terms(group="a")) for n in range(5)]
        await hire(broker)
        assert [claim.id for claim in await take(broker)] == stored

    async def test_jobs_without_a_group_are_one_group(self, broker: Broker) -> None:
        """In a line that has groups; elsewhere they stand by their due time."""
        await _fill(broker, "a", 10)
        await _fill(broker, None, 10)
        await hire(broker)
        assert Counter(await _groups(broker, 10)) == {"a": 5, None: 5}

    async def test_what_was_ready_before_the_first_group_goes_first(self, broker: Broker) -> None:
        """Due times, and then turns."""
        await _fill(broker, None, 5)
        await _fill(broker, "a", 5)
        await hire(broker)
        assert await _groups(broker, 6) == [None] * 5 + ["a"]

    async def test_priorities_count_before_shares(self, broker: Broker) -> None:
        """Each priority has shares of its own: who waits for much below is not behind above."""
        await _fill(broker, "a", 50, priority=0)
        await _fill(broker, "a", 4, priority=9)
        await _fill(broker, "b", 4, priority=9)
        await hire(broker)
        assert Counter(await _groups(broker, 4)) == {"a": 2, "b": 2}
        assert Counter(await _groups(broker, 6)) == {"a": 4, "b": 2}

    async def test_each_lane_is_a_line_of_its_own(self, broker: Broker) -> None:
        """Who waits for much in one lane is not behind in another; and queues have nothing to do with each other."""
        await _fill(broker, "a", 50, lane="thread")
        await _fill(broker, "a", 50, queue="other")
        await _fill(broker, "a", 4)
        await _fill(broker, "b", 4)
        await hire(broker)
        assert Counter(await _groups(broker, 4)) == {"a": 2, "b": 2}

    async def test_what_becomes_ready_again_takes_the_next_turn(self, broker: Broker) -> None:
        """By retry, release, reclaim, promote and revive: behind its group's other jobs, and not behind the other groups'."""
        for group in "abcd":
            await _fill(broker, group, 3)
        await hire(broker)
        first = await take(broker, 4)
        outcomes: Sequence[Outcome] = (AGAIN, Released(), Parked("?"))
        for claim, outcome in zip(first, outcomes, strict=False):
            assert await end(broker, claim, outcome, now=NOW + 1)
        await broker.revive([claim.id for claim in first], now=NOW + 1)
        assert len(await broker.reclaim(now=NOW + 60)) == 1
        await hire(broker, "other", now=NOW + 60)
        claims = await take(broker, worker="other", now=NOW + 60)
        assert [claim.id for claim in claims[-4:]] == [claim.id for claim in first]

    async def test_what_is_promoted_takes_the_next_turn(self, broker: Broker) -> None:
        """A promoted job has waited elsewhere: in the line it begins now."""
        late = await add(broker, delay=10.0, terms=Terms(group="a"))
        await _fill(broker, "a", 3)
        await broker.promote(now=NOW + 10)
        await hire(broker)
        assert [claim.id for claim in await take(broker)][-1] == late

    async def test_who_goes_without_a_turn_gives_it_back(self, broker: Broker) -> None:
        """Cancelled, forgotten and expired jobs cost their group nothing."""
        stored = await _fill(broker, "a", 20)
        await _fill(broker, "a", 5, expires=5.0)
        await broker.cancel(stored[:10], now=NOW)
        await broker.forget(stored[10:])
        await broker.promote(now=NOW + 5)
        await _fill(broker, "b", 4)
        await _fill(broker, "a", 4)
        await hire(broker)
        assert Counter(await _groups(broker, 4)) == {"a": 2, "b": 2}

    async def test_a_queue_of_groups_tells_its_oldest(self, broker: Broker) -> None:
        """`oldest` is the due time of the job that is due for longest, whoever's turn is next."""
        await add(broker, now=NOW, at=NOW + 3, terms=Terms(group="a"))
        for n, group in ((9, "b"), (8, None), (7, "b"), (6, "a"), (4, None)):
            await add(broker, now=NOW + n, terms=None if group is None else Terms(group=group))
        await broker.promote(now=NOW + 10)
        await hire(broker)
        waiting = [NOW + n for n in (3, 4, 6, 7, 8, 9)]
        while waiting:
            assert [info.oldest for info in await broker.tally()] == [waiting[0]]
            (claim,) = await take(broker, 1)
            waiting.remove(claim.due_at)

    async def test_a_line_whose_groups_are_gone_is_as_before(self, broker: Broker) -> None:
        """Once all of a line are forgotten, it has no groups any more: nobody takes turns, and jobs age."""
        await start(broker, terms=Terms(group="a"))
        await broker.prune(now=NOW + 1)
        old = await add(broker, now=NOW + 2, priority=0, terms=Terms(ageing=1.0))
        await add(broker, now=NOW + 8)
        assert [claim.id for claim in await take(broker, 1)] == [old]

    async def test_who_waits_is_not_forgotten(self, broker: Broker) -> None:
        """Groups that have had all their turns, and no others."""
        await _fill(broker, "a", 10)
        await hire(broker)
        await _groups(broker, 5)
        await broker.prune(now=NOW + 50)
        await _fill(broker, "b", 2)
        await _fill(broker, "a", 5)
        assert Counter(await _groups(broker, 4)) == {"a": 2, "b": 2}
        assert await _groups(broker, 8) == ["a"] * 8


class Ageing(Chapter):
    """`ageing`."""

    async def test_a_lower_priority_passes_in_time(self, broker: Broker) -> None:
        """A level is worth so many seconds."""
        low = await add(broker, priority=3, terms=Terms(ageing=10.0))
        before, behind = await add(broker, now=NOW + 19), await add(broker, now=NOW + 21)
        await hire(broker)
        assert [claim.id for claim in await take(broker)] == [before, low, behind]

    async def test_a_higher_one_goes_first_for_a_time(self, broker: Broker) -> None:
        """Earlier for each level above."""
        before, behind = await add(broker), await add(broker, now=NOW + 2)
        high = await add(broker, now=NOW + 21, priority=7, terms=Terms(ageing=10.0))
        await hire(broker)
        assert [claim.id for claim in await take(broker, 1)] == [before]
        assert [claim.id for claim in await take(broker)] == [high, behind]

    async def test_without_it_priorities_are_strict(self, broker: Broker) -> None:
        """It counts as one of the default priority: what does not age is above or below it for ever."""
        low, aged = (
            await add(broker, priority=4),
            await add(broker, now=NOW + 20, priority=0, terms=Terms(ageing=1000.0)),
        )
        high = await add(broker, now=NOW + 90, priority=6)
        await hire(broker, ttl=100.0)
        assert [claim.id for claim in await take(broker)] == [high, aged, low]

    async def test_a_retried_job_ages_from_its_new_due_time(self, broker: Broker) -> None:
        """It counts from when it is due."""
        claim = await start(broker, priority=4, terms=Terms(ageing=10.0))
        await end(broker, claim, AGAIN, now=NOW + 5)
        before, behind = await add(broker, now=NOW + 14), await add(broker, now=NOW + 16)
        assert [one.id for one in await take(broker)] == [before, claim.id, behind]

    async def test_a_queue_that_ages_tells_its_oldest(self, broker: Broker) -> None:
        """`oldest` is the due time of the job that is due for longest, wherever it stands."""
        await add(broker, priority=0, terms=Terms(ageing=1000.0))
        await add(broker, now=NOW + 5)
        await add(broker, now=NOW + 10, priority=9, terms=Terms(ageing=1000.0))
        assert [info.oldest for info in await broker.tally()] == [NOW]

    async def test_where_groups_take_turns_nobody_ages(self, broker: Broker) -> None:
        """Time is counted in turns there."""
        await add(broker, now=NOW, terms=Terms(group="a", ageing=1.0))
        low = await add(broker, now=NOW, priority=0, terms=Terms(ageing=1.0))
        high = await add(broker, now=NOW + 50)
        await hire(broker)
        assert [claim.id for claim in await take(broker)][1:] == [high, low]


async def _fill(broker: Broker, group: str | None, many: int, *, weight: float = 1.0, **fields: object) -> list[JobId]:
    """Store so many jobs of a group, whose name is their task."""
    terms = None if group is None else Terms(group=group, weight=weight)
    jobs = [job(task=f"of.{group}", terms=terms, **fields) for _ in range(many)]
    return [placed.id for placed in await broker.enqueue(jobs, now=NOW)]


async def _groups(broker: Broker, room: int) -> list[str | None]:
    """Whose jobs are handed out next; a store may give fewer at once than it is asked for."""
    names = list[str]()
    while more := await take(broker, room - len(names)):
        names += (claim.task.removeprefix("of.") for claim in more)
    return [None if name == "None" else name for name in names]
