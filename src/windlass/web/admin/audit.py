"""The audit log: who did what on the dashboard, when, with which role. It stands in the store's book, on a shelf of its own.

An entry is written before the action and completed after it: of an action that was cut short it tells what was asked.
It names jobs and filters, and never a value of an argument.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from msgspec import Struct

from windlass.app import Windlass
from windlass.broker.port import Broker
from windlass.core.ids import new_id
from windlass.core.payload import Undecodable, read_json
from windlass.core.plain import plain
from windlass.errors import BrokerError, WindlassError
from windlass.web.admin.access import Access, Operator
from windlass.web.admin.shapes import Shape
from windlass.web.problems import Problem

SHELF = "audit"
TEXT = 500
"""Characters of a target and of a detail that are kept."""
PAGE = 50
KEPT = 100_000
"""Entries that are kept: the latest."""

logger = logging.getLogger("windlass.web")


class AuditEntry(Shape):
    """Something that somebody did."""

    id: str
    at: datetime
    who: str
    role: str
    action: str
    target: str
    detail: str


class AuditPage(Shape):
    """What was done, the latest first."""

    entries: list[AuditEntry]
    next: str | None


class Entry(Struct):
    """One action. Its name on the shelf is a job id's like, and tells when."""

    who: str
    role: str
    action: str
    target: str
    detail: str = ""

    def add(self, text: str) -> None:
        """Say more of it."""
        self.detail = f"{self.detail}; {text}" if self.detail else text


@asynccontextmanager
async def audited(broker: Broker, access: Access, action: str, target: str, detail: str = "") -> AsyncGenerator[Entry]:
    """Around an action: it is not begun before it is noted, and what became of it is noted with `add`."""
    name = new_id()
    entry = Entry(_cut(access.name), access.role.name.lower(), action, _cut(target), _cut(detail))
    await broker.put(SHELF, name, msgspec.json.encode(entry), KEPT)
    try:
        yield entry
    except (Problem, WindlassError) as error:
        entry.add("refused" if isinstance(error, Problem) else f"not done: {type(error).__name__}")
        raise
    finally:
        data = msgspec.json.encode(entry)
        logger.info("audit: %s", plain(data.decode()))
        try:
            await broker.put(SHELF, name, data, KEPT)
        except BrokerError as error:  # the action stands as it was asked for
            logger.warning("the audit log does not tell how the action %s ended: %s", name, error)


def _cut(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= TEXT else f"{text[: TEXT - 1]}…"


def add(router: APIRouter, app: Windlass) -> None:
    """Add the endpoint that reads the log."""

    @router.get("/audit")
    async def audit(access: Operator, before: Annotated[str | None, Query(max_length=50)] = None) -> AuditPage:
        """Who did what, the latest first."""
        leaves = await (await app.broker()).leaves(SHELF, after=before or None, limit=PAGE, newest_first=True)
        entries = [view for name, data in leaves if (view := _view(name, data))]
        return AuditPage(entries=entries, next=leaves[-1][0] if len(leaves) == PAGE else None)


def _view(name: str, data: bytes) -> AuditEntry | None:
    """An entry as it is shown; None for what is none."""
    try:
        entry: Entry = read_json("the entry", data, Entry)
        at = datetime.fromtimestamp(int(name[:13].replace("-", ""), 16) / 1000, UTC)
    except (Undecodable, ValueError, OverflowError):
        return None
    return AuditEntry(id=name, at=at, **msgspec.structs.asdict(entry))
