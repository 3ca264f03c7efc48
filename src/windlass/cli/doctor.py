"""`windlass doctor`: what is wrong here, and what to do about it, one line each."""

from __future__ import annotations

import platform
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple
from urllib.parse import urlsplit

import typer

from windlass import Windlass
from windlass.broker.port import Broker
from windlass.cli.find import App, Name, Target, Url, find, find_store, with_store
from windlass.cli.output import Json, document, table
from windlass.core.job import Job, QueueInfo, StoreInfo, Worker
from windlass.core.state import State
from windlass.errors import DurabilityUnavailable, TaskDefinitionError, WindlassError
from windlass.timetable import shelf

PARKED_LOOKED_AT = 200
DANGER = "DANGER: "
"""How a store's remark begins that tells of jobs which can be lost."""
_PACKAGES = ("msgspec", "pydantic", "typer", "rich", "watchfiles", "fastapi", "uvloop")


class Finding(NamedTuple):
    """One thing that was looked at. level: "ok", "note" or "WRONG" (which makes the exit code 1)."""

    level: str
    about: str
    said: str


ok, note, wrong = partial(Finding, "ok"), partial(Finding, "note"), partial(Finding, "WRONG")


def doctor(target: Target = None, app: App = None, url: Url = None, name: Name = None, as_json: Json = False) -> None:
    """Check the app, its tasks, the store, the queues and who works on them; exit code 1 when something is wrong."""
    findings = list(_examine(target or app, url, name))
    if as_json:
        document([one._asdict() for one in findings])
    else:
        table(Finding._fields, findings)
    if any(one.level == "WRONG" for one in findings):
        raise typer.Exit(1)


def _examine(option: str | None, url: str | None, name: str | None) -> Iterator[Finding]:
    yield ok("python", f"{platform.python_version()} on {platform.platform(terse=True)}, {sys.executable}")
    yield ok("packages", ", ".join(f"{one} {_version(one)}" for one in ("windlass", *_PACKAGES)))
    app: Windlass | None = None
    try:
        found = find(option, tell=False)
        yield ok("app", f"{found.target} ({found.how})")
        yield from _tasks(found.object)
        app = found.object
    except WindlassError as error:
        yield wrong("app", str(error))
    try:
        store = app or find_store(url, None, name)
        store = Windlass(url or store.url, name=name or store.name, durability="")  # look, whatever it keeps
        if urlsplit(store.url).scheme == "memory":
            yield note("store", "memory:// keeps jobs in one process and forgets them with it; for tests only")
            return
        info, queues, workers, parked, schedules = with_store(store, _look, create=True)
    except WindlassError as error:
        yield wrong("store", str(error))
        return
    yield from _store(info, app)
    if schedules and not workers:
        yield note("schedules", f"{len(schedules)} fire only while a worker runs; start one: windlass worker")
    yield from _queues(queues, workers, {one.queue for one in app.definitions.values()} if app else set())
    for (task, reason), count in Counter((job.task, job.reason) for job in parked).items():
        yield wrong("parked", f"{count} of {task}: {reason}; start a worker that knows it, or: windlass job retry ID")


async def _look(broker: Broker) -> tuple[StoreInfo, list[QueueInfo], list[Worker], list[Job], list[tuple[str, bytes]]]:
    parked = await broker.find(states=[State.PARKED], limit=PARKED_LOOKED_AT)
    return await broker.describe(), await broker.tally(), await broker.workers(), parked.jobs, await shelf(broker)


def _store(info: StoreInfo, app: Windlass | None) -> Iterator[Finding]:
    """What it is, which faults an accepted job survives there, and what should be set otherwise."""
    yield ok("store", f"{info.kind} {info.version} at {info.place}")
    if info.survives:
        yield ok("survives", f"an accepted job survives: {', '.join(info.survives)}")
    else:
        yield note("survives", "an accepted job survives nothing")
    for remark in info.remarks:
        danger = remark.removeprefix(DANGER)
        yield note("store", remark) if danger == remark else wrong("store", danger)
    try:
        info.check(app.settings.durability if app else "")
    except DurabilityUnavailable as error:
        yield wrong("durability", str(error))


def _tasks(app: Windlass) -> Iterator[Finding]:
    for definition in app.definitions.values():
        try:
            definition.compile()
        except TaskDefinitionError as error:
            yield wrong("task", f"{error} ({definition.source})")
    if app.definitions:
        yield ok("tasks", f"{len(app.definitions)}: {', '.join(sorted(app.definitions))}")
    else:
        yield wrong("tasks", "the app has none; name a module that imports them all, such as package.tasks:app")


def _queues(queues: list[QueueInfo], workers: list[Worker], wanted: set[str]) -> Iterator[Finding]:
    """Jobs that wait for nobody, and queues of tasks that nobody works on."""
    served = {queue for worker in workers for queue in worker.card.queues}
    if workers:
        yield ok("workers", f"{len(workers)} alive, on {', '.join(sorted(served))}")
    else:
        yield note("workers", "none is alive; start one: windlass worker")
    for queue in queues:
        ready = queue.counts.get(State.READY, 0)
        if ready and queue.paused:
            yield note("queue", f"{queue.name} is paused, {ready} jobs wait; windlass queue resume {queue.name}")
        elif ready and queue.name not in served:
            hint = f"windlass worker -q {queue.name}"
            yield wrong("queue", f"{queue.name} holds {ready} ready jobs and no living worker takes them; {hint}")
    stuck = {queue.name for queue in queues if queue.counts.get(State.READY)}
    for idle in sorted(wanted - served - stuck) if workers else ():
        yield note("queue", f"tasks use {idle} and no living worker takes it; windlass worker -q {idle}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
