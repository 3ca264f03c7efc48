"""`windlass queue` and `windlass workers`: where work waits, and who does it."""

from __future__ import annotations

from math import inf
from typing import Annotated, Any

import msgspec
import typer

from windlass.broker.port import Broker
from windlass.cli.find import App, Name, Url, find_store, with_store
from windlass.cli.output import Json, document, line, memory, table, talk
from windlass.core.durations import date
from windlass.core.gates import LimitInfo
from windlass.core.job import Worker
from windlass.core.state import State

app = typer.Typer(help="List, pause and resume queues.", no_args_is_help=True, rich_markup_mode=None)

PAGE = 500
Names = Annotated[list[str], typer.Argument(metavar="QUEUE...")]
_SHOWN = list(State)


@app.command("list")
def list_(app: App = None, url: Url = None, name: Name = None, as_json: Json = False) -> None:
    """List queues: name, open or paused, and how many jobs stand in each state (scheduled, ready, running, parked, ...)."""
    queues = with_store(find_store(url, app, name), lambda broker: broker.tally())
    if as_json:
        document(queues)
        return
    table(
        ("queue", "", *_SHOWN),
        ((q.name, "paused" if q.paused else "open", *(q.counts.get(state, 0) for state in _SHOWN)) for q in queues),
    )


@app.command()
def pause(queues: Names, app: App = None, url: Url = None, name: Name = None) -> None:
    """Hand out no more jobs of these queues; what runs goes on running."""
    _turn(queues, True, find_store(url, app, name))


@app.command()
def resume(queues: Names, app: App = None, url: Url = None, name: Name = None) -> None:
    """Hand out jobs of these queues again."""
    _turn(queues, False, find_store(url, app, name))


def _turn(queues: list[str], paused: bool, store: Any) -> None:
    async def work(broker: Broker) -> None:
        for queue in queues:
            await broker.pause(queue, paused)
            line(queue, "paused" if paused else "open")

    with_store(store, work, create=True)


def limits(
    only: Annotated[str | None, typer.Argument(metavar="[LIMIT]", help="Only the keys of this limit.")] = None,
    app: App = None,
    url: Url = None,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """List limits that somebody needs: limit, key, units taken (of how many), level of the bucket, jobs that wait, paused until."""

    async def work(broker: Broker) -> list[LimitInfo]:
        found, after = list[LimitInfo](), (only, "") if only else None
        first = await broker.limits([(only, "")]) if only else []
        while page := await broker.limits(after=after, limit=PAGE):
            found += page
            after = page[-1].limit, page[-1].key
            if only not in (None, after[0]):
                break
        return [*first, *(one for one in found if only in (None, one.limit))]

    found = with_store(find_store(url, app, name), work)
    if as_json:
        document(found)
        return
    table(("limit", "key", "taken", "level", "waiting", "paused until"), map(_limit, found))


def _limit(one: LimitInfo) -> tuple[object, ...]:
    taken = f"{one.held:g}" if one.running == inf else f"{one.held:g}/{one.running:g}"
    level = "" if one.level is None else f"{one.level:.4g}/{one.burst:g}"
    return one.limit, one.key, taken, level, one.waiting, one.closed_until or ""


def workers(app: App = None, url: Url = None, name: Name = None, as_json: Json = False) -> None:
    """List the workers that are alive: id, state, host, pid, queues, running jobs of slots, since, version, memory."""
    alive = with_store(find_store(url, app, name), lambda broker: broker.workers())
    if as_json:
        document([{"id": w.id, "until": w.until, "running": w.running, **msgspec.to_builtins(w.card)} for w in alive])
        return
    table(("id", "state", "host", "pid", "queues", "running", "slots", "since", "version", "memory"), map(_row, alive))
    if not alive:
        talk("no worker is alive; start one: windlass worker")


def _row(worker: Worker) -> tuple[object, ...]:
    card = worker.card
    slots = " ".join(f"{lane}:{card.busy.get(lane, 0)}/{count}" for lane, count in card.slots.items())
    since = date(card.started_at)
    who = worker.id, card.state, card.host, card.pid, ",".join(card.queues)
    return *who, worker.running, slots, since, card.version, memory(card.rss)
