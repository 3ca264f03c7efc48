"""Workers that were stopped for longer than their lease and go on: they find themselves dead, and nothing of their old life counts."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import zombie_tasks
from test_evidence import state
from test_process_lane import gone
from trees import producer, tree

from windlass import Windlass

TARGET = "zombie_tasks:app"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncGenerator[Windlass]:
    app = producer(zombie_tasks.app, tmp_path)
    await app.broker()
    yield app
    await app.close()


def notes(folder: Path) -> list[tuple[str, int]]:
    """What the runs have noted: ("start" | "cancelled" | "end", pid)."""
    path = folder / "notes"
    return [(what, int(pid)) for what, pid in map(str.split, path.read_text().splitlines())] if path.exists() else []


def begun(folder: Path) -> list[int]:
    """In which processes runs have begun."""
    return [pid for what, pid in notes(folder) if what == "start"]


async def enqueue(app: Windlass, task: str, *args: str) -> Any:
    return await app.get_task(f"zombie_tasks.{task}").enqueue(*args)


async def test_a_runner_that_is_stopped_loses_its_jobs_and_finds_out(
    app: Windlass, tmp_path: Path, until: Callable[..., Any]
) -> None:
    """The supervisor, which was not stopped, beats no more for it, and starts another in its place."""
    with tree(app, tmp_path / "log", TARGET) as worker:
        jobs = [await enqueue(app, task, str(tmp_path)) for task in ("watched", "thread_watched", "process_watched")]
        await until(lambda: len(begun(tmp_path)) == 3)
        (zombie,) = worker.runners
        (child,) = set(begun(tmp_path)) - {zombie}
        os.kill(zombie, signal.SIGSTOP)
        await until(lambda: len(begun(tmp_path)) == 6)
        assert gone(child), "the process of a job does not outlive its runner's life"
        assert not any(what == "cancelled" for what, _ in notes(tmp_path))
        os.kill(zombie, signal.SIGCONT)
        await until(lambda: notes(tmp_path).count(("cancelled", zombie)) == 2)
        await until(lambda: gone(zombie))
        (successor,) = worker.runners
        (tmp_path / "release").touch()
        assert [await job.result(timeout=20) for job in jobs] == [successor] * 3
        assert ("end", zombie) not in notes(tmp_path)
        assert "what='abandoned'" in worker.said
    for job in jobs:
        info = await job.info()
        assert (info.attempt, info.crashes) == (1, 0), "nobody is to blame"


async def test_a_worker_that_is_stopped_as_a_whole_finds_its_jobs_with_others(
    app: Windlass, tmp_path: Path, until: Callable[..., Any]
) -> None:
    with tree(app, tmp_path / "log", TARGET) as worker:
        jobs = [await enqueue(app, task, str(tmp_path)) for task in ("watched", "thread_watched", "deaf")]
        await until(lambda: len(begun(tmp_path)) == 3)
        (zombie,) = worker.runners
        worker.signal(signal.SIGSTOP)
        with tree(app, tmp_path / "other-log", TARGET) as other:
            await until(lambda: len(begun(tmp_path)) == 6)
            worker.signal(signal.SIGCONT)
            await until(lambda: notes(tmp_path).count(("cancelled", zombie)) == 2)
            (tmp_path / "release").touch()
            await until(lambda: ("end", zombie) in notes(tmp_path))
            results = {await job.result(timeout=20) for job in jobs}
            assert results == set(other.runners), "what the zombie's last run answered is refused"
            assert "StaleWrite" not in other.said
        assert worker.runners == [zombie], "it was lost, but need not be replaced"
        assert "what='died'" not in worker.said
        assert "what='stuck'" not in worker.said
        assert await (await enqueue(app, "pid")).result(timeout=20) == zombie, "it works again, under a new name"
    for job in jobs:
        info = await job.info()
        assert (info.attempt, info.crashes) == (1, 1), "nobody could know what had become of it"


async def locked(app: Windlass) -> bool:
    """Whether nobody can write: who was stopped is in the middle of a transaction, of another call."""
    try:
        async with asyncio.timeout(1):
            await (await app.broker()).pause("nowhere", False)
    except TimeoutError:
        return True
    return False


async def test_an_outcome_that_is_written_after_the_awakening_is_refused(
    app: Windlass, tmp_path: Path, until: Callable[..., Any]
) -> None:
    """It stops itself between the end of the run and its last word on it."""
    for number in count():
        folder = tmp_path / f"try {number}"
        (folder / "once").mkdir(parents=True)
        (folder / "release").touch()
        points = {
            "WINDLASS_FAILPOINTS": "settler.before_settle=stop",
            "WINDLASS_FAILPOINTS_ONCE": str(folder / "once"),
        }
        with tree(app, folder / "log", TARGET, environment=points) as worker:
            job = await enqueue(app, "watched", str(folder))
            mark = folder / "once" / "settler.before_settle"
            zombie = int(await until(lambda mark=mark: mark.exists() and mark.read_text()))
            await until(lambda zombie=zombie: state(zombie) == "T")
            if await locked(app):  # everybody waits for it, and takes nothing from it: this is not what is tested here
                os.kill(zombie, signal.SIGCONT)
                await job.result(timeout=30)
                continue
            successor = await job.result(timeout=30)
            assert notes(folder) == [("start", zombie), ("end", zombie), ("start", successor), ("end", successor)]
            os.kill(zombie, signal.SIGCONT)
            left_by_itself = f"worker='runner {zombie}', what='stopped'"
            await until(lambda worker=worker, words=left_by_itself: words in worker.said)
        break
    assert await job.result(timeout=1) == successor
    info = await job.info()
    assert (info.attempt, info.crashes) == (1, 0)


@pytest.mark.parametrize("whole", [True, False], ids=["the whole worker", "its runner"])
async def test_a_short_stop_is_no_death(app: Windlass, tmp_path: Path, until: Callable[..., Any], whole: bool) -> None:
    with tree(app, tmp_path / "log", TARGET, lease=60.0) as worker:
        job = await enqueue(app, "watched", str(tmp_path))
        (before,) = await until(lambda: begun(tmp_path))
        with tree(app, tmp_path / "other-log", TARGET) as other:
            await (await enqueue(app, "pid")).result(timeout=20)
            if whole:
                worker.signal(signal.SIGSTOP)
                await asyncio.sleep(3)  # longer than any silence that it finds remarkable
            else:
                os.kill(before, signal.SIGSTOP)
                await until(lambda: "what='frozen'" in worker.said)
            worker.signal(signal.SIGCONT)
            (tmp_path / "release").touch()
            assert await job.result(timeout=20) == before
            assert worker.runners == [before]
            assert other.runners != [before]
        assert "what='stuck'" not in worker.said
    info = await job.info()
    assert (info.attempt, info.crashes) == (1, 0)
