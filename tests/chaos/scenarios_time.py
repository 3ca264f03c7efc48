"""H: clocks jump, machines sleep, and everything is due at once; and what producers see of a store that is away."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from glob import glob

from evidence import now
from processes import send
from scenario import REDIS, SQLITE, Skipped, scenario
from stage import HERE, LEASE, Stage, until

from servers import RedisServer
from windlass import State

HOUR = 3600
FAKED = {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE / "faked"), os.environ.get("PYTHONPATH", "")])}


class Clock:
    """The wall clock of the processes that have its `environment`: of machines, by libfaketime."""

    def __init__(self, stage: Stage) -> None:
        libraries = glob("/usr/lib/*/faketime/libfaketime.so.1")
        if not libraries:
            raise Skipped("a clock can be turned only with libfaketime: make packages")
        self._file = stage.folder / "clock"
        self.offset = 0
        self.turn(0)
        self.environment = FAKED | {
            "LD_PRELOAD": libraries[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def turn(self, offset: int) -> None:
        """From now on it shows so many seconds more than it should."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset:+d}")
        new.rename(self._file)
        self.offset = offset

    def __call__(self) -> float:
        return time.time() + self.offset


class ClockOfRedis:
    """The clock of the server, as the scripts of processes see it that have its `environment`."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.environment = FAKED | {"CHAOS_CLOCK": "1"}

    def turn(self, offset: int) -> None:
        """From now on it shows so many seconds more than it should."""
        self._server.command("SET", "{chaos}:offset", offset)


async def early(stage: Stage, jobs: list, due: float) -> None:  # type: ignore[type-arg]
    """Once these have ended: none of them began before it was due."""
    await stage.ended(jobs)
    first = min(stage.runs(job)[0].start.at for job in jobs)
    assert first >= due, f"a job began {due - first:.3f} s too early"


@scenario(
    "H1",
    "The clock of a worker is an hour fast, then an hour slow, while jobs run and others are due later",
    "Only the store's clock counts: nothing starts early, nothing is taken for dead, nothing runs twice.",
    stores=(REDIS,),
    quick=False,
)
async def worker_clock(stage: Stage) -> None:
    clock = Clock(stage)
    stage.worker(environment=clock.environment)
    stage.worker()
    await stage.enqueue("nap", 10, 1.5 * LEASE)
    await stage.wait_started(10)
    for offset in (HOUR, -HOUR):
        clock.turn(offset)
        stage.harm("clock turned")
        due = now() + 1.0
        later = await stage.enqueue("quick", 20, delay=1.0)
        await stage.enqueue("nap_process", 1, 0.1)
        await early(stage, later, due)


@scenario(
    "H2",
    "The clock of the Redis server jumps ten minutes ahead while jobs run",
    "Every lease looks over; the workers get time to speak up before their jobs would be given to others. Nothing runs twice.",
    stores=(REDIS,),
)
async def clock_of_the_server(stage: Stage) -> None:
    assert stage.server is not None
    await jump_ahead(stage, ClockOfRedis(stage.server))


@scenario(
    "G7",
    "The clock of the machine jumps ten minutes ahead while jobs run",
    "Every lease looks over; the workers get time to speak up before their jobs would be given to others. Nothing runs twice.",
    stores=(SQLITE,),
    quick=False,
)
async def clock_of_the_machine(stage: Stage) -> None:
    clock = Clock(stage)
    broker = await stage.app.broker()
    broker.clock = clock  # type: ignore[attr-defined] # that of SQLite has one
    await jump_ahead(stage, clock)


async def jump_ahead(stage: Stage, clock: Clock | ClockOfRedis) -> None:
    for _ in range(2):
        stage.worker(environment=clock.environment)
    await stage.enqueue("nap", 20, LEASE)
    hour = await stage.enqueue("quick", 5, delay=HOUR)
    soon = await stage.enqueue("quick", 5, delay=500)
    await stage.said("started", 4)
    await stage.wait_started(20)
    stage.harm("clock turned")
    clock.turn(600)
    await stage.enqueue(
        "quick", 1, delay=0.1
    )  # a promotion that waits for its time looks again at the latest after ten seconds
    await stage.ended(soon)
    await stage.enqueue("quick", 20)
    assert not any(stage.runs(job) for job in hour), "it began before it was due"
    clock.turn(2 * HOUR)
    stage.harm("clock turned")


@scenario(
    "H5",
    "The machine is suspended for longer than the lease, with Redis on it: workers and server stand still, and go on",
    "Nobody takes back what a worker holds that lives again; nothing runs twice.",
    stores=(REDIS,),
    quick=False,
)
async def suspended(stage: Stage) -> None:
    assert stage.server is not None
    for _ in range(2):
        stage.worker()
    await stage.said("started", 4)
    await stage.enqueue("nap", 20, 1.5 * LEASE)
    await stage.enqueue("nap_process", 2, 1.0)
    await stage.wait_started(22)
    everyone = stage.everyone()
    stage.harm("suspended")
    send(signal.SIGSTOP, everyone)
    stage.server.freeze()
    await asyncio.sleep(1.5 * LEASE)
    stage.server.thaw()
    send(signal.SIGCONT, everyone)
    await stage.enqueue("quick", 20)


@scenario(
    "H7",
    "A thousand delayed jobs are due in the same moment",
    "Each runs once, and none early; those that are due now are not held up.",
)
async def all_due_at_once(stage: Stage) -> None:
    for _ in range(2):
        stage.worker()
    await stage.enqueue("quick", 1)
    await stage.wait_started(1)
    due = now() + 2.0
    stage.harm("all due at once")
    later = await stage.enqueue("quick", 1000 * stage.scale, delay=2.0)
    assert now() < due, "it took too long to enqueue them"
    await stage.ended(await stage.enqueue("quick", 10))
    assert now() < due, "the delayed jobs held the others up"
    await early(stage, later, due)
    late = max(stage.runs(job)[0].start.at for job in later) - due
    stage.notes.append(f"the last of {len(later)} jobs that were due at once began {late:.2f} s later")


@scenario(
    "H8",
    "Delayed jobs become due while no worker runs; workers and server are started again",
    "What was due meanwhile runs at once, what is due later runs then; none is lost, none runs early.",
)
async def delays_and_a_restart(stage: Stage) -> None:
    first = stage.worker()
    await stage.enqueue("quick", 1)
    await stage.wait_started(1)
    due = now()
    overdue = await stage.enqueue("quick", 20, delay=0.5)
    later = await stage.enqueue("quick", 20, delay=3.0)
    stage.kill_tree(first)
    assert stage.started() == 1, "they were due too soon"
    if stage.server is not None:
        await asyncio.to_thread(stage.server.restart)
    await until(lambda: now() > due + 0.5)
    stage.worker()
    await early(stage, overdue, due + 0.5)
    await early(stage, later, due + 3.0)


@scenario(
    "H9",
    "Jobs expire before a worker comes",
    "They are cancelled with the reason `expired` and never run; what runs already is not concerned.",
)
async def expiry(stage: Stage) -> None:
    expired = await stage.enqueue("quick", 20, expires=0.3)
    stage.expect(expired, State.CANCELLED, never=True)
    scheduled = await stage.enqueue("quick", 20, expires=0.3, delay=0.6)
    stage.expect(scheduled, State.CANCELLED, never=True)
    began = now()
    stage.harm("expired")
    await until(lambda: now() > began + 0.4)
    stage.worker()
    await stage.enqueue("nap", 20, 1.0, expires=10.0)
    await stage.enqueue("quick", 20)
    ended = await stage.ended(expired + scheduled)
    assert {job.reason for job in ended} == {"expired"}
