"""A run that dies for want of memory, and where its job goes on: `on_oom`."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from deadly import app
from test_evidence import enqueue, failure, worker

from windlass import State

CGROUPS = Path("/sys/fs/cgroup")
MB = 1 << 20


@pytest.fixture
def small_room() -> Generator[Callable[[int], None]]:
    """Puts a process into a memory cgroup of 60 MiB."""
    old = (CGROUPS / "memory" / "tasks").exists()
    group = CGROUPS / ("memory" if old else "") / f"windlass-test-{os.getpid()}"
    limits = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") if old else ("memory.max", "memory.swap.max")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        try:
            (group / limits[0]).write_text(str(60 * MB))
        except OSError as error:
            pytest.skip(f"no memory can be limited in a cgroup here: {error}")
        try:
            (group / limits[1]).write_text(str(60 * MB) if old else "0")
        except OSError:
            pass  # no swap is accounted for
        yield lambda pid: (group / "cgroup.procs").write_text(str(pid)) and None
    finally:
        group.rmdir()


async def test_a_job_over_its_limit_moves_to_a_bigger_queue_where_the_limit_is_the_machine(
    tmp_path: Path, until: Callable[..., Any]
) -> None:
    job = await enqueue("eat", 120 * MB, str(tmp_path / "mark"))
    async with worker(queues=["default"]):
        await until(lambda: moved(job))
    info = await job.info()
    assert (info.attempt, info.crashes, info.error.type) == (0, 1, "MemoryLimitExceeded")
    assert info.error.evidence["rss_bytes"] > info.error.evidence["memory_limit_bytes"] == 80 * MB
    assert "in eat" in info.error.traceback
    async with worker(queues=["big"]):
        assert await job.result(timeout=20) == 120 * MB
    assert (await job.info()).queue == "big"


async def test_the_limit_of_the_task_does_not_hold_in_the_bigger_queue(until: Callable[..., Any]) -> None:
    job = await enqueue("tiny.pid")  # no Python is as small as its limit
    async with worker(queues=["default"]):
        await until(lambda: moved(job))
    async with worker(queues=["big"]):
        assert await job.result(timeout=20)


async def moved(job: Any) -> bool:
    return (await job.info()).queue == "big"


@pytest.mark.parametrize("meanwhile", [False, True], ids=["moved before", "moved in its job"])
async def test_the_kernel_kills_for_memory_and_that_is_recognised(
    tmp_path: Path, until: Callable[..., Any], small_room: Callable[[int], None], meanwhile: bool
) -> None:
    mark, go = tmp_path / "mark", tmp_path / "go"
    async with worker(queues=["default"]) as runner:
        child = await (await enqueue("pid")).result(timeout=20)
        if not meanwhile:
            small_room(child)
        job = await enqueue("unlimited.eat", 70 * MB, str(mark), str(go))
        await until(mark.exists)
        if meanwhile:
            small_room(child)
            (own,) = runner.processes._children
            await until(lambda: "windlass-test" in str(own._oom_kills._file))
        go.touch()
        await until(lambda: moved(job))
        error = (await job.info()).error
        assert error.evidence.items() >= {"signal": 9, "oom_kill": 1}.items()
        assert "out of memory, the kernel chose it" in error.message
        assert await (await enqueue("pid")).result(timeout=20) != child
    async with worker(queues=["big"]):
        assert await job.result(timeout=20) == 70 * MB
    assert (await job.info()).crashes == 1


async def test_a_crash_that_is_one_too_many_moves_nowhere(tmp_path: Path) -> None:
    async with worker(queues=["default"]):
        job = await enqueue("fragile.eat", 120 * MB, str(tmp_path / "mark"))
        error = await failure(job)
    assert (error.kind, error.evidence["memory_limit_bytes"]) == ("quarantined", 80 * MB)
    assert (await job.info()).queue == "default"


async def test_a_memory_error_moves_the_next_attempt_too(tmp_path: Path, until: Callable[..., Any]) -> None:
    async with worker(queues=["default"]):
        job = await enqueue("no_memory", str(tmp_path / "mark"))
        await until(lambda: moved(job))
    info = await job.info()
    assert (info.attempt, info.crashes, info.error.type) == (1, 0, "MemoryError")
    async with worker(queues=["big"]):
        assert await job.result(timeout=20) == "enough"


async def test_a_worker_serves_no_such_queue_unless_it_is_told_to() -> None:
    async with worker() as runner:
        assert "big" not in runner.queues.weights
    queued = await enqueue("pid", queue="big")
    async with worker():
        await (await enqueue("pid")).result(timeout=20)
        assert (await queued.info()).state is State.READY
    await queued.cancel()
    await app.close()
