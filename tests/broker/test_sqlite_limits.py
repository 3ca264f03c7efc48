"""Limits in SQLite: what time brings, what nobody needs any more, records that somebody else wrote, and how they are looked up."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from windlass.broker.sqlite import schema
from windlass.broker.sqlite.broker import SqliteBroker
from windlass.core.job import Card
from windlass.core.terms import Use
from windlass.testing.conformance.kit import DONE, NOW, add, hire, take
from windlass.testing.conformance.limits import ONE, counts, put, states, using


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[SqliteBroker]:
    broker = SqliteBroker(f"sqlite:///{tmp_path}/jobs.db")
    await broker.open()
    yield broker
    await broker.close()


@pytest.fixture
def con(broker: SqliteBroker, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """What somebody else reads and writes."""
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None, timeout=10.0)) as con:
        yield con


async def test_a_promote_waits_until_the_next_one_may_pass(broker: SqliteBroker) -> None:
    """Or a rate would be kept only as well as somebody looks."""
    await broker.beat("w", Card(host="here", pid=1), 60.0)
    use = Use("openai", rate=10.0)
    first, second = [one.id for one in await broker.enqueue([using(use), using(use)])]
    assert [one.id for one in await broker.claim(["default"], {"loop": 9}, "w")] == [first]
    assert [one.id for one in await asyncio.wait_for(broker.promote(wait=60.0), 20.0)] == [second]


async def test_nothing_is_left_behind(broker: SqliteBroker, con: sqlite3.Connection) -> None:
    """When nobody needs a limit any more, no row and no mark of it is there."""
    await hire(broker)
    await put(broker, ONE, Use("slow", rate=1.0, running=1), many=3)
    await put(broker, Use("order", ordered=True), many=2)
    while claims := await take(broker, now=NOW + 1):
        await broker.settle([(claim, DONE) for claim in claims], now=NOW + 1)
        await broker.promote(now=NOW + 9)
    await broker.prune(now=NOW + 20)
    assert con.execute("SELECT count(*) FROM gate").fetchone() == (0,)
    assert con.execute("SELECT count(*) FROM job WHERE gate IS NOT NULL").fetchone() == (0,)


@pytest.mark.parametrize("change", ["UPDATE gate SET data = x'c1'", "DELETE FROM gate"])
async def test_a_gate_that_cannot_be_read_is_an_empty_one(
    broker: SqliteBroker, con: sqlite3.Connection, change: str
) -> None:
    """Jobs go on; what was held then is not known any more."""
    mine = await put(broker, ONE, many=2)
    con.execute(change)
    mine += await put(broker, ONE)
    assert await states(broker, mine) == "re re wa"
    await hire(broker)
    claims = await take(broker)
    assert (await broker.settle([(claim, DONE) for claim in claims], now=NOW))[0] == [True, True]
    assert await states(broker, mine) == "su su re"
    assert await counts(broker) == (1, 0, 0)


async def test_terms_that_cannot_be_read_limit_nothing(broker: SqliteBroker, con: sqlite3.Connection) -> None:
    """A job whose terms were damaged is in nobody's way."""
    mine = await put(broker, ONE, many=3)
    con.execute("UPDATE job SET terms = x'7b' WHERE id = ?", (mine[1],))
    plain = await add(broker)
    await hire(broker)
    claims = await take(broker)
    assert {claim.id for claim in claims} == {mine[0], plain}
    _, ready = await broker.settle([(claim, DONE) for claim in claims], now=NOW)
    assert [one.id for one in ready] == mine[2:]
    assert await counts(broker) == (1, 0, 0)


@pytest.mark.parametrize(
    "name", ["gate_known", "gate_list", "gate_opening", "gate_prune", "gate_line", "gate_passed", "gate_next"]
)
async def test_no_look_scans(con: sqlite3.Connection, name: str) -> None:
    statement = schema.sql(name)
    values = ["x"] * sum(f"?{number}" in statement for number in range(1, 6))
    steps = [row[3] for row in con.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()]
    assert any(step.startswith("SEARCH") for step in steps)
    assert not any(step.startswith(("SCAN gate", "SCAN job")) for step in steps)
