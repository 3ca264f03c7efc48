"""`Ticker`: makes the jobs of schedules when their ticks have come. Every runner has one; there is no leader.

Any number of tickers agree: the id of a tick's job is made from the tick, so that the store takes it once. Which tick was the latest
is noted in the book, on a shelf of the schedule's own that keeps the largest names only: a note that comes late cannot take it back.
All go by the store's clock, and none by its own.

What can go wrong: a ticker that dies before it notes a tick leaves that to another one (or to itself, later), which makes the same job
and notes it. Nobody makes a tick that is older than its schedule's window, and until then and `KEEP` seconds more its job is kept, finished
or not: so there is one, whatever becomes of the notes. A ticker that stood still for `STALE` seconds looks anew. Two jobs of one tick
would take one that stands still for more than `KEEP`, just between its look at its clock and the call.

A tick is left out ("skip") by a key that the jobs of a schedule share, which the store judges. Which jobs "queue" and "cancel_other"
are about is seen in the notes of the latest ticks: these two are decided here, a moment before the job is made.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import time
from itertools import islice
from math import inf
from typing import NamedTuple

from msgspec.structs import replace

from windlass.broker import whole
from windlass.broker.port import Broker
from windlass.core import schedule as schedules
from windlass.core.durations import date
from windlass.core.job import JobId
from windlass.core.schedule import BATCH, Schedule, tick_id, tick_name
from windlass.definition import Program, scheduled_job
from windlass.errors import BrokerError, Undecodable, WindlassError
from windlass.events import StoreBack, StoreTrouble
from windlass.failpoints import failpoint
from windlass.timetable import NOTED, SHELF, Noted, forget, noted, shelf, ticks_of

IDLE = 20.0
"""Seconds between two looks for a first schedule."""
LOOK = 2.0
"""Seconds between two looks for changes, where there are schedules."""
SPREAD = 0.05
"""Seconds after a tick within which tickers come one by one: the later ones find it noted."""
STALE = 30.0
"""Seconds after which what was read is looked at anew before a job is made of it."""
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

logger = logging.getLogger("windlass")


class _Known(NamedTuple):
    """A schedule as it was read; None if it makes no sense. next: when it is to be seen to again."""

    data: bytes
    schedule: Schedule | None
    next: float = 0.0


class Ticker:
    """Sees to the schedules of the tasks that the program knows, in a broker that is open."""

    def __init__(self, broker: Broker, program: Program) -> None:
        self._broker = broker
        self._program = program
        self._known: dict[str, _Known] = {}
        self._declared = self._troubled = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="windlass ticker")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        while True:
            try:
                if not self._declared:
                    await self.declare()
                pause = await self.look()
                if self._troubled:
                    self._troubled = False
                    self._program.events.emit(StoreBack("tick"))
            except Exception as error:
                self._troubled, pause = True, LOOK
                self._program.events.emit(StoreTrouble("tick", error))
            await asyncio.sleep(pause + random.uniform(0, SPREAD))

    async def declare(self) -> None:
        """Put the schedules of the code into the book, and take out those that it says no more.

        What an operator changed stays as it is. One is taken out when the module that it stood in is loaded here, and says it no more:
        another program on this store may have other modules. An operator who changes one in the same moment may have to do it again.
        """
        said = {one.name: one for task in self._program.definitions.values() for one in task.schedules}
        await self._read()
        now = await self._broker.now() if said else 0.0
        for name, one in said.items():
            known = self._known.get(name)
            before = known and known.schedule
            if (new := schedules.merged(before, one, now)) != before:
                await self._broker.put(SHELF, name, schedules.write(new))
        for name, known in self._known.items():
            if (old := known.schedule) and old.declared and name not in said and _loaded(old.module):
                await forget(self._broker, name)
        self._declared = True

    async def look(self) -> float:
        """Make the jobs of the ticks that have come; answers for how many seconds there is nothing to do."""
        await self._read()
        if not self._known:
            return IDLE
        began, now = time.monotonic(), await self._broker.now()
        due = [name for name, one in self._known.items() if one.next <= now]
        random.shuffle(due)  # so that tickers share the work
        rest = iter(due)
        while some := list(islice(rest, BATCH)):
            await asyncio.gather(*(self._see_to(name, now) for name in some))
        now += time.monotonic() - began
        return min(LOOK, max(0.0, min(one.next for one in self._known.values()) - now))

    async def _read(self) -> None:
        """Read all schedules anew."""
        found = dict[str, _Known]()
        for name, data in await shelf(self._broker):
            one = self._known.get(name)
            found[name] = one if one and one.data == data else _known(name, data)
        self._known = found

    async def _see_to(self, name: str, now: float) -> None:
        """Make the jobs of one schedule's ticks, and note when it is to be seen to again."""
        known, after = self._known[name], inf
        one = known.schedule
        if one is not None and not one.paused and one.task in self._program.definitions:
            try:
                after = await self._tick(one, now)
            except BrokerError:
                raise
            except WindlassError as error:
                _refuse(name, error)
        self._known[name] = known._replace(next=after)

    async def _tick(self, schedule: Schedule, now: float) -> float:
        """Make the jobs of the ticks that have come; answers when to look again."""
        read, before = time.clock_gettime(_BOOT), await noted(self._broker, schedule.name)
        due = schedule.due(before[0][0] if before else 0.0, now)
        for tick in due:
            if time.clock_gettime(_BOOT) - read > STALE:
                return now
            if schedule.overlap == "queue" and before and await self._unfinished(before[0][1]):
                return now + LOOK
            before.insert(0, (tick, await self._make(schedule, tick, before)))
        return now if len(due) >= BATCH else next(schedule.when.after(now), inf)

    async def _make(self, schedule: Schedule, tick: float, before: Noted) -> JobId:
        """Make the job of a tick, and note it; answers the job that there is for it: with "skip", it may be an earlier one's."""
        broker, job_id = self._broker, tick_id(self._program.name, schedule.name, tick)
        job = scheduled_job(self._program.get_task(schedule.task), schedule, tick=date(tick).isoformat())
        job = replace(
            job,
            id=job_id,
            at=schedule.start_of(tick, job_id),
            keep=max(job.keep, schedule.kept),
            keep_failed=max(job.keep_failed, schedule.kept),
        )
        if schedule.overlap == "cancel_other":
            await whole.cancel(broker, [other for _, other in before])
        failpoint("ticker.before_enqueue")
        (placed,) = await broker.enqueue([job])
        failpoint("ticker.after_enqueue")
        await broker.put(ticks_of(schedule.name), tick_name(tick), placed.id.encode(), NOTED)
        return placed.id

    async def _unfinished(self, job_id: JobId) -> bool:
        (job,) = await self._broker.get([job_id])
        return job is not None and not job.state.finished


def _known(name: str, data: bytes) -> _Known:
    try:
        return _Known(data, schedules.read(data))
    except Undecodable as error:
        _refuse(name, error)
        return _Known(data, None)


def _refuse(name: str, error: WindlassError) -> None:
    logger.warning("the schedule %r does not fire here until it is changed: %s", name, error)


def _loaded(module: str) -> bool:
    return module in sys.modules and module != "__main__"
