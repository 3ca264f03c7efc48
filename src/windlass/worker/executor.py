"""Runs claims: resolve the task, open the envelope, decode the arguments, hand over to the lane; then ending -> outcome.

Never raises and never talks to the broker. How a run ended is decided by `core.outcome.decide`; who is to be told to
end, and why, passes through here: cancel, time limit, shutdown, lost lease.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import cast

import msgspec

from windlass.core.job import Claim, Entry
from windlass.core.outcome import (
    UNKNOWN_TASK,
    Died,
    Ending,
    ErrorInfo,
    Failed,
    Outcome,
    Raised,
    Rejected,
    Released,
    Retried,
    Succeeded,
    TimedOut,
    Unknown,
    decide,
)
from windlass.core.payload import Undecodable, policy_of, unpack
from windlass.core.resources import told
from windlass.core.retry import Retry
from windlass.definition import BUILT_IN, Definition
from windlass.errors import ConfigurationError, JobError
from windlass.events import Events, JobEnded, JobStarted, WorkerChanged
from windlass.failpoints import failpoint
from windlass.settings import Settings
from windlass.worker import capture
from windlass.worker.call import EXIT, describe, fill
from windlass.worker.journal import with_log
from windlass.worker.link import Limited
from windlass.worker.run import Identity, Lane, Run

LoadJournal = Callable[[Run], Awaitable[Sequence[Entry]]]


class Executor:
    """All runs of a runner, by job id. `settle` takes their outcomes; None: the job is not ours any more."""

    def __init__(
        self,
        definitions: Mapping[str, Definition],
        settings: Settings,
        settle: Callable[[Run, Outcome | None], None],
        events: Events,
        load_journal: LoadJournal,
    ) -> None:
        self.runs: dict[Run, None] = {}  # in the order of their start
        self.lanes: dict[str, Lane] = {}
        self.abandoned = self.ended = 0
        self.on_limited: Callable[[Run], None] = lambda _run: None
        self._definitions = definitions
        self._settings = settings
        self._settle = settle
        self._events = events
        self._load_journal = load_journal
        self._loop = asyncio.get_running_loop()
        self._idle: asyncio.Future[None] | None = None

    def start(self, claim: Claim, identity: Identity) -> None:
        """Begin the run of a claim."""
        run = Run(claim, identity)
        if claim.resumed:
            self._lose(
                lambda older: older.claim.id == claim.id
            )  # we would not have it, were an older run of it still ours
        self.runs[run] = None
        try:
            failpoint("worker.before_start")
            definition = run.definition = self._definitions.get(claim.task) or BUILT_IN[claim.task]
            envelope = run.envelope = unpack(claim.body, self._settings.max_payload)
            slot = self.lanes.get(definition.slot) or self._other_lane(definition)
            isolated = claim.crashes and not definition.resources and not definition.is_flow  # whose journal is here
            lane = (self._isolated(claim) if isolated else None) or slot
            reads = claim.resumed or envelope.fill is not None or definition.is_flow
            if envelope.fill is None:
                # A child decodes for itself: what travels to it is the name and the bytes.
                run.values = definition.decode(envelope.args) if lane.decodes else {}
        except KeyError:
            self.finish(run, Unknown(f"{UNKNOWN_TASK}{claim.task!a:.200} is registered in this worker"))
        except (Undecodable, ConfigurationError) as error:
            self.finish(run, Unknown(str(error)))
        except Exception as error:
            self.finish(run, Raised(describe(error), ("builtins.Exception",)))
        else:
            run.limit = definition.options.timeout if envelope.timeout is None else envelope.timeout
            # The slot is taken now, though a checkpoint may have to be read first: the fetcher must not fill it again.
            run.lane, run.slot = lane, slot
            slot.busy += 1
            if reads:
                run.task = self._loop.create_task(self._resume(run, lane))
            else:
                self._begin(run, lane)

    def _other_lane(self, definition: Definition) -> Lane:
        """The lane of a job that was stored before its task was a batch, or had needs."""
        if definition.resources:
            raise ConfigurationError(f"it needs {told(definition.resources)}, which this worker does not have (--has)")
        return self.lanes[definition.lane]

    def _isolated(self, claim: Claim) -> Lane | None:
        """The lane for a job's last chance before it is quarantined: a child of its own, where the culprit of the crashes is found out
        and a neighbour of it is safe. None for all others, and where there can be no children."""
        lane = self.lanes.get("process") if claim.crashes == claim.crash_limit - 1 else None
        return lane if lane is not None and lane.usable else None

    async def _resume(self, run: Run, lane: Lane) -> None:
        """Start a run that goes on from its journal: the latest checkpoint, what a flow remembers, what letters say."""
        entries = await self._load_journal(run)
        run.checkpoint = next((entry.data for entry in reversed(entries) if entry.kind == "checkpoint"), None)
        if run.ended:
            return
        try:
            if run.definition.is_flow:
                run.entries = entries
            if run.envelope.fill is not None:
                run.claim = fill(run.claim, run.envelope, entries)
                run.envelope = unpack(run.claim.body)
                run.values = run.definition.decode(run.envelope.args) if lane.decodes else {}
        except JobError as error:
            self.finish(run, Rejected(error.error or ErrorInfo("reason", type(error).__name__, str(error))))
        except Undecodable as error:
            self.finish(run, Unknown(str(error)))
        else:
            self._begin(run, lane)

    def _begin(self, run: Run, lane: Lane) -> None:
        run.begun = True
        try:
            lane.run(run)
        except Exception as error:  # no thread, no memory: this run must not take the others along
            self.finish(run, Raised(describe(error), ("builtins.Exception",)))

    def began(self, run: Run) -> None:
        """Told by the lane when the function is about to be called: the clock starts."""
        now = run.started = time.monotonic()
        if run.limit is not None:
            run.deadline = now + run.limit
            run.timer = self._loop.call_later(run.limit, self.stop, run, "limit")
            if _is_here(run):
                self.on_limited(run)
        if self._events.wants(JobStarted):
            self._events.emit(JobStarted(run.claim))

    def finish(self, run: Run, ending: Ending) -> None:
        """Told once by the lane how the run ended; what comes after a run was given up is ignored."""
        if run.ended:
            return
        if run.context is not None:
            capture.finish(run.context)
        run.ended = True
        self.ended += 1
        if run.started:
            run.took = time.monotonic() - run.started
        if run.timer is not None:
            run.timer.cancel()
        # Both lead back to the run. Without the circle it goes at once, and the collector need not come for every job.
        run.task = run.context = None
        del self.runs[run]
        outcome = self._outcome(run, ending)
        if self._events.wants(JobEnded):
            self._events.emit(JobEnded(run.claim, outcome, max(0.0, run.took)))
        failpoint("worker.after_run")
        # The slot first: so the fetcher wakes before the settler, and the store settles while what was fetched runs.
        slot = run.slot
        if slot is not None:
            slot.busy -= 1
            if slot.waiter is not None:
                slot.wake()
        self._settle(run, outcome)
        if self._idle is not None and not self.runs and not self._idle.done():
            self._idle.set_result(None)

    def _outcome(self, run: Run, ending: Ending) -> Outcome | None:
        # Whatever broke out of a job that was told to end, it ended because of that. What it *said* or returned counts.
        if run.why is not None and (run.why == "lost" or isinstance(ending, Raised | Died)):
            killed = isinstance(ending, Died) and ending.error.type != EXIT
            then = "; it did not stop when told to, and was killed" if killed else ""
            ending = run.interruption(ending.error.traceback if isinstance(ending, Raised | Died) else "", then)
        if isinstance(ending, Died):
            ending = Died(with_log(ending.error, run))
        claim = run.claim
        if isinstance(ending, Succeeded):
            return ending
        return decide(
            attempt=claim.attempt,
            crashes=claim.crashes,
            crash_limit=claim.crash_limit,
            ending=ending,
            retry=self._policy(run),
            chance=random.random(),
            on_oom=run.definition.on_oom if run.begun else None,
        )

    def _policy(self, run: Run) -> Retry:
        try:
            default = run.definition.options.retry or self._settings.retry
            return policy_of(run.envelope, default)
        except Exception:  # no envelope, or a policy that only a newer Windlass understands
            return self._settings.retry

    def release(self, claim: Claim, identity: Identity) -> None:
        """Hand a claim back that arrived when it could not be started any more."""
        self._settle(Run(claim, identity), Released())

    # --- making runs end

    def stop(self, run: Run, why: str) -> None:
        """Tell a run to end now. What does not end within `kill_after` is ended by force, or given up."""
        if run.ended or run.why is not None:
            run.why = "lost" if why == "lost" else run.why
            return
        run.why = why
        if run.timer is not None:
            run.timer.cancel()
        if run.lane is None or not run.begun:
            if run.task is not None:
                run.task.cancel()
            self.finish(run, run.interruption())
        else:
            run.timer = self._loop.call_later(self._settings.kill_after, self._kill, run)
            run.lane.tell(run, why)
            run.lane.interrupt(run)

    def _kill(self, run: Run) -> None:
        if run.ended or run.lane is None or run.lane.kill(run):
            return
        self.abandoned += 1
        detail = f"{run.claim.task} {run.claim.id} ignored its {run.why} and goes on without a master"
        self.finish(run, run.interruption(then="; it could not be stopped, and was given up"))
        self._events.emit(WorkerChanged(run.identity.worker, f"abandoned a job in lane {run.lane.name}", detail))

    def cancel(self, jobs: Collection[str]) -> None:
        """Cancel those of `jobs` that run here."""
        for run in list(self.runs):
            if run.claim.id in jobs:
                self.stop(run, "cancel")

    def lose(self, identity: Identity) -> None:
        """What was held under this id is not ours any more."""
        self._lose(lambda run: run.identity is identity)

    def _lose(self, lost: Callable[[Run], bool]) -> None:
        for run in list(filter(lost, self.runs)):
            self.stop(run, "lost")

    def warn(self) -> None:
        """Tell all runs that this worker stops, so that they may end soon by themselves."""
        for run in list(self.runs):
            if run.lane is not None and run.why is None:
                run.lane.tell(run, "shutdown")

    async def drain(self, hurry: asyncio.Event) -> None:
        """Let all runs finish; as soon as `hurry` is set, hand back what still runs. Returns when nothing runs any more."""
        idle = self._idle = self._loop.create_future()
        if not self.runs:
            return
        hurried = self._loop.create_task(hurry.wait())
        await asyncio.wait({idle, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        for run in list(self.runs):
            self.stop(run, "shutdown")
        if self.runs:
            await idle

    def limits(self) -> list[tuple[str, int]]:
        """The jobs that run with a time limit in this process, and in which thread."""
        return [(run.claim.id, run.thread) for run in self.runs if run.deadline and _is_here(run)]

    def limited(self, run: Run) -> Limited:
        """What a supervisor must know of a run to end it, should its code never let this process do it."""
        limit, deadline = run.limit or 0.0, run.deadline or 0.0
        error = ErrorInfo("timeout", "TimeLimitExceeded", f"over its time limit of {limit:g} s")
        outcome = self._outcome(run, TimedOut(limit, error))
        claim = msgspec.structs.replace(run.claim, body=b"")
        return Limited(claim, limit, deadline, cast(Retried | Failed, outcome), run.thread)


def _is_here(run: Run) -> bool:
    """Whether its code runs in this process."""
    return run.lane is not None and not run.lane.remote
