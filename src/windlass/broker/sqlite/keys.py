"""What becomes of a job whose id or key is in the way of a new one. The index job_key finds who has a key, or had it last."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from windlass.broker.sqlite import gates
from windlass.broker.sqlite.order import terms_of
from windlass.broker.sqlite.writer import Transaction
from windlass.core.gates import Stander, uses_of
from windlass.core.job import JobId, NewJob, Placed
from windlass.core.keys import held_until, holds, let_go, put_off, replaceable
from windlass.core.state import State
from windlass.core.terms import Terms


def said(terms: Terms | None, now: float) -> tuple[bytes | None, JobId | None, float | None]:
    """Terms as they are stored, their root, and until when they hold the key of a job that comes now."""
    return (None, None, None) if terms is None else (msgspec.json.encode(terms), terms.root, held_until(terms, now))


class Holder(NamedTuple):
    """The job that has a key, or had it last."""

    place: int
    id: JobId
    queue: str
    lane: str
    priority: int
    state: str
    started: int
    finished: int
    created_at: float
    terms: bytes | None
    gate: str | None

    def holds(self, now: float) -> bool:
        """Whether it has the key still."""
        return holds(terms_of(self.terms), self.created_at, bool(self.started), bool(self.finished), now)

    @property
    def stander(self) -> Stander:
        """The job as gates see it."""
        uses = uses_of(terms_of(self.terms))
        return Stander(self.id, uses, self.priority, 0.0, self.queue, at=self.gate if self.state == "waiting" else None)


def met(tx: Transaction, new: NewJob, row: tuple[Any, ...]) -> Placed | None:
    """The job whose id or key is in the way of a new one (a row as `enqueue` has it), or which becomes it; None: there is none."""
    replaces = new.terms is not None and new.terms.replaces
    if found := tx.run("keys_known", new.id, replaces).fetchone():
        return Placed(found[0], State(found[1]), fresh=False)
    old = holder(tx, new.key, row[6])
    if old is None:
        return None
    if not old.started and not old.finished and replaceable(terms_of(old.terms), new.terms):
        return _replace(tx, old, new, row)
    return Placed(old.id, State(old.state), fresh=False)


def holder(tx: Transaction, key: str | None, now: float, besides: JobId = "") -> Holder | None:
    """The job that has the key; one whose time is over lets go of it."""
    found = tx.run("keys_holder", key).fetchone()
    if found is None:
        return None
    one = Holder(*found)
    if one.id != besides and not one.holds(now):
        tx.run("keys_let_go", one.id, 1)
        return None
    return one


def taken_back(tx: Transaction, job: JobId, key: str, now: float) -> bool:
    """Whether a job that is revived may have its key again, or needs it no more."""
    started, terms = tx.run("keys_came", job).fetchone()
    gone = let_go(terms_of(terms), bool(started))
    other = None if gone else holder(tx, key, now, job)
    if other is not None and other.id != job:
        return False
    tx.run("keys_let_go", job, int(gone))
    return True


def _replace(tx: Transaction, old: Holder, new: NewJob, row: tuple[Any, ...]) -> Placed:
    """Let a job that waits become the new one."""
    now, state, priority = row[6], State(old.state), old.priority
    run_at = put_off(row[7], new.terms, old.created_at, now)
    if state is State.READY:
        tx.order.give_back(old.queue, old.lane, priority, terms_of(old.terms))
    limited = gates.newcomer(new, run_at, old.id)
    became = State.SCHEDULED if run_at > now else State.WAITING if limited.uses else State.READY
    if old.stander.uses:
        gates.at(tx, now).go(old.stander, state, ends=True)
    if became is State.WAITING:
        gates.enter(tx, [limited], now)
    rank = tx.order.place(new.queue, new.lane, new.priority, run_at, new.terms) if became is State.READY else (0, False)
    tx.run("move_places", 1)
    asked, _, held = said(new.terms, old.created_at)
    tx.run("keys_replace", old.id, *row[:5], became.value, now, run_at, *row[8:], asked, held, *rank)
    tx.count(old.queue, state, -1)
    tx.count(new.queue, became, 1)
    tx.changed.append(old.id)
    if became is State.READY:
        tx.ready.add(new.queue)
    return Placed(old.id, became, fresh=False, replaced=True)
