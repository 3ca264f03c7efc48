"""The history as series, rates, shares and sparks: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import TypeVar

from msgspec import Struct, field

from windlass.core.measures import STEPS, Histogram, Rollup, percentile
from windlass.web.admin.shapes import Percentiles, Series

T = TypeVar("T")

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


class Axis(Struct, frozen=True):
    """The steps of a chart: `points` of them, `step` seconds long, from `start` on. base: the length of the spans to be read for it."""

    start: int
    step: int
    points: int
    base: int

    @property
    def steps(self) -> range:
        """When each step begins."""
        return range(self.start, self.start + self.step * self.points, self.step)


def axis(length: float, now: float) -> Axis:
    """The steps for the `length` seconds up to `now`, which is in the last one."""
    kept = [base for base, keep in STEPS.items() if keep >= length]
    base = next((base for base in kept if length / base <= SPANS), max(STEPS))
    step = base * ceil(length / base / POINTS)
    points = max(1, int(length // step))
    return Axis((int(now // step) - points + 1) * step, step, points, base)


class Sum(Struct):
    """Some rollups as one: how many runs had which outcome, and their times."""

    outcomes: dict[str, int] = field(default_factory=dict)
    wait: Histogram = field(default_factory=dict)
    run: Histogram = field(default_factory=dict)

    def add(self, outcomes: dict[str, int], wait: Histogram, run: Histogram) -> None:
        """Count these, too."""
        _add(self.outcomes, outcomes)
        _add(self.wait, wait)
        _add(self.run, run)

    def count(self, outcomes: Collection[str] = ENDS) -> int:
        """How many runs ended so."""
        return sum(self.outcomes.get(one, 0) for one in outcomes)


def count(parts: Iterable[Sum | None], outcomes: Collection[str] = ENDS) -> int:
    """How many runs ended so, in all of these."""
    return sum(part.count(outcomes) for part in parts if part)


def failed_share(parts: Sequence[Sum | None]) -> float:
    """The share of those jobs that failed, among all that failed or succeeded."""
    return count(parts, ("failed",)) / max(1, count(parts, ("failed", "succeeded")))


def _add(counts: dict[T, int], more: dict[T, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


class Cell(Struct):
    """What happened in one step: all of it, and of each queue and each task."""

    whole: Sum
    queues: dict[str, Sum]
    tasks: dict[str, Sum]


def cell(rollups: Iterable[Rollup] = ()) -> Cell:
    """What these rollups say."""
    found = Cell(Sum(), {}, {})
    for one in rollups:
        outcomes = {one.outcome: one.count}
        found.queues.setdefault(one.queue, Sum()).add(outcomes, one.wait, one.run)
        found.tasks.setdefault(one.task, Sum()).add(outcomes, one.wait, one.run)
    for part in found.queues.values():
        found.whole.add(part.outcomes, part.wait, part.run)
    return found


def total(parts: Iterable[Sum]) -> Sum:
    """All of them as one."""
    found = Sum()
    for one in parts:
        found.add(one.outcomes, one.wait, one.run)
    return found


def by_queue(cells: Iterable[Cell]) -> dict[str, list[Sum]]:
    """What happened in each queue, step by step, where something did."""
    return _gathered(one.queues for one in cells)


def by_task(cells: Iterable[Cell]) -> dict[str, list[Sum]]:
    """What happened of each task, step by step, where something did."""
    return _gathered(one.tasks for one in cells)


def _gathered(parts: Iterable[dict[str, Sum]]) -> dict[str, list[Sum]]:
    found: dict[str, list[Sum]] = {}
    for part in parts:
        for name, one in part.items():
            found.setdefault(name, []).append(one)
    return found


def series(cells: Sequence[Cell], of: Axis) -> Series:
    """Outcomes and times, step by step."""
    parts = [one.whole for one in cells]
    names = dict.fromkeys(name for part in parts for name in part.outcomes)

    def percentiles(histograms: Sequence[Histogram]) -> Percentiles:
        p50, p95, p99 = ([percentile(one, share) for one in histograms] for share in (0.5, 0.95, 0.99))
        return Percentiles.model_construct(p50=p50, p95=p95, p99=p99)

    return Series.model_construct(
        start=datetime.fromtimestamp(of.start, UTC),
        step=of.step,
        outcomes={name: [part.outcomes.get(name, 0) for part in parts] for name in names},
        wait=percentiles([part.wait for part in parts]),
        run=percentiles([part.run for part in parts]),
    )


def spark(parts: Sequence[Sum | None], outcomes: Collection[str] = ENDS) -> list[int]:
    """How many ended so in each step, added up to at most `SPARK` numbers, of which the last is a whole one."""
    size = ceil(len(parts) / SPARK)
    counts = [0] * ceil(len(parts) / size)
    for place, part in enumerate(reversed(parts)):
        counts[-1 - place // size] += part.count(outcomes) if part else 0
    return counts
