"""The order of the ready line: one number for each job that waits there, its rank; the smallest goes first. It never changes meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from windlass.core.job import DEFAULT_PRIORITY
from windlass.core.terms import Terms

STEPS = 50_000
"""Steps of a rank in a second: places are told apart to 20 microseconds."""
LEVEL = 600_000_000_000_000
"""Steps between two priorities: more than any time is worth."""
TURN = 1 / 1024
"""Seconds of the line's own time that a job of a group takes, whose weight is 1."""
NOBODY = ""
"""The group of the jobs without one."""


def rank(priority: int, place: float) -> int:
    """The number of a job at this place (in seconds) among those of its priority."""
    return (9 - priority) * LEVEL + int(max(0.0, min(place, 1.19e10)) * STEPS)


def unranked(rank: int) -> tuple[int, float]:
    """Priority and place of a rank. The place is rounded up, so that the clock that is set by it is not behind it."""
    above, steps = divmod(rank, LEVEL)
    return 9 - above, (steps + 1) / STEPS


@dataclass(slots=True, eq=False)
class Share:
    """Fair shares of one priority of a line, by a time of its own.

    clock: the place of what was handed out last. last: of each group, the place of its last job; who is behind the clock may be left out.
    """

    clock: float
    last: dict[str, float] = field(default_factory=dict)

    def turn(self, group: str, weight: float) -> float:
        """The next place of that group."""
        place = self.last[group] = max(self.clock, self.last.get(group, 0.0)) + TURN / weight
        return place

    def give_back(self, group: str, weight: float) -> None:
        """A job of that group goes without having had its turn."""
        if group in self.last:
            self.last[group] -= TURN / weight

    def advance(self, place: float) -> None:
        """A job at this place was handed out."""
        self.clock = max(self.clock, place)


def group_of(terms: Terms | None) -> tuple[str, float]:
    """Whose turn a job takes, and the weight of that group."""
    return (NOBODY, 1.0) if terms is None or terms.group is None else (terms.group, terms.weight)


def aged(priority: int, run_at: float, terms: Terms | None) -> float | None:
    """The place, among the jobs of the default priority, of a job that ages; None for one that does not."""
    if terms is None or terms.group is not None or terms.ageing == inf:
        return None
    return run_at + (DEFAULT_PRIORITY - priority) * terms.ageing
