"""Rollups as series, rates, shares and sparks: pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from math import ceil

from msgspec import Struct

from windlass.core.measures import STEPS, Rollup, merged, percentile
from windlass.web.admin.shapes import Percentiles, Series

POINTS = 240
"""Steps of a chart, at most."""
SPANS = 400
"""Spans that are read for a chart, at most, unless only the longest reach so far back."""
SPARK = 24
"""Numbers in a spark."""
ENDS = ("succeeded", "failed", "cancelled")
"""The outcomes after which a job has finished."""
MISHAPS = ("failed", "retried", "crashed")
"""The outcomes of runs that went wrong."""
ALL = (*ENDS, "retried", "crashed", "snoozed", "released", "parked")
"""Every outcome."""


class Axis(Struct, frozen=True):
    """The steps of a chart: `points` of them, `step` seconds long, from `start` on. base: the length of the spans to be read for it."""

    start: int
    step: int
    points: int
    base: int

    @property
    def end(self) -> int:
        """When the last step is over."""
        return self.start + self.step * self.points

    def place(self, one: Rollup) -> int:
        """The step that a rollup belongs to."""
        return (one.at - self.start) // self.step


def axis(length: float, now: float) -> Axis:
    """The steps for the `length` seconds up to `now`, which is in the last one."""
    kept = [base for base, keep in STEPS.items() if keep >= length]
    base = next((base for base in kept if length / base <= SPANS), max(STEPS))
    step = base * ceil(length / base / POINTS)
    points = max(1, int(length // step))
    return Axis((int(now // step) - points + 1) * step, step, points, base)


def series(rollups: Iterable[Rollup], of: Axis) -> Series:
    """Outcomes and times, step by step."""
    steps: list[list[Rollup]] = [[] for _ in range(of.points)]
    outcomes = defaultdict[str, list[int]](lambda: [0] * of.points)
    for one in rollups:
        if 0 <= (place := of.place(one)) < of.points:
            steps[place].append(one)
            outcomes[one.outcome][place] += one.count
    waits = [merged(*(one.wait for one in step)) for step in steps]
    runs = [merged(*(one.run for one in step)) for step in steps]

    def percentiles(histograms: Sequence[dict[int, int]]) -> Percentiles:
        p50, p95, p99 = ([percentile(one, share) for one in histograms] for share in (0.5, 0.95, 0.99))
        return Percentiles.model_construct(p50=p50, p95=p95, p99=p99)

    start = datetime.fromtimestamp(of.start, UTC)
    return Series(start=start, step=of.step, outcomes=outcomes, wait=percentiles(waits), run=percentiles(runs))


def spark(rollups: Iterable[Rollup], of: Axis, outcomes: Collection[str] = ENDS) -> list[int]:
    """How many ended so, in at most `SPARK` parts of the axis, the last one being whole."""
    size = ceil(of.points / SPARK)
    counts = [0] * ceil(of.points / size)
    for one in rollups:
        if one.outcome in outcomes and 0 <= (place := of.place(one)) < of.points:
            counts[-1 - (of.points - 1 - place) // size] += one.count
    return counts


def count(rollups: Iterable[Rollup], outcomes: Collection[str] = ENDS) -> int:
    """How many runs ended so."""
    return sum(one.count for one in rollups if one.outcome in outcomes)


def failed_share(rollups: Sequence[Rollup]) -> float:
    """The share of those jobs that failed, among all that failed or succeeded."""
    failed = count(rollups, ("failed",))
    return failed / max(1, failed + count(rollups, ("succeeded",)))


def run_time(rollups: Iterable[Rollup], share: float) -> float | None:
    """The seconds that this share of all runs did not exceed; None without any."""
    return percentile(merged(*(one.run for one in rollups)), share)


def wait(rollups: Iterable[Rollup], share: float) -> float | None:
    """The seconds that this share of all waits did not exceed; None without any."""
    return percentile(merged(*(one.wait for one in rollups)), share)


def by_queue(rollups: Iterable[Rollup]) -> defaultdict[str, list[Rollup]]:
    """The rollups of each queue; nothing for one that does not occur."""
    return _by(lambda one: one.queue, rollups)


def by_task(rollups: Iterable[Rollup]) -> defaultdict[str, list[Rollup]]:
    """The rollups of each task; nothing for one that does not occur."""
    return _by(lambda one: one.task, rollups)


def _by(name: Callable[[Rollup], str], rollups: Iterable[Rollup]) -> defaultdict[str, list[Rollup]]:
    found = defaultdict[str, list[Rollup]](list)
    for one in rollups:
        found[name(one)].append(one)
    return found
