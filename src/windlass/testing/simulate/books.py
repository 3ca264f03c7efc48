"""The books: where each job must stand, followed from what was asked of the store and what it answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from windlass.core.job import Card, Claim, Entry, Job, JobId, NewJob
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
)
from windlass.core.state import State
from windlass.testing.simulate.clock import EPOCH
from windlass.testing.simulate.loop import Loop
from windlass.testing.simulate.plan import job_name
from windlass.testing.simulate.process import Process


class Violation(Exception):
    """A promise was broken."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")


@dataclass(slots=True, eq=False)
class Going:
    """One run of a job, from its first line to its last.

    began: when. end: how it ended; None: it goes on, or its process died. given_up: it did not stop when told to, and goes on without a
    master. checkpoint: the latest that it wrote or found. lines: of log that it wrote.
    """

    process: Process
    token: int
    worker: str
    began: float
    checkpoint: Any
    lines: int = 0
    end: str | None = None
    given_up: bool = False

    @property
    def on(self) -> bool:
        """Whether its code still runs, with a master."""
        return self.end is None and self.process.alive and not self.given_up


@dataclass(slots=True, eq=False)
class Book:
    """What is known of a job. since: when it came to stand where it stands. seen: how the store showed it last.

    noted, logged: by token, the latest number that a run gave to an entry, and how many lines it logged.
    """

    new: NewJob
    state: State
    due: float
    expires: float | None
    queue: str
    since: float
    seen: Job | None = None
    attempt: int = 0
    crashes: int = 0
    releases: int = 0
    token: int = 0
    worker: str = ""
    started: bool = False
    cancelling: bool = False
    revived: int = 0
    written: int = 0
    journal: dict[int, Entry] = field(default_factory=dict)
    noted: Counter[int] = field(default_factory=Counter)
    logged: Counter[int] = field(default_factory=Counter)
    runs: list[Going] = field(default_factory=list)

    def live(self, claim: Claim) -> bool:
        """Whether this claim's run is the one that counts."""
        return self.state is State.RUNNING and self.token == claim.token

    def run(self) -> Going | None:
        """The run of the latest claim, if it has begun."""
        return next((run for run in reversed(self.runs) if run.token == self.token), None)

    def checkpoint(self) -> Any:
        """The latest that the store took; None without one."""
        found = [entry.data for entry in self.journal.values() if entry.kind == "checkpoint"]
        return msgspec.json.decode(found[-1]) if found else None

    def write(self, claim: Claim, entries: Sequence[Entry]) -> None:
        """The store took these entries, but for what it had already: that is told by the number that the run gave an entry."""
        for entry in entries:
            if 0 < entry.number <= self.noted[claim.token]:
                continue
            self.noted[claim.token] = max(self.noted[claim.token], entry.number)
            if entry.kind in ("progress", "checkpoint"):
                self.journal = {n: old for n, old in self.journal.items() if old.kind != entry.kind}
            self.written += 1
            self.journal[self.written] = msgspec.structs.replace(entry, seq=self.written, number=0)
            self.logged[claim.token] += entry.kind == "log"


@dataclass(slots=True)
class Lease:
    """A worker, as the store must see it."""

    until: float
    card: Card
    robbed: bool = False

    def holds(self, now: float) -> bool:
        """Whether it lives."""
        return not self.robbed and self.until > now


class Shown(Protocol):
    """What the store has of a job. written: the number of the last entry of its journal."""

    job: Job
    written: int


class Books:
    """All books. At the first difference to what the store shows, the simulation ends.

    shown: all jobs, by id. attempts: how many a job has. times: how often each thing happened. calm_since: when the last fault of any
    kind ended, so far. heard_since: the last of the store, or of the way to it. up, gone, back: when the store came back
    the last time but one, went away, and came back last.
    """

    def __init__(self, loop: Loop, shown: Mapping[JobId, Shown], attempts: Callable[[JobId], int]) -> None:
        self.books: dict[JobId, Book] = {}
        self.leases: dict[str, Lease] = {}
        self.times: Counter[str] = Counter()
        self.calm_since = self.heard_since = self.up = self.gone = self.back = 0.0
        self._loop = loop
        self._shown = shown
        self._attempts = attempts
        self._keys: dict[str, Book] = {}
        self._touched: list[Book] = []
        self._innocent: dict[int, float] = {}

    @property
    def now(self) -> float:
        """The time by the clock of the store."""
        return EPOCH + self._loop.now

    # --- promises

    def fail(self, promise: str, what: str) -> None:
        """End the simulation: the promise was broken."""
        if self._loop.broken is None:
            self._loop.broken = Violation(promise, what)

    def expect(self, promise: str, holds: bool, what: str, *names: object) -> None:
        """Fail unless the promise holds. In `names`, jobs stand by their ids."""
        if not holds:
            known = [job_name(one) if isinstance(one, str) and one in self.books else one for one in names]
            self.fail(promise, what.format(*known))

    def troubled(self, until: float = 0.0, *, store: bool = False) -> None:
        """There is a fault, until then: what is promised for calm times only is not asked for before. store: of it, or of the way to it."""
        self.calm_since = max(self.calm_since, until, self._loop.now)
        if store:
            self.heard_since = max(self.heard_since, until, self._loop.now)

    def promised(
        self,
        promise: str,
        within: float,
        holds: Callable[[], bool],
        what: str,
        *,
        calm: Callable[[], float] | None = None,
    ) -> None:
        """Fail unless it holds in so many seconds. It is not asked for when there is a fault in between, by default of any kind."""
        asked = self._loop.now

        def look() -> None:
            if (calm() if calm else self.calm_since) <= asked and not holds():
                self.fail(promise, f"{what}, and {within:.1f} s later it was not so")

        self._loop.call_later(within, look)

    # --- the comparison

    def _compare(self, verb: str) -> None:
        if len(self._shown) != len(self.books):
            odd = ", ".join(job_name(job) for job in self.books.keys() ^ self._shown.keys())
            self.fail("I1 none is lost, none appears", f"after {verb}: {odd}")
            return
        for job, record in self._shown.items():
            book = self.books[job]
            if book.seen is not record.job:
                book.seen = record.job
                self._touched.append(book)
        for book in self._touched:
            self._agree(verb, book)
        self._touched.clear()

    def _agree(self, verb: str, book: Book) -> None:
        job = book.seen
        assert job is not None
        mine = (book.state, book.attempt, book.crashes, book.cancelling, book.queue)
        theirs = (job.state, job.attempt, job.crashes, job.cancelling, job.queue)
        if mine != theirs:
            promise = "I6 an end is final" if book.state.finished else "I7 what was spent is counted"
            if book.state is not job.state and not book.state.finished:
                promise = "I1 every job stands where its history put it"
            names = ("state", "attempt", "crashes", "cancelling", "queue")
            said = [f"{n} {t!s} for {m!s}" for n, m, t in zip(names, mine, theirs, strict=True) if m != t]
            self.fail(promise, f"after {verb}, {job_name(job.id)} shows {', '.join(said)}")
        if book.new.key is not None and not book.state.finished:
            other = self._keys.setdefault(book.new.key, book)
            self.expect("I11 a key admits one", other is book, "{} and {} at once", book.new.id, other.new.id)

    # --- what becomes of a job

    def _move(self, book: Book, state: State) -> None:
        """The job stands in `state` from now on."""
        book.state, book.cancelling, book.since = state, False, self.now
        if state.finished and book.new.key is not None and self._keys.get(book.new.key) is book:
            del self._keys[book.new.key]
        self._touched.append(book)

    def _later(self, book: Book, delay: float) -> None:
        self._move(book, State.SCHEDULED if delay > 0 else State.READY)
        book.due = self.now + delay

    def _count(self, book: Book, crash: bool) -> None:
        if crash and self.calm_since <= self._innocent.get(book.token, -1.0):
            self.fail("I22 nobody pays for his neighbour", f"{job_name(book.new.id)} was counted a crash")
        book.attempt -= crash
        book.crashes += crash
        spent = book.crashes <= book.new.crash_limit
        self.expect("I8 a poison job is put away", spent, "{} crashed {} times", book.new.id, book.crashes)

    def _give_back(self, book: Book) -> None:
        book.releases += 1
        book.attempt -= book.releases <= RELEASE_LIMIT

    def _end(self, book: Book, outcome: Outcome) -> None:
        """The live run ended with this."""
        if book.cancelling:
            self.times[f"a cancel {'lost to' if isinstance(outcome, Succeeded | Failed) else 'beat'} an outcome"] += 1
            if isinstance(outcome, Retried | Snoozed | Released | Parked):
                outcome = Cancelled("")
        match outcome:
            case Succeeded():
                self._move(book, State.SUCCEEDED)
            case Failed(_, crash):
                self._count(book, crash)
                self._move(book, State.FAILED)
            case Cancelled():
                self._move(book, State.CANCELLED)
            case Retried(delay, _, crash, queue):
                self._count(book, crash)
                self.times["a job moved to another queue"] += queue not in (None, book.queue)
                book.queue = queue or book.queue
                self._later(book, delay)
            case Snoozed(delay):
                book.attempt -= 1
                self._later(book, delay)
            case Suspended():
                raise AssertionError("no task of the simulation is a flow")
            case Released():
                self._give_back(book)
                self._later(book, 0.0)
            case Parked():
                book.attempt -= 1
                self._move(book, State.PARKED)
        self.times[type(outcome).__name__.lower()] += 1

    def _take_back(self, book: Book, lease: Lease) -> None:
        """The job was taken from a dead worker."""
        self.times["a job was taken back"] += 1
        if book.cancelling:
            self._move(book, State.CANCELLED)
            self.times["a job was cancelled as its worker was gone"] += 1
        elif lease.card.blameless:
            self._give_back(book)
            self._later(book, 0.0)
            self.times["a death was nobody's fault"] += 1
        else:
            self._count(book, True)
            if book.crashes >= book.new.crash_limit:
                self._move(book, State.FAILED)
                self.times["a job was quarantined"] += 1
            else:
                self._later(book, 0.0)

    # --- what can be asked of them

    def open(self) -> list[JobId]:
        """The jobs that are not over."""
        return [job for job, book in self.books.items() if not book.state.finished]

    def held_by(self, process: Process) -> list[JobId]:
        """The jobs that run under an id of this process."""
        mine = f"{process.name}:"
        return [job for job, book in self.books.items() if book.state is State.RUNNING and book.worker.startswith(mine)]

    def runs_of(self, worker: str) -> list[Going]:
        """The runs that go on under this id."""
        return [run for book in self.books.values() for run in book.runs if run.worker == worker and run.on]
