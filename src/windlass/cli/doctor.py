"""`windlass doctor`: what is wrong here, and what to do about it, one line each."""

from __future__ import annotations

import platform
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

import typer

from windlass import Windlass
from windlass.broker.port import Broker
from windlass.broker.url import masked
from windlass.cli.find import App, Found, Name, Url, find_app, find_store, with_store
from windlass.cli.output import Json, document, table
from windlass.core.job import Job, QueueInfo, StoreInfo, Worker
from windlass.core.state import State
from windlass.errors import TaskDefinitionError, WindlassError

PARKED_LOOKED_AT = 200
_PACKAGES = ("msgspec", "pydantic", "typer", "rich", "watchfiles", "fastapi", "uvloop")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. level: "ok", "note" or "wrong" (which makes the exit code 1)."""

    level: str
    about: str
    said: str


@dataclass(frozen=True)
class Look:
    """What the live store says."""

    store: StoreInfo
    queues: list[QueueInfo]
    workers: list[Worker]
    parked: list[Job]


def doctor(app: App = None, url: Url = None, name: Name = None, as_json: Json = False) -> None:
    """Check the app, its tasks, the store, the queues and who works on them; exit code 1 when something is wrong."""
    findings = list(_examine(app, url, name))
    if as_json:
        document(findings)
    else:
        marks = {"ok": "ok", "note": "note", "wrong": "WRONG"}
        table(("", "about", "finding"), ((marks[one.level], one.about, one.said) for one in findings))
    if any(one.level == "wrong" for one in findings):
        raise typer.Exit(1)


def _examine(option: str | None, url: str | None, name: str | None) -> Iterator[Finding]:
    yield Finding("ok", "python", f"{platform.python_version()} on {platform.platform(terse=True)}, {sys.executable}")
    yield Finding("ok", "packages", ", ".join(f"{one} {_version(one)}" for one in ("windlass", *_PACKAGES)))
    found: Found | None = None
    try:
        found = find_app(option=option)
        yield Finding("ok", "app", f"{found.target} ({found.how})")
        yield from _tasks(found.app)
    except WindlassError as error:
        yield Finding("wrong", "app", str(error))
    try:
        store = Windlass(url or found.app.url, name=name or found.app.name) if found else find_store(url, None, name)
        if urlsplit(store.url).scheme == "memory":
            yield Finding(
                "note", "store", "memory:// keeps jobs in one process and forgets them with it; for tests only"
            )
            return
        look = with_store(store, _look, create=True)
    except WindlassError as error:
        yield Finding("wrong", "store", str(error))
        return
    yield from _store(store, look)
    yield from _queues(look, {one.queue for one in found.app.definitions.values()} if found else set())
    for (task, reason), count in Counter((job.task, job.reason) for job in look.parked).items():
        yield Finding(
            "wrong", "parked", f"{count} of {task}: {reason}; start a worker that knows it, or: windlass job retry ID"
        )


async def _look(broker: Broker) -> Look:
    parked = await broker.find(state=State.PARKED, limit=PARKED_LOOKED_AT)
    return Look(await broker.describe(), await broker.tally(), await broker.workers(), parked)


def _tasks(app: Windlass) -> Iterator[Finding]:
    for definition in app.definitions.values():
        try:
            definition.compile()
        except TaskDefinitionError as error:
            yield Finding("wrong", "task", f"{error} ({definition.source})")
    if app.definitions:
        yield Finding("ok", "tasks", f"{len(app.definitions)}: {', '.join(sorted(app.definitions))}")
    else:
        yield Finding(
            "wrong", "tasks", "the app has none; name a module that imports them all, such as package.tasks:app"
        )


def _store(store: Windlass, look: Look) -> Iterator[Finding]:
    info = look.store
    yield Finding("ok", "store", f"{masked(store.url)}: {info.kind} {info.version} at {info.place}")
    survives = ", ".join(info.survives)
    yield Finding("ok" if survives else "note", "survives", survives or "an accepted job survives nothing")
    for remark in info.remarks:
        yield Finding("note", "store", remark)


def _queues(look: Look, wanted: set[str]) -> Iterator[Finding]:
    """Jobs that wait for nobody, and queues of tasks that nobody works on."""
    served = {queue for worker in look.workers for queue in worker.card.queues}
    if look.workers:
        yield Finding("ok", "workers", f"{len(look.workers)} alive, on {', '.join(sorted(served))}")
    else:
        yield Finding("note", "workers", "none is alive; start one: windlass worker")
    for queue in look.queues:
        ready = queue.counts.get(State.READY, 0)
        if ready and queue.paused:
            yield Finding(
                "note", "queue", f"{queue.name} is paused, {ready} jobs wait; windlass queue resume {queue.name}"
            )
        elif ready and queue.name not in served:
            hint = f"windlass worker -q {queue.name}"
            yield Finding(
                "wrong", "queue", f"{queue.name} holds {ready} ready jobs and no living worker takes them; {hint}"
            )
    stuck = {queue.name for queue in look.queues if queue.counts.get(State.READY)}
    for idle in sorted(wanted - served - stuck) if look.workers else ():
        yield Finding("note", "queue", f"tasks use {idle} and no living worker takes it; windlass worker -q {idle}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
