"""Resources: a job is handed its devices, no device is handed out twice, and who has none does not claim."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from device_tasks import app, half, poor

from windlass import Job, JobFailed, State, Windlass
from windlass.core.job import NewJob
from windlass.handle import Handle
from windlass.web.admin.why import why
from windlass.worker.runner import Runner, working


@pytest.fixture
async def runner() -> AsyncGenerator[Runner]:
    async with working(app) as runner:
        yield runner
        runner.hurry.set()  # what a failed test has left is not waited for
    await app.close()


async def begin(name: str, *args: Any) -> Handle[Any]:
    task: Any = app.get_task(name)
    handle: Handle[Any] = await task.enqueue(*args)
    return handle


async def running(jobs: list[Handle[Any]]) -> int:
    return [(await job.info()).state for job in jobs].count(State.RUNNING)


@pytest.mark.parametrize("lane", ["loop", "thread", "process"])
async def test_each_run_has_devices_of_its_own(runner: Runner, lane: str, tmp_path: Path, until: Any) -> None:
    gate = tmp_path / "gate"
    jobs = [await begin(lane, str(gate)) for _ in range(4)]

    async def two() -> bool:
        return await running(jobs) == 2

    await until(two)
    await (await begin("plain")).result(timeout=20)  # it had its time to claim more
    assert await two(), "as many as there are devices"
    gate.touch()
    found = [(await job.result(timeout=20))[3] for job in jobs]
    assert {tuple(one["gpu"]) for one in found} == {(0,), (1,)}
    assert runner.card().slots[f"{lane}+gpu=1"] == 2


async def test_a_child_sees_its_devices_from_its_first_moment_and_is_used_for_these_again(
    runner: Runner, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    first = [await begin("process", str(gate)) for _ in range(2)]
    gate.touch()
    children = {}
    for job in first:
        pid, at_start, now, devices = await job.result(timeout=20)
        (index,) = devices["gpu"]
        assert at_start == now == str(index)
        children[index] = pid
    for _ in range(3):
        pid, at_start, _, devices = await (await begin("process")).result(timeout=20)
        assert (pid, at_start, devices) == (children[0], "0", {"gpu": [0]})
    assert (await (await begin("plain")).result(timeout=20))[1:] == [None, None, {}]
    assert (await (await begin("both")).result(timeout=20))[1:] == ["0,1", "0,1", {"gpu": [0, 1]}]


async def test_lanes_that_share_devices_wait_for_each_other(runner: Runner, tmp_path: Path, until: Any) -> None:
    gate = tmp_path / "gate"
    one = await begin("thread", str(gate))

    async def runs() -> bool:
        return await running([one]) == 1

    await until(runs)
    both = await begin("both")
    await (await begin("thread")).result(timeout=20)
    assert not (await both.info()).state.finished
    gate.touch()
    assert (await both.result(timeout=20))[3] == {"gpu": [0, 1]}


async def test_devices_of_a_process_that_died_are_free(runner: Runner) -> None:
    for _ in range(3):
        assert (await (await begin("die")).result(timeout=20))[3] == {"gpu": [0]}


async def test_devices_of_a_run_that_was_given_up_are_handed_to_nobody(runner: Runner, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with pytest.raises(JobFailed, match="could not be stopped"):
        await (await begin("deaf", str(gate))).result(timeout=20)
    waiting = await begin("thread")
    await (await begin("plain")).result(timeout=20)
    assert (await waiting.info()).state is State.READY
    await waiting.cancel()
    gate.touch()


async def test_each_run_of_a_batch_has_its_devices(runner: Runner) -> None:
    task: Any = app.get_task("many")
    jobs = await app.enqueue_many([task.bind("") for _ in range(4)])
    found = [await job.result(timeout=20) for job in jobs]
    assert {(one[1], one[4]) for one in found} <= {("0", 2), ("1", 2)}
    assert all(one[1] == str(one[3]["gpu"][0]) for one in found)


async def test_what_was_claimed_for_devices_that_are_gone_by_then_is_handed_back(runner: Runner, until: Any) -> None:
    lane: Any = runner.executor.lanes["thread+gpu=1"]
    await (await begin("plain")).result(timeout=20)  # by now its claims wait at the store
    devices, before = lane._pool.take({"gpu": 2}), runner.executor.ended
    job = await begin("thread")
    await until(lambda: runner.executor.ended > before)

    async def is_back() -> bool:
        return (await job.info()).state is State.READY

    await until(is_back)
    assert (await job.info()).attempt == 0
    lane._pool.give_back(devices)
    lane.wake()
    assert (await job.result(timeout=20))[3] == {"gpu": [0]}


# --- who has none


async def test_a_worker_without_the_resource_does_not_claim_and_it_is_said_why() -> None:
    job = await poor.get_task("process").enqueue()
    both = await poor.get_task("both").enqueue()
    async with working(poor) as runner:
        await (await poor.get_task("plain").enqueue()).result(timeout=20)
        assert (await job.info()).state is State.READY
        assert await reasons(poor, await job.info()) == [
            "It needs gpu=1, and no living worker of the queue default has that. Start one: windlass worker --has gpu=1",
            "1 job of its queue is before it.",
        ]
        assert "process+gpu=1" not in runner.card().slots
    await poor.close()
    async with working(half):
        assert (await half.job(job.id).result(timeout=20))[3] == {"gpu": [0]}
        assert (await half.job(both.id).info()).state is State.READY, "two are more than one"
    await half.close()


async def reasons(app: Windlass, job: Job) -> list[str]:
    broker = await app.broker()
    (queue,) = [one for one in await broker.tally() if one.name == job.queue]
    return why(job, queue, await broker.workers(), 1, 0.0)


async def test_a_job_from_before_its_task_had_needs_is_parked_where_they_are_not_met(runner: Runner) -> None:
    task = app.get_task("rare")
    job = task.bind().job
    (old,) = await app.place([NewJob(id=job.id, task="rare", body=job.body, lane="thread")])
    async for event in old.events():
        if event.data is State.PARKED:
            break
    assert (await old.info()).reason == "it needs tpu=1, which this worker does not have (--has)"
    await old.cancel()
