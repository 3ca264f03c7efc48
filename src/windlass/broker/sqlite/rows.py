"""Jobs, looked up as decisions about them need them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from windlass.broker.damaged import decoder
from windlass.broker.sqlite.moves import Asked, Row
from windlass.broker.sqlite.schema import as_json, sql
from windlass.broker.sqlite.writer import Transaction
from windlass.core import letters
from windlass.core.job import JobId

rows_of = decoder(msgspec.json.Decoder(list[Row]).decode)
asked_of = decoder(msgspec.json.Decoder(list[tuple[int, Asked]]).decode)
"""Both raise `StoreCorrupt`."""


def look(tx: Transaction, chosen: str, *values: object) -> list[Row]:
    """The jobs that the statement `chosen` names, by their places."""
    plain, asking = tx.con.execute(sql("look", chosen=sql(chosen)), values).fetchone()
    rows, asked = rows_of(plain), dict(asked_of(asking))
    return [replace(row, asked=asked.get(row.place)) for row in rows] if asked else rows


def parts_of(tx: Transaction, rows: Sequence[Row]) -> list[Row]:
    """Those that these wait for, as far as they were never started."""
    asked = {row.id: row.asked for row in rows if row.asked}
    wanted = {part: job for job, it in asked.items() for part in letters.parts(job, it.terms, it.started)}
    found = by_id(tx, "by_id", list(wanted)) if wanted else []
    return [row for row in found if row.asked and row.asked.terms.to == (wanted[row.id],)]


def by_id(tx: Transaction, chosen: str, ids: Sequence[JobId]) -> list[Row]:
    """The jobs among `ids` that `chosen` admits, in the order asked."""
    rows = {row.id: row for row in look(tx, chosen, as_json(ids))}
    return [rows[job] for job in dict.fromkeys(ids) if job in rows]
