"""Durable flows: what is remembered, what is waited for, and what happens when the code, or the worker, is another one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from windlass import (
    ConfigurationError,
    Context,
    Depends,
    Flow,
    Handle,
    InvalidArguments,
    JobFailed,
    Limit,
    Retry,
    State,
    StepFailed,
    Windlass,
    group,
)
from windlass.core.ids import derived
from windlass.errors import FlowInterrupted, TaskDefinitionError
from windlass.testing import Harness

app = Windlass("memory://", retry=Retry(attempts=1))
done: list[Any] = []
"""What the steps of a test did."""


@pytest.fixture(autouse=True)
def fresh() -> None:
    done.clear()


@pytest.fixture
async def jobs() -> Harness:
    return Harness(app)


def note(what: Any) -> Any:
    done.append(what)
    return what


async def fetch(what: Any) -> Any:
    return note(what)


def refuse(what: str) -> None:
    done.append(what)
    raise OSError(f"no {what}")


@app.task
async def add(x: int, y: int = 1) -> int:
    done.append((x, y))
    return x + y


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
async def bad() -> int:
    raise ValueError("no")


async def state(handle: Handle[Any]) -> State:
    return (await handle.info()).state


@app.flow
async def straight(n: int, flow: Flow = Depends()) -> int:
    first = await flow.step(note, n)
    second = await flow.run(add.bind(first))
    third = await flow.step(fetch, second)
    return await flow.run(add.bind(third, y=10))


async def test_steps_run_once_however_often_the_code_is_gone_through(jobs: Harness) -> None:
    async with jobs:
        handle = await straight.enqueue(1)
        runs = await jobs.drain()
        assert await handle == 12
        assert done == [1, (1, 1), 2, (2, 10)]
        assert [one.task.rpartition(".")[2] for one in runs] == ["straight", "add", "straight", "add", "straight"]
        assert (await handle.info()).attempt == 1


@app.flow
async def side_by_side(flow: Flow = Depends()) -> list[int]:
    return await flow.gather(
        flow.run(add.bind(1)),
        flow.step(note, 5),
        flow.run(group(add.bind(n) for n in range(3)).then(total)),
        flow.step(fetch, 7),
    )


async def test_steps_side_by_side_wake_the_flow_once(jobs: Harness) -> None:
    async with jobs:
        handle = await side_by_side.enqueue()
        runs = await jobs.drain()
        assert await handle == [2, 5, 6, 7]
        assert sum(one.task.endswith("side_by_side") for one in runs) == 2
        assert sorted(one for one in done if isinstance(one, int)) == [5, 7]


@app.flow
async def patient(flow: Flow = Depends()) -> list[Any]:
    begun = await flow.now()
    await flow.sleep("3d")
    ended = await flow.now()
    return [begun, ended, await flow.random(), await flow.random()]


async def test_sleep_and_remembered_time_and_chance(jobs: Harness) -> None:
    async with jobs:
        handle = await patient.enqueue()
        await jobs.drain()
        assert await state(handle) is State.SCHEDULED
        jobs.travel("2d")
        await jobs.drain()
        assert await state(handle) is State.SCHEDULED
        jobs.travel("25h")
        await jobs.drain()
        begun, ended, one, other = await handle
        assert (
            3 * 86_400 <= (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds() < 4 * 86_400
        )
        assert one != other


@app.flow
async def approval(flow: Flow = Depends()) -> Any:
    try:
        return await flow.event("approved", timeout="1h")
    except TimeoutError as late:
        await flow.step(note, str(late))
        return await flow.event("after all")


async def test_an_event_wakes_a_flow(jobs: Harness) -> None:
    async with jobs:
        handle = await approval.enqueue()
        await jobs.drain()
        assert await app.signal(handle.id, "approved", {"by": "me"})
        assert await app.signal(handle.id, "approved", {"by": "you"})
        assert await state(handle) is State.READY
        await jobs.drain()
        assert await handle == {"by": "me"}
        assert not await app.signal(handle.id, "approved")


async def test_an_event_that_comes_before_it_is_asked_for(jobs: Harness) -> None:
    async with jobs:
        handle = await approval.enqueue()
        await app.signal(handle.id, "approved", 1)
        await jobs.drain()
        assert await handle == 1


async def test_an_event_that_is_late_stays_late(jobs: Harness) -> None:
    """What the flow took for late is late in all its runs, whatever comes then."""
    async with jobs:
        handle = await approval.enqueue()
        await jobs.drain()
        jobs.travel("61m")
        await jobs.drain()
        assert await state(handle) is State.WAITING
        assert await app.signal(handle.id, "approved", 1)
        await jobs.drain()
        assert await state(handle) is State.WAITING
        await app.signal(handle.id, "after all", 2)
        await jobs.drain()
        assert await handle == 2
        assert done == ["event approved did not come within 3600 s"]


trouble: list[str] = []


@app.task
async def fragile() -> int:
    if trouble:
        raise ValueError(trouble[0])
    return 5


@app.flow
async def trusting(flow: Flow = Depends()) -> int:
    return await flow.run(fragile.bind()) + 1


async def test_who_retries_the_failed_job_and_then_the_flow(jobs: Harness) -> None:
    trouble.append("the disk is full")
    async with jobs:
        handle = await trusting.enqueue()
        await jobs.drain(raising=False)
        assert await state(handle) is State.FAILED
        trouble.clear()
        broker = await app.broker()
        await broker.revive([derived(handle.id, 1)])
        await jobs.drain()
        assert await state(handle) is State.FAILED
        await broker.revive([handle.id])
        await jobs.drain()
        assert await handle == 6


@app.flow
async def forgiving(flow: Flow = Depends()) -> list[str]:
    steps = flow.run(add.bind(1)), flow.run(bad.bind()), flow.step(refuse, "disk"), flow.event("never", timeout="1h")
    answers: list[Any] = await flow.gather(*steps, collect=True)
    said = [type(one).__name__ if isinstance(one, Exception) else str(one) for one in answers]
    await flow.sleep("1h")
    return said


async def test_errors_are_collected_and_remembered(jobs: Harness) -> None:
    async with jobs:
        handle = await forgiving.enqueue()
        await jobs.drain(raising=False)
        assert await state(handle) is State.SCHEDULED, "it waits for what may still come"
        for _ in range(2):
            jobs.travel("61m")
            await jobs.drain(raising=False)
        assert await handle == ["2", "JobFailed", "StepFailed", "TimeoutError"]
        assert sorted(map(str, done)) == ["(1, 1)", "disk"], "nothing was done twice"


@app.flow
async def careful(flow: Flow = Depends()) -> str:
    try:
        await flow.run(bad.bind())
    except JobFailed as error:
        await flow.step(note, str(error))
    try:
        await flow.step(refuse, "disk")
    except StepFailed as error:
        return await flow.step(fetch, error.error.message)
    return "never"


async def test_failures_are_remembered_too(jobs: Harness) -> None:
    async with jobs:
        handle = await careful.enqueue()
        await jobs.drain(raising=False)
        assert await handle == "no disk"
        assert done[1:] == ["disk", "no disk"]
        assert "ValueError: no" in done[0]


@app.flow(retry=Retry(attempts=3))
async def hopeless(flow: Flow = Depends()) -> int:
    return await flow.run(bad.bind())


async def test_a_job_that_failed_fails_its_flow_at_once(jobs: Harness) -> None:
    """Each further run would be told the same."""
    async with jobs:
        handle = await hopeless.enqueue()
        await jobs.drain(raising=False)
        job = await handle.info()
        assert (job.state, job.attempt, job.error and job.error.type) == (State.FAILED, 1, "windlass.errors.JobFailed")
        with pytest.raises(JobFailed, match="ValueError: no"):
            await handle


@app.flow(retry=Retry(attempts=2, on=(OSError,)))
async def retried(flow: Flow = Depends()) -> int:
    await flow.step(note, "first")
    if len(done) < 3:
        await flow.step(refuse, "second")
    return await flow.step(len, ["x"] * 5)


async def test_a_step_that_fails_fails_the_run_and_is_tried_again_alone(jobs: Harness) -> None:
    async with jobs:
        handle = await retried.enqueue()
        await jobs.drain(raising=False)
        jobs.travel("1h")
        await jobs.drain(raising=False)
        assert done == ["first", "second", "second"]
        job = await handle.info()
        assert (job.state, job.attempt, job.error and job.error.type) == (State.FAILED, 2, "windlass.errors.StepFailed")


def flow_of(code: Any) -> Any:
    """A flow whose code a test replaces."""

    @app.flow(name="changing")
    async def changing(flow: Flow = Depends()) -> Any:
        return await code[0](flow)

    return changing


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (lambda flow: flow.step(fetch, 1), r"step 1 was 'step note', and now is 'step fetch'"),
        (lambda flow: flow.sleep("1s"), r"step 1 was 'step note', and now is 'sleep'"),
    ],
)
async def test_a_changed_flow_is_parked(jobs: Harness, after: Any, why: str) -> None:
    async def before(flow: Flow) -> None:
        await flow.step(note, 1)
        await flow.event("go")

    code = [before]
    changing = flow_of(code)
    async with jobs:
        handle = await changing.enqueue()
        await jobs.drain()
        code[0] = after
        await app.signal(handle.id, "go")
        await jobs.drain()
        job = await handle.info()
        assert job.state is State.PARKED
        assert why in (job.reason or "")
        code[0] = before
        await (await app.broker()).revive([handle.id])
        await jobs.drain()
        assert await handle is None
        assert done == [1]


async def test_a_flow_that_leaves_steps_out_is_parked(jobs: Harness) -> None:
    async def before(flow: Flow) -> None:
        await flow.event("go")
        await flow.step(note, 1)
        await flow.event("stop")

    async def after(flow: Flow) -> str:
        return "done"

    code: list[Any] = [before]
    changing = flow_of(code)
    async with jobs:
        handle = await changing.enqueue()
        await app.signal(handle.id, "go")
        await jobs.drain()
        code[0] = after
        await app.signal(handle.id, "stop")
        await jobs.drain()
        assert "returned before step 1, 'event go'" in ((await handle.info()).reason or "")


async def test_code_that_swallows_the_interruption_changes_nothing(jobs: Harness) -> None:
    async def greedy(flow: Flow) -> str:
        try:
            await flow.event("go")
        except BaseException:
            done.append("swallowed")
            with pytest.raises(FlowInterrupted):
                await flow.step(note, "never")
        return "the wrong answer"

    changing = flow_of([greedy])
    async with jobs:
        handle = await changing.enqueue()
        await jobs.drain()
        assert await state(handle) is State.WAITING
        assert done == ["swallowed"]


async def test_the_cancel_of_a_flow_takes_its_jobs_along(jobs: Harness) -> None:
    async def waiting(flow: Flow) -> Any:
        return await flow.gather(flow.run(add.options(delay="1h").bind(1)), flow.event("never"))

    changing = flow_of([waiting])
    async with jobs:
        handle = await changing.enqueue()
        await jobs.drain()
        child = app.job(derived(handle.id, 1))
        assert await state(child) is State.SCHEDULED
        assert [one.id async for one in handle.parts()] == [child.id]
        await handle.cancel()
        assert (await state(handle), await state(child)) == (State.CANCELLED, State.CANCELLED)


async def test_a_step_is_not_repeated_when_the_run_dies_after_it(jobs: Harness) -> None:
    """What was remembered, was remembered before the code went on."""

    async def dying(flow: Flow) -> int:
        await flow.step(note, 1)
        await flow.gather(flow.run(add.bind(1)), flow.step(fetch, 2))
        return 5

    changing = flow_of([dying])
    async with jobs:
        handle = await changing.enqueue()
        broker = await app.broker()
        suspending = broker.settle

        async def dies(pairs: Any, **given: Any) -> Any:
            if len(done) == 2:
                done.append("died")
                raise KeyboardInterrupt
            return await suspending(pairs, **given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(broker, "settle", dies)
            with pytest.raises(KeyboardInterrupt):
                await jobs.drain()
        await broker.beat("harness", (await broker.workers())[0].card, 0.0)
        await broker.reclaim()
        jobs.travel("1d")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("windlass.testing.execution.WORKER", "another")
            await jobs.drain()
            assert await handle == 5
        assert done == [1, 2, "died", (1, 1)]


async def test_a_flow_of_flows(jobs: Harness) -> None:
    async def outer(flow: Flow) -> int:
        return await flow.run(straight.bind(1)) + await flow.run(straight.bind(2).then(add))

    changing = flow_of([outer])
    async with jobs:
        handle = await changing.enqueue()
        await jobs.drain()
        assert await handle == 12 + 14


async def test_what_is_no_flow() -> None:
    async def plain(x: int, ctx: Context = Depends()) -> None: ...

    def blocking(flow: Flow = Depends()) -> None: ...

    with pytest.raises(TaskDefinitionError, match="no parameter `flow: Flow"):
        app.flow(plain)
    with pytest.raises(TaskDefinitionError, match="async def"):
        app.flow(blocking)


async def test_a_part_with_a_key_is_refused(jobs: Harness) -> None:
    async def keyed(flow: Flow) -> int:
        return await flow.run(add.options(key="one").bind(1))

    async with jobs:
        await flow_of([keyed]).enqueue()
        with pytest.raises(ConfigurationError, match="has a key"):
            await jobs.drain()


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 256, "0192f0c1-2a3b-7c4d-8e5f-0123456789ab"])
async def test_an_event_has_a_name_of_its_own(jobs: Harness, name: str) -> None:
    """No job's id: it would stand in the place of that job's result."""
    async with jobs:
        handle = await approval.enqueue()
        with pytest.raises(InvalidArguments, match="an event has a name"):
            await app.signal(handle.id, name)


line = Limit("line", ordered=True, key=lambda x: x)


@app.task(limits=[line])
async def in_line(x: str) -> str:
    return x


@app.flow(limits=[line])
async def leading(x: str, other: str, flow: Flow = Depends()) -> str:
    return await flow.run(group([in_line.bind(other)]).then(joined))


@app.task
async def joined(words: list[str]) -> str:
    return " ".join(words)


async def test_a_flow_cannot_wait_for_who_stands_behind_it(jobs: Harness) -> None:
    async with jobs:
        fine, never = await leading.enqueue("a", "b"), await leading.enqueue("a", "a")
        await jobs.drain(raising=False)
        assert await fine == "b"
        with pytest.raises(
            JobFailed, match=r"'line' under the key 'a', and \S*in_line would wait for its end there, for ever"
        ):
            await never
