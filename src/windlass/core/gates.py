"""The arithmetic of limits, pure: what one key of a limit admits (`Gate`), and who passes (`Gates`). `scripts/gates.lua` has the same.

Who stands at a gate is ordered by priority, then by the time since when it is due, then by id. Who asks for strict order is ordered by
time and id alone. The first one that does not fit stops all behind it, so that small jobs never starve a large one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import heappop, heappush
from math import floor, inf
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from windlass.core.job import JobId
from windlass.core.state import State
from windlass.core.terms import PAUSED, Meter, Terms, Use, gate_name

SLACK = 1e-6
"""Of a unit: what a bucket may lack for want of exactness."""
GRAIN = 1024
"""Units are counted in so many parts, so that their sums are exact and no count ever drifts."""


def whole(units: float) -> float:
    """Units as they are counted."""
    return max(0, floor(units * GRAIN + 0.5)) / GRAIN


def uses_of(terms: Terms | None) -> tuple[Use, ...]:
    """What a job takes of limits: of each key once, and first the one whose order it keeps, of which there is one at most."""
    if terms is None or not terms.uses:
        return ()
    first, found = next((use for use in terms.uses if use.ordered), None), dict[str, Use]()
    for use in terms.uses if first is None else (first, *terms.uses):
        found.setdefault(use.gate, replace(use, ordered=False) if use.ordered and use is not first else use)
    return tuple(found.values())


class Gate(Struct, array_like=True):
    """One key of a limit: what it admits, and its accounts.

    held: units of jobs that passed and have not ended. reserved: those of jobs that passed, have not started, and pay then.
    waiting: how many jobs stand here. level: of the bucket, at the time `at`. closed: until when nobody passes.
    turn: the job that keeps the order: until it ends, nobody else who asks for order passes.
    wants: units that the first one here waits for, if time alone can bring them.
    """

    running: float = inf
    rate: float = inf
    burst: float = 1.0
    held: float = 0.0
    reserved: float = 0.0
    waiting: int = 0
    level: float = 0.0
    at: float = 0.0
    closed: float = 0.0
    turn: JobId | None = None
    wants: float | None = None

    @classmethod
    def of(cls, use: Use, now: float) -> Gate:
        """A gate that nobody has passed."""
        return cls(use.running, use.rate, use.burst, level=use.burst, at=now)

    def define(self, use: Use, now: float) -> None:
        """From now on it admits what this says."""
        self.refill(now)
        self.running, self.rate, self.burst = use.running, use.rate, use.burst
        self.level = self.burst if self.rate == inf else min(self.level, self.burst)

    def refill(self, now: float) -> None:
        """The bucket as it is now. A clock that was set back fills nothing."""
        if self.rate < inf:
            self.level = min(self.burst, self.level + max(0.0, now - self.at) * self.rate)
        self.at = now

    def admits(self, job: JobId, use: Use, now: float) -> bool:
        """Whether the job may pass, for all that this gate knows. What is larger than the whole gate passes when it is empty."""
        if now < self.closed or (use.ordered and self.turn not in (None, job)):
            return False
        units = whole(use.units)
        if self.held + min(units, self.running) > self.running:
            return False
        return use.rate == inf or self.rate == inf or self.level - self.reserved + SLACK >= min(units, self.burst)

    def enter(self, use: Use) -> None:
        """A job passes."""
        self.held += whole(use.units)
        self.reserved += whole(use.units) if use.rate < inf else 0.0

    def back(self, use: Use, started: bool) -> None:
        """What a job that passed, and may have started, held comes back."""
        self.held = max(0.0, self.held - whole(use.units))  # less only if somebody else wrote here
        if use.rate < inf and not started:
            self.reserved = max(0.0, self.reserved - whole(use.units))

    def start(self, use: Use, now: float) -> None:
        """A job that passed starts, and the bucket pays."""
        self.refill(now)
        self.reserved = max(0.0, self.reserved - whole(use.units))
        self.level -= whole(use.units)

    def meter(self, use: Use, meter: Meter, now: float) -> None:
        """What a run says at its end."""
        self.refill(now)
        if meter.used is not None and use.rate < inf:
            self.level = min(self.burst, self.level + whole(use.units) - max(0.0, meter.used))
        if meter.pause > 0:
            self.closed = max(self.closed, now + meter.pause)

    @property
    def opens(self) -> float | None:
        """When time alone lets the first one pass; None: it never does."""
        if self.wants is None:
            return None
        missing = self.wants - (self.level - self.reserved)
        if self.rate == inf or missing <= SLACK:
            return max(self.at, self.closed)
        return max(self.closed, self.at + missing / self.rate) if self.wants <= self.burst - self.reserved else None

    @property
    def idle(self) -> float | None:
        """From when on nobody needs it any more; None: somebody does."""
        if self.held > 0 or self.waiting or self.turn is not None:
            return None
        full = self.at if self.rate == inf else self.at + max(0.0, self.burst - self.level) / self.rate
        return max(self.closed, full)


class LimitInfo(Struct, frozen=True):
    """One key of a limit that somebody needs: see `Gate`. level: of its bucket now; None without a rate.

    waiting: how many jobs stand here. One that waits for several limits stands where it was refused first.
    """

    limit: str
    key: str
    running: float
    rate: float
    burst: float
    held: float
    reserved: float
    waiting: int
    level: float | None
    closed_until: datetime | None
    turn: JobId | None


def shown(name: str, gate: Gate, now: float) -> LimitInfo | None:
    """The gate as it is seen from outside; None when nobody needs it, or it belongs to a paused queue."""
    limit, _, key = name.partition("\x1f")
    idle = gate.idle
    if limit == PAUSED or (idle is not None and idle <= now):
        return None
    gate = replace(gate)
    gate.refill(now)
    closed = datetime.fromtimestamp(min(gate.closed, 2**37), UTC) if gate.closed > now else None
    level = None if gate.rate == inf else gate.level
    counts = (gate.held, gate.reserved, gate.waiting)
    return LimitInfo(limit, key, gate.running, gate.rate, gate.burst, *counts, level, closed, gate.turn)


@dataclass(slots=True, eq=False)
class Stander:
    """A job as gates see it. at: the gate where it stands, if it stands at one. record: whatever its store keeps of it."""

    id: JobId
    uses: tuple[Use, ...]
    priority: int
    since: float
    queue: str
    record: Any = None
    at: str | None = None

    def use(self, gate: str) -> Use:
        """What it asks for there."""
        return next((use for use in self.uses if use.gate == gate), Use(PAUSED))


Key = tuple[int, float, JobId]
FIRST, IN_ORDER = -10, -9
"""Where a key begins: of whoever has the turn already, and of whoever asks for order. Of all others: less the priority."""


class Gates:
    """Gates, and who stands there: here, in memory. A store that keeps them elsewhere says how to `find` and to `load` them.

    What a verb changes comes first: all that leaves (`leave`), and all that arrives (`arrive`); then `pass_on` lets pass whoever may.
    """

    def __init__(self) -> None:
        self.gates: dict[str, Gate] = {}
        self.lines: defaultdict[str, list[tuple[Key, int, Stander]]] = defaultdict(list)
        self.touched: set[str] = set()
        self.met: set[str] = set()  # by the present verb
        self._pushed = 0

    def find(self, name: str) -> Gate | None:
        """The gate of that name, if it is not forgotten."""
        return self.gates.get(name)

    def load(self, name: str) -> None:
        """Let the line of a gate hold its first one."""

    def drop(self, name: str) -> None:
        """Forget a gate."""
        del self.gates[name]

    def gate(self, use: Use, now: float) -> Gate:
        """The gate of a use, as it is now."""
        gate = self.find(use.gate)
        first = use.gate not in self.met  # or whether it is begun anew depended on the order of a batch
        self.met.add(use.gate)
        if gate is None or (first and (idle := gate.idle) is not None and idle <= now):
            gate = self.gates[use.gate] = Gate.of(use, now)
        gate.refill(now)
        return gate

    def define(self, job: Stander, now: float) -> None:
        """A new job says what its gates admit from now on."""
        for use in job.uses:
            self.gate(use, now).define(use, now)

    def arrive(self, job: Stander, now: float) -> None:
        """A job comes to its first gate."""
        self._stand(job, job.uses[0].gate, self.gate(job.uses[0], now))

    def leave(self, job: Stander, state: State, now: float, *, ends: bool) -> None:
        """A job leaves `state`. ends: and with it its place in a strict order."""
        if job.at is not None:
            gate = self.find(job.at)
            if gate is not None:
                gate.waiting -= 1
            self.touched.add(job.at)
            job.at = None
        for use in job.uses:
            if state in (State.READY, State.RUNNING):
                self.gate(use, now).back(use, started=state is State.RUNNING)
                self.touched.add(use.gate)
            if ends and use.ordered and (gate := self.find(use.gate)) is not None and gate.turn == job.id:
                gate.turn = None
                self.touched.add(use.gate)

    def start(self, uses: Iterable[Use], now: float) -> None:
        """A job that passed starts."""
        for use in uses:
            if use.rate < inf:
                self.gate(use, now).start(use, now)
        self.met.clear()

    def meter(self, job: Stander, meters: Sequence[Meter], now: float) -> list[str]:
        """What a run says at its end, of the limits that it has; answers which gates are closed now: nobody stays ready who passed them."""
        closed = list[str]()
        for meter in meters:
            for use in job.uses:
                if use.limit == meter.limit:
                    self.gate(use, now).meter(use, meter, now)
                    self.touched.add(use.gate)
                    closed += [use.gate] if meter.pause > 0 else []
        return closed

    def pause(self, queue: str, paused: bool, now: float) -> None:
        """Nobody of this queue passes, or everybody again."""
        use = Use(PAUSED, queue)
        self.gate(use, now).closed = inf if paused else 0.0
        self.touched.add(use.gate)

    def pass_on(self, now: float) -> list[Stander]:
        """Let pass whoever may, at the gates where something has changed; answers them. What nobody needs any more is forgotten."""
        passed, names = list[Stander](), set[str]()
        while self.touched:
            names |= self.touched
            some, self.touched = sorted(self.touched), set()
            for name in some:
                passed += self._pass(name, now)
        self.forget(names, now)
        self.met.clear()
        return passed

    def forget(self, names: Iterable[str], now: float) -> None:
        """Forget what nobody needs any more of these."""
        for name in list(names):
            if (gate := self.find(name)) is not None and (idle := gate.idle) is not None and idle <= now:
                self.drop(name)

    def _pass(self, name: str, now: float) -> Iterator[Stander]:
        gate = self.find(name)
        if gate is None:
            return
        gate.refill(now)
        gate.wants = None
        while (job := self._first(name, gate)) is not None:
            use = job.use(name)
            if not gate.admits(job.id, use, now):
                room = gate.held + min(whole(use.units), gate.running) <= gate.running
                if room and not (use.ordered and gate.turn not in (None, job.id)):
                    gate.wants = min(whole(use.units), gate.burst)
                return
            heappop(self.lines[name])
            gate.waiting, job.at = gate.waiting - 1, None
            if use.ordered:
                gate.turn = job.id
            if (refusing := self._refusing(job, name, now)) is not None:
                self._stand(job, *refusing)
                continue
            for one in job.uses:
                self.gate(one, now).enter(one)
            yield job

    def _refusing(self, job: Stander, admitting: str, now: float) -> tuple[str, Gate] | None:
        """The first gate that does not let the job pass: for what it admits, or because another one stands before the job."""
        pause = gate_name(PAUSED, job.queue)
        if (gate := self.find(pause)) is not None and now < gate.closed:
            return pause, gate
        for use in job.uses:
            if use.gate != admitting:
                gate = self.gate(use, now)
                first = self._first(use.gate, gate)
                if (
                    first is not None and key_of(first, use.gate, gate) < key_of(job, use.gate, gate)
                ) or not gate.admits(job.id, use, now):
                    return use.gate, gate
        return None

    def _stand(self, job: Stander, name: str, gate: Gate) -> None:
        self.push(job, name, gate)
        gate.waiting += 1
        self.touched.add(name)

    def push(self, job: Stander, name: str, gate: Gate) -> None:
        """Put a job into the line of a gate."""
        job.at, self._pushed = name, self._pushed + 1
        heappush(self.lines[name], (key_of(job, name, gate), self._pushed, job))

    def _first(self, name: str, gate: Gate) -> Stander | None:
        """Who stands first at a gate. Of those who left, entries may remain in the line."""
        if not gate.waiting:
            self.lines.pop(name, None)
            return None
        while True:
            self.load(name)
            line = self.lines[name]
            if not line:
                gate.waiting = 0  # somebody else deleted them
                return None
            if line[0][2].at == name:
                return line[0][2]
            heappop(line)


def key_of(job: Stander, name: str, gate: Gate) -> Key:
    use = job.use(name)
    kind = -job.priority if not use.ordered else FIRST if gate.turn == job.id else IN_ORDER
    return kind, job.since, job.id
