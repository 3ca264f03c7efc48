"""The chapter that writes itself: Hypothesis drives a broker and the memory model side by side and compares every answer.

Both are told the same times and ids. Where the port leaves a choice open (which of two jobs due at the same moment is taken first)
the model follows the broker; a token is each broker's own. After every step all jobs and counts are compared, and every move that a
job made is looked up in `core.state.TRANSITIONS`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Coroutine, Sequence
from heapq import heapify
from math import inf
from typing import Any, TypeVar

import hypothesis.strategies as st
from hypothesis import settings as Settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from msgspec.structs import replace

from windlass.broker.memory import MemoryBroker
from windlass.broker.port import Broker
from windlass.core.gates import LimitInfo, uses_of, whole
from windlass.core.ids import derived
from windlass.core.job import Card, Claim, Duty, Job, JobId, NewJob, Reading, Ready, Wish
from windlass.core.measures import report_of
from windlass.core.outcome import (
    Cancelled,
    ErrorInfo,
    Failed,
    Outcome,
    Parked,
    Released,
    Retried,
    Snoozed,
    Succeeded,
    Suspended,
)
from windlass.core.state import BORN, FINISHED, TRANSITIONS, Move, State
from windlass.core.terms import Meter, Terms, Use
from windlass.testing.conformance.kit import ERROR, NOW, entry

T = TypeVar("T")

QUEUES, LANES = ("default", "videos"), ("loop", "thread")
WORDS = ErrorInfo("crash", "Killed", "killed by signal 9", evidence={"signal": 9})
OUTCOMES: list[tuple[Outcome, Move]] = [
    (Succeeded(b"1"), Move.SUCCEED),
    (Failed(ERROR), Move.FAIL),
    (Failed(ERROR, crash=True), Move.FAIL),
    (Cancelled("enough"), Move.ABANDON),
    (Retried(0.0, ERROR), Move.RETRY),
    (Retried(30.0, ERROR, crash=True), Move.RETRY),
    (Retried(0.0, ERROR, queue="videos"), Move.RETRY),
    (Retried(30.0, ERROR, queue="default"), Move.RETRY),
    (Snoozed(0.0), Move.SNOOZE),
    (Snoozed(30.0), Move.SNOOZE),
    (Suspended(1), Move.SUSPEND),
    (Suspended(2, 30.0), Move.SUSPEND),
    (Released(), Move.RELEASE),
    (Parked("unknown"), Move.PARK),
]

some = st.sampled_from
WHOLES = [f"00000000-0000-7000-8000-{n:012}" for n in range(16)]
PARTS = {derived(whole, number): whole for whole in WHOLES[:4] for number in range(2)}
IDS = [*WHOLES, *PARTS]
ids = some(IDS)
uses = st.builds(
    Use,
    limit=some(["a", "b"]),
    key=some(["", "x"]),
    units=some([1.0, 1.0, 2.0, 0.3]),
    running=some([inf, 1.0, 3.0]),
    rate=some([inf, inf, 0.05, 1.0]),
    burst=some([1.0, 3.0]),
    ordered=some([False, False, False, True]),
)
meters = st.lists(
    st.builds(Meter, some(["a", "b"]), some([None, 0.0, 0.5, 4.0]), some([0.0, 0.0, 15.0])), max_size=2
).map(tuple)
several = st.lists(ids, min_size=1, max_size=8)
plain_terms = st.one_of(
    *[st.none()] * 3,
    some(
        [
            *(Terms(group=group, weight=weight) for group in "ab" for weight in (0.5, 1.0, 4.0)),
            Terms(ageing=7.0),
            Terms(unique="started"),
            Terms(unique_for=50.0),
            Terms(replaces=True),
            Terms(replaces=True, unique="started", group="a", latest=30.0),
            Terms(replaces=True, unique_for=90.0),
        ]
    ),
    st.builds(
        Terms,
        to=st.lists(ids, max_size=3, unique=True).map(tuple),
        root=some([None, *IDS[:3]]),
        letters=some([0, 0, 1, 2]),
        collects=st.booleans(),
    ),
)


def _limited(terms: Terms | None, uses: list[Use]) -> Terms:
    return replace(terms or Terms(), uses=tuple(uses))


terms = st.one_of(plain_terms, st.builds(_limited, plain_terms, st.lists(uses, min_size=1, max_size=3)))
news = st.builds(
    NewJob,
    id=ids,
    task=some(["a", "b"]),
    body=st.just(b"{}"),
    queue=some(QUEUES),
    lane=some(LANES),
    priority=some([0, 5, 9]),
    delay=some([0.0, 0.0, 0.0, 0.0, 20.0]),
    at=some([None, None, None, None, NOW + 100]),
    expires=some([None, None, None, 40.0]),
    key=some([None, None, None, "k", "l"]),
    crash_limit=some([1, 2]),
    keep=st.just(100.0),
    keep_failed=st.just(200.0),
    terms=terms,
)


@st.composite
def families(draw: st.DrawFn) -> NewJob:
    """A job that waits for parts, or a part, which may wait for parts itself."""
    new, part = replace(draw(news), key=None), draw(some([None, None, *PARTS]))
    if part is not None:
        return replace(new, id=part, terms=Terms(to=(PARTS[part],), letters=draw(some([0, 0, 0, 1]))))
    asked = Terms(letters=draw(some([1, 2, 3])), collects=draw(some([False, False, True])))
    return replace(new, id=draw(some(WHOLES[:4])), terms=asked)


full = {"loop": 9, "thread": 9}
rooms: list[dict[str, int]] = [full, full, full, {"loop": 2, "thread": 1}, {"loop": 1}, {}]
runs = st.integers(0, 7)
entries = st.lists(
    st.builds(
        entry, some(["log", "chunk", "progress", "checkpoint"]), st.just(b'{"current":1}'), number=st.integers(0, 6)
    )
)


class AgainstModel(RuleBasedStateMachine):
    """A broker made by `make`, and the model."""

    @staticmethod
    def make() -> Broker:
        """A fresh, empty broker."""
        return MemoryBroker()

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now = NOW
        self.broker, self.model = self.run(_made(self.make)), MemoryBroker()
        self.run(self.broker.open())
        self.claims: list[tuple[Claim, Claim]] = []
        self.stood: dict[JobId, State] = {}
        self.ended = dict.fromkeys(FINISHED, 0)
        self.reports = 0
        self.workers = ["w0", "w1"]

    def teardown(self) -> None:
        self.run(self.broker.close())
        self.runner.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Run one call to its end."""
        return self.runner.run(call)

    def both(self, *moves: Move, ask: Callable[[Broker], Coroutine[Any, Any, T]]) -> T:
        """Ask both and compare; `moves` is what may happen to jobs meanwhile."""
        self.now += 1
        mine, right = self.run(ask(self.broker)), self.run(ask(self.model))
        assert mine == right
        self.agree(moves)
        return mine

    def agree(self, moves: Collection[Move]) -> None:
        """Every job and every count is the same, and no job made an illegal move. Who ends a job may move others by its letter."""
        moves = {*moves, Move.LETTER, Move.UNWANTED}
        mine = self.run(self.broker.get(IDS))
        assert [_blamed(job) for job in mine] == [_blamed(job) for job in self.run(self.model.get(IDS))]
        tallies = [self.run(one.tally()) for one in (self.broker, self.model)]
        if any(job is not None and job.state is State.READY and job.expires_at for job in mine):
            # Where it has expired, some stores take it for waiting until it is promoted.
            tallies = [[replace(one, oldest=None) for one in tally] for tally in tallies]
        assert tallies[0] == tallies[1]
        self.agree_on_limits([job for job in mine if job is not None])
        stands = {job.id: job.state for job in mine if job is not None}
        for job, state in stands.items():
            before = self.stood.get(job)
            if before is None:
                assert state in BORN
            elif before is not state:
                assert any(state in TRANSITIONS.get((before, move), ()) for move in (Move.PASS, *moves)), (
                    before,
                    state,
                )
                if state.finished:
                    self.ended[state] += 1
        self.stood = stands

    def agree_on_limits(self, jobs: Sequence[Job]) -> None:
        """Every gate is the same, and what it counts are the jobs that stand there."""
        limits = self.run(self.broker.limits(now=self.now))
        right = self.run(self.model.limits(now=self.now))
        assert list(map(_rounded, limits)) == list(map(_rounded, right)), (limits, right)
        held, reserved = defaultdict[tuple[str, str], float](float), defaultdict[tuple[str, str], float](float)
        for job in jobs:
            for use in uses_of(job.terms) if job.state in (State.READY, State.RUNNING) else ():
                held[use.limit, use.key] += whole(use.units)
                reserved[use.limit, use.key] += whole(use.units) if use.rate < inf and job.state is State.READY else 0.0
        counted = {(one.limit, one.key): (one.held, one.reserved) for one in limits}
        assert {name: (units, reserved[name]) for name, units in held.items()} == {
            name: accounts for name, accounts in counted.items() if accounts[0]
        }

    def worker(self, pick: int) -> str:
        """A worker's name: mostly of the latest two."""
        return self.workers[-1 - pick % min(3, len(self.workers))]

    def recent(self, picks: Sequence[int]) -> list[tuple[Claim, Claim]]:
        """Claims by how long ago they were made: live ones and stale ones."""
        return [self.claims[-1 - pick % len(self.claims)] for pick in picks if self.claims]

    @initialize(jobs=st.lists(news, min_size=6, max_size=10, unique_by=lambda new: new.id))
    def begin(self, jobs: list[NewJob]) -> None:
        self.beat(0, 100.0, None)
        self.beat(1, 100.0, None)
        self.enqueue(jobs)
        self.claim(list(QUEUES), full, 0)

    @rule(seconds=some([5, 20, 60, 200, -90]))
    def wait(self, seconds: int) -> None:
        """Time goes by; a clock that is set may also step back."""
        self.now += seconds

    @rule(jobs=st.lists(st.one_of(news, news, families()), min_size=2, max_size=6))
    def enqueue(self, jobs: list[NewJob]) -> None:
        self.both(Move.REPLACE, ask=lambda broker: broker.enqueue(jobs, now=self.now))

    @rule(queues=st.permutations(QUEUES), room=some(rooms), worker=runs)
    def claim(self, queues: list[str], room: dict[str, int], worker: int) -> None:
        name = self.worker(worker)
        self.now += 1
        mine = self.run(self.broker.claim(queues, room, name, now=self.now))
        _prefer(self.model, [claim.id for claim in mine])
        right = self.run(self.model.claim(queues, room, name, now=self.now))
        assert [replace(claim, token=0) for claim in mine] == [replace(claim, token=0) for claim in right]
        for claim, _ in zip(mine, right, strict=True):
            assert claim.token > max((old.token for old, _ in self.claims if old.id == claim.id), default=-1)
        self.claims += zip(mine, right, strict=True)
        self.agree({Move.CLAIM})

    @rule(ends=st.lists(some(OUTCOMES), max_size=4), data=st.data())
    def work(self, ends: list[tuple[Outcome, Move]], data: st.DataObject) -> None:
        """The common way: a living worker claims what there is and ends some of it."""
        self.beat(0, 300.0, None)
        self.claim(data.draw(st.permutations(QUEUES)), full, 0)
        self.settle(list(range(len(ends))), ends)

    work_on = work  # twice in the hat: most stories should have some

    @rule(
        picks=st.lists(runs, min_size=2, max_size=6),
        ends=st.lists(some(OUTCOMES), min_size=6, max_size=6),
        said=st.lists(meters, min_size=6, max_size=6),
    )
    def settle(
        self, picks: list[int], ends: list[tuple[Outcome, Move]], said: Sequence[tuple[Meter, ...]] = ((),) * 6
    ) -> None:
        pairs = [
            ([replace(one, meters=meters) for one in claims], end)
            for claims, end, meters in zip(self.recent(picks), ends, said, strict=False)
        ]
        jobs = self.run(self.model.get([claims[0].id for claims, _ in pairs]))
        if any(job and job.terms for job in jobs):  # who passes between two outcomes of one job is left open
            pairs = list({claims[0].id: (claims, end) for claims, end in pairs}.values())

        async def ask(broker: Broker) -> tuple[list[bool], set[Ready]]:
            side = broker is self.model
            applied, ready = await broker.settle([(pair[side], end) for pair, (end, _) in pairs], now=self.now)
            return applied, set(ready)

        applied, _ = self.both(Move.HOLD, *(move for _, (_, move) in pairs), ask=ask)
        told = [(claim, end) for ((claim, _), (end, _)), taken in zip(pairs, applied, strict=True) if taken]
        report = report_of((claim.id, claim.queue, claim.task, end) for claim, end in told)
        self.reports += 1
        self.both(ask=lambda one: one.record("w", self.reports, report, now=self.now))

    @rule()
    def look_back(self) -> None:
        """In the history, each end of a job is counted once, whoever told it."""
        counts = Counter[str]()
        for one in self.both(ask=lambda one: one.series(3600, 0, inf)):
            counts[one.outcome] += one.count
        assert {state: counts[state] for state in FINISHED} == self.ended
        self.both(ask=_faults)

    @rule(worker=runs, ttl=some([0.0, 50.0, 300.0, 300.0]), words=some([None, WORDS]), blameless=st.booleans())
    def beat(self, worker: int, ttl: float, words: ErrorInfo | None, blameless: bool = False) -> None:
        name, card = self.worker(worker), Card(host="here", pid=1, last_words=words, blameless=blameless)

        async def ask(broker: Broker) -> tuple[bool, set[JobId], Wish]:
            pulse = await broker.beat(name, card, ttl, now=self.now)
            return pulse.alive or ttl == 0, set(pulse.cancelling), pulse.wish

        if not self.both(ask=ask)[0]:
            self.workers.append(f"w{len(self.workers)}")  # as a worker does that was told that it is dead
            self.beat(0, 100.0, None)

    @rule(worker=runs, state=some([None, "working", "quiet", "stopped"]), stacks=some([None, 1.0, 2.5]))
    def wish(self, worker: int, state: Duty | None, stacks: float | None) -> None:
        self.both(ask=lambda one: one.wish(self.worker(worker), state, stacks, now=self.now))

    @rule(picks=st.lists(runs, min_size=1, max_size=3), lines=entries)
    def append(self, picks: list[int], lines: list[Any]) -> None:
        pairs = self.recent(picks)
        self.both(ask=lambda one: one.append([(pair[one is self.model], lines) for pair in pairs], now=self.now))
        for mine, _ in pairs:
            self.read(mine.id, 0)

    @rule(job=ids, after=st.integers(0, 5))
    def read(self, job: JobId, after: int) -> None:
        self.both(ask=lambda broker: _read(broker, job, after))

    @rule(verb=some(["promote", "reclaim", "prune"]))
    def upkeep(self, verb: str) -> None:
        moves = {"promote": (Move.PROMOTE, Move.EXPIRE), "reclaim": (Move.RECLAIM, Move.QUARANTINE), "prune": ()}
        done: Any = None

        async def ask(broker: Broker) -> Any:
            nonlocal done
            if broker is self.model and verb != "prune":
                in_order = _prefer if verb == "promote" else _take_back_in_order
                in_order(self.model, [one.id for one in done])
            done = await getattr(broker, verb)(now=self.now)
            return (len(done), set(done)) if isinstance(done, list) else done

        self.both(*moves[verb], ask=ask)
        self.look_back()

    @rule(jobs=several)
    def cancel(self, jobs: list[JobId]) -> None:
        self.both(Move.CANCEL, ask=lambda one: one.cancel(jobs, now=self.now))
        self.look_back()

    @rule(jobs=several)
    def revive(self, jobs: list[JobId]) -> None:
        self.both(Move.REVIVE, ask=lambda one: _set(one.revive(jobs, now=self.now)))

    @rule(job=ids, name=some(["go", "stop"]))
    def deliver(self, job: JobId, name: str) -> None:
        self.both(ask=lambda one: one.deliver(job, name, b"1", now=self.now))
        self.read(job, 0)

    @rule(jobs=several)
    def forget(self, jobs: list[JobId]) -> None:
        self.both(ask=lambda one: _set(one.forget(jobs, now=self.now)))

    @rule(queue=some(QUEUES), paused=some([True, False, False]))
    def pause(self, queue: str, paused: bool) -> None:
        self.both(Move.HOLD, ask=lambda one: one.pause(queue, paused, now=self.now))

    @rule(
        states=some(
            [(), *((state,) for state in State), (State.FAILED, State.CANCELLED), (State.READY, State.SUCCEEDED)]
        ),
        queue=some([None, *QUEUES]),
        key=some([None, "k"]),
        root=some([None, None, IDS[0]]),
        bounds=st.lists(some([None, *IDS]), min_size=2, max_size=2),
        scan=some([1, 4, 100]),
    )
    def find(self, bounds: list[JobId | None], scan: int, **filters: Any) -> None:
        async def ask(broker: Broker) -> list[Job]:
            listed, (before, after) = list[Job](), bounds
            while True:
                jobs, before = await broker.find(before=before, after=after, limit=3, scan=scan, **filters)
                listed += jobs
                if before is None:
                    return listed

        self.both(ask=ask)
        self.both(ask=lambda one: one.workers(now=self.now))


def check_against_model(make: Callable[[], Broker], settings: Settings | None = None) -> None:
    """Drive `make()`, a fresh and empty broker with each call, beside the model; raises at the first difference.

    Without `settings` the loaded Hypothesis profile counts; the profile "default" means 50 stories of 30 steps.
    """
    if settings is None and Settings.get_current_profile_name() == "default":
        settings = Settings(max_examples=50, stateful_step_count=30, deadline=None)
    machine = type("AgainstModel", (AgainstModel,), {"make": staticmethod(make)})
    run_state_machine_as_test(machine, settings=settings)


async def _made(make: Callable[[], Broker]) -> Broker:
    return make()  # inside the loop, as an app would


async def _set(call: Coroutine[Any, Any, Any]) -> Any:
    """An answer; of a list, whose order the port leaves open, the set."""
    answer = await call
    return (len(answer), set(answer)) if isinstance(answer, list) else answer


async def _read(broker: Broker, job: JobId, after: int) -> Reading | None:
    """A reading. In which order the letters of one step are written the port leaves open: they are sorted."""
    reading = await broker.read(job, after=0)
    if reading is None:
        return None
    letters = sorted((one for one in reading.entries if one.kind == "letter"), key=lambda one: (one.at, one.data))
    numbers = sorted(one.seq for one in letters)
    letters = [replace(one, seq=seq) for one, seq in zip(letters, numbers, strict=True)]
    others = [one for one in reading.entries if one.kind != "letter"]
    entries = [one for one in sorted([*others, *letters], key=lambda one: one.seq) if one.seq > after]
    return replace(reading, entries=entries, end=_blamed(reading.end))


def _blamed(job: Job | None) -> Job | None:
    """A job. Which of several failures of one step failed it the port leaves open."""
    if job is None or job.error is None or job.error.type != "PartFailed":
        return job
    return replace(job, error=replace(job.error, message=""))


def _rounded(one: LimitInfo) -> LimitInfo:
    return replace(one, level=None if one.level is None else round(one.level, 6))


async def _faults(broker: Broker) -> list[tuple[object, ...]]:
    """The faults, without the example: of jobs that were taken back at once, the port leaves open which is the latest."""
    found = await broker.faults()
    return [(one.fingerprint, one.count, one.final, one.first_seen, one.last_seen) for one in found]


def _prefer(model: MemoryBroker, chosen: Sequence[JobId]) -> None:
    """Let the model break its ties in favour of `chosen`: among equals the broker may take whichever it likes."""
    place = {job: -next(model._space.serial) for job in reversed(chosen)}
    heaps: list[list[Any]] = [*model._space.ready.values(), model._space.scheduled]
    for heap in heaps:
        for n, (order, serial, record) in enumerate(heap):
            if record.place == serial and record.job.id in place:
                record.place = place[record.job.id]
                heap[n] = (order, record.place, record)
        heapify(heap)


def _take_back_in_order(model: MemoryBroker, taken: Sequence[JobId]) -> None:
    """Let the model take jobs back as the broker did: of one group, the first has the first turn."""
    number, workers = {job: n for n, job in enumerate(taken)}, model._space.workers
    for holder in workers.values():
        holder.held = dict(sorted(holder.held.items(), key=lambda one: number.get(one[0], inf)))
    first = {name: min((number.get(job, inf) for job in one.held), default=inf) for name, one in workers.items()}
    model._space.workers = dict(sorted(workers.items(), key=lambda one: first[one[0]]))
