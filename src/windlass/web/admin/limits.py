"""Limits as the API shows them."""

from __future__ import annotations

from datetime import datetime
from math import isfinite

from windlass.broker.port import Broker
from windlass.core.gates import LimitInfo
from windlass.core.terms import gate_name
from windlass.web.admin.shapes import Shape


class LimitRow(Shape):
    """One key of a limit that somebody needs. running, rate, level: null where it has none.

    turn: the job whose turn it is, in a strict order.
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


class LimitsPage(Shape):
    """Limits, by name and key. next: where the next page begins, as `after`; null: this is the last one."""

    limits: list[LimitRow]
    next: str | None


async def page(broker: Broker, after: tuple[str, str] | None, limit: int) -> LimitsPage:
    """Some of them, and where the next page begins."""
    found = await broker.limits(after=after, limit=limit + 1)
    last = gate_name(found[limit - 1].limit, found[limit - 1].key) if len(found) > limit else None
    return LimitsPage(limits=[_row(one) for one in found[:limit]], next=last)


def _row(one: LimitInfo) -> LimitRow:
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
    )
