"""Limits as the API shows them."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from math import isfinite

from windlass.broker.port import Broker
from windlass.core.durations import date
from windlass.core.gates import IN_ORDER, LimitInfo, uses_of
from windlass.core.job import Job
from windlass.core.state import State
from windlass.core.terms import Use, gate_name
from windlass.web.admin.shapes import Shape

LOOK = 250
"""Running and waiting jobs, the newest of each, among which those of a limit are looked for."""
NAMED = 5
"""Jobs that are told of each limit."""


class Stander(Shape):
    """A job that takes `units` of a limit, or waits for them since `since`."""

    id: str
    task: str
    units: float
    since: datetime


class LimitRow(Shape):
    """One key of a limit that somebody needs. running, rate, level: null where it has none.

    turn: the job whose turn it is, in a strict order. opens: when the first that waits may pass; null: once another job ends.
    inside, line: some that run, and some that wait, in their order; not all of them if there are many.
    """

    limit: str
    key: str
    running: float | None
    rate: float | None
    burst: float
    held: float
    reserved: float
    waiting: int
    level: float | None
    closed_until: datetime | None
    turn: str | None
    ordered: bool
    opens: datetime | None
    inside: list[Stander]
    line: list[Stander]


class LimitsPage(Shape):
    """Limits, by name and key. next: where the next page begins, as `after`; null: this is the last one."""

    limits: list[LimitRow]
    next: str | None


async def page(broker: Broker, after: tuple[str, str] | None, limit: int) -> LimitsPage:
    """Some of them, and where the next page begins."""
    found = await broker.limits(after=after, limit=limit + 1)
    last = gate_name(found[limit - 1].limit, found[limit - 1].key) if len(found) > limit else None
    if not found:
        return LimitsPage(limits=[], next=None)
    now, running = await broker.now(), await _standers(broker, State.RUNNING)
    waiting = await _standers(broker, State.WAITING)
    rows = [
        _row(one, running[gate_name(one.limit, one.key)], waiting[gate_name(one.limit, one.key)], now) for one in found
    ]
    return LimitsPage(limits=rows[:limit], next=last)


async def _standers(broker: Broker, state: State) -> defaultdict[str, list[tuple[Job, Use]]]:
    """Jobs in this state that have limits, and no letters to wait for, by gate; who passes first comes first."""
    found = defaultdict[str, list[tuple[Job, Use]]](list)
    for job in (await broker.find(states=[state], limit=LOOK)).jobs:
        if state is State.RUNNING or job.letters >= job.awaited:
            for use in uses_of(job.terms):
                found[use.gate].append((job, use))
    for line in found.values():
        line.sort(key=lambda one: (IN_ORDER if one[1].ordered else -one[0].priority, one[0].run_at, one[0].id))
    return found


def _opens(one: LimitInfo, line: list[tuple[Job, Use]], now: float) -> datetime | None:
    """When time alone lets the first one pass that waits here, as far as is known."""
    first, use = line[0] if line else (None, Use(one.limit))
    behind = use.ordered and one.turn is not None and (first is None or first.id != one.turn)
    if behind or not one.waiting or one.held + min(use.units, one.running) > one.running:
        return None
    missing = 0.0 if one.level is None else min(use.units, one.burst) - (one.level - one.reserved)
    return max(date(now + max(0.0, missing) / one.rate), one.closed_until or date(now))


def _stander(job: Job, use: Use) -> Stander:
    return Stander(id=job.id, task=job.task, units=use.units, since=job.started_at or job.run_at)


def _row(one: LimitInfo, inside: list[tuple[Job, Use]], line: list[tuple[Job, Use]], now: float) -> LimitRow:
    return LimitRow(
        limit=one.limit,
        key=one.key,
        running=one.running if isfinite(one.running) else None,
        rate=one.rate if isfinite(one.rate) else None,
        burst=one.burst,
        held=one.held,
        reserved=one.reserved,
        waiting=one.waiting,
        level=one.level,
        closed_until=one.closed_until,
        turn=one.turn,
        ordered=one.turn is not None or any(use.ordered for _, use in (*inside, *line)),
        opens=_opens(one, line, now),
        inside=[_stander(*each) for each in inside[:NAMED]],
        line=[_stander(*each) for each in line[:NAMED]],
    )
