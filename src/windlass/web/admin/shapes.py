"""The shapes of the JSON API, as `docs/design/api.md` has them. Times are ISO 8601 in UTC, lengths of time seconds."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from windlass.core.measures import Mark
from windlass.core.state import State
from windlass.web.jobs import ProgressView

Counts = dict[State, int]


class Shape(BaseModel):
    """What all answers are."""

    model_config = ConfigDict(from_attributes=True, frozen=True, serialize_by_alias=True)


class Percentiles(Shape):
    """Of each step; null where nothing ended."""

    p50: list[float | None]
    p95: list[float | None]
    p99: list[float | None]


class Series(Shape):
    """What happened in each step from `start` on; the last one may not be over. All lists have one length."""

    start: datetime
    step: int
    outcomes: dict[str, list[int]]
    wait: Percentiles
    run: Percentiles


class QueueRow(Shape):
    """A queue. Rates are jobs per second over the last five minutes.

    oldest: how long the longest waiting ready job has waited. drain: until nothing is ready; null: never at this rate.
    slots, busy: of the workers that take it.
    """

    name: str
    paused: bool
    counts: Counts
    oldest: float | None
    in_rate: float
    out_rate: float
    drain: float | None
    failed_share: float
    spark: list[int]
    slots: int
    busy: int


class Attention(Shape):
    """Something to look at. to: the page that shows it."""

    kind: Literal["failure", "stalled", "workers", "backlog", "parked", "durability"]
    level: Literal["warn", "bad"]
    title: str
    detail: str
    to: str


class Slots(Shape):
    """Places in which jobs run."""

    busy: int
    total: int


class Deploy(Shape):
    """Since when a version of the program's code works."""

    at: datetime
    version: str


class Overview(Shape):
    """All of it at a glance."""

    now: datetime
    totals: Counts
    done_rate: float
    failed_share: float
    oldest: float | None
    slots: Slots
    workers: int
    series: Series
    queues: list[QueueRow]
    attention: list[Attention]
    deploys: list[Deploy]


class ErrorShape(Shape):
    """Why the latest attempt did not succeed."""

    kind: str
    type: str
    message: str


class JobRow(Shape):
    """A job in a list. root: the workflow that it belongs to; its own id: it stands for the whole.

    letters: of how many that it waits for (`awaited`) it has heard.
    """

    id: str
    task: str
    queue: str
    state: State
    priority: int
    attempt: int
    crashes: int
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    key: str | None
    cancelling: bool
    reason: str | None
    error: ErrorShape | None
    progress: ProgressView | None
    root: str | None
    letters: int
    awaited: int


class JobsPage(Shape):
    """Jobs, the newest first. `next` without a full page: the search stopped at `searched_to`, go on from there."""

    jobs: list[JobRow]
    next: str | None
    searched_to: datetime | None
    counts: Counts


class Payload(Shape):
    """Arguments or a result of `size` bytes. hidden: not for this role, or not revealed. cut: `value` is not all of it."""

    hidden: bool
    size: int
    value: Any = None
    cut: bool = False


class SpanError(Shape):
    """Why a run did not succeed."""

    type: str
    message: str
    traceback: str


class Span(Shape):
    """A part of a job's life. kind: a state for a wait, "enqueued", "running", or how a run ended."""

    at: datetime
    until: datetime | None
    kind: str
    attempt: int
    worker: str | None = None
    error: SpanError | None = None


class Code(Shape):
    """The call that made a job, to be made again."""

    python: str
    cli: str
    curl: str


class JobDetail(JobRow):
    """A job with all that is known of it. holder: the job that has its key now. why: why it is not running, in words."""

    lane: str
    expires_at: datetime | None
    timeout: float | None
    meta: dict[str, str]
    version: str
    holder: str | None
    arguments: Payload
    result: Payload | None
    traceback: str
    evidence: dict[str, str | int | float]
    fingerprint: str | None
    timeline: list[Span]
    why: list[str]
    code: Code


class FaultRow(Shape):
    """Failures that look alike. ended: how many of them were for good. spark: the failures of its task by the hour, of one day."""

    fingerprint: str
    task: str
    type: str
    message: str
    where: str
    count: int
    ended: int
    first_at: datetime
    last_at: datetime
    sample: str
    versions: list[str]
    state: Mark
    until: datetime | None
    spark: list[int]


class FaultsPage(Shape):
    """Faults, the one seen latest first."""

    groups: list[FaultRow]
    next: str | None


class Held(Shape):
    """A job in a worker's hands."""

    id: str
    task: str
    queue: str
    started_at: datetime


class Past(Shape):
    """A worker's last hour, minute by minute, the latest last. busy: slots, on average. mib: the most that was resident."""

    busy: list[float]
    mib: list[int]


class WorkerRow(Shape):
    """A living worker. slots, busy: by lane. until: when its lease ends. rss: resident bytes."""

    id: str
    host: str
    pid: int
    version: str
    code: str
    state: str
    queues: list[str]
    slots: dict[str, int]
    busy: dict[str, int]
    running: int
    started_at: datetime
    until: datetime
    rss: int | None
    past: Past
    jobs: list[Held]


class WorkerDetail(WorkerRow):
    """A worker and, if somebody asked for them, its stacks."""

    stacks: str


class WorkerList(Shape):
    """All living workers."""

    workers: list[WorkerRow]


class QueueList(Shape):
    """All queues."""

    queues: list[QueueRow]


class QueueTask(Shape):
    """What a queue did of one task."""

    name: str
    count: int
    failed_share: float
    p95: float | None


class QueueDetail(Shape):
    """One queue."""

    queue: QueueRow
    series: Series
    tasks: list[QueueTask]
    workers: list[WorkerRow]


class Scale(Shape):
    """What an autoscaler goes by. wanted_workers: so many of the present size would do what is ready and running at once."""

    ready: int
    running: int
    oldest: float
    wanted_workers: int
