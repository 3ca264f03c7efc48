"""The whole tree of processes over SQLite, and the death of each part of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import worker_tasks
from test_process_lane import gone
from trees import HERE, SCRIPT, tree

from windlass import JobCancelled, JobFailed, State, Windlass
from windlass.worker.heart import Heart
from windlass.worker.link import Orders
from windlass.worker.supervisor import Supervisor


@pytest.fixture
async def app(tmp_path: Path) -> AsyncGenerator[Windlass]:
    app = worker_tasks.build(f"sqlite:///{tmp_path}/jobs.db")
    await app.broker()
    yield app
    await app.close()


@contextmanager
def supervisor(app: Windlass, *args: str, **settings: Any) -> Generator[subprocess.Popen[bytes]]:
    with tree(app, folder_of(app) / "log", "worker_tasks:app", *args, **settings) as worker:
        yield worker.process


def folder_of(app: Windlass) -> Path:
    """Where its store is."""
    return Path(app.url.removeprefix("sqlite:///")).parent


async def enqueue(app: Windlass, name: str, *args: Any, **options: Any) -> Any:
    return await app.get_task(name if "." in name else f"worker_tasks.{name}").options(**options).enqueue(*args)


async def test_work_is_done_and_sigterm_ends_it_cleanly(app: Windlass) -> None:
    jobs = [await enqueue(app, "add", n, n) for n in range(50)]
    with supervisor(app) as process:
        assert [await job.result(timeout=20) for job in jobs] == [2 * n for n in range(50)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert await (await app.broker()).workers() == []


async def test_what_a_job_starts_hears_signals_as_usual(app: Windlass) -> None:
    with supervisor(app):
        for name in ("terminate_subprocess", "process.terminate_subprocess"):
            assert await (await enqueue(app, name)).result(timeout=20) == -signal.SIGTERM


async def test_a_burst_ends_by_itself(app: Windlass) -> None:
    job = await enqueue(app, "add", 1, 2)
    with supervisor(app, "burst") as process:
        assert process.wait(20) == 0
    assert await job.result(timeout=1) == 3


async def test_a_killed_runner_is_replaced_and_its_jobs_run_again(
    app: Windlass, tmp_path: Path, until: Callable[..., Any]
) -> None:
    mark = tmp_path / "began"
    with supervisor(app) as process:
        first = await (await enqueue(app, "pid")).result(timeout=20)
        nap = await enqueue(app, "hang_once", str(mark))
        in_child = await enqueue(app, "process_nap", 60, str(tmp_path / "child"))
        await until(mark.exists)
        child = int(await until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text()))
        os.kill(first, signal.SIGKILL)
        assert await nap.result(timeout=20) not in (first, process.pid)
        assert (await nap.info()).crashes == 1
        await until(lambda: gone(child))
        assert await (await enqueue(app, "add", 1, 1)).result(timeout=20) == 2
        await in_child.cancel()
        with pytest.raises(JobCancelled):
            await in_child.result(timeout=20)


async def test_everything_dies_with_the_supervisor(app: Windlass, tmp_path: Path, until: Callable[..., Any]) -> None:
    child_mark, started = tmp_path / "child", tmp_path / "started"
    with supervisor(app) as process:
        runner = await (await enqueue(app, "pid")).result(timeout=20)
        await enqueue(app, "process_nap", 60, str(child_mark))
        await enqueue(app, "process_subprocess", 60, str(started))
        pids = [
            runner,
            *[int(await until(lambda m=mark: m.exists() and m.read_text())) for mark in (child_mark, started)],
        ]
        process.kill()
        process.wait()
        for pid in pids:
            await until(lambda pid=pid: gone(pid), timeout=2)


async def test_a_drain_finishes_the_short_and_releases_the_long(
    app: Windlass, tmp_path: Path, until: Callable[..., Any]
) -> None:
    with supervisor(app, shutdown_timeout=1.0) as process:
        short = await enqueue(app, "nap", 0.5, str(tmp_path / "short"))
        long = [
            await enqueue(app, "nap", 60, str(tmp_path / "long")),
            await enqueue(app, "process_nap", 60, str(tmp_path / "child")),
        ]
        for mark in ("short", "long", "child"):
            await until((tmp_path / mark).exists)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert (await short.info()).state is State.SUCCEEDED
    for job in long:
        info = await job.info()
        assert (info.state, info.attempt, info.crashes) == (State.READY, 0, 0)


async def test_the_second_signal_releases_at_once(app: Windlass, tmp_path: Path, until: Callable[..., Any]) -> None:
    with supervisor(app, shutdown_timeout=600) as process:
        job = await enqueue(app, "nap", 600, str(tmp_path / "mark"))
        await until((tmp_path / "mark").exists)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    info = await job.info()
    assert (info.state, info.attempt) == (State.READY, 0)


async def test_the_third_signal_kills(app: Windlass, until: Callable[..., Any]) -> None:
    with supervisor(app, shutdown_timeout=600, kill_after=600) as process:
        runner = await (await enqueue(app, "pid")).result(timeout=20)
        job = await enqueue(app, "thread.hold_the_gil", timeout=600)
        await until(lambda: _running(job))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
            await asyncio.sleep(0.05)  # the kernel merges equal pending signals
        assert process.wait(20) == 1
    assert gone(runner)


async def _running(job: Any) -> bool:
    return (await job.info()).state is State.RUNNING


async def test_a_job_that_holds_the_interpreter_beyond_its_limit_takes_its_runner_with_it(app: Windlass) -> None:
    with supervisor(app):
        job = await enqueue(app, "thread.hold_the_gil", retry=worker_tasks.ONCE)
        with pytest.raises(JobFailed, match=r"over its time limit of 0\.5 s; it held up all other jobs"):
            await job.result(timeout=30)
        assert (await job.info()).crashes == 0
        assert await (await enqueue(app, "add", 1, 1)).result(timeout=20) == 2


async def test_the_last_chance_of_suspects_is_a_child_of_their_own_so_only_the_culprit_fails(app: Windlass) -> None:
    neighbours = [await enqueue(app, "nap", 3) for _ in range(6)] + [await enqueue(app, "thread_nap", 3) for _ in "ab"]
    guilty = await enqueue(app, "suspect.crash")
    with supervisor(app):
        with pytest.raises(JobFailed, match=r"killed by signal 11 \(SIGSEGV\)"):
            await guilty.result(timeout=40)
        for job in neighbours:
            await job.result(timeout=40)
    crashes = [(await job.info()).crashes for job in neighbours]
    assert max(crashes) == 2, crashes  # of 3: it did hit them as often as it may


def test_an_app_that_cannot_be_imported_ends_it_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import windlass\nx = no_such_name\n")
    command = [sys.executable, "-c", SCRIPT, "broken:app", "{}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "ConfigurationError" in last
    assert "name 'no_such_name' is not defined" in last
    assert "broken.py:2" in last


async def test_runners_are_replaced_on_request_while_their_jobs_finish(
    app: Windlass, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    monkeypatch.setenv("WINDLASS_URL", app.url)
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    parent = Supervisor(Orders("worker_tasks:app", settings={"runners": 2}))
    running = asyncio.create_task(parent.run())
    first = await enqueue(app, "nap", 1.0, str(tmp_path / "mark"))
    await until((tmp_path / "mark").exists)
    parent.restart_runners()
    old = await first.result(timeout=20)
    assert (await first.info()).crashes == 0
    await until(lambda: gone(old))
    assert await (await enqueue(app, "pid")).result(timeout=20) != old
    parent.stop()
    assert await running == 0


async def test_a_runner_that_dies_young_again_and_again_is_started_ever_more_slowly(
    app: Windlass, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    monkeypatch.setenv("WINDLASS_URL", app.url)
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    parent, deaths = Supervisor(Orders("worker_tasks:app")), list[float]()

    def on_event(event: Any) -> None:
        if event.what == "died":
            deaths.append(time.monotonic())
        elif event.what == "started":
            os.kill(int(event.worker.split()[1]), signal.SIGKILL)

    parent.events.subscribe(on_event)
    running = asyncio.create_task(parent.run())
    await until(lambda: len(deaths) == 4)
    assert deaths[3] - deaths[2] > 1 / 2, "the third successor waits for twice FIRST_WAIT"
    parent.stop()
    assert await running == 0


async def test_an_id_may_be_given_up_while_its_runner_is_buried(
    app: Windlass, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    """What the runner said last is still being done when it is found dead."""
    monkeypatch.setenv("WINDLASS_URL", app.url)
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    parent, retire = Supervisor(Orders("worker_tasks:app")), Heart.retire

    async def at_the_same_time(heart: Heart, worker: str, *more: Any) -> None:
        for ward in parent._wards:
            ward.ids.discard(worker)
        await retire(heart, worker, *more)

    monkeypatch.setattr(Heart, "retire", at_the_same_time)
    running = asyncio.create_task(parent.run())
    await until(lambda: any(ward.ids for ward in parent._wards))
    (first,) = parent._wards
    first.kill()
    await until(lambda: parent._wards and first not in parent._wards and all(ward.ids for ward in parent._wards))
    parent.stop()
    assert await asyncio.wait_for(running, 30) == 0


async def test_a_runner_with_a_job_beyond_rescue_is_replaced(app: Windlass) -> None:
    with supervisor(app):
        first = await (await enqueue(app, "pid")).result(timeout=20)
        job = await enqueue(app, "deaf", 5, timeout=0.1, retry=worker_tasks.ONCE)
        with pytest.raises(JobFailed, match="could not be stopped"):
            await job.result(timeout=20)
        end = time.monotonic() + 15
        while await (await enqueue(app, "pid")).result(timeout=20) == first:
            assert time.monotonic() < end
