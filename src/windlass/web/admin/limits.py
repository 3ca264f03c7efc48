"""Limits as the API shows them."""

from __future__ import annotations

from math import isfinite

from windlass.broker.port import Broker
from windlass.core.gates import LimitInfo
from windlass.core.terms import gate_name
from windlass.web.admin.shapes import LimitRow, LimitsPage


async def page(broker: Broker, after: tuple[str, str] | None, limit: int) -> LimitsPage:
    """Some of them, and where the next page begins."""
    found = await broker.limits(after=after, limit=limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    return LimitsPage(limits=[_row(one) for one in found[:limit]], next=last and gate_name(last.limit, last.key))


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
