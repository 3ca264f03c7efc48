"""Batches: jobs of one task that run together, in each lane, and what happens to one of them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from batch_tasks import LANES, app
from trees import tree

from windlass import Batch, Job, JobCancelled, JobFailed, Retry, State, Windlass
from windlass.core.job import NewJob
from windlass.core.payload import packer
from windlass.handle import Handle
from windlass.worker.lanes.batch import BatchLane
from windlass.worker.runner import Runner, working

each_lane = pytest.mark.parametrize("lane", LANES)


@pytest.fixture
async def runner() -> AsyncGenerator[Runner]:
    async with working(app) as runner:
        yield runner
        runner.hurry.set()  # what a failed test has left is not waited for
    await app.close()


async def begin(name: str, *words: Any) -> list[Handle[Any]]:
    task: Any = app.get_task(name)
    return await app.enqueue_many([task.bind(word) for word in words])


async def end(job: Handle[Any]) -> Job:
    """The job, once it has finished or is put off."""
    async for event in job.events():
        if event.kind == "end" or (event.kind == "state" and event.data in (State.SCHEDULED, State.PARKED)):
            break
    return await job.info()


# --- gathering


@each_lane
async def test_jobs_run_together_and_each_has_its_own_result(runner: Runner, lane: str) -> None:
    jobs = await begin(lane, *"abcdefghij")
    results = [await job.result(timeout=20) for job in jobs]
    assert [word for word, _ in results] == list("abcdefghij")
    assert [size for _, size in results] == [4] * 8 + [2] * 2, "full ones at once, the rest when its time is over"


@each_lane
async def test_one_alone_is_a_batch_of_one(runner: Runner, lane: str) -> None:
    assert await (await begin(lane, "a"))[0].result(timeout=20) == ["a", 1]


@pytest.mark.parametrize("name", ["by", "by in process"])
async def test_only_what_is_alike_runs_together(runner: Runner, name: str) -> None:
    jobs = await begin(name, *range(8))
    assert [await job.result(timeout=20) for job in jobs] == [(number, 4) for number in range(8)]


async def test_no_more_is_claimed_than_the_next_runs_can_take(runner: Runner, tmp_path: Path, until: Any) -> None:
    jobs = await begin("loop", f"wait {tmp_path / 'mark'}", "b")
    await until((tmp_path / "mark").exists)
    lane = runner.executor.lanes["loop:loop"]
    assert (lane.free, lane.busy, lane.slots) == (0, 2, 4)
    runner.broker.wake()  # a claim that was about to end with the gathering has ended
    await (await begin("by", 0))[0].result(timeout=20)
    late = await begin("loop", *"cdef")
    await (await begin("by", 1))[0].result(timeout=20)  # the worker had its time to claim them
    assert [(await job.info()).state for job in late] == [State.READY] * 4
    go(tmp_path / "mark")
    assert [size for _, size in [await job.result(timeout=20) for job in [*jobs, *late]]] == [2, 2, 4, 4, 4, 4]


# --- each has its own end


@each_lane
async def test_what_one_job_fails_with_is_its_own(runner: Runner, lane: str) -> None:
    good, bad, lost, later = await begin(lane, "a", "raise x", "fail", "snooze")
    assert await good.result(timeout=20) == ["a", 4]
    with pytest.raises(JobFailed, match="ValueError: raise x"):
        await bad.result(timeout=20)
    with pytest.raises(JobFailed, match="Fail: no good"):
        await lost.result(timeout=20)
    assert (await end(later)).state is State.SCHEDULED


async def test_a_result_that_cannot_be_stored_is_the_failure_of_its_job(runner: Runner) -> None:
    good, bad = await begin("loop", "a", "object")
    assert await good.result(timeout=20) == ["a", 2]
    with pytest.raises(JobFailed, match="does not fit the annotation"):
        await bad.result(timeout=20)


@each_lane
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("all", "ValueError: all of them"),
        ("short", "a batch of 2 items gave 1 results; it returns a list with one result for each, in their order"),
        ("none", "a batch of 2 items gave a NoneType"),
    ],
)
async def test_what_the_run_fails_with_is_the_failure_of_all(runner: Runner, lane: str, word: str, said: str) -> None:
    for job in await begin(lane, "a", word):
        with pytest.raises(JobFailed, match=said):
            await job.result(timeout=20)


@each_lane
async def test_arguments_that_make_no_sense_park_their_job_alone(runner: Runner, lane: str) -> None:
    task = app.get_task(lane)
    wrong: list[NewJob] = [
        NewJob(id=call.job.id, task=task.name, body=packer()(b'{"words":[]}'), lane=task.definition.slot)
        for call in [task.bind("x"), task.bind("x")]
    ]
    first, good, second = await app.place([wrong[0], task.bind("a").job, wrong[1]])
    assert (await good.result(timeout=20))[0] == "a"
    for job in (first, second):
        assert (await end(job)).state is State.PARKED
        await job.cancel()  # or the next worker would try it again


async def test_an_item_that_by_cannot_group_fails_alone(runner: Runner, make_app: Callable[..., Windlass]) -> None:
    app = make_app()

    @app.task(batch=Batch(size=2, by=lambda number: 1 // number))
    async def same(numbers: list[int]) -> list[int]:
        return numbers

    async with working(app):
        good, bad = await same.enqueue(1), await same.options(retry=None).enqueue(0)
        assert await good.result(timeout=20) == 1
        await end(bad)
        assert "ZeroDivisionError" in str((await bad.info()).error)
    await app.close()


@each_lane
async def test_what_a_run_says_stands_in_the_journal_of_each(lane: str) -> None:
    jobs = await begin(lane, "a", "b")
    async with working(app):  # not in a fixture: pytest would put its own stdout over ours
        for job in jobs:
            events = {event.kind: event.data async for event in job.events()}
            assert events["log"].message == "working on 2"
            assert events["progress"].current == 2
    await app.close()


# --- one that is to end


async def under_way(lane: str, tmp_path: Path, until: Any) -> tuple[Path, list[Handle[Any]]]:
    """Three jobs whose run waits for "mark go"."""
    mark = tmp_path / "mark"
    jobs = await begin(lane, f"wait {mark}", "b", "c")
    await until(mark.exists)
    return mark, jobs


def go(mark: Path) -> None:
    """Let it go on."""
    Path(f"{mark} go").touch()


def interrupted(mark: Path) -> Path:
    """It is there once the run was interrupted."""
    return Path(f"{mark} interrupted")


@each_lane
async def test_a_cancel_of_one_leaves_the_others_alone(runner: Runner, lane: str, tmp_path: Path, until: Any) -> None:
    mark, (first, second, third) = await under_way(lane, tmp_path, until)
    await first.cancel()
    with pytest.raises(JobCancelled, match="cancelled while running"):
        await first.result(timeout=20)
    go(mark)
    assert await second.result(timeout=20) == ["b", 3]
    assert await third.result(timeout=20) == ["c", 3]
    assert not interrupted(mark).exists()


@each_lane
async def test_a_cancel_of_all_interrupts_the_run(runner: Runner, lane: str, tmp_path: Path, until: Any) -> None:
    mark, jobs = await under_way(lane, tmp_path, until)
    for job in jobs:
        await job.cancel()
    for job in jobs:
        with pytest.raises(JobCancelled):
            await job.result(timeout=20)
    await until(interrupted(mark).exists)
    assert await (await begin(lane, "a"))[0].result(timeout=20) == ["a", 1], "the lane goes on"


async def test_a_cancel_while_it_waits_for_others_takes_it_out(runner: Runner, until: Any) -> None:
    first, second = await begin("loop", "a", "b")
    lane: Any = runner.executor.lanes["loop:loop"]
    await until(lambda: lane.busy == 2)
    runner.executor.cancel([first.id])
    with pytest.raises(JobCancelled):
        await first.result(timeout=20)
    assert await second.result(timeout=20) == ["b", 1]


@each_lane
async def test_the_time_limit_is_that_of_the_batch(runner: Runner, lane: str, tmp_path: Path, until: Any) -> None:
    mark = tmp_path / "mark"
    for job in await begin(f"{lane} limited", f"wait {mark}", "b", "c"):
        with pytest.raises(JobFailed, match="TimeLimitExceeded"):
            await job.result(timeout=20)
    await until(interrupted(mark).exists)
    assert await (await begin(f"{lane} limited", "a"))[0].result(timeout=20) == ["a", 1]


@each_lane
async def test_a_worker_that_stops_hands_all_back(lane: str, tmp_path: Path, until: Any) -> None:
    async with working(app) as runner:
        mark, jobs = await under_way(lane, tmp_path, until)
        await runner.stop(0)
    assert [((job := await one.info()).state, job.attempt, job.crashes) for one in jobs] == [(State.READY, 0, 0)] * 3
    go(mark)
    async with working(app):
        assert [(await job.result(timeout=20))[1] for job in jobs] == [3] * 3
    await app.close()


async def test_a_worker_that_drains_runs_those_that_gather(runner: Runner, until: Any) -> None:
    jobs = await begin("thread", "a", "b")
    await until(lambda: runner.executor.lanes["thread:thread"].busy == 2)
    await runner.stop(20)
    assert [(await job.result(timeout=1))[1] for job in jobs] == [2, 2]


async def test_a_child_that_dies_is_counted_for_each_of_its_jobs(runner: Runner) -> None:
    """Nobody knows who did it. The last chance before quarantine is a run alone: there the culprit is found, and the others finish."""
    jobs = await begin("process", "a", "die", "b")
    assert [(await jobs[place].result(timeout=30))[1] for place in (0, 2)] == [1, 1]
    with pytest.raises(JobFailed, match="quarantined"):
        await jobs[1].result(timeout=30)
    assert [(await job.info()).crashes for job in jobs] == [2, 3, 2]


async def test_jobs_of_a_lost_worker_leave_the_run(runner: Runner, tmp_path: Path, until: Any) -> None:
    mark, jobs = await under_way("loop", tmp_path, until)
    lane = runner.executor.lanes["loop:loop"]
    assert isinstance(lane, BatchLane)
    runner.executor.lose(await runner.identities.current())
    await until(interrupted(mark).exists)
    await until(lambda: lane.busy == 0 and lane.free == 4)
    for job in jobs:
        await job.cancel()


async def test_a_run_that_ignores_its_end_is_given_up_and_the_lane_goes_on(
    make_app: Callable[..., Windlass], until: Any
) -> None:
    app = make_app(kill_after=0.1)
    release = asyncio.Event()

    @app.task(batch=Batch(size=2, wait="10ms"), timeout=0.1, retry=Retry(attempts=1))
    async def deaf(numbers: list[int]) -> list[int]:
        while 0 in numbers and not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                pass
        return numbers

    async with working(app) as runner:
        first, second = await app.enqueue_many([deaf.bind(0), deaf.bind(1)])
        for job in (first, second):
            with pytest.raises(JobFailed, match="could not be stopped"):
                await job.result(timeout=20)
        assert await (await deaf.enqueue(7)).result(timeout=20) == 7
        assert runner.executor.abandoned == 2
        release.set()
    await app.close()


# --- other versions of the program


async def test_jobs_that_were_stored_before_the_task_had_a_batch_run_alone(runner: Runner) -> None:
    task = app.get_task("loop")
    (old,) = await app.place([NewJob(id=task.bind("a").job.id, task="loop", body=task.bind("a").job.body, lane="loop")])
    assert (await old.result(timeout=20))[0] == "a"


async def test_a_runner_that_is_killed_in_the_midst_of_a_batch_loses_no_job(tmp_path: Path, until: Any) -> None:
    """In a worker of its own, with a supervisor above; each job runs again, in another batch."""
    producer = Windlass(f"sqlite:///{tmp_path}/jobs.db")
    for name in ("loop", "process"):
        known = app.get_task(name).definition
        producer.task(name=name, lane=known.lane, batch=known.batch, crash_limit=5)(known.function)
    words = [*"abcdef", f"wait {tmp_path / 'mark'}"]
    jobs = [await producer.get_task(name).enqueue(word) for word in words for name in ("loop", "process")]
    with tree(producer, tmp_path / "log", "batch_tasks:app") as worker:
        await until((tmp_path / "mark").exists)
        os.kill(worker.runners[0], signal.SIGKILL)
        go(tmp_path / "mark")
        results = [await job.result(timeout=40) for job in jobs]
    assert [word for word, _ in results] == [word for word in words for _ in range(2)]
    assert {(await job.info()).attempt for job in jobs} == {1}
    await producer.close()
