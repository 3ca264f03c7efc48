"""`app.schedules`: the schedules of an app's tasks, to be looked at and changed while workers run. They see a change within two seconds
(the first schedule of all within twenty).

Schedules stand in the store's book, one leaf each. Those in the code are put there by each worker when it starts: what was changed here
stays as it is, whatever else changes in the code. Two who change one schedule in the same moment: the later one counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from windlass.broker.port import Broker
from windlass.core import schedule as core
from windlass.core.durations import date
from windlass.core.job import Job, JobId, NewJob
from windlass.core.schedule import Schedule, When
from windlass.core.secret import SHOWN, Values
from windlass.definition import Definition, Makes, scheduled, scheduled_job
from windlass.errors import ConfigurationError, Undecodable, UnknownSchedule
from windlass.handle import Handle
from windlass.options import Options
from windlass.timetable import SHELF, forget, noted, shelf

EDITABLE = ("when", "args", "options", "on_missed", "window", "overlap", "jitter")

logger = logging.getLogger("windlass")


class App(Protocol):
    """What schedules need of their app. `Windlass` is one."""

    @property
    def name(self) -> str: ...
    @property
    def definitions(self) -> Mapping[str, Definition]: ...
    async def broker(self) -> Broker: ...
    async def place(self, jobs: Sequence[NewJob]) -> list[Handle[Any]]: ...
    def get_task(self, name: str) -> Makes: ...


class Named(Protocol):
    """A task."""

    @property
    def name(self) -> str: ...


class Tick(NamedTuple):
    """A tick that was seen to. job: None when it is kept no longer. skipped: the job of an earlier tick was in its way."""

    at: datetime
    id: JobId
    job: Job | None
    skipped: bool

    @property
    def outcome(self) -> str:
        """The state of its job, "skipped", or "gone" when that is kept no longer."""
        return "skipped" if self.skipped else str(self.job.state) if self.job else "gone"


class Planned(NamedTuple):
    """A schedule, its next five ticks (none while it is paused), and its latest, the last one first."""

    schedule: Schedule
    next: list[datetime]
    ticks: list[Tick]

    def told(self) -> dict[str, Any]:
        """All of it for JSON: `said` is when it fires in plain English, `origin` "code" or "run time". Secret arguments are not shown."""
        one = self.schedule
        return {
            "name": one.name,
            "task": one.task,
            "said": str(one.when),
            "when": msgspec.to_builtins(one.when),
            "args": Values(one.args, one.secret).shown(),
            **{
                field: getattr(one, field)
                for field in ("options", "on_missed", "window", "overlap", "jitter", "paused")
            },
            "origin": "code" if one.declared else "run time",
            "edited": one.edited,
            "next": self.next,
            "ticks": [{"at": tick.at, "id": tick.id, "outcome": tick.outcome} for tick in self.ticks],
        }


class Schedules:
    """The schedules of an app. All methods raise a `BrokerError` when the store is away, `UnknownSchedule` for a name that there is not."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def add(self, task: Named | str, schedule: When | Schedule) -> Schedule:
        """Let a task run by itself; answers the schedule as it is kept. The task must be one of this app's.

        Raises `ConfigurationError` for nonsense and for a name that there is already, `TaskDefinitionError` for arguments that do not fit.
        """
        name = task if isinstance(task, str) else task.name
        self._app.get_task(name)
        new, broker = scheduled(self._app.definitions[name], schedule), await self._app.broker()
        if await broker.leaf(SHELF, new.name) is not None:
            raise ConfigurationError(f"there is a schedule {new.name!r} already; edit it, or give this one a name=...")
        return await self._put(replace(new, since=await broker.now(), module="", declared=None))

    async def edit(self, name: str, **fields: Any) -> Schedule:
        """Change fields of a `Schedule` (when, args, options, on_missed, window, overlap, jitter); answers it as it is kept.

        An argument that was shown as a secret, and comes back so, keeps its value.
        Raises `ConfigurationError` for nonsense, `UnknownTask` for arguments of a task that is not this app's.
        """
        if unknown := fields.keys() - {*EDITABLE}:
            raise ConfigurationError(
                f"a schedule has no {', '.join(sorted(unknown))} to edit; it has {', '.join(EDITABLE)}"
            )
        old = await self.get(name)
        new = core.changed(old, await (await self._app.broker()).now(), **fields)
        Options.parse(**new.options)
        if "args" in fields:
            self._app.get_task(old.task)
            back = {one: old.args[one] for one in old.secret if one in old.args and new.args.get(one) == SHOWN}
            new = replace(new, args=new.args | back)
            new = replace(new, args=scheduled(self._app.definitions[old.task], new).args)
        return await self._put(new)

    async def pause(self, name: str) -> Schedule:
        """Let it fire no more; what it has made already runs."""
        return await self._turn(name, True)

    async def resume(self, name: str) -> Schedule:
        """Let it fire again, from now on."""
        return await self._turn(name, False)

    async def remove(self, name: str) -> None:
        """Take it out. Raises `ConfigurationError` for one that is in the code of this app: that is where it is taken out."""
        old = await self.get(name)
        known = self._app.definitions.get(old.task)
        if known is not None and any(one.name == name for one in known.schedules):
            raise ConfigurationError(
                f"the schedule {name!r} is in the code ({known.source}): take it out there, or pause it"
            )
        await forget(await self._app.broker(), name)

    async def run(self, name: str) -> Handle[Any]:
        """Make a job of it now, beside its ticks. With overlap="skip" and an unfinished job, that one. Raises `UnknownTask`."""
        schedule = await self.get(name)
        (job,) = await self._app.place([scheduled_job(self._app.get_task(schedule.task), schedule)])
        return job

    async def get(self, name: str) -> Schedule:
        """One schedule. Raises `Undecodable` when it cannot be read."""
        data = await (await self._app.broker()).leaf(SHELF, name)
        if data is None:
            raise UnknownSchedule(f"there is no schedule {name!r}; windlass schedule list tells which there are")
        return core.read(data)

    async def list(self) -> Sequence[Planned]:
        """All schedules that can be read, by name, with what they did last and will do next."""
        broker = await self._app.broker()
        found = [one for name, data in await shelf(broker) if (one := _readable(name, data))]
        return await self._planned(found)

    async def show(self, name: str) -> Planned:
        """One schedule, with what it did last and will do next."""
        return (await self._planned([await self.get(name)]))[0]

    async def _planned(self, found: Sequence[Schedule]) -> Sequence[Planned]:
        broker = await self._app.broker()
        now, ticks = await broker.now(), await asyncio.gather(*(noted(broker, one.name) for one in found))
        ids = [self._id(one, at) for one, some in zip(found, ticks, strict=True) for at, _ in some]
        jobs = {job.id: job for job in await broker.get(ids) if job}
        return [
            Planned(
                one,
                [] if one.paused else [date(at) for at in one.upcoming(now)],
                [self._tick(one, at, made, jobs) for at, made in some],
            )
            for one, some in zip(found, ticks, strict=True)
        ]

    def _tick(self, schedule: Schedule, at: float, made: JobId, jobs: Mapping[JobId, Job]) -> Tick:
        job_id = self._id(schedule, at)
        return Tick(date(at), job_id, jobs.get(job_id), job_id not in jobs and made != job_id)

    def _id(self, schedule: Schedule, tick: float) -> JobId:
        return core.tick_id(self._app.name, schedule.name, tick)

    async def _turn(self, name: str, paused: bool) -> Schedule:
        return await self._put(
            core.changed(await self.get(name), await (await self._app.broker()).now(), paused=paused)
        )

    async def _put(self, schedule: Schedule) -> Schedule:
        await (await self._app.broker()).put(SHELF, schedule.name, core.write(schedule))
        return schedule


def _readable(name: str, data: bytes) -> Schedule | None:
    try:
        return core.read(data)
    except Undecodable as error:
        logger.warning("the schedule %r is left out: %s", name, error)
        return None
