"""Tasks as the API shows them: those of the program, and those that only the history knows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from inspect import getdoc
from pathlib import PurePath
from typing import Any

from pydantic import Field, PydanticUserError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from windlass.core.measures import merged, percentile
from windlass.definition import Definition
from windlass.errors import TaskDefinitionError
from windlass.web.admin import charts
from windlass.web.admin.charts import Cell
from windlass.web.admin.desk import Desk
from windlass.web.admin.shapes import Series, Shape


class TaskRow(Shape):
    """A task. Of one that only the history knows, all but its numbers is empty. p50, p95: of its runs' times."""

    name: str
    queue: str
    lane: str
    timeout: float | None
    attempts: int
    doc: str
    source: str
    arguments: dict[str, Any] = Field(alias="schema")
    count: int
    failed_share: float
    p50: float | None
    p95: float | None
    spark: list[int]


class TaskList(Shape):
    """All tasks."""

    tasks: list[TaskRow]


class TaskDetail(Shape):
    """One task."""

    task: TaskRow
    series: Series


def rows(desk: Desk, cells: Sequence[Cell]) -> list[TaskRow]:
    """All tasks, by name."""
    names = desk.app.definitions.keys() | {name for one in cells for name in one.tasks if name}
    return [row(desk, name, cells) for name in sorted(names)]


def row(desk: Desk, name: str, cells: Sequence[Cell]) -> TaskRow:
    """One task, which the program or the history knows."""
    known = desk.app.definitions.get(name)
    parts = [one.tasks.get(name) for one in cells]
    times = merged(*(one.run for one in parts if one))
    return TaskRow(
        name=name,
        queue=known.queue if known else "",
        lane=known.lane if known else "",
        timeout=known.options.timeout if known else None,
        attempts=(known.options.retry or desk.app.settings.retry).attempts if known else 0,
        doc=getdoc(known.function) or "" if known else "",
        source="/".join(PurePath(known.source).parts[-2:]) if known else "",
        schema=_schema(desk, known) if known else {},
        count=charts.count(parts),
        failed_share=charts.failed_share(parts),
        p50=percentile(times, 0.5),
        p95=percentile(times, 0.95),
        spark=charts.spark(parts),
    )


def _schema(desk: Desk, definition: Definition) -> dict[str, Any]:
    if definition.name not in desk.schemas:
        desk.schemas[definition.name] = schema(definition)
    return desk.schemas[definition.name]


def schema(definition: Definition) -> dict[str, Any]:
    """The JSON Schema of a task's arguments, with their defaults; of what no schema can be made, anything goes."""
    try:
        found: dict[str, Any] = definition.arguments.adapter.json_schema()
    except (PydanticUserError, TaskDefinitionError):
        return {"type": "object"}
    defs = found.get("$defs", {})
    while name := found.get("$ref"):
        found = {**defs[name.rpartition("/")[2]], "$defs": defs}
    for name, parameter in definition.arguments.signature.parameters.items():
        if parameter.default is not parameter.empty and name not in definition.arguments.secret:
            with suppress(PydanticSerializationError):
                found["properties"][name].setdefault("default", to_jsonable_python(parameter.default))
    return found
