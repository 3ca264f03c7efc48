"""Server-sent events: the one stream of a page (`ticks`), and the events of one job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote

from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Scope
from starlette.types import Message as ASGIMessage

from windlass.core.job import Job, LogLine, Progress
from windlass.core.measures import FAULTS
from windlass.core.state import State
from windlass.errors import BrokerError, JobNotFound
from windlass.handle import JobEvent
from windlass.web.admin.access import Access
from windlass.web.admin.desk import Desk
from windlass.web.jobs import ProgressView, etag
from windlass.web.sse import Message

PACE = 1.0
"""Seconds between two ticks, at least."""
LASTS = 600.0
"""Seconds that one stream lasts. Then the browser comes again by itself, and it is found out anew who asks: logins end, and are revoked."""
TOPICS = 20
"""Topics that one stream tells of, at most."""


class Told(NamedTuple):
    """The answer to a read: its entity tag, by which it is known whether it changed, and its value."""

    tag: str | bytes
    value: Any


class Browser(NamedTuple):
    """Who listens: the request of the stream, on which all its topics ride."""

    scope: Scope
    access: Access
    root: str


async def ticks(desk: Desk, reads: ASGIApp, browser: Browser, topics: Sequence[str]) -> AsyncGenerator[Message]:
    """What changed of these reads, and how many failures are open. Browsers that show the same are told the same, worked out once."""
    known: dict[str, str | bytes] = {}
    failures, end = -1, time.monotonic() + LASTS
    while (begun := time.monotonic()) < end:
        try:
            told = {topic: await _read(desk, reads, browser, topic) for topic in topics}
            before, failures = failures, await desk.recent.get("open failures", lambda: _open_failures(desk))
        except BrokerError:
            return  # the client comes again, and is told what is wrong
        changed = {topic: one.value for topic, one in told.items() if one and known.get(topic) != one.tag}
        known |= {topic: one.tag for topic, one in told.items() if one}
        if changed or failures != before:
            yield Message("tick", {"now": datetime.now(UTC), "open_failures": failures, "topics": changed})
        await asyncio.sleep(max(0.0, begun + PACE - time.monotonic()))


async def _read(desk: Desk, reads: ASGIApp, browser: Browser, topic: str) -> Told | None:
    """What the read of that name answers, now or a moment ago, to whoever has this role; None when it answers an error."""
    person = browser.access if "reveal" in unquote(topic) else browser.access.role
    return await desk.recent.get((topic, person, browser.root), lambda: _asked(reads, browser.scope, topic))


async def _asked(reads: ASGIApp, scope: Scope, topic: str) -> Told | None:
    """Ask a read within this process, by whoever asked for the stream."""
    path, _, query = topic.partition("?")
    if unquote(path).split("/")[-1] in ("stream", "events"):
        return None  # no read: it would not end
    answered: list[ASGIMessage] = []

    async def send(message: ASGIMessage) -> None:
        answered.append(message)

    async def receive() -> ASGIMessage:
        return {"type": "http.request", "body": b"", "more_body": False}

    where = {
        "path": f"/{unquote(path)}",
        "raw_path": f"/{path}".encode(),
        "query_string": query.encode(),
        "root_path": "",
    }
    try:
        await reads({**scope, **where, "headers": []}, receive, send)
    except HTTPException:
        return None
    start, *bodies = answered
    if start["status"] != HTTPStatus.OK:
        return None
    body = b"".join(one["body"] for one in bodies)
    return Told(dict(start["headers"]).get(b"etag", etag(body)), from_json(body))


async def _open_failures(desk: Desk) -> int:
    return sum(one.state == "open" for one in await (await desk.broker()).faults(FAULTS))


async def job_events(desk: Desk, job_id: str, after: int) -> AsyncGenerator[Message]:
    """A job's log, progress and states, and its end. Parts of a result are told where results are shown."""
    end = time.monotonic() + LASTS
    try:
        async with aclosing(desk.app.job(job_id).events(after=after)) as events:
            async for event in events:
                if time.monotonic() >= end:
                    return
                if event.kind not in ("checkpoint", "chunk") or (event.kind == "chunk" and desk.show_arguments):
                    yield Message(event.kind, _data(event), event.id)
    except (BrokerError, JobNotFound):
        return  # the client comes again, resumes, and is told what is wrong


def _data(event: JobEvent) -> Any:
    match event.data:
        case State() as state:
            return {"state": state, "attempt": event.attempt}
        case Job() as job:
            return {"state": job.state, "attempt": job.attempt}
        case Progress() as progress:
            return ProgressView.model_validate(progress)
        case LogLine() as line:
            return {"at": event.at, "level": line.level, "message": line.message, "attempt": event.attempt}
        case data:
            return data
