"""A job that blocks its runner beyond its limit: it alone is timed out, and everybody else runs again as if nothing had been."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import blocking_tasks
import pytest
from msgspec import json
from trees import producer, tree

from windlass import JobFailed, Windlass
from windlass.core.job import Tried
from windlass.errors import BrokerUnavailable
from windlass.worker.custody import Custody
from windlass.worker.link import Orders
from windlass.worker.supervisor import Supervisor

TARGET = "blocking_tasks:app"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncGenerator[Windlass]:
    app = producer(blocking_tasks.app, tmp_path)
    await app.broker()
    yield app
    await app.close()


def bind(app: Windlass, task: str, *args: Any) -> Any:
    return app.get_task(f"blocking_tasks.{task}").bind(*args)


@pytest.mark.parametrize(
    ("task", "how"),
    [("step", "sleep"), ("step", "hold"), ("thread_step", "hold")],
    ids=["the loop is blocked", "the GIL is held in the loop", "the GIL is held in a thread"],
)
async def test_the_culprit_is_timed_out_and_the_innocent_run_again(
    app: Windlass, tmp_path: Path, task: str, how: str
) -> None:
    """All have the same limit, and by the time of the verdict all are over it; most even are of the same task."""
    neighbours = [bind(app, name, "wait") for name in ("step", "thread_step") for _ in range(3)]
    *innocent, guilty = await app.enqueue_many([*neighbours, bind(app, task, how)])
    with tree(app, tmp_path / "log", TARGET):
        with pytest.raises(JobFailed, match="over its time limit of 1 s; it held up all other jobs") as caught:
            await guilty.result(timeout=30)
        assert [await job.result(timeout=30) for job in innocent] == [1] * 6
    error = caught.value.error
    assert error is not None
    assert (error.kind, error.type) == ("timeout", "TimeLimitExceeded")
    assert f"in {'hold_the_gil' if how == 'hold' else 'look'}\n" in error.traceback
    assert f"job {guilty.id}" in error.traceback
    assert "_breathe" not in error.traceback, "its own stack, and no other"
    for job in innocent:
        info = await job.info()
        assert (info.attempt, info.crashes, info.error) == (1, 0, None)
    assert (await guilty.info()).crashes == 0
    reading = await (await app.broker()).read(guilty.id)
    assert reading is not None
    (told,) = [json.decode(entry.data, type=Tried) for entry in reading.entries if entry.kind == "attempt"]
    assert (told.outcome, told.error) == ("failed", error)


async def test_it_is_tried_again_as_its_own_policy_says(app: Windlass, tmp_path: Path) -> None:
    (job,) = await app.enqueue_many([bind(app, "once", str(tmp_path / "mark"))])
    with tree(app, tmp_path / "log", TARGET) as worker:
        assert await job.result(timeout=30) == 2
        assert (await job.info()).crashes == 0
        assert "JobEnded" in worker.said


async def test_who_blocks_within_his_limit_is_waited_for_and_told_of(
    app: Windlass, tmp_path: Path, until: Callable[..., Any]
) -> None:
    mark = tmp_path / "mark"
    waiting, blocking = await app.enqueue_many([bind(app, "step", "wait"), bind(app, "within", str(mark))])
    with tree(app, tmp_path / "log", TARGET) as worker:
        await until(lambda: "what='stuck'" in worker.said)
        assert "in within" in worker.said
        assert f"job {blocking.id}" in worker.said
        await asyncio.sleep(2.5)  # the neighbour is over its limit for longer than kill_after now
        (before,) = worker.runners
        mark.touch()
        assert await blocking.result(timeout=20) == 1
        await until(lambda: "turning again" in worker.said)
        with pytest.raises(JobFailed, match="over its time limit"):
            await waiting.result(timeout=20)
        assert worker.runners == [before]


async def test_when_nobody_can_be_named_all_are_suspects(app: Windlass, tmp_path: Path) -> None:
    """What has no limit of its own blocks one that has: it must not go on for ever, and nothing tells who is to blame."""
    waiting, blocking = await app.enqueue_many([bind(app, "step", "wait"), bind(app, "for_ever", str(tmp_path / "no"))])
    with tree(app, tmp_path / "log", TARGET):
        assert await blocking.result(timeout=30) == 1
        assert await waiting.result(timeout=30) == 1
    assert [(await job.info()).crashes for job in (waiting, blocking)] == [1, 1]


@pytest.mark.parametrize("point", ["before_time_out", "before_give_back"])
async def test_the_death_of_the_supervisor_in_between_loses_nothing(app: Windlass, tmp_path: Path, point: str) -> None:
    innocent, guilty = await app.enqueue_many([bind(app, "step", "wait"), bind(app, "step", "sleep")])
    with tree(app, tmp_path / "log", TARGET, environment={"WINDLASS_FAILPOINTS": f"supervisor.{point}=kill9"}) as first:
        assert await asyncio.to_thread(first.process.wait, 30) == -9
    with tree(app, tmp_path / "log", TARGET):
        assert await innocent.result(timeout=30) == 1
        with pytest.raises(JobFailed, match="over its time limit"):
            await guilty.result(timeout=30)
    info = await guilty.info()
    assert (info.attempt, info.crashes) == (1, 1 if point == "before_time_out" else 0)


@pytest.mark.parametrize(("failures", "crashes"), [(2, 0), (1000, 1)], ids=["for a moment", "for too long"])
async def test_a_store_that_does_not_take_the_verdict(
    app: Windlass, monkeypatch: pytest.MonkeyPatch, failures: int, crashes: int
) -> None:
    """It is asked again for as long as a lease; then all is as after any other death."""
    monkeypatch.setenv("WINDLASS_URL", app.url)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    innocent, guilty = await app.enqueue_many([bind(app, "step", "wait"), bind(app, "step", "sleep")])
    parent, time_out, asked = Supervisor(Orders(TARGET, settings={"lease": 2.0})), Custody._time_out, 0

    async def refused(custody: Custody, *args: Any) -> bool:
        settle = custody._broker.settle

        async def refuse(pairs: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked <= failures:
                raise BrokerUnavailable("not now")
            return await settle(pairs)

        monkeypatch.setattr(Custody, "_time_out", time_out)
        with monkeypatch.context() as patch:
            patch.setattr(custody._broker, "settle", refuse)
            return await custody._time_out(*args)

    monkeypatch.setattr(Custody, "_time_out", refused)
    running = asyncio.create_task(parent.run())
    with pytest.raises(JobFailed, match="over its time limit"):
        await guilty.result(timeout=40)
    assert await innocent.result(timeout=40) == 1
    assert asked > 2
    assert [(await job.info()).crashes for job in (innocent, guilty)] == [crashes, crashes]
    parent.stop()
    assert await asyncio.wait_for(running, 30) == 0
    faults = await (await app.broker()).faults()
    (verdict,) = (one for one in faults if one.type == "TimeLimitExceeded")
    assert (verdict.count, verdict.final) == (1, 1), "the history has it, too"
    assert sum(one.count for one in faults if one.final == 0) == 2 * crashes
