"""Limits inside a transaction: gates are read when they are needed, many at once, and written once, at the end of each verb."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf, isfinite
from typing import NamedTuple, cast

import msgspec

from windlass.broker.sqlite.moves import Move, Row, terms_in
from windlass.broker.sqlite.rows import look
from windlass.broker.sqlite.schema import as_json, write_rows
from windlass.broker.sqlite.writer import Transaction, Verb
from windlass.core.gates import Gate, Gates, Key, LimitInfo, Stander, key_of, shown, uses_of
from windlass.core.job import JobId, NewJob, Ready
from windlass.core.state import State
from windlass.core.terms import Terms, Use, gate_name

CHUNK = 32
"""Jobs of a gate that are read at once."""
PASSED = ""
"""The gate of whoever stands at none any more."""
_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(Gate).decode


class Kept(NamedTuple):
    """What the file has of who stands at a gate. gate: where it stands by that."""

    lane: str
    terms: Terms | None
    gate: str | None = None


class Stored(Gates):
    """The gates of one verb. now: when its last call came. came: who has come to a gate, until it leaves again, by id."""

    def __init__(self, tx: Transaction) -> None:
        super().__init__()
        self._tx = tx
        self._stored = dict[str, bytes | None]()
        self._read = dict[str, Key | None]()  # up to where each line was read; None: to its end
        self.came = dict[JobId, Stander]()
        self.now = 0.0

    def ask(self, uses: Iterable[Use]) -> None:
        """Read the gates of these, at once."""
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
                if job.uses:
                    self.came[row.id] = job
                    self.push(job, name, gate)
                last = max(last, key_of(job, name, gate))
            self._read[name] = last if len(rows) == CHUNK and last > read else None
            here = sum(job.at == name for _, _, job in line)
            gate.waiting = max(gate.waiting, here)  # more only if somebody else wrote here

    def come(self, job: Stander) -> None:
        """A job comes to its first gate."""
        self.came[job.id] = job
        self.arrive(job, self.now)

    def go(self, job: Stander, state: State, *, ends: bool) -> None:
        """A job leaves `state`, as `leave` says."""
        self.leave(self.came.pop(job.id, job), state, self.now, ends=ends)

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
    except ValueError:
        return Gate()


def at(tx: Transaction, now: float) -> Stored:
    """The gates, for the present verb; `pass_on` comes at its end."""
    tx.gates = tx.gates or Stored(tx)
    gates = cast(Stored, tx.gates)
    gates.now = now
    return gates


def stander(row: Row) -> Stander:
    """A job as gates see it."""
    asked = row.asked
    if asked is None:
        return Stander(row.id, (), 0, row.run_at, row.queue, Kept("", None))
    at = asked.gate or None if row.state is State.WAITING else None
    return Stander(row.id, row.uses, asked.priority, row.run_at, row.queue, Kept(asked.lane, asked.terms, at), at)


def newcomer(new: NewJob, run_at: float, job: JobId | None = None) -> Stander:
    """A new job as gates see it. job: its id, if that is another's."""
    return Stander(job or new.id, uses_of(new.terms), new.priority, run_at, new.queue, Kept(new.lane, new.terms))


def enter(tx: Transaction, news: Sequence[Stander], now: float) -> None:
    """New jobs come, and say what their gates admit from now on."""
    if news:
        gates = at(tx, now)
        gates.ask(use for job in news for use in job.uses)
        for job in news:
            gates.define(job, now)
            gates.come(job)


def met(tx: Transaction, moves: Sequence[Move], now: float) -> list[Move]:
    """The moves as the gates let them happen: whoever has limits gives back what it holds, and waits where it would be ready."""
    limited = {move.row.place: stander(move.row) for move in moves if move.row.uses}
    if limited:
        at(tx, now).ask(use for job in limited.values() for use in job.uses)
    return [_met(at(tx, now), move, job) if (job := limited.get(move.row.place)) else move for move in moves]


def _met(gates: Stored, move: Move, job: Stander) -> Move:
    gates.go(job, move.row.state, ends=move.state.finished or move.state is State.PARKED)
    if move.state is not State.READY:
        return move
    job.since, job.queue, job.at, job.record = move.run_at, move.queue, None, job.record._replace(gate=None)
    gates.come(job)
    return move._replace(state=State.WAITING)


def gone(tx: Transaction, rows: Iterable[Row], now: float) -> None:
    """These jobs go for good, with what they hold."""
    leaving = [(row, stander(row)) for row in rows if row.uses]
    if leaving:
        at(tx, now).ask(use for _, job in leaving for use in job.uses)
    for row, job in leaving:
        at(tx, now).go(job, row.state, ends=True)


def stands(tx: Transaction, row: Row) -> bool:
    """Whether a waiting job waits at a gate, and no more for letters."""
    came = tx.gates.came.get(row.id) if tx.gates else None
    return came.at is not None if came else bool(row.asked and row.asked.gate)


def passed(tx: Transaction, closed: Sequence[str]) -> list[Row]:
    """Who passed one of these gates and has not started."""
    rows = look(tx, "gate_passed", None) if closed else []
    return [row for row in rows if any(use.gate in closed for use in row.uses)]


def pass_on(tx: Transaction) -> list[Ready]:
    """At the end of a verb: let pass whoever may, and write down where all stand; answers what became ready."""
    if tx.gates is None:
        return []
    gates, tx.gates = cast(Stored, tx.gates), None
    ready, rows = list[Ready](), list[tuple[object, ...]]()
    for job in gates.pass_on(gates.now):
        kept: Kept = job.record
        rank = tx.order.place(job.queue, kept.lane, job.priority, job.since, kept.terms)
        rows.append((job.id, State.READY.value, PASSED, *rank))
        ready.append(Ready(job.id, job.queue))
        tx.count(job.queue, State.WAITING, -1)
        tx.count(job.queue, State.READY, 1)
        tx.changed.append(job.id)
        tx.ready.add(job.queue)
    gates.save()
    for job in gates.came.values():
        if job.at is not None and job.at != job.record.gate:
            rows.append((job.id, State.WAITING.value, job.at, key_of(job, job.at, gates.gates[job.at])[0], False))
    write_rows(tx.con, "stand", rows)
    return ready


def start(tx: Transaction, terms: Iterable[str], now: float) -> None:
    """Jobs with these terms, in hexadecimal digits, start, and pay."""
    uses = [use for one in terms for use in uses_of(terms_in(one)) if use.rate < inf]
    if uses:
        gates = Stored(tx)
        gates.ask(uses)
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
