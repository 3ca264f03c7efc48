"""What the chapters share: a time, jobs, workers, and the few steps that every story begins with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from windlass.broker.port import Broker
from windlass.core.ids import new_id
from windlass.core.job import Card, Claim, Entry, Job, JobId, NewJob, Pulse
from windlass.core.outcome import ErrorInfo, Outcome, Retried, Succeeded
from windlass.core.state import State

NOW = 1_900_000_000.0
"""The time of every story that tells its own. No broker's clock shows it, so a broker that ignores `now` is caught."""

ERROR = ErrorInfo("exception", "builtins.OSError", "the disk is gone")
DONE = Succeeded(b'"done"')
AGAIN = Retried(0.0, ERROR)


class Chapter:
    """A group of tests. They ask for the fixtures `broker` (open, empty) and `second` (another connection to the same store)."""

    pytestmark = pytest.mark.asyncio


def date(moment: float) -> datetime:
    """A Unix time as the store tells it."""
    return datetime.fromtimestamp(moment, UTC)


def job(**fields: Any) -> NewJob:
    """A job to be stored."""
    given: dict[str, Any] = {"id": new_id(), "task": "tests.task", "body": b'{"args":{},"v":1}', **fields}
    return NewJob(**given)


def entry(kind: str = "log", data: bytes = b"{}", at: float = NOW, number: int = 0) -> Entry:
    """A line for the journal."""
    return Entry(kind, data, at, attempt=1, number=number)


async def add(broker: Broker, *, now: float = NOW, **fields: Any) -> JobId:
    """Store one job."""
    return (await broker.enqueue([job(**fields)], now=now))[0].id


async def hire(
    broker: Broker,
    worker: str = "w",
    *,
    ttl: float = 60.0,
    now: float = NOW,
    words: ErrorInfo | None = None,
    blameless: bool = False,
) -> Pulse:
    """A worker's beat."""
    card = Card(host="here", pid=1, last_words=words, blameless=blameless)
    return await broker.beat(worker, card, ttl, now=now)


async def take(
    broker: Broker, room: int = 100, *, worker: str = "w", queues: Sequence[str] = ("default",), now: float = NOW
) -> list[Claim]:
    """Claim from lane "loop"."""
    return await broker.claim(queues, {"loop": room}, worker, now=now)


async def start(broker: Broker, *, now: float = NOW, **fields: Any) -> Claim:
    """Store one job and have worker "w" start it: the lease ends at now + 60."""
    stored = await add(broker, now=now, **fields)
    await hire(broker, now=now)
    claims = await take(broker, queues=[fields.get("queue", "default")], now=now)
    return next(claim for claim in claims if claim.id == stored)


async def end(broker: Broker, claim: Claim, outcome: Outcome = DONE, *, now: float = NOW) -> bool:
    """Settle one run; answers whether it was applied."""
    return (await broker.settle([(claim, outcome)], now=now))[0][0]


async def look(broker: Broker, stored: JobId) -> Job:
    """One job that must exist."""
    found = (await broker.get([stored]))[0]
    assert found is not None, f"{stored} is gone"
    return found


async def state(broker: Broker, stored: JobId) -> State:
    """Where one job stands."""
    return (await look(broker, stored)).state
