"""Tasks as the API shows them: those of the program, and those that only the history knows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from inspect import getdoc
from pathlib import PurePath
from typing import Any

from pydantic import PydanticUserError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from windlass.core.measures import Rollup
from windlass.definition import Definition
from windlass.errors import TaskDefinitionError
from windlass.web.admin import charts
from windlass.web.admin.charts import Axis
from windlass.web.admin.desk import Desk
from windlass.web.admin.shapes import TaskRow


def rows(desk: Desk, rollups: Sequence[Rollup], of: Axis) -> list[TaskRow]:
    """All tasks, by name."""
    done = charts.by_task(rollups)
    return [row(desk, name, done[name], of) for name in sorted(desk.app.definitions.keys() | done.keys()) if name]


def row(desk: Desk, name: str, rollups: Sequence[Rollup], of: Axis) -> TaskRow:
    """One task, which the program or the history knows."""
    known = desk.app.definitions.get(name)
    return TaskRow(
        name=name,
        queue=known.queue if known else next((one.queue for one in rollups), ""),
        lane=known.lane if known else "",
        timeout=known.options.timeout if known else None,
        attempts=(known.options.retry or desk.app.settings.retry).attempts if known else 0,
        doc=getdoc(known.function) or "" if known else "",
        source="/".join(PurePath(known.source).parts[-2:]) if known else "",
        schema=_schema(desk, known) if known else {},
        count=charts.count(rollups),
        failed_share=charts.failed_share(rollups),
        p50=charts.run_time(rollups, 0.5),
        p95=charts.run_time(rollups, 0.95),
        spark=charts.spark(rollups, of),
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
