"""Chains, groups, joins and maps: what they store, what they give, and how they fail."""

from __future__ import annotations

from collections import Counter

import pytest

from windlass import ConfigurationError, InvalidArguments, JobCancelled, JobFailed, Retry, State, Windlass, chain, group
from windlass.core.ids import derived
from windlass.errors import JobError, TaskDefinitionError
from windlass.testing import Harness

app = Windlass("memory://", retry=Retry(attempts=1))


@app.task
async def add(x: int, y: int = 1) -> int:
    return x + y


@app.task
def total(numbers: list[int], more: int = 0) -> int:
    return sum(numbers) + more


@app.task
async def bad(x: int) -> int:
    raise ValueError(f"no {x}")


@app.task
async def doubled(numbers: list[int]) -> list[int]:
    return [2 * one for one in numbers]


@app.task
async def described(results: list[int | JobError]) -> list[str]:
    return [type(one).__name__ for one in results]


@app.task
async def nothing() -> None: ...


@pytest.fixture
async def jobs() -> Harness:
    return Harness(app)


async def test_a_chain_gives_each_result_to_the_next(jobs: Harness) -> None:
    async with jobs:
        handle = await add.bind(1).then(add, y=5).then(add, 10).enqueue()
        assert (await handle.info()).state is State.WAITING
        await jobs.drain()
        assert await handle == 17
        same = await chain(add.bind(1), add, add).enqueue()
        await jobs.drain()
        assert await same == 4


async def test_a_join_takes_the_results_in_the_order_of_the_calls(jobs: Harness) -> None:
    async with jobs:
        parts = [add.bind(10), add.bind(5).then(add), add.options(priority=9).bind(1)]
        handle = await group(parts).then(described).enqueue()
        await jobs.drain()
        assert await handle == ["int"] * 3
        handle = await group([add.bind(n) for n in (5, 1, 3)]).then(total, more=100).enqueue()
        await jobs.drain()
        assert await handle == 6 + 2 + 4 + 100


async def test_a_whole_workflow_is_stored_at_once_and_has_one_root(jobs: Harness) -> None:
    async with jobs:
        inner = group([add.bind(1).then(add), add.bind(2)]).then(total)
        handle = await inner.then(add).enqueue()
        broker = await app.broker()
        found = (await broker.find(root=handle.id)).jobs
        assert len(found) == len(jobs.enqueued()) == 5
        join = derived(handle.id, 0)
        ids = [handle.id, join, derived(join, 0), derived(derived(join, 0), 0), derived(join, 1)]
        assert {one.id for one in found} == set(ids)
        assert {one.id async for one in handle.parts()} == set(ids[1:])
        assert {one.id for one in found if one.state is State.READY} == set(ids[3:])
        await jobs.drain()
        assert await handle == 3 + 3 + 1


async def test_a_plain_call_asks_for_nothing(jobs: Harness) -> None:
    async with jobs:
        handle = await add.bind(1).enqueue()
        assert (await handle.info()).terms is None


async def test_enqueue_many_takes_workflows(jobs: Harness) -> None:
    async with jobs:
        one, other = await app.enqueue_many([add.bind(1).then(add), add.bind(5)])
        await jobs.drain()
        assert (await one, await other) == (3, 6)


async def test_a_failure_fails_all_that_waits_for_it(jobs: Harness) -> None:
    async with jobs:
        handle = await group([add.bind(1), bad.bind(2)]).then(total).then(add).enqueue()
        await jobs.drain(raising=False)
        with pytest.raises(JobFailed, match=f"PartFailed: it waited for the job {derived(handle.id, 0)}"):
            await handle


async def test_who_retries_the_part_and_then_the_join_gets_the_whole(jobs: Harness) -> None:
    async with jobs:
        part = bad.bind(2)
        handle = await group([add.bind(1), part]).then(total).enqueue()
        await jobs.drain(raising=False)
        broker = await app.broker()
        with pytest.MonkeyPatch.context() as patch:

            async def good(x: int) -> int:
                return x

            patch.setattr(bad.definition, "function", good)
            await broker.revive([derived(handle.id, 1)])
            await jobs.drain()
        await broker.revive([handle.id])
        await jobs.drain()
        assert await handle == 4


async def test_the_first_failure_stops_what_has_not_started(jobs: Harness) -> None:
    async with jobs:
        handle = (
            await group([bad.options(priority=9).bind(2), add.bind(1).then(add), add.bind(3)]).then(total).enqueue()
        )
        assert len(await jobs.drain(raising=False)) == 1
        found = (await (await app.broker()).find(root=handle.id)).jobs
        assert Counter(one.state for one in found) == {State.FAILED: 2, State.CANCELLED: 3}


async def test_failures_are_collected(jobs: Harness) -> None:
    async with jobs:
        handle = await group([add.bind(1), bad.bind(2)], collect=True).then(described).enqueue()
        gathering = await group([add.bind(1), bad.bind(2)], collect=True).enqueue()
        await jobs.drain(raising=False)
        assert await handle == ["int", "JobFailed"]
        good, failed = await gathering
        assert good == 2
        assert isinstance(failed, JobFailed)
        assert "ValueError: no 2" in str(failed)


async def test_a_cancelled_part_is_collected_as_such(jobs: Harness) -> None:
    async with jobs:
        gathering = await group([add.bind(1), add.bind(2)], collect=True).enqueue()
        await (await app.broker()).cancel([derived(gathering.id, 1)])
        await jobs.drain()
        _, cancelled = await gathering
        assert isinstance(cancelled, JobCancelled)


async def test_map_has_one_handle(jobs: Harness) -> None:
    async with jobs:
        gathering = await add.map(range(50)).enqueue()
        progress = await gathering.progress()
        assert (progress.current, progress.total) == (0, 50)
        await jobs.drain()
        assert (await gathering.progress()).share == 1.0
        assert await gathering == list(range(1, 51))
        assert sorted([one async for one in gathering]) == list(range(1, 51))


async def test_results_come_as_they_come(jobs: Harness) -> None:
    async with jobs:
        gathering = await group([add.bind(1), bad.bind(2)]).enqueue()
        results = aiter(gathering)
        await jobs.drain(raising=False)
        assert (await gathering.info()).state is State.FAILED
        assert await anext(results) == 2
        with pytest.raises(JobFailed):
            await anext(results)


async def test_map_in_chunks(jobs: Harness) -> None:
    async with jobs:
        gathering = await doubled.map(range(7), chunk=3).enqueue()
        assert len(jobs.enqueued(doubled)) == 3
        await jobs.drain()
        assert await gathering == [0, 2, 4, 6, 8, 10, 12]
        empty = await add.map([]).enqueue()
        await jobs.drain()
        assert await empty == []


async def test_a_whole_workflow_is_cancelled(jobs: Harness) -> None:
    async with jobs:
        handle = await group([add.bind(1).then(add), add.bind(2)]).then(total).enqueue()
        assert await handle.cancel() is State.CANCELLED
        found = (await (await app.broker()).find(root=handle.id)).jobs
        assert {one.state for one in found} == {State.CANCELLED}
        assert len(found) == 4
        assert await jobs.drain() == []


async def test_what_does_not_fit_is_refused_when_it_is_bound() -> None:
    with pytest.raises(TaskDefinitionError, match="no first parameter"):
        add.bind(1).then(nothing)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # that is what is tested
    with pytest.raises(InvalidArguments, match="z: Extra inputs"):
        add.bind(1).then(add, z=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # that is what is tested
    with pytest.raises(TaskDefinitionError, match="takes a list"):
        group([add.bind(1)]).then(add)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # that is what is tested
    with pytest.raises(ConfigurationError, match="at least one call"):
        group(list[object]())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # that is what is tested
    with pytest.raises(ConfigurationError, match="at least one item"):
        doubled.map([1], chunk=0)
    with pytest.raises(ConfigurationError, match="has a key"):
        add.options(key="one").bind(1).then(add).jobs()
    with pytest.raises(ConfigurationError, match="leave it out"):
        add.bind(1).then(add.options(key="one")).jobs()


async def test_a_result_that_does_not_fit_parks_the_next(jobs: Harness) -> None:
    @app.task(name="said")
    async def said(x: int) -> str:
        return f"said {x}"

    async with jobs:
        handle = await said.bind(1).then(add).enqueue()  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # that is what is tested
        await jobs.drain()
        job = await handle.info()
        assert job.state is State.PARKED
        assert "do not fit" in (job.reason or "")
