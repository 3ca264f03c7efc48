"""Schedules in the store's book: a shelf of them all, and for each a shelf of its latest ticks."""

from __future__ import annotations

from windlass.broker.port import Broker
from windlass.core.job import JobId
from windlass.core.schedule import tick_of

SHELF = "schedules"
"""The shelf of the schedules, by name."""
NOTED = 10
"""Ticks of a schedule that stay noted."""
PAGE = 500
Noted = list[tuple[float, JobId]]
"""Ticks that were seen to, the latest first, each with the job that there is for it."""


def ticks_of(name: str) -> str:
    """The shelf of a schedule's latest ticks, each with the id of the job that there is for it."""
    return f"ticks/{name}"


async def shelf(broker: Broker) -> list[tuple[str, bytes]]:
    """All schedules, by name, as they are kept."""
    found: list[tuple[str, bytes]] = []
    while leaves := await broker.leaves(SHELF, after=found[-1][0] if found else None, limit=PAGE):
        found += leaves
        if len(leaves) < PAGE:
            break
    return found


async def noted(broker: Broker, name: str) -> Noted:
    """The latest ticks of a schedule."""
    leaves = await broker.leaves(ticks_of(name), limit=NOTED, newest_first=True)
    return [(tick_of(tick), job.decode(errors="replace")) for tick, job in leaves if tick.isdecimal()]


async def forget(broker: Broker, name: str) -> bool:
    """Take a schedule out of the book, and its ticks; answers whether it was there."""
    there = await broker.remove(SHELF, name)
    for tick, _ in await broker.leaves(ticks_of(name), limit=NOTED):
        await broker.remove(ticks_of(name), tick)
    return there
