"""U: new versions of the program, while there is work."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import old_program
from scenario import scenario
from stage import Stage, alive, family, until

from windlass import Handle, State
from windlass.core.job import NewJob
from windlass.core.payload import VERSION

OLD, NEW = "1.0", "2.0"


@asynccontextmanager
async def load(stage: Stage) -> AsyncGenerator[None]:
    """New work for the lanes of a runner, all the time."""
    enough = asyncio.Event()

    async def feed() -> None:
        while not enough.is_set():
            for task, count, args in (("nap", 10, (0.1,)), ("nap_thread", 4, (0.05,)), ("quick", 10, ())):
                await stage.enqueue(task, count * stage.scale, *args)
            await stage.wait_started(len(stage.history.told) - 20 * stage.scale)

    feeding = asyncio.create_task(feed())
    try:
        yield
    finally:
        enough.set()
        await feeding


async def has_run(stage: Stage, worker: subprocess.Popen[bytes], jobs: int) -> None:
    """Until a worker has run so many jobs."""
    await until(lambda: len(stage.run_by(family(worker.pid))) >= jobs)


async def versions(stage: Stage) -> set[str]:
    """The versions that have run the jobs; no crash is counted for any, and no attempt was spent in vain."""
    jobs = await stage.ended()
    assert {(job.attempt, job.crashes) for job in jobs} == {(1, 0)}
    return {job.version for job in jobs}


@scenario(
    "U1",
    "The code is deployed under load, and the worker gets SIGHUP",
    "New runners start with the new code while the old ones finish what they have: nothing is lost, nothing runs twice.",
)
async def rolling_restart(stage: Stage) -> None:
    worker = stage.worker("--runners=2")
    async with load(stage):
        await has_run(stage, worker, 50)
        old = family(worker.pid) - {worker.pid}
        stage.terminate(worker, signal.SIGHUP)
        await until(lambda: not any(map(alive, old)))
        await has_run(stage, worker, 50)
    assert worker.poll() is None
    assert await versions(stage) == {""}


@scenario(
    "U2",
    "Workers of one version are replaced, one by one and under load, by workers of the next",
    "Nothing is lost, nothing runs twice, and every attempt tells the version that ran it.",
)
async def rolling_deploy(stage: Stage) -> None:
    old = [stage.worker(version=OLD) for _ in range(2)]
    async with load(stage):
        for worker in old:
            await has_run(stage, worker, 30)
            new = stage.worker(version=NEW)
            stage.terminate(worker)
            assert await asyncio.to_thread(worker.wait, 20) == 0
            await has_run(stage, new, 30)
    assert await versions(stage) == {OLD, NEW}


@scenario(
    "U3",
    "A worker is replaced while long jobs run that remember how far they are (checkpoints)",
    "The next worker goes on where the last one stopped: no step is done in vain but the one that was under way.",
)
async def resumed(stage: Stage) -> None:
    jobs = await stage.enqueue("steps", 10, 40)
    for version in (OLD, NEW):
        worker = stage.worker(version=version, shutdown_timeout=0.1)
        before = stage.started()
        await stage.wait_started(before + 10)
        await asyncio.sleep(0.7)  # so that there is something to go on from
        if version == OLD:
            stage.terminate(worker)
            await asyncio.to_thread(worker.wait, 20)
    for job in await stage.ended(jobs):
        _, _, first = msgspec.json.decode(job.result or b"")
        assert 5 < first < 40
        assert (job.version, job.attempt) == (NEW, 1)


@scenario(
    "U4",
    "Jobs of a new task are enqueued while only workers of the old program run",
    "They are parked, not failed and not lost, with no attempt spent; the first worker that knows the task runs them.",
)
async def unknown_task(stage: Stage) -> None:
    stage.worker(target="old_program:app", version=OLD)
    jobs = await stage.enqueue("steps", 10, 2)
    known = await stage.enqueue("quick", 10)
    await until(lambda: parked(stage, 10))
    stage.harm("unknown task")
    await stage.ended(known)
    stage.worker(version=NEW)
    for job in await stage.ended(jobs):
        assert (job.version, job.attempt, job.crashes) == (NEW, 1, 0)


async def parked(stage: Stage, count: int) -> bool:
    """Whether so many jobs are parked, none of which has cost an attempt."""
    found = (await (await stage.app.broker()).find(states=[State.PARKED])).jobs
    assert not any(job.attempt for job in found)
    return len(found) == count


@scenario(
    "U5",
    "A newer Windlass enqueues jobs in an envelope that this worker cannot read yet",
    "They are parked, visible, with the reason; what it can read goes on.",
)
async def newer_envelope(stage: Stage) -> None:
    stage.worker()
    calls = stage.bind("quick", 5)
    newer = [msgspec.structs.replace(call.job, body=of_version(call.job, VERSION + 1)) for call in calls]
    await (await stage.app.broker()).enqueue(newer)
    stage.harm("newer envelope")
    await stage.ended(await stage.enqueue("quick", 10))
    await until(lambda: parked(stage, 5))
    for job in (await (await stage.app.broker()).find(states=[State.PARKED])).jobs:
        assert "upgrade the worker" in (job.reason or "")
    handles = [stage.app.job(call.job.id) for call in calls]
    assert set((await stage.cancel(handles)).values()) == {State.CANCELLED}
    stage.expect(handles, State.CANCELLED, never=True)


def of_version(job: NewJob, version: int) -> bytes:
    """The body of a job as that version of the envelope would be."""
    return msgspec.json.encode(msgspec.json.decode(job.body) | {"v": version, "more": {"to": "come"}})


@scenario(
    "U6",
    "The new program runs a task in another lane, and both programs enqueue and work",
    "Every worker runs every job, in the lane that its own program says.",
)
async def other_lane(stage: Stage) -> None:
    old = old_program.build(stage.url)
    try:
        for version, target in ((OLD, "old_program:app"), (NEW, "program:app")):
            worker = stage.worker(target=target, version=version)
            jobs = list[Handle[Any]]()
            for app in (old, stage.app):
                jobs += await stage.submit(stage.bind("nap_process", 10, 0.02, by=app))
            await stage.ended(jobs)
            assert all(in_child(stage, job) is (version == NEW) for job in jobs)
            stage.terminate(worker)
            assert await asyncio.to_thread(worker.wait, 20) == 0
    finally:
        await old.close()
    assert await versions(stage) == {OLD, NEW}


def in_child(stage: Stage, job: Handle[Any]) -> bool:
    """Whether a job has run in a child of a runner."""
    return stage.runs(job)[0].start.above[0] not in {worker.pid for worker in stage.workers}
