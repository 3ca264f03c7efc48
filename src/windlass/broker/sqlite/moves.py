"""What a decision about a job is made from, and what becomes of the job: pure; `verbs` writes it down."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import msgspec

from windlass.core.gates import uses_of
from windlass.core.job import JobId
from windlass.core.outcome import (
    RELEASE_LIMIT,
    Cancelled,
    ErrorInfo,
    Failed,
    Outcome,
    Parked,
    Released,
    Retried,
    Snoozed,
    Suspended,
)
from windlass.core.state import State
from windlass.core.terms import Terms, Use


@lru_cache(256)  # of many jobs that are alike, one is read
def terms_in(hexed: str) -> Terms:
    """Terms in hexadecimal digits; none, if they cannot be read."""
    try:
        return msgspec.json.decode(bytes.fromhex(hexed), type=Terms)
    except (ValueError, RecursionError):
        return Terms()


class Asked(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of a job with terms only. letters: how many came. awaited: how many it awaits in all; None: as its terms say.

    gate: where it stands, if it waits at one; "" once it has passed.
    """

    task: str
    hexed: str
    started: bool
    letters: int
    awaited: int | None
    lane: str
    priority: int
    gate: str | None

    @property
    def terms(self) -> Terms:
        """Its terms; none, if they cannot be read."""
        return terms_in(self.hexed)

    @property
    def lacking(self) -> int:
        """How many letters are missing."""
        return (self.terms.letters if self.awaited is None else self.awaited) - self.letters


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a decision about a job is made from."""

    place: int
    id: JobId
    queue: str
    state: State
    attempt: int
    crashes: int
    crash_limit: int
    releases: int
    cancelling: bool
    run_at: float
    worker: str | None
    key: str | None
    asked: Asked | None = None

    @property
    def uses(self) -> tuple[Use, ...]:
        """What it takes of limits."""
        return () if self.asked is None else uses_of(self.asked.terms)


class Move(NamedTuple):
    """Where a job goes, and what is different then."""

    row: Row
    state: State
    queue: str
    run_at: float
    attempt: int
    crashes: int
    releases: int
    finished_at: float | None = None
    error: ErrorInfo | None = None
    reason: str | None = None
    expires: bool = True
    awaits: int | None = None


def after(row: Row, outcome: Outcome, now: float) -> Move:
    """What becomes of a running job that did not succeed."""
    if row.cancelling and isinstance(outcome, Retried | Snoozed | Suspended | Released | Parked):
        outcome = Cancelled("cancelled while running")
    move = stays(row, State.CANCELLED)
    match outcome:
        case Failed(error, crash):
            move = move._replace(state=State.FAILED, finished_at=now, error=error)
            return move._replace(attempt=row.attempt - crash, crashes=row.crashes + crash)
        case Retried(delay, error, crash, queue):
            move = due(move, delay, now)._replace(queue=queue or row.queue, error=error)
            return move._replace(attempt=row.attempt - crash, crashes=row.crashes + crash)
        case Snoozed(delay):
            return due(move, delay, now)._replace(attempt=row.attempt - 1)
        case Suspended():
            return _suspended(move, outcome, now)._replace(attempt=row.attempt - 1)
        case Released():
            attempt = row.attempt - (row.releases < RELEASE_LIMIT)
            return due(move, 0.0, now)._replace(attempt=attempt, releases=row.releases + 1)
        case Parked(reason):
            return move._replace(state=State.PARKED, reason=reason, attempt=row.attempt - 1)
        case Cancelled(reason):
            return move._replace(finished_at=now, reason=reason)
        case _:
            raise AssertionError(outcome)


def _suspended(move: Move, outcome: Suspended, now: float) -> Move:
    """Ready, if the letters are there."""
    move = move._replace(awaits=outcome.letters)
    there = (move.row.asked.letters if move.row.asked else 0) >= outcome.letters
    if outcome.delay is not None or there:
        return due(move, 0.0 if there else outcome.delay or 0.0, now)
    return move._replace(state=State.WAITING, run_at=now)


def due(move: Move, delay: float, now: float) -> Move:
    return move._replace(state=State.SCHEDULED if delay > 0 else State.READY, run_at=now + delay)


def stays(row: Row, state: State) -> Move:
    """To another state, and nothing else is different."""
    return Move(row, state, row.queue, row.run_at, row.attempt, row.crashes, row.releases)
