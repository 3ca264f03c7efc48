"""Long jobs go on where they were: after a SIGKILL of the whole worker, at any moment, and after a worker that stops."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import resuming_tasks
from resuming_tasks import STEPS
from trees import tree

from windlass import Windlass
from windlass.handle import Handle

TASKS = ("scrape", "count", "walk")
"""In the lanes loop, thread and process."""
KILLS = 4


@pytest.fixture
async def app(tmp_path: Path) -> AsyncGenerator[Windlass]:
    app = resuming_tasks.build(f"sqlite:///{tmp_path}/jobs.db")
    await app.broker()
    yield app
    await app.close()


@pytest.fixture
async def walks(app: Windlass, tmp_path: Path) -> dict[Path, Handle[Any]]:
    """A job in each lane, by the file in which it notes its steps."""
    files = {tmp_path / f"steps of {name}": app.get_task(f"resuming_tasks.{name}") for name in TASKS}
    return {file: await task.enqueue(str(file)) for file, task in files.items()}


def runs(file: Path) -> list[list[int]]:
    """The steps of each run of a job, in their order."""
    found: dict[str, list[int]] = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        token, number = line.split()
        found.setdefault(token, []).append(int(number))
    return list(found.values())


async def place(app: Windlass, job: Handle[Any]) -> int:
    """How many steps are done for sure: what is stored of the job."""
    reading = await (await app.broker()).read(job.id)
    assert reading is not None
    stored = [msgspec.json.decode(entry.data)["place"] for entry in reading.entries if entry.kind == "checkpoint"]
    return stored[-1] if stored else 0


def check(file: Path, places: list[int]) -> None:
    """Each run began at a place that was stored before, or later; it did nothing that was done for sure, and left nothing out."""
    steps = runs(file)
    for run in steps:
        assert run == list(range(run[0], run[0] + len(run))), "in order, none left out"
    for before, run, stored in zip(steps, steps[1:], places, strict=False):
        assert stored <= run[0] <= before[-1] + 1
    assert {number for run in steps for number in run} == set(range(STEPS))


async def test_a_worker_killed_again_and_again_goes_on(
    app: Windlass, walks: dict[Path, Handle[Any]], tmp_path: Path, until: Callable[..., Any]
) -> None:
    chance = random.Random()
    places: dict[Path, list[int]] = {file: [] for file in walks}
    for _ in range(KILLS):
        begun = {file: len(runs(file)) for file in walks}
        with tree(app, tmp_path / "log", "resuming_tasks:app") as worker:
            await until(lambda b=begun: all(len(runs(file)) > b[file] for file in walks))
            await asyncio.sleep(chance.uniform(0.0, 0.6))
            stored = {file: await place(app, job) for file, job in walks.items()}
            worker.process.kill()  # and the kernel kills all below it
            worker.process.wait()
        for file in walks:
            places[file].append(stored[file])
    with tree(app, tmp_path / "log", "resuming_tasks:app"):
        for job in walks.values():
            assert await job.result(timeout=60) == 1, "no attempt was spent"
    for file, told in places.items():
        assert len(runs(file)) == KILLS + 1
        check(file, told)
        assert max(told) > 0


async def test_a_worker_that_stops_loses_no_step_and_spends_no_attempt(
    app: Windlass, walks: dict[Path, Handle[Any]], tmp_path: Path, until: Callable[..., Any]
) -> None:
    for turn in (1, 2):
        with tree(app, tmp_path / "log", "resuming_tasks:app") as worker:
            await until(lambda t=turn: all(len(runs(file)) == t and len(runs(file)[-1]) > 5 for file in walks))
            worker.process.send_signal(signal.SIGTERM)
            assert worker.process.wait(20) == 0
    with tree(app, tmp_path / "log", "resuming_tasks:app"):
        for job in walks.values():
            assert await job.result(timeout=60) == 1
            assert (await job.info()).crashes == 0
    for file in walks:
        assert [number for run in runs(file) for number in run] == list(range(STEPS)), "each step once, in order"
        assert len(runs(file)) == 3
