"""What everything runs on, as the API shows it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from windlass.core.measures import STEPS
from windlass.core.urls import masked
from windlass.web.admin.desk import Desk
from windlass.web.admin.shapes import Shape


class Store(Shape):
    """The live store."""

    kind: str
    place: str
    version: str
    survives: list[str]
    remarks: list[str]
    details: dict[str, Any]


class Version(Shape):
    """How many workers run which version of Windlass and of the program's code."""

    version: str
    code: str
    workers: int


class Retention(Shape):
    """How long the history keeps spans of this length."""

    step: int
    kept: float


class System(Shape):
    """What everything runs on."""

    store: Store
    versions: list[Version]
    settings: dict[str, Any]
    retention: list[Retention]


async def system(desk: Desk) -> System:
    """The store as it is now, who works, and what is set here."""
    broker = await desk.broker()
    info = await broker.describe()
    versions = Counter((one.card.version, one.card.code) for one in await broker.workers())
    return System(
        store=Store.model_validate(info),
        versions=[
            Version(version=version, code=code, workers=many) for (version, code), many in sorted(versions.items())
        ],
        settings=_settings(desk),
        retention=[Retention(step=step, kept=kept) for step, kept in STEPS.items()],
    )


def _settings(desk: Desk) -> dict[str, Any]:
    shown = "shown" if desk.show_arguments else "hidden"
    return {"url": masked(desk.app.url), "name": desk.app.name, **asdict(desk.app.settings), "arguments": shown}
