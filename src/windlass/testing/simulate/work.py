"""The code of the jobs, and those who enqueue, cancel and revive them."""

from __future__ import annotations

import asyncio
from typing import Any

from windlass.context import Context, current
from windlass.core.job import JobId
from windlass.core.state import State
from windlass.definition import define
from windlass.errors import BrokerUnavailable, Cancel, Fail, RetryAfter, Snooze
from windlass.testing.simulate.books import Going
from windlass.testing.simulate.plan import QUEUES, TASKS, Act, Errand, job_name
from windlass.testing.simulate.process import Process, here
from windlass.testing.simulate.world import World, world


async def play() -> int:
    """The task of all jobs: it does what the plan says. Its result is the token of its run."""
    context, process, simulated = current(), here.get(), world()
    job, acts = context.job_id, simulated.errands[context.job_id].acts
    run = simulated.judge.began(process, context.token, job, context.last_checkpoint)
    act = acts[min(len(simulated.judge.books[job].runs), len(acts)) - 1]
    simulated.store.tell(process, "run", (job, context.token, act.ending))
    try:
        await _work(simulated, context, act, run)
        run.end = "succeed" if act.ending == "block" else act.ending
    except asyncio.CancelledError:
        await _stay_deaf(simulated, act)
        run.end = "interrupted"
        raise
    finally:
        simulated.store.tell(process, "run over", (job, context.token, run.end))
    return _finish(act, context.token)


DEFINITIONS = {
    TASKS[0]: define(play, name=TASKS[0], queue=QUEUES[0]),
    TASKS[1]: define(play, name=TASKS[1], queue=QUEUES[1]),
    TASKS[2]: define(play, name=TASKS[2], queue=QUEUES[2], lane="process", on_oom=QUEUES[1]),
}


async def _work(simulated: World, context: Context, act: Act, run: Going) -> None:
    for piece in range(run.checkpoint or 0, act.pieces):
        await asyncio.sleep(act.seconds / act.pieces)
        context.log(f"piece {piece}")
        context.progress(piece, act.pieces)
        context.checkpoint(piece + 1)
        run.checkpoint, run.lines = piece + 1, run.lines + 1
    if not act.pieces:
        await asyncio.sleep(act.seconds)
    process = here.get()
    if act.ending in ("die", "eat"):
        process.hungry = act.ending == "eat"
        simulated.loop.kill(process, -9)
        await asyncio.Event().wait()
    elif act.ending == "block":
        _block(simulated, process, context.job_id, act.delay)
        await asyncio.sleep(0)


async def _stay_deaf(simulated: World, act: Act) -> None:
    """Go on for a while after one was told to stop."""
    end = simulated.loop.now + act.deaf
    while simulated.loop.now < end:
        try:
            await asyncio.sleep(end - simulated.loop.now)
        except asyncio.CancelledError:
            continue


def _finish(act: Act, token: int) -> int:
    match act.ending:
        case "raise":
            raise OSError("as planned")
        case "snooze":
            raise Snooze(act.delay)
        case "retry":
            raise RetryAfter(act.delay)
        case "fail":
            raise Fail("as planned")
        case "quit":
            raise Cancel("as planned")
        case _:
            return token


def _block(simulated: World, process: Process, job: JobId, seconds: float) -> None:
    """A job holds up its process: its loop turns no more."""
    process.blocker, process.breathes = job, simulated.loop.die.random() < 0.5
    simulated.store.tell(process, "stands still", (job, seconds))
    simulated.loop.freeze(process)
    simulated.judge.troubled(simulated.loop.now + seconds)

    def go_on() -> None:
        process.blocker = ""
        simulated.loop.thaw(process)

    simulated.loop.call_later(seconds, go_on, context=simulated.loop.outside.room)


# --- those who enqueue


async def produce(simulated: World, errands: list[Errand]) -> None:
    """Enqueue jobs together; then go after each."""
    await asyncio.sleep(errands[0].at)
    link, jobs = simulated.link("producer"), [errand.job for errand in errands]
    if not simulated.plan.has("careless producers"):
        await simulated.ask(link, "enqueue", jobs)
    else:
        try:
            await link.enqueue(jobs)
        except BrokerUnavailable:
            simulated.judge.times["nobody knows whether a job was accepted"] += 1
    for task in [asyncio.create_task(_go_after(simulated, link, errand)) for errand in errands]:
        await task


async def _go_after(simulated: World, link: Any, errand: Errand) -> None:
    """Enqueue a job again; cancel it; revive it."""
    job = errand.job.id
    calls: list[tuple[float, str, list[Any]]] = [(errand.at + later, "enqueue", [errand.job]) for later in errand.again]
    calls += [(moment, "cancel", [job]) for moment in errand.cancelled]
    calls += [(errand.revived, "revive", [job])] if errand.revived is not None else []
    for moment, verb, what in sorted(calls, key=lambda call: call[0]):
        await asyncio.sleep(max(0.0, moment - simulated.loop.now))
        await simulated.ask(link, verb, what)
        if verb == "cancel":
            _promise_cancel(simulated, job)


def _promise_cancel(simulated: World, job: JobId) -> None:
    """A running job ends soon after it was cancelled."""
    book, settings = simulated.judge.books.get(job), simulated.plan.settings
    if book is None or not book.cancelling:
        return
    token, worker = book.token, book.worker

    def ended() -> bool:
        held = (
            book.token == token
            and book.state is State.RUNNING
            and simulated.judge.leases[worker].holds(simulated.judge.now)
        )
        return not (held and simulated.lives(worker))  # of the dead, nobody can know it before the lease is over

    within = settings.beat + settings.kill_after + 1 + 20 * simulated.plan.latency
    simulated.judge.promised("I10 a cancel reaches its job", within, ended, f"{job_name(job)} was cancelled")
