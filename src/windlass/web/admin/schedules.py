"""Schedules over the JSON API: what there is, and what can be done to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from http import HTTPStatus
from itertools import islice, takewhile
from typing import Any, Literal

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import UNSET, Struct, UnsetType

from windlass.app import Windlass
from windlass.core.durations import date
from windlass.core.job import DAY
from windlass.core.schedule import OnMissed, Overlap, Schedule, When
from windlass.definition import scheduled_job
from windlass.errors import ConfigurationError, InvalidArguments, UnknownSchedule, UnknownTask
from windlass.schedules import EDITABLE, Planned
from windlass.web.admin.access import Operator, Role, Viewer
from windlass.web.admin.actions import Affected, Created, body_of, documented_body, make
from windlass.web.admin.actions import Nothing as Empty
from windlass.web.admin.audit import audited
from windlass.web.admin.desk import Desk, answer
from windlass.web.admin.shapes import Payload, Shape
from windlass.web.problems import Problem, documented
from windlass.web.repeats import Repeatable

MOST = 48
"""Ticks of the next day that are told; what fires more often is drawn as a band."""


class Tick(Shape):
    """A moment at which a schedule fired. outcome: the state of its job, "skipped", or "gone"."""

    at: datetime
    id: str
    outcome: str


class ScheduleRow(Shape):
    """A schedule. said: `when`, in plain English. edited: where it differs from the code.

    next: its next five ticks. day: those of the next 24 hours; null: too many to be told. ticks: the latest, the last one first.
    """

    name: str
    task: str
    said: str
    when: dict[str, Any]
    arguments: Payload
    options: dict[str, Any]
    on_missed: str
    window: float
    overlap: str
    jitter: float
    paused: bool
    origin: Literal["code", "run time"]
    edited: list[str]
    next: list[datetime]
    day: list[datetime] | None
    ticks: list[Tick]


class ScheduleList(Shape):
    """All schedules."""

    schedules: list[ScheduleRow]


class ScheduleAction(Struct, forbid_unknown_fields=True):
    """What is given is changed ("edit"), or is what the new one is made of ("add": `task` and `when` must be)."""

    action: Literal["add", "edit", "pause", "resume", "remove"]
    task: str | UnsetType = UNSET
    when: dict[str, str | float] | UnsetType = UNSET
    args: dict[str, Any] | UnsetType = UNSET
    options: dict[str, Any] | UnsetType = UNSET
    on_missed: OnMissed | UnsetType = UNSET
    window: float | str | UnsetType = UNSET
    overlap: Overlap | UnsetType = UNSET
    jitter: float | str | UnsetType = UNSET

    def fields(self) -> dict[str, Any]:
        """The fields of a schedule that are given. Raises `ConfigurationError`, or `InvalidArguments`."""
        given = {name: value for name in EDITABLE if (value := getattr(self, name)) is not UNSET}
        try:
            return given if "when" not in given else given | {"when": msgspec.convert(given["when"], When)}
        except msgspec.ValidationError as error:
            raise InvalidArguments(f"when: {error}") from None


def add_reads(router: APIRouter, desk: Desk) -> None:
    """Add the reads."""

    @router.get("/schedules", response_model=ScheduleList)
    async def get_schedules(request: Request, _: Viewer) -> Response:
        """All schedules."""
        return answer(request, ScheduleList(schedules=await _rows(desk, await desk.app.schedules.list())))

    @router.get("/schedules/{name:path}", response_model=ScheduleRow, responses=documented(_404="No such schedule"))
    async def get_schedule(request: Request, _: Viewer, name: str) -> Response:
        """One schedule."""
        async with _problems():
            planned = await desk.app.schedules.show(name)
        return answer(request, (await _rows(desk, [planned]))[0])


def add_actions(router: APIRouter, app: Windlass) -> None:
    """Add the actions."""
    schedules = app.schedules

    @router.post("/schedules/{name:path}/run", status_code=HTTPStatus.CREATED, openapi_extra=documented_body(Empty))
    async def run(name: str, access: Operator, repeats: Repeatable, _: Empty = body_of(app, Empty)) -> Created:
        """Make a job of it now, beside its ticks."""
        async with _problems():
            schedule = await schedules.get(name)
            new = scheduled_job(app.get_task(schedule.task), schedule)
        new = repeats.identified(new, app.name, "run schedule", name, access.name)
        return await make(await app.broker(), access, "run schedule", name, new, repeats)

    @router.post("/schedules/{name:path}", openapi_extra=documented_body(ScheduleAction))
    async def act(name: str, access: Operator, asked: ScheduleAction = body_of(app, ScheduleAction)) -> Affected:
        """Add, edit, pause, resume or remove one."""
        async with _problems():
            fields = asked.fields()
        if asked.action == "remove":
            access.check(Role.ADMIN)
        detail = ", ".join(fields)  # their names: arguments are no business of the log
        async with audited(await app.broker(), access, f"{asked.action} schedule", name, detail), _problems():
            match asked.action:
                case "add":
                    if asked.task is UNSET or asked.when is UNSET:
                        raise InvalidArguments("a new schedule needs a task, and when it is to run")
                    await schedules.add(asked.task, Schedule(name=name, **fields))
                case "edit":
                    await schedules.edit(name, **fields)
                case "pause":
                    await schedules.pause(name)
                case "resume":
                    await schedules.resume(name)
                case "remove":
                    await schedules.remove(name)
        return Affected(affected=1)


@asynccontextmanager
async def _problems() -> AsyncGenerator[None]:
    """What is wrong with a request, as problems."""
    try:
        yield
    except UnknownSchedule as error:
        raise Problem(HTTPStatus.NOT_FOUND, "schedule-not-found", str(error)) from None
    except UnknownTask as error:
        raise Problem(
            HTTPStatus.NOT_FOUND, "task-not-found", f"{error}; the process of this dashboard does not know it"
        ) from None
    except ConfigurationError as error:
        raise InvalidArguments(str(error)) from None


async def _rows(desk: Desk, found: Sequence[Planned]) -> list[ScheduleRow]:
    """Schedules as they are shown."""
    now = await (await desk.broker()).now()
    return [_row(desk, one, now) for one in found]


def _row(desk: Desk, planned: Planned, now: float) -> ScheduleRow:
    told, schedule = planned.told(), planned.schedule
    args, size = told.pop("args"), len(msgspec.json.encode(schedule.args))
    shown = Payload(hidden=False, size=size, value=args) if desk.show_arguments else Payload(hidden=True, size=size)
    return ScheduleRow(**told, arguments=shown, day=_day(schedule, now))


def _day(schedule: Schedule, now: float) -> list[datetime] | None:
    """Its ticks of the next 24 hours; None: too many to be told."""
    if schedule.paused:
        return []
    coming = takewhile(lambda at: at <= now + DAY, schedule.when.after(max(now, schedule.since)))
    found = list(islice(coming, MOST + 1))
    return [date(at) for at in found] if len(found) <= MOST else None
