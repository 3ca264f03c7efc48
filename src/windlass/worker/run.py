"""One claimed job in this worker's hands, and the lane it runs in: what all parts pass around. And how long to wait for a store."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from windlass.context import Context
from windlass.core.job import Claim, Entry
from windlass.core.outcome import Ending, ErrorInfo, Interrupted, TimedOut
from windlass.core.payload import Envelope
from windlass.definition import Definition
from windlass.worker.call import context_for

TAIL = 5
"""Lines of log that are remembered as evidence, should the process of the job die."""


class Identity:
    """One id of a runner. `held`: claims under way, runs, and outcomes that are not stored yet."""

    __slots__ = ("held", "worker")

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.held = 0


class Notes:
    """The unsent journal entries of one run. Of `latest` kinds only the last counts; `logged`, `missing`: of the whole run."""

    __slots__ = ("entries", "latest", "logged", "missing", "tail")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.latest: dict[str, Entry] = {}
        self.logged = 0
        self.missing = 0
        self.tail: deque[bytes] = deque(maxlen=TAIL)


class Run:
    """A claim from the moment it is ours until its outcome is stored.

    why: the reason it was told to end ("cancel", "limit", "shutdown", "lost"); None while it may go on.
    lane: where it runs. slot: the lane whose slot it takes, the one it was claimed for. place: what the lane keeps for it.
    limit: seconds it may take. deadline: the `time.monotonic()` at which that is over.
    """

    __slots__ = (
        "begun", "checkpoint", "claim", "context", "deadline", "definition", "ended", "envelope", "identity",
        "lane", "limit", "notes", "place", "slot", "started", "task", "timer", "values", "why",
    )  # fmt: skip

    definition: Definition
    envelope: Envelope
    values: dict[str, Any]

    def __init__(self, claim: Claim, identity: Identity) -> None:
        self.claim = claim
        self.identity = identity
        self.lane: Lane | None = None
        self.slot: Lane | None = None
        self.context: Context | None = None
        self.checkpoint: bytes | None = None
        self.why: str | None = None
        self.limit: float | None = None
        self.deadline: float | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        self.place: Any = None
        self.notes: Notes | None = None
        self.started = 0.0
        self.begun = False
        self.ended = False

    def open(self, note: Callable[[Run, Entry], None]) -> Context:
        """Make the context that the job's code will see, in this process."""
        self.context = context_for(self.claim, partial(note, self), self.envelope.meta, self.checkpoint)
        return self.context

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
    """

    note: Callable[[Run, Entry], None]
    began: Callable[[Run], None]
    finish: Callable[[Run, Ending], None]


class Lane:
    """A kind of slot. Each lane calls `finish` once for every run it was given, and never raises."""

    name = ""

    def __init__(self, slots: int, reports: Reports) -> None:
        self._note, self._began, self._finish = reports
        self.slots = slots
        self.busy = 0
        self.waiter: asyncio.Future[None] | None = None

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
        if run.context is not None:
            run.context.stop(why)

    def interrupt(self, run: Run) -> None:
        """Break into the job's code, for the reason `run.why`."""
        raise NotImplementedError

    def kill(self, run: Run) -> bool:
        """`kill_after` is over: end the run by force. False: it cannot be ended, and goes on without a master."""
        return False


def pauses() -> Iterator[float]:
    """Growing, jittered pauses in seconds, without an end: a store that comes back finds all workers within two seconds."""
    pause = 0.05
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(2.0, pause * 2)
