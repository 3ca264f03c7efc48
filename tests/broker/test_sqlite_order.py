"""The order of the line and the keys in SQLite: what the file holds of them, what is read by an index, what an older file brings."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from windlass import failpoints
from windlass.broker.sqlite import schema
from windlass.broker.sqlite.broker import SqliteBroker
from windlass.core.ids import new_id
from windlass.core.order import rank
from windlass.core.state import State
from windlass.core.terms import Terms
from windlass.testing.conformance.kit import DONE, NOW, add, end, hire, job, take


def file(folder: Path) -> Path:
    return folder / "jobs.db"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[SqliteBroker]:
    broker = SqliteBroker(f"sqlite:///{file(tmp_path)}")
    await broker.open()
    yield broker
    await broker.close()


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.armed.clear()


def rows(folder: Path, statement: str, *values: object) -> list[Any]:
    """What a statement finds in the file."""
    con = sqlite3.connect(file(folder))
    try:
        return con.execute(statement, values).fetchall()
    finally:
        con.close()


async def test_sqlite_reckons_the_rank_of_a_plain_job_as_the_core_does(broker: SqliteBroker, tmp_path: Path) -> None:
    came = [NOW, 0.0, 0.3, 1e-6, 1.7e9 + 0.123457, 1.19e10, 2e10]
    wanted = {await add(broker, now=now, priority=n): rank(n, now) for now in came for n in range(10)}
    assert dict(rows(tmp_path, "SELECT id, rank FROM job")) == wanted
    assert not any(shifted for (shifted,) in rows(tmp_path, "SELECT shifted FROM job"))


async def test_an_older_file_keeps_its_order_and_its_keys(tmp_path: Path) -> None:
    """Ready jobs get their ranks, and keys stay taken."""
    folder = Path(schema.__file__).parent / "migrations"
    older = [path.read_text() for path in sorted(folder.glob("*.sql")) if path.name < "0006"]
    con = sqlite3.connect(file(tmp_path), isolation_level=None)
    con.execute("PRAGMA journal_mode = WAL")
    for step in older:
        con.executescript(step)
    stored = {name: new_id() for name in ("late", "early", "high", "low", "key")}
    for name, priority, run_at in (
        ("late", 5, NOW),
        ("early", 5, NOW - 9),
        ("high", 6, NOW),
        ("low", 4, NOW - 99),
        ("key", 0, NOW),
    ):
        con.execute(
            "INSERT INTO job (id, task, queue, lane, priority, state, crash_limit, created_at, run_at, keep, keep_failed, body, key)"
            " VALUES (?, 't', 'default', 'loop', ?, 'ready', 3, ?, ?, 9, 9, x'7b7d', ?)",
            (stored[name], priority, NOW, run_at, "k" if name == "key" else None),
        )
    con.execute("INSERT INTO tally VALUES ('default', 'ready', 5)")
    con.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    con.execute(f"PRAGMA user_version = {len(older)}")
    con.close()
    broker = SqliteBroker(f"sqlite:///{file(tmp_path)}")
    await broker.open()
    try:
        assert await add(broker, key="k") == stored["key"]
        assert [info.oldest for info in await broker.tally()] == [NOW - 99]
        await hire(broker)
        assert [claim.id for claim in await take(broker)] == [
            stored[name] for name in ("high", "early", "late", "low", "key")
        ]
    finally:
        await broker.close()


async def test_nothing_is_kept_of_groups_that_are_gone(broker: SqliteBroker, tmp_path: Path) -> None:
    """Also where weights are no round numbers, and where jobs went without a turn."""
    stored = [await add(broker, terms=Terms(group=f"g{n}", weight=n + 0.3)) for n in range(30)]
    await broker.cancel(stored[:10], now=NOW)
    await hire(broker)
    for claim in await take(broker):
        assert await end(broker, claim, DONE)
    assert len(rows(tmp_path, "SELECT * FROM turn")) == 30
    await broker.prune(now=NOW + 60)
    assert rows(tmp_path, "SELECT * FROM turn") == rows(tmp_path, "SELECT * FROM clock") == []


async def test_a_failure_before_the_commit_costs_no_turn(broker: SqliteBroker, tmp_path: Path) -> None:
    """Ranks, turns and keys are written with the job, or not at all."""
    terms = Terms(group="a", unique="started")
    await broker.enqueue([job(key="k", terms=terms)], now=NOW)
    before = rows(tmp_path, "SELECT * FROM turn")
    failpoints.armed["sqlite.before_commit"] = "raise"
    with pytest.raises(RuntimeError, match="before_commit"):
        await broker.enqueue([job(terms=terms), job(key="k", terms=Terms(replaces=True))], now=NOW)
    assert rows(tmp_path, "SELECT * FROM turn") == before
    assert rows(tmp_path, "SELECT became FROM job") == [(None,)]
    assert (await broker.tally())[0].counts == {State.READY: 1}


async def test_jobs_whose_key_is_taken_cost_no_turn(broker: SqliteBroker, tmp_path: Path) -> None:
    """Among many that are stored at once, too: those behind them take the turns."""
    jobs = [job(key=key, terms=Terms(group="a")) for key in ("k", None, "k", None, "k", None)]
    await broker.enqueue(jobs, now=NOW)
    await hire(broker)
    assert [claim.id for claim in await take(broker)] == [jobs[n].id for n in (0, 1, 3, 5)]
    ((place,),) = rows(tmp_path, "SELECT place FROM turn")
    assert place == NOW + 4 / 1024


@pytest.mark.parametrize(
    ("statement", "index", "values"),
    [
        (schema.sql("claim_lane"), "job_ready", ("w", 0.0, "default", "loop", 9)),
        (schema.sql("keys_holder"), "job_key", ("k",)),
        (schema.sql("keys_known"), "job_became", (new_id(), 1)),
        (schema.sql("tally_oldest"), "job_shifted", ()),
        (schema.sql("order_last"), "turn USING PRIMARY KEY", ("default", "loop", 5, "a")),
    ],
    ids=["claim", "keys_holder", "keys_known", "tally_oldest", "order_last"],
)
async def test_it_is_found_by_an_index(
    broker: SqliteBroker, tmp_path: Path, statement: str, index: str, values: tuple[Any, ...]
) -> None:
    """And nothing is sorted."""
    plan = [row[3] for row in rows(tmp_path, f"EXPLAIN QUERY PLAN {statement}", *values)]
    assert any(index in step for step in plan), plan
    assert not any(step.startswith("SCAN job") or "ORDER BY" in step for step in plan), plan
