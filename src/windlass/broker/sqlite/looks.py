"""What the reader does: jobs, journals, counts and workers, each from one snapshot."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from windlass.broker.damaged import decoder, progress, unreadable
from windlass.broker.sqlite.schema import sql
from windlass.broker.sqlite.verbs import as_json, card_of
from windlass.broker.sqlite.writer import Transaction, Verb
from windlass.core.job import Entry, Job, JobId, QueueInfo, Reading, Worker
from windlass.core.outcome import ErrorInfo
from windlass.core.state import State
from windlass.errors import StoreCorrupt

_entries = msgspec.json.Decoder(list[tuple[str, str, float, int, int]])


RARE = ("scheduled", "parked", "failed", "cancelled")
"""The states of the index `job_rare`, as it names them: SQLite uses it for nothing else."""
FEW = 5000
"""Jobs that are sorted rather than found by a walk through all, newest first."""


def _jobs(tx: Transaction, where: str, values: Sequence[object], source: str = "") -> list[Job]:
    return [_seen(row) for row in tx.con.execute(sql("find", where=where, source=source), values).fetchall()]


def _seen(row: Sequence[Any]) -> Job:
    """A job, readable or not."""
    try:
        return decoded(row)
    except StoreCorrupt:
        return unreadable(row[0], row[-2])


@decoder
def decoded(row: Sequence[Any]) -> Job:
    """The job of a row of `find`. Raises `StoreCorrupt`."""
    names = "id task queue lane state priority attempt crashes created_at run_at started_at finished_at expires_at key worker"
    fields = dict(
        zip([*names.split(), "cancelling", "reason", "error", "progress", "body", "result"], row, strict=True)
    )
    for name in ("created_at", "run_at", "started_at", "finished_at", "expires_at"):
        fields[name] = None if fields[name] is None else _date(fields[name])
    fields["state"], fields["cancelling"] = State(fields["state"]), bool(fields["cancelling"])
    if fields["error"] is not None:
        fields["error"] = msgspec.json.decode(fields["error"], type=ErrorInfo)
    fields["progress"] = progress(fields["progress"])
    return Job(**fields)


def _get(tx: Transaction, ids: Sequence[JobId]) -> list[Job | None]:
    found = {job.id: job for job in _jobs(tx, "id IN (SELECT value FROM json_each(?1))", [as_json(ids)])}
    return [found.get(job) for job in ids]


def _find(tx: Transaction, wanted: tuple[dict[str, str | None], JobId | None, int]) -> list[Job]:
    filters, before, limit = wanted
    given = {f"{column} = ?": value for column, value in filters.items() if value is not None}
    if before is not None:
        given["id < ?"] = before
    source, more = _way(tx, filters)
    where = " AND ".join([*given, *more]) or "true"
    return _jobs(tx, f"{where} ORDER BY id DESC LIMIT ?", [*given.values(), limit], source)


def _way(tx: Transaction, filters: dict[str, str | None]) -> tuple[str, list[str]]:
    """The index to walk, if not SQLite's own choice, and the condition that leads to one."""
    state = filters["state"]
    if filters["key"] is not None:
        return "", []
    if state in RARE:
        return "INDEXED BY job_rare", [f"state IN {RARE}"]
    if state in ("ready", "running") and tx.run("tally_of", state).fetchone()[0] <= FEW:
        return "", [f"place IN (SELECT place FROM job WHERE state = '{state}')"]
    filed = filters["queue"] is not None or filters["task"] is not None
    return "INDEXED BY job_filed" if filed else "", []


def _read(tx: Transaction, wanted: tuple[JobId, int]) -> Reading | None:
    row = tx.run("read", *wanted).fetchone()
    if row is None:
        return None
    state = _state(row[0])
    return Reading(state, row[1], entries(row[2]), _get(tx, [wanted[0]])[0] if state.finished else None, row[3])


@decoder
def _state(text: str) -> State:
    return State(text)


@decoder
def entries(text: str) -> list[Entry]:
    """The entries of a row of `read`. Raises `StoreCorrupt`."""
    rows = _entries.decode(text)
    return [Entry(kind, bytes.fromhex(data), at, attempt, seq) for kind, data, at, attempt, seq in rows]


def _tally(tx: Transaction, _: None) -> list[QueueInfo]:
    queues = dict[str, QueueInfo]()
    for queue, state, jobs, paused in tx.run("tally").fetchall():
        info = queues.setdefault(queue, QueueInfo(queue, {}, bool(paused)))
        if state is not None:
            info.counts[_state(state)] = jobs
    return list(queues.values())


def _workers(tx: Transaction, at: float | None) -> list[Worker]:
    found = list[Worker]()
    for name, card, until, jobs in tx.run("workers", tx.now(at)).fetchall():
        with suppress(StoreCorrupt):  # until its next beat
            found.append(Worker(name, card_of(card), _date(until), jobs))
    return found


def _date(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def _pragmas(tx: Transaction, _: None) -> dict[str, Any]:
    """What the live connection says of itself."""
    con: sqlite3.Connection = tx.con
    names = ("synchronous", "journal_mode", "user_version", "page_count", "page_size")
    file: str = con.execute("PRAGMA database_list").fetchone()[2]
    return {name: con.execute(f"PRAGMA {name}").fetchone()[0] for name in names} | {
        "log_bytes": os.stat(f"{file}-wal").st_size
    }


get, find, read = Verb.each(_get), Verb.each(_find), Verb.each(_read)
tally, workers, pragmas = Verb.each(_tally), Verb.each(_workers), Verb.each(_pragmas)
