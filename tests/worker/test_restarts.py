"""New runners in the places of old ones: on SIGHUP, when they have grown old, and when they die as soon as they are born."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
import restart_tasks
import stalling_tasks
from test_process_lane import gone
from trees import Tree, producer, tree

from servers import BINARIES, MISSING, RedisServer
from windlass import Windlass
from windlass.worker.evidence import resident

TARGET = "restart_tasks:app"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncGenerator[Windlass]:
    app = producer(restart_tasks.app, tmp_path)
    await app.broker()
    yield app
    await app.close()


@pytest.fixture
def start(app: Windlass, tmp_path: Path) -> Callable[..., Any]:
    """Starts a worker whose program looks into tmp_path."""
    return lambda **settings: tree(app, tmp_path / "log", TARGET, environment={"RESTARTS": str(tmp_path)}, **settings)


async def ask(app: Windlass, task: str = "code", *, patience: float = 30) -> Any:
    return await (await app.get_task(f"restart_tasks.{task}").enqueue()).result(timeout=patience)


async def begin(app: Windlass, tmp_path: Path, until: Callable[..., Any], number: int) -> tuple[Any, int]:
    """A job that waits to be released, and where it runs."""
    job = await app.get_task("restart_tasks.wait").enqueue(number)
    mark = tmp_path / f"began {number}"
    return job, int(await until(lambda: mark.exists() and mark.read_text()))


# --- SIGHUP


async def test_sighup_brings_new_code_one_runner_after_the_other(
    app: Windlass, tmp_path: Path, start: Any, until: Callable[..., Any]
) -> None:
    with start(runners=2) as worker:
        await until(lambda: worker.said.count("what='started'") == 2)
        old = worker.runners
        job, where = await begin(app, tmp_path, until, 1)
        (tmp_path / "code").write_text("second")
        worker.process.send_signal(signal.SIGHUP)
        await until(lambda: worker.said.count("what='replaced', detail='restart'") >= 1)
        (tmp_path / "release").touch()
        await until(lambda: all(gone(pid) for pid in old), timeout=30)
        assert await job.result(timeout=20) == where, "what ran was finished"
        assert {(await ask(app))[1] for _ in range(10)} == {"second"}
        info = await job.info()
        assert (info.attempt, info.crashes) == (1, 0)
        await until(lambda: "what='ready'" in worker.said)
        assert len(worker.runners) == 2
        events = [line for line in worker.said.splitlines() if "what='replaced'" in line or "what='started'" in line]
        assert ["replaced" in line for line in events] == [False, False, False, True, False, True], (
            "one after the other"
        )


async def test_a_broken_deploy_leaves_the_old_at_work(
    app: Windlass, tmp_path: Path, start: Any, until: Callable[..., Any]
) -> None:
    with start() as worker:
        before, _ = await ask(app)
        (tmp_path / "broken").touch()
        worker.process.send_signal(signal.SIGHUP)
        await until(lambda: "what='stays'" in worker.said)
        assert "a broken deploy" in worker.said
        assert await ask(app) == (before, "first")
        (tmp_path / "broken").unlink()
        (tmp_path / "code").write_text("mended")
        worker.process.send_signal(signal.SIGHUP)
        await until(lambda: gone(before), timeout=30)
        assert (await ask(app))[1] == "mended"


async def test_a_program_that_moved_to_another_store_is_not_let_in(
    app: Windlass, tmp_path: Path, start: Any, until: Callable[..., Any]
) -> None:
    with start() as worker:
        before, _ = await ask(app)
        (tmp_path / "moved").touch()
        worker.process.send_signal(signal.SIGHUP)
        await until(lambda: "its app names another store than before" in worker.said)
        assert await ask(app) == (before, "first")


async def test_a_second_sighup_is_remembered(
    app: Windlass, tmp_path: Path, start: Any, until: Callable[..., Any]
) -> None:
    """It may mean code that the first did not see; a third adds nothing."""
    with start() as worker:
        await ask(app)
        worker.process.send_signal(signal.SIGHUP)
        await until(lambda: "what='reloading'" in worker.said)
        (tmp_path / "code").write_text("second")
        worker.process.send_signal(signal.SIGHUP)
        await until(lambda: worker.said.count("what='replaced'") == 2, timeout=30)
        await until(lambda: "what='ready'" in worker.said)
        assert (await ask(app))[1] == "second"
        assert worker.said.count("what='reloading'") == 1


async def test_sighup_before_it_has_begun_is_remembered(app: Windlass, start: Any, until: Callable[..., Any]) -> None:
    with start() as worker:
        await until(lambda: worker.runners)  # the handlers are in place before the first runner is
        worker.process.send_signal(signal.SIGHUP)
        await until(lambda: worker.said.count("what='ready'") == 2, timeout=30)
        assert worker.said.count("what='replaced'") == 1
        await ask(app)


async def test_sigterm_in_the_middle_of_a_restart(app: Windlass, start: Any, until: Callable[..., Any]) -> None:
    with start(runners=2) as worker:
        await ask(app)
        worker.process.send_signal(signal.SIGHUP)
        await until(lambda: len(worker.runners) == 3)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(20) == 0


# --- growing old


async def test_a_runner_that_ran_its_jobs_is_replaced_and_its_long_job_stays(
    app: Windlass, tmp_path: Path, start: Any, until: Callable[..., Any]
) -> None:
    with start(runner_jobs=5, shutdown_timeout=0.1) as worker:
        job, old = await begin(app, tmp_path, until, 1)
        await until(lambda: _elsewhere(app, old))
        assert "what='replaced', detail='it ran" in worker.said
        # One more has grown old by now, and must wait until the first is gone.
        assert len({(await ask(app))[0] for _ in range(20)}) == 1
        assert len(worker.runners) == 2
        (tmp_path / "release").touch()
        assert await job.result(timeout=20) == old
        info = await job.info()
        assert (info.attempt, info.crashes) == (1, 0), "nothing was handed back"
        await until(lambda: gone(old))
        await until(lambda: worker.said.count("what='replaced'") > 1)


async def _elsewhere(app: Windlass, old: int) -> bool:
    where, _ = await ask(app)
    return bool(where != old)


async def test_a_runner_that_holds_too_much_is_replaced(app: Windlass, start: Any, until: Callable[..., Any]) -> None:
    with start() as worker:
        await ask(app)
        size = resident(worker.runners[0])
    with start(runner_memory=size + (32 << 20)) as worker:
        old = await ask(app, "grow")
        await until(lambda: gone(old), timeout=30)
        assert "what='replaced', detail='it holds" in worker.said
        assert (await ask(app))[0] != old


async def test_who_stops_while_an_old_runner_drains_waits_no_longer_than_that(
    app: Windlass, tmp_path: Path, start: Any, until: Callable[..., Any]
) -> None:
    with start(runner_jobs=1, shutdown_timeout=0.5) as worker:
        job, _ = await begin(app, tmp_path, until, 1)
        await ask(app)
        await until(lambda: "what='replaced'" in worker.said)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(20) == 0
    info = await job.info()
    assert (info.state.value, info.attempt, info.crashes) == ("ready", 0, 0)


# --- dying young


async def kill_when_started(worker: Tree, until: Callable[..., Any], times: int) -> None:
    """Kill each runner as soon as it works."""
    for number in range(1, times + 1):
        await until(lambda number=number: worker.said.count("what='started'") == number, timeout=60)
        os.kill(worker.runners[-1], signal.SIGKILL)


async def test_who_cannot_be_born_any_more_ends_the_worker_with_a_clear_last_word(
    app: Windlass, tmp_path: Path, start: Any, until: Callable[..., Any]
) -> None:
    """What runs elsewhere in the worker is finished first."""
    with start(runners=2, shutdown_timeout=60) as worker:
        await until(lambda: worker.said.count("what='started'") == 2)
        job, busy = await begin(app, tmp_path, until, 1)
        (idle,) = set(worker.runners) - {busy}
        (tmp_path / "broken").touch()
        os.kill(idle, signal.SIGKILL)
        await until(lambda: "what='gives up'" in worker.said, timeout=60)
        assert not gone(busy)
        (tmp_path / "release").touch()
        assert await job.result(timeout=20) == busy
        assert worker.process.wait(30) == 1
        last = worker.said.strip().splitlines()[-1]
        assert "5 runners in a row died before they could work" in last
        assert "a broken deploy" in last
        assert "start the worker again" in last


async def test_who_dies_young_is_started_ever_more_slowly_and_that_is_said(
    app: Windlass, start: Any, until: Callable[..., Any]
) -> None:
    with start() as worker:
        await kill_when_started(worker, until, 4)
        await until(
            lambda: "died" in worker.said and "4 times in a row within 10 s of its start; the next" in worker.said
        )
        assert "next start is in" in worker.said
        worker.process.send_signal(signal.SIGTERM)  # while it waits for the next start
        assert worker.process.wait(10) == 0
        assert "gave up" not in worker.said


@pytest.mark.skipif(not BINARIES, reason=MISSING)
async def test_a_store_that_is_away_is_no_reason_to_give_up(tmp_path: Path, until: Callable[..., Any]) -> None:
    """A runner dies while nobody can reach the store; its successors cannot begin, and one does when it is back."""
    with RedisServer(appendonly="yes") as server:
        app = Windlass(server.url())
        for name, definition in restart_tasks.app.definitions.items():
            app.task(name=name)(definition.function)
        with tree(app, tmp_path / "log", TARGET, environment={"RESTARTS": str(tmp_path)}) as worker:
            before, _ = await ask(app)
            server.kill()
            os.kill(before, signal.SIGKILL)
            await until(lambda: "6 times in a row" in worker.said, timeout=60)
            server.start()
            after, _ = await ask(app, patience=60)
            assert after != before
            assert "give" not in worker.said
        await app.close()


# --- a loop that makes no step


@pytest.mark.parametrize(("verb", "loop"), [("claim", "fetch"), ("settle", "settle")])
async def test_a_runner_whose_loop_waits_for_ever_is_replaced_and_no_work_is_lost(
    tmp_path: Path, until: Callable[..., Any], verb: str, loop: str
) -> None:
    """Its event loop turns, its jobs run, and it would never fetch, or store, anything again."""
    app = producer(stalling_tasks.app, tmp_path)
    with tree(app, tmp_path / "log", "stalling_tasks:app", environment={"STALLING": str(tmp_path)}) as worker:
        long = await app.get_task("stalling_tasks.wait").enqueue()
        await until((tmp_path / "began").exists)
        (old,) = worker.runners
        (tmp_path / verb).touch()
        quick = await app.get_task("stalling_tasks.quick").enqueue()
        await until(lambda: "what='replaced'" in worker.said, timeout=30)
        assert f"what='stalled', detail='its {loop} loop made no step for" in worker.said
        assert "Current thread" in worker.said, "its stacks"
        (tmp_path / "release").touch()
        await quick.result(timeout=30)
        where = await long.result(timeout=30)
        await until(lambda: gone(old), timeout=30)
        assert where == old or verb == "settle", "what runs goes on, and is stored as long as that can be"
    for job in (long, quick):
        info = await job.info()
        assert (info.attempt, info.crashes) == (1, 0)
    await app.close()
