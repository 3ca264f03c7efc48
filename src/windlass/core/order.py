"""The order of the ready line: one number for each job that waits there, its rank; the smallest goes first. It never changes meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
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
Line = tuple[str, str, int]
"""Queue, lane, priority."""


@lru_cache(1024)  # of many jobs that come at once, one is reckoned
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


def group_of(terms: Terms | None) -> tuple[str, float]:
    """Whose turn a job takes, and the weight of that group."""
    if terms is None or terms.group is None:
        return NOBODY, 1.0
    return terms.group, terms.weight if terms.weight > 0 else 1.0


def aged(priority: int, run_at: float, terms: Terms | None) -> float | None:
    """The place, among the jobs of the default priority, of a job that ages; None for one that does not."""
    if terms is None or terms.group is not None or terms.ageing == inf:
        return None
    return run_at + (DEFAULT_PRIORITY - priority) * terms.ageing


class Shares:
    """The fair shares of all lines that have groups, and the rank of whatever becomes ready."""

    def __init__(self) -> None:
        self.lines: dict[Line, Share] = {}

    def share(self, line: Line, group: str) -> Share | None:
        """The shares of a line that has groups; those of `group` are going to be different."""
        return self.lines.get(line)

    def place(self, queue: str, lane: str, priority: int, run_at: float, terms: Terms | None) -> tuple[int, bool]:
        """The rank of a job that becomes ready, and whether it says more than its priority and due time."""
        if (terms is None or (terms.group is None and terms.ageing == inf)) and not self.lines:
            return rank(priority, run_at), False
        line, place = (queue, lane, priority), aged(priority, run_at, terms)
        if place is not None and (queue, lane, DEFAULT_PRIORITY) not in self.lines:
            return rank(DEFAULT_PRIORITY, place), True
        group, weight = group_of(terms)
        if group != NOBODY:
            self.lines.setdefault(line, Share(run_at))
        share = self.share(line, group)
        return (rank(priority, run_at), False) if share is None else (rank(priority, share.turn(group, weight)), True)

    def give_back(self, queue: str, lane: str, priority: int, terms: Terms | None) -> None:
        """A job that was ready goes without having had its turn."""
        group, weight = group_of(terms)
        if self.lines and (share := self.share((queue, lane, priority), group)) and group in share.last:
            share.last[group] -= TURN / weight

    def advance(self, queue: str, lane: str, number: int) -> None:
        """A job of this line and rank was handed out."""
        priority, place = unranked(number)
        if share := self.lines.get((queue, lane, priority)):
            share.clock = max(share.clock, place)

    def forget(self, now: float) -> None:
        """Forget the groups that have had all their turns, and the clocks that nobody needs any more."""
        for share in self.lines.values():
            share.last = {group: last for group, last in share.last.items() if last > share.clock + 1 / STEPS}
        self.lines = {line: share for line, share in self.lines.items() if share.last or share.clock > now}
