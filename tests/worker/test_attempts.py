"""What the journal tells of runs that did not succeed: each once, before its outcome is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from faulty import FaultyProgram

from windlass import Cancel, Context, Depends, Fail, Handle, Retry, Snooze, Windlass
from windlass.core.job import Entry, Tried
from windlass.core.state import State
from windlass.errors import JobCancelled, JobFailed
from windlass.worker import journal
from windlass.worker.runner import working

AT_ONCE = Retry(attempts=3, first=0)


async def attempts(app: Windlass, job: Handle[Any]) -> list[tuple[Entry, Tried]]:
    reading = await (await app.broker()).read(job.id)
    assert reading is not None
    entries = [entry for entry in reading.entries if entry.kind == "attempt"]
    return [(entry, msgspec.json.decode(entry.data, type=Tried)) for entry in entries]


async def outcomes(app: Windlass, job: Handle[Any]) -> list[tuple[int, str]]:
    return [(entry.attempt, tried.outcome) for entry, tried in await attempts(app, job)]


async def end_of(job: Handle[Any]) -> None:
    with suppress(JobCancelled, JobFailed):
        await job.result(timeout=10)


async def test_each_failure_is_told_with_its_error_worker_and_times(app: Windlass) -> None:
    @app.task(retry=AT_ONCE)
    def unlucky(ctx: Context = Depends()) -> int:
        if ctx.attempt < 3:
            raise ValueError(f"no {ctx.attempt}")
        return ctx.attempt

    async with working(app):
        job = await unlucky.enqueue()
        assert await job.result(timeout=5) == 3
    told, done = await attempts(app, job), await job.info()
    assert [(entry.attempt, tried.outcome) for entry, tried in told] == [(1, "retried"), (2, "retried")]
    for entry, tried in told:
        assert tried.error is not None
        assert (tried.error.type, tried.error.message) == ("ValueError", f"no {entry.attempt}")
        assert "raise ValueError" in tried.error.traceback
        assert tried.worker == done.worker
        assert done.created_at.timestamp() <= tried.started_at <= entry.at + 0.1


async def test_how_a_job_failed_stays_known_when_it_is_made_ready_again(app: Windlass) -> None:
    lucky = False

    @app.task(retry=Retry(attempts=1))
    def moody() -> None:
        if not lucky:
            raise KeyError("moody")

    async with working(app):
        job = await moody.enqueue()
        with pytest.raises(JobFailed):
            await job.result(timeout=5)
        lucky = True
        await (await app.broker()).revive([job.id])
        await job.result(timeout=5)
    assert await outcomes(app, job) == [(1, "failed")]


async def test_what_code_says_is_told_by_its_name(app: Windlass) -> None:
    @app.task(retry=AT_ONCE)
    def saying(what: str) -> None:
        raise {"fail": Fail("over"), "cancel": Cancel("no more")}[what]

    async with working(app):
        for what, name in {"fail": "failed", "cancel": "cancelled"}.items():
            job = await saying.enqueue(what)
            await end_of(job)
            assert await outcomes(app, job) == [(1, name)]


async def test_a_snooze_is_no_news(app: Windlass) -> None:
    @app.task
    def polling(ctx: Context = Depends()) -> None:
        if ctx.last_checkpoint is None:
            ctx.checkpoint(1)
            raise Snooze(0)

    async with working(app):
        job = await polling.enqueue()
        await job.result(timeout=5)
    assert await outcomes(app, job) == []


async def test_a_run_that_a_stop_interrupted_is_told_and_one_that_never_began_is_not(
    app: Windlass, until: Callable[..., Any]
) -> None:
    @app.task
    async def long() -> None:
        await asyncio.Event().wait()

    async with working(app) as runner:
        job = await long.enqueue()
        await until(lambda: [run for run in runner.executor.runs if run.started])
        runner.hurry.set()
    assert await outcomes(app, job) == [(1, "released")]
    await job.cancel()
    assert await outcomes(app, job) == [(1, "released")]


async def test_a_run_is_told_once_when_the_store_fails_in_between(app: Windlass) -> None:
    program = FaultyProgram(app)
    program.faults.before["append"] = 2
    program.faults.before["settle"] = 2

    @app.task(retry=Retry(attempts=1))
    def failing() -> None:
        raise ValueError("x")

    async with working(program):
        job = await failing.enqueue()
        await end_of(job)
    assert program.faults.raised == {"append": 2, "settle": 2}
    assert await outcomes(app, job) == [(1, "failed")]


async def test_what_is_tried_for_ever_does_not_fill_the_store(app: Windlass, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "ATTEMPTS", 2)

    @app.task(retry=Retry(attempts=5, first=0))
    def failing() -> None:
        raise ValueError("x")

    async with working(app):
        job = await failing.enqueue()
        await end_of(job)
    assert await outcomes(app, job) == [(1, "retried"), (2, "retried")]


async def test_who_follows_a_job_sees_its_states_only(app: Windlass) -> None:
    @app.task(retry=Retry(attempts=2, first=0))
    def failing() -> None:
        raise ValueError("x")

    async with working(app):
        job = await failing.enqueue()
        kinds = {event.kind async for event in job.events()}
    assert kinds == {"state", "end"}
    assert (await job.info()).state is State.FAILED
