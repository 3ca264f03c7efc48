"""The testing kit, used as its users use it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from windlass import Context, Depends, Fail, JobFailed, Retry, Snooze, State, Windlass, current
from windlass.errors import PayloadTooLarge
from windlass.testing import Harness

app = Windlass("memory://", name="kit")
log: list[Any] = []


@app.task
async def send(to: str, subject: str = "hello") -> str:
    log.append(to)
    return f"{subject}, {to}"


@app.task(queue="slow")
def resize(path: Path, width: int) -> int:
    log.append(width)
    return width


@app.task(retry=Retry(attempts=3, first=60, jitter=0))
async def flaky() -> str:
    log.append(current().attempt)
    if current().attempt < 3:
        raise OSError(f"attempt {current().attempt}")
    return "at last"


@app.task
async def fan_out(count: int) -> None:
    for number in range(count):
        await send.enqueue(f"{number}")


@app.task
async def endless() -> None:
    await endless.enqueue()


@app.task(lane="process")
def heavy(number: int) -> int:
    return number * 2


@pytest.fixture(autouse=True)
def empty_log() -> None:
    log.clear()


@pytest.fixture
async def jobs() -> AsyncIterator[Harness]:
    async with Harness(app) as harness:
        yield harness


async def test_nothing_runs_before_it_is_drained_and_all_of_it_then(jobs: Harness) -> None:
    job = await send.enqueue("ann")
    assert (log, (await job.info()).state) == ([], State.READY)
    ran = await jobs.drain()
    assert [(one.id, one.state) for one in ran] == [(job.id, State.SUCCEEDED)]
    assert await job == "hello, ann"
    assert await jobs.drain() == []


async def test_jobs_of_every_lane_and_queue_run_and_so_does_what_they_enqueue(jobs: Harness) -> None:
    small, double = await resize.enqueue(Path("a.png"), 80), await heavy.enqueue(4)
    await fan_out.enqueue(3)
    assert len(await jobs.drain()) == 6
    assert (await small, await double, sorted(log, key=str)) == (80, 8, ["0", "1", "2", 80])


async def test_the_higher_priority_runs_first(jobs: Harness) -> None:
    for name, priority in (("low", 1), ("high", 9), ("middle", 5)):
        await send.options(priority=priority).enqueue(name)
    await jobs.drain()
    assert log == ["high", "middle", "low"]


async def test_the_store_of_the_app_comes_back_untouched() -> None:
    before = await send.enqueue("before")
    async with Harness(app):
        inside = await send.enqueue("inside")
    assert (await before.info()).state is State.READY
    assert (await (await app.broker()).get([inside.id])) == [None]
    await app.close()


async def test_two_harnesses_one_after_the_other_share_nothing() -> None:
    async with Harness(app) as first:
        await send.enqueue("ann")
        assert len(first.enqueued()) == 1
    async with Harness(app) as second:
        assert (second.enqueued(), await second.drain()) == ([], [])


async def test_the_error_of_a_task_is_raised_as_it_is(jobs: Harness) -> None:
    job, other = await flaky.enqueue(), await heavy.enqueue(1)
    with pytest.raises(OSError, match="attempt 1") as caught:
        await jobs.drain()
    assert any(entry.name == "flaky" for entry in caught.traceback)
    assert (await job.info()).state is State.SCHEDULED
    assert (await other.info()).attempt == 0  # handed back, no attempt spent
    await jobs.drain()
    assert await other == 2


async def test_errors_can_be_recorded_and_retries_come_with_time(jobs: Harness) -> None:
    job = await flaky.enqueue()
    (first,) = await jobs.drain(raising=False)
    assert (first.state, first.error and first.error.message) == (State.SCHEDULED, "attempt 1")
    assert await jobs.drain(raising=False) == []
    for _ in range(2):
        jobs.travel("10m")
        await jobs.drain(raising=False)
    assert (log, await job) == ([1, 2, 3], "at last")


async def test_a_delayed_job_runs_when_its_time_has_come(jobs: Harness) -> None:
    await send.options(delay="10m").enqueue("later")
    await send.options(at=datetime.now(UTC) + timedelta(hours=1)).enqueue("much later")
    jobs.travel("9m 50s")
    assert await jobs.drain() == []
    jobs.travel("10s")
    await jobs.drain()
    assert log == ["later"]
    jobs.travel(timedelta(hours=1))
    await jobs.drain()
    assert log == ["later", "much later"]


async def test_a_job_that_snoozes_is_run_again_later(jobs: Harness) -> None:
    @app.task(name="kit.snoozing")
    async def snoozing() -> None:
        log.append(current().attempt)
        if len(log) == 1:
            raise Snooze("1h")

    job = await snoozing.enqueue()
    await jobs.drain()
    assert (await job.info()).state is State.SCHEDULED
    jobs.travel("1h")
    await jobs.drain()
    assert (log, (await job.info()).state) == ([1, 1], State.SUCCEEDED)


async def test_what_a_task_says_on_purpose_is_not_raised(jobs: Harness) -> None:
    @app.task(name="kit.failing")
    async def failing() -> None:
        raise Fail("no such video")

    job = await failing.enqueue()
    await jobs.drain()
    with pytest.raises(JobFailed, match="no such video"):
        await job


async def test_a_task_that_enqueues_itself_is_stopped_at_the_limit(jobs: Harness) -> None:
    await endless.enqueue()
    with pytest.raises(AssertionError, match=r"after 10 runs there is still work; the last was .*endless"):
        await jobs.drain(limit=10)


async def test_dependencies_context_and_middleware_are_those_of_a_worker(jobs: Harness) -> None:
    made: list[str] = []

    async def session() -> AsyncIterator[str]:
        made.append("open")
        yield "session"
        made.append("close")

    async def around(ctx: Context, call_next: Callable[[], Any]) -> Any:
        made.append(f"before {ctx.task}")
        return await call_next()

    @app.task(name="kit.injected")
    async def injected(ctx: Context = Depends(), db: str = Depends(session)) -> str:
        ctx.progress(1, 2, "half")
        ctx.log("working")
        made.append(db)
        return ctx.job_id

    app.middlewares.append(around)
    try:
        job = await injected.enqueue()
        await jobs.drain()
    finally:
        app.middlewares.remove(around)
    assert await job == job.id
    assert made == ["open", "before kit.injected", "session", "close"]
    assert [event.kind async for event in job.events()] == ["progress", "log", "end"]
    progress = (await job.info()).progress
    assert progress is not None
    assert (progress.share, progress.message) == (0.5, "half")


async def test_dependency_overrides_hold_in_a_drain(jobs: Harness) -> None:
    def mailer() -> str:
        raise AssertionError("the real one")

    @app.task(name="kit.mailing")
    async def mailing(with_: str = Depends(mailer)) -> str:
        return with_

    app.dependency_overrides[mailer] = lambda: "fake"
    try:
        job = await mailing.enqueue()
        await jobs.drain()
        assert await job == "fake"
    finally:
        app.dependency_overrides.clear()


async def test_a_dependency_that_raises_fails_the_drain_with_its_name(jobs: Harness) -> None:
    def broken() -> str:
        raise OSError("no database")

    @app.task(name="kit.needy")
    async def needy(db: str = Depends(broken)) -> str:
        return db

    await needy.enqueue()
    with pytest.raises(
        JobFailed, match=r"kit\.needy: .*DependencyError: dependency .*broken failed: OSError: no database"
    ):
        await jobs.drain()


async def test_a_chunk_or_checkpoint_over_the_limit_of_the_app_fails_the_run() -> None:
    small = Windlass("memory://", name="small", max_payload=100)

    @small.task
    def write(verb: str, size: int) -> None:
        getattr(current(), verb)("x" * size)

    async with Harness(small) as jobs:
        await small.enqueue_many([write.bind("chunk", 98), write.bind("checkpoint", 98)])
        assert [job.state for job in await jobs.drain()] == [State.SUCCEEDED] * 2
        for verb in ("chunk", "checkpoint"):
            await write.enqueue(verb, 99)
            with pytest.raises(PayloadTooLarge, match=rf"the {verb} takes 101 bytes, over the limit max_payload = 100"):
                await jobs.drain()


async def test_a_job_nobody_knows_is_parked(jobs: Harness) -> None:
    @app.task(name="kit.gone")
    async def gone() -> None: ...

    job = await gone.enqueue()
    del app.definitions["kit.gone"]
    await jobs.drain()
    assert (await job.info()).state is State.PARKED


# --- what was enqueued


async def test_what_was_enqueued_is_told_with_decoded_arguments_and_options(jobs: Harness) -> None:
    await resize.options(delay="10m", key="thumb:1", priority=9, meta={"who": "ann"}, timeout="5s").enqueue(
        Path("a.png"), 80
    )
    await send.enqueue("ann")
    (one,) = jobs.enqueued(resize)
    assert one.arguments == {"path": Path("a.png"), "width": 80}
    assert (one.queue, one.delay, one.key, one.priority) == ("slow", 600.0, "thumb:1", 9)
    assert (one.meta, one.timeout) == ({"who": "ann"}, 5.0)
    assert [call.task for call in jobs.enqueued()] == [resize.name, send.name]
    assert [call.arguments["to"] for call in jobs.enqueued(send.name)] == ["ann"]


async def test_a_key_that_was_taken_enqueues_nothing(jobs: Harness) -> None:
    for _ in range(2):
        await send.options(key="once").enqueue("ann")
    assert len(jobs.enqueued()) == 1


async def test_it_stays_told_after_it_ran(jobs: Harness) -> None:
    await send.enqueue("ann")
    await jobs.drain()
    assert jobs.assert_enqueued(send, to="ann").arguments == {"to": "ann"}


async def test_asserting_answers_the_job_and_explains_a_miss(jobs: Harness) -> None:
    with pytest.raises(AssertionError, match=r"send with to='bob' was not enqueued. Nothing was enqueued\."):
        jobs.assert_enqueued(send, to="bob")
    await send.options(delay=5).enqueue("ann", subject="hi")
    assert jobs.assert_enqueued(send, to="ann").delay == 5
    with pytest.raises(AssertionError) as caught:
        jobs.assert_enqueued(send, to="bob")
    assert str(caught.value).splitlines() == [
        f"{send.name} with to='bob' was not enqueued. Enqueued:",
        f"  {send.name}(to='ann', subject='hi')  [delay=5.0]",
    ]


async def test_an_argument_left_out_matches_no_value(jobs: Harness) -> None:
    await send.enqueue("ann")
    with pytest.raises(AssertionError):
        jobs.assert_enqueued(send, nonsense=None)


async def test_refuting_explains_what_was_there(jobs: Harness) -> None:
    jobs.refute_enqueued(send)
    await send.enqueue("ann")
    jobs.refute_enqueued(send, to="bob")
    jobs.refute_enqueued(resize)
    with pytest.raises(AssertionError, match=r"send was enqueued after all"):
        jobs.refute_enqueued(send)
    with pytest.raises(AssertionError, match=r"to='ann'"):
        jobs.refute_enqueued(send, to="ann")


# --- inline


async def test_inline_runs_at_once_what_is_ready() -> None:
    async with Harness(app, inline=True) as jobs:
        job = await send.enqueue("ann")
        assert (log, (await job.info()).state) == (["ann"], State.SUCCEEDED)
        await send.options(delay="1m").enqueue("later")
        await fan_out.enqueue(2)
        assert log == ["ann", "0", "1"]
        jobs.travel("1m")
        await jobs.drain()
        assert log[-1] == "later"


async def test_inline_raises_the_tasks_error_where_it_was_enqueued() -> None:
    async with Harness(app, inline=True):
        with pytest.raises(OSError, match="attempt 1"):
            await flaky.enqueue()


# --- sync tests, and threads


def test_a_sync_test_needs_no_loop(windlass_harness: Callable[..., Harness]) -> None:
    jobs = windlass_harness(app)
    job = send.delay("ann")
    jobs.assert_enqueued(send, to="ann")
    assert [one.state for one in jobs.drain_blocking()] == [State.SUCCEEDED]
    assert job.get(timeout=5) == "hello, ann"


def test_a_sync_test_may_be_inline() -> None:
    with Harness(app, inline=True):
        assert resize.delay(Path("a.png"), 80).get(timeout=5) == 80


async def test_jobs_enqueued_by_the_sync_twin_are_drained_by_this_loop(jobs: Harness) -> None:
    await asyncio.to_thread(send.delay, "ann")
    send.delay("bob")
    await jobs.drain()
    assert log == ["ann", "bob"]


@pytest.fixture
def after(windlass_harness: Callable[..., Harness]) -> Harness:
    return windlass_harness(app, inline=True)


async def test_the_fixture_serves_async_tests_and_other_fixtures(after: Harness) -> None:
    await send.enqueue("ann")
    assert log == ["ann"]


def test_the_plugin_imports_nothing_of_the_package() -> None:
    """pytest loads it in every run, whether a test uses it or not."""
    (plugin,) = entry_points(group="pytest11", name="windlass")
    code = f"import sys, {plugin.value}; print([name for name in sys.modules if name.partition('.')[0] == 'windlass'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
