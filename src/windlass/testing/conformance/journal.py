"""Chapter: a job's journal."""

from __future__ import annotations

from windlass.broker.port import Broker
from windlass.core.ids import new_id
from windlass.core.job import Entry, Progress
from windlass.core.outcome import Failed
from windlass.core.state import State
from windlass.testing.conformance.kit import AGAIN, DONE, ERROR, NOW, Chapter, end, entry, look, start, take


class Journalling(Chapter):
    """`append` and `read`."""

    async def test_entries_come_back_as_they_were_given(self, broker: Broker, second: Broker) -> None:
        """The entries, in order, and where the job stands."""
        claim = await start(broker)
        given = [Entry("log", b'{"level":"info","message":"\xc3\xa9"}', NOW + n, attempt=1) for n in range(3)]
        assert await broker.append([(claim, given)], now=NOW) == [True]
        reading = await second.read(claim.id)
        assert reading is not None
        assert [(one.kind, one.data, one.at, one.attempt) for one in reading.entries] == [
            (one.kind, one.data, one.at, one.attempt) for one in given
        ]
        assert (reading.state, reading.attempt, reading.end) == (State.RUNNING, 1, None)

    async def test_numbered_from_1_over_all_attempts(self, broker: Broker) -> None:
        """Numbered from 1 within the job, without gaps, over all its attempts, however the calls were cut."""
        claim, other = await start(broker), await start(broker)
        await broker.append([(claim, [entry(), entry()]), (other, [entry()]), (claim, [entry()])], now=NOW)
        await end(broker, claim, AGAIN)
        (claim,) = await take(broker)
        await broker.append([(claim, [entry("chunk"), entry()])], now=NOW)
        reading = await broker.read(claim.id)
        assert reading is not None
        assert [one.seq for one in reading.entries] == [1, 2, 3, 4, 5]

    async def test_a_revived_end_keeps_its_number(self, broker: Broker) -> None:
        """An end counts as one more entry: once taken back by a revive, its number is not given to another."""
        claim = await start(broker)
        await broker.append([(claim, [entry(), entry()])], now=NOW)
        await end(broker, claim, Failed(ERROR))
        await broker.revive([claim.id], now=NOW)
        await broker.cancel([claim.id], now=NOW)
        await broker.revive([claim.id], now=NOW)
        (claim,) = await take(broker)
        await broker.append([(claim, [entry(), entry()])], now=NOW)
        reading = await broker.read(claim.id)
        assert reading is not None
        assert [one.seq for one in reading.entries] == [1, 2, 5, 6]

    async def test_past_a_number(self, broker: Broker) -> None:
        """The entries past number `after`; without a wait, none is an answer."""
        claim = await start(broker)
        await broker.append([(claim, [entry() for _ in range(12)])], now=NOW)
        for after in (0, 9, 10, 12, 99):
            reading = await broker.read(claim.id, after=after)
            assert reading is not None
            assert [one.seq for one in reading.entries] == list(range(after + 1, 13))
            assert reading.last == 12

    async def test_the_number_given_last(self, broker: Broker) -> None:
        """`last` is 0 before the first entry, counts entries that are not kept any more, and the end of a run that was revived."""
        claim = await start(broker)
        lasts = [await _last(broker, claim.id)]
        await broker.append([(claim, [entry("progress", b'{"current":%d}' % n) for n in (1, 2)])], now=NOW)
        lasts.append(await _last(broker, claim.id))
        await end(broker, claim, Failed(ERROR))
        lasts.append(await _last(broker, claim.id))
        await broker.revive([claim.id], now=NOW)
        lasts.append(await _last(broker, claim.id))
        assert lasts == [0, 2, 2, 3]

    async def test_only_the_latest_progress_and_checkpoint(self, broker: Broker) -> None:
        """Of "progress" and of "checkpoint" entries only the latest of the job is kept; all others stay."""
        claim = await start(broker)
        kinds = ["progress", "log", "checkpoint", "progress", "checkpoint", "chunk", "progress", "progress"]
        written = [entry(kind, b'{"current":%d}' % n) for n, kind in enumerate(kinds)]
        await broker.append([(claim, written[:2]), (claim, written[2:])], now=NOW)
        reading = await broker.read(claim.id)
        assert reading is not None
        kept = [(2, "log"), (5, "checkpoint"), (6, "chunk"), (8, "progress")]
        assert [(one.seq, one.kind) for one in reading.entries] == kept
        await broker.append([(claim, [entry()])], now=NOW)
        reading = await broker.read(claim.id, after=8)
        assert reading is not None
        assert [one.seq for one in reading.entries] == [9]

    async def test_a_repeat_is_harmless(self, broker: Broker, second: Broker) -> None:
        """Repeating an append is harmless, also with newer entries behind: it is answered as if nothing had happened before."""
        claim, other = await start(broker), await start(broker)
        first = [entry(data=b"1", number=1), entry("chunk", b"2", number=2)]
        newer = [*first, entry(data=b"3", number=3), entry("progress", b'{"current":5}', number=5)]
        for given in (first, first, newer, first, newer):
            assert await second.append([(claim, given), (other, given[:1])], now=NOW) == [True, True]
        await broker.append([(claim, newer), (claim, [entry(data=b"6", number=6), *newer])], now=NOW)
        assert await _data(broker, claim.id) == [b"1", b"2", b"3", b'{"current":5}', b"6"]
        assert (await _data(broker, other.id), await _last(broker, claim.id)) == ([b"1"], 5)

    async def test_a_late_request_changes_nothing(self, broker: Broker) -> None:
        """And late: what an older request holds replaces no newer checkpoint and no newer progress."""
        claim = await start(broker)
        older = [entry(kind, b'{"current":%d}' % n, number=n) for n, kind in enumerate(("checkpoint", "progress"), 1)]
        newer = [entry(kind, b'{"current":%d}' % n, number=n) for n, kind in enumerate(("checkpoint", "progress"), 3)]
        await broker.append([(claim, newer)], now=NOW)
        assert await broker.append([(claim, older)], now=NOW) == [True]
        assert await _data(broker, claim.id) == [b'{"current":3}', b'{"current":4}']
        assert (await look(broker, claim.id)).progress == Progress(4)
        assert await _last(broker, claim.id) == 2

    async def test_each_run_numbers_its_own(self, broker: Broker) -> None:
        """Under the same token: what a later run writes begins at 1 again."""
        claim = await start(broker)
        await broker.append([(claim, [entry(data=b"%d" % n, number=n) for n in (1, 2, 3)])], now=NOW)
        await end(broker, claim, AGAIN)
        (again,) = await take(broker)
        await broker.append([(again, [entry(data=b"4", number=1)])], now=NOW)
        await broker.append([(again, [entry(data=b"4", number=1), entry(data=b"5", number=2)])], now=NOW)
        assert await _data(broker, claim.id) == [b"1", b"2", b"3", b"4", b"5"]

    async def test_without_a_number(self, broker: Broker) -> None:
        """One without a number is always taken, and is in nobody's way."""
        claim = await start(broker)
        for _ in range(2):
            await broker.append([(claim, [entry(data=b"1", number=4), entry(data=b"0")])], now=NOW)
        await broker.append([(claim, [entry(data=b"2", number=5)])], now=NOW)
        assert await _data(broker, claim.id) == [b"1", b"0", b"0", b"2"]

    async def test_progress_is_seen_on_the_job(self, broker: Broker) -> None:
        """The job shows its latest progress, also over a retry."""
        claim = await start(broker)
        assert (await look(broker, claim.id)).progress is None
        for current in (40, 60):
            data = b'{"current":%d,"total":100,"message":"encoding"}' % current
            await broker.append([(claim, [entry("progress", data)])], now=NOW)
            assert (await look(broker, claim.id)).progress == Progress(current, 100, "encoding")
        await end(broker, claim, AGAIN)
        assert (await look(broker, claim.id)).progress == Progress(60, 100, "encoding")

    async def test_fenced(self, broker: Broker) -> None:
        """Iff its token is the live one; answers which were taken. A run that has ended writes no more."""
        over, going = await start(broker), await start(broker)
        await end(broker, over)
        pairs = [(over, [entry()]), (going, [entry()])]
        assert await broker.append(pairs, now=NOW) == [False, True]
        assert await broker.append([]) == []
        reading = await broker.read(over.id)
        assert reading is not None
        assert reading.entries == []

    async def test_a_finished_job_is_answered_with_its_end(self, broker: Broker) -> None:
        """A finished job is answered at once, with `end` set, and with the entries past `after`."""
        claim = await start(broker)
        await broker.append([(claim, [entry(), entry()])], now=NOW)
        await end(broker, claim, DONE)
        for after, seqs in ((0, [1, 2]), (1, [2]), (2, [])):
            reading = await broker.read(claim.id, after=after, wait=60.0)
            assert reading is not None
            assert [one.seq for one in reading.entries] == seqs
            assert reading.state is State.SUCCEEDED
            assert reading.end == await look(broker, claim.id)

    async def test_none_for_an_unknown_job(self, broker: Broker) -> None:
        """None for an unknown job, at once."""
        assert await broker.read(new_id(), wait=60.0) is None


async def _data(broker: Broker, job: str) -> list[bytes]:
    reading = await broker.read(job)
    assert reading is not None
    assert {one.number for one in reading.entries} == {0}
    return [one.data for one in reading.entries]


async def _last(broker: Broker, job: str) -> int:
    reading = await broker.read(job)
    assert reading is not None
    return reading.last
