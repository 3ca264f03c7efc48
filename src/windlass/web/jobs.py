"""A job as JSON: what the routers answer, the dashboard draws and `--json` prints."""

from __future__ import annotations

import asyncio
import logging
import math
from datetime import UTC, datetime
from hashlib import blake2b
from http import HTTPStatus

from msgspec import Raw
from pydantic import BaseModel, ConfigDict, Field

from windlass.broker.port import Broker
from windlass.core.job import Job
from windlass.core.payload import Undecodable, read_json, unpack
from windlass.core.state import State
from windlass.handle import PAST_ALL_ENTRIES
from windlass.web.problems import Problem

logger = logging.getLogger("windlass.web")

LOOK = 1.0
"""Seconds between two looks at what a store does not push (progress), while somebody waits for a change."""


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Links(_View):
    """Where to go on: paths on the same server."""

    self: str
    result: str
    events: str
    cancel: str


class ProgressView(_View):
    """How far a job is: `current` of `total`, and as a `share` of 0.0 to 1.0 when there is a total."""

    current: float
    total: float | None
    message: str
    share: float | None


class ErrorView(_View):
    """Why the latest attempt did not succeed. The traceback only where the server's operator allows it."""

    kind: str
    type: str
    message: str
    traceback: str | None = None


class JobView(_View):
    """A job. Times are ISO 8601; `attempt` counts spent attempts, `crashes` the processes that died under it."""

    id: str
    task: str
    queue: str
    state: State
    priority: int
    attempt: int
    crashes: int
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    progress: ProgressView | None
    error: ErrorView | None
    reason: str | None = Field(description="why it was cancelled or parked")
    cancelling: bool = Field(description="it runs, and a cancel was asked for")
    links: Links | None = None


def view(job: Job, links: Links | None = None, *, traceback: bool = False) -> JobView:
    """The JSON form of a job."""
    shown = JobView.model_validate(job)
    shown.links = links
    if shown.error and not traceback:
        shown.error.traceback = None
    return shown


def etag(body: bytes) -> str:
    """A strong entity tag for exactly these bytes."""
    return f'"{blake2b(body, digest_size=12).hexdigest()}"'


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether an If-None-Match header names `tag` (RFC 9110, section 13.1.2: compared weakly)."""
    tags = [one.strip().removeprefix("W/") for one in (if_none_match or "").split(",")]
    return tag in tags or tags == ["*"]


def retry_after(job: Job) -> str:
    """Seconds after which to look again: 1, or until a scheduled job is due, at most 30."""
    due = (job.run_at - datetime.now(UTC)).total_seconds() if job.state is State.SCHEDULED else 1.0
    return str(max(1, min(30, math.ceil(due))))


def meta_of(job: Job) -> dict[str, str]:
    """The tags given with `options(meta=...)`; empty when the body cannot be read."""
    try:
        return unpack(job.body).meta
    except Undecodable:
        return {}


def result_of(job: Job) -> bytes:
    """The result of a job that succeeded, as JSON. Raises `Problem` when what is stored is none, or not sealed by one of our keys."""
    try:
        return bytes(read_json("the result", job.result or b"null", Raw))
    except Undecodable as error:
        logger.warning("job %s: %s", job.id, error)
        detail = "what is stored as the result of this job cannot be read"
        raise Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "result-unreadable", detail, id=job.id) from error


async def changed(broker: Broker, job: Job, wait: float) -> Job | None:
    """The job once anything that a view shows is different, or after `wait` seconds; None when it is gone."""
    loop, before, latest = asyncio.get_running_loop(), view(job), job
    end = loop.time() + wait
    while not job.state.finished and (left := end - loop.time()) > 0:
        await broker.read(job.id, after=PAST_ALL_ENTRIES, wait=min(LOOK, left), seen=(job.state, job.attempt))
        (found,) = await broker.get([job.id])
        if found is None or view(found) != before:
            return found
        latest = found
        await asyncio.sleep(LOOK / 20)  # a closed broker answers every wait at once
    return latest
