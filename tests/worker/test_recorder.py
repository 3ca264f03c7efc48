"""What a runner tells for the history: all of it, once, whatever becomes of the store and of the runner."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any

import deadly
import pytest
from faulty import Faults, FaultyBroker, FaultyProgram
from msgspec.structs import replace

from servers import BINARIES, MISSING, RedisServer
from windlass import Cancel, Fail, Retry, Snooze, Windlass, current
from windlass.broker.memory import MemoryBroker
from windlass.core.ids import new_id
from windlass.core.job import Card, Claim, NewJob
from windlass.core.measures import FAULTS, Rollup, bucket
from windlass.core.outcome import (
    Cancelled,
    ErrorInfo,
    Failed,
    Outcome,
    Parked,
    Released,
    Retried,
    Snoozed,
    Succeeded,
    Suspended,
)
from windlass.core.state import State
from windlass.errors import BrokerUnavailable, JobCancelled, JobFailed
from windlass.events import Counted, Events, StoreBack, StoreTrouble
from windlass.worker import recorder as module
from windlass.worker.link import Orders
from windlass.worker.recorder import NOTES, Recorder
from windlass.worker.run import NOT_STARTED, Identity, Run
from windlass.worker.runner import working
from windlass.worker.settler import _left
from windlass.worker.supervisor import Supervisor

ERROR = ErrorInfo("exception", "ValueError", "no", '  File "/srv/shop/tasks.py", line 1, in work\n')
DONE = Succeeded(b"1")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.02)


@pytest.fixture
async def store() -> AsyncIterator[MemoryBroker]:
    store = MemoryBroker()
    yield store
    await store.close()


def run(task: str = "t", wait: float = 0.0, took: float = 1.0) -> Run:
    claim = Claim("j", 1, task, "q", "loop", b"", 1, 0, 3, 0.0, 100.0 + wait, due_at=100.0)
    return Run(claim, Identity("w"), took=took)


def note(recorder: Recorder, *outcomes: Outcome, **fields: Any) -> None:
    recorder.note([(run(**fields), outcome) for outcome in outcomes], [True] * len(outcomes))


async def counts(store: Any, step: int = 3600) -> Counter[str]:
    """How many of each outcome the history knows."""
    found = Counter[str]()
    for one in await store.series(step, -inf, inf):
        found[one.outcome] += one.count
    return found


# --- by itself


async def test_who_listens_hears_each_count_once_though_it_is_told_again(store: MemoryBroker) -> None:
    faults, events, heard = Faults(), Events(), list[Rollup]()
    events.subscribe(lambda event: heard.extend(event.rollups) if isinstance(event, Counted) else None, Counted)
    recorder = Recorder(FaultyBroker(store, faults), events, "")
    note(recorder, DONE, DONE)
    faults.lost["record"] = 1
    assert await recorder._tell() is False
    assert await recorder._tell() is True
    assert [(one.key, one.count) for one in heard] == [(("q", "t", "succeeded"), 2)]
    assert await recorder._tell() is True
    assert len(heard) == 1


async def test_runs_are_told_by_queue_task_outcome_and_times(store: MemoryBroker) -> None:
    recorder = Recorder(store, Events(), "v1")
    for wait in (0.0015, 0.0015, 40.0):
        note(recorder, DONE, wait=wait, took=0.5)
    note(recorder, DONE, task="u", took=0.0)
    note(recorder, Released(), took=NOT_STARTED)
    await recorder.stop()
    found = {one.key: one for one in await store.series(60, 0, inf)}
    assert found.keys() == {("q", "t", "succeeded"), ("q", "u", "succeeded"), ("q", "t", "released")}
    one = found["q", "t", "succeeded"]
    assert (one.count, one.wait, one.run) == (3, {bucket(0.0015): 2, bucket(40.0): 1}, {bucket(0.5): 3})
    assert (found["q", "t", "released"].wait, found["q", "t", "released"].run) == ({0: 1}, {}), "it was not started"
    assert found["q", "u", "succeeded"].run == {0: 1}


async def test_each_outcome_has_its_name(store: MemoryBroker) -> None:
    recorder = Recorder(store, Events(), "")
    outcomes = [DONE, Failed(ERROR), Failed(ERROR, crash=True), Retried(0, ERROR), Retried(0, ERROR, crash=True)]
    outcomes += [Cancelled("c"), Snoozed(1), Suspended(1), Released(), Parked("p")]
    note(recorder, *outcomes)
    await recorder.stop()
    names = ("succeeded", "failed", "retried", "crashed", "cancelled", "snoozed", "suspended", "released", "parked")
    assert await counts(store) == dict.fromkeys(names, 1) | {"failed": 2}
    assert {type(outcome) for outcome in outcomes} == set(Outcome.__args__)


async def test_only_what_was_applied_is_told(store: MemoryBroker) -> None:
    recorder = Recorder(store, Events(), "")
    recorder.note([(run(), DONE), (run(), Failed(ERROR)), (run(), DONE)], [True, False, True])
    await recorder.stop()
    assert await counts(store) == {"succeeded": 2}
    assert await store.faults() == []


async def test_failures_are_told_by_fingerprint(store: MemoryBroker) -> None:
    recorder = Recorder(store, Events(), "v1")
    note(recorder, Retried(0, ERROR), Failed(ERROR), DONE)
    note(recorder, Failed(ErrorInfo("exception", "KeyError", "k")))
    await recorder.stop()
    faults = {one.type: one for one in await store.faults()}
    one = faults["ValueError"]
    assert (one.count, one.final, one.frame, one.job, one.versions) == (2, 1, "shop/tasks.py in work", "j", ["v1"])
    assert (faults["KeyError"].count, faults["KeyError"].final) == (1, 1)


async def test_a_runner_that_does_nothing_tells_nothing(store: MemoryBroker) -> None:
    faults = Faults()
    faults.before["record"] = 1
    recorder = Recorder(FaultyBroker(store, faults), Events(), "")
    await recorder.start()
    for _ in range(5):
        assert await recorder._tell()
    await recorder.stop()
    assert faults.raised["record"] == 0


async def test_many_runs_are_added_up_before_they_are_told(store: MemoryBroker) -> None:
    recorder = Recorder(store, Events(), "")
    pairs = [(run(), DONE)] * (NOTES // 2 + 1)
    for _ in range(5):
        recorder.note(pairs, [True] * len(pairs))
        assert sum(len(waits) for waits, _ in recorder._times.values()) < NOTES
    await recorder.stop()
    assert await counts(store) == {"succeeded": 5 * len(pairs)}


async def test_memory_is_bounded_while_the_store_is_away(store: MemoryBroker) -> None:
    faults = Faults()
    faults.down = True
    recorder = Recorder(FaultyBroker(store, faults), Events(), "")
    for n in range(1500):
        note(recorder, Failed(ErrorInfo("exception", f"Error{n}", "no")), task=f"t{n}")
        if n % 500 == 0:
            assert not await recorder._tell()
    recorder._fold()
    assert len(recorder._rollups) <= 501
    assert len(recorder._sightings) == FAULTS
    faults.down = False
    await recorder.stop()
    assert await counts(store) == {"failed": 1500}, "though not by its task any more"


# --- a store that fails


async def test_an_outage_loses_nothing_and_doubles_nothing(store: MemoryBroker, until: Callable[..., Any]) -> None:
    faults, events = Faults(), list[Any]()
    told = Events()
    told.subscribe(events.append, StoreTrouble, StoreBack)
    recorder = Recorder(FaultyBroker(store, faults), told, "")
    await recorder.start()
    for kind in (faults.lost, faults.before):
        kind["record"] = 2  # of the lost ones: it happened, and nobody knows
        note(recorder, DONE, Failed(ERROR))
        await until(lambda kind=kind: kind["record"] < 2)
        note(recorder, DONE)
        await until(lambda kind=kind: kind["record"] == 0)
    await recorder.stop()
    assert await counts(store) == {"succeeded": 4, "failed": 2}
    assert [one.count for one in await store.faults()] == [2]
    assert {type(event) for event in events} == {StoreTrouble, StoreBack}


async def test_a_stop_in_the_middle_of_a_report_tells_it_once(store: MemoryBroker, until: Callable[..., Any]) -> None:
    """The call is broken off after it has happened; what came meanwhile is told, too."""
    arrived = asyncio.Event()

    class Slow:
        async def record(self, *told: Any) -> bool:
            answer = await store.record(*told)
            if not arrived.is_set():
                arrived.set()
                await asyncio.sleep(3600)
            return answer

    recorder: Any = Recorder(Slow(), Events(), "")  # type: ignore[arg-type]
    await recorder.start()
    note(recorder, DONE)
    await arrived.wait()
    note(recorder, DONE, DONE)
    await recorder.stop()
    assert await counts(store) == {"succeeded": 3}


async def test_a_stop_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        async def record(self, *_: Any) -> bool:
            raise BrokerUnavailable("away")

    monkeypatch.setattr(module, "PATIENCE", 0.05)
    recorder = Recorder(Away(), Events(), "")  # type: ignore[arg-type]
    await recorder.start()
    note(recorder, DONE)
    await asyncio.wait_for(recorder.stop(), 30)


# --- in a worker


def mixed(app: Windlass) -> Any:
    """A task that ends in every way."""

    @app.task(retry=Retry(attempts=2, first=0, jitter=0))
    async def mixed(n: int) -> int:
        if n % 5 == 1:
            raise ValueError(n)
        if n % 5 == 2:
            raise Fail("no")
        if n % 5 == 3:
            raise Cancel("enough")
        return n

    return mixed


async def settled(app: Windlass, task: Any, jobs: int) -> None:
    handles = await app.enqueue_many([task.bind(n) for n in range(jobs)])
    for handle in handles:
        with suppress(JobFailed, JobCancelled):
            await handle.result(timeout=60)


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "redis":
        if not BINARIES:
            pytest.skip(MISSING)
        with RedisServer() as server:
            yield server.url()
    else:
        yield {"memory": f"memory://{tmp_path.name}", "sqlite": f"sqlite:///{tmp_path}/jobs.db?synchronous=NORMAL"}[
            request.param
        ]


@pytest.mark.parametrize("faulty", [False, True])
async def test_the_history_agrees_with_the_tally_after_a_drain(url: str, faulty: bool) -> None:
    app = Windlass(url, lease=20, upkeep=0.05, beat=0.1)
    task, program = mixed(app), FaultyProgram(app)
    if faulty:
        program.faults.lost.update({"settle": 2, "record": 3})
        program.faults.before.update({"record": 2, "settle": 1})
    broker = app.make_broker()
    await broker.open()
    try:
        async with working(program):
            await settled(app, task, 100)
        tally = Counter({state: n for one in await broker.tally() for state, n in one.counts.items()})
        assert tally == {State.SUCCEEDED: 40, State.FAILED: 40, State.CANCELLED: 20}
        for step in (60, 600, 3600):
            assert await counts(broker, step) == {"succeeded": 40, "failed": 40, "retried": 20, "cancelled": 20}
        rollups = await broker.series(3600, 0, inf)
        assert all(sum(one.wait.values()) == sum(one.run.values()) == one.count for one in rollups)
        assert {one.task for one in rollups} == {task.name}
        faults = {one.type: (one.count, one.final) for one in await broker.faults()}
        assert faults == {"ValueError": (40, 20), "Fail": (20, 20)}
        if faulty:
            assert program.faults.raised["settle"] >= 2
    finally:
        await broker.close()
        await app.close()


async def test_the_history_agrees_with_the_tally_whoever_ended_the_jobs(url: str, until: Callable[..., Any]) -> None:
    """Workers, producers, the time, and the death of a worker that nobody speaks for."""
    app = Windlass(url, lease=2, upkeep=0.05, beat=0.1)
    task, broker = mixed(app), app.make_broker()
    await broker.open()

    async def put(many: int, queue: str, **fields: Any) -> list[str]:
        jobs = [NewJob(id=new_id(), task="t", body=b"{}", queue=queue, **fields) for _ in range(many)]
        return [one.id for one in await broker.enqueue(jobs)]

    async def as_it_should_be() -> bool:
        tally = Counter[State]()
        for one in await broker.tally():
            tally.update(one.counts)
        return tally == {State.SUCCEEDED: 8, State.FAILED: 10, State.CANCELLED: 26, State.READY: 3}

    try:
        await put(4, "aside", expires=0.0)
        await broker.cancel([*await put(5, "aside"), *await put(6, "aside", delay=60.0)])
        await put(2, "held", crash_limit=1)
        await put(3, "held", crash_limit=2)
        wanted = await put(7, "held", crash_limit=1)
        await broker.beat("dead", Card(host="here", pid=1), 60.0)
        assert len(await broker.claim(["held"], {"loop": 99}, "dead")) == 12
        await broker.cancel(wanted)
        await broker.beat("dead", Card(host="here", pid=1), 0.0)
        async with working(app, queues=["default"]):
            await settled(app, task, 20)
            await until(as_it_should_be)
        assert await counts(broker) == {"succeeded": 8, "failed": 10, "cancelled": 26, "retried": 4, "crashed": 3}
        assert {one.type: (one.count, one.final) for one in await broker.faults() if one.task == "t"} == {
            "WorkerLost": (3, 0),
            "Quarantined": (2, 2),
        }
    finally:
        await broker.close()
        await app.close()


@pytest.mark.parametrize("name", ["process.twice", "loop.once", "loop.twice"])
async def test_a_job_that_kills_its_process_until_it_is_quarantined_is_in_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With kill -9: its own process, or the runner, with what that would have told."""
    app = deadly.build(f"sqlite:///{tmp_path}/jobs.db")
    job = await app.get_task(name).options().enqueue("kill")
    monkeypatch.setenv("WINDLASS_URL", app.url)
    monkeypatch.setenv("PYTHONPATH", str(Path(deadly.__file__).parent))
    supervisor = Supervisor(Orders("deadly:app"))
    running = asyncio.create_task(supervisor.run())
    with pytest.raises(JobFailed):
        await job.result(timeout=60)
    supervisor.stop()
    await running
    broker = app.make_broker()
    await broker.open()
    found, faults = await counts(broker), {one.type: one for one in await broker.faults()}
    await broker.close()
    await app.close()
    assert found == {"failed": 1} | ({"crashed": 1} if "twice" in name else {})
    quarantined = faults.pop("Quarantined")
    assert (quarantined.task, quarantined.job, quarantined.count, quarantined.final) == (name, job.id, 1, 1)
    assert "signal 9" in quarantined.message
    assert {type: (one.job, one.count, one.final) for type, one in faults.items()} == (
        {"ProcessDied": (job.id, 1, 0)} if "twice" in name else {}
    )


async def test_the_history_survives_the_restart_of_the_runner(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db?synchronous=NORMAL"
    for round in (1, 2):
        app = Windlass(url)
        task = mixed(app)
        async with working(app):
            await settled(app, task, 5)
        broker = app.make_broker()
        await broker.open()
        found = await counts(broker)
        await broker.close()
        await app.close()
        assert found == {"succeeded": 2 * round, "failed": 2 * round, "retried": round, "cancelled": round}


async def test_a_snooze_is_told_with_its_wait(app: Windlass, until: Callable[..., Any]) -> None:
    @app.task
    async def once_more() -> None:
        if current().last_checkpoint is None:
            current().checkpoint(1)
            raise Snooze(0)

    broker = app.make_broker()
    async with working(app):
        await (await once_more.enqueue()).result(timeout=20)
    found: dict[str, Rollup] = {one.outcome: one for one in await broker.series(60, 0, inf)}
    assert {name: one.count for name, one in found.items()} == {"snoozed": 1, "succeeded": 1}


@pytest.mark.parametrize("point", ["before", "after"])
def test_a_report_is_taken_entirely_or_not_at_all_whenever_its_teller_is_killed(tmp_path: Path, point: str) -> None:
    """Killed just before its report: nothing of it is there. Just after: all of it, once."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    code = f"""
import asyncio
from windlass import Windlass
from windlass.worker import recorder
from windlass.worker.runner import working
from windlass.worker.settler import _left
from windlass.worker.supervisor import Supervisor

recorder.PERIOD = 0.5
app = Windlass({url!r})

@app.task(name="t")
async def quick() -> None: ...

async def main():
    async with working(app):
        for job in await app.enqueue_many([quick.bind() for _ in range(20)]):
            await job.result(timeout=30)
        await asyncio.sleep(30)

asyncio.run(main())
"""
    env = {**os.environ, "WINDLASS_FAILPOINTS": f"recorder.{point}_record=kill9"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, timeout=100, check=False)
    assert done.returncode == -9, done.stderr

    async def look() -> Counter[str]:
        broker = Windlass(url).make_broker()
        await broker.open()
        try:
            return await counts(broker)
        finally:
            await broker.close()

    found = asyncio.run(look())
    assert found == ({} if point == "before" else {"succeeded": found["succeeded"]})
    assert point == "before" or 0 < found["succeeded"] <= 20


@pytest.mark.parametrize(
    ("state", "attempt", "worker", "ours"),
    [
        (State.SUCCEEDED, 2, "w", True),
        (State.SCHEDULED, 2, "w", True),
        (State.RUNNING, 3, "w", True),  # retried at once, and claimed again
        (State.RUNNING, 3, "other", True),
        (State.RUNNING, 2, "w", False),  # the try did not arrive
        (State.READY, 1, "w", False),  # taken back
        (State.RUNNING, 2, "other", False),  # taken back, and claimed by somebody else
        (State.SUCCEEDED, 2, "other", False),
    ],
)
async def test_after_a_lost_answer_a_run_counts_if_its_job_shows_that_it_was_applied(
    app: Windlass, state: State, attempt: int, worker: str, ours: bool
) -> None:
    broker = app.make_broker()
    await broker.enqueue([NewJob(id="j", task="t", body=b"")])
    (job,) = await broker.get(["j"])
    assert job is not None
    held = run()
    held.claim = replace(held.claim, attempt=2)
    assert _left(held, replace(job, state=state, attempt=attempt, worker=worker)) is ours
