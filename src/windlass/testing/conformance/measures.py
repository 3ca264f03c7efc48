"""Chapter: the history that workers write, and for what no worker sees the store."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

from msgspec.structs import replace

from windlass.broker.port import Broker
from windlass.core.job import DAY
from windlass.core.measures import FAULTS, SERIES, STEPS, VERSIONS, Fault, Report, Rollup, Sighting, seen, sighted, span
from windlass.core.outcome import Cancelled, ErrorInfo, Failed, Outcome, Parked, Released, Retried, Snoozed
from windlass.testing.conformance.kit import DONE, ERROR, NOW, Chapter, add, end, hire, look, start, take

HOUR = 3600.0


def rollup(queue: str = "q", task: str = "t", outcome: str = "succeeded", count: int = 1, **times: Any) -> Rollup:
    """Runs that waited and took a short while."""
    return Rollup(queue, task, outcome, count, times.get("wait", {3: count}), times.get("run", {0: count}))


def dated(one: Rollup, step: int, now: float = NOW) -> Rollup:
    """The same, as a store answers it."""
    return replace(one, at=span(now, step), step=step)


def sighting(name: str = "f", count: int = 1, final: int = 0, version: str = "", message: str = "no") -> Sighting:
    """Failures that look alike."""
    return Sighting(name, "t", "ValueError", "a.py in b", count, final, f"job of {message}", message, version)


def counted(*rollups: Rollup) -> Report:
    """A report of runs."""
    return Report(list(rollups), [])


def failed(*sightings: Sighting) -> Report:
    """A report of failures."""
    return Report([], list(sightings))


class Measuring(Chapter):
    """`record` and `series`."""

    async def test_a_report_is_in_a_span_of_each_step(self, broker: Broker, second: Broker) -> None:
        """Added to the spans of `now`, one of each step."""
        one = rollup(wait={0: 1, 1: 2, 54: 3}, run={})
        assert await broker.record("w", 1, counted(one), now=NOW + 61.5)
        for step in STEPS:
            assert await second.series(step, 0, inf) == [dated(one, step, NOW + 61.5)]
        assert await second.series(7, 0, inf) == []

    async def test_reports_of_a_span_add_up(self, broker: Broker, second: Broker) -> None:
        """Rollups of one combination add up, whoever wrote them, also within one report."""
        await broker.record("w", 1, counted(rollup(count=2, wait={1: 2}), rollup(count=3, wait={1: 1, 7: 2})), now=NOW)
        await second.record("x", 1, counted(rollup(count=4, wait={7: 1, 54: 3}, run={0: 4})), now=NOW)
        await broker.record("w", 2, counted(rollup(outcome="failed")), now=NOW)
        total = rollup(count=9, wait={1: 3, 7: 3, 54: 3}, run={0: 9})
        assert await broker.series(60, 0, inf) == [dated(rollup(outcome="failed"), 60), dated(total, 60)]

    async def test_a_report_counts_once(self, broker: Broker, second: Broker) -> None:
        """A writer numbers its reports upwards. One whose number is not above its latest was added already: nothing is different then."""
        report = Report([rollup()], [sighting()])
        assert await broker.record("w", 5, report, now=NOW)
        for number in (5, 4, 1):
            assert not await second.record("w", number, report, now=NOW + 1)
        assert await second.record("w", 6, report, now=NOW)
        assert await second.record("v", 5, report, now=NOW)
        assert [one.count for one in await broker.series(3600, 0, inf)] == [3]
        assert [one.count for one in await broker.faults()] == [3]

    async def test_one_number_from_many_callers_counts_once(self, broker: Broker, second: Broker) -> None:
        """Answers whether it was added: of all who tell it at once, one."""
        calls = [one.record("w", 1, counted(rollup()), now=NOW) for one in (broker, second) * 5]
        assert sorted(await asyncio.gather(*calls)) == [False] * 9 + [True]
        assert [one.count for one in await broker.series(60, 0, inf)] == [1]

    async def test_an_empty_report_is_a_report(self, broker: Broker) -> None:
        """There is nothing of it, but its number is taken."""
        assert await broker.record("w", 1, Report([], []), now=NOW)
        assert not await broker.record("w", 1, counted(rollup()), now=NOW)
        assert (await broker.series(60, 0, inf), await broker.faults()) == ([], [])

    async def test_series_are_in_order(self, broker: Broker) -> None:
        """In the order of time, queue, task and outcome."""
        rollups = [rollup(queue, task, outcome) for queue in "ab" for task in ("", "a.b", "é") for outcome in "xy"]
        for number, at in enumerate((NOW + 120, NOW, NOW + 60, NOW + 60 * 1000), 1):
            await broker.record("w", number, counted(*rollups[::-1]), now=at)
        found = await broker.series(60, 0, inf)
        times = (NOW, NOW + 60, NOW + 120, NOW + 60 * 1000)
        assert found == [dated(one, 60, at) for at in times for one in rollups]

    async def test_series_between_two_times(self, broker: Broker) -> None:
        """Of the spans that begin at `since` or later, and before `until`."""
        first = span(NOW, 60)
        for n in range(5):
            await broker.record("w", n + 1, counted(rollup(count=n + 1)), now=first + 60 * n)
        counts = [one.count for one in await broker.series(60, first + 60, first + 180)]
        assert counts == [2, 3]
        assert [one.count for one in await broker.series(60, first + 60.5, first + 180.5)] == [3, 4]
        assert [one.count for one in await broker.series(60, -inf, first + 1)] == [1]
        assert await broker.series(60, first + 180, first + 60) == []

    async def test_series_of_one_queue_and_of_one_task(self, broker: Broker) -> None:
        """Of one queue, of one task, if given."""
        rollups = [rollup(queue, task) for queue in ("a", "b") for task in ("", "t", "u")]
        await broker.record("w", 1, counted(*rollups), now=NOW)

        async def names(**filters: str) -> list[str]:
            return [f"{one.queue}{one.task}" for one in await broker.series(60, 0, inf, **filters)]

        assert await names(queue="a") == ["a", "at", "au"]
        assert await names(task="t") == ["at", "bt"]
        assert await names(queue="b", task="u") == ["bu"]
        assert await names(task="") == ["a", "b"]
        assert await names(queue="c") == await names(queue="") == []

    async def test_a_span_is_bounded(self, broker: Broker) -> None:
        """At most SERIES combinations are kept apart in one span; what is new beyond them is counted under the task "" of its queue."""
        tasks = [rollup(task=f"t{n:03}") for n in range(SERIES + 10)]
        await broker.record("w", 1, counted(*tasks[: SERIES - 5]), now=NOW)
        await broker.record("w", 2, counted(*tasks[SERIES - 5 :], rollup("other"), rollup(task="t000")), now=NOW)
        for step in STEPS:
            found = {one.key: one.count for one in await broker.series(step, 0, inf)}
            assert len(found) == SERIES + 2
            assert (found["q", "", "succeeded"], found["other", "", "succeeded"]) == (10, 1)
            assert found["q", "t000", "succeeded"] == 2
        await broker.record("w", 3, counted(*tasks), now=NOW + HOUR)
        assert len(await broker.series(60, NOW + 120, inf)) == SERIES + 1, "the next span begins anew"

    async def test_long_series(self, broker: Broker) -> None:
        """The rollups, all of them, whatever one answer of the store can hold."""
        spread = dict.fromkeys(range(55), 1_000_000)
        many = counted(*(rollup(task="long" * 20 + f"{n:03}", wait=spread, run=spread) for n in range(100)))
        for n in range(30):
            await broker.record("w", n + 1, many, now=NOW + 60 * n)
        found = await broker.series(60, 0, inf)
        assert len(found) == 3000
        assert {(one.wait == spread, one.run == spread) for one in found} == {(True, True)}
        assert len({(one.at, one.task) for one in found}) == 3000
        assert len(await broker.series(60, 0, inf, task="long" * 20 + "007")) == 30

    async def test_spans_are_kept_for_their_time(self, broker: Broker) -> None:
        """The spans that have been over for the time that `STEPS` says are forgotten."""
        await broker.record("w", 1, counted(rollup()), now=NOW)
        left = dict.fromkeys(STEPS, 1)
        for step, keep in STEPS.items():
            over = span(NOW, step) + step + keep
            await broker.prune(now=over - 0.5)
            assert {step: len(await broker.series(step, 0, inf)) for step in STEPS} == left
            await broker.prune(now=over)
            left[step] = 0
            assert {step: len(await broker.series(step, 0, inf)) for step in STEPS} == left

    async def test_writers_are_remembered_for_a_day(self, broker: Broker) -> None:
        """Forgotten are those who have written no report for a day."""
        await broker.record("w", 7, counted(rollup()), now=NOW)
        await broker.record("w", 8, counted(rollup()), now=NOW + HOUR)
        await broker.prune(now=NOW + HOUR + DAY - 0.5)
        assert not await broker.record("w", 8, counted(rollup()), now=NOW + HOUR + DAY)
        await broker.prune(now=NOW + HOUR + DAY)
        assert await broker.record("w", 1, counted(rollup()), now=NOW + HOUR + DAY)

    async def test_the_stores_own_clock_dates(self, broker: Broker) -> None:
        """Without `now`, the span is one in which the store's clock says it is."""
        await broker.record("w", 1, counted(rollup()))
        (one,) = await broker.series(3600, 0, inf)
        info = await broker.series(3600, one.at, one.at + 1)
        assert (info, one.count, one.at % 3600) == ([one], 1, 0)
        assert one.at < NOW


WORDS = ErrorInfo("crash", "Killed", "killed by signal 9: é", evidence={"signal": 9})


class Speaking(Chapter):
    """What a store tells of jobs that no worker speaks for."""

    async def told(self, broker: Broker, now: float = NOW) -> dict[tuple[str, str], int]:
        """How often which queue had which outcome: the same in each step, and without times."""
        found = [await broker.series(step, span(now, step), now + 1) for step in STEPS]
        counts = [{(one.queue, one.outcome): one.count for one in rollups} for rollups in found]
        assert counts == counts[:1] * len(STEPS)
        assert {(one.task, *one.wait, *one.run) for one in found[0]} <= {("tests.task",)}
        return counts[0]

    async def test_what_expires_counts_as_cancelled(self, broker: Broker, second: Broker) -> None:
        """A job that expires; once, whoever looks, and not while it is only passed over."""
        for queue, delay in (("default", 0.0), ("videos", 0.0), ("videos", 5.0)):
            await add(broker, expires=10.0, queue=queue, delay=delay)
        await hire(broker)
        assert await take(broker, now=NOW + 10) == []
        assert await self.told(broker, NOW + 10) == {}
        await second.promote(now=NOW + 10)
        await broker.promote(now=NOW + 11)
        assert await self.told(broker, NOW + 10) == {("default", "cancelled"): 1, ("videos", "cancelled"): 2}
        assert await broker.faults() == []

    async def test_what_cancel_ends_counts_as_cancelled(self, broker: Broker) -> None:
        """A job that `cancel` ends: not one that runs, has finished or is not known, and once, however often it is asked."""
        running, done = await start(broker), await start(broker)
        await end(broker, done)
        waiting = [await add(broker, queue="videos"), await add(broker, queue="videos", delay=60.0)]
        for _ in range(2):
            await broker.cancel([running.id, done.id, *waiting, waiting[0], "nobody"], now=NOW)
        assert await self.told(broker) == {("videos", "cancelled"): 2}
        await broker.revive(waiting[:1], now=NOW)
        await broker.cancel(waiting, now=NOW)
        assert await self.told(broker) == {("videos", "cancelled"): 3}

    async def test_a_cancel_that_beats_an_outcome_counts_as_cancelled(self, broker: Broker) -> None:
        """Whose requested cancel beats another outcome: of all others a worker tells, also of its own Cancelled."""
        beaten: list[Outcome] = [Retried(0.0, ERROR), Snoozed(1.0), Released(), Parked("why")]
        claims = [await start(broker) for _ in range(len(beaten) + 3)]
        await broker.cancel([claim.id for claim in claims], now=NOW)
        ends = [*beaten, DONE, Failed(ERROR), Cancelled("enough")]
        for _ in range(2):
            await broker.settle(list(zip(claims, ends, strict=True)), now=NOW)
        assert await self.told(broker) == {("default", "cancelled"): len(beaten)}
        for outcome in (*ends, Retried(5.0, ERROR, crash=True)):
            await end(broker, await start(broker), outcome)
        assert await self.told(broker) == {("default", "cancelled"): len(beaten)}, "nothing that a worker speaks for"
        assert await broker.faults() == []

    async def test_what_is_taken_back_counts_as_crashed_or_failed(self, broker: Broker, second: Broker) -> None:
        """As "crashed" when it is ready again, as "failed" when it is quarantined; each is a fault, with the job as the example."""
        stored, right = await add(broker, crash_limit=2), list[Fault]()
        for n in range(2):
            await hire(broker, f"w{n}")
            await take(broker, worker=f"w{n}")
            await hire(broker, f"w{n}", ttl=0.0, words=WORDS)
            for one in (broker, second):
                await one.reclaim(now=NOW + n)
            error = (await look(broker, stored)).error
            assert error is not None
            right.insert(0, seen(None, sighted("tests.task", stored, error, final=n > 0), NOW + n))
        assert await self.told(broker) == {("default", "crashed"): 1, ("default", "failed"): 1}
        assert [(one.type, one.final) for one in right] == [("Quarantined", 1), ("Killed", 0)]
        assert await second.faults() == right

    async def test_crashes_of_one_task_add_up(self, broker: Broker) -> None:
        """A crash is seen as a fault: by the job's task and the type of the error, whichever job, worker and queue it was."""
        for n in range(3):
            await start(broker, queue=f"q{n % 2}")
        await hire(broker, "other")
        await add(broker)
        await take(broker, worker="other")
        await broker.reclaim(now=NOW + 60)
        right = {("q0", "crashed"): 2, ("q1", "crashed"): 1, ("default", "crashed"): 1}
        assert await self.told(broker, NOW + 60) == right
        (fault,) = await broker.faults()
        assert (fault.type, fault.count, fault.final, fault.frame) == ("WorkerLost", 4, 0, "")
        (example,) = await broker.get([fault.job])
        assert example is not None
        assert example.error is not None

    async def test_a_long_message_of_a_crash_is_cut(self, broker: Broker) -> None:
        """Its first 500 characters, about, and whatever they are."""
        for n, text in enumerate(("x" * 30_000, "é" * 30_000, "x" + "日本" * 10_000)):
            await hire(broker, f"w{n}")
            stored = await add(broker, queue=f"q{n}", task=f"t{n}")
            await take(broker, worker=f"w{n}", queues=[f"q{n}"])
            await hire(broker, f"w{n}", ttl=0.0, words=ErrorInfo("crash", "Killed", text))
            await broker.reclaim(now=NOW + n)
            (fault,) = await broker.faults(1)
            assert fault.job == stored
            assert text.startswith(fault.message[:150])
            assert len(fault.message) < 1000

    async def test_what_a_blameless_worker_held_counts_as_released(self, broker: Broker) -> None:
        """As "released" when its worker was blameless; what was to be cancelled counts as cancelled, whoever held it."""
        for blameless in (True, False):
            worker = "blameless" if blameless else "others"
            await hire(broker, worker, blameless=blameless)
            wanted, _ = await add(broker, queue=worker), await add(broker, queue=worker)
            await take(broker, worker=worker, queues=[worker])
            await broker.cancel([wanted], now=NOW)
        await broker.reclaim(now=NOW + 60)
        ends = {("blameless", "released"), ("others", "crashed"), ("blameless", "cancelled"), ("others", "cancelled")}
        assert await self.told(broker, NOW + 60) == dict.fromkeys(ends, 1)
        assert [one.count for one in await broker.faults()] == [1]

    async def test_it_adds_to_what_workers_tell(self, broker: Broker) -> None:
        """To the same spans and faults."""
        claim = await start(broker)
        lost = sighted("tests.task", "j", ErrorInfo("crash", "Killed", "no"), final=False, version="1")
        one = rollup("default", "tests.task", "crashed")
        await broker.record("w", 1, Report([one], [lost]), now=NOW)
        await broker.mark([lost.fingerprint], "resolved")
        await hire(broker, ttl=0.0, words=WORDS)
        await broker.reclaim(now=NOW)
        assert await broker.series(60, 0, inf) == [dated(replace(one, count=2), 60)]
        (fault,) = await broker.faults()
        assert (fault.count, fault.state, fault.job, fault.versions) == (2, "open", claim.id, ["1"])


class Listing(Chapter):
    """`faults` and `mark`."""

    async def test_sightings_add_up(self, broker: Broker, second: Broker) -> None:
        """Sightings of one fingerprint add up, the latest being the fault's example."""
        first, then = sighting(count=3, final=1, version="1"), sighting(count=2, message="yes", version="2")
        await broker.record("w", 1, failed(first), now=NOW)
        assert await second.faults() == [seen(None, first, NOW)]
        await second.record("x", 1, failed(then, then), now=NOW + 2.5)
        right = seen(seen(seen(None, first, NOW), then, NOW + 2.5), then, NOW + 2.5)
        assert (right.count, right.final, right.message, right.versions) == (7, 1, "yes", ["1", "2"])
        assert await broker.faults() == [right]

    async def test_the_latest_versions_are_kept(self, broker: Broker) -> None:
        """Its VERSIONS latest versions are kept, each once."""
        for number in range(VERSIONS + 2):
            await broker.record("w", number + 1, failed(sighting(version=f"v{number}"), sighting()), now=NOW)
        await broker.record("w", 100, failed(sighting(version="v5")), now=NOW)
        (fault,) = await broker.faults()
        assert fault.versions == [*(f"v{n}" for n in range(2, VERSIONS + 2) if n != 5), "v5"]

    async def test_texts_are_kept_as_they_are(self, broker: Broker) -> None:
        """The latest being the fault's example: whatever its message."""
        odd = Sighting("f", "a\0b", "é", "", 2**40, 0, "", "\0\n日本 'x' {1} \\", "")
        await broker.record("w", 1, failed(odd), now=NOW)
        assert await broker.faults() == [seen(None, odd, NOW)]

    async def test_faults_in_pages(self, broker: Broker) -> None:
        """The one seen latest first (of those seen at once the larger fingerprint), at most `limit`. `before` continues a listing."""
        for number, (names, at) in enumerate((("ab", NOW + 1), ("cde", NOW), ("f", NOW + 0.25)), 1):
            await broker.record("w", number, failed(*map(sighting, names)), now=at)
        found: list[str] = []
        before: tuple[float, str] | None = None
        while page := await broker.faults(2, before=before):
            assert len(page) <= 2
            found += [one.fingerprint for one in page]
            before = page[-1].last_seen, page[-1].fingerprint
        assert found == ["b", "a", "f", "e", "d", "c"]
        assert [one.fingerprint for one in await broker.faults(1, before=(NOW + 0.5, "x"))] == ["f"]

    async def test_faults_are_bounded(self, broker: Broker) -> None:
        """At most FAULTS faults are kept: the one seen longest ago goes first."""
        names = [f"{n:04}" for n in range(FAULTS)]
        await broker.record("w", 1, failed(*map(sighting, names)), now=NOW)
        await broker.record("w", 2, failed(sighting(names[0]), sighting("x"), sighting("y")), now=NOW + 1)
        found = [one.fingerprint for one in await broker.faults(FAULTS + 10)]
        assert found == ["y", "x", names[0], *names[:2:-1]]
        await broker.record("w", 3, failed(sighting(names[1])), now=NOW + 2)
        assert (await broker.faults(1))[0].count == 1, "what is gone begins anew"

    async def test_mark(self, broker: Broker, second: Broker) -> None:
        """Note what a person says of these faults, until when if they are snoozed; answers which of them there are."""
        await broker.record("w", 1, failed(*map(sighting, "abc")), now=NOW)
        assert await second.mark(["b", "x", "a", "b"], "resolved") == ["b", "a"]
        assert await second.mark(["c"], "snoozed", NOW + 60.5) == ["c"]
        assert await second.mark([], "open") == []
        assert [(one.state, one.until) for one in await broker.faults()] == [
            ("snoozed", NOW + 60.5),
            ("resolved", 0.0),
            ("resolved", 0.0),
        ]
        assert {(one.count, one.last_seen) for one in await broker.faults()} == {(1, NOW)}, "nothing else is different"
        await broker.mark(["a"], "open")
        await broker.mark(["b"], "snoozed", inf)
        stands = {one.fingerprint: (one.state, one.until) for one in await broker.faults()}
        assert stands == {"a": ("open", 0.0), "b": ("snoozed", inf), "c": ("snoozed", NOW + 60.5)}

    async def test_one_more_failure_opens_a_fault(self, broker: Broker) -> None:
        """A sighting opens a resolved fault again, and a snoozed one whose time is over."""
        await broker.record("w", 1, failed(*map(sighting, "abc")), now=NOW)
        await broker.mark(["a"], "resolved")
        await broker.mark(["b"], "snoozed", NOW + 10)
        await broker.mark(["c"], "snoozed", NOW + 10.5)
        await broker.record("w", 2, failed(*map(sighting, "abc")), now=NOW + 10)
        stands = {one.fingerprint: (one.state, one.until, one.count) for one in await broker.faults()}
        assert stands == {"a": ("open", 0.0, 2), "b": ("open", 0.0, 2), "c": ("snoozed", NOW + 10.5, 2)}
