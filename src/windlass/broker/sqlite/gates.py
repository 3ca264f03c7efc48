"""Limits inside a transaction: gates are read when they are needed, many at once, and written once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from math import inf, isfinite
from typing import NamedTuple

import msgspec

from windlass.broker.sqlite.rows import Move, Row, look, stays, uses_in
from windlass.broker.sqlite.schema import as_json, write_rows
from windlass.broker.sqlite.writer import Transaction, Verb
from windlass.core.gates import Gate, Gates, Key, LimitInfo, Stander, key_of, shown, uses_of
from windlass.core.job import JobId, NewJob
from windlass.core.state import State
from windlass.core.terms import Meter, Use, gate_name

CHUNK = 32
"""Jobs of a gate that are read at once."""
PASSED = ""
"""The gate of whoever stands at none any more."""
_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(Gate).decode


class Stored(Gates):
    """The gates of one transaction."""

    def __init__(self, tx: Transaction, uses: Iterable[Use]) -> None:
        super().__init__()
        self._tx = tx
        self._stored = dict[str, bytes | None]()
        self._read = dict[str, Key | None]()  # up to where each line was read; None: to its end
        self.gone = set[JobId]()
        self.standers = dict[JobId, Stander]()
        self._ask({use.gate for use in uses})

    def _ask(self, names: Iterable[str]) -> None:
        unknown = [name for name in names if name not in self._stored]
        self._stored.update(dict.fromkeys(unknown))
        for name, data in self._tx.run("gate_known", as_json(unknown)).fetchall() if unknown else ():
            self._stored[name], self.gates[name] = data, _gate(data)

    def find(self, name: str) -> Gate | None:
        if name not in self._stored:
            self._ask([name])
        return self.gates.get(name)

    def load(self, name: str) -> None:
        line, gate = self.lines[name], self.gates[name]
        while (read := self._read.get(name, (-100, -inf, ""))) is not None and not (line and line[0][0] <= read):
            rows = look(self._tx, "gate_line", name, *read, CHUNK)
            last = read
            for row in rows:
                job = stander(row)
                if job.uses and row.id not in self.gone:
                    self.standers[row.id] = job
                    self.push(job, name, gate)
                last = max(last, key_of(job, name, gate))
            self._read[name] = last if len(rows) == CHUNK and last > read else None
            here = sum(job.at == name for _, _, job in line)
            gate.waiting = max(gate.waiting, here)  # more only if somebody else wrote here

    def save(self) -> None:
        """Write what has changed."""
        rows = list[tuple[str, bytes, float | None, float | None]]()
        for name, gate in self.gates.items():
            if (data := _encode(gate)) != self._stored.get(name):
                idle = gate.idle
                rows.append((name, data, gate.opens, None if idle is None or not isfinite(idle) else idle))
        write_rows(self._tx.con, "gate_save", rows)
        if gone := [name for name, data in self._stored.items() if data is not None and name not in self.gates]:
            self._tx.run("gate_drop", as_json(gone))


def _gate(data: bytes) -> Gate:
    """A gate that was stored; one that cannot be read counts as one that nobody has passed."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, ValueError):
        return Gate()


def stander(row: Row) -> Stander:
    """A job as gates see it."""
    at = row.gate if row.state is State.WAITING else None
    return Stander(row.id, row.uses, row.priority, row.run_at, row.queue, row, at)


def newcomer(new: NewJob, run_at: float) -> Stander:
    """A new job as gates see it."""
    return Stander(new.id, uses_of(new.terms), new.priority, run_at, new.queue)


class Change(NamedTuple):
    """What a verb does to gates, beside moving jobs. new: jobs that arrive. ended: jobs that leave, for good. metered: what runs said.

    opening: gates to be looked at. paused: a queue, and whether it is paused now.
    """

    new: Sequence[Stander] = ()
    ended: Sequence[Row] = ()
    metered: Sequence[tuple[Row, Sequence[Meter]]] = ()
    opening: Sequence[str] = ()
    paused: tuple[str, bool] | None = None


NOTHING = Change()
Stand = tuple[JobId, str, str, int]


def pass_gates(tx: Transaction, moves: Sequence[Move], change: Change, now: float) -> tuple[list[Move], list[Stand]]:
    """The moves as the gates let them happen, and behind them those of jobs that pass, or go back; and where jobs stand then."""
    moving = [(move, stander(move.row)) for move in moves]
    leaving = [stander(row) for row in change.ended]
    gates = Stored(tx, chain.from_iterable(one.uses for one in (*(one for _, one in moving), *leaving, *change.new)))
    closed = list[str]()
    for row, meters in change.metered:
        closed += gates.meter(stander(row), meters, now)
    if change.paused:
        gates.pause(*change.paused, now)
    moving += [(stays(row, State.READY), stander(row)) for row in _held_back(tx, closed, change)]
    for job in leaving:
        gates.gone.add(job.id)
        gates.leave(job, job.record.state, now, ends=True)
    for job in change.new:
        gates.standers[job.id] = job
        gates.define(job, now)
        gates.arrive(job, now)
    for move, job in moving:
        if job.uses:
            gates.gone.add(job.id)
            gates.leave(job, move.row.state, now, ends=move.state.finished or move.state is State.PARKED)
            if move.state is State.READY:
                gates.standers[job.id], job.since, job.queue = job, move.run_at, move.queue
                gates.arrive(job, now)
    gates.touched.update(change.opening)
    passed = gates.pass_on(now)
    gates.save()
    final = [move._replace(state=State.WAITING) if job.at else move for move, job in moving]
    final += [stays(job.record, State.READY) for job in passed if job.record and job.id not in gates.gone]
    return final, [stand for job in gates.standers.values() if (stand := _stand(gates, job))]


def _held_back(tx: Transaction, closed: Sequence[str], change: Change) -> list[Row]:
    """Who passed gates that are closed now, or is of a queue that is paused now, and has not started."""
    if change.paused and change.paused[1]:
        return look(tx, "gate_passed", change.paused[0])
    rows = look(tx, "gate_passed", None) if closed else []
    return [row for row in rows if any(use.gate in closed for use in row.uses)]


def _stand(gates: Stored, job: Stander) -> Stand | None:
    """Where a job stands now, if that is to be written down."""
    if job.at is None:
        return job.id, State.READY.value, PASSED, 0
    if job.record and job.id not in gates.gone and job.record.gate == job.at:
        return None
    return job.id, State.WAITING.value, job.at, key_of(job, job.at, gates.gates[job.at])[0]


def start(tx: Transaction, terms: Sequence[str], now: float) -> None:
    """Jobs with these terms start, and pay."""
    uses = [use for one in terms for use in uses_in(one) if use.rate < inf]
    if uses:
        gates = Stored(tx, uses)
        gates.start(uses, now)
        gates.save()


Listing = tuple[Sequence[tuple[str, str]] | None, tuple[str, str] | None, int, float | None]


def _limits(tx: Transaction, ask: Listing) -> list[LimitInfo]:
    names, after, limit, at = ask
    now = tx.now(at)
    if names is None:
        rows = tx.run("gate_list", gate_name(*after) if after else "", now, limit).fetchall()
    else:
        wanted = [gate_name(*one) for one in names]
        known = dict(tx.run("gate_known", as_json(wanted)).fetchall())
        rows = [(one, known[one]) for one in wanted if one in known]
    return [found for name, data in rows if (found := shown(name, _gate(data), now))][:limit]


def _opens(tx: Transaction, _: None) -> float | None:
    """When time alone lets the next one pass, somewhere."""
    opens: float | None = tx.run("gate_next").fetchone()[0]
    return opens


limits, opens = Verb.each(_limits), Verb.each(_opens)
