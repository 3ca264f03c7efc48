"""The product, broken on purpose in the ways in which others are: the suite must turn red on each (test_mutants.py).

They reach into what is private; where the product changes, a mutant may have to follow.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from mutant import MUTANTS, SQLITE, here, mutant, script, statement, statement_of_rows
from sabotage import Patch

from windlass.broker.redis import broker as redis_broker
from windlass.broker.redis.broker import RedisBroker
from windlass.broker.sqlite import moves, verbs, writer
from windlass.broker.sqlite.broker import SqliteBroker
from windlass.core.job import Card, Claim, NewJob, Placed
from windlass.core.outcome import Died, Failed, Retried, Succeeded, Unknown
from windlass.core.state import State
from windlass.errors import ErrorInfo
from windlass.flow import Flow, Record
from windlass.worker import executor, link, process, settler, upkeep
from windlass.worker.custody import Custody
from windlass.worker.executor import Executor
from windlass.worker.heart import Heart
from windlass.worker.lanes import child
from windlass.worker.patrol import Patrol
from windlass.worker.run import Run
from windlass.worker.runner import Runner

__all__ = ["MUTANTS"]

BROKERS: tuple[Any, ...] = (SqliteBroker, RedisBroker)


# --- the fence


@mutant(
    "An outcome is applied by the job's id alone, whoever has the job now",
    {"B8": "I6 its outcome changed", "B7b": "broke off"},
    quick=True,
)
def no_fence(patch: Patch) -> None:
    unfenced(patch, {State.RUNNING, State.READY, State.SCHEDULED, State.SUCCEEDED})
    fence = [("sub(stand, 2, 11) == ARGV[at + 1]", "stand"), ("sub(stand, 2, 11) == ARGV[i + 1]", "stand")]
    script(patch, {"settle": fence})


@mutant("An outcome is applied by the job's id, if the job runs, whoever runs it", {"B7b": "broke off"})
def any_run_will_do(patch: Patch) -> None:
    unfenced(patch, {State.RUNNING})
    state = "stand and sub(stand, 2, 2) == sub({}, 1, 1)"
    fence = [
        (f"stand and sub(stand, 2, 11) == {arg}", state.format(arg)) for arg in ("ARGV[at + 1]", "ARGV[i + 1]")
    ]  # fmt: skip
    script(patch, {"settle": fence})


def unfenced(patch: Patch, states: set[State]) -> None:
    def running(tx: Any, claims: Sequence[Claim]) -> dict[Any, Any]:
        rows = verbs.by_id(tx, "by_id", [claim.id for claim in claims])
        live = {row.id: row for row in rows if row.state in states}
        return {(claim.token, claim.id): live[claim.id] for claim in claims if claim.id in live}

    patch.set(verbs, "_running", running)


@mutant("A job's next run has the token of the one before", {"A2b": "I4 two runs"}, (SQLITE,))
def token_not_new(patch: Patch) -> None:
    new = "(SELECT seq FROM sqlite_sequence WHERE name = 'job') - v.column12"
    statement_of_rows(patch, "move", f"place = {new}", "place = job.place")


# --- when an outcome is stored


@mutant("A job has succeeded before it runs (the message is acknowledged first)", {"A2b": "I5"}, quick=True)
def acknowledged_first(patch: Patch) -> None:
    start = Executor.start

    def begin(self: Any, claim: Claim, identity: Any) -> None:
        number = msgspec.json.decode(claim.body)["args"]["number"]
        identity.held += 1
        self._settle(Run(claim, identity), Succeeded(msgspec.json.encode([number, claim.token])))
        start(self, claim, identity)

    patch.set(Executor, "start", begin)


@mutant("Outcomes whose first write fails are dropped", {"I-6": "I1 stuck"})
def outcome_dropped(patch: Patch) -> None:
    async def settle_once(self: Any, batch: Any) -> None:
        try:
            settler.failpoint("settler.before_settle")
            await self._broker.settle([(run.claim, outcome) for run, outcome in batch])
        except Exception:
            pass

    patch.set(settler.Settler, "_settle", settle_once)


@mutant("A flow goes on before it has remembered what a step gave, and never does", {"W1": "again: step"})
def nothing_remembered(patch: Patch) -> None:
    remember = Flow._remember

    async def forget(self: Any, records: Sequence[Record]) -> None:
        await remember(self, [one for one in records if not one.name.startswith("step")])
        self._records |= {one.number: one for one in records}

    patch.set(Flow, "_remember", forget)


# --- crashes


@mutant("A crash is not counted: the job is simply tried again", {"A10": "broke off"})
def crash_not_counted(patch: Patch) -> None:
    decide = executor.decide

    def forgiving(**given: Any) -> Any:
        ending = given["ending"]
        return Retried(0.1, ending.error) if isinstance(ending, Died) else decide(**given)

    patch.set(executor, "decide", forgiving)


@mutant("A process that leaves with exit code 0 has done its job", {"A7": "broke off"})
def exit_is_success(patch: Patch) -> None:
    outcome = Executor._outcome

    def hopeful(self: Any, run: Any, ending: Any) -> Any:
        if isinstance(ending, Died) and ending.error.evidence.get("exit_code") == 0:
            return Succeeded(b"[0,0]")
        return outcome(self, run, ending)

    patch.set(Executor, "_outcome", hopeful)


@mutant("The suspects of a crash all run on in the same process", {"A11a": "broke off"})
def no_isolation(patch: Patch) -> None:
    patch.set(Executor, "_isolated", lambda self, claim: None)


@mutant("A supervisor leaves the jobs of its dead runner to the end of the lease", {"A2b": "broke off"})
def slow_recovery(patch: Patch) -> None:
    async def do_nothing(self: Any, *_: Any) -> None:
        pass

    patch.set(Custody, "give_back", do_nothing)


# --- leases


@mutant("Jobs are taken back whether or not their worker's lease is over", {"C1": "broke off"}, quick=True)
def reclaim_blindly(patch: Patch) -> None:
    statement(patch, "reclaim_workers", "until <= ?1", "?1")
    script(patch, {"reclaim": [("'-inf', now", "'-inf', '+inf'")]})
    patch.set(upkeep, "LOOK", 0.1)


@mutant("Silence after a suspension counts as death", {"B9": "doubled"})
def no_grace_after_a_gap(patch: Patch) -> None:
    patch.set(upkeep.Upkeep, "_reclaim", lambda self: self._broker.reclaim(upkeep.BATCH))


@mutant("A worker beats from the event loop in which its jobs run", {"C1": "doubled"})
def heart_in_the_loop(patch: Patch) -> None:
    async def no_stacks(_worker: str) -> str:
        return ""

    async def heart_of(self: Any) -> Heart:
        if not hasattr(self, "heart"):
            app = sys.modules["program"].app
            broker = app.make_broker()
            await broker.open()
            card = Card(host="", pid=os.getpid())
            self.heart = Heart(broker, app.settings, app.events, lambda _: card, self.on_pulse, no_stacks)
            self.beating = asyncio.create_task(self.heart.run())
        return self.heart

    async def adopt(self: Any, worker: str) -> None:
        await (await heart_of(self)).adopt(worker)

    async def retire(self: Any, worker: str) -> None:
        await (await heart_of(self)).retire(worker)

    patch.set(here(process).Supervised, "adopt", adopt)
    patch.set(here(process).Supervised, "retire", retire)


@mutant("A worker that is told that it is dead goes on with its jobs", {"B6": "broke off"})
def zombie_goes_on(patch: Patch) -> None:
    patch.set(Executor, "lose", lambda self, identity: None)


@mutant("Children and runners outlive who started them", {"A2a": "broke off"})
def no_leash(patch: Patch) -> None:
    def live_on() -> None:
        time.sleep(3600)

    def into_the_void(self: Any, message: Any) -> None:
        try:
            send(self, message)
        except OSError:
            pass

    send = link.Parent.send
    patch.set(link.Parent, "send", into_the_void)
    for module in (here(process), here(child)):
        patch.set(module, "die_together", live_on)
    if here(process) is not process or here(child) is not child:
        fcntl.fcntl(int(sys.argv[2]), fcntl.F_SETFL, os.O_NONBLOCK)  # the pipe no longer tells of its end


@mutant("Nobody looks after a runner that stands still", {"C2a": "broke off"})
def no_watchdog(patch: Patch) -> None:
    async def look_away(self: Any, ward: Any) -> None:
        pass

    patch.set(Patrol, "_examine", look_away)


# --- going, and coming back


@mutant("A worker that is asked to leave does not wait for its jobs", {"B1": "broke off"})
def no_drain(patch: Patch) -> None:
    drain = Executor.drain

    async def hurried(self: Any, hurry: asyncio.Event, *_: Any) -> None:
        hurry.set()
        await drain(self, hurry)

    patch.set(Executor, "drain", hurried)


@mutant("A job that is handed back has spent an attempt", {"B2": "broke off"})
def release_spends(patch: Patch) -> None:
    patch.set(moves, "RELEASE_LIMIT", 0)
    patch.set(redis_broker, "RELEASE_LIMIT", 0)


@mutant("A job that runs again finds no checkpoint", {"U3": "broke off"})
def checkpoint_forgotten(patch: Patch) -> None:
    async def nothing(self: Any, run: Any) -> tuple[()]:
        return ()

    patch.set(Runner, "_load_journal", nothing)


@mutant("A job of an unknown task fails", {"U4": "broke off", "I-1": "broke off"}, quick=True)
def unknown_fails(patch: Patch) -> None:
    decide = executor.decide

    def strict(**given: Any) -> Any:
        ending = given["ending"]
        if isinstance(ending, Unknown):
            return Failed(ErrorInfo("exception", "UnknownTask", ending.reason, ""))
        return decide(**given)

    patch.set(executor, "decide", strict)


# --- cancels


@mutant("A cancel deletes the job", {"I-9a": "I1 lost"})
def cancel_deletes(patch: Patch) -> None:
    for broker in BROKERS:
        cancel = broker.cancel

        async def delete(self: Any, ids: Any, *, cancel: Any = cancel, **given: Any) -> Any:
            states = await cancel(self, ids, **given)
            await self.forget(ids)
            return states

        patch.set(broker, "cancel", delete)


@mutant(
    "A cancel looks first and writes later: what was claimed in between is called cancelled, and runs", {"I-9a": "I10"}
)
def cancel_unordered(patch: Patch) -> None:
    for broker in BROKERS:
        cancel = broker.cancel

        async def late(self: Any, ids: Any, *, cancel: Any = cancel, **given: Any) -> Any:
            found = await self.get(ids)
            await asyncio.sleep(0.02)
            states = await cancel(self, ids, **given)
            waited = {job.id for job in found if job is not None and job.state is State.READY}
            return {job: State.CANCELLED if job in waited else state for job, state in states.items()}

        patch.set(broker, "cancel", late)


@mutant("A cancel is forgotten when the job is taken back from a dead worker", {"I-9c": "broke off"})
def cancel_forgotten(patch: Patch) -> None:
    after = verbs.after
    patch.set(
        verbs,
        "after",
        lambda row, outcome, now: after(msgspec.structs.replace(row, cancelling=False), outcome, now),
    )
    script(patch, {"reclaim": [("call('SISMEMBER', root .. 'cancelling', job.id) == 1", "false")]})


# --- enqueueing


@mutant("A key is looked up first, and the job stored later", {"I-10": "I11"})
def key_by_check(patch: Patch) -> None:
    for broker in BROKERS:
        enqueue = broker.enqueue

        async def checked(self: Any, jobs: Sequence[NewJob], *, enqueue: Any = enqueue, **given: Any) -> list[Placed]:
            if isinstance(self, SqliteBroker):
                await self._write(DROP, None)
            placed = list[Placed]()
            for job in jobs:
                found = [] if job.key is None else (await self.find(key=job.key)).jobs
                live = [one for one in found if not one.state.finished]
                placed += [Placed(live[0].id, live[0].state, False)] if live else await enqueue(self, [job], **given)
            return placed

        patch.set(broker, "enqueue", checked)
    script(patch, {"enqueue": [("local job = holder_of(key)", "local job = nil")]})


DROP: writer.Verb[None, None] = writer.Verb.each(lambda tx, _: tx.con.execute("DROP INDEX IF EXISTS job_key") and None)


@mutant("Jobs that were enqueued already are stored anew", {"I-13c": "doubled"})
def enqueue_not_idempotent(patch: Patch) -> None:
    statement_of_rows(patch, "enqueue", "INSERT INTO job", "INSERT OR REPLACE INTO job")
    store = "call('{}', stored, id, head .. ARGV[i + 1])"
    script(patch, {"enqueue": [(f"{store.format('HSETNX')} == 1", store.format("HSET"))]})


@mutant("Many jobs of one call are stored one after the other", {"I-13c": "broke off"})
def enqueue_piecemeal(patch: Patch) -> None:
    for broker in BROKERS:
        enqueue = broker.enqueue

        async def one_by_one(
            self: Any, jobs: Sequence[NewJob], *, enqueue: Any = enqueue, **given: Any
        ) -> list[Placed]:
            return [placed for job in jobs for placed in await enqueue(self, [job], **given)]

        patch.set(broker, "enqueue", one_by_one)
