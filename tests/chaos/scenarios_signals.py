"""B: workers are asked to leave, and stopped for a while."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import Any

from evidence import now, parent_of
from scenario import SQLITE, scenario
from stage import LEASE, Stage, alive, family, until

from windlass import Handle, State

LANES = ("gated", "gated_thread", "gated_process")
Worker = subprocess.Popen[bytes]


async def left(worker: Worker, within: float = 20.0) -> int:
    """The exit code of a worker, once it is gone."""
    return await asyncio.to_thread(worker.wait, within)


async def gated(stage: Stage, *counts: int) -> list[Handle[Any]]:
    """So many jobs in each lane, that end when the gate "open" is open."""
    jobs = list[Handle[Any]]()
    for task, count in zip(LANES, counts, strict=False):
        jobs += await stage.enqueue(task, count, stage.gate("open"))
    return jobs


async def runner_of(stage: Stage, worker: Worker) -> int:
    """Its one runner."""
    runners = await until(lambda: [one for one in family(worker.pid) if parent_of(one) == worker.pid])
    assert len(runners) == 1
    return int(runners[0])


@scenario(
    "B1",
    "A worker gets SIGTERM while jobs run and others wait",
    "It claims nothing more, lets what runs finish, and leaves with exit code 0. The others run elsewhere.",
)
async def drain(stage: Stage) -> None:
    first = stage.worker("--concurrency=10")
    running = await gated(stage, 10, 2, 2)
    await stage.wait_started(14)
    pids = family(first.pid)
    waiting = await stage.enqueue("quick", 10 * stage.scale)
    stage.terminate(first)
    await until(lambda: drains(stage))
    stage.open("open")
    assert await left(first) == 0
    assert not any(stage.runs(job) for job in waiting), "it went on claiming"
    assert all(len(stage.runs(job)) == 1 for job in running)
    stage.worker()
    for job in await stage.ended():
        assert (job.attempt, job.crashes) == (1, 0)
    assert not any(map(alive, pids))


async def drains(stage: Stage) -> bool:
    """Whether a worker has said in the store that it leaves: well after it began to."""
    return any(worker.card.state == "draining" for worker in await (await stage.app.broker()).workers())


@scenario(
    "B2",
    "A worker gets SIGTERM, and its jobs take longer than it may",
    "They are interrupted and handed back without an attempt spent; another worker runs them at once.",
)
async def longer_than_the_grace(stage: Stage) -> None:
    first = stage.worker(shutdown_timeout=0.3)
    jobs = await gated(stage, 6, 3, 2)
    await stage.wait_started(11)
    second = stage.worker("--processes=3")
    await until(lambda: stage.log.count("survives") == 2)  # it is there, and may take over
    stage.terminate(first)
    assert await left(first) == 0
    await stage.wait_started(22)
    stage.open("open")
    for job in await stage.ended(jobs):
        assert (job.attempt, job.crashes) == (1, 0)
    for job in jobs:
        interrupted, again = stage.runs(job)
        assert interrupted.end is not None
        assert interrupted.end.what == "interrupted"
        assert again.start.at - interrupted.end.at < LEASE, "only a lease has brought it back"
        assert again.start.pid in family(second.pid)


@scenario(
    "B3a",
    "A worker gets a second SIGTERM while it waits for its jobs",
    "It hands all of them back at once, and leaves with exit code 0.",
)
async def twice(stage: Stage) -> None:
    first = stage.worker(shutdown_timeout=600)
    jobs = await gated(stage, 6, 2, 2)
    await stage.wait_started(10)
    for number in (signal.SIGTERM, signal.SIGINT):
        stage.terminate(first, number)
    assert await left(first) == 0
    stage.open("open")
    stage.worker()
    for job in await stage.ended(jobs):
        assert (job.attempt, job.crashes) == (1, 0)


@scenario(
    "B3b",
    "A worker gets a third signal while a job will not end",
    "It is gone at once, with exit code 1 and all its processes; its jobs run elsewhere, no crash counted.",
)
async def thrice(stage: Stage) -> None:
    first = stage.worker(shutdown_timeout=600, kill_after=600)
    await gated(stage, 3)
    (deaf,) = await stage.enqueue("deaf_until", 1, stage.gate("open"))
    await stage.wait_started(4)
    pids = family(first.pid)
    for times, number in enumerate((signal.SIGTERM, signal.SIGINT, signal.SIGTERM), 1):
        if times == 3:
            stage.harm("third signal", pids)
        stage.terminate(first, number)
        await until(lambda number=number: not pending(first.pid, number))
    assert await left(first, 10) == 1
    await until(lambda: not any(map(alive, pids)), 2.0)
    stage.open("open")
    stage.worker()
    assert (await stage.ended([deaf]))[0].crashes == 0


def pending(pid: int, number: int) -> bool:
    """Whether a signal has not been delivered yet: a second one of the same kind would be lost."""
    try:
        with open(f"/proc/{pid}/status") as file:
            masks = [line.split()[1] for line in file if line.startswith(("SigPnd", "ShdPnd"))]
    except OSError:
        return False
    return any(int(mask, 16) >> number - 1 & 1 for mask in masks)


@contextmanager
def hung(stage: Stage) -> Generator[None]:
    """The store answers nobody."""
    if stage.server is not None:
        stage.server.freeze()
        yield
        stage.server.thaw()
        return
    with closing(sqlite3.connect(stage.folder / "jobs.chaos.db", isolation_level=None)) as con:
        con.execute("BEGIN IMMEDIATE")
        yield
        con.execute("ROLLBACK")


@scenario(
    "B4",
    "A worker gets SIGTERM while the store hangs",
    "It leaves all the same, within its time and a few seconds. What it could not store runs again.",
    quick=False,
)
async def store_hangs(stage: Stage) -> None:
    first = stage.worker(shutdown_timeout=1)
    await gated(stage, 5)
    await stage.wait_started(5)
    stage.harm("store hangs", family(first.pid))
    with hung(stage):
        stage.open("open")
        stage.terminate(first)
        assert await left(first, 45) == 0
    stage.worker()
    await stage.ended()


@scenario(
    "B5",
    "A worker gets SIGTERM while it starts",
    "It leaves within two seconds, holding nothing.",
)
async def during_start(stage: Stage) -> None:
    jobs = await stage.enqueue("quick", 5)
    for processes in (1, 1, 2, 2):  # before and after it has started its runner
        worker = stage.worker()
        await until(lambda worker=worker, many=processes: len(family(worker.pid)) >= many)
        asked = now()
        stage.terminate(worker)
        await left(worker)
        assert now() - asked < 2
    stage.worker()
    for job in await stage.ended(jobs):
        assert job.crashes == 0


@scenario(
    "B6",
    "A whole worker is stopped (SIGSTOP) for longer than its lease, and goes on",
    "Its jobs have long been another's: it learns so, cancels them, takes a new identity, and nothing of its old life is stored.",
)
async def zombie(stage: Stage) -> None:
    first = stage.worker(lease=1.0)
    jobs = await gated(stage, 6, 2, 2)
    await stage.wait_started(10)
    stopped = await stage.stop_idle(family(first.pid))
    second = stage.worker()
    await stage.wait_started(20)
    stage.go(stopped)
    await stage.said("gave the jobs of")
    await until(lambda: all(cut_off(stage, job) for job in jobs))
    stage.open("open")
    for job in await stage.ended(jobs):
        assert job.crashes == 1
    stage.kill_tree(second)
    await stage.ended(await stage.enqueue("quick", 5))  # under its new identity


def cut_off(stage: Stage, job: Handle[Any]) -> bool:
    """Whether the first run of a job is over: by its own word, or with its process."""
    run = stage.runs(job)[0]
    return run.end is not None or not alive(run.start.pid)


@scenario(
    "B7a",
    "Only a runner is stopped, and goes on before a lease is over; its supervisor is not",
    "Its jobs stay its own, and finish: none runs a second time.",
)
async def runner_stopped_for_a_moment(stage: Stage) -> None:
    first = stage.worker(lease=5)
    jobs = await stage.enqueue("nap", 10, 0.2) + await stage.enqueue("gated_process", 2, stage.gate("open"))
    await stage.wait_started(12)
    stopped = await stage.stop_idle([await runner_of(stage, first)], excused=False)
    stage.open("open")
    stage.worker()
    await stage.said("frozen")
    stage.go(stopped)
    for job in await stage.ended(jobs):
        assert (job.attempt, job.crashes) == (1, 0)


@scenario(
    "B7d",
    "Only a runner is stopped, for longer than its lease, and goes on; its supervisor is not",
    "Its supervisor gives its jobs to others, no crash counted. When it goes on it hears that it is dead, and nothing of it is stored.",
)
async def runner_stopped(stage: Stage) -> None:
    first = stage.worker(lease=1.0)
    jobs = await gated(stage, 10, 2, 2)
    await stage.wait_started(14)
    stopped = await stage.stop_idle([await runner_of(stage, first)])
    stage.history.faults[-1].pids |= family(first.pid)  # its children are killed
    await stage.wait_started(28)
    stage.go(stopped)
    await until(lambda: all(cut_off(stage, job) for job in jobs))
    stage.open("open")
    for job in await stage.ended(jobs):
        assert (job.attempt, job.crashes) == (1, 0)
    assert first.poll() is None


@scenario(
    "B7b",
    "Only the supervisor is stopped, for longer than its lease; its runner is not",
    "Others take the jobs over; the runner's outcomes come too late and are refused, each job has one outcome.",
)
async def supervisor_stopped(stage: Stage) -> None:
    first = stage.worker(lease=1.0)
    jobs = await gated(stage, 10)
    runner = (await stage.run_of(jobs[0])).start.pid
    await stage.wait_started(10)
    stopped = await stage.stop_idle([first.pid])
    stage.worker()
    await stage.wait_started(20)
    stage.open("open", runner)
    await stage.said("was given to another worker meanwhile", 10)
    stage.go(stopped)
    await stage.said("gave the jobs of")
    stage.open("open")
    for job in await stage.ended(jobs):
        assert job.crashes == 1


@scenario(
    "B7c",
    "A child is stopped: for a while, or for good",
    "The first job goes on and ends; the second is ended at its time limit, and its next attempt runs in another child.",
)
async def child_stopped(stage: Stage) -> None:
    stage.worker()
    (slow,) = await stage.enqueue("gated_process", 1, stage.gate("slow"))
    (limited,) = await stage.enqueue("gated_process", 1, stage.gate("limited"), timeout=0.5)
    stopped = [stage.stop([(await stage.run_of(job)).start.pid]) for job in (slow, limited)]
    await stage.run_of(limited, 2)
    stage.go(stopped[0])
    for gate in ("slow", "limited"):
        stage.open(gate)
    done, tried = await stage.ended([slow, limited])
    assert (done.attempt, done.crashes) == (1, 0)
    assert (tried.attempt, tried.crashes) == (2, 0)


@scenario(
    "B8",
    "A worker is stopped exactly before it stores outcomes, for longer than its lease, and goes on",
    "Its outcomes are refused by the store itself: each job has the outcome of its newer run.",
)
async def stopped_before_settle(stage: Stage) -> None:
    point = "settler.before_settle"
    while True:
        first = stage.worker(lease=1.0, failpoints=f"{point}=stop")
        await stage.enqueue("quick", 10 * stage.scale)
        await stage.failed_at(point)
        stopped = stage.freeze(first)
        if not await stage.writing(stopped):
            break
        stage.go(stopped)  # that would be B7e
        await stage.ended()
        stage.terminate(first)
        await until(lambda first=first: first.poll() is not None)
        stage.rearm(point)
    stage.worker(failpoints="")
    jobs = await stage.ended()
    assert any(job.crashes for job in jobs), "it held nothing when it was stopped"
    stage.go(stopped)
    await stage.said("was given to another worker meanwhile")


@scenario(
    "B7e",
    "A runner is stopped in the middle of a transaction of SQLite, and goes on",
    "Nobody can write meanwhile: everything waits, nobody takes a job from anybody, and then all goes on where it was.",
    stores=(SQLITE,),
)
async def stopped_in_a_transaction(stage: Stage) -> None:
    workers = [stage.worker(environment={"CHAOS_ARM": "settle:sqlite.before_commit=stop"}) for _ in range(2)]
    await until(lambda: all(len(family(one.pid)) > 1 for one in workers))
    jobs = await stage.enqueue("nap", 40, 0.1)
    pid = await stage.failed_at("sqlite.before_commit")
    stopped = stage.stop([pid], excused=False)
    assert await stage.writing(stopped)
    await asyncio.sleep(1.5 * LEASE)
    stage.go(stopped)
    for job in await stage.ended(jobs):
        assert (job.attempt, job.crashes) == (1, 0)


@scenario(
    "B9",
    "The machine is suspended: all workers stop at once, for longer than their leases, and go on together",
    "Nobody takes a job from anybody: all were silent. Every job goes on and ends once.",
)
async def suspended(stage: Stage) -> None:
    workers = [stage.worker(beat=0.8) for _ in range(3)]
    jobs = await stage.enqueue("nap", 30, 0.3)
    await stage.wait_started(30)
    stopped = [stage.freeze(worker, excused=False) for worker in workers]
    await asyncio.sleep(1.3 * LEASE)
    for one in stopped:
        stage.go(one)
        await asyncio.sleep(0.3)  # some wake up earlier than others
    for job in await stage.ended(jobs):
        assert (job.attempt, job.crashes) == (1, 0)


@scenario(
    "B10",
    "A job ignores signals, sets its own handlers and timers, and starts processes",
    "At its time limit it is ended all the same, and with it what it has started; the next job finds a clean process.",
)
async def at_odds(stage: Stage) -> None:
    stage.worker()
    mark = stage.folder / "mark"
    (job,) = await stage.enqueue("at_odds", 1, str(mark))
    stage.expect([job], State.FAILED)
    others = await stage.enqueue("quick_process", 4)
    pids = [int(pid) for pid in (await until(lambda: mark.exists() and mark.read_text())).split()]
    stage.harm("job at odds", pids)
    (ended,) = await stage.ended([job])
    assert ended.error is not None
    assert ended.error.kind == "timeout", ended.error
    await until(lambda: not any(map(alive, pids)), 2.0)
    for one in await stage.ended(others):
        assert (one.attempt, one.crashes) == (1, 0)
