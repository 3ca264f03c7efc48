"""The typed front door: what enqueue, delay, bind and options store."""

from __future__ import annotations

import asyncio
import inspect
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from by_hand import take
from windlass import ConfigurationError, Context, Depends, InvalidArguments, Job, Retry, State, Windlass
from windlass.core.payload import unpack
from windlass.errors import PayloadTooLarge


@pytest.fixture
def app() -> Windlass:
    return Windlass("memory://", max_payload=1000)


def add(a: int, b: int = 2, ctx: Context = Depends()) -> int:
    """Adds."""
    return a + b


async def stored(app: Windlass) -> list[Job]:
    """Every job, the oldest first."""
    return sorted((await (await app.broker()).find(limit=1000)).jobs, key=lambda job: job.id)


def arguments(job: Job) -> bytes:
    return bytes(unpack(job.body).args)


def seconds_from_now(moment: datetime | None) -> float:
    assert moment is not None
    return (moment - datetime.now(UTC)).total_seconds()


# --- here and now -------------------------------------------------------------------------------------------


async def test_a_task_stays_the_function_it_was(app: Windlass) -> None:
    task = app.task(add)
    assert task(1, b=3) == 4
    assert (task.__name__, task.__doc__, task.__module__) == ("add", "Adds.", "test_task")
    assert inspect.signature(task) == inspect.signature(add)
    assert await stored(app) == []


async def test_calling_an_async_task_gives_its_coroutine(app: Windlass) -> None:
    @app.task
    async def double(x: int) -> int:
        return 2 * x

    assert await double(2) == 4


# --- storing ------------------------------------------------------------------------------------------------


async def test_enqueue_stores_a_job_and_gives_its_handle(app: Windlass) -> None:
    handle = await app.task(add).enqueue(1)
    (job,) = await stored(app)
    assert UUID(handle.id).version == 7
    assert (handle.id, handle.fresh) == (job.id, True)
    assert (job.task, job.queue, job.lane, job.state, job.priority) == (
        "test_task.add",
        "default",
        "thread",
        State.READY,
        5,
    )
    assert arguments(job) == b'{"a":1}'


async def test_delay_stores_the_same_from_an_async_function(app: Windlass) -> None:
    handle = app.task(add).delay("1", b=5)
    (job,) = await stored(app)
    assert handle.id == job.id
    assert arguments(job) == b'{"a":1,"b":5}'


async def test_delay_works_in_threads(app: Windlass) -> None:
    task = app.task(add)
    handles = await asyncio.gather(*(asyncio.to_thread(task.delay, number) for number in range(20)))
    assert {job.id for job in await stored(app)} == {handle.id for handle in handles}


def test_delay_works_where_no_loop_runs(app: Windlass) -> None:
    handle = app.task(add).delay(1)
    assert asyncio.run(stored(app))[0].id == handle.id


@pytest.mark.parametrize("args", [(), ("one",), (1, 2, 3), (object(),)])
async def test_arguments_that_do_not_fit_are_refused_and_nothing_is_stored(
    app: Windlass, args: tuple[Any, ...]
) -> None:
    task: Any = app.task(add)
    with pytest.raises(InvalidArguments):
        await task.enqueue(*args)
    with pytest.raises(InvalidArguments):
        task.delay(*args)
    with pytest.raises(InvalidArguments):
        task.bind(*args)
    assert await stored(app) == []


async def test_too_large_arguments_are_refused_with_the_limit_of_the_app(app: Windlass) -> None:
    @app.task
    def keep(text: str) -> None: ...

    with pytest.raises(PayloadTooLarge, match="max_payload = 1,000"):
        await keep.enqueue("x" * 1000)
    assert await stored(app) == []


# --- many ---------------------------------------------------------------------------------------------------


async def test_many_calls_are_stored_in_the_order_given(app: Windlass) -> None:
    task = app.task(add)
    handles = await app.enqueue_many(task.bind(number) for number in range(50))
    jobs = await (await app.broker()).get([handle.id for handle in handles])
    assert [arguments(job) for job in jobs if job] == [b'{"a":%d}' % number for number in range(50)]
    assert [claim.id for claim in await take(app, 50)] == [handle.id for handle in handles]


async def test_no_calls_are_no_work(app: Windlass) -> None:
    assert await app.enqueue_many([]) == []


async def test_one_bad_call_of_many_stores_none(app: Windlass) -> None:
    task: Any = app.task(add)
    with pytest.raises(InvalidArguments):
        await app.enqueue_many(task.bind(argument) for argument in (1, 2, "three"))
    assert await stored(app) == []


async def test_calls_of_another_app_are_refused_and_none_is_stored(app: Windlass) -> None:
    other = Windlass("memory://", name="office")
    mine, theirs = app.task(add), other.task(add)
    with pytest.raises(
        ConfigurationError,
        match=r"^<Call test_task.add .*> belongs to <Windlass 'office': 1 tasks>, not to <Windlass 'windlass': 1 tasks>",
    ):
        await app.enqueue_many([mine.bind(1), theirs.bind(2)])
    assert await stored(app) == await stored(other) == []


async def test_enqueueing_the_same_calls_again_after_a_lost_answer_does_not_double_them(app: Windlass) -> None:
    calls = [app.task(add).bind(number) for number in range(3)]
    first = await app.enqueue_many(calls)
    second = await app.enqueue_many(calls)
    assert second == first
    assert [handle.fresh for handle in first + second] == [True] * 3 + [False] * 3
    assert len(await stored(app)) == 3


# --- options ------------------------------------------------------------------------------------------------


async def test_options_of_the_decorator_hold_for_every_job(app: Windlass) -> None:
    task = app.task(
        queue="video", priority=9, expires="1m", keep="1h", meta={"team": "media"}, crash_limit=1, timeout="5m"
    )(add)
    new = task.bind(1).job
    assert (new.queue, new.priority, new.expires, new.keep, new.keep_failed, new.crash_limit) == (
        "video",
        9,
        60,
        3600,
        3600,
        1,
    )
    envelope = unpack(new.body)
    assert envelope.meta == {"team": "media"}
    assert envelope.timeout is None, "the worker's own version of the task says its limit"


async def test_options_of_a_call_win_and_leave_the_task_as_it_was(app: Windlass) -> None:
    task = app.task(queue="video", priority=9, meta={"team": "media", "a": "b"})(add)
    other = task.options(
        queue="fast",
        priority=0,
        expires=5,
        keep="2h",
        meta={"a": "c"},
        timeout=timedelta(minutes=1),
        retry=Retry(attempts=9),
    )
    new = other.bind(1).job
    assert (new.queue, new.priority, new.expires, new.keep, new.keep_failed) == ("fast", 0, 5, 7200, 7200)
    envelope = unpack(new.body)
    assert (envelope.timeout, envelope.meta) == (60, {"team": "media", "a": "c"})
    assert envelope.retry is not None
    assert envelope.retry["attempts"] == 9
    assert (task.bind(1).job.queue, task.bind(1).job.priority) == ("video", 9)


async def test_options_of_options_add_up(app: Windlass) -> None:
    new = app.task(add).options(queue="a", priority=1).options(priority=2, key="k").bind(1).job
    assert (new.queue, new.priority, new.key) == ("a", 2, "k")


async def test_without_options_the_settings_say_how_long_jobs_are_kept() -> None:
    new = Windlass("memory://", keep="1h", keep_failed="2h").task(add).bind(1).job
    assert (new.keep, new.keep_failed) == (3600, 7200)


async def test_a_delayed_job_is_scheduled(app: Windlass) -> None:
    task = app.task(add)
    delayed = await (await task.options(delay="10m").enqueue(1)).info()
    timed = await (await task.options(at=datetime.now(UTC) + timedelta(hours=1)).enqueue(1)).info()
    assert delayed.state is timed.state is State.SCHEDULED
    assert 590 < seconds_from_now(delayed.run_at) <= 600
    assert 3590 < seconds_from_now(timed.run_at) <= 3600


async def test_a_time_in_the_past_is_now(app: Windlass) -> None:
    await app.task(add).options(at=datetime(2020, 1, 1, tzinfo=UTC)).enqueue(1)
    assert (await stored(app))[0].state is State.READY


async def test_a_key_admits_one_unfinished_job(app: Windlass) -> None:
    task = app.task(add).options(key="video:42")
    first, second = await task.enqueue(1), task.delay(2)
    assert (first.fresh, second.fresh) == (True, False)
    assert first == second
    assert [arguments(job) for job in await stored(app)] == [b'{"a":1}']


async def test_tasks_calls_and_handles_say_what_they_are(app: Windlass) -> None:
    task = app.task(add)
    call = task.bind(1)
    handle = await task.enqueue(1)
    assert repr(task) == "<Task test_task.add>"
    assert repr(call) == f"<Call test_task.add {call.job.id}>"
    assert repr(handle) == f"<Handle {handle.id}>"
    assert {handle, app.job(handle.id)} == {handle}
    assert threading.current_thread().name not in repr(app)
