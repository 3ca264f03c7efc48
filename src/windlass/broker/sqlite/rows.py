"""Jobs, looked up as decisions about them need them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from windlass.broker.damaged import decoder
from windlass.broker.sqlite.moves import Row
from windlass.broker.sqlite.schema import as_json, sql
from windlass.broker.sqlite.writer import Transaction
from windlass.core.job import JobId

rows_of = decoder(msgspec.json.Decoder(list[Row]).decode)
"""Raises `StoreCorrupt`."""


def look(tx: Transaction, chosen: str, *values: object) -> list[Row]:
    """The jobs that the statement `chosen` names, by their places."""
    return rows_of(tx.con.execute(sql("look", chosen=sql(chosen)), values).fetchone()[0])


def by_id(tx: Transaction, chosen: str, ids: Sequence[JobId]) -> list[Row]:
    """The jobs among `ids` that `chosen` admits, in the order asked."""
    rows = {row.id: row for row in look(tx, chosen, as_json(ids))}
    return [rows[job] for job in dict.fromkeys(ids) if job in rows]
