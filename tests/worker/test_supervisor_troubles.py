"""What may go wrong in a supervisor itself, or around it: it ends when it is told to, and nothing is forgotten for ever."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import worker_tasks
from trees import HERE, tree

from windlass import State, Windlass
from windlass.errors import BrokerUnavailable
from windlass.events import Event, WorkerChanged
from windlass.worker import supervisor as module
from windlass.worker.custody import Custody
from windlass.worker.link import Orders
from windlass.worker.patrol import Patrol
from windlass.worker.supervisor import Supervisor
from windlass.worker.ward import Ward

TARGET = "worker_tasks:app"
TASKS = "worker_tasks"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncGenerator[Windlass]:
    app = worker_tasks.build(f"sqlite:///{tmp_path}/jobs.db")
    await app.broker()
    yield app
    await app.close()


class Parent:
    """A supervisor in this process."""

    def __init__(self, **settings: Any) -> None:
        self.said = list[tuple[str, str]]()
        self.supervisor = Supervisor(Orders(TARGET, settings=settings))
        self.supervisor.events.subscribe(self._hear)
        self.running = asyncio.create_task(self.supervisor.run())

    def _hear(self, event: Event) -> None:
        if isinstance(event, WorkerChanged):
            self.said.append((event.what, event.detail))

    @property
    def ready(self) -> bool:
        return not self.supervisor.readiness()

    def heard(self, what: str) -> int:
        """How often it said that."""
        return [said for said, _ in self.said].count(what)

    async def end(self) -> int:
        self.supervisor.stop(2)
        return await asyncio.wait_for(self.running, 30)


@pytest.fixture
async def start(app: Windlass, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Callable[..., Parent]]:
    monkeypatch.setenv("WINDLASS_URL", app.url)
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    made = list[Parent]()

    def start(**settings: Any) -> Parent:
        made.append(Parent(**settings))
        return made[-1]

    yield start
    for parent in made:
        if not parent.running.done():
            parent.supervisor.stop(3)
        await asyncio.wait({parent.running})


async def enqueue(app: Windlass, name: str, *args: Any) -> Any:
    return await app.get_task(f"{TASKS}.{name}").enqueue(*args)


def once(method: Callable[..., Any], trouble: Exception) -> Callable[..., Any]:
    """The method, which fails when it is called first."""
    calls = 0

    async def failing(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise trouble
        return await method(*args)

    return failing


# --- mistakes of our own


@pytest.mark.parametrize(
    ("owner", "verb"), [(Custody, "keep"), (Custody, "give_back"), (Ward, "death")], ids=["keep", "give_back", "death"]
)
async def test_a_mistake_about_one_runner_costs_that_runner_at_most(
    app: Windlass,
    start: Any,
    until: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
    tmp_path: Path,
    owner: Any,
    verb: str,
) -> None:
    monkeypatch.setattr(owner, verb, once(getattr(owner, verb), RuntimeError("a mistake")))
    parent = start()
    job = await enqueue(app, "hang_once", str(tmp_path / "mark"))
    if verb != "keep":
        await until((tmp_path / "mark").exists)
        await until(lambda: parent.ready)
        (ward,) = parent.supervisor._wards
        ward.kill()
    await until(lambda: parent.heard("started") == (1 if verb == "keep" else 2))
    await until(lambda: parent.ready and len(parent.supervisor._wards) == 1)
    if verb != "keep":
        await job.result(timeout=20)  # its old lease has ended
    assert await (await enqueue(app, "add", 1, 2)).result(timeout=20) == 3
    assert await parent.end() == 0
    assert "a bug in Windlass" in caplog.text


async def test_a_patrol_that_stumbles_goes_on(
    start: Any, until: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    examine = Patrol._examine
    monkeypatch.setattr(Patrol, "_examine", once(examine, RuntimeError("a mistake")))
    parent = start()
    await until(lambda: parent.ready)
    (ward,) = parent.supervisor._wards
    for _ in range(2):
        ward.ticked -= 3600
        await until(lambda: "a mistake" in caplog.text)
    await until(lambda: parent.ready)
    assert await parent.end() == 0


async def test_beats_go_on_after_any_error(app: Windlass, tmp_path: Path) -> None:
    points = {"WINDLASS_FAILPOINTS": "supervisor.before_beat=raise"}
    with tree(app, tmp_path / "log", TARGET, environment=points, lease=1.0) as worker:
        job = await enqueue(app, "nap", 3)
        await job.result(timeout=20)
        assert "failpoint supervisor.before_beat" in worker.said
    assert (await job.info()).crashes == 0


@pytest.mark.parametrize(("failures", "code"), [(2, 0), (1000, 1)], ids=["for a moment", "for good"])
async def test_a_machine_that_gives_us_no_process(
    start: Any, until: Any, monkeypatch: pytest.MonkeyPatch, failures: int, code: int
) -> None:
    made = 0

    class Scarce(Ward):
        def __init__(self) -> None:
            nonlocal made
            made += 1
            if made <= failures:
                raise BlockingIOError("no process left")
            super().__init__()

    monkeypatch.setattr(module, "Ward", Scarce)
    monkeypatch.setattr(module, "FIRST_WAIT", 0.05)
    parent = start()
    if code == 0:
        await until(lambda: parent.ready)
        assert await parent.end() == 0
    else:
        assert await asyncio.wait_for(parent.running, 30) == 1
        assert parent.said[-1][0] == "gave up"
    assert parent.heard("could not start a runner") == min(failures, 5)
    assert "no process left" in str(parent.said)


# --- being told to stop at the wrong moment


async def test_sigterm_while_the_program_is_being_imported(app: Windlass, tmp_path: Path, until: Any) -> None:
    (tmp_path / "slow.py").write_text("import pathlib, time\npathlib.Path('importing').touch()\ntime.sleep(600)\n")
    with tree(app, tmp_path / "log", "slow:app") as worker:
        await until((tmp_path / "importing").exists)
        worker.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.process.wait, 10) == 0


@pytest.mark.parametrize("signals", [1, 2, 3])
async def test_sigterm_while_the_store_hangs(app: Windlass, tmp_path: Path, until: Any, signals: int) -> None:
    """Somebody else locks the file, and does not let go of it."""
    with tree(app, tmp_path / "log", TARGET, shutdown_timeout=2.0) as worker:
        job = await enqueue(app, "nap", 1.5, str(tmp_path / "mark"))
        await until((tmp_path / "mark").exists)
        with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as thief:
            thief.execute("BEGIN IMMEDIATE")
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM)[:signals]:
                worker.process.send_signal(number)
                await asyncio.sleep(0.05)  # the kernel merges equal pending signals
            began = time.monotonic()
            code = await asyncio.to_thread(worker.process.wait, 25)
            assert time.monotonic() - began < 20, "a locked SQLite file is given up after 30 s"
            assert code == (1 if signals == 3 else 0)
            thief.execute("ROLLBACK")
    with tree(app, tmp_path / "log", TARGET):
        await job.result(timeout=20)
        assert (await job.info()).state is State.SUCCEEDED


async def test_sigterm_before_the_store_was_ever_reached(app: Windlass, tmp_path: Path, until: Any) -> None:
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as thief:
        thief.execute("BEGIN IMMEDIATE")
        with tree(app, tmp_path / "log", TARGET) as worker:
            await until(lambda: len(worker.runners) == 1)
            await until(lambda: b"worker.process" in Path(f"/proc/{worker.runners[0]}/cmdline").read_bytes())
            await asyncio.sleep(2)  # it has long loaded the program, and waits for the lock
            worker.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(worker.process.wait, 20) == 0


async def test_a_runner_that_does_not_go_is_killed_and_blames_nobody(app: Windlass, tmp_path: Path, until: Any) -> None:
    with tree(app, tmp_path / "log", TARGET, shutdown_timeout=0.2, kill_after=0.2) as worker:
        jobs = [await enqueue(app, "nap", 600, str(tmp_path / "mark"))]
        await until((tmp_path / "mark").exists)
        jobs += [await app.get_task("thread.hold_the_gil").options(timeout=600).enqueue()]
        await until(lambda: "what='stuck'" in worker.said)
        worker.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.process.wait, 20) == 0
    for job in jobs:
        info = await job.info()
        assert (info.state, info.attempt, info.crashes) == (State.READY, 0, 0)


async def test_the_third_signal_blames_nobody(app: Windlass, tmp_path: Path, until: Any) -> None:
    with tree(app, tmp_path / "log", TARGET, shutdown_timeout=600, kill_after=600) as worker:
        job = await enqueue(app, "deaf", 600)
        await until(lambda: _runs(job))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            worker.process.send_signal(number)
            await asyncio.sleep(0.02)  # the kernel merges equal pending signals
        assert await asyncio.to_thread(worker.process.wait, 20) == 1
    info = await job.info()
    assert (info.state, info.attempt, info.crashes) == (State.READY, 0, 0)


async def _runs(job: Any) -> bool:
    return (await job.info()).state is State.RUNNING


# --- readiness


async def test_it_is_ready_while_a_runner_works_and_the_store_answers(
    app: Windlass, start: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = start(lease=1.0)
    assert parent.supervisor.readiness() == "starting"
    await until(lambda: parent.ready)
    assert parent.heard("ready") == 1
    (ward,) = parent.supervisor._wards
    os.kill(ward.group, signal.SIGSTOP)
    await until(lambda: parent.supervisor.readiness() == "no runner works")
    os.kill(ward.group, signal.SIGCONT)
    await until(lambda: parent.ready)

    async def away(*_: Any) -> Any:
        raise BrokerUnavailable("no store")

    custody = parent.supervisor._custody
    with monkeypatch.context() as patch:
        patch.setattr(custody._broker, "beat", away)
        await until(lambda: "the store has not answered for" in parent.supervisor.readiness())
    await until(lambda: parent.ready)
    parent.supervisor.stop()
    assert parent.supervisor.readiness() == "stopping"
    assert await asyncio.wait_for(parent.running, 30) == 0


async def test_it_is_not_ready_while_runners_die_young(start: Any, until: Any) -> None:
    parent = start()
    for number in (1, 2):
        await until(lambda: parent.ready)
        (ward,) = parent.supervisor._wards
        ward.kill()
        await until(lambda number=number: parent.heard("died") == number)
    await until(lambda: parent.heard("started") == 3)
    assert parent.supervisor.readiness() == "runners die young: 2 in a row"
    (ward,) = parent.supervisor._wards
    ward.born -= module.SHORT_LIFE  # it has lived long enough by now
    assert parent.ready
    assert await parent.end() == 0


async def test_who_runs_jobs_before_it_was_heard_of_may_finish_them(
    app: Windlass, start: Callable[..., Parent], monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    """A runner claims as soon as it has an id. Its first word of how it stands may still be on its way when a stop comes."""
    monkeypatch.setattr(Ward, "hear", lambda _ward, _tick: None)
    job = await app.get_task("worker_tasks.nap").enqueue(1.0)
    parent = start()
    await until(lambda: running(job))
    parent.supervisor.stop()
    assert await asyncio.wait_for(parent.running, 30) == 0
    info = await job.info()
    assert (info.state, info.attempt, info.crashes) == (State.SUCCEEDED, 1, 0)


async def running(job: Any) -> bool:
    return (await job.info()).state is State.RUNNING
