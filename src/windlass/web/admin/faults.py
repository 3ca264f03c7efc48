"""Failures that look alike, as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from windlass.broker.port import Broker
from windlass.core.durations import date
from windlass.core.job import DAY
from windlass.core.measures import FAULTS, Fault, Mark
from windlass.web.admin import charts
from windlass.web.admin.charts import MISHAPS, Cell, axis
from windlass.web.admin.desk import Desk
from windlass.web.admin.history import History
from windlass.web.admin.shapes import FaultRow, FaultsPage
from windlass.web.problems import Problem

PAGE = 50


async def page(desk: Desk, state: Mark | None, before: str, now: float) -> FaultsPage:
    """A page of the faults in one state. Raises `Problem` for a cursor that is none."""
    found = await (await desk.broker()).faults(FAULTS, before=_cursor(before))
    found = [one for one in found if state in (None, one.state)]
    shown = found[:PAGE]
    groups = _rows(shown, await desk.history.cells(axis(DAY, now), now) if shown else ())
    last = f"{shown[-1].last_seen!r}:{shown[-1].fingerprint}" if len(found) > PAGE else None
    return FaultsPage(groups=groups, next=last)


def _cursor(text: str) -> tuple[float, str] | None:
    at, _, fingerprint = text.partition(":")
    try:
        return (float(at), fingerprint) if text else None
    except ValueError:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"before: {text!r:.100} is no cursor"
        ) from None


async def rows(broker: Broker, faults: Sequence[Fault], now: float) -> list[FaultRow]:
    """These faults, each with what went wrong of its task."""

    async def opened() -> Broker:
        return broker

    return _rows(faults, await History(opened).cells(axis(DAY, now), now))


def _rows(faults: Sequence[Fault], cells: Sequence[Cell]) -> list[FaultRow]:
    tasks = {fault.task for fault in faults}
    sparks = {task: charts.spark([one.tasks.get(task) for one in cells], MISHAPS) for task in tasks}
    return [row(fault, sparks[fault.task]) for fault in faults]


def row(fault: Fault, spark: list[int]) -> FaultRow:
    """One fault."""
    return FaultRow(
        fingerprint=fault.fingerprint,
        task=fault.task,
        type=fault.type,
        message=fault.message,
        where=fault.frame,
        count=fault.count,
        ended=fault.final,
        first_at=date(fault.first_seen),
        last_at=date(fault.last_seen),
        sample=fault.job,
        versions=fault.versions,
        state=fault.state,
        until=date(fault.until) if fault.state == "snoozed" and fault.until else None,
        spark=spark,
    )
