"""The judge: watches every call that the store executes and every run that begins, and ends the simulation when a promise is broken.

It knows nothing of how the store works. Each rule is named after the invariant that it stands for (docs/design/simulation.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from windlass.core.job import Card, Claim, Entry, JobId, NewJob, Placed, Pulse, Reading, Ready
from windlass.core.outcome import Cancelled, Failed, Outcome, Snoozed, Succeeded
from windlass.core.state import State
from windlass.settings import Settings
from windlass.testing.simulate.books import Book, Books, Going, Lease, Shown
from windlass.testing.simulate.clock import EPOCH
from windlass.testing.simulate.loop import Loop
from windlass.testing.simulate.plan import job_name
from windlass.testing.simulate.process import Process

SLACK = 1e-5
"""Seconds: the store keeps microseconds."""
SAID: dict[str, type] = {"succeed": Succeeded, "snooze": Snoozed, "fail": Failed, "quit": Cancelled}
"""The outcome of a run that ended like that, whatever it was told meanwhile."""
BROKEN_OFF = (None, "interrupted", "die", "eat")
"""The ends of runs that did not come to their last line."""


class Judge(Books):
    """The rules: one for each verb of the broker port, two for runs, and some for now and then.

    lives: whether somebody beats for a worker, did so before a time, and can reach the store.
    """

    def __init__(
        self,
        loop: Loop,
        shown: Mapping[JobId, Shown],
        attempts: Callable[[JobId], int],
        lives: Callable[[str, float], bool],
        settings: Settings,
    ) -> None:
        super().__init__(loop, shown, attempts)
        self._lives = lives
        self._settings = settings
        self._paused: set[str] = set()

    def observe(
        self,
        verb: str,
        process: Process,
        args: tuple[Any, ...],
        given: dict[str, Any],
        answer: Any,
        *,
        late: bool = False,
    ) -> None:
        """Take note of a call and its answer, and compare the store with the books. late: its caller had given up before."""
        if late:
            self.times[f"{verb} happened after its caller gave up"] += 1
        rule: Callable[..., None] | None = getattr(self, f"_{verb}", None)
        if rule is not None:
            rule(answer, process, *args, **given)
        self._compare(verb)

    # --- verbs: each rule is given the answer, who asked, and what

    def _enqueue(self, placed: list[Placed], _by: Process, jobs: Sequence[NewJob]) -> None:
        for new, answer in zip(jobs, placed, strict=True):
            known = self.books.get(new.id) or (self._keys.get(new.key) if new.key is not None else None)
            right = (known.new.id, known.state, False) if known else (new.id, answer.state, True)
            same = (answer.id, answer.state, answer.fresh) == right
            self.expect("I3 an enqueue may be repeated", same, "{}: {}", new.id, answer)
            if known is not None:
                self.times["an enqueue was repeated" if known.new.id == new.id else "a key was taken"] += 1
                continue
            state = State.SCHEDULED if new.delay > 0 else State.READY
            expires = None if new.expires is None else self.now + new.expires
            book = Book(new, state, self.now + new.delay, expires, new.queue, self.now)
            self.books[new.id] = book
            if new.key is not None:
                self._keys[new.key] = book
            self._touched.append(book)

    def _claim(
        self, claims: list[Claim], by: Process, _queues: Sequence[str], room: dict[str, int], worker: str, **_: Any
    ) -> None:
        if not claims:
            return
        lease = self.leases.get(worker)
        self.expect("I4 only the living claim", lease is not None and lease.holds(self.now), "{}", worker)
        if by.busy_at is not None:
            by.busy_at = self._loop.now
        for claim in claims:
            book = self.books.get(claim.id)
            if book is None:
                self.fail("I2 no phantom", f"{claim.id} was never enqueued")
                return
            self._may_start(book, claim)
            self.times["a claim came for the dead"] += not by.alive
            book.token, book.worker, book.started = claim.token, worker, True
            book.attempt += 1
            most = self._attempts(claim.id) + book.revived
            fits = claim.attempt == book.attempt <= most
            self.expect("I7 no attempt too many", fits, "{}: {} of {}", claim.id, claim.attempt, most)
            self._move(book, State.RUNNING)
        taken = Counter(claim.lane for claim in claims)
        fits = all(taken[lane] <= room.get(lane, 0) for lane in taken)
        self.expect("a claim is no larger than its room", fits, "{} of {}", taken, room)

    def _may_start(self, book: Book, claim: Claim) -> None:
        job, now = claim.id, self.now
        self.expect("I10 what is cancelled never starts", book.state is not State.CANCELLED, "{}", job)
        self.expect("I4 a job has one master", book.state is not State.RUNNING, "{} runs under {}", job, book.worker)
        self.expect("I6 an end is final", not book.state.finished, "{} was {}", job, book.state)
        self.expect("I13 nothing starts early", now >= book.due - SLACK, "{} is due in {} s", job, book.due - now)
        self.expect("I13 what waits is not started", book.state is State.READY, "{} was {}", job, book.state)
        self.expect("I5 a token only grows", claim.token > book.token, "{}", job)
        self.expect("a paused queue gives nothing", book.queue not in self._paused, "{}", job)
        late = book.expires is not None and not book.started and book.expires <= now - SLACK
        self.expect("what has expired is not started", not late, "{}", job)

    def _settle(
        self, answer: tuple[list[bool], list[Ready]], by: Process, pairs: Sequence[tuple[Claim, Outcome]]
    ) -> None:
        if by.busy_at is not None:
            by.busy_at = self._loop.now
        for (claim, outcome), applied in zip(pairs, answer[0], strict=True):
            book = self.books[claim.id]
            live = book.live(claim)
            if applied != live:
                fault = "of a run that was over was applied" if applied else "of the live run was refused"
                self.fail("I5 the fence", f"{job_name(claim.id)}: {outcome} {fault}")
            elif live:
                self._evidence(book, outcome)
                self._end(book, outcome)
            else:
                self.times["a stale outcome was refused"] += 1

    def _evidence(self, book: Book, outcome: Outcome) -> None:
        """An outcome is that of the live run, and of a run that is over."""
        run, job = book.run(), book.new.id
        going_on = run is not None and run.on
        self.expect("I6 an outcome is that of a run", not going_on, "{} has {} while it runs", job, outcome)
        if isinstance(outcome, Succeeded):
            proved = run is not None and run.end == "succeed" and outcome.result == b"%d" % run.token
            self.expect("I6 an outcome is that of a run", proved, "{} succeeded without one", job)
        if run is None or run.end in BROKEN_OFF:
            return
        said = SAID.get(str(run.end), object)
        self.expect("I6 what a run says counts", isinstance(outcome, said), "{} has {}", job, outcome)
        kept = run.checkpoint == book.checkpoint() and book.logged[run.token] == run.lines
        self.expect("what a run wrote is stored before its outcome, once", kept, "{}", job)

    def _beat(self, pulse: Pulse, _by: Process, worker: str, card: Card, ttl: float) -> None:
        lease = self.leases.get(worker)
        if lease is None:
            lease = self.leases[worker] = Lease(self.now, card)
        if lease.robbed:
            self.expect("I4 who was robbed stays dead", not pulse.alive, "{} lives again", worker)
            self.times["a zombie was told that it is dead"] += 1
            return
        lease.until, lease.card = self.now + ttl, card
        self.expect("I4 who beats lives", pulse.alive == (ttl > 0), "{}", worker)
        wanted = [job for job, book in self.books.items() if book.cancelling and book.worker == worker]
        self.expect("I10 a cancel is told", sorted(wanted) == pulse.cancelling, "{} of {}", pulse.cancelling, wanted)

    def _reclaim(
        self, ready: list[Ready], _by: Process, *_: Any, workers: Sequence[str] | None = None, **__: Any
    ) -> None:
        back: list[JobId] = []
        for job, record in self._shown.items():
            book = self.books.get(job)
            if book is None or book.state is not State.RUNNING:
                continue
            lease, taken = self.leases[book.worker], record.job.state is not State.RUNNING
            if taken and lease.holds(self.now):
                self.fail("I4 a job has one master", f"{job_name(job)} was taken from {book.worker}, which lives")
            elif taken:
                if workers is None:
                    self._was_away(book, lease)
                lease.robbed = True
                self._take_back(book, lease)
                back += [job] * (record.job.state is State.READY)
            wanted = workers is not None and book.worker in workers and not lease.holds(self.now)
            self.expect("I9 a dead runner's jobs come back at once", taken or not wanted, "{}", job)
        self.expect("who makes work ready says so", sorted(back) == sorted(one.id for one in ready), "{}", back)

    def _was_away(self, book: Book, lease: Lease) -> None:
        """When the store comes back, everybody has the time of a beat to be heard of.

        Not so if it goes away again and again, or was away for less than half a lease: nobody can tell that from looks that came late.
        """
        over, now = lease.until - EPOCH, self._loop.now
        long = self.back - self.gone >= self._settings.lease / 2
        away = long and self.gone < over <= self.back and now < self.back + self._settings.beat
        early = away and over - self._settings.lease >= self.up and self._lives(book.worker, self.gone)
        self.expect("the store was away, not the workers", not early, "{} was taken from {}", book.new.id, book.worker)

    def _promote(self, _ready: list[Ready], _by: Process, *_: Any, **__: Any) -> None:
        for job, record in self._shown.items():
            book, shown = self.books[job], record.job.state
            if book.state.finished or book.state is State.RUNNING:
                continue
            if book.expires is not None and not book.started and self._is_over(book.expires, shown is State.CANCELLED):
                self._move(book, State.CANCELLED)
                self.times["a job expired"] += 1
            elif book.state is State.SCHEDULED and self._is_over(book.due, shown is State.READY):
                self._move(book, State.READY)

    def _is_over(self, moment: float, shown: bool) -> bool:
        """Whether it is past this moment. Within the slack, as the store shows."""
        return moment <= self.now if abs(moment - self.now) > SLACK else shown

    def _cancel(self, answer: dict[JobId, State], _by: Process, jobs: Sequence[JobId]) -> None:
        for book in self._known(jobs):
            if book.state is State.RUNNING:
                book.cancelling = True
                self._touched.append(book)
            elif not book.state.finished:
                self._move(book, State.CANCELLED)
                self.times["a job was cancelled before it ran"] += 1
            said = answer.get(book.new.id)
            self.expect("I10 a cancel says what it did", said is book.state, "{}: {}", book.new.id, said)

    def _revive(self, ready: list[Ready], _by: Process, jobs: Sequence[JobId]) -> None:
        revived = {one.id for one in ready}
        for book in self._known(jobs):
            key, attempts = book.new.key, self._attempts(book.new.id)
            taken = key is not None and self._keys.get(key, book) is not book
            may = book.state in (State.PARKED, State.SCHEDULED, State.FAILED, State.CANCELLED) and not taken
            self.expect("who makes work ready says so", may == (book.new.id in revived), "{}", book.new.id)
            if not may:
                continue
            book.written += book.state.finished
            book.revived += book.attempt >= attempts + book.revived
            book.crashes, book.expires = 0, None
            if key is not None:
                self._keys[key] = book
            self._later(book, 0.0)
            self.times["a job was revived"] += 1

    def _known(self, jobs: Sequence[JobId]) -> list[Book]:
        return [self.books[job] for job in jobs if job in self.books]

    def _pause(self, _answer: None, _by: Process, queue: str, paused: bool) -> None:
        (self._paused.add if paused else self._paused.discard)(queue)
        for book in self.books.values():
            book.since = self.now if book.queue == queue else book.since

    def _append(self, taken: list[bool], _by: Process, pairs: Sequence[tuple[Claim, Sequence[Entry]]]) -> None:
        for (claim, entries), applied in zip(pairs, taken, strict=True):
            book = self.books[claim.id]
            self.expect("I5 the fence", applied == book.live(claim), "a journal entry of {}", claim.id)
            self.times["a stale journal entry was refused"] += not applied
            if applied:
                again = any(0 < entry.number <= book.noted[claim.token] for entry in entries)
                self.times["a journal entry was repeated"] += again
                book.write(claim, entries)
                same = self._shown[claim.id].written == book.written
                self.expect("an append may be repeated", same, "the journal of {}", claim.id)

    def _read(self, reading: Reading | None, _by: Process, job: JobId, **_: Any) -> None:
        book = self.books.get(job)
        if book is None or reading is None:
            self.expect("I1 none is lost, none appears", book is None and reading is None, "{}", job)
        else:
            same = reading.entries == [*book.journal.values()] and reading.last == book.written
            self.expect("the journal has no gap", same, "{}", job)

    # --- runs

    def began(self, process: Process, token: int, job: JobId, checkpoint: Any) -> Going:
        """A run's first line."""
        book = self.books[job]
        self.expect("a run has a claim", book.token >= token, "{}", job)
        run = Going(process, token, book.worker if book.token == token else "", self._loop.now, checkpoint)
        others = [other for other in book.runs if other.on]
        if book.token != token:
            self.times["a zombie began a run"] += 1
        elif book.state is State.RUNNING:
            again = any(other.token == token for other in book.runs)
            self.expect("a claim is run once", not again, "{}", job)
            calm = any(other.worker and other.began > self.calm_since for other in others)  # not by zombies
            self.expect("a job is not run twice while its worker lives", not calm, "{}", job)
            same = checkpoint == book.checkpoint()
            self.expect("a run goes on where the last one left", same, "{}: {}", job, checkpoint)
            self.times["a run went on from a checkpoint"] += checkpoint is not None
        book.runs.append(run)
        return run

    def gave_up(self, process: Process, job: JobId) -> None:
        """The worker let go of a run that did not stop."""
        for run in self.books[job].runs:
            run.given_up = run.given_up or run.process is process

    def innocent(self, process: Process, culprit: JobId) -> None:
        """This runner is killed for one of its jobs, and none of the others may pay for that."""
        for job in self.held_by(process):
            if job != culprit:
                self._innocent[self.books[job].token] = self._loop.now
                self.times["a neighbour was innocent"] += 1

    # --- now and then

    def overdue(self, within: float) -> None:
        """No job is held by the dead for longer than that, and none waits when it is due, in calm times."""
        calm = EPOCH + self.calm_since
        for job, book in self.books.items():
            if book.state is State.RUNNING and not (lease := self.leases[book.worker]).holds(self.now):
                late = self.now - max(lease.until, calm)
                self.expect("I9 recovery is bounded", late <= within, "{} is held by the dead for {:.1f} s", job, late)
            elif book.state is State.SCHEDULED:
                late = self.now - max(book.due, calm)
                self.expect("I13 what is due becomes ready", late <= within, "{} was due {:.1f} s ago", job, late)

    def neglected(self, within: float) -> list[Book]:
        """The jobs that have been ready for longer than that, and are not held back."""
        ready = [book for book in self.books.values() if book.state is State.READY and book.queue not in self._paused]
        return [book for book in ready if book.since < self.now - within]

    def idle(self, process: Process, lane: str, slots: int) -> bool:
        """Whether this runner could run another job in that lane."""
        return sum(self.books[job].new.lane == lane for job in self.held_by(process)) < slots
