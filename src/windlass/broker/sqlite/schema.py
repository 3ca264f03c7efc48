"""The SQL: statements by name, connections as they must be, and the schema with its way forward."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import msgspec

from windlass.broker.sqlite.place import Place
from windlass.errors import ConfigurationError, StoreRefused, StoreTooNew

PATIENCE = 30.0
"""Seconds that a call waits for a lock that others hold."""
APPLICATION_ID = 0x574E444C  # "WNDL"
OLDEST = (3, 38, 0)  # JSON built in, with ->>
SAFE = (3, 51, 3)
"""Before this version, connections that checkpoint at once can damage a write-ahead log."""
LARGEST_CHUNK = 256
_HERE = Path(__file__).parent


@cache
def sql(name: str, **slots: str) -> str:
    """The statement `name`, its {slots} filled in. Comments stay in the file."""
    text = (_HERE / "statements" / f"{name}.sql").read_text()
    return "\n".join(line for line in text.splitlines() if not line.startswith("--")).format(**slots)


@cache
def sql_rows(name: str, width: int, rows: int) -> str:
    """The statement `name` for as many rows of `width` values."""
    return sql(name, rows=", ".join([f"({', '.join('?' * width)})"] * rows))


def write_rows(con: sqlite3.Connection, name: str, rows: Sequence[Sequence[object]]) -> None:
    """Run `name` for all rows, many at once: one step of SQLite each time, and few different statements to prepare."""
    for start in range(0, len(rows), LARGEST_CHUNK):
        chunk = rows[start : start + LARGEST_CHUNK]
        width, size = len(chunk[0]), 1 << (len(chunk) - 1).bit_length()
        values = [value for row in chunk for value in row]
        con.execute(sql_rows(name, width, size), values + [None] * (width * (size - len(chunk))))


def as_json(values: Iterable[object]) -> str:
    """A list for json_each."""
    return msgspec.json.encode(list(values)).decode()


def connect(place: Place) -> sqlite3.Connection:
    """A connection with everything set that does not stay in the file. Only a checkpointer may checkpoint: see `writer`.

    The file may be anybody's: nothing in it can name another file or call what is not harmless, and text that is none is read as such.
    """
    con = sqlite3.connect(place.path, timeout=PATIENCE, isolation_level=None, cached_statements=256)
    con.text_factory = _text
    try:
        con.execute(f"PRAGMA synchronous = {'FULL' if place.full else 'NORMAL'}")
        con.execute("PRAGMA wal_autocheckpoint = 0")
        con.execute("PRAGMA trusted_schema = OFF")
        con.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        if sys.version_info >= (3, 12):
            con.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
    except BaseException:
        con.close()
        raise
    return con


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def migrations() -> list[str]:
    """The steps of the schema, the first from nothing to version 1."""
    return [path.read_text() for path in sorted((_HERE / "migrations").glob("*.sql"))]


def prepare(con: sqlite3.Connection, place: Place, steps: Sequence[str]) -> None:
    """Bring the file to the newest version; whoever calls this holds the write lock. Each step happens entirely or not at all."""
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigurationError(
            f"SQLite {sqlite3.sqlite_version} is too old; Python must come with {'.'.join(map(str, OLDEST))} or newer"
        )
    owner: int = con.execute("PRAGMA application_id").fetchone()[0]
    version: int = con.execute("PRAGMA user_version").fetchone()[0]
    tables: int = con.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    strange = con.execute("SELECT group_concat(name) FROM sqlite_schema WHERE type IN ('trigger', 'view')").fetchone()[
        0
    ]
    if owner != APPLICATION_ID and (owner or version or tables):
        raise StoreRefused(f"{place.path} is another program's database; name a file that does not exist yet")
    if strange is not None:
        raise StoreRefused(
            f"{place.path} holds triggers or views ({strange}), and Windlass makes none: drop them if they are yours"
        )
    if version > len(steps):
        raise StoreTooNew(
            f"{place.path} was written by a newer Windlass (schema {version}, this one knows {len(steps)}): upgrade this program;"
            " the store is left as it is"
        )
    mode: str = con.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreRefused(f"{place.path} cannot have a write-ahead log (journal mode {mode}); put it on a local disk")
    for number, step in enumerate(steps[version:], version + 1):
        try:
            con.executescript(
                f"BEGIN IMMEDIATE; {step}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT"
            )
        except BaseException:
            if con.in_transaction:
                con.execute("ROLLBACK")
            raise
