"""Limits as people see them: the page of the API, and why a job is not running."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from windlass.broker.memory import MemoryBroker
from windlass.core.outcome import Retried
from windlass.core.terms import Meter, Use
from windlass.limit import why_waiting
from windlass.testing.conformance.kit import ERROR, NOW, end, hire, look, take
from windlass.testing.conformance.limits import ONE, put
from windlass.web.admin.limits import page


@pytest.fixture
async def broker() -> MemoryBroker:
    return MemoryBroker(clock=lambda: NOW)


async def said(broker: MemoryBroker, job: str, *uses: Use, paused: bool = False) -> str:
    limits = await broker.limits([(use.limit, use.key) for use in uses], now=NOW)
    return " ".join(why_waiting(await look(broker, job), limits, paused, NOW))


async def test_pages_follow_each_other(broker: MemoryBroker) -> None:
    for key in "abc":
        await put(broker, Use("x", key, running=1))
    await put(broker, Use("y", rate=0.5, burst=3))
    first = await page(broker, None, 3)
    assert ([one.key for one in first.limits], first.next) == (["a", "b", "c"], "x\x1fc")
    (row,) = (await page(broker, ("x", "c"), 3)).limits
    assert (row.limit, row.running, row.rate, row.level, row.held, row.reserved) == ("y", None, 0.5, 3, 1, 1)
    assert (await page(broker, ("y", ""), 3)).next is None


async def test_who_waits_is_told_for_what(broker: MemoryBroker) -> None:
    first, second, _ = await put(broker, ONE, many=3)
    text = await said(broker, second, ONE)
    assert "limit openai under the key alice admits 1 units at once: 1 are taken, and it takes 1." in text
    assert "2 jobs wait for the limit openai" in text
    slow, ordered = Use("slow", rate=0.25), Use("order", "o", ordered=True)
    *_, waits = await put(broker, slow, many=2)
    assert "limit slow gives 0.25 units a second: 0 are there, and it takes 1." in await said(broker, waits, slow)
    turn, waits = await put(broker, ordered, many=2)
    assert f"one after the other, and it is the turn of {turn}." in await said(broker, waits, ordered)
    await broker.pause("default", now=NOW)
    assert "The queue default is paused" in await said(broker, first, ONE, paused=True)


async def test_a_pause_is_told(broker: MemoryBroker) -> None:
    await put(broker, ONE)
    await hire(broker)
    (claim,) = await take(broker)
    await end(broker, replace(claim, meters=(Meter("openai", pause=30.0),)), Retried(60.0, ERROR))
    (waits,) = await put(broker, ONE)
    assert "is paused for another 30 seconds" in await said(broker, waits, ONE)
