"""C: what the code of jobs can do."""

from __future__ import annotations

from typing import Any

from offenders import ERRORS, RESULTS
from scenario import scenario
from stage import Stage, alive, until

from windlass import Handle, State


async def expect_error(stage: Stage, jobs: list[Handle[Any]], kind: str, attempts: int = 1) -> None:
    """These jobs fail, with an error of that kind, after so many attempts."""
    stage.expect(jobs, State.FAILED)
    for job in await stage.ended(jobs):
        assert job.error is not None
        assert job.error.kind == kind, job.error
        assert (job.attempt, job.crashes) == (attempts, 0)


async def untouched(stage: Stage, jobs: list[Handle[Any]]) -> None:
    """These jobs have succeeded, and nothing was counted against them."""
    for job in await stage.ended(jobs):
        assert job.state is State.SUCCEEDED
        assert (job.attempt, job.crashes) == (1, 0), job.error


@scenario(
    "C1",
    "An async job blocks the event loop (time.sleep) for longer than a lease",
    "The worker keeps its jobs: the others wait and go on, none runs twice, and the log says what stands still.",
)
async def blocked_loop(stage: Stage) -> None:
    stage.worker(lease=1.0)
    others = await stage.enqueue("nap", 10, 0.5) + await stage.enqueue("nap_process", 2, 0.5)
    await stage.wait_started(12)
    stage.worker(lease=1.0)
    blocking = await stage.enqueue("block", 1, 3.0)
    stage.harm("loop blocked")
    await stage.said("stuck")
    await untouched(stage, others + blocking)


@scenario(
    "C2a",
    "A job in a thread holds the interpreter (a regular expression) beyond its time limit",
    "Its runner is replaced. The job has timed out, and its error shows where it hung; its neighbours run again, no crash counted.",
)
async def hog_in_thread(stage: Stage) -> None:
    await hogged(stage, "hog_thread")


@scenario(
    "C2b",
    "An async job holds the interpreter (a regular expression) beyond its time limit",
    "Its runner is replaced. The job has timed out, and its error shows where it hung; its neighbours run again, no crash counted.",
)
async def hog_in_loop(stage: Stage) -> None:
    await hogged(stage, "hog_loop")


async def hogged(stage: Stage, task: str) -> None:
    worker = stage.worker(kill_after=0.5)
    others = await stage.enqueue("gated", 10, stage.gate("open"))
    others += await stage.enqueue("gated_thread", 2, stage.gate("open"))
    others += await stage.enqueue("gated_process", 2, stage.gate("open"))
    await stage.wait_started(14)
    (culprit,) = await stage.enqueue(task, 1)
    run = await stage.run_of(culprit)
    stage.harm("interpreter held", {run.start.pid})
    stage.expect([culprit], State.FAILED)
    (job,) = await stage.ended([culprit])
    assert job.error is not None
    assert job.error.kind == "timeout", job.error
    assert "_hog" in job.error.traceback, job.error
    assert not alive(run.start.pid)
    assert worker.poll() is None
    stage.open("open")
    await untouched(stage, others)
    assert all(len(stage.runs(job)) == 2 for job in others)


@scenario(
    "C3",
    "Jobs ignore that they are told to stop: they swallow CancelledError and every other exception",
    "They fail by their time limit. A child is killed; a runner that cannot get rid of one is replaced, and its other jobs finish first.",
)
async def deaf(stage: Stage) -> None:
    stage.worker(kill_after=0.5, shutdown_timeout=1)
    others = await stage.enqueue("gated", 10, stage.gate("open")) + await stage.enqueue(
        "gated_process", 1, stage.gate("open")
    )
    await stage.wait_started(11)
    jobs = [(await stage.enqueue(task, 1))[0] for task in ("deaf_loop", "deaf_thread", "deaf_thread_process")]
    for job in jobs:
        stage.harm("deaf", {(await stage.run_of(job)).start.pid})
    await expect_error(stage, jobs, "timeout")
    await stage.said("could not be stopped")  # why the runner is replaced
    later = await stage.enqueue("quick", 10)
    await stage.ended(later)
    stage.open("open")
    await untouched(stage, others + later)
    assert all(len(stage.runs(job)) == 1 for job in others)


@scenario(
    "C4",
    'Jobs of lane "process" leak memory',
    "Their child is replaced between two jobs, after so many jobs or so much memory: none of them notices.",
)
async def leaking(stage: Stage) -> None:
    stage.harm("leaks")
    stage.worker("--processes=1", child_jobs=4, child_memory="150MB")
    few = await stage.enqueue("leak", 8, 1 << 10)
    await untouched(stage, few)
    large = await stage.enqueue("leak", 6, 50 << 20)
    await untouched(stage, large)
    children = [[stage.runs(job)[0].start.pid for job in jobs] for jobs in (few, large)]
    assert len(set(children[0])) == 2
    assert max(children[1].count(pid) for pid in children[1]) <= 3, "one that held more went on"


@scenario(
    "C6",
    "Jobs return what cannot be stored: too large, no JSON, a lone surrogate, an endless or bottomless list",
    "They have failed, and the error says why; they do not run again, as that would only repeat their effects.",
)
async def strange_results(stage: Stage) -> None:
    stage.worker()
    jobs = [job for what in RESULTS for task in ("give", "give_process") for job in await stage.enqueue(task, 1, what)]
    stage.harm("strange results")
    await expect_error(stage, jobs, "result")
    await untouched(stage, await stage.enqueue("quick", 10) + await stage.enqueue("quick_process", 4))


@scenario(
    "C7",
    "Jobs raise what is hard to tell: no text, cycles of causes, a megabyte, what cannot be made again, what is no Exception",
    "They have failed, with a text of bounded length; the worker goes on.",
)
async def strange_errors(stage: Stage) -> None:
    stage.worker()
    tasks = ("fail", "fail_in_loop", "fail_process")
    jobs = [job for what in ERRORS for task in tasks for job in await stage.enqueue(task, 1, what)]
    stage.harm("strange errors")
    await expect_error(stage, jobs, "exception")
    for job in await stage.ended(jobs):
        assert job.error is not None
        assert len(job.error.message) + len(job.error.traceback) < 100_000
    await untouched(stage, await stage.enqueue("quick", 10) + await stage.enqueue("quick_process", 4))
    assert len({run.start.pid for job in jobs for run in stage.runs(job)}) <= 3, "a process died of an error"


@scenario(
    "C8",
    "Jobs break off their calls to the store half way, and ask again at once",
    "Each is told what it asked for, never what another had asked for.",
)
async def broken_off_calls(stage: Stage) -> None:
    stage.worker()
    stage.harm("calls broken off")
    await untouched(stage, await stage.enqueue("impatient", 20 * stage.scale, 100))


@scenario(
    "C9",
    "Jobs print without end",
    "The journal keeps so many lines, and says how many are missing; other jobs run as if nothing were.",
)
async def flooded(stage: Stage) -> None:
    stage.worker(log_lines=100)
    stage.harm("flood")
    floods = await stage.enqueue("flood", 2, 20_000)
    others = await stage.enqueue("quick", 50) + await stage.enqueue("nap_thread", 5, 0.05)
    await untouched(stage, others + floods)
    broker = await stage.app.broker()
    for job in floods:
        reading = await broker.read(job.id)
        assert reading is not None
        assert len(reading.entries) == 101
        assert b"19900 more entries were not kept" in reading.entries[-1].data


@scenario(
    "C10",
    "Jobs wait for what never comes, in a thread and in a child",
    "They fail by their time limit. The child is killed; the runner is replaced, as its thread is lost; all other jobs run.",
)
async def never_back(stage: Stage) -> None:
    stage.worker(kill_after=0.5)
    jobs = [(await stage.enqueue(task, 1))[0] for task in ("never_back", "never_back_process")]
    for job in jobs:
        stage.harm("never back", {(await stage.run_of(job)).start.pid})
    await expect_error(stage, jobs, "timeout")
    before = stage.runs(jobs[0])[0].start.pid
    await until(lambda: not alive(before))
    await untouched(stage, await stage.enqueue("nap_thread", 20, 0.01))
