"""What happened to the jobs of a scenario, and whether it may have: the invariants, checked over the recorded history.

The numbers I1, I2, ... are those of the catalogue of guarantees (docs/what-can-go-wrong.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from evidence import Trace

from windlass.core.job import Job
from windlass.core.state import State

DONE = "done"
CUT_OFF = ("raised", "limit", "interrupted")
POWER_CUT = "power cut"
SLACK = 0.05
"""Seconds by which two processes may tell the order of two moments wrongly."""
LATE = 3.0
"""Seconds in which a process that goes on after a stop learns what became of its jobs."""
_decode = msgspec.json.Decoder(Trace).decode


@dataclass(slots=True)
class Run:
    """One run of a job, as its own code saw it. end: None when it never came to its end."""

    start: Trace
    end: Trace | None = None

    def going(self, at: float) -> bool:
        """Whether it had begun by then, and had not ended."""
        return self.start.at <= at and (self.end is None or self.end.at >= at)


@dataclass(slots=True)
class Told:
    """What was asked for.

    number: the job's result. certain: the store said yes; otherwise the call's answer was lost, and the job may exist.
    expected: how it may end; never: without having run. key: its unique key.
    cancelled: when the store had answered that the job is cancelled now; None: it never did.
    """

    number: int
    certain: bool = True
    expected: tuple[State, ...] = (State.SUCCEEDED,)
    never: bool = False
    key: str | None = None
    cancelled: float | None = None


@dataclass(slots=True)
class Fault:
    """What struck whom, and when (seconds since boot). until: when it was over; inf: not yet."""

    at: float
    what: str
    pids: frozenset[int]
    until: float

    def hit(self, run: Run) -> bool:
        """Whether the run was in the hands of a victim, or of what hung on one."""
        return run.start.pid in self.pids or not self.pids.isdisjoint(run.start.above)


@dataclass
class History:
    """Everything known of a scenario, once it is over.

    told: what was enqueued, by id. jobs: how the store says they ended. seen: how it said so when it first did.
    faults: each that struck. starts: runs that have begun.
    """

    told: dict[str, Told] = field(default_factory=dict)
    jobs: dict[str, Job | None] = field(default_factory=dict)
    seen: dict[str, Job] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    starts: int = 0
    _runs: dict[str, dict[int, Run]] = field(default_factory=lambda: defaultdict(dict))
    _twice: list[Trace] = field(default_factory=list)
    _by_pid: dict[int, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    _read: int = 0

    def read(self, evidence: Path) -> None:
        """Take in what the jobs have left since the last time."""
        if not evidence.exists():
            return
        with evidence.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for line in whole.splitlines():
            self.add(_decode(line))

    def add(self, trace: Trace) -> None:
        """Take in one line of evidence."""
        runs = self._runs[trace.job]
        if trace.what != "start":
            runs[trace.token].end = trace
        elif trace.token in runs and not self._forgotten(runs[trace.token]):
            self._twice.append(trace)
        else:
            runs[trace.token] = Run(trace)
            self.starts += 1

    def strike(self, at: float, what: str, pids: Iterable[int] = (), *, until: float | None = None) -> Fault:
        """A fault struck these processes: what they, or what hangs on them, had in hand may run again."""
        fault = Fault(at, what, frozenset(pids), at if until is None else until)
        self.faults.append(fault)
        for pid in fault.pids:
            self._by_pid[pid].append(fault)
        return fault

    def runs(self) -> dict[str, list[Run]]:
        """The runs of each job, in the order in which they were claimed."""
        return {job: [runs[token] for token in sorted(runs)] for job, runs in self._runs.items()}

    def runs_of(self, job: str) -> list[Run]:
        """The runs of one job, in the same order."""
        return [run for _, run in sorted(self._runs.get(job, {}).items())]

    def in_hand(self) -> dict[str, Run]:
        """The latest run of each job that has not ended, as far as its own code knows."""
        latest = {job: runs[max(runs)] for job, runs in self._runs.items()}
        return {job: run for job, run in latest.items() if run.end is None}

    # --- the invariants

    def violations(self) -> list[str]:
        """Each broken promise, in words; none is how it should be."""
        runs = self.runs()
        found = [f"I2 phantom: {job} ran and was never enqueued" for job in runs.keys() - self.told.keys()]
        found += [f"I4 two runs with the token {one.token} (job {one.job})" for one in self._twice]
        for job, told in self.told.items():
            found += [f"{words} (job {job})" for words in self._wrong(told, self.jobs.get(job), runs.get(job, []))]
        return found + list(self._keys_shared())

    def _wrong(self, told: Told, job: Job | None, runs: list[Run]) -> Iterable[str]:
        if job is None:
            if told.certain:
                yield "I1 lost: the store said yes and does not know it any more"
            return
        if not job.state.finished:
            yield f"I1 stuck: it is still {job.state}"
            return
        number, token, *_ = _result(job)
        runs = [run for run in runs if run.start.token == token or not self._forgotten(run)]
        if told.never and runs:
            yield "I10 it was cancelled before it ran, and ran all the same"
        if told.cancelled is not None:
            if late := [run for run in runs if run.start.at > told.cancelled]:
                yield f"I10 it was cancelled, and {late[0].start.at - told.cancelled:.3f} s later it began to run"
            if job.state is not State.CANCELLED:
                yield f"I10 it was cancelled, and then it has {job.state}"
        if (seen := self.seen.get(job.id, job)) != job:
            yield f"I6 its outcome changed: it was {seen.state} with {seen.result!r}, and is {job.state} with {job.result!r}"
        if job.state not in told.expected:
            yield f"it should have {' or '.join(told.expected)}, and has {job.state}: {job.error or job.reason}"
        if job.state is State.SUCCEEDED:
            if number != told.number:
                yield f"I6 it has the result of another: {number}, not {told.number}"
            tokens = [run.start.token for run in runs]
            if not tokens or token != tokens[-1]:
                yield f"I5 the outcome is that of run {token}, and the runs were {tokens}"
            elif (end := runs[-1].end) is None or end.what != DONE:
                yield f"I5 run {token} has an outcome, and never came to its end"
            yield from self._miscounted(job, runs)
        for before, after in pairwise(runs):
            if self._excused(before, after):
                continue
            if after.start.at < before.start.at:
                yield f"I4 run {after.start.token} began before run {before.start.token}"
            else:
                words = f"run {before.start.token} was cut off by nothing, and run {after.start.token} began"
                yield f"doubled: {words}: {self._told(before, after)}"

    def _forgotten(self, run: Run) -> bool:
        """Whether the store may have lost the claim of this run: a claim is not synced by itself, and its worker is dead."""
        return any(fault.what == POWER_CUT and fault.hit(run) for fault in self.faults)

    def _miscounted(self, job: Job, runs: list[Run]) -> Iterable[str]:
        """I7: an attempt is spent by each run that failed, or took too long, and by the last one; by no other."""
        ends = [run.end.what if run.end is not None else None for run in runs[:-1]]
        may = 1 + sum(end in ("raised", "limit", None) for end in ends)
        must = 1 + ends.count("raised") if not job.crashes else 1  # a failure that could not be stored is a crash
        if not must <= job.attempt <= may:
            yield f"I7 {job.attempt} attempts are counted, and its runs before the last ended so: {ends}"

    def _excused(self, before: Run, after: Run) -> bool:
        """Whether the run after that one had to be: it was cut off by its own end, or by a fault that could not be told to the store."""
        if before.end is not None and before.end.what in CUT_OFF and before.end.at <= after.start.at + SLACK:
            return True
        return any(
            fault.at <= after.start.at + SLACK
            and before.start.at <= fault.until + (SLACK if fault.until == fault.at else LATE)
            for fault in self._struck(before)
        )

    def _struck(self, run: Run) -> list[Fault]:
        """What struck its process, or one that it hangs on, at any time."""
        return [fault for pid in (run.start.pid, *run.start.above) for fault in self._by_pid.get(pid, ())]

    def _told(self, before: Run, after: Run) -> str:
        """What is known of two runs, in seconds from the beginning of the first."""
        since, start, end = before.start.at, after.start, before.end
        words = [
            f"in process {before.start.pid}, {f'{end.what} after {end.at - since:.2f} s' if end else 'without an end'}"
        ]
        words += [f"{one.what} from {one.at - since:.2f} to {one.until - since:.2f} s" for one in self._struck(before)]
        return "; ".join([*words, f"again after {start.at - since:.2f} s, in process {start.pid}"])

    def _keys_shared(self) -> Iterable[str]:
        """I11: of the jobs with the same key no two were there, unfinished, at the same time."""
        holders: dict[str, list[Job]] = defaultdict(list)
        for job, told in self.told.items():
            if told.key is not None and (found := self.jobs.get(job)) is not None:
                holders[told.key].append(found)
        for key, jobs in holders.items():
            jobs.sort(key=lambda job: job.created_at)
            for first, second in pairwise(jobs):
                if first.finished_at is None or second.created_at < first.finished_at:
                    yield f"I11 {first.id} and {second.id} had the key {key!r} at the same time"

    # --- the figures

    @property
    def doubled(self) -> int:
        """Runs that came to their end and were run again, because a fault struck before that could be stored: allowed, and counted."""
        return sum(
            before.end is not None and before.end.what == DONE
            for runs in self.runs().values()
            for before, _ in pairwise(runs)
        )

    def recoveries(self) -> list[tuple[str, float]]:
        """For each job that was in a fault's victims' hands: what struck, and seconds until the job ran again."""
        took = list[tuple[str, float]]()
        for runs in self.runs().values():
            for before, after in pairwise(runs):
                if struck := [one for one in self._struck(before) if before.going(one.at) and one.at <= after.start.at]:
                    last = max(struck, key=lambda fault: fault.at)
                    took.append((last.what, after.start.at - last.at))
        return took


def _result(job: Job) -> list[Any]:
    """The number and the token that a job has given back, and what else."""
    return list(msgspec.json.decode(job.result)) if job.state is State.SUCCEEDED and job.result else [None, None]


@dataclass(frozen=True)
class Outcome:
    """The line of the table for one scenario on one store. notes: what was measured besides. skipped: why it could not be played."""

    scenario: str
    store: str
    faults: int
    jobs: int
    doubled: int
    recovered: list[tuple[str, float]]
    violations: list[str]
    seconds: float
    notes: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def lost(self) -> int:
        return sum(words.startswith("I1 ") for words in self.violations)

    @property
    def unexpected(self) -> int:
        """Runs that no fault excuses."""
        return sum(words.startswith("doubled") for words in self.violations)

    @property
    def recovery(self) -> str:
        """Seconds until interrupted jobs ran again: the median and the longest."""
        took = [seconds for _, seconds in self.recovered]
        return f"{median(took):.2f} / {max(took):.2f}" if took else ""
