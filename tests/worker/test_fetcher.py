"""The fetcher by itself, over a store in memory: how it waits, stops, and changes its id."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from windlass.broker.memory import MemoryBroker
from windlass.core.job import Card, Claim, NewJob, Pulse
from windlass.events import Events
from windlass.worker.fetcher import Fetcher
from windlass.worker.identity import Identities
from windlass.worker.run import Identity, Lane, Reports

SOON = 2.0
"""Far less than a claim waits at the store."""
ALL_LANES = {"loop", "thread", "process"}


class Keeper:
    """Makes ids live, after as many steps of the loop as it is told."""

    on_pulse: Callable[[str, Pulse], None]

    def __init__(self, broker: MemoryBroker, steps: int = 0) -> None:
        self.broker = broker
        self.steps = steps

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def adopt(self, worker: str) -> None:
        for _ in range(self.steps):
            await asyncio.sleep(0)
        await self.broker.beat(worker, Card(host="here", pid=1), 3600.0)

    async def retire(self, worker: str) -> None:
        await self.broker.beat(worker, Card(host="here", pid=1), 0.0)


class Counting(MemoryBroker):
    """Notes its claims: under which id, and how many wait at once for each lane."""

    def __init__(self) -> None:
        super().__init__()
        self.workers: list[str] = []
        self.waiting: dict[str, int] = {}
        self.most = 0

    async def claim(self, queues: Any, room: Any, worker: str, **more: Any) -> list[Claim]:
        self.workers.append(worker)
        for lane in room:
            self.waiting[lane] = self.waiting.get(lane, 0) + 1
        self.most = max(self.most, *self.waiting.values())
        try:
            return await super().claim(queues, room, worker, **more)
        finally:
            for lane in room:
                self.waiting[lane] -= 1


class Worker:
    """A fetcher with its ids, and what it fetched."""

    def __init__(self, broker: MemoryBroker, lanes: Iterable[str], steps: int = 0) -> None:
        reports = Reports(lambda *_: None, lambda _: None, lambda *_: None, 0)
        self.lanes = [Lane(4, reports) for _ in lanes]
        for lane, name in zip(self.lanes, lanes, strict=True):
            lane.name = name
        self.started: list[tuple[Claim, Identity]] = []
        self.released: list[tuple[Claim, Identity]] = []
        self.identities = Identities(Keeper(broker, steps), lambda _: None, broker.wake, "")
        self.fetcher = Fetcher(
            broker,
            lambda: ["default"],
            self.identities,
            Events(),
            start_job=lambda *one: self.started.append(one),
            release=lambda *one: self.released.append(one),
            full=lambda: False,
        )


@asynccontextmanager
async def working(
    broker: MemoryBroker, lanes: Iterable[str] = ("loop",), used: set[str] = ALL_LANES
) -> AsyncGenerator[Worker]:
    worker = Worker(broker, list(lanes))
    await worker.identities.start()
    worker.fetcher.serve(worker.lanes, used)
    try:
        yield worker
    finally:
        await asyncio.wait_for(worker.fetcher.stop(), SOON)
        await worker.identities.stop()


def job(number: int = 0) -> NewJob:
    return NewJob(id=f"00000000-0000-7000-8000-{number:012}", task="a.task", body=b'{"args":{},"v":1}')


async def test_an_idle_fetcher_has_one_claim_under_way_for_each_group_of_lanes(until: Callable[..., Any]) -> None:
    broker = Counting()
    async with working(broker, ["loop", "thread", "process"], used={"loop"}):
        await until(lambda: sum(broker.waiting.values()) == 3)
        await asyncio.sleep(0.3)
        assert len(broker.workers) == 2, "one for the lane in use, one for all others, and neither is repeated"
        assert broker.most == 1


@pytest.mark.parametrize("used", [{"loop"}, set[str]()])
async def test_a_stop_at_any_step_ends_at_once(used: set[str]) -> None:
    for steps in range(40):
        broker = Counting()
        worker = Worker(broker, ["loop"], steps=7)
        begun = asyncio.ensure_future(worker.identities.start())
        worker.fetcher.serve(worker.lanes, used)
        for _ in range(steps):
            await asyncio.sleep(0)
        await asyncio.wait_for(worker.fetcher.stop(), SOON)
        asked = len(broker.workers)
        await asyncio.sleep(0)
        assert len(broker.workers) == asked, "nothing is claimed after a stop"
        await asyncio.wait({begun})


async def test_what_arrives_during_a_stop_is_handed_back() -> None:
    broker = MemoryBroker()
    async with working(broker) as worker:
        await asyncio.sleep(0.05)
        await broker.enqueue([job()])
        await worker.fetcher.stop()
    assert [claim.task for claim, _ in worker.released] == ["a.task"]
    assert not worker.started


@pytest.mark.parametrize("deed", ["lost", "doubt"])
async def test_a_claim_that_waits_under_an_id_of_the_past_ends(deed: str, until: Callable[..., Any]) -> None:
    broker = Counting()
    async with working(broker) as worker:
        await until(lambda: broker.workers)
        old = await worker.identities.current()
        if deed == "lost":
            worker.identities.lost(old.worker)
        else:
            worker.identities.doubt(old)
        await until(lambda: broker.waiting["loop"] == 1 and broker.workers[-1] != old.worker, timeout=SOON)
        assert old.held == 0
        await broker.enqueue([job()])
        await until(lambda: worker.started)
        assert worker.started[0][1] is await worker.identities.current()


async def test_an_id_that_nobody_knows_does_not_make_it_spin() -> None:
    class Impatient(Counting):
        async def claim(self, queues: Any, room: Any, worker: str, **more: Any) -> list[Claim]:
            self.workers.append(worker)
            return []

    broker = Impatient()
    began = time.monotonic()
    async with working(broker):
        await asyncio.sleep(0.3)
    assert len(broker.workers) <= 1 + (time.monotonic() - began) / 0.05
