"""`memory://`: the model of a broker, in plain data structures. The shortest thing that obeys the port; it survives nothing.

A `Space` holds the state. Brokers that share one may live in different event loops of one process: every verb takes the space's
lock for the moment it needs, never across an await, and calls that wait are woken in their own loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import heappop, heappush, nlargest, nsmallest
from itertools import count, islice
from math import inf
from typing import Any, TypeVar
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import msgspec

from windlass.broker.damaged import progress
from windlass.core import letters
from windlass.core.gates import Gates, LimitInfo, Stander, shown, uses_of
from windlass.core.job import (
    DAY,
    NOTHING,
    SCAN,
    Card,
    Claim,
    Duty,
    Entry,
    Found,
    Job,
    JobId,
    NewJob,
    Placed,
    Pulse,
    QueueInfo,
    Reading,
    Ready,
    StoreInfo,
    Wish,
    Worker,
)
from windlass.core.keys import held_until, holds, let_go, put_off, replaceable
from windlass.core.measures import FAULTS, STEPS, Fault, Mark, Report, Rollup, folded, report_of, seen, span, stale
from windlass.core.order import Shares
from windlass.core.outcome import (
    RELEASE_LIMIT,
    Cancelled,
    Failed,
    Outcome,
    Parked,
    Released,
    Retried,
    Snoozed,
    Succeeded,
    Suspended,
    lost,
    orphaned,
)
from windlass.core.state import State
from windlass.core.terms import gate_name

T = TypeVar("T")
Topic = tuple[str, str]
"""What a waiting call waits for: ("queue", name) or ("job", id)."""


@dataclass(slots=True, eq=False)
class _Record:
    """A stored job: as it came, as it is seen from outside, and what only the store knows.

    `place` changes with every move, so that what older places left in a heap is known to be stale; 0: deleted.
    written: the number of the journal's last entry, or end. noted: the latest number that the present run gave to an entry.
    became: the id of the job that it was replaced by last. letters: the number of the entry that each letter is, by its name.
    """

    new: NewJob
    job: Job
    place: int = 0
    token: int = 0
    releases: int = 0
    written: int = 0
    noted: int = 0
    became: JobId = ""
    stander: Stander | None = None
    journal: dict[int, Entry] = field(default_factory=dict)
    letters: dict[str, int] = field(default_factory=dict)

    def change(self, **fields: Any) -> None:
        """Change what is seen from outside."""
        self.job = msgspec.structs.replace(self.job, **fields)

    @property
    def lacking(self) -> bool:
        """Whether it waits for letters, and was never started."""
        job = self.job
        return job.state is State.WAITING and job.started_at is None and job.letters < job.awaited

    @property
    def unstarted(self) -> bool:
        """Whether it is still to be started first."""
        return self.job.started_at is None and not self.job.state.finished

    @property
    def at_gate(self) -> bool:
        """Whether it waits for its limits, and no more for letters."""
        return self.stander is not None and self.stander.at is not None

    def expired(self, now: float) -> bool:
        """Whether it may not be started any more."""
        expires = self.job.expires_at
        return expires is not None and self.job.started_at is None and expires.timestamp() <= now


@dataclass(slots=True, eq=False)
class _Holder:
    """A worker, the jobs it holds, and which of them are to be cancelled. `robbed` once a job was taken back from it."""

    card: Card
    until: float
    robbed: bool = False
    wish: Wish = NOTHING
    held: dict[JobId, _Record] = field(default_factory=dict)
    cancelling: set[JobId] = field(default_factory=set)

    def alive(self, now: float) -> bool:
        """Whether its lease holds."""
        return not self.robbed and self.until > now


class _Waiter:
    """One waiting call, in whichever loop it waits."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.event = asyncio.Event()

    def wake(self) -> None:
        """Let it look again; from any thread."""
        try:
            self.loop.call_soon_threadsafe(self.event.set)
        except RuntimeError:
            pass  # its loop was closed under it: nobody waits any more


class Space:
    """The state behind one or more brokers. Whoever calls a method holds `lock`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self.serial = count(1)
        self.jobs: dict[JobId, _Record] = {}
        self.keys: dict[str, JobId] = {}
        self.became: dict[JobId, JobId] = {}
        self.workers: dict[str, _Holder] = {}
        self.paused: set[str] = set()
        self.counts: defaultdict[str, Counter[State]] = defaultdict(Counter)
        self.waiting: defaultdict[Topic, set[_Waiter]] = defaultdict(set)
        self.ready: defaultdict[tuple[str, str], list[tuple[int, int, _Record]]] = defaultdict(list)
        self.shares = Shares()
        self.scheduled: list[tuple[float, int, _Record]] = []
        self.expiring: list[tuple[float, int, _Record]] = []
        self.finished: list[tuple[float, int, _Record]] = []
        self.outbox: list[tuple[JobId, letters.Letter]] = []
        self.bereft: list[Job] = []
        self.gates = Gates()
        self.looked, self.trusted = -inf, -inf
        self.writers: dict[str, tuple[int, float]] = {}
        self.spans: dict[tuple[int, int], list[Rollup]] = {}
        self.faults: dict[str, Fault] = {}
        self.book: dict[tuple[str, str], bytes] = {}

    def trusts_silence(self, now: float, gap: float, grace: float) -> bool:
        """Whether a worker that is silent may be taken for dead."""
        if not self.looked <= now < self.looked + gap:
            self.trusted = now + grace
        self.looked = now
        return now >= self.trusted

    def enter(self, record: _Record, state: State, now: float, **fields: Any) -> None:
        """Put a job that stands nowhere into `state`; one that has limits, and would be ready, to its first gate."""
        limited = record.stander if state is State.READY else None
        self._put(record, State.WAITING if limited else state, now, **fields)
        if limited:
            limited.since, limited.queue = record.job.run_at.timestamp(), record.job.queue
            self.gates.arrive(limited, now)

    def pass_on(self, now: float) -> list[Ready]:
        """Let pass whoever may, after something has changed at the gates; answers what became ready."""
        ready = list[Ready]()
        for one in self.gates.pass_on(now):
            record: _Record = one.record
            self.counts[record.job.queue][State.WAITING] -= 1
            self._put(record, State.READY, now)
            ready.append(Ready(record.job.id, record.job.queue))
        return ready

    def hold(self, now: float, *, gates: Collection[str] = (), queue: str | None = None) -> None:
        """Whoever passed one of these gates, or is of this queue, and has not started, goes back to the gate."""
        for record in self.jobs.values():
            ready = record.stander is not None and record.job.state is State.READY
            if ready and (record.job.queue == queue or any(use.gate in gates for use in uses_of(record.new.terms))):
                self.move(record, State.READY, now)

    def _put(self, record: _Record, state: State, now: float, **fields: Any) -> None:
        """Write down that a job stands in `state`."""
        record.change(state=state, cancelling=False, finished_at=_date(now) if state.finished else None, **fields)
        record.place = next(self.serial)
        new, queue, run_at = record.new, record.job.queue, record.job.run_at.timestamp()
        self.counts[queue][state] += 1
        until = held_until(new.terms, record.job.created_at.timestamp()) or now
        if new.key is not None and not state.finished:
            self.keys.setdefault(new.key, new.id)
        elif until <= now:
            self.free_key(record)
        if state is State.READY:
            rank, _ = self.shares.place(queue, new.lane, new.priority, run_at, new.terms)
            heappush(self.ready[queue, new.lane], (rank, record.place, record))
            self.wake(("queue", queue))
        elif state is State.SCHEDULED:
            heappush(self.scheduled, (run_at, record.place, record))
        elif state.finished:
            keep = new.keep_failed if state is State.FAILED else new.keep
            heappush(self.finished, (max(now + keep, until), record.place, record))
            self.outbox += _letters(record.job)
            self.bereft += [record.job] if new.terms else []
        self.wake(("job", new.id))

    def leave(self, record: _Record, to: State | None, now: float) -> None:
        """Take a job out of the state it stands in, and with it whatever it holds there. to: where it goes."""
        job, record.place = record.job, 0
        if job.state is State.READY and to is not State.RUNNING:
            self.shares.give_back(job.queue, job.lane, job.priority, job.terms)
        if record.stander and to is State.RUNNING:
            self.gates.start(record.stander.uses, now)
        elif record.stander:
            self.gates.leave(record.stander, job.state, now, ends=to is None or to.finished or to is State.PARKED)
        self.counts[job.queue][job.state] -= 1
        if job.state is State.RUNNING and job.worker is not None:
            holder = self.workers[job.worker]
            del holder.held[job.id]
            holder.cancelling.discard(job.id)

    def holder(self, key: str | None, now: float) -> _Record | None:
        """The job that has this key."""
        record = self.jobs.get(self.keys.get(key, "")) if key is not None else None
        if record is None:
            return None
        job, came_at = record.job, record.job.created_at.timestamp()
        return record if holds(job.terms, came_at, job.started_at is not None, job.state.finished, now) else None

    def free_key(self, record: _Record) -> None:
        """The key of a job is no more its own."""
        if record.job.key is not None and self.keys.get(record.job.key) == record.job.id:
            del self.keys[record.job.key]

    def move(self, record: _Record, state: State, now: float, **fields: Any) -> None:
        """From where it stands to `state`."""
        self.leave(record, state, now)
        self.enter(record, state, now, **fields)

    def due(self, record: _Record, delay: float, now: float, **fields: Any) -> list[Ready]:
        """Make a job ready, or scheduled when there is a delay; answers what became ready."""
        self.move(record, State.SCHEDULED if delay > 0 else State.READY, now, run_at=_date(now + delay), **fields)
        return [Ready(record.job.id, record.job.queue)] if record.job.state is State.READY else []

    def write(self, record: _Record, letter: letters.Letter, now: float) -> list[Ready]:
        """Put a letter into a job's journal. The last one that is missing makes it ready, unless its own time is still to come."""
        known, new = record.letters.get(letter.name), len(record.letters) + 1
        if known is not None:
            if record.job.started_at is not None and not record.job.state.finished:
                return []
            del record.journal[known]
        record.written += 1
        record.letters[letter.name] = record.written
        record.journal[record.written] = Entry("letter", letters.write(letter), now, seq=record.written)
        record.change(letters=len(record.letters))
        self.wake(("job", record.job.id))
        state, at = record.job.state, record.job.run_at.timestamp()
        waits = state is State.SCHEDULED or (state is State.WAITING and not record.at_gate)
        if known is not None or new != record.job.awaited or not waits:
            return []
        return self.due(record, max(0.0, at - now) if state is State.WAITING else 0.0, now)

    def go_on(self, now: float) -> list[Ready]:
        """What follows from what a verb did: first letters, then gates; answers what became ready."""
        return self.post(now) + self.pass_on(now)

    def post(self, now: float) -> list[Ready]:
        """Write the letters of what has ended, and of what that ends in turn; answers what became ready."""
        ready, told = list[Ready](), list[tuple[Job, Outcome]]()
        self.outbox.sort(key=lambda one: one[1].said != "succeeded")
        while self.outbox or self.bereft:
            for to, letter in self.outbox:  # which grows
                record = self.jobs.get(to)
                if record is None or record.new.terms is None or record.job.state is State.SUCCEEDED:
                    continue
                if letter.said not in letters.FAILED or record.new.terms.collects:
                    ready += self.write(record, letter, now)
                elif record.lacking:
                    self.move(record, State.FAILED, now, error=letters.missed(letter))
                    told.append((record.job, Failed(letters.missed(letter))))
            self.outbox.clear()
            unwanted = [part for job in self.bereft for part in self.parts(job) if part.unstarted]
            self.bereft.clear()
            for record in unwanted:
                self.move(record, State.CANCELLED, now, reason=letters.UNWANTED)
                told.append((record.job, Cancelled(letters.UNWANTED)))
        self.tell(told, now)
        return ready

    def parts(self, job: Job) -> list[_Record]:
        """Those that a job waits for, if it was never started."""
        records = map(self.jobs.get, letters.parts(job.id, job.terms, job.started_at is not None))
        return [one for one in records if one and one.job.terms and one.job.terms.to == (job.id,)]

    def remove(self, record: _Record, now: float) -> None:
        """Delete a job."""
        self.leave(record, None, now)
        self.free_key(record)
        self.became.pop(record.became, None)
        del self.jobs[record.job.id]
        self.wake(("job", record.job.id))

    def best(self, queue: str, room: Mapping[str, int], now: float) -> _Record | None:
        """The queue's next job among the lanes that have room."""
        heads: list[tuple[int, int, _Record]] = []
        for heap in [self.ready[queue, lane] for lane, free in room.items() if free > 0]:
            while heap and (heap[0][2].place != heap[0][1] or heap[0][2].expired(now)):
                heappop(heap)
            heads += heap[:1]
        if not heads:
            return None
        rank, _, record = min(heads)
        self.shares.advance(queue, record.job.lane, rank)
        return record

    def live(self, claim: Claim) -> _Record | None:
        """The job of a claim, while that claim's run goes on."""
        record = self.jobs.get(claim.id)
        return record if record and record.job.state is State.RUNNING and record.token == claim.token else None

    def known(self, ids: Iterable[JobId]) -> list[_Record]:
        """The jobs that exist, in the order asked, each once."""
        return [record for job in dict.fromkeys(ids) if (record := self.jobs.get(job))]

    def add(self, report: Report, now: float) -> None:
        """Add to the history."""
        for step in STEPS if report.rollups else ():
            place = span(now, step), step
            self.spans[place] = folded(self.spans.get(place, ()), report.rollups)
        for one in report.sightings:
            self.faults[one.fingerprint] = seen(self.faults.get(one.fingerprint), one, now)
        for fault in nsmallest(len(self.faults) - FAULTS, self.faults.values(), key=_sight):
            del self.faults[fault.fingerprint]

    def tell(self, ended: Iterable[tuple[Job, Outcome]], now: float) -> None:
        """Add to the history what became of jobs for which no worker speaks."""
        self.add(report_of((job.id, job.queue, job.task, outcome) for job, outcome in ended), now)

    def wake(self, topic: Topic) -> None:
        """Wake every call that waits for `topic`."""
        for waiter in self.waiting.get(topic, ()):
            waiter.wake()

    def wake_claims(self) -> None:
        """Wake every claim that waits."""
        for topic in self.waiting:
            if topic[0] == "queue":
                self.wake(topic)


_spaces: WeakValueDictionary[tuple[str, str], Space] = WeakValueDictionary()
_spaces_lock = threading.Lock()


class MemoryBroker:
    """A broker in this process's memory. `memory://NAME` is one space for all who name it; `memory://` is one for each broker."""

    def __init__(
        self, url: str = "memory://", name: str = "windlass", *, clock: Callable[[], float] = time.time
    ) -> None:
        self._url, self._name, self._closed, self._wakes = url, name, False, 0
        with _spaces_lock:
            self._space = _spaces.get((url, name)) or Space(clock)
            if urlsplit(url).netloc:
                _spaces[url, name] = self._space

    @property
    def clock(self) -> Callable[[], float]:
        """The store's clock, of all brokers that share the space; may be assigned, to travel in time."""
        return self._space.clock

    @clock.setter
    def clock(self, clock: Callable[[], float]) -> None:
        self._space.clock = clock

    def sibling(self) -> MemoryBroker:
        """Another broker over the same state, for another event loop."""
        other = MemoryBroker(self._url, self._name)
        other._space = self._space
        return other

    @contextmanager
    def _at(self, now: float | None) -> Generator[float, None, None]:
        """The space to oneself, and the time there."""
        with self._space.lock:
            yield self.clock() if now is None else now

    async def open(self) -> None:
        self._closed = False

    async def close(self) -> None:
        with self._space.lock:
            self._closed = True
            for topic in self._space.waiting:
                self._space.wake(topic)

    async def describe(self) -> StoreInfo:
        remark = "every job is gone when this process ends"
        return StoreInfo(kind="memory", place=self._url, version="1", survives=(), remarks=(remark,))

    async def now(self) -> float:
        with self._at(None) as now:
            return now

    async def enqueue(self, jobs: Sequence[NewJob], *, now: float | None = None) -> list[Placed]:
        with self._at(now) as now:
            placed = [self._place(new, now) for new in jobs]
            self._space.pass_on(now)
            return [self._answered(one) for one in placed]

    def _answered(self, one: Placed) -> Placed:
        """Who waited when it was placed is answered as it stands now."""
        waited = one.state is State.WAITING
        return msgspec.structs.replace(one, state=self._space.jobs[one.id].job.state) if waited else one

    def _place(self, new: NewJob, now: float) -> Placed:
        space, came_at = self._space, now
        replaces, record = new.terms is not None and new.terms.replaces, space.holder(new.key, now)
        known = space.jobs.get(new.id) or (space.jobs.get(space.became.get(new.id, "")) if replaces else None)
        waits = record and not record.job.started_at and not record.job.state.finished
        replaced = bool(record and waits and replaceable(record.job.terms, new.terms))
        if found := known or (None if replaced else record):
            return Placed(found.job.id, found.job.state, fresh=False)
        run_at = max(now, now + new.delay, now if new.at is None else new.at)
        if record:
            came_at, space.became[new.id] = record.job.created_at.timestamp(), record.job.id
            run_at = put_off(run_at, new.terms, came_at, now)
            space.became.pop(record.became, None)
            space.leave(record, None, now)
            record.became, new = new.id, msgspec.structs.replace(new, id=record.job.id)
        job = _new_job(new, came_at, run_at, now)
        if record:
            record.new, record.job = new, job
        else:
            record = space.jobs[new.id] = _Record(new, job)
            space.keys |= {} if new.key is None else {new.key: new.id}
        uses = uses_of(new.terms)
        record.stander = Stander(new.id, uses, new.priority, run_at, new.queue, record) if uses else None
        if record.stander and job.state is State.READY:
            space.gates.define(record.stander, now)
        space.enter(record, job.state, now)
        if job.expires_at is not None:
            heappush(space.expiring, (job.expires_at.timestamp(), record.place, record))
        return Placed(new.id, record.job.state, fresh=not replaced, replaced=replaced)

    async def claim(
        self,
        queues: Sequence[str],
        room: Mapping[str, int],
        worker: str,
        *,
        wait: float = 0.0,
        now: float | None = None,
    ) -> list[Claim]:
        wakes = self._wakes

        def look() -> tuple[list[Claim], bool]:
            claims = self._take(queues, dict(room), worker, self.clock() if now is None else now)
            return claims, bool(claims) or self._wakes != wakes

        return await self._until(look, {("queue", queue) for queue in queues}, wait)

    def wake(self) -> None:
        with self._space.lock:
            self._wakes += 1
            self._space.wake_claims()

    def _take(self, queues: Sequence[str], room: dict[str, int], worker: str, now: float) -> list[Claim]:
        space, claims = self._space, list[Claim]()
        holder = space.workers.get(worker)
        if holder is None or not holder.alive(now):
            return claims
        for queue in queues:
            while queue not in space.paused and (record := space.best(queue, room, now)):
                attempt, resumed = record.job.attempt + 1, record.job.started_at is not None
                space.move(record, State.RUNNING, now, attempt=attempt, worker=worker, started_at=_date(now))
                record.token, record.noted = record.place, 0  # places only grow, over all jobs
                holder.held[record.job.id] = record
                room[record.job.lane] -= 1
                claims.append(_claim(record, now, resumed))
        return claims

    async def settle(
        self, pairs: Sequence[tuple[Claim, Outcome]], *, now: float | None = None
    ) -> tuple[list[bool], list[Ready]]:
        with self._at(now) as now:
            applied, ready = list[bool](), list[Ready]()
            for claim in {(claim.id, claim.token): claim for claim, _ in reversed(pairs) if claim.meters}.values():
                if (record := self._space.live(claim)) and record.stander:
                    self._space.hold(now, gates=self._space.gates.meter(record.stander, claim.meters, now))
            for claim, outcome in pairs:
                record = self._space.live(claim)
                applied.append(record is not None)
                ready += self._end(record, outcome, now) if record else []
            return applied, ready + self._space.go_on(now)

    def _end(self, record: _Record, outcome: Outcome, now: float) -> list[Ready]:
        """End the present run of `record`; answers what became ready."""
        space, job = self._space, record.job
        if job.cancelling and isinstance(outcome, Retried | Snoozed | Suspended | Released | Parked):
            outcome = Cancelled("cancelled while running")
            space.tell([(job, outcome)], now)
        match outcome:
            case Succeeded(result):
                space.move(record, State.SUCCEEDED, now, result=result, error=None)
            case Cancelled(reason):
                space.move(record, State.CANCELLED, now, reason=reason)
            case Failed(error, crash):
                counted = {"attempt": job.attempt - crash, "crashes": job.crashes + crash}
                space.move(record, State.FAILED, now, error=error, **counted)
            case Retried(delay, error, crash, queue):
                counted = {"attempt": job.attempt - crash, "crashes": job.crashes + crash}
                return space.due(record, delay, now, error=error, queue=queue or job.queue, **counted)
            case Snoozed(delay):
                return space.due(record, delay, now, attempt=job.attempt - 1)
            case Suspended(awaited, delay):
                fields = {"attempt": job.attempt - 1, "awaited": awaited if record.new.terms else 0}
                if delay is not None or job.letters >= awaited:
                    return space.due(record, (delay or 0.0) if job.letters < awaited else 0.0, now, **fields)
                space.move(record, State.WAITING, now, run_at=_date(now), **fields)
            case Released():
                record.releases += 1
                return space.due(record, 0.0, now, attempt=job.attempt - (record.releases <= RELEASE_LIMIT))
            case Parked(reason):
                space.move(record, State.PARKED, now, reason=reason, attempt=job.attempt - 1)
        return []

    async def beat(self, worker: str, card: Card, ttl: float, *, now: float | None = None) -> Pulse:
        with self._at(now) as now:
            holder = self._space.workers.setdefault(worker, _Holder(card, now))
            if holder.robbed:
                return Pulse(alive=False)
            if not holder.alive(now):  # it lives again, and what became ready meanwhile is also for it
                self._space.wake_claims()
            holder.card, holder.until = card, now + ttl
            return Pulse(holder.alive(now), sorted(holder.cancelling), holder.wish)

    async def append(self, pairs: Sequence[tuple[Claim, Sequence[Entry]]], *, now: float | None = None) -> list[bool]:
        with self._space.lock:
            return [self._append(claim, entries) for claim, entries in pairs]

    def _append(self, claim: Claim, entries: Sequence[Entry]) -> bool:
        record = self._space.live(claim)
        if record is None:
            return False
        for entry in entries:
            if 0 < entry.number <= record.noted:
                continue
            record.noted = max(record.noted, entry.number)
            if entry.kind in ("progress", "checkpoint"):
                record.journal = {seq: old for seq, old in record.journal.items() if old.kind != entry.kind}
            if entry.kind == "progress":
                record.change(progress=progress(entry.data))
            record.written += 1
            record.journal[record.written] = msgspec.structs.replace(entry, seq=record.written, number=0)
        self._space.wake(("job", claim.id))
        return True

    async def read(
        self, job: JobId, *, after: int = 0, wait: float = 0.0, seen: tuple[State, int] | None = None
    ) -> Reading | None:
        def look() -> tuple[Reading | None, bool]:
            record = self._space.jobs.get(job)
            if record is None:
                return None, True
            entries = [entry for entry in record.journal.values() if entry.seq > after]
            stands = record.job.state, record.job.attempt
            end = record.job if record.job.state.finished else None
            return Reading(*stands, entries, end, record.written), bool(entries or end or (seen and seen != stands))

        return await self._until(look, {("job", job)}, wait)

    async def _until(self, look: Callable[[], tuple[T, bool]], topics: set[Topic], wait: float) -> T:
        """What `look` finds: once it says that this will do, or `wait` seconds are over, or the broker is closed."""
        waiter, waiting = _Waiter(), self._space.waiting
        end = waiter.loop.time() + wait
        try:
            while True:
                with self._space.lock:
                    answer, enough = look()
                    if enough or self._closed or waiter.loop.time() >= end:
                        return answer
                    waiter.event.clear()
                    for topic in topics:
                        waiting[topic].add(waiter)
                try:
                    await asyncio.wait_for(waiter.event.wait(), end - waiter.loop.time())
                except TimeoutError:
                    pass  # one last look
        finally:
            with self._space.lock:
                for topic in topics & waiting.keys():
                    waiting[topic].discard(waiter)
                    if not waiting[topic]:
                        del waiting[topic]

    async def promote(self, limit: int = 1000, *, wait: float = 0.0, now: float | None = None) -> list[Ready]:
        with self._at(now) as now:
            space, ready, expired, due = self._space, list[Ready](), list[_Record](), 0
            while space.expiring and space.expiring[0][0] <= now and len(expired) < limit:
                record = heappop(space.expiring)[2]
                if record.place and record.expired(now) and not record.job.state.finished:
                    expired.append(record)
            self._call_off(expired, "expired", now)
            while space.scheduled and space.scheduled[0][0] <= now and due < limit:
                _, place, record = heappop(space.scheduled)
                if record.place == place:
                    due += 1
                    space.move(record, State.READY, now)
                    ready += [Ready(record.job.id, record.job.queue)] if record.job.state is State.READY else []
            opening = [
                (at, name) for name, gate in space.gates.gates.items() if (at := gate.opens) is not None and at <= now
            ]
            space.gates.touched.update(name for _, name in nsmallest(limit, opening))
            return ready + space.go_on(now)

    async def reclaim(
        self,
        limit: int = 1000,
        *,
        workers: Sequence[str] | None = None,
        gap: float = inf,
        grace: float = 0.0,
        now: float | None = None,
    ) -> list[Ready]:
        with self._at(now) as now:
            lapsed = [(name, holder) for name, holder in self._space.workers.items() if not holder.alive(now)]
            if workers is not None:
                lapsed = [one for one in lapsed if one[0] in workers]
            elif not self._space.trusts_silence(now, gap, grace):
                lapsed = []
            taken = [(*one, record) for one in lapsed for record in one[1].held.values()][:limit]
            ready, told = list[Ready](), list[tuple[Job, Outcome]]()
            for name, holder, record in taken:
                holder.robbed, words, card, job = True, holder.card.last_words or lost(name), holder.card, record.job
                spent = job.crashes, record.new.crash_limit, job.cancelling
                outcome = orphaned(words, *spent, blameless=card.blameless)
                if not job.cancelling:
                    told.append((job, outcome))
                ready += self._end(record, outcome, now)
            self._space.tell(told, now)
            return ready + self._space.go_on(now)

    async def prune(self, limit: int = 1000, *, now: float | None = None) -> int:
        with self._at(now) as now:
            space, pruned = self._space, 0
            while space.finished and space.finished[0][0] <= now and pruned < limit:
                _, place, record = heappop(space.finished)
                if record.place == place:
                    space.remove(record, now)
                    pruned += 1
            space.gates.forget(space.gates.gates, now)
            for name in [name for name, one in space.workers.items() if not one.held and one.until + DAY <= now]:
                del space.workers[name]
            space.writers = {name: (last, at) for name, (last, at) in space.writers.items() if at + DAY > now}
            space.spans = {place: found for place, found in space.spans.items() if not stale(*place, now)}
            space.shares.forget(now)
            return pruned

    async def get(self, ids: Sequence[JobId]) -> list[Job | None]:
        with self._space.lock:
            return [record.job if (record := self._space.jobs.get(job)) else None for job in ids]

    async def find(
        self,
        *,
        states: Collection[State] = (),
        queue: str | None = None,
        task: str | None = None,
        key: str | None = None,
        root: JobId | None = None,
        before: JobId | None = None,
        after: JobId | None = None,
        limit: int = 50,
        scan: int = SCAN,
    ) -> Found:
        given = {"queue": queue, "task": task, "key": key}
        wanted = {name: value for name, value in given.items() if value is not None}
        with self._space.lock:
            ids = [one for one in self._space.jobs if (not before or one < before) and (not after or one > after)]
            looked_at = nlargest(scan, ids)
            jobs = [self._space.jobs[one].job for one in looked_at]
        fit = (job for job in jobs if all(getattr(job, name) == value for name, value in wanted.items()))
        found = [job for job in fit if not states or job.state in states]
        if root is not None:
            found = [job for job in found if job.terms is not None and job.terms.root == root]
        last = looked_at[-1] if len(looked_at) < len(ids) else None
        return Found(found[:limit], found[limit - 1].id if len(found) > limit else last)

    async def tally(self) -> list[QueueInfo]:
        with self._space.lock:
            paused = self._space.paused
            counts = {queue: {state: n for state, n in c.items() if n} for queue, c in self._space.counts.items()}
            names = {queue for queue, states in counts.items() if states} | paused
            oldest = dict[str, float]()
            for (queue, _), heap in self._space.ready.items():
                for _, place, record in heap:
                    if record.place == place:
                        oldest[queue] = min(record.job.run_at.timestamp(), oldest.get(queue, inf))
            return [QueueInfo(name, counts.get(name, {}), name in paused, oldest.get(name)) for name in sorted(names)]

    async def cancel(self, ids: Sequence[JobId], *, now: float | None = None) -> dict[JobId, State]:
        with self._at(now) as now:
            known, waiting = self._space.known(ids), list[_Record]()
            for record in known:
                if record.job.state is State.RUNNING and record.job.worker is not None:
                    record.change(cancelling=True)
                    self._space.workers[record.job.worker].cancelling.add(record.job.id)
                elif not record.job.state.finished:
                    waiting.append(record)
            self._call_off(waiting, "cancelled", now)
            self._space.go_on(now)
            return {record.job.id: record.job.state for record in known}

    def _call_off(self, waiting: Sequence[_Record], reason: str, now: float) -> None:
        """Cancel what does not run."""
        for record in waiting:
            self._space.move(record, State.CANCELLED, now, reason=reason)
        self._space.tell([(record.job, Cancelled(reason)) for record in waiting], now)

    async def revive(self, ids: Sequence[JobId], *, now: float | None = None) -> list[Ready]:
        revivable = (State.PARKED, State.SCHEDULED, State.FAILED, State.CANCELLED)
        with self._at(now) as now:
            ready: list[Ready] = []
            left = self._space.known(ids)
            for record in left:  # which grows
                job = record.job
                gone = job.key is None or let_go(job.terms, job.started_at is not None)
                taken = not gone and self._space.holder(job.key, now) not in (None, record)
                if job.state in revivable and not taken:
                    self._space.keys |= {} if gone or job.key is None else {job.key: job.id}
                    record.written += job.state.finished
                    forgotten = {"crashes": 0, "reason": None, "expires_at": None}
                    if job.started_at is None and job.letters < job.awaited:
                        self._space.move(record, State.WAITING, now, run_at=_date(now), **forgotten)
                        left += [one for one in self._space.parts(job) if one.job.state in letters.MISSED]
                    else:
                        ready += self._space.due(record, 0.0, now, **forgotten)
            return ready + self._space.go_on(now)

    async def deliver(self, job: JobId, name: str, data: bytes, *, now: float | None = None) -> bool:
        with self._at(now) as now:
            record = self._space.jobs.get(job)
            if record is None or record.new.terms is None or record.job.state.finished:
                return False
            self._space.write(record, letters.Letter(name, "event", "", data), now)
            self._space.go_on(now)
            return True

    async def forget(self, ids: Sequence[JobId], *, now: float | None = None) -> list[JobId]:
        with self._at(now) as now:
            gone = [record for record in self._space.known(ids) if record.job.state is not State.RUNNING]
            for record in gone:
                self._space.remove(record, now)
                if not record.job.state.finished:
                    record.change(state=State.CANCELLED, reason="forgotten")
                    self._space.outbox += _letters(record.job)
                    self._space.bereft.append(record.job)
            self._space.go_on(now)
            return [record.job.id for record in gone]

    async def pause(self, queue: str, paused: bool = True, *, now: float | None = None) -> None:
        with self._at(now) as now:
            (self._space.paused.add if paused else self._space.paused.discard)(queue)
            self._space.gates.pause(queue, paused, now)
            if paused:
                self._space.hold(now, queue=queue)
            self._space.pass_on(now)
            self._space.wake(("queue", queue))

    async def limits(
        self,
        names: Sequence[tuple[str, str]] | None = None,
        *,
        after: tuple[str, str] | None = None,
        limit: int = 50,
        now: float | None = None,
    ) -> list[LimitInfo]:
        with self._at(now) as now:
            gates = self._space.gates.gates
            wanted = sorted(gates) if names is None else [gate_name(*one) for one in names]
            past = (one for one in wanted if one in gates and (after is None or one > gate_name(*after)))
            found = (shown(one, gates[one], now) for one in past)
            return list(islice(filter(None, found), limit))

    async def workers(self, *, now: float | None = None) -> list[Worker]:
        with self._at(now) as now:
            living = [(name, one) for name, one in sorted(self._space.workers.items()) if one.alive(now)]
            return [Worker(name, one.card, _date(one.until), len(one.held), one.wish) for name, one in living]

    async def wish(
        self, worker: str, state: Duty | None = None, stacks: float | None = None, *, now: float | None = None
    ) -> bool:
        with self._at(now) as now:
            holder = self._space.workers.get(worker)
            if holder is None or not holder.alive(now):
                return False
            before = holder.wish
            holder.wish = Wish(state or before.state, before.stacks if stacks is None else stacks)
            return True

    async def record(self, writer: str, number: int, report: Report, *, now: float | None = None) -> bool:
        with self._at(now) as now:
            space = self._space
            if number <= space.writers.get(writer, (0, 0.0))[0]:
                return False
            space.writers[writer] = number, now
            space.add(report, now)
            return True

    async def series(
        self, step: int, since: float, until: float, *, queue: str | None = None, task: str | None = None
    ) -> list[Rollup]:
        with self._space.lock:
            spans = [(at, found) for (at, of), found in self._space.spans.items() if of == step and since <= at < until]
        dated = [msgspec.structs.replace(one, at=at, step=step) for at, found in spans for one in found]
        wanted = (one for one in dated if queue in (None, one.queue) and task in (None, one.task))
        return sorted(wanted, key=lambda one: (one.at, one.key))

    async def faults(self, limit: int = 50, *, before: tuple[float, str] | None = None) -> list[Fault]:
        with self._space.lock:
            found = [fault for fault in self._space.faults.values() if before is None or _sight(fault) < before]
        return nlargest(limit, found, key=_sight)

    async def mark(self, fingerprints: Sequence[str], state: Mark, until: float = 0.0) -> list[str]:
        with self._space.lock:
            faults = self._space.faults
            known = [one for one in dict.fromkeys(fingerprints) if one in faults]
            faults |= {one: msgspec.structs.replace(faults[one], state=state, until=until) for one in known}
            return known

    async def put(self, shelf: str, name: str, data: bytes, most: int | None = None) -> None:
        book = self._space.book
        with self._space.lock:
            book[shelf, name] = data
            if most is not None:
                for one in sorted(one for one in book if one[0] == shelf)[: -most or None]:
                    del book[one]

    async def leaf(self, shelf: str, name: str) -> bytes | None:
        with self._space.lock:
            return self._space.book.get((shelf, name))

    async def leaves(
        self, shelf: str, *, after: str | None = None, limit: int = 50, newest_first: bool = False
    ) -> list[tuple[str, bytes]]:
        with self._space.lock:
            found = sorted(
                ((at[1], data) for at, data in self._space.book.items() if at[0] == shelf), reverse=newest_first
            )
        past = (one for one in found if after is None or (one[0] < after if newest_first else one[0] > after))
        return list(islice(past, limit))

    async def remove(self, shelf: str, name: str) -> bool:
        with self._space.lock:
            return self._space.book.pop((shelf, name), None) is not None


def _sight(fault: Fault) -> tuple[float, str]:
    return fault.last_seen, fault.fingerprint


def _new_job(new: NewJob, came_at: float, run_at: float, now: float) -> Job:
    """A job that came at `came_at`, and comes again now if it replaces another one."""
    awaited = new.terms.letters if new.terms else 0
    same = ("id", "task", "queue", "lane", "priority", "key", "body", "terms")
    return Job(
        **{name: getattr(new, name) for name in same},
        state=State.WAITING if awaited else State.SCHEDULED if run_at > now else State.READY,
        awaited=awaited,
        attempt=0,
        crashes=0,
        created_at=_date(came_at),
        run_at=_date(run_at),
        expires_at=None if new.expires is None else _date(now + new.expires),
    )


def _date(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def _letters(job: Job) -> list[tuple[JobId, letters.Letter]]:
    """What a job that has ended writes to others."""
    if job.terms is None or not job.terms.to:
        return []
    ended: letters.End = Cancelled(job.reason or "")
    if job.state is State.SUCCEEDED:
        ended = Succeeded(job.result or b"null")
    elif job.state is State.FAILED and job.error is not None:
        ended = Failed(job.error)
    letter = letters.of(job.id, job.task, ended)
    return [(to, letter) for to in job.terms.to]


def _claim(record: _Record, now: float, resumed: bool) -> Claim:
    job, limit, enqueued = record.job, record.new.crash_limit, record.job.created_at.timestamp()
    start = (job.id, record.token, job.task, job.queue, job.lane, job.body, job.attempt, job.crashes)
    return Claim(*start, limit, enqueued, now, resumed, job.run_at.timestamp(), job.key)
