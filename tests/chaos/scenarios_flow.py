"""W: workers, and the server, are killed while flows and joins go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from evidence import now
from flows import ANSWERED, GO, SIDES, STEPS, Join, children, read_notes, wrong_in_flows, wrong_in_joins
from history import Told
from scenario import scenario
from scenarios_storm import Storm
from stage import Stage

from windlass import Call, group
from windlass.core.ids import derived
from windlass.errors import BrokerUnavailable

FLOWS, JOINS, PARTS = 1000, 100, 100
SHORT_FLOWS, SHORT_JOINS, SHORT_PARTS = 12, 3, 20
WAVES, SHORT_WAVES = 50, 3
"""In which they are enqueued, with a death after each."""
EVENT = ANSWERED.index("event")
PACE, SHORT_PACE = 100, 60
"""Runs between two deaths, on average."""
LULL = 3.0
"""Seconds without that many, after which somebody dies all the same."""
FOREVER = 3600.0


class Deaths(Storm):
    """Runners, what they have started, whole workers and the server are killed; nothing else happens."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage, 2)
        self._faults = {self._kill_a_runner: 5, self._kill_a_tree: 2}
        if stage.server is not None:
            self._faults[self._kill_the_server] = 2

    async def strike_next(self, pace: int, over: Callable[[], bool] = lambda: False) -> None:
        """Kill somebody once some more runs have begun, or none would for a while; not if it is over by then."""
        mark, end = self._stage.started() + self._random.randint(1, 2 * pace), now() + LULL
        await self.work_until(lambda: over() or self._stage.started() >= mark or now() > end)
        if not over():
            await self.strike()

    async def _kill_the_server(self) -> None:
        assert self._stage.server is not None
        self._stage.harm("server killed")
        await asyncio.to_thread(self._stage.server.restart)


async def store(stage: Stage, calls: Sequence[Call[Any]], numbers: dict[str, int]) -> list[str]:
    """Enqueue workflows, and answer their ids. numbers: of all jobs that may run because of them."""
    stage.history.told |= {job: Told(number, certain=False) for job, number in numbers.items()}
    while True:
        try:
            handles = await stage.app.enqueue_many(calls)
        except BrokerUnavailable:
            continue  # it may have happened, and a repeat does no harm
        for handle in handles:
            stage.history.told[handle.id].certain = True
        return [handle.id for handle in handles]


async def signal(stage: Stage, flow: str) -> None:
    """Tell a flow of its event, until the store has said that it knows."""
    while True:
        try:
            assert await stage.app.signal(flow, GO, stage.history.told[flow].number)
            return
        except BrokerUnavailable:
            continue  # the same


async def over(stage: Stage) -> None:
    """Until all has ended."""
    while True:
        try:
            await stage.ended(within=FOREVER)
            return
        except BrokerUnavailable:
            continue  # the same


async def until_all_ended(stage: Stage, deaths: Deaths, pace: int) -> None:
    """One death after the other, at random, with so many runs between two of them on average."""
    ended = False
    while not ended:
        looking = asyncio.create_task(over(stage))
        await deaths.strike_next(pace, looking.done)
        if ended := looking.done():
            await looking
        looking.cancel()


def results(stage: Stage) -> dict[str, Any]:
    """What the jobs gave."""
    return {job: msgspec.json.decode(it.result) for job, it in stage.history.seen.items() if it.result is not None}


@scenario(
    "W1",
    "Runners and whole workers are killed at random, and Redis with them, while flows run, sleep and wait for jobs and events",
    "Every flow ends right, and no step runs again once its answer is remembered.",
)
async def flows_go_on(stage: Stage) -> None:
    flows, waves, pace = (FLOWS, WAVES, PACE) if stage.scale > 1 else (SHORT_FLOWS, SHORT_WAVES, SHORT_PACE)
    deaths, task, unsignalled = Deaths(stage), stage.app.get_task("durable"), list[str]()
    for first in range(0, flows, flows // waves):
        calls = [task.bind(first + n) for n in range(flows // waves)]
        numbers = dict[str, int]()
        for number, call in enumerate(calls, first):
            found = children(call.job.id)
            numbers |= {call.job.id: number, **{job: number if n is None else n for job, n in found.items()}}
        unsignalled += await store(stage, calls, numbers)
        stage.random.shuffle(unsignalled)
        while len(unsignalled) > flows // waves:
            await signal(stage, unsignalled.pop())
        await deaths.strike_next(pace)
    for flow in unsignalled:
        await signal(stage, flow)
    await until_all_ended(stage, deaths, pace)
    notes, seen = list(read_notes(stage.evidence)), results(stage)
    stage.notes.append(f"{flows} flows, {sum(one.what == 'passed' for one in notes)} answers seen")
    ends = {job: seen[job][2] for job, found in stage.history.seen.items() if found.task == "durable"}
    assert len(ends) == flows
    assert list(wrong_in_flows(notes, ends)) == []
    joins = [Join(derived(flow, STEPS.index("join") + 1), range(SIDES)) for flow in ends]
    assert list(wrong_in_joins(notes, joins, seen)) == []
    assert all(end[EVENT] == stage.history.told[flow].number for flow, end in ends.items()), "an event of another flow"


@scenario(
    "W2",
    "The same while joins wait for many jobs each",
    "Every join is filled once all have ended, with all their answers, in order; none is lost, none waits for ever.",
)
async def joins_are_filled(stage: Stage) -> None:
    long = stage.scale > 1
    count, parts = (JOINS, PARTS) if long else (SHORT_JOINS, SHORT_PARTS)
    waves, pace = (WAVES, PACE) if long else (SHORT_WAVES, SHORT_PACE)
    deaths, joins = Deaths(stage), list[Join]()
    part, total = stage.app.get_task("part"), stage.app.get_task("total")
    for first in range(0, count, count // waves):
        calls, numbers = list[Call[Any]](), dict[str, int]()
        for number in range(first, first + count // waves):
            mine = range(number * parts, (number + 1) * parts)
            calls.append(group(part.bind(n) for n in mine).then(total, number))
            joins.append(Join(calls[-1].job.id, mine))
            numbers |= {calls[-1].job.id: number, **dict(zip(joins[-1].parts, mine, strict=True))}
        await store(stage, calls, numbers)
        await deaths.strike_next(pace)
    await until_all_ended(stage, deaths, pace)
    stage.notes.append(f"{count} joins of {parts}")
    assert list(wrong_in_joins(list(read_notes(stage.evidence)), joins, results(stage))) == []
