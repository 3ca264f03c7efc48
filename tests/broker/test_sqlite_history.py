"""The history in SQLite: damaged records, a file from before it, and how its pages are found."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from math import inf
from pathlib import Path

import msgspec
import pytest

from windlass.broker.sqlite import schema, writer
from windlass.broker.sqlite.broker import SqliteBroker
from windlass.core.ids import new_id
from windlass.core.job import Card
from windlass.core.measures import Report, seen
from windlass.testing.conformance.kit import NOW, add, state
from windlass.testing.conformance.measures import dated, failed, rollup, sighting

REPORT = Report([rollup(), rollup(task="u")], [sighting(), sighting("g")])
WRONG = [b"", b"somebody was here", b"\x92\xc4", b"\x07", msgspec.msgpack.encode([["?"] * 8]), b"\x93\x01\x90\x90"]
damages = pytest.mark.parametrize("wrong", WRONG)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[SqliteBroker]:
    broker = SqliteBroker(f"sqlite:///{tmp_path}/jobs.db")
    await broker.open()
    yield broker
    await broker.close()


@pytest.fixture
def con(broker: SqliteBroker, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else's connection to the file."""
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as con:
        yield con


@damages
async def test_a_damaged_span_is_passed_over_and_begins_anew(
    broker: SqliteBroker, con: sqlite3.Connection, wrong: bytes
) -> None:
    await broker.record("w", 1, REPORT, now=NOW)
    con.execute("UPDATE span SET rollups = ? WHERE step = 60", [wrong])
    assert await broker.series(60, 0, inf) == []
    await broker.record("w", 2, REPORT, now=NOW)
    assert await broker.series(60, 0, inf) == [dated(rollup(), 60), dated(rollup(task="u"), 60)]
    assert [one.count for one in await broker.series(600, 0, inf)] == [2, 2]


@damages
async def test_a_damaged_fault_is_passed_over_and_begins_anew(
    broker: SqliteBroker, con: sqlite3.Connection, wrong: bytes
) -> None:
    await broker.record("w", 1, REPORT, now=NOW)
    con.execute("UPDATE fault SET data = ? WHERE fingerprint = 'f'", [wrong])
    right = seen(None, sighting("g"), NOW)
    assert await broker.faults() == [right]
    assert await broker.mark(["f", "g"], "open") == ["g"]
    await broker.record("w", 2, failed(sighting()), now=NOW + 1)
    assert await broker.faults() == [seen(None, sighting(), NOW + 1), right]


async def test_a_report_that_fails_half_way_has_not_happened(broker: SqliteBroker, con: sqlite3.Connection) -> None:
    con.execute("ALTER TABLE fault RENAME TO elsewhere")
    with pytest.raises(Exception, match="fault"):
        await broker.record("w", 1, REPORT, now=NOW)
    con.execute("ALTER TABLE elsewhere RENAME TO fault")
    assert await broker.series(60, 0, inf) == []
    assert await broker.record("w", 1, REPORT, now=NOW)


OLD_JOB = """
    INSERT INTO job (id, task, queue, lane, priority, state, created_at, run_at, crash_limit, keep, keep_failed, body)
    VALUES (?, 'a', 'default', 'loop', 5, 'ready', ?, ?, 3, 60, 60, x'7B7D')
"""


async def test_a_file_from_before_the_history_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"sqlite:///{tmp_path}/old.db"
    with monkeypatch.context() as before:
        before.setattr(writer, "migrations", lambda: schema.migrations()[:2])
        old = SqliteBroker(path)
        await old.open()
        await old.close()
    stored = new_id()
    with closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as con:
        con.execute(OLD_JOB, [stored, NOW, NOW])
        con.execute("INSERT INTO tally VALUES ('default', 'ready', 1)")
    new = SqliteBroker(path)
    await new.open()
    try:
        assert await new.record("w", 1, REPORT, now=NOW)
        assert len(await new.series(60, 0, inf)) == 2
        assert (await state(new, stored)).value == "ready"
        await new.beat("w", Card(host="here", pid=1), 60.0, now=NOW)
        later = await add(new, now=NOW + 1)
        claims = await new.claim(["default"], {"loop": 2}, "w", now=NOW + 1)
        assert [one.id for one in claims] == [stored, later], "it has got its place in the line"
    finally:
        await new.close()


@pytest.mark.parametrize("name", ["series", "faults", "leaves", "leaves_newest", "leaf", "fault", "record_known"])
async def test_no_look_scans(broker: SqliteBroker, con: sqlite3.Connection, name: str) -> None:
    statement = schema.sql(name)
    many = max(number for number in (1, 2, 3) if f"?{number}" in statement)
    plan = con.execute(f"EXPLAIN QUERY PLAN {statement}", ["x"] * many)
    steps = [row[3] for row in plan.fetchall()]
    assert steps
    assert all(step.startswith("SEARCH") for step in steps), steps
