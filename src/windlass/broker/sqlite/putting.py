"""Putting work in: what `enqueue` does inside a transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from windlass.broker.sqlite import gates, keys
from windlass.broker.sqlite.schema import as_json, write_rows
from windlass.broker.sqlite.writer import Transaction, Verb
from windlass.core.job import NewJob, Placed
from windlass.core.state import State

Enqueue = tuple[Sequence[NewJob], float | None]
NewRow = tuple[NewJob, tuple[Any, ...]]
"""A new job, and its values for the statement `enqueue`."""


def _enqueue(tx: Transaction, calls: list[Enqueue]) -> list[list[Placed]]:
    rows = list[NewRow]()
    for jobs, at in calls:
        now = tx.now(at)
        rows += [_new_row(new, now) for new in jobs]
    placed = list[Placed]()
    for start in range(0, len(rows), 256):
        placed += _insert(tx, rows[start : start + 256])
    answers = iter(_answered(tx, placed))
    return [[next(answers) for _ in jobs] for jobs, _ in calls]


def _answered(tx: Transaction, placed: list[Placed]) -> list[Placed]:
    """Who waited when it was placed is answered as it stands, once all have come to their gates."""
    if tx.gates is None:
        return placed
    gates.pass_on(tx)
    waiting = as_json(one.id for one in placed if one.state is State.WAITING)
    states = {job: State(state) for job, state in tx.run("enqueue_states", waiting)}
    return [replace(one, state=states[one.id]) if one.state is State.WAITING else one for one in placed]


def _new_row(new: NewJob, now: float) -> NewRow:
    run_at = now
    if new.delay or new.at is not None:
        run_at = max(now + new.delay, now if new.at is None else new.at)
    state = State.SCHEDULED if run_at > now else State.READY
    if new.terms is not None and (new.terms.letters or (new.terms.uses and state is State.READY)):
        state = State.WAITING
    expires_at = None if new.expires is None else now + new.expires
    named = new.id, new.task, new.queue, new.lane, new.priority
    return new, (
        *named,
        state.value,
        now,
        run_at,
        expires_at,
        new.key,
        new.crash_limit,
        new.keep,
        new.keep_failed,
        new.body,
    )


def _insert(tx: Transaction, rows: list[NewRow]) -> list[Placed]:
    """Insert all at once; when an id or a key is in the way of one (nothing is inserted then), one after the other."""
    asking = [new.terms for new, _ in rows if new.terms]
    before = tx.order.mark()
    if not any(terms.replaces for terms in asking):
        try:
            return _stored(tx, rows, bool(asking))
        except tx.con.IntegrityError:
            tx.order.reset(before)
    return [keys.met(tx, *row) or _stored(tx, [row], bool(asking))[0] for row in rows]


def _stored(tx: Transaction, rows: list[NewRow], asking: bool) -> list[Placed]:
    if asking or tx.order.lines:
        write_rows(tx.con, "enqueue_asking", list(_asking(tx, rows)))
    else:
        write_rows(tx.con, "enqueue", [row for _, row in rows])
    placed = list[Placed]()
    for new, row in rows:
        state = State(row[5])
        tx.count(new.queue, state, 1)
        if state is State.READY:
            tx.ready.add(new.queue)
        placed.append(Placed(new.id, state))
    if asking:
        limited = [gates.newcomer(new, row[7]) for new, row in rows if row[5] == "waiting" and _limited(new)]
        gates.enter(tx, limited, rows[-1][1][6])
    return placed


def _asking(tx: Transaction, rows: list[NewRow]) -> Iterator[tuple[Any, ...]]:
    """The values of the statement `enqueue_asking`. Many jobs of one call have the same terms."""
    terms, now, said = None, 0.0, keys.said(None, 0.0)
    for new, row in rows:
        if new.terms is not terms or row[6] != now:
            terms, now = new.terms, row[6]
            said = keys.said(terms, now)
        yield (*row, *said, *_rank(tx, new, row))


def _limited(new: NewJob) -> bool:
    """Whether a new job that waits does so for its limits."""
    return new.terms is not None and not new.terms.letters


def _rank(tx: Transaction, new: NewJob, row: tuple[Any, ...]) -> tuple[int, bool]:
    """The rank of a new job, if it is ready, and whether it says more than priority and due time."""
    return tx.order.place(new.queue, new.lane, new.priority, row[7], new.terms) if row[5] == "ready" else (0, False)


enqueue = Verb(_enqueue)
