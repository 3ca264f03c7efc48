"""One claimed job in this worker's hands, and the lane it runs in: what all parts pass around. And how long to wait for a store."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import inf
from types import FunctionType
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from windlass.context import Context
from windlass.core.job import Claim, Entry
from windlass.core.outcome import Ending, ErrorInfo, Interrupted, TimedOut
from windlass.core.payload import Envelope
from windlass.core.terms import Meter
from windlass.definition import Definition

_LATER: Any = None
_opening = threading.RLock()  # a finalizer that prints may come back to where it was called from
NOT_STARTED = -1.0
TAIL = 50
"""Lines of log that are remembered as evidence, should the process of the job die."""


class Identity:
    """One id of a runner. held: claims under way, runs, and outcomes that are not stored yet. wished: in which state it shall be."""

    __slots__ = ("held", "wished", "worker")

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.held = 0
        self.wished = ""


class Notes:
    """The unsent journal entries of one run. Of `latest` kinds only the last counts; `written`, `logged`, `missing`: of the whole run."""

    __slots__ = ("entries", "latest", "logged", "missing", "tail", "written")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.latest: dict[str, Entry] = {}
        self.written = 0
        self.logged = 0
        self.missing = 0
        self.tail: deque[bytes] = deque(maxlen=TAIL)

    def numbered(self, entry: Entry) -> Entry:
        """The entry, as the next one of its run: the store takes each number once, so that a repeat does no harm."""
        self.written += 1
        return replace(entry, number=self.written)


class Run(Struct, eq=False):
    """A claim from the moment it is ours until its outcome is stored.

    definition, envelope, values: what is to be called, known before any lane sees the run.
    more: the claims of the jobs that run with it, in a batch. devices: what it has of each resource. lane: where it runs.
    slot: the lane whose slot it takes, the one it was claimed for. place: what the lane keeps for it. entries: its journal, for a flow.
    why: the reason it was told to end ("cancel", "limit", "shutdown", "lost"); None while it may go on. told: what its code was told.
    limit: seconds it may take. deadline: the `time.monotonic()` at which that is over.
    thread: the native id of the thread in which its function is called; 0: the main one.
    started: the `time.monotonic()` at which its function was called. took: seconds from then to its end, or NOT_STARTED.
    told_of: its end stands in the journal, or is on its way there.
    """

    claim: Claim
    identity: Identity
    definition: Definition = _LATER
    envelope: Envelope = _LATER
    values: dict[str, Any] = _LATER
    more: list[Claim] = []
    devices: dict[str, tuple[int, ...]] = {}
    lane: Lane | None = None
    slot: Lane | None = None
    place: Any = None
    task: asyncio.Task[None] | None = None
    context: Context | None = None
    checkpoint: bytes | None = None
    entries: Sequence[Entry] = ()
    notes: Notes | None = None
    why: str | None = None
    told: str | None = None
    limit: float | None = None
    deadline: float | None = None
    thread: int = 0
    timer: asyncio.TimerHandle | None = None
    started: float = 0.0
    took: float = NOT_STARTED
    begun: bool = False
    ended: bool = False
    told_of: bool = False

    def open(self) -> Context:
        """The context that the job's code sees, in this process: made when it is first asked for, in any thread."""
        context = self.context
        if context is None:
            assert self.lane is not None
            reports, meta = self.lane.reports, self.envelope.meta
            made = Context(
                self.claim,
                partial(reports.note, self),
                meta=meta,
                last_checkpoint=self.checkpoint,
                max_payload=reports.max_payload,
                entries=self.entries,
                devices=self.devices,
            )
            with _opening:
                context = self.context = self.context or made
                if self.told is not None:
                    context.stop(self.told)
        return context

    def meter(self, said: Meter) -> None:
        """What the job's code says of a limit; of one limit the last word counts, on each of both matters."""
        with _opening:
            before = [
                one
                for one in self.claim.meters
                if one.limit == said.limit and (one.used is None) == (said.used is None)
            ]
            kept = [one for one in self.claim.meters if one not in before]
            self.claim = replace(self.claim, meters=(*kept, said))

    def tell(self, why: str) -> None:
        """Let the job's code see why it should end soon (`ctx.cancelled`, `ctx.shutting_down`), whenever it looks."""
        with _opening:
            self.told = why
            if self.context is not None:
                self.context.stop(why)

    def interruption(self, traceback: str = "", then: str = "") -> Ending:
        """The ending of a run that was told to end, and did not finish by itself. then: what had to be done about it."""
        if self.why != "limit":
            return Interrupted(self.why or "lost")
        limit = self.limit or 0.0
        message = f"over its time limit of {limit:g} s{then}"
        return TimedOut(limit, ErrorInfo("timeout", "TimeLimitExceeded", message, traceback))


class Reports(NamedTuple):
    """Where a lane tells what becomes of its runs.

    note: takes an entry for the journal, in any thread. began: the function is about to be called. finish: how the run ended.
    max_payload: bytes of a chunk or checkpoint at most.
    """

    note: Callable[[Run, Entry], None]
    began: Callable[[Run], None]
    finish: Callable[[Run, Ending], None]
    max_payload: int


class Lane:
    """A kind of slot. Each lane calls `finish` once for every run it was given, and never raises.

    remote: its jobs run in other processes. decodes: it must know their arguments.
    """

    name = ""
    remote = False
    decodes = True

    def __init__(self, slots: int, reports: Reports) -> None:
        self.reports = reports
        self.slots = slots
        self.busy = 0
        self.waiter: asyncio.Future[None] | None = None

    @property
    def free(self) -> int:
        """How many jobs it can start now."""
        return self.slots - self.busy

    @property
    def patience(self) -> float:
        """Seconds that a claim for it may wait at the store."""
        return inf

    def wake(self) -> None:
        """Tell who waits for a free slot that there may be one."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    @property
    def usable(self) -> bool:
        """Whether it can run anything at all."""
        return self.slots > 0

    async def start(self) -> None:
        """Get ready."""

    async def stop(self) -> None:
        """Let go; no run is left, or it was given up."""

    def run(self, run: Run) -> None:
        """Start a run, at once."""
        raise NotImplementedError

    def tell(self, run: Run, why: str) -> None:
        """Let the job's code see why it should end soon (`ctx.cancelled`, `ctx.shutting_down`), no more."""
        run.tell(why)

    def interrupt(self, run: Run) -> None:
        """Break into the job's code, for the reason `run.why`."""
        raise NotImplementedError

    def kill(self, run: Run) -> bool:
        """`kill_after` is over: end the run by force. False: it cannot be ended, and goes on without a master."""
        return False


def named(function: Any, job: str) -> Any:
    """`function` under the name of a job: the stacks of a process that stands still tell whose code it is in."""
    return FunctionType(function.__code__.replace(co_name=in_stacks(job)), function.__globals__)


def in_stacks(job: str) -> str:
    """What stacks call the code of a job."""
    return f"job {job}"


def pauses() -> Iterator[float]:
    """Growing, jittered pauses in seconds, without an end: a store that comes back finds all workers within two seconds."""
    pause = 0.05
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(2.0, pause * 2)
