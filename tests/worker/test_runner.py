"""The embedded worker: a job's whole way, lanes loop and thread, starting and stopping."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from windlass import (
    Cancel,
    Context,
    Depends,
    Fail,
    JobCancelled,
    JobFailed,
    Retry,
    RetryAfter,
    Snooze,
    Windlass,
    current,
)
from windlass.broker.memory import MemoryBroker
from windlass.core.job import Card, Claim, Entry, NewJob
from windlass.core.outcome import Parked
from windlass.core.state import State
from windlass.errors import JobInterrupted
from windlass.events import JobEnded, JobStarted, WorkerChanged
from windlass.worker import runner as runner_module
from windlass.worker.run import Run
from windlass.worker.runner import work, working

ONCE = Retry(attempts=1)


async def test_async_and_sync_tasks_run_and_answer(app: Windlass) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    @app.task
    def where(n: int) -> tuple[int, str]:
        return n, threading.current_thread().name

    async with working(app):
        assert await (await double.enqueue(21)).result(timeout=5) == 42
        n, name = await (await where.enqueue(3)).result(timeout=5)
        assert n == 3
        assert "windlass-thread" in name


async def test_burst_ends_when_nothing_is_left(app: Windlass) -> None:
    done: list[int] = []

    @app.task
    async def note(n: int) -> None:
        done.append(n)

    await app.enqueue_many([note.bind(n) for n in range(500)])
    await asyncio.wait_for(work(app, burst=True), 20)
    assert sorted(done) == list(range(500))


async def test_many_threads_at_once_and_none_is_forgotten(app: Windlass) -> None:
    @app.task
    def same(n: int) -> int:
        return n

    jobs = await app.enqueue_many([same.bind(n) for n in range(300)])
    await asyncio.wait_for(work(app, burst=True), 20)
    assert [await job.result(timeout=1) for job in jobs] == list(range(300))


async def test_an_error_is_stored_with_the_users_frames_only(app: Windlass) -> None:
    @app.task(retry=ONCE)
    async def broken() -> None:
        raise ValueError("no good")

    async with working(app):
        with pytest.raises(JobFailed) as caught:
            await (await broken.enqueue()).result(timeout=5)
    error = caught.value.error
    assert error is not None
    assert (error.type, error.message) == ("ValueError", "no good")
    assert "in broken" in error.traceback
    assert os.path.join("windlass", "worker") not in error.traceback


class Evil(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


async def test_evil_errors_do_not_harm_the_worker(app: Windlass) -> None:
    @app.task(retry=ONCE)
    async def evil() -> None:
        error = Evil()
        error.__cause__ = Evil()
        error.__cause__.__cause__ = error
        raise error

    @app.task(retry=ONCE)
    async def leaving() -> None:
        raise SystemExit(3)

    @app.task(retry=ONCE)
    def surrogate() -> None:
        raise ValueError("\ud800" * 100_000)

    @app.task
    async def fine() -> str:
        return "fine"

    async with working(app):
        for task in (evil, leaving, surrogate):
            with pytest.raises(JobFailed):
                await (await task.enqueue()).result(timeout=5)
        assert await (await fine.enqueue()).result(timeout=5) == "fine"


async def test_signals_of_the_task_are_followed(app: Windlass) -> None:
    runs: list[int] = []

    @app.task
    async def snoozing() -> int:
        runs.append(current().attempt)
        if len(runs) < 3:
            raise Snooze("10ms")
        return len(runs)

    @app.task
    def failing() -> None:
        raise Fail("enough")

    @app.task
    async def cancelling() -> None:
        raise Cancel("never mind")

    @app.task
    async def again() -> int:
        if current().attempt == 1:
            raise RetryAfter(0.01)
        return current().attempt

    async with working(app):
        assert await (await snoozing.enqueue()).result(timeout=5) == 3
        assert runs == [1, 1, 1]
        assert await (await again.enqueue()).result(timeout=5) == 2
        with pytest.raises(JobFailed, match="enough"):
            await (await failing.enqueue()).result(timeout=5)
        with pytest.raises(JobCancelled, match="never mind"):
            await (await cancelling.enqueue()).result(timeout=5)


async def test_a_result_that_cannot_be_stored_fails_once(app: Windlass) -> None:
    runs: list[int] = []

    @app.task
    async def lying() -> int:
        runs.append(1)
        return "not a number"  # type: ignore[return-value]  # that is the point

    @app.task
    def opaque() -> Any:
        return object()

    async with working(app):
        for task in (lying, opaque):
            with pytest.raises(JobFailed) as caught:
                await (await task.enqueue()).result(timeout=5)
            assert caught.value.error is not None
            assert caught.value.error.kind == "result"
    assert runs == [1]


async def test_dependencies_and_middleware_around_both_lanes(app: Windlass) -> None:
    trace: list[str] = []

    async def session() -> AsyncGenerator[str]:
        trace.append("open")
        try:
            yield "session"
        except ValueError:
            trace.append("saw the error")  # and swallows it
        finally:
            trace.append("close")

    made: list[int] = []

    def model() -> int:
        made.append(1)
        return 7

    @app.middleware
    async def around(ctx: Context, call_next: Callable[[], Any]) -> Any:
        trace.append(f"before {ctx.task.rpartition('.')[2]}")
        return await call_next()

    @app.task
    async def in_loop(s: str = Depends(session), m: int = Depends(model, scope="worker")) -> str:
        return f"{s} {m}"

    @app.task
    def in_thread(n: int, s: str = Depends(session), m: int = Depends(model, scope="worker")) -> str:
        return f"{s} {m} {n} {current().attempt}"

    @app.task(retry=ONCE)
    def failing(s: str = Depends(session)) -> None:
        raise ValueError(s)

    async with working(app):
        assert await (await in_loop.enqueue()).result(timeout=5) == "session 7"
        assert await (await in_thread.enqueue(1)).result(timeout=5) == "session 7 1 1"
        with pytest.raises(JobFailed, match="session"):
            await (await failing.enqueue()).result(timeout=5)
    assert made == [1]
    assert trace.count("open") == trace.count("close") == 3
    assert "saw the error" in trace
    assert "before in_thread" in trace


async def test_a_dependency_that_raises_fails_the_job_with_its_name(app: Windlass) -> None:
    def database() -> None:
        raise OSError("refused")

    @app.task(retry=ONCE)
    async def needy(db: None = Depends(database)) -> None: ...

    async with working(app):
        with pytest.raises(JobFailed, match=r"database.*refused"):
            await (await needy.enqueue()).result(timeout=5)


async def test_what_nobody_knows_is_parked_and_revived_by_a_worker_that_does(
    make_app: Callable[..., Windlass], until: Any
) -> None:
    app = make_app()
    broker = await app.broker()
    for lane in ("loop", "thread", "process"):
        await broker.enqueue(
            [
                NewJob(
                    id=f"00000000-0000-7000-8000-00000000000{len(lane)}",
                    task="later.task",
                    lane=lane,
                    body=b'{"args":{},"v":1}',
                )
            ]
        )
    bad = NewJob(id="00000000-0000-7000-8000-000000000001", task="later.task", body=b"what?")
    await broker.enqueue([bad])

    async def parked() -> list[Any]:
        return (await broker.find(states=[State.PARKED])).jobs

    async with working(app):

        @app.task
        async def known(n: int) -> None: ...

        jobs = await until(lambda: _when(parked, 4))
        assert "later.task" in jobs[0].reason

    @app.task(name="later.task")
    async def later() -> str:
        return "now"

    async with working(app):
        assert await app.job("00000000-0000-7000-8000-000000000004").result(timeout=5) == "now"
        await until(lambda: _when(parked, 1))


async def test_what_an_older_worker_parks_is_revived_while_both_run(
    make_app: Callable[..., Windlass], until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "REVIVE", 0.05)
    old = make_app()
    new = Windlass(old.url, beat=0.05, lease=2)

    @old.task
    async def known() -> None: ...

    @new.task(name="later.task")
    async def later(n: int) -> int:
        return n

    async with working(new), working(old):
        jobs: list[Any] = []
        refused: list[Any] = []
        old.events.subscribe(refused.append, JobEnded)
        while not refused:  # until the old one has got hold of one
            jobs.append(await later.enqueue(len(jobs)))
            await asyncio.sleep(0.01)
        assert isinstance(refused[0].outcome, Parked)
        assert [await job.result(timeout=20) for job in jobs] == list(range(len(jobs)))


async def _when(listing: Callable[[], Any], length: int) -> Any:
    found = await listing()
    return found if len(found) == length else None


async def test_unfit_arguments_are_parked(app: Windlass, until: Any) -> None:
    @app.task
    async def strict(n: int) -> None: ...

    broker = await app.broker()
    await broker.enqueue(
        [NewJob(id="00000000-0000-7000-8000-000000000009", task=strict.name, body=b'{"args":{"n":"x"},"v":1}')]
    )
    async with working(app):
        job = await until(lambda: _parked(app, "00000000-0000-7000-8000-000000000009"))
    assert "n:" in job.reason


async def _parked(app: Windlass, job_id: str) -> Any:
    job = await app.job(job_id).info()
    return job if job.state is State.PARKED else None


async def test_cancel_reaches_a_running_job_in_loop_and_thread(app: Windlass, until: Any) -> None:
    cleaned: list[str] = []

    @app.task
    async def in_loop() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append("loop")

    @app.task
    def in_thread() -> None:
        try:
            while True:
                time.sleep(0.01)
        except JobInterrupted:
            assert current().cancelled
            cleaned.append("thread")
            raise

    async with working(app) as runner:
        jobs = [await in_loop.enqueue(), await in_thread.enqueue()]
        await until(lambda: len(runner.executor.runs) == 2)
        for job in jobs:
            await job.cancel()
            with pytest.raises(JobCancelled):
                await job.result(timeout=5)
    assert sorted(cleaned) == ["loop", "thread"]


async def test_a_run_that_swallows_its_interruption_and_returns_has_succeeded(app: Windlass, until: Any) -> None:
    @app.task
    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "saved"
        return ""

    async with working(app) as runner:
        job = await stubborn.enqueue()
        await until(lambda: runner.executor.runs)
        await job.cancel()
        assert await job.result(timeout=5) == "saved"


async def test_limits_in_loop_and_thread(app: Windlass) -> None:
    @app.task(timeout=0.1, retry=ONCE)
    async def in_loop() -> None:
        await asyncio.sleep(60)

    @app.task(timeout=0.1, retry=ONCE)
    def in_thread() -> None:
        while True:
            time.sleep(0.01)

    @app.task(timeout=60)
    async def in_time() -> str:
        return "in time"

    async with working(app):
        for task in (in_loop, in_thread):
            with pytest.raises(JobFailed) as caught:
                await (await task.enqueue()).result(timeout=5)
            assert caught.value.error is not None
            assert caught.value.error.kind == "timeout"
        assert await (await in_time.enqueue()).result(timeout=5) == "in time"


async def test_what_cannot_be_stopped_is_given_up_and_counted(app: Windlass) -> None:
    release = threading.Event()
    events: list[str] = []
    app.events.subscribe(lambda event: events.append(event.what) if isinstance(event, WorkerChanged) else None)

    @app.task(timeout=0.05, retry=ONCE)
    def in_thread() -> None:
        release.wait(20)

    @app.task(timeout=0.05, retry=ONCE)
    async def in_loop() -> None:
        while not release.is_set():
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                pass

    @app.task
    def after() -> str:
        return "still here"

    async with working(app) as runner:
        for task in (in_thread, in_loop):
            with pytest.raises(JobFailed, match="could not be stopped"):
                await (await task.enqueue()).result(timeout=5)
        assert runner.executor.abandoned == 2
        assert [lane.busy for lane in runner.executor.lanes.values()] == [0, 0, 0]
        assert await (await after.enqueue()).result(timeout=5) == "still here"
        release.set()
    assert sum("abandoned" in what for what in events) == 2


async def test_a_stop_lets_short_jobs_finish_and_hands_long_ones_back(
    make_app: Callable[..., Windlass], until: Any
) -> None:
    app = make_app(shutdown_timeout=0.3)
    told: list[bool] = []

    @app.task
    async def short() -> str:
        while not current().shutting_down:  # noqa: ASYNC110 # as a job would
            await asyncio.sleep(0.01)
        return "finished"

    @app.task
    async def long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            told.append(current().shutting_down)

    @app.task
    def long_thread() -> None:
        while True:
            time.sleep(0.01)

    async with working(app) as runner:
        jobs = [await short.enqueue(), await long.enqueue(), await long_thread.enqueue()]
        await until(lambda: len(runner.executor.runs) == 3)
    assert await jobs[0].result(timeout=1) == "finished"
    for job in jobs[1:]:
        info = await job.info()
        assert (info.state, info.attempt, info.crashes) == (State.READY, 0, 0)
    assert told == [True]
    assert await (await app.broker()).workers() == []


async def test_hurry_hands_everything_back_at_once(make_app: Callable[..., Windlass], until: Any) -> None:
    app = make_app(shutdown_timeout=600)

    @app.task
    async def long() -> None:
        await asyncio.sleep(600)

    async with working(app) as runner:
        job = await long.enqueue()
        await until(lambda: runner.executor.runs)
        runner.hurry.set()
    assert (await job.info()).state is State.READY


async def test_journal_of_a_run(app: Windlass) -> None:
    @app.task
    def speaking(ctx: Context = Depends()) -> Any:
        if ctx.last_checkpoint is not None:
            return ctx.last_checkpoint
        print("printed")
        logging.getLogger("speaker").warning("logged %d", 7)
        ctx.chunk({"n": 1})
        ctx.progress(1, 2)
        ctx.checkpoint({"at": 5})
        print("no end", end="")
        raise Snooze(0)

    async with working(app):
        job = await speaking.enqueue()
        assert await job.result(timeout=5) == {"at": 5}
        reading = await (await app.broker()).read(job.id)
    assert reading is not None
    kinds = [entry.kind for entry in reading.entries]
    assert kinds.count("progress") == kinds.count("checkpoint") == kinds.count("chunk") == 1
    logged = b" ".join(entry.data for entry in reading.entries if entry.kind == "log")
    for text in (b"printed", b"logged 7", b"no end"):
        assert logged.count(text) == 1


async def test_a_flood_of_lines_is_bounded_and_counted(make_app: Callable[..., Windlass]) -> None:
    app = make_app(log_lines=10)

    @app.task
    def flooding() -> None:
        for number in range(1000):
            print(number)

    async with working(app):
        job = await flooding.enqueue()
        await job.result(timeout=5)
        reading = await (await app.broker()).read(job.id)
    assert reading is not None
    assert len(reading.entries) == 11
    assert b"990 more" in reading.entries[-1].data


async def test_printing_outside_of_jobs_is_left_alone(app: Windlass, capsys: pytest.CaptureFixture[str]) -> None:
    @app.task
    async def quiet() -> None:
        print("inside")

    async with working(app):
        job = await quiet.enqueue()
        await job.result(timeout=5)
        print("outside")
        reading = await (await app.broker()).read(job.id)
    print("after")
    assert reading is not None
    assert [b"inside" in entry.data for entry in reading.entries] == [True]
    assert capsys.readouterr().out.split() == ["inside", "outside", "after"]


async def test_events_of_a_job_are_told_to_subscribers(app: Windlass) -> None:
    seen: list[Any] = []
    app.events.subscribe(lambda event: seen.append(event) if isinstance(event, JobStarted | JobEnded) else None)

    @app.task
    async def plain() -> None: ...

    async with working(app):
        await (await plain.enqueue()).result(timeout=5)
    assert [type(event) for event in seen] == [JobStarted, JobEnded]


async def test_a_worker_that_the_store_buried_starts_afresh(app: Windlass, until: Any) -> None:
    started: list[str] = []

    @app.task(crash_limit=5)
    async def work_on() -> int:
        started.append("")
        if len(started) == 1:
            await asyncio.sleep(60)
        return current().crashes

    async with working(app) as runner:
        job = await work_on.enqueue()
        await until(lambda: started)
        before = (await runner.identities.current()).worker
        broker = await app.broker()
        future = time.time() + 60
        await broker.reclaim(now=future)  # as seen by a store for which our beats never came
        assert await job.result(timeout=10) == 1
        assert (await runner.identities.current()).worker != before


async def test_a_start_that_fails_leaves_nothing_behind(make_app: Callable[..., Windlass]) -> None:
    app = make_app()

    @app.task(lane="process")
    def local() -> None: ...

    with pytest.raises(Exception, match="global of a module"):
        async with working(app):
            pass
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("windlass-heart")]


async def test_a_resumed_run_holds_its_slot_while_its_checkpoint_is_read(
    make_app: Callable[..., Windlass], until: Any
) -> None:
    app = make_app(threads=1)

    @app.task
    def again() -> int:
        if (context := current()).last_checkpoint is None:
            context.checkpoint("seen")
            raise Snooze(0)
        return context.attempt

    async with working(app) as runner:
        executor, gate = runner.executor, asyncio.Event()
        read = executor._load_journal

        async def slow(run: Run) -> Sequence[Entry]:
            await gate.wait()
            return await read(run)

        executor._load_journal = slow
        job = await again.enqueue()
        await until(lambda: any(run.claim.resumed for run in executor.runs))
        assert executor.lanes["thread"].busy == 1
        gate.set()
        assert await job.result(10) == 1
        assert executor.lanes["thread"].busy == 0


async def test_an_older_run_of_a_job_that_is_claimed_anew_is_ended(app: Windlass, until: Any) -> None:
    """Taken from us under one id, claimed by us under the next, before any beat has said so."""
    ran = list[str]()

    @app.task
    async def slow(context: Context = Depends()) -> int:
        try:
            ran.append("began")
            await asyncio.sleep(0 if ran.count("began") > 1 else 600)
        except asyncio.CancelledError:
            ran.append("interrupted")
            raise
        return ran.count("began")

    app.settings = replace(app.settings, lease=3600, beat=1200)
    job, broker = await slow.enqueue(), await app.broker()
    async with working(app) as runner:
        await until(lambda: ran)
        (run,) = runner.executor.runs
        await broker.beat(run.identity.worker, Card(host="here", pid=1), 0.0)
        assert [one.id for one in await broker.reclaim(workers=[run.identity.worker])] == [job.id]
        runner.identities.doubt(run.identity)
        assert await job.result(10) == 2
        await until(lambda: not runner.executor.runs)
    assert sorted(ran) == ["began", "began", "interrupted"]


async def test_a_run_that_is_over_is_not_left_to_the_garbage_collector(app: Windlass, until: Any) -> None:
    @app.task
    async def plain() -> None: ...

    @app.task(timeout=60)
    async def telling() -> None:
        current().log("here")
        await asyncio.sleep(0)

    @app.task
    async def injected(ctx: Context = Depends()) -> None: ...

    @app.task
    def in_thread() -> None:
        current().log("there")

    @app.task(retry=ONCE)
    async def failing() -> None:
        raise ValueError(current().attempt)

    def all_runs() -> list[Any]:
        return [one for one in gc.get_objects() if isinstance(one, Run | Context)]

    def left() -> list[Any]:
        return [one for one in all_runs() if not any(one is old for old in of_other_tests)]

    async with working(app):
        gc.collect()
        of_other_tests = all_runs()
        gc.disable()
        try:
            tasks = (plain, telling, injected, in_thread, failing)
            jobs = await app.enqueue_many([task.bind() for task in tasks for _ in range(20)])
            for job in jobs:
                await until(lambda job=job: _over(job))
            await until(lambda: not left(), timeout=3)
        finally:
            gc.enable()


async def _over(job: Any) -> bool:
    return bool((await job.info()).state.finished)


async def test_a_job_that_asks_late_sees_what_it_was_told(app: Windlass, until: Any) -> None:
    release = threading.Event()
    seen: list[tuple[bool, bool]] = []

    @app.task
    def late() -> None:
        release.wait(10)
        seen.append((current().shutting_down, current().cancelled))

    async with working(app) as runner:
        await late.enqueue()
        await until(lambda: runner.executor.runs)
        stopping = asyncio.create_task(runner.stop())
        await asyncio.sleep(0.05)
        release.set()
        await stopping
    assert seen == [(True, False)]


async def test_all_threads_of_a_job_see_the_same_context(app: Windlass) -> None:
    seen: list[Context] = []

    @app.task
    async def spread() -> None:
        together = threading.Barrier(4)

        def look() -> None:
            together.wait(5)
            seen.append(current())

        await asyncio.gather(*(asyncio.to_thread(look) for _ in range(4)))

    async with working(app):
        for _ in range(20):
            await (await spread.enqueue()).result(timeout=5)
            assert len({id(one) for one in seen}) == 1
            seen.clear()


async def test_new_work_is_fetched_before_what_is_done_is_stored(app: Windlass) -> None:
    """The store then settles while the new work runs, instead of keeping the worker waiting."""
    said: list[str] = []

    class Noting(MemoryBroker):
        async def claim(self, *args: Any, **kwargs: Any) -> list[Claim]:
            said.append("claim")
            return await super().claim(*args, **kwargs)

        async def settle(self, *args: Any, **kwargs: Any) -> Any:
            said.append("settle")
            return await super().settle(*args, **kwargs)

    @app.task
    async def quick() -> None: ...

    broker = Noting()
    app.settings = replace(app.settings, concurrency=10)
    with app.store_replaced(broker):
        broker.sibling = lambda: broker  # type: ignore[method-assign]  # every part of the worker uses this one
        await app.enqueue_many([quick.bind() for _ in range(30)])
        await asyncio.wait_for(work(app, burst=True), 10)
        await app.close()
    assert [verb for verb in said if verb == "settle"] == ["settle"] * 3
    assert said[: said.index("settle")] == ["claim", "claim"]
