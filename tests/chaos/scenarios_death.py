"""A: supervisors and runners die."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from scenario import SQLITE, scenario
from stage import Stage, alive, family, until


def ran_last_in(stage: Stage, pid: int) -> list[str]:
    """The jobs whose latest run was in this process, and came to its end there."""
    return [
        job for job, runs in stage.history.runs().items() if runs[-1].start.pid == pid and runs[-1].end is not None
    ]  # fmt: skip


@scenario(
    "A1a",
    "A runner is killed after it has claimed jobs, before it has started any",
    "Its supervisor hands the jobs back at once; each runs, exactly once.",
)
async def after_claim(stage: Stage) -> None:
    stage.worker(failpoints="worker.after_claim=kill9")
    await stage.enqueue("nap", 20 * stage.scale, 0.05)
    pid = await stage.failed_at("worker.after_claim")
    jobs = await stage.ended()
    assert not ran_last_in(stage, pid)
    assert any(job.crashes == 1 for job in jobs), "it held nothing when it died"


@scenario(
    "A1b",
    "A runner is killed while it starts the jobs that it has claimed",
    "What had not been started runs once, what had been started runs again.",
)
async def before_start(stage: Stage) -> None:
    stage.worker(failpoints="worker.before_start=kill9")
    await stage.enqueue("nap", 20 * stage.scale, 0.05)
    await stage.failed_at("worker.before_start")
    assert any(job.crashes == 1 for job in await stage.ended()), "it held nothing when it died"


@scenario(
    "A2a",
    "The whole worker (supervisor, runners, children) is killed while jobs run",
    "Nothing of it outlives it; another worker runs its jobs within ten seconds.",
)
async def tree_killed(stage: Stage) -> None:
    first = stage.worker()
    for task, count in (("gated", 10), ("gated_thread", 4), ("gated_process", 2)):
        await stage.enqueue(task, count, stage.gate("open"))
    await stage.wait_started(16)
    below = family(first.pid)
    stage.kill_tree(first)
    await until(lambda: not any(map(alive, below)), 2.0)
    stage.open("open")
    stage.worker()
    await stage.ended()
    took = [seconds for _, seconds in stage.history.recoveries()]
    assert len(took) == 16
    assert max(took) < 10


@scenario(
    "A2b",
    "A runner is killed while jobs run in all its lanes",
    "Its children die with it; all its jobs run again within a second or two, in the next runner.",
)
async def runner_killed(stage: Stage) -> None:
    stage.worker(lease=30)
    tasks = ("gated", "gated_thread", "gated_process")
    lanes = [await stage.enqueue(task, 2, stage.gate("open")) for task in tasks]
    await stage.wait_started(6)
    runner = (await stage.run_of(lanes[0][0])).start.pid
    children = family(runner)
    stage.kill(runner)
    await until(lambda: not any(map(alive, children)), 2.0)
    stage.open("open")
    jobs = await stage.ended()
    assert [job.crashes for job in jobs] == [1] * 6
    assert len(took := [seconds for _, seconds in stage.history.recoveries()]) == 6
    assert max(took) < 10


@scenario(
    "A2c",
    "A supervisor is killed while it hands the jobs of a dead runner back",
    "Its lease ends, and another worker takes them: they run within ten seconds.",
)
async def killed_in_give_back(stage: Stage) -> None:
    stage.worker(failpoints="supervisor.before_give_back=kill9")
    jobs = await stage.enqueue("gated", 10, stage.gate("open"))
    await stage.wait_started(10)
    stage.kill((await stage.run_of(jobs[0])).start.pid)
    await stage.failed_at("supervisor.before_give_back")
    stage.open("open")
    stage.worker()
    assert [job.crashes for job in await stage.ended(jobs)] == [1] * 10
    assert max(seconds for _, seconds in stage.history.recoveries()) < 10


@scenario(
    "A3a",
    "A runner is killed when a job has ended, and nobody knows yet",
    "The job runs again; it has one outcome, that of its last run.",
)
async def after_run(stage: Stage) -> None:
    await killed_before_settled(stage, "worker.after_run")


@scenario(
    "A3b",
    "A runner is killed just before it stores the outcomes of jobs",
    "These jobs run again; each has one outcome, that of its last run.",
)
async def before_settle(stage: Stage) -> None:
    await killed_before_settled(stage, "settler.before_settle")


async def killed_before_settled(stage: Stage, point: str) -> None:
    stage.worker(failpoints=f"{point}=kill9")
    await stage.enqueue("quick", 20 * stage.scale)
    await stage.failed_at(point)
    await stage.ended()
    assert stage.history.doubled, "nothing had ended when it died"


@scenario(
    "A4a",
    "A runner is killed in the transaction that stores outcomes, before its commit",
    "Nothing of it has happened: the jobs run again.",
    stores=(SQLITE,),
)
async def before_commit(stage: Stage) -> None:
    stage.worker(environment={"CHAOS_ARM": "settle:sqlite.before_commit=kill9"})
    await stage.enqueue("quick", 20 * stage.scale)
    await stage.failed_at("sqlite.before_commit")
    await stage.ended()
    assert stage.history.doubled, "nothing was to be stored"


@scenario(
    "A4b",
    "A runner is killed after the commit that stores outcomes, before it knows of it",
    "They are stored: no job of them runs again, and what follows from them has happened.",
    stores=(SQLITE,),
)
async def after_commit(stage: Stage) -> None:
    await killed_once_settled(
        stage, "sqlite.after_commit", environment={"CHAOS_ARM": "settle:sqlite.after_commit=kill9"}
    )


@scenario(
    "A5",
    "A runner is killed just after it has stored outcomes",
    "These jobs do not run again, and their keys are free.",
)
async def after_settle(stage: Stage) -> None:
    await killed_once_settled(stage, "settler.after_settle", failpoints="settler.after_settle=kill9")


async def killed_once_settled(stage: Stage, point: str, **worker: Any) -> None:
    keyed = await stage.enqueue("quick", 1, key="only")
    await stage.enqueue("quick", 20 * stage.scale)
    stage.worker(**worker)
    pid = await stage.failed_at(point)
    await stage.ended()
    assert ran_last_in(stage, pid), "nothing was stored"
    (again,) = await stage.enqueue("quick", 1, key="only")
    assert again.fresh
    assert again.id != keyed[0].id


@scenario(
    "A12",
    "All workers are killed at once, and fewer come back",
    "The survivors run everything; what had been stored does not run again.",
)
async def all_killed(stage: Stage) -> None:
    workers = [stage.worker() for _ in range(3)]
    await stage.enqueue("quick", 50 * stage.scale)
    await stage.enqueue("gated", 60 * stage.scale, stage.gate("open"))
    await stage.wait_started(110)
    for worker in workers:
        stage.kill_tree(worker)
    stage.open("open")
    for _ in range(2):
        stage.worker()
    await stage.ended()
    assert max(seconds for _, seconds in stage.history.recoveries()) < 10


@scenario(
    "A13a",
    "A worker is started whose program cannot be imported",
    "It leaves at once, with the reason in one line and an exit code that says so. It never touched a job.",
)
async def broken_from_the_start(stage: Stage) -> None:
    (stage.folder / "broken").touch()
    stage.harm("broken deploy")
    broken = stage.worker(environment={"CHAOS_BROKEN": stage.gate("broken")})
    jobs = await stage.enqueue("quick", 10)
    assert await asyncio.to_thread(broken.wait, 20) not in (0, -signal.SIGKILL)
    assert "this deploy is broken" in stage.log
    stage.worker()
    assert not any(job.crashes for job in await stage.ended(jobs))


@scenario(
    "A13b",
    "A deploy breaks the program under a running worker: its next runners cannot start, until that is mended",
    "It tries again, ever more slowly, and says why. Once mended, it works on.",
)
async def broken_for_a_while(stage: Stage) -> None:
    worker = stage.worker(environment={"CHAOS_BROKEN": stage.gate("broken")})
    (first,) = await stage.enqueue("quick", 1)
    runner = (await stage.run_of(first)).start.pid
    (stage.folder / "broken").touch()
    stage.kill(runner)
    await stage.said("this deploy is broken", 2)
    jobs = await stage.enqueue("quick", 10)
    (stage.folder / "broken").unlink()
    assert not any(job.crashes for job in await stage.ended(jobs))
    assert worker.poll() is None


@scenario(
    "A13c",
    "A deploy breaks the program under a running worker, for good",
    "After five runners that died before they could work it gives up, with a clear last word and exit code 1. Its jobs run elsewhere.",
    quick=False,
)
async def broken_for_good(stage: Stage) -> None:
    worker = stage.worker(environment={"CHAOS_BROKEN": stage.gate("broken")})
    held = await stage.enqueue("gated", 10, stage.gate("open"))
    runner = (await stage.run_of(held[0])).start.pid
    (stage.folder / "broken").touch()
    stage.kill(runner)
    assert await asyncio.to_thread(worker.wait, 30) == 1
    assert "gave up" in stage.log
    stage.open("open")
    stage.worker()
    assert [job.crashes for job in await stage.ended(held)] == [1] * 10


@scenario(
    "A14",
    "A runner is killed while it hands its jobs back at shutdown",
    "Its supervisor hands them back instead; another worker runs them.",
)
async def killed_in_release(stage: Stage) -> None:
    first = stage.worker(failpoints="settler.before_settle=kill9", shutdown_timeout=0.1)
    jobs = await stage.enqueue("gated", 10, stage.gate("open"))
    await stage.wait_started(10)
    stage.terminate(first)
    await stage.failed_at("settler.before_settle")
    stage.open("open")
    stage.worker()
    for job in await stage.ended(jobs):
        assert job.attempt == 1
    assert await asyncio.to_thread(first.wait, 20) == 0


@scenario(
    "A15a",
    "Many workers take the jobs of a dead one back at the same moment",
    "Each job is taken back once: one crash is counted, one token given, one run begun.",
)
async def racing_reapers(stage: Stage) -> None:
    await reclaimed_once(stage, {})


@scenario(
    "A15b",
    "A worker is killed while it takes the jobs of a dead one back",
    "Nothing of it has happened, and another does it: one crash is counted for each job.",
    stores=(SQLITE,),
)
async def killed_in_reclaim(stage: Stage) -> None:
    await reclaimed_once(stage, {"CHAOS_ARM": "reclaim:sqlite.before_commit=kill9"})
    assert (stage.folder / "once" / "sqlite.before_commit").exists()


async def reclaimed_once(stage: Stage, environment: dict[str, str]) -> None:
    doomed = stage.worker()
    jobs = await stage.enqueue("gated", 30, stage.gate("open"))
    await stage.wait_started(30)
    reapers = [stage.worker(environment=environment) for _ in range(4)]
    await until(lambda: all(len(family(one.pid)) > 1 for one in reapers))
    stage.kill_tree(doomed)
    stage.open("open")
    if environment:
        await stage.failed_at("sqlite.before_commit")
    assert [job.crashes for job in await stage.ended(jobs)] == [1] * 30
    assert all(len(stage.runs(job)) == 2 for job in jobs)
