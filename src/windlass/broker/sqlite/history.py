"""What the verbs of the history and of the book do inside a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import inf

import msgspec
from msgspec.structs import replace

from windlass.broker.damaged import decoder
from windlass.broker.sqlite.schema import as_json
from windlass.broker.sqlite.writer import Transaction, Verb
from windlass.core.job import JobId
from windlass.core.measures import FAULTS, STEPS, Fault, Mark, Report, Rollup, folded, report_of, seen, span
from windlass.core.outcome import Outcome
from windlass.errors import StoreCorrupt

_encode = msgspec.msgpack.encode
_rollups = decoder(msgspec.msgpack.Decoder(list[Rollup]).decode)
_fault = decoder(msgspec.msgpack.Decoder(Fault).decode)
"""What is stored, decoded. What cannot be read counts as nothing: it is passed over, and written anew."""


def _record(tx: Transaction, told: tuple[str, int, Report, float | None]) -> bool:
    writer, number, report, at = told
    now = tx.now(at)
    if not tx.run("record", writer, number, now).rowcount:
        return False
    _add(tx, report, now)
    return True


def tell(tx: Transaction, ended: Mapping[JobId, Outcome], now: float) -> None:
    """Add to the history what became of jobs for which no worker speaks."""
    if ended:
        jobs = tx.run("tell", as_json(ended)).fetchall()
        _add(tx, report_of((*job, ended[job[0]]) for job in jobs), now)


def _add(tx: Transaction, report: Report, now: float) -> None:
    for step in STEPS if report.rollups else ():
        place = step, span(now, step)
        known = list[Rollup]()
        with suppress(StoreCorrupt):
            for (stored,) in tx.run("record_known", *place).fetchall():
                known = _rollups(stored)
        tx.run("record_span", *place, _encode(folded(known, report.rollups)))
    for one in report.sightings:
        fault = seen(_known(tx, one.fingerprint), one, now)
        tx.run("record_fault", fault.fingerprint, now, _encode(fault))
    if report.sightings:
        tx.run("record_faults", FAULTS)


def _known(tx: Transaction, fingerprint: str) -> Fault | None:
    """The fault, if there is one that can be read."""
    with suppress(StoreCorrupt):
        for (stored,) in tx.run("fault", fingerprint).fetchall():
            return _fault(stored)
    return None


def _series(tx: Transaction, wanted: tuple[int, float, float, str | None, str | None]) -> list[Rollup]:
    step, since, until, queue, task = wanted
    found = list[Rollup]()
    for at, stored in tx.run("series", step, since, until).fetchall():
        with suppress(StoreCorrupt):
            chosen = (one for one in _rollups(stored) if queue in (None, one.queue) and task in (None, one.task))
            found += [replace(one, at=at, step=step) for one in sorted(chosen, key=lambda one: one.key)]
    return found


def _faults(tx: Transaction, wanted: tuple[int, tuple[float, str] | None]) -> list[Fault]:
    limit, before = wanted
    found = list[Fault]()
    for (stored,) in tx.run("faults", *(before or (inf, "")), limit).fetchall():
        with suppress(StoreCorrupt):
            found.append(_fault(stored))
    return found


def _mark(tx: Transaction, wish: tuple[Sequence[str], Mark, float]) -> list[str]:
    fingerprints, state, until = wish
    known = [fault for one in dict.fromkeys(fingerprints) if (fault := _known(tx, one))]
    for fault in known:
        marked = replace(fault, state=state, until=until)
        tx.run("record_fault", fault.fingerprint, fault.last_seen, _encode(marked))
    return [fault.fingerprint for fault in known]


def prune(tx: Transaction, now: float, limit: int, memory: float) -> None:
    """Forget old spans, at most `limit` of each step, and writers that told nothing for `memory` seconds."""
    for step, keep in STEPS.items():
        tx.run("prune_spans", step, now - keep - step, limit)
    tx.run("prune_writers", now, memory)


def _put(tx: Transaction, given: tuple[str, str, bytes, int | None]) -> None:
    *leaf, most = given
    tx.run("put", *leaf)
    if most is not None:
        tx.run("put_most", leaf[0], most)


def _leaf(tx: Transaction, wanted: tuple[str, str]) -> bytes | None:
    row = tx.run("leaf", *wanted).fetchone()
    return None if row is None else row[0]


def _leaves(tx: Transaction, wanted: tuple[str, str | None, int, bool]) -> list[tuple[str, bytes]]:
    *where, newest_first = wanted
    return tx.run("leaves_newest" if newest_first else "leaves", *where).fetchall()


def _remove(tx: Transaction, wanted: tuple[str, str]) -> bool:
    return tx.run("remove", *wanted).rowcount > 0


record, mark, put, remove = Verb.each(_record), Verb.each(_mark), Verb.each(_put), Verb.each(_remove)
series, faults, leaf, leaves = Verb.each(_series), Verb.each(_faults), Verb.each(_leaf), Verb.each(_leaves)
