"""Windlass with one mistake in it, of the kind that queues in the field have had. The simulation must find each of them.

A mutant is a patch for the time of a simulation; the product has no switch for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec

from windlass.broker.memory import MemoryBroker, Space, _date, _Holder, _Record
from windlass.core.job import Card, Claim, Entry, JobId, NewJob, Placed, Pulse, Ready
from windlass.core.outcome import ErrorInfo, Failed, Outcome, Released, Retried, Snoozed, Succeeded
from windlass.core.state import State
from windlass.worker.custody import Custody
from windlass.worker.executor import Executor
from windlass.worker.heart import Heart
from windlass.worker.identity import Identities
from windlass.worker.run import Identity, Notes, Run
from windlass.worker.settler import Pair, Settler
from windlass.worker.ward import Ward


class Mutant(NamedTuple):
    """What is wrong, and where."""

    what: str
    place: type
    name: str
    code: Callable[..., Any]


MUTANTS: dict[str, Mutant] = {}

_live = Space.live
_take, _end, _place, _append = MemoryBroker._take, MemoryBroker._end, MemoryBroker._place, MemoryBroker._append
_reclaim, _promote, _beat, _cancel = MemoryBroker.reclaim, MemoryBroker.promote, MemoryBroker.beat, MemoryBroker.cancel
_start, _doubt = Executor.start, Identities.doubt


def mutant(place: type, name: str, what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function that takes the place of a method."""

    def register(code: Callable[..., Any]) -> Callable[..., Any]:
        MUTANTS[code.__name__] = Mutant(what, place, name, code)
        return code

    return register


@contextmanager
def mutated(name: str | None) -> Generator[None]:
    """Inside the `with`, the mistake of that name is made; None: none."""
    if name is None:
        yield
        return
    one = MUTANTS[name]
    right = getattr(one.place, one.name)
    setattr(one.place, one.name, one.code)
    try:
        yield
    finally:
        setattr(one.place, one.name, right)


# --- the fence


@mutant(Space, "live", "every write of a run is applied, whoever has the job by now")
def no_fence(space: Space, claim: Claim) -> _Record | None:
    return space.jobs.get(claim.id)


@mutant(Space, "live", "a write is applied when the job runs, whoever runs it")
def fence_by_state(space: Space, claim: Claim) -> _Record | None:
    record = space.jobs.get(claim.id)
    return record if record and record.job.state is State.RUNNING else None


@mutant(Space, "live", "an outcome that is repeated is applied again")
def outcome_twice(space: Space, claim: Claim) -> _Record | None:
    record = space.jobs.get(claim.id)
    return record if record and record.token == claim.token else None


@mutant(MemoryBroker, "_append", "the journal of a job is open to the runs that lost it")
def journal_unfenced(broker: MemoryBroker, claim: Claim, entries: Sequence[Entry]) -> bool:
    if (record := broker._space.jobs.get(claim.id)) is None:
        return False
    for entry in entries:
        record.written += 1
        record.journal[record.written] = entry
    return True


@mutant(MemoryBroker, "_append", "a journal takes what is repeated once more")
def append_again(broker: MemoryBroker, claim: Claim, entries: Sequence[Entry]) -> bool:
    return _append(broker, claim, [msgspec.structs.replace(entry, number=0) for entry in entries])


@mutant(Notes, "numbered", "a run does not number what it writes")
def no_numbers(_notes: Notes, entry: Entry) -> Entry:
    return entry


# --- what is counted


@mutant(MemoryBroker, "_take", "an attempt is counted when it ends, not when it is claimed")
def claim_not_counted(
    broker: MemoryBroker, queues: Sequence[str], room: dict[str, int], worker: str, now: float
) -> list[Claim]:
    claims = _take(broker, queues, room, worker, now)
    for claim in claims:
        broker._space.jobs[claim.id].change(attempt=claim.attempt - 1)
    return claims


@mutant(MemoryBroker, "_end", "a job whose worker died is as good as new")
def crash_not_counted(broker: MemoryBroker, record: _Record, outcome: Outcome, now: float) -> list[Ready]:
    crashed = isinstance(outcome, Retried | Failed) and outcome.crash
    return _end(broker, record, Snoozed(0.0) if crashed else outcome, now)


@mutant(MemoryBroker, "_end", "a job that a worker hands back has spent its attempt")
def release_spends(broker: MemoryBroker, record: _Record, outcome: Outcome, now: float) -> list[Ready]:
    handed_back = isinstance(outcome, Released)
    return _end(broker, record, Retried(0.0, ErrorInfo("", "", "")) if handed_back else outcome, now)


@mutant(MemoryBroker, "beat", "nobody's death is innocent")
async def all_are_to_blame(broker: MemoryBroker, worker: str, card: Card, ttl: float) -> Pulse:
    return await _beat(broker, worker, Card(host=card.host, pid=card.pid, last_words=card.last_words), ttl)


# --- leases


@mutant(MemoryBroker, "reclaim", "a job is taken from a worker that still lives")
async def reclaim_too_early(broker: MemoryBroker, limit: int, **given: Any) -> list[Ready]:
    return await _reclaim(broker, limit, now=broker.clock() + 2.0, **given)


@mutant(MemoryBroker, "reclaim", "all jobs of a dead worker are made ready, whatever they are by now")
async def reclaim_without_state(broker: MemoryBroker, limit: int, **given: Any) -> list[Ready]:
    ready, space, now = await _reclaim(broker, limit, **given), broker._space, broker.clock()
    for record in space.jobs.values():
        holder = space.workers.get(record.job.worker or "")
        if holder is not None and not holder.alive(now) and record.job.state is State.SUCCEEDED:
            ready += space.due(record, 0.0, now)
    return ready


@mutant(MemoryBroker, "beat", "a worker whose jobs were taken lives again with its next beat")
async def robbed_worker_lives(broker: MemoryBroker, worker: str, card: Card, ttl: float) -> Pulse:
    if (holder := broker._space.workers.get(worker)) is not None:
        holder.robbed = False
    return await _beat(broker, worker, card, ttl)


@mutant(_Holder, "alive", "a lease never ends by itself")
def lease_for_ever(holder: _Holder, now: float) -> bool:
    return not holder.robbed and holder.until > now - 60


@mutant(MemoryBroker, "_take", "whoever asks gets a job")
def claim_by_the_dead(
    broker: MemoryBroker, queues: Sequence[str], room: dict[str, int], worker: str, now: float
) -> list[Claim]:
    holder = broker._space.workers.get(worker)
    if holder is None or holder.alive(now):
        return _take(broker, queues, room, worker, now)
    until, robbed, holder.until, holder.robbed = holder.until, holder.robbed, now + 1, False
    try:
        return _take(broker, queues, room, worker, now)
    finally:
        holder.until, holder.robbed = until, robbed


# --- producers


@mutant(MemoryBroker, "_place", "a job that is enqueued again begins anew")
def enqueue_without_id(broker: MemoryBroker, new: NewJob, now: float) -> Placed:
    if (record := broker._space.jobs.get(new.id)) is not None:
        broker._space.remove(record, now)
    return _place(broker, new, now)


@mutant(MemoryBroker, "_place", "a key is looked up first, and taken later")
def key_checked_before(broker: MemoryBroker, new: NewJob, now: float) -> Placed:
    space = broker._space
    holder = space.jobs.get(space.keys.get(new.key or "", ""))
    if holder is not None and holder.job.created_at > _date(now) - timedelta(seconds=0.5):
        space.keys.pop(new.key or "")
    return _place(broker, new, now)


@mutant(MemoryBroker, "cancel", "a cancel deletes")
async def cancel_deletes(broker: MemoryBroker, ids: Sequence[JobId]) -> dict[JobId, State]:
    states = await _cancel(broker, ids)
    for job, state in states.items():
        if state is State.CANCELLED:
            broker._space.remove(broker._space.jobs[job], broker.clock())
    return states


def _cancel_now(broker: MemoryBroker, ids: Sequence[JobId]) -> None:
    with suppress(StopIteration):
        _cancel(broker, ids).send(None)


@mutant(MemoryBroker, "cancel", "a cancel is answered before it is done")
async def cancel_unordered(broker: MemoryBroker, ids: Sequence[JobId]) -> dict[JobId, State]:
    space = broker._space
    asyncio.get_running_loop().call_later(0.05, _cancel_now, broker, ids)
    states = {record.job.id: record.job.state for record in space.known(ids)}
    return {
        job: state if state.finished or state is State.RUNNING else State.CANCELLED for job, state in states.items()
    }


@mutant(MemoryBroker, "beat", "no worker is told of a cancel")
async def cancel_untold(broker: MemoryBroker, worker: str, card: Card, ttl: float) -> Pulse:
    return Pulse((await _beat(broker, worker, card, ttl)).alive)


@mutant(MemoryBroker, "promote", "the clock of the store is ahead")
async def too_early(broker: MemoryBroker, limit: int = 1000, *, wait: float = 0.0) -> list[Ready]:
    return await _promote(broker, limit, now=broker.clock() + 0.5)


# --- workers


@mutant(Executor, "start", "a job has succeeded as soon as it is begun")
def settled_before_run(executor: Executor, claim: Claim, identity: Identity) -> None:
    identity.held += 1
    executor._settle(Run(claim, identity), Succeeded(b"%d" % claim.token))
    _start(executor, claim, identity)


@mutant(Settler, "_settle", "an outcome that the store did not take is forgotten")
async def outcome_forgotten(settler: Settler, batch: list[Pair]) -> None:
    try:
        await settler._flush(batch)
        await settler._broker.settle([(run.claim, outcome) for run, outcome in batch])
    except Exception:
        pass


@mutant(Settler, "_settle", "an outcome is stored before what its run wrote")
async def outcome_before_journal(settler: Settler, batch: list[Pair]) -> None:
    while True:
        try:
            await settler._broker.settle([(run.claim, outcome) for run, outcome in batch])
            return
        except Exception:
            await asyncio.sleep(0.1)


@mutant(Identities, "doubt", "a claim without an answer did not happen")
def no_doubt(identities: Identities, identity: Identity) -> None:
    if identity.worker not in identities._all:  # the store said so
        _doubt(identities, identity)


@mutant(Executor, "lose", "a worker that lost its jobs goes on with them")
def zombie_goes_on(executor: Executor, identity: Identity) -> None:
    pass


@mutant(Heart, "retire", "a worker that goes does not say so")
async def silent_farewell(heart: Heart, worker: str, card: Card | None = None, tries: int = 3) -> None:
    heart._workers.discard(worker)


@mutant(Custody, "give_back", "the jobs of a dead runner wait for the next round of upkeep")
async def forgetful_burial(custody: Custody, ward: Ward, words: ErrorInfo) -> None:
    for worker in list(ward.ids):
        custody._forget(worker)
        await custody._heart.retire(worker, msgspec.structs.replace(ward.card(), last_words=words))


@mutant(MemoryBroker, "reclaim", "when the store was away, everybody is taken for dead")
async def no_grace(broker: MemoryBroker, limit: int, **given: Any) -> list[Ready]:
    given["grace"] = 0.0
    return await _reclaim(broker, limit, **given)
