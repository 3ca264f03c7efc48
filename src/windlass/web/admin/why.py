"""Why a job is not running, in words: pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from windlass.core.gates import LimitInfo, uses_of
from windlass.core.job import Job, QueueInfo, Worker
from windlass.core.resources import needs_of
from windlass.core.state import State
from windlass.limit import why_waiting
from windlass.web.admin.steps import Step
from windlass.web.admin.words import length, plural

NAMED = 3
"""Jobs that another one waits for, and that are named."""


def why(
    job: Job,
    queue: QueueInfo,
    workers: Sequence[Worker],
    ahead: int | None,
    now: float,
    limits: Sequence[LimitInfo] = (),
    parts: Sequence[Job] = (),
    steps: Sequence[Step] = (),
) -> list[str]:
    """What keeps the job from running now, the first reason first; nothing when it runs or has finished.

    ahead: how many jobs of its queue are before it; None when they are too many to be looked at. limits: those that it has.
    parts: some unfinished ones that it waits for. steps: those that it has come to, if it is a flow.
    """
    match job.state:
        case State.SCHEDULED:
            return list(suspended(job, steps, now)) or list(_scheduled(job, workers, now))
        case State.WAITING:
            return list(waiting(job, limits, queue.paused, now, parts, steps))
        case State.PARKED:
            reason = (job.reason or "no worker could make sense of it").rstrip(".")
            return [
                f"It is put aside: {reason}.",
                "It is kept, and made ready again once a worker starts that understands it.",
            ]
        case State.READY:
            return list(_ready(job, queue, workers, ahead))
        case _:
            return []


def waiting(
    job: Job, limits: Sequence[LimitInfo], paused: bool, now: float, parts: Sequence[Job], steps: Sequence[Step]
) -> Iterator[str]:
    """What a waiting job waits for: letters first, then its limits."""
    if job.letters >= job.awaited:
        uses = " and ".join(
            f"{use.limit}{f' under the key {use.key}' if use.key else ''}" for use in uses_of(job.terms)
        )
        told = list(why_waiting(job, limits, paused, now)) if uses else ["It waits for other jobs to finish."]
        yield from told or [f"It stands at the limit {uses}, and passes with the next look of a worker."]
    elif pending := list(suspended(job, steps, now)):
        yield from pending
    else:
        come = f", of which {job.letters:,} {'has' if job.letters == 1 else 'have'} finished" if job.awaited > 1 else ""
        yield f"It waits for {plural(job.awaited, 'job')}{come}."
        for part in parts[:NAMED]:
            yield f"The job {part.id} ({part.task}) is {part.state}."


def suspended(job: Job, steps: Sequence[Step], now: float) -> Iterator[str]:
    """What a flow waits for."""
    for step in steps:
        if step.outcome != "waiting":
            continue
        left = "" if step.until is None else length(max(0.0, step.until.timestamp() - now))
        match step.kind:
            case "event":
                yield f'It waits for the event "{step.event}"{left and f", for another {left} at most"}: app.signal(...) tells it.'
            case "sleep":
                yield f"It sleeps for another {left}."
            case _:
                yield f"It waits for the job {step.job} ({step.name.removeprefix('run ')})."
    if job.error is not None and any(step.outcome == "waiting" for step in steps):
        yield f"It has failed before: {job.error.type}."


def _scheduled(job: Job, workers: Sequence[Worker], now: float) -> Iterator[str]:
    left = job.run_at.timestamp() - now
    when = f"due in {length(left)}" if left > 0 else "due now, and made ready with the next look of a worker"
    if job.error is None:
        yield f"Its time has not come: it is {when}."
    else:
        tries = plural(job.attempt, "attempt")
        yield f"It failed ({job.error.type}) and is tried again: the next run is {when}. It has spent {tries} so far."
    if not workers:
        yield "No worker is alive, so nobody will look for it when its time has come. Start one: windlass worker"


def _ready(job: Job, queue: QueueInfo, workers: Sequence[Worker], ahead: int | None) -> Iterator[str]:
    serving = [one for one in workers if job.queue in one.card.queues]
    taking = [one for one in serving if one.card.state == "working"]
    slots = sum(one.card.slots.get(job.lane, 0) for one in taking)
    busy = sum(one.card.busy.get(job.lane, 0) for one in taking)
    if queue.paused:
        yield f"The queue {job.queue} is paused. It runs once somebody resumes it."
    if not workers:
        yield "No worker is alive. Start one: windlass worker"
    elif not serving:
        yield f"No living worker takes the queue {job.queue}. Start one: windlass worker -q {job.queue}"
    elif not taking:
        yield f"{plural(len(serving), 'worker')} of the queue {job.queue} take nothing new: they are quiet, or about to stop."
    elif not slots and (needs := needs_of(job.lane)):
        yield f"It needs {needs}, and no living worker of the queue {job.queue} has that. Start one: windlass worker --has {needs}"
    elif not slots:
        yield f"No worker of the queue {job.queue} has slots in the lane {job.lane}."
    elif busy >= slots:
        yield f"All {plural(slots, 'slot')} in the lane {job.lane} of the queue's workers are busy."
    elif not queue.paused and not ahead:
        yield "Nothing keeps it: a worker takes it in a moment."
    if ahead is None:
        yield f"{queue.counts.get(State.READY, 0):,} jobs of its queue are ready, it is one of them."
    elif ahead:
        yield f"{plural(ahead, 'job')} of its queue {'is' if ahead == 1 else 'are'} before it."
    if job.error is not None:
        yield f"It has run before: {job.error.type}."
