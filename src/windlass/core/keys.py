"""How long a job has its key, and what becomes of the time of one that another one replaces."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from windlass.core.durations import Duration, seconds
from windlass.core.terms import Terms


def replaceable(old: Terms | None, new: Terms | None) -> bool:
    """Whether one job may become the other: not where others wait for one of them, or it for others."""
    return new is not None and new.replaces and new.alone and (old is None or old.alone)


def let_go(terms: Terms | None, started: bool) -> bool:
    """Whether a job that is not finished has its key no more."""
    return started and terms is not None and terms.unique == "started"


def held_until(terms: Terms | None, came_at: float) -> float | None:
    """Until when the key of a job that came then is taken, whatever becomes of it; None: not by time."""
    return came_at + terms.unique_for if terms is not None and terms.unique_for > 0 else None


def holds(terms: Terms | None, came_at: float, started: bool, finished: bool, now: float) -> bool:
    """Whether a job has its key now."""
    return now < (held_until(terms, came_at) or now) or not (finished or let_go(terms, started))


def put_off(run_at: float, terms: Terms | None, came_at: float, now: float) -> float:
    """When a job that came then is due, which is now replaced by one that is due at `run_at`."""
    return run_at if terms is None else min(run_at, max(now, came_at + terms.latest))


@dataclass(frozen=True, slots=True)
class Debounce:
    """Of the jobs with one key that come in a flurry, the last one runs, `wait` after it came; at the latest `longest` after the first."""

    wait: Duration
    longest: Duration | None = None

    def __post_init__(self) -> None:
        _ = self.delay, self.latest  # which raise for what is no duration

    @property
    def delay(self) -> float:
        """Seconds from the last job to its start."""
        return seconds(self.wait)

    @property
    def latest(self) -> float:
        """Seconds from the first job to the start of the last, at most."""
        return inf if self.longest is None else seconds(self.longest)


@dataclass(frozen=True, slots=True)
class Throttle:
    """Of the jobs with one key that come within `interval`, the first one runs."""

    interval: Duration

    def __post_init__(self) -> None:
        _ = self.unique_for  # which raises for what is no duration

    @property
    def unique_for(self) -> float:
        """Seconds for which the first job keeps its key."""
        return seconds(self.interval)
