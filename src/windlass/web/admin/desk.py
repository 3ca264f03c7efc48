"""What the reads of one dashboard share: the app, what may be shown, and how an answer is given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import Query, Request, Response
from pydantic import BaseModel

from windlass.app import Windlass
from windlass.broker.port import Broker
from windlass.core.durations import seconds
from windlass.core.job import DAY, StoreInfo
from windlass.core.measures import STEPS
from windlass.errors import ConfigurationError
from windlass.web.admin import charts
from windlass.web.admin.access import Access
from windlass.web.admin.charts import Axis, Sum, axis
from windlass.web.admin.flows import Flows
from windlass.web.admin.history import History
from windlass.web.admin.timeline import Tries
from windlass.web.jobs import etag, matches
from windlass.web.problems import Problem

T = TypeVar("T")
Length = Annotated[
    str, Query(alias="range", max_length=20, description='how far back: "15m", "1h", "24h", "7d"; at most 90 days')
]
LATEST = 300.0
"""Seconds over which rates are told."""
PERIOD = 5.0
"""Seconds between two reports of a worker (`windlass.worker.recorder`)."""
LOOK = 60.0
"""Seconds between two looks at what kind of store it is."""


class Recent:
    """What was worked out in the last second, and what is being worked out: once for all who ask for the same."""

    def __init__(self, kept: float = 1.0) -> None:
        self._kept = kept
        self._found: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """What `make` gives, or gave to another who asked for `key`. Raises what it raises."""
        now = time.monotonic()
        self._found = {key: one for key, one in self._found.items() if now < one[0] or not one[1].done()}
        if key not in self._found:
            # It belongs to no request, in its traces neither, and who goes meanwhile must not end it for the others.
            made = asyncio.get_running_loop().create_task(_made(make), context=Context())
            self._found[key] = now + self._kept, made
        found: T = await asyncio.shield(self._found[key][1])
        return found


async def _made(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


class Lately(NamedTuple):
    """What happened in the last `length` seconds: all of it, and by queue."""

    length: float
    whole: Sum
    queues: dict[str, Sum]


class Desk:
    """One dashboard's. show_arguments: what jobs carry is shown to all who may look; else to an admin who asks for it."""

    def __init__(self, app: Windlass, show_arguments: bool) -> None:
        self.app = app
        self.show_arguments = show_arguments
        self.flows = Flows()
        self.history = History(app.broker)
        self.tries = Tries()
        self.recent = Recent()
        self.schemas: dict[str, dict[str, Any]] = {}
        self.revealed: set[tuple[Access, str]] = set()
        self._store: tuple[float, StoreInfo] | None = None

    async def broker(self) -> Broker:
        """The open broker."""
        return await self.app.broker()

    async def store(self) -> StoreInfo:
        """What kind of store it is, as it was within the last minute."""
        if self._store is None or time.monotonic() > self._store[0] + LOOK:
            self._store = time.monotonic(), await (await self.broker()).describe()
        return self._store[1]

    async def latest(self, now: float) -> Lately:
        """What happened lately."""
        step = min(STEPS)
        points = int(LATEST // step) + 1
        of = Axis((int(now // step) - points + 1) * step, step, points, step)
        cells = await self.history.cells(of, now)
        whole, queues = charts.total(one.whole for one in cells), charts.by_queue(cells)
        # Workers tell every few seconds: in between, nothing shall seem to change.
        length = max(PERIOD, now // PERIOD * PERIOD - of.start)
        return Lately(length, whole, {name: charts.total(parts) for name, parts in queues.items()})


def axis_of(length: str, now: float) -> Axis:
    """The axis of a chart that goes so far back. Raises `Problem`."""
    try:
        return axis(min(max(seconds(length), 60.0), 90 * DAY), now)
    except ConfigurationError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"range: {error}") from None


def missing(what: str, name: str) -> Problem:
    """There is none of this name."""
    return Problem(HTTPStatus.NOT_FOUND, f"{what}-not-found", f"there is no {what} {name!r:.200}")


def answer(request: Request, value: BaseModel) -> Response:
    """The answer to a read: 304 when the client has it already. When it was asked for (`now`) makes no other answer."""
    body = value.model_dump_json(by_alias=True).encode()
    told = value.model_dump_json(exclude={"now"}).encode() if "now" in type(value).model_fields else body
    headers = {"ETag": f"W/{etag(told)}", "Cache-Control": "no-cache"}
    if matches(request.headers.get("if-none-match"), etag(told)):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
