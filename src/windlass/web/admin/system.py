"""What everything runs on, as the API shows it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from windlass.core.measures import STEPS
from windlass.core.urls import masked
from windlass.web.admin.desk import Desk
from windlass.web.admin.shapes import Retention, Store, System, Version


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
