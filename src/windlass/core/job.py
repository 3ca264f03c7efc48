"""The nouns: a job on its way in (`NewJob`), in a worker's hands (`Claim`), as seen from outside (`Job`)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NamedTuple

from msgspec import Struct, field

from windlass.core.outcome import ErrorInfo
from windlass.core.state import State
from windlass.core.terms import Meter, Terms
from windlass.errors import DurabilityUnavailable

JobId = str

DEFAULT_QUEUE = "default"
DEFAULT_PRIORITY = 5
DEFAULT_CRASH_LIMIT = 3
DAY = 86_400.0
SCAN = 2000
"""Jobs that one look for some of them goes through at most, unless it says otherwise."""
DURABILITY = {"process": "process crash", "power": "power cut", "node": "node loss"}
"""The classes of durability, each with the fault that an accepted job survives; each holds those before it."""


def _shown(self: Struct) -> str:
    """A job without what it carries, which is not for every log."""
    told = [f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in ("body", "result")]
    return f"{type(self).__name__}({', '.join(told)})"


class NewJob(Struct, frozen=True, kw_only=True, gc=False):
    """A job to be stored. Times are seconds; `body` is opaque to every broker.

    id: a UUID in its 36 characters, as `new_id` makes it.
    lane: the kind of slot it needs ("loop", "thread", "process"): a worker claims per lane, for what it can start now.
    delay: not before this many seconds from the store's now. at: not before this Unix time. The later one counts.
    expires: not started this many seconds from the store's now, it is cancelled instead.
    key: at most one unfinished job has it, unless its terms say otherwise. keep, keep_failed: seconds to keep it once finished.
    terms: whatever else it asks for; None: nothing.
    """

    id: JobId
    task: str
    body: bytes
    queue: str = DEFAULT_QUEUE
    lane: str = "loop"
    priority: int = DEFAULT_PRIORITY
    delay: float = 0.0
    at: float | None = None
    expires: float | None = None
    key: str | None = None
    crash_limit: int = DEFAULT_CRASH_LIMIT
    keep: float = DAY
    keep_failed: float = 7 * DAY
    terms: Terms | None = None

    __repr__ = _shown


class Placed(Struct, frozen=True, gc=False):
    """Where an enqueued job went. `fresh` is False when the id or the key was there already; `id` is then that job's.

    replaced: that job became this one.
    """

    id: JobId
    state: State
    fresh: bool = True
    replaced: bool = False


class Ready(Struct, frozen=True, gc=False):
    """A job that just became ready: what makes work ready says so."""

    id: JobId
    queue: str


class Claim(Struct, frozen=True, gc=False):
    """A job in a worker's hands. `token` is the fence: every write about this run names it. Times are Unix seconds.

    resumed: False when it was never handed out before, so that its journal need not be asked for a checkpoint.
    due_at: since when it was due. meters: what its run says of its limits, for `settle`.
    """

    id: JobId
    token: int
    task: str
    queue: str
    lane: str
    body: bytes
    attempt: int
    crashes: int
    crash_limit: int
    enqueued_at: float
    claimed_at: float
    resumed: bool = True
    due_at: float = 0.0
    key: str | None = None
    meters: tuple[Meter, ...] = ()

    __repr__ = _shown


class Progress(Struct, frozen=True, gc=False):
    """How far a run is: `current` of `total`, and a word about it."""

    current: float
    total: float | None = None
    message: str = ""

    @property
    def share(self) -> float | None:
        """The finished share, 0.0 to 1.0; None without a total."""
        return None if not self.total else max(0.0, min(1.0, self.current / self.total))


class Job(Struct, frozen=True, kw_only=True, gc=False):
    """A job as the store knows it. All datetimes are aware (UTC).

    run_at: since when, or when, it is due: what makes a job ready sets it to now, except that a promoted job keeps its due time.
    attempt: attempts spent. started_at, worker: of the run that goes on, else of the latest. finished_at: None until finished.
    cancelling: it runs, and a cancel of it was asked for. reason: why it was cancelled or parked.
    error: the latest failure, kept until the job succeeds. progress: its latest "progress" entry.
    letters: how many have come that count. awaited: how many it waits for in all, or waited for last.
    """

    id: JobId
    task: str
    queue: str
    lane: str
    state: State
    priority: int
    attempt: int
    crashes: int
    created_at: datetime
    run_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    key: str | None = None
    worker: str | None = None
    cancelling: bool = False
    reason: str | None = None
    error: ErrorInfo | None = None
    progress: Progress | None = None
    body: bytes = b""
    result: bytes | None = None
    terms: Terms | None = None
    letters: int = 0
    awaited: int = 0

    __repr__ = _shown

    @property
    def root(self) -> JobId | None:
        """The workflow that it belongs to; its own id: it stands for a whole workflow, or is a flow of its own."""
        if self.terms is None:
            return None
        return self.terms.root or (self.id if self.terms.collects else None)

    @property
    def version(self) -> str:
        """The version of the code that runs it, or ran it last, as that program says; "" when it says nothing."""
        return (self.worker or "").rpartition(":")[0].partition("@")[2]


class Found(NamedTuple):
    """What `find` found: jobs, and the id before which to go on; None: there is nothing more."""

    jobs: list[Job]
    next: JobId | None


class Entry(Struct, frozen=True, gc=False):
    """One line of a job's journal. `seq` counts from 1 within the job and is given by the store; `data` is JSON.

    kind: "progress" (a Progress), "log" (LogLine), "chunk" (a partial result), "checkpoint", "attempt" (Tried; for the history only),
    "letter" (letters.Letter; written by the store), "step" (what a flow remembers).
    number: that its run gave it, for the store: from 1, in the order in which it wrote them; 0: none.
    """

    kind: str
    data: bytes
    at: float
    attempt: int = 0
    seq: int = 0
    number: int = 0


class LogLine(Struct, frozen=True):
    """The data of a "log" entry."""

    level: str
    message: str


class Tried(Struct, frozen=True):
    """The data of an "attempt" entry: a run that was started and did not succeed. The entry is dated by its end.

    outcome: as the history calls it, see `core.outcome.called`. started_at: Unix seconds.
    """

    outcome: str
    started_at: float
    worker: str
    error: ErrorInfo | None = None


class Reading(Struct, frozen=True):
    """What `read` found: the entries asked for, where the job stands, and, once it has finished, the job itself.

    last: the number given last in the job's journal, kept or not; an end is the one after it.
    """

    state: State
    attempt: int
    entries: list[Entry]
    end: Job | None = None
    last: int = 0


class Card(Struct, frozen=True, kw_only=True):
    """What a worker says of itself with each beat. `last_words` tell why it is gone, when its supervisor knows.

    version: of Windlass. code: of the program that it runs, as the program says. blameless: none of its jobs is to blame for its end.
    state: "working", "quiet" (it claims no more), "draining" (it stops), "stopped", "stuck" (its loop stands still), "dead".
    rss: resident bytes of its process and all that it started; 0: nobody knows. past: of each minute of its last hour, the latest last,
    the slots that were busy on average and the most MiB that were resident.
    """

    host: str
    pid: int
    queues: tuple[str, ...] = ()
    slots: dict[str, int] = field(default_factory=dict)
    busy: dict[str, int] = field(default_factory=dict)
    started_at: float = 0.0
    version: str = ""
    state: str = "working"
    last_words: ErrorInfo | None = None
    code: str = ""
    blameless: bool = False
    rss: int = 0
    past: tuple[tuple[float, int], ...] = ()


Duty = Literal["working", "quiet", "stopped"]


class Wish(Struct, frozen=True):
    """What an operator wishes of a worker. state: a `Duty`, or "". stacks: a number, another one each time that they are wanted."""

    state: str = ""
    stacks: float = 0.0


NOTHING = Wish()


class Worker(Struct, frozen=True):
    """A living worker: its id, its card, when its lease ends, how many jobs it holds, and what is wished of it."""

    id: str
    card: Card
    until: datetime
    running: int = 0
    wish: Wish = NOTHING


class Pulse(Struct, frozen=True):
    """The answer to a beat: whether the worker still lives, which of its running jobs are to be cancelled, and what is wished of it."""

    alive: bool
    cancelling: list[JobId] = field(default_factory=list)
    wish: Wish = NOTHING


class QueueInfo(Struct, frozen=True):
    """One queue: how many jobs stand in each state (only states that occur), and whether it is paused.

    oldest: since when the ready job that is due for longest is due, Unix seconds, to the millisecond at least; None: nothing is ready.
    One that has expired may count until it is promoted.
    """

    name: str
    counts: dict[State, int]
    paused: bool = False
    oldest: float | None = None


class StoreInfo(Struct, frozen=True, kw_only=True):
    """The live store: what it is, and what of an accepted job it survives.

    survives: the classes of fault, of "process crash", "power cut", "node loss".
    """

    kind: str
    place: str
    version: str
    survives: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    def check(self, durability: str) -> None:
        """Raise `DurabilityUnavailable` unless an accepted job survives what this class of durability says; "" asks for nothing."""
        if durability and (fault := DURABILITY[durability]) not in self.survives:
            said = f"it survives: {', '.join(self.survives) or 'nothing'}"
            raise DurabilityUnavailable(
                f"durability={durability!r} asks that accepted jobs survive a {fault}, and this store ({self.kind} at {self.place}) "
                f"does not promise that ({said}); {' '.join(self.remarks) or 'configure it otherwise, or ask for less'}"
            )
