"""What workers and stores tell, for the history: how much, how long, and which failures look alike."""

from __future__ import annotations

import re
import sysconfig
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from hashlib import sha1
from itertools import pairwise
from pathlib import Path
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from windlass.core.job import DAY, JobId
from windlass.core.outcome import ErrorInfo, Failed, Outcome, Retried, bounded, called

STEPS = {60: DAY, 600: 7 * DAY, 3600: 90 * DAY}
"""The lengths of spans, and how long the spans of each are kept; seconds."""
SERIES = 500
"""Combinations of queue, task and outcome that are kept apart in one span."""
FAULTS = 1000
"""Faults that are kept."""
VERSIONS = 10
"""Code versions that a fault remembers: the latest."""

# --- times --------------------------------------------------------------------------------------------------

BOUNDS = [0.001 * 2 ** (n / 2) for n in range(54)]
"""Seconds: bucket n holds times up to BOUNDS[n]. The one after the last holds all above."""
Histogram = dict[int, int]
"""How many times are in which bucket."""


def bucket(seconds: float) -> int:
    """The bucket of a time."""
    return bisect_left(BOUNDS, seconds)


def histogram_of(times: Iterable[float]) -> Histogram:
    """How many of these times are in which bucket."""
    ordered = sorted(times)  # what comes from a queue is nearly in order: cheaper than to look up each bucket
    ends = [0, *(bisect_right(ordered, bound) for bound in BOUNDS), len(ordered)]
    return {n: end - start for n, (start, end) in enumerate(pairwise(ends)) if end > start}


def merged(*histograms: Histogram) -> Histogram:
    """All of them as one."""
    total: Histogram = {}
    for one in histograms:
        for n, count in one.items():
            total[n] = total.get(n, 0) + count
    return total


def percentile(histogram: Histogram, share: float) -> float | None:
    """The time (seconds) that this share of all times, 0.0 to 1.0, does not exceed; None when there are none.

    Read off inside a bucket as if its times were spread evenly: at most a factor of sqrt(2) wrong from a millisecond to 26 hours.
    """
    rank, before = share * sum(histogram.values()), 0
    for n, count in sorted(histogram.items()):
        if count and before + count >= rank:
            low, high = BOUNDS[n - 1] if n else 0.0, BOUNDS[min(n, len(BOUNDS) - 1)]
            return low + (high - low) * (rank - before) / count
        before += count
    return None


# --- what was done ------------------------------------------------------------------------------------------


class Rollup(Struct, frozen=True, array_like=True):
    """What happened in the `step` seconds from `at` on: runs of a task in a queue, or jobs without one, that ended with an outcome.

    outcome: "succeeded", "failed", "retried", "crashed" (retried after a crash), "cancelled", "snoozed", "suspended",
    "released", "parked".
    wait: from when they were due to their claim. run: from their start to their end, of those that were started. Neither is known of what
    the store tells itself.
    at, step: 0 in a report; the store dates it.
    """

    queue: str
    task: str
    outcome: str
    count: int
    wait: Histogram
    run: Histogram
    at: int = 0
    step: int = 0

    @property
    def key(self) -> tuple[str, str, str]:
        """The combination that it counts."""
        return self.queue, self.task, self.outcome


def span(now: float, step: int) -> int:
    """The beginning of the span that `now` is in."""
    return int(now // step) * step


def stale(at: int, step: int, now: float) -> bool:
    """Whether the time to keep the span that began then is over."""
    return at + step + STEPS[step] <= now


def folded(known: Iterable[Rollup], more: Iterable[Rollup]) -> list[Rollup]:
    """The rollups of one span, with more of them: one for each combination.

    What is new once there are `SERIES` of them is counted under the task "" of its queue.
    """
    found = {one.key: one for one in known}
    for new in more:
        one = new if new.key in found or len(found) < SERIES else replace(new, task="")
        same = found.get(one.key)
        found[one.key] = one if same is None else _sum(same, one)
    return list(found.values())


def _sum(a: Rollup, b: Rollup) -> Rollup:
    return Rollup(*a.key, a.count + b.count, merged(a.wait, b.wait), merged(a.run, b.run), a.at, a.step)


# --- what went wrong ----------------------------------------------------------------------------------------

Mark = Literal["open", "resolved", "snoozed"]
"""What a person says of a fault."""


class Sighting(Struct, frozen=True, array_like=True):
    """Failures of one fingerprint in one report: how many, how many of them for good, and the latest as an example."""

    fingerprint: str
    task: str
    type: str
    frame: str
    count: int
    final: int
    job: JobId
    message: str
    version: str = ""

    def plus(self, one: Sighting) -> Sighting:
        """Both, the other one being the later."""
        return replace(one, count=self.count + one.count, final=self.final + one.final)


class Fault(Struct, frozen=True, array_like=True):
    """Failures that look alike. Times are Unix seconds.

    frame: where they were raised. final: how many of them were for good. job, message: of the latest.
    versions: of the program's code, as far as it says them, the latest last. until: while it is snoozed.
    """

    fingerprint: str
    task: str
    type: str
    frame: str
    count: int
    final: int
    job: JobId
    message: str
    first_seen: float
    last_seen: float
    versions: list[str]
    state: Mark = "open"
    until: float = 0.0


class Report(Struct, frozen=True, array_like=True):
    """What a worker counted since its last report."""

    rollups: list[Rollup]
    sightings: list[Sighting]


def seen(known: Fault | None, one: Sighting, now: float) -> Fault:
    """The fault after a sighting of it: open, unless it is snoozed and the time for that is not over."""
    what = one.fingerprint, one.task, one.type, one.frame
    if known is None:
        return Fault(*what, one.count, one.final, one.job, one.message, now, now, [one.version] if one.version else [])
    versions = [version for version in known.versions if version != one.version]
    if one.version:
        versions.append(one.version)
    sums, example = (known.count + one.count, known.final + one.final), (one.job, one.message)
    fault = Fault(*what, *sums, *example, known.first_seen, now, versions[-VERSIONS:])
    asleep = known.state == "snoozed" and now < known.until
    return replace(fault, state="snoozed", until=known.until) if asleep else fault


def frame(traceback: str) -> str:
    """The innermost frame that is no library's (else the innermost one), as "shop/orders.py in charge"; "" when there is none.

    Without the line and the folders above, which change with every release.
    """
    frames: list[tuple[str, str]] = _FRAME.findall(traceback)
    own = [one for one in frames if not one[0].startswith(_LIBRARIES) and not _INSTALLED.search(one[0])]
    if not frames:
        return ""
    file, function = (own or frames)[-1]
    return f"{'/'.join(_SLASHES.split(file)[-2:])} in {function}"


def sighted(task: str, job: JobId, error: ErrorInfo, final: bool, version: str = "") -> Sighting:
    """One failure. Those of one task, with one type of error and one frame, look alike and have one fingerprint: 16 hex digits."""
    what = task, bounded(error.type, TEXT), bounded(frame(error.traceback), TEXT)
    digest = sha1("\0".join(what).encode(), usedforsecurity=False).hexdigest()  # Redis can work it out, too
    return Sighting(digest[:16], *what, 1, int(final), job, bounded(error.message, TEXT), bounded(version, TEXT))


def report_of(ended: Iterable[tuple[JobId, str, str, Outcome]]) -> Report:
    """What a store tells of jobs (id, queue, task) for which no worker speaks; nobody knows their times."""
    rollups, sightings = list[Rollup](), dict[str, Sighting]()
    for job, queue, task, outcome in ended:
        rollups.append(Rollup(queue, task, called(outcome), 1, {}, {}))
        if isinstance(outcome, Failed | Retried):
            one = sighted(task, job, outcome.error, final=isinstance(outcome, Failed))
            before = sightings.get(one.fingerprint)
            sightings[one.fingerprint] = one if before is None else before.plus(one)
    return Report(rollups, list(sightings.values()))


TEXT = 500
"""Characters of each text of a failure that are kept, about."""
_FRAME = re.compile(r'^[ |]*File "([^"\n]+)", line \d+, in ([^\n]+)$', re.MULTILINE)
_SLASHES = re.compile(r"[/\\]")
_INSTALLED = re.compile(r"[/\\](?:site|dist)-packages[/\\]")
_LIBRARIES = ("<frozen ", f"{sysconfig.get_path('stdlib')}/", f"{Path(__file__).parents[1]}/")
"""How the paths of files begin that are no user's own: the standard library's and ours."""
