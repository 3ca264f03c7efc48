"""Workers are killed at random while flows and joins go on: each ends right, and no step runs again once it is remembered."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import deadly_flows
import msgspec
import pytest

from servers import BINARIES, MISSING, RedisServer
from windlass import Handle, Windlass, group
from windlass.flow import Record

FLOWS, JOINS, PARTS, DEATHS = 20, 4, 20, 12


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/jobs.db"
        return
    if not BINARIES:
        pytest.skip(MISSING)
    with RedisServer() as server:
        yield server.url()


class Workers:
    """Two workers; one that is killed is replaced."""

    def __init__(self, url: str, calls: Path) -> None:
        self._environment = {**os.environ, "DEADLY_URL": url, "DEADLY_CALLS": str(calls)}
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Workers:
        self._running = [self._start() for _ in range(2)]
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._running:
            one.kill()
            one.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, str(deadly_flows.__file__)], env=self._environment)

    def kill_one(self) -> None:
        victim = self._running.pop(0)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        self._running.append(self._start())


async def remembered(app: Windlass, flow: Handle[int]) -> dict[int, list[float]]:
    """When each step with a result was remembered."""
    reading = await (await app.broker()).read(flow.id)
    assert reading is not None
    found = defaultdict[int, list[float]](list)
    for entry in reading.entries:
        if entry.kind == "step":
            record = msgspec.json.decode(entry.data, type=Record)
            if record.name.startswith("step"):
                found[record.number].append(entry.at)
    return found


async def test_flows_and_joins_survive_the_deaths_of_their_workers(url: str, tmp_path: Path) -> None:
    calls, chance = tmp_path / "calls", random.Random(7)
    app = Windlass(url)
    app._tasks, app.definitions = deadly_flows.app._tasks, deadly_flows.app.definitions
    publish, part, total = deadly_flows.publish, deadly_flows.part, deadly_flows.total
    for task in (publish, part, total):
        task.app = app
    with Workers(url, calls) as workers:
        async with app.lifespan(), asyncio.timeout(150):
            flows = await app.enqueue_many([publish.bind(f"flow{n}") for n in range(FLOWS)])
            joins = [await group(part.bind(n) for n in range(PARTS)).then(total).enqueue() for _ in range(JOINS)]
            for _ in range(DEATHS):
                await asyncio.sleep(chance.uniform(0.1, 1.0))
                workers.kill_one()
            assert [await one for one in flows] == [9] * FLOWS
            assert [await one for one in joins] == [sum(range(PARTS))] * JOINS
            starts = defaultdict[str, list[float]](list)
            for line in calls.read_text().splitlines():
                name, at = line.split()
                starts[name].append(float(at))
            for n, flow in enumerate(flows):
                found = await remembered(app, flow)
                assert Counter(map(len, found.values())) == {1: 3}, "each step is remembered once"
                for number, (at,) in found.items():
                    assert max(starts[f"flow{n}:{number}"]) <= at, "it ran again"
