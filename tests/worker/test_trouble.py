"""A store that fails: nothing is lost, nothing is forgotten, nothing runs twice while its worker lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from faulty import FaultyProgram

from windlass import Windlass, current
from windlass.core.state import State
from windlass.events import StoreTrouble
from windlass.worker.runner import working


async def test_an_outage_loses_nothing_and_repeats_nothing(app: Windlass, until: Callable[..., Any]) -> None:
    runs: list[int] = []

    @app.task
    async def once(n: int) -> int:
        runs.append(n)
        current().progress(n)
        await asyncio.sleep(0.02)
        return n

    program = FaultyProgram(app)
    troubles: set[str] = set()
    app.events.subscribe(lambda event: troubles.add(event.verb) if isinstance(event, StoreTrouble) else None)
    async with working(program) as runner:
        jobs = await app.enqueue_many([once.bind(n) for n in range(200)])
        await until(lambda: len(runs) > 20)
        program.faults.down = True
        await until(lambda: {"claim", "beat", "promote"} <= troubles and not runner.executor.runs)
        program.faults.down = False
        assert [await job.result(timeout=20) for job in jobs] == list(range(200))
    assert sorted(runs) == list(range(200))


async def test_a_claim_whose_answer_was_lost_is_run_all_the_same(app: Windlass, until: Callable[..., Any]) -> None:
    @app.task
    async def quick() -> int:
        return current().crashes

    @app.task
    async def long(release: str = "") -> str:
        await asyncio.sleep(1)
        return "undisturbed"

    program = FaultyProgram(app)
    async with working(program) as runner:
        other = await long.enqueue()
        await until(lambda: runner.executor.runs)
        program.faults.lost["claim"] = 1
        job = await quick.enqueue()
        assert await job.result(timeout=20) == 0, "it never ran: no crash is counted"
        assert await other.result(timeout=5) == "undisturbed"
        assert (await other.info()).crashes == 0
    assert program.faults.raised["claim"] == 1


async def test_a_lost_claim_of_an_idle_worker_is_given_back_at_once(make_app: Callable[..., Windlass]) -> None:
    app = make_app(lease=600)

    @app.task
    async def quick() -> int:
        return current().crashes

    program = FaultyProgram(app)
    program.faults.lost["claim"] = 2
    async with working(program):
        assert await (await quick.enqueue()).result(timeout=10) == 0
    assert program.faults.raised["claim"] == 2


async def test_an_outcome_whose_answer_was_lost_is_written_once(app: Windlass) -> None:
    runs: list[int] = []

    @app.task
    async def quick() -> int:
        runs.append(1)
        return len(runs)

    program = FaultyProgram(app)
    program.faults.lost["settle"] = 2
    async with working(program):
        job = await quick.enqueue()
        assert await job.result(timeout=10) == 1
    assert runs == [1]
    assert (await job.info()).state is State.SUCCEEDED


async def test_what_a_run_wrote_is_written_once_though_answers_are_lost(
    app: Windlass, until: Callable[..., Any]
) -> None:
    """In the order in which it wrote it; what it wrote while a repeat was on its way comes with it."""
    program = FaultyProgram(app)
    lost = program.faults.raised

    @app.task
    async def writes() -> None:
        for part in range(3):
            program.faults.lost["append"] = 1
            for line in range(3):
                current().log(f"{part}.{line}")
                current().progress(part, 2, f"{line}")
            current().checkpoint(part)
            await until(lambda part=part: lost["append"] > part)

    async with working(program):
        job = await writes.enqueue()
        await job.result(timeout=20)
    reading = await (await app.broker()).read(job.id)
    assert reading is not None
    logged = [msgspec.json.decode(one.data)["message"] for one in reading.entries if one.kind == "log"]
    assert logged == [f"{part}.{line}" for part in range(3) for line in range(3)]
    assert [one.data for one in reading.entries if one.kind == "checkpoint"] == [b"2"]
    assert (lost["append"], reading.last) == (3, 9 + 3 + 3)


async def test_a_checkpoint_is_waited_for(app: Windlass) -> None:
    @app.task
    async def stepwise() -> Any:
        from windlass import Snooze

        if (left := current().last_checkpoint) is not None:
            return left
        current().checkpoint(5)
        raise Snooze(0)

    program = FaultyProgram(app)
    program.faults.before.update(read=3, append=2)
    async with working(program):
        assert await (await stepwise.enqueue()).result(timeout=10) == 5
    assert program.faults.raised["read"] == 3


async def test_stopping_while_the_store_is_away_ends(
    make_app: Callable[..., Windlass], until: Callable[..., Any]
) -> None:
    app = make_app(shutdown_timeout=0.3)

    @app.task
    async def quick() -> None: ...

    program = FaultyProgram(app)
    async with working(program) as runner:
        await until(lambda: True)
        program.faults.down = True
        await asyncio.wait_for(runner.stop(), 15)
