"""What the reader does: jobs, journals and counts, each from one snapshot."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from windlass.broker.damaged import decoder, progress, unreadable
from windlass.broker.sqlite.schema import as_json, sql
from windlass.broker.sqlite.writer import Transaction, Verb
from windlass.core.job import Entry, Found, Job, JobId, QueueInfo, Reading
from windlass.core.outcome import ErrorInfo
from windlass.core.state import State
from windlass.core.terms import Terms
from windlass.errors import StoreCorrupt

_entries = msgspec.json.Decoder(list[tuple[str, str, float, int, int]])


COMMON = ("ready", "running", "succeeded")
RARE = "state <> 'ready' AND state <> 'running' AND state <> 'succeeded'"
"""The condition of the index `job_rare`, as it has it: SQLite uses it for nothing else."""
INDEXES = {
    "job_keyed": ("key", "id"),
    "job_root": ("root", "id"),
    "job_rare": ("state", "id"),
    "job_filed": ("id",),
    "job_id": ("id",),
}
"""What is walked, the newest first, and the columns that say where."""


def _jobs(tx: Transaction, where: str, values: Sequence[object], source: str = "") -> list[Job]:
    return [_seen(row) for row in tx.con.execute(sql("find", where=where, source=source), values).fetchall()]


def _seen(row: Sequence[Any]) -> Job:
    """A job, readable or not."""
    try:
        return decoded(row)
    except StoreCorrupt:
        return unreadable(row[0], row[-5])


@decoder
def decoded(row: Sequence[Any]) -> Job:
    """The job of a row of `find`. Raises `StoreCorrupt`."""
    names = (
        "id task queue lane state priority attempt crashes created_at run_at started_at finished_at expires_at key worker"
        " cancelling reason error progress body result letters awaited terms"
    )
    fields = dict(
        zip(
            names.split(),
            row,
            strict=True,
        )
    )
    for name in ("created_at", "run_at", "started_at", "finished_at", "expires_at"):
        fields[name] = None if fields[name] is None else _date(fields[name])
    fields["state"], fields["cancelling"] = State(fields["state"]), bool(fields["cancelling"])
    if fields["error"] is not None:
        fields["error"] = msgspec.json.decode(fields["error"], type=ErrorInfo)
    fields["progress"] = progress(fields["progress"])
    if fields["terms"] is not None:
        fields["terms"] = msgspec.json.decode(fields["terms"], type=Terms)
    if fields["awaited"] is None:
        fields["awaited"] = fields["terms"].letters if fields["terms"] else 0
    return Job(**fields)


def _get(tx: Transaction, ids: Sequence[JobId]) -> list[Job | None]:
    found = {job.id: job for job in _jobs(tx, "id IN (SELECT value FROM json_each(?1))", [as_json(ids)])}
    return [found.get(job) for job in ids]


Find = tuple[Collection[State], dict[str, str | None], int, int]


def _find(tx: Transaction, wanted: Find) -> Found:
    """Of each state by itself; then no further down than all of them were looked for."""
    states, filters, limit, scan = wanted
    given = {condition: value for condition, value in filters.items() if value is not None}
    parts = [_find_in(tx, {**given, "state = ?": state}, limit, scan) for state in set(states)]
    parts = parts or [_find_in(tx, given, limit, scan)]
    last = max((part.next for part in parts if part.next is not None), default=None)
    jobs = [job for part in parts for job in part.jobs if last is None or job.id >= last]
    jobs.sort(key=lambda job: job.id, reverse=True)
    return Found(jobs[:limit], jobs[limit - 1].id if len(jobs) > limit else last)


def _find_in(tx: Transaction, given: dict[str, str], limit: int, scan: int) -> Found:
    """It goes no further down than a walk along the index comes with `scan` jobs."""
    index, known = _way(tx, given, scan)
    source, last = f"INDEXED BY {index}" if index else "NOT INDEXED", None
    if index:
        walked = {condition: value for condition, value in given.items() if condition.split()[0] in INDEXES[index]}
        where = " AND ".join([*known, *walked]) or "true"
        row = tx.con.execute(sql("find_last", where=where, source=source), [*walked.values(), scan - 1]).fetchone()
        last = row and row[0]
    if last is not None:
        given = {**given, "id >= ?": last}
    where = " AND ".join([*known, *given]) or "true"
    jobs = _jobs(tx, f"{where} ORDER BY id DESC LIMIT ?", [*given.values(), limit + 1], source)
    return Found(jobs[:limit], jobs[limit - 1].id if len(jobs) > limit else last)


def _way(tx: Transaction, given: Mapping[str, str], scan: int) -> tuple[str, list[str]]:
    """The index to walk, and the condition that it needs; "": no walk, the jobs of the condition are so few that they are sorted."""
    state = given.get("state = ?")
    if "key = ?" in given:
        return "job_keyed", []
    if "root = ?" in given:
        return "job_root", []
    if state is not None and state not in COMMON:
        return "job_rare", [RARE]
    if state in ("ready", "running") and tx.run("tally_of", state).fetchone()[0] <= scan:
        return "", [f"place IN (SELECT place FROM job WHERE state = '{state:s}')"]
    return "job_filed" if "queue = ?" in given or "task = ?" in given else "job_id", []


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
    oldest = dict[str, float](tx.run("tally_oldest").fetchall())
    queues = dict[str, QueueInfo]()
    for queue, state, jobs, paused in tx.run("tally").fetchall():
        info = queues.setdefault(queue, QueueInfo(queue, {}, bool(paused), oldest.get(queue)))
        if state is not None:
            info.counts[_state(state)] = jobs
    return list(queues.values())


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
tally, pragmas = Verb.each(_tally), Verb.each(_pragmas)
