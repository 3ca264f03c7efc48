"""Jobs as decisions about them need them, and where they go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from windlass.broker.damaged import decoder
from windlass.broker.sqlite.schema import as_json, sql
from windlass.broker.sqlite.writer import Transaction
from windlass.core.gates import uses_of
from windlass.core.job import JobId
from windlass.core.outcome import ErrorInfo
from windlass.core.state import State
from windlass.core.terms import Terms, Use


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a decision about a job is made from. gate: where it stands, if it waits at one. terms: JSON."""

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
    priority: int = 0
    gate: str | None = None
    terms: str | None = None

    @property
    def uses(self) -> tuple[Use, ...]:
        """What it takes of limits."""
        return uses_in(self.terms)


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


rows_of = decoder(msgspec.json.Decoder(list[Row]).decode)
"""Raises `StoreCorrupt`."""
_terms = msgspec.json.Decoder(Terms).decode


def uses_in(terms: str | None) -> tuple[Use, ...]:
    """What these terms, as JSON, take of limits: nothing, if they cannot be read."""
    if terms is None or '"uses"' not in terms:
        return ()
    try:
        return uses_of(_terms(terms))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ()


def look(tx: Transaction, chosen: str, *values: object) -> list[Row]:
    """The jobs that the statement `chosen` names, by their places."""
    return rows_of(tx.con.execute(sql("look", chosen=sql(chosen)), values).fetchone()[0])


def by_id(tx: Transaction, chosen: str, ids: Sequence[JobId]) -> list[Row]:
    """The jobs among `ids` that `chosen` admits, in the order asked."""
    rows = {row.id: row for row in look(tx, chosen, as_json(ids))}
    return [rows[job] for job in dict.fromkeys(ids) if job in rows]


def stays(row: Row, state: State) -> Move:
    """To another state, and nothing else is different."""
    return Move(row, state, row.queue, row.run_at, row.attempt, row.crashes, row.releases)
