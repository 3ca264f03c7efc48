"""The broker port: what every store must do. THE SPECIFICATION: each sentence of a verb's docstring is a test of the
conformance suite (`windlass.testing.conformance`), run against every broker.

Common to all verbs:

* `now` is a Unix time that stands in for the store's own clock; None, the default, means the store's clock. Only the
  store's clock judges leases and due times, also after it was set back: before its end a lease lasts.
* A moment counts from exactly its time on: then a job is due, a lease, an expiry or the time to keep a job is over.
* Hot verbs take lists and answer lists, in the same order; an empty list costs no round trip.
* A verb has happened entirely or not at all, and is durable (in the store's class) when it returns. A claim survives any process
  crash, but may be lost in a fault that ends every worker of the store, too (such as the power cut of its only machine), until the
  next verb that changes something has returned: the job is then as it was, its attempt not spent.
* A call that fails with `BrokerUnavailable` may have happened. Ids and tokens make every repeat harmless.
* Verbs may be called from any number of tasks of one event loop at once; a cancelled call may or may not have happened.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf
from typing import Protocol

from windlass.core.gates import LimitInfo
from windlass.core.job import (
    SCAN,
    Card,
    Claim,
    Duty,
    Entry,
    Found,
    Job,
    JobId,
    NewJob,
    Placed,
    Pulse,
    QueueInfo,
    Reading,
    Ready,
    StoreInfo,
    Worker,
)
from windlass.core.measures import Fault, Mark, Report, Rollup
from windlass.core.outcome import Outcome
from windlass.core.state import State


class Opens(Protocol):
    """The life of a connection to the store."""

    async def open(self) -> None:
        """Make the store ready for use, creating what is missing. Opening twice is harmless."""
        ...

    async def close(self) -> None:
        """Finish what was promised, wake every waiting call with what it has, and let go. Closing twice is harmless."""
        ...

    async def describe(self) -> StoreInfo:
        """What the store is and which faults an accepted job survives, read from the live store."""
        ...

    async def now(self) -> float:
        """What the store's clock shows, as Unix time."""
        ...


class Enqueues(Protocol):
    """Putting work in."""

    async def enqueue(self, jobs: Sequence[NewJob], *, now: float | None = None) -> list[Placed]:
        """Store all jobs or none.

        Idempotent by id: a job whose id is known already is left as it is and answered with `fresh=False` and its state.
        A `key` admits one unfinished job: a second one is not stored and is answered with the first one's id and
        `fresh=False`, also within one call. Once the first has finished the key is free again; with `unique="started"`, once it has
        started, and then it never takes it again; with `unique_for`, not before so many seconds from its enqueueing, finished or not, and
        the job is kept until then. A key is taken as its job says, whatever the other one asks for.
        With `replaces`, a job that has the key and never started becomes the new one: `fresh=False`, `replaced=True`, its id; but not
        where others wait for one of the two, or it for others. It keeps its id, and when it came; it is due as the new one says, but at
        the latest `latest` seconds after it came. A repeat of the enqueueing that it became last leaves it as it is, also when it has
        finished; one of an earlier one counts as a new one.
        A job with a `delay` or `at` in the future is scheduled; otherwise it is ready at once. One whose terms ask for letters is waiting.
        """
        ...


class Claims(Protocol):
    """Taking work out, keeping it, and saying how it ended."""

    async def claim(
        self,
        queues: Sequence[str],
        room: Mapping[str, int],
        worker: str,
        *,
        wait: float = 0.0,
        now: float | None = None,
    ) -> list[Claim]:
        """Take ready jobs, at most `room[lane]` of each lane; lanes that are not in `room` give nothing.

        Queues in the order asked, then the higher priority, then the longer due (the earlier `run_at`), also when taken one at a time.
        A job with `ageing` counts as one of the default priority that is due so many seconds earlier for each level above it, and later
        for each below: so it passes, and is passed, in time.
        Groups have fair shares of each line (a queue's lane) and priority: in turn, as often as their weight says, however many jobs each
        has, the longer due first within one. A group that comes new begins with the present round. There, jobs without a group are one
        group together, and nobody ages; what became ready before the first job of a group goes first.
        What becomes ready again takes its group's next turn. One that never ran gives its turn back when it goes.
        Each claim spends an attempt and carries a token that is larger than any earlier token of that job id, forgotten jobs included.
        It says since when the job was due (its `run_at`).
        No job is ever handed to two claims, however many workers claim at once.
        A paused queue gives nothing. A job past its expiry that has never been started is never handed out.
        A worker that is not alive (no beat, or its lease ran out) gets nothing.
        When nothing is ready, waits at most `wait` seconds for something to become ready, pushed where the store can push.
        """
        ...

    def wake(self) -> None:
        """End the waits of this broker's claims now: each that has begun answers with what it has, also if its wait is yet to come.

        What begins later waits as ever. Called in the event loop of the claims; harmless when nothing waits.
        """
        ...

    async def settle(
        self, pairs: Sequence[tuple[Claim, Outcome]], *, now: float | None = None
    ) -> tuple[list[bool], list[Ready]]:
        """Apply each outcome in one atomic step, iff the claim's token is the job's live one and the job is running.

        Answers which were applied, and what became ready. Repeating a settle is harmless: it is not applied again.
        Succeeded: succeeded, with its result. Failed: failed, with its error. Cancelled: cancelled, with its reason.
        Retried: scheduled (or ready, without a delay), the error kept. Snoozed: the same, and the attempt is given back.
        Retried with a `queue`: the job moves to that queue, and stands there from then on.
        Suspended: waiting, until so many letters have come in all; with a `delay` scheduled, and ready then at the latest; ready at once,
        if they have come. The attempt is given back.
        Released: ready at once, the attempt given back, at most RELEASE_LIMIT times. Parked: parked, the attempt given back.
        `crash` on Retried and Failed counts a crash and gives the attempt back.
        A requested cancel beats Retried, Snoozed, Suspended, Released and Parked: the job is cancelled
        ("cancelled while running"; no attempt given back, no crash counted); it does not beat Succeeded or Failed.
        A finished job frees its key in the same step.
        """
        ...

    async def beat(self, worker: str, card: Card, ttl: float, *, now: float | None = None) -> Pulse:
        """Keep the worker, and with it every job it holds, alive until now + ttl. The first beat makes the worker known.

        Costs the same however many jobs it holds. Answers which of them are to be cancelled, and what is wished of the worker.
        A worker whose jobs were taken back is not alive any more, whatever it does: `alive=False`, for ever.
        A worker whose lease ran out, but from which nothing was taken yet, lives again with its next beat; a claim of it that
        waits then finds what became ready meanwhile.
        A ttl of 0 ends the lease at once: what the worker still holds may be reclaimed.
        """
        ...


class Journals(Protocol):
    """A job's journal: append-only, resumable, fenced. Progress, logs, partial results and checkpoints ride on it."""

    async def append(self, pairs: Sequence[tuple[Claim, Sequence[Entry]]], *, now: float | None = None) -> list[bool]:
        """Append the entries of each claim iff its token is the live one; answers which were taken.

        Entries are numbered from 1 within the job, without gaps at the time of writing, over all its attempts. An end that a revive
        took back counts as one: its number, one past the last entry's, stays unused, so that who saw the end goes on from there.
        Of "progress" and of "checkpoint" entries only the latest of the job is kept.
        Repeating an append is harmless, also with newer entries behind, and late: an entry whose `number` is not above the latest number
        that was taken under the same token is left out. One without a number (0) is always taken.
        """
        ...

    async def read(
        self, job: JobId, *, after: int = 0, wait: float = 0.0, seen: tuple[State, int] | None = None
    ) -> Reading | None:
        """The entries past number `after`, in order, and where the job stands; None for an unknown job.

        `last` is the number given last, whatever `after` is and whether or not that entry is still kept; 0 before the first.
        A finished job is answered at once, with `end` set. Otherwise, when there are no such entries, waits at most `wait` seconds
        for one, for the end, or (with `seen`) for a state or attempt other than the seen one; then answers with what there is.
        """
        ...


class Letters(Protocol):
    """What a job tells others of its end. They are the entries of kind "letter" in the journal of the job that they are for.

    Whatever ends a job writes to all that its terms name in `to`, in the same step: `settle`, `cancel`, `promote` (an expiry), `reclaim`
    (a quarantine), a letter that fails it, and `forget`, when it has not finished: then it "was cancelled", with the reason "forgotten".
    The letter has the job's id as its name, and its result, its error (as it stands with the job) or the reason.
    A job that is not stored when a letter to it is written, has succeeded, or has no terms, gets none.

    A letter counts; but one that tells of a failure or a cancel counts only with a job that `collects`. Others it fails, if they wait and
    have never been started ("PartFailed"); it is not kept then. That end writes its own letters, and counts in the history.
    A letter whose name came before is not counted again: it takes the older one's place until its receiver is started first; from then
    on the first one stays, so that what a run has read is what the next run reads; but once the receiver has failed, or was cancelled,
    the newest one counts again: who retries the part by hand, and then the receiver, is told of the retry.
    A job that waits, and one that is scheduled with letters missing, is ready once as many have come as it awaits: of what waits since it
    was enqueued, when its own time has come, too: until then it is scheduled. It is due then from that moment, or from its own time.
    Of what ends in one call, successes are told first.

    The parts of a job are those that tell only it, and have the ids `core.ids.derived(its id, n)`, n below the letters that its terms
    ask for. Once a job that was never started has ended, however that was, its parts that were never started are cancelled in the same
    step, after all letters, with the reason `letters.UNWANTED`; and so are theirs. They count in the history. What was started goes on.
    """

    async def deliver(self, job: JobId, name: str, data: bytes, *, now: float | None = None) -> bool:
        """Write a letter from outside: an event. Answers whether the job takes letters: it is there, has terms, and has not finished.

        Delivering it again is harmless.
        """
        ...


class Upkeep(Protocol):
    """What must happen without anybody asking. Safe to call everywhere at once; each call does a bounded batch."""

    async def promote(self, limit: int = 1000, *, wait: float = 0.0, now: float | None = None) -> list[Ready]:
        """Scheduled jobs whose time has come become ready, at most `limit`, the longest due first.

        Jobs that are past their expiry without having been started are cancelled with the reason "expired".
        When nothing became ready, waits at most `wait` seconds for a job to be due; a store that cannot push answers at once.
        """
        ...

    async def reclaim(
        self,
        limit: int = 1000,
        *,
        workers: Sequence[str] | None = None,
        gap: float = inf,
        grace: float = 0.0,
        now: float | None = None,
    ) -> list[Ready]:
        """Running jobs of workers whose lease ran out become ready again, one crash counted, the attempt given back.

        The worker's last words (`lost(worker)` when it left none) are kept as the job's error.
        A job whose crashes reach its crash_limit fails instead, as `quarantined`, with the worker's last words as evidence.
        A job that was to be cancelled is cancelled instead ("cancelled while running", no crash counted, no attempt given back).
        When the worker's card says that its jobs are blameless, each is released instead: ready, no crash counted, its error as it was.
        The worker is not alive any more once a job was taken from it.
        The old claim's token is dead from then on.
        With `workers`, only from these, and nothing of what follows counts.
        When `gap` seconds have passed since such a call was made last, or the store's clock was set back, or none was made before, nothing
        is taken back for `grace` seconds: the store was away, or its clock has jumped, and whoever lives must have time to say so.
        """
        ...

    async def prune(self, limit: int = 1000, *, now: float | None = None) -> int:
        """Delete finished jobs, journal included, that are past their time to be kept, at most `limit`; answers how many.

        Succeeded and cancelled jobs are kept `keep` seconds from their end, failed ones `keep_failed`; none less long than its key.
        Workers that have been gone for a day are forgotten, and those who have written no report for a day.
        Of the history, the spans that have been over for the time that `STEPS` says are forgotten.
        Groups that have had all their turns are forgotten; once all of a line are, it has no groups any more.
        """
        ...


class Inspects(Protocol):
    """Looking, and steering by hand."""

    async def get(self, ids: Sequence[JobId]) -> list[Job | None]:
        """Each job by its id; None where there is none."""
        ...

    async def find(
        self,
        *,
        states: Collection[State] = (),
        queue: str | None = None,
        task: str | None = None,
        key: str | None = None,
        root: JobId | None = None,
        before: JobId | None = None,
        after: JobId | None = None,
        limit: int = 50,
        scan: int = SCAN,
    ) -> Found:
        """Jobs that match every filter given (in one of these states, if any are), by descending id (the newest first), at most `limit`.

        root: the workflow that they belong to, by their terms. Only ids smaller than `before`, and larger than `after`.
        It looks at no more than `scan` jobs (of each of these states), whatever the store holds, and says how far it came: `next`, as
        `before`, continues the listing. None ends it: nothing more matches. There may be something more though nothing was found,
        and nothing more though `next` is given.
        """
        ...

    async def tally(self) -> list[QueueInfo]:
        """Every queue that holds a job or is paused, by name, with maintained counts per state: never a count of everything.

        Since when the oldest ready job is due is looked up by lane and priority: what it costs grows with the queues, not the jobs.
        """
        ...

    async def cancel(self, ids: Sequence[JobId], *, now: float | None = None) -> dict[JobId, State]:
        """Cancel what has not started; mark what runs, so that its worker is told with its next beat; ignore what has finished.

        The reason is "cancelled". Answers each known job's state afterwards. A job answered as cancelled is never handed out again.
        """
        ...

    async def revive(self, ids: Sequence[JobId], *, now: float | None = None) -> list[Ready]:
        """Make parked, scheduled, failed and cancelled jobs ready now, their crashes, reason and expiry forgotten; leave all others alone.

        Attempts stay counted: a job that failed its last attempt gets exactly one more.
        Of these, what was never started and lacks letters waits again; its parts (see `Letters`) that have failed or were cancelled are
        revived with it, and so are theirs.
        If another job has its key meanwhile, it is left as it is; one that has let go of its key when it started needs none.
        """
        ...

    async def forget(self, ids: Sequence[JobId], *, now: float | None = None) -> list[JobId]:
        """Delete these jobs, journal included, unless they run; answers which were deleted."""
        ...

    async def pause(self, queue: str, paused: bool = True, *, now: float | None = None) -> None:
        """Stop handing out a queue's jobs, or go on. What runs goes on running. Survives a restart."""
        ...


class Limits(Protocol):
    """Limits: a job whose terms hold `uses` is waiting, at the gate of a limit, until all its limits admit it; then it is ready.

    A use names a limit and which one of its kind; each such pair has a gate, with accounts of its own.
    A job passes when its units and those of all who passed and have not ended are at most `running`, and the bucket holds its units,
    beside those of all who passed and have not started. A bucket holds `burst` units at first and at most; `rate` more come each second.
    It pays when a job starts, however long that one was ready. Units that are more than all of a limit count as all of it.
    A job passes all its limits in one step, or none: it holds nothing while it waits.
    It comes to its gates when it would be ready otherwise: after its letters, when it is due, with each retry; so a flow that is suspended
    holds nothing, and takes its group's turn, and a place in the line, when it passes. In one step letters come first, then gates.
    A job that is replaced leaves its gates, with its turn, and the new one comes to its own.
    At a gate the higher priority passes first, then the earlier `run_at`, then the smaller id; the first one that does not fit
    stops those behind it, and nobody at another gate. Passing leaves `run_at` as it is.
    With `ordered`, the jobs of one key run one after the other, whatever their priority: a job keeps its turn from when it passes that
    gate until it has finished or is parked or forgotten, also while it is retried, suspended, or waits at another gate. Of each job
    one use is ordered at most.
    What a job holds comes back, and the next ones pass, in the step in which it ends, is taken back, parked, cancelled, retried or
    forgotten, or its queue is paused: jobs of a paused queue that have not started wait, and pass when it goes on.
    `promote` lets pass those whose time has come, and its wait ends when that of the next one does.
    A verb that answers what became ready says so of those who passed, too.
    The `meters` of a claim that is settled count in the same step, before all outcomes. `used` is what its run really took of the rate:
    the bucket pays the difference, be it more or less, and may go below zero. `pause` closes its gate for so many seconds: nobody passes,
    and who passed it and has not started waits again; what runs goes on. The longer of two pauses counts.
    What a limit admits is what the newest job said that came to it; until nobody needs it any more, then it is forgotten.
    A rate counts for jobs that were enqueued with one.
    """

    async def limits(
        self,
        names: Sequence[tuple[str, str]] | None = None,
        *,
        after: tuple[str, str] | None = None,
        limit: int = 50,
        now: float | None = None,
    ) -> list[LimitInfo]:
        """Keys of limits that somebody needs, by limit and key, at most `limit`; with `names` only these, in their order.

        Nobody needs one at which nobody stands, nothing is held, nobody has the turn, and whose bucket is full.
        `after` continues a listing.
        """
        ...


class Presence(Protocol):
    """Who works."""

    async def workers(self, *, now: float | None = None) -> list[Worker]:
        """The workers that are alive, by id, each with its latest card, the number of jobs it holds and what is wished of it."""
        ...

    async def wish(
        self, worker: str, state: Duty | None = None, stacks: float | None = None, *, now: float | None = None
    ) -> bool:
        """Wish something of a worker, which is told with each of its beats; None: what was wished before. Answers whether it is alive.

        state: "working"; "quiet": it claims no more, and goes on with what runs; "stopped": it ends as on SIGTERM, and so does all that
        is under one supervisor with it. stacks: if it is not the number of before, it writes down its stacks: leaf `worker` of the
        shelf "stacks". Repeating a wish is harmless. Of a worker that is not alive nothing is wished; one under another id is another one.
        """
        ...


class Measures(Protocol):
    """The history, in the numbers of `windlass.core.measures`. Workers tell what became of their runs: `record`.

    For a job that no worker speaks for, the store tells it, in the same step, to the same spans and faults; its times are not known.
    A job that expires, that `cancel` ends, or whose requested cancel beats another outcome counts as "cancelled".
    One that `reclaim` takes back counts as "crashed" when it is ready again, as "failed" when it is quarantined, as "released" when its
    worker was blameless. A crash is seen as a fault: by the job's task and the type of the error that it is left with; for good, if it is
    quarantined; the job is the example, the error's message (its first 500 characters, about) that of the fault.
    """

    async def record(self, writer: str, number: int, report: Report, *, now: float | None = None) -> bool:
        """Add a report to the history: to the spans of `now`, one of each step, and to the faults. Answers whether it was added.

        A writer numbers its reports upwards. One whose number is not above its latest was added already: nothing is different then.
        Rollups of one combination add up. At most SERIES combinations are kept apart in one span; what is new beyond them is
        counted under the task "" of its queue.
        Sightings of one fingerprint add up, the latest being the fault's example; its VERSIONS latest versions are kept.
        A sighting opens a resolved fault again, and a snoozed one whose time is over.
        At most FAULTS faults are kept: the one seen longest ago goes first.
        """
        ...

    async def series(
        self, step: int, since: float, until: float, *, queue: str | None = None, task: str | None = None
    ) -> list[Rollup]:
        """The rollups of the spans of `step` that begin at `since` or later, and before `until`; of one queue, of one task, if given.

        In the order of time, queue, task and outcome. There is nothing of a step that is not kept.
        """
        ...

    async def faults(self, limit: int = 50, *, before: tuple[float, str] | None = None) -> list[Fault]:
        """The faults, the one seen latest first (of those seen at once the larger fingerprint), at most `limit`.

        `before` continues a listing: when the last fault of it was seen, and its fingerprint.
        """
        ...

    async def mark(self, fingerprints: Sequence[str], state: Mark, until: float = 0.0) -> list[str]:
        """Note what a person says of these faults, until when if they are snoozed; answers which of them there are."""
        ...


class Book(Protocol):
    """Small records by name, on shelves: settings, schedules, audit entries."""

    async def put(self, shelf: str, name: str, data: bytes, most: int | None = None) -> None:
        """Keep `data` under this name, in the place of what was there.

        Then, with `most`, no more than so many names are on the shelf: the smallest go first.
        """
        ...

    async def leaf(self, shelf: str, name: str) -> bytes | None:
        """What is kept under this name; None when there is nothing."""
        ...

    async def leaves(
        self, shelf: str, *, after: str | None = None, limit: int = 50, newest_first: bool = False
    ) -> list[tuple[str, bytes]]:
        """Names of one shelf with their data, by name, at most `limit`; with `newest_first` by descending name.

        `after` continues a listing: only names that come after it, in that order.
        """
        ...

    async def remove(self, shelf: str, name: str) -> bool:
        """Keep this no longer; answers whether it was there."""
        ...


class Broker(Opens, Enqueues, Claims, Journals, Letters, Upkeep, Inspects, Limits, Presence, Measures, Book, Protocol):
    """A whole broker."""
