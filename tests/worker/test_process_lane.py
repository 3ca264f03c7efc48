"""Lane "process": what a job does to its process is the end of that process only, and its cause is named."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import worker_tasks
from worker_tasks import app

from windlass import JobCancelled, JobFailed, State
from windlass.core.job import Card
from windlass.core.outcome import ErrorInfo
from windlass.worker.runner import Runner, working


async def enqueue(name: str, *args: Any, **options: Any) -> Any:
    task = app.get_task(name if "." in name else f"{worker_tasks.__name__}.{name}")
    return await task.options(**options).enqueue(*args)


async def failure(job: Any, timeout: float = 20) -> ErrorInfo:
    with pytest.raises(JobFailed) as caught:
        await job.result(timeout=timeout)
    assert caught.value.error is not None
    return caught.value.error


@asynccontextmanager
async def worker() -> AsyncGenerator[Runner]:
    try:
        async with working(app) as runner:
            yield runner
    finally:
        await app.close()


def gone(pid: int) -> bool:
    """Whether a process is dead (a zombie that nobody collects is)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def test_a_child_is_kept_warm_and_ends_with_the_worker() -> None:
    async with worker():
        first = await (await enqueue("pid_in_process")).result(timeout=20)
        second = await (await enqueue("pid_in_process")).result(timeout=20)
        assert first == second != os.getpid()
    assert gone(first)


async def test_every_death_is_named_and_the_others_go_on() -> None:
    async with worker():
        jobs = {
            "left with exit code 1": await enqueue("leave", 1),
            "left with exit code 0": await enqueue("leave", 0),
            "signal 11 (SIGSEGV)": await enqueue("crash"),
            "signal 9 (SIGKILL)": await enqueue("kill_self", 9),
            "over its memory limit": await enqueue("eat", 1 << 30),
        }
        other = await enqueue("process_nap", 0.5)
        errors = {message: await failure(job) for message, job in jobs.items()}
        assert await other.result(timeout=20)
    for message, error in errors.items():
        assert message in error.message
    assert errors["left with exit code 1"].evidence == {"exit_code": 1, "last_log": "about to leave"}
    assert errors["signal 11 (SIGSEGV)"].evidence["signal"] == signal.SIGSEGV
    assert errors["over its memory limit"].evidence["memory_limit_bytes"] == 100 << 20


async def test_limits_are_kept_by_force_if_need_be() -> None:
    async with worker():
        jobs = [
            await enqueue("process_nap", 60, timeout=0.3),
            await enqueue("process_async_nap", 60, timeout=0.3),
            await enqueue("hold_the_gil", timeout=0.3),
        ]
        errors = [await failure(job) for job in jobs]
    assert {error.kind for error in errors} == {"timeout"}
    assert "was killed" in errors[2].message
    assert "in hold_the_gil" in errors[2].traceback
    assert "in process_nap" in errors[0].traceback


async def test_cancel_stops_what_the_job_has_started(tmp_path: Path, until: Callable[..., Any]) -> None:
    mark = tmp_path / "pid"
    async with worker():
        job = await enqueue("process_subprocess", 60, str(mark))
        pid = int(await until(lambda: mark.exists() and mark.read_text()))
        await job.cancel()
        with pytest.raises(JobCancelled):
            await job.result(timeout=10)
        await until(lambda: gone(pid))


async def test_a_suspect_that_waits_for_a_child_is_cancelled_at_once(until: Callable[..., Any]) -> None:
    broker = await app.broker()
    suspect = await enqueue("nap", 0)
    for ghost in ("first ghost", "second ghost"):
        await broker.beat(ghost, Card(host="gone", pid=1), 60)
        assert [claim.id for claim in await broker.claim(["default"], {"loop": 1}, ghost)] == [suspect.id]
        await broker.beat(ghost, Card(host="gone", pid=1), 0)
        await broker.reclaim()
    assert (await suspect.info()).crashes == 2
    await broker.pause("default")
    busy = [await enqueue("process_nap", 60, queue="busy") for _ in range(2)]
    async with working(app, queues=["busy", "default"]) as runner:
        await until(lambda: len(runner.processes.groups) == 2)
        await broker.pause("default", False)
        await until(lambda: suspect.id in [run.claim.id for run in runner.executor.runs])
        await suspect.cancel()
        with pytest.raises(JobCancelled):
            await suspect.result(timeout=10)
        assert [(await job.info()).state for job in busy] == [State.RUNNING, State.RUNNING]
        for job in busy:
            await job.cancel()
            with pytest.raises(JobCancelled):
                await job.result(timeout=10)
    await app.close()


async def test_a_run_that_ignores_its_limit_is_killed() -> None:
    async with worker():
        job = await enqueue("process.deaf", 60, timeout=0.2, retry=worker_tasks.ONCE)
        assert "did not stop when told to" in (await failure(job)).message


async def test_everything_passes_through_to_the_journal() -> None:
    async with worker():
        job = await enqueue("process.speak")
        assert await job.result(timeout=20) == {"at": 5}
        reading = await (await app.broker()).read(job.id)
    kinds = [entry.kind for entry in reading.entries]
    assert {kind: kinds.count(kind) for kind in ("chunk", "progress", "checkpoint")} == dict.fromkeys(
        ("chunk", "progress", "checkpoint"), 1
    )
    logged = b" ".join(entry.data for entry in reading.entries if entry.kind == "log")
    for text in (b"printed", b"logged 7", b"said", b"no end"):
        assert logged.count(text) == 1


async def test_meta_reaches_the_child() -> None:
    async with worker():
        assert await (await enqueue("process.meta", meta={"a": "b"})).result(timeout=20) == {"a": "b"}


async def test_a_stop_hands_back_what_runs_in_a_child(tmp_path: Path, until: Callable[..., Any]) -> None:
    mark = tmp_path / "pid"
    async with worker() as runner:
        job = await enqueue("process_nap", 60, str(mark))
        pid = int(await until(lambda: mark.exists() and mark.read_text()))
        runner.hurry.set()
    assert gone(pid)
    info = await job.info()
    assert (info.state, info.attempt, info.crashes) == (State.READY, 0, 0)
    await job.cancel()
    await app.close()
