"""`windlass stats` and `windlass top`: queues and workers at a glance, once or live, as the dashboard reads them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import time
import tty
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from windlass.broker.port import Broker
from windlass.cli.find import App, Name, Url, find_store, with_store
from windlass.cli.output import Json, clean, document, grid, length, memory, table, talk
from windlass.core.measures import FAULTS
from windlass.core.state import State
from windlass.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from windlass import Windlass
    from windlass.web.admin.desk import Desk
    from windlass.web.admin.shapes import Overview, QueueRow, WorkerRow

PAUSE = 1.0
"""Seconds between two looks of `top`."""
_STATES = (State.READY, State.RUNNING, State.SCHEDULED, State.PARKED, State.FAILED)
_QUEUES = ("queue", "", *_STATES, "oldest", "in/s", "out/s", "failing", "drained", "slots")
_WORKERS = ("worker", "state", "slots", "running", "longest", "memory", "version")

Only = Annotated[list[str] | None, typer.Argument(metavar="[QUEUE...]", help="Only these queues.")]
Range = Annotated[str, typer.Option("--range", help="How far back the share of failures looks: 15m, 1h, 7d.")]


def stats(
    queues: Only = None,
    range_: Range = "1h",
    app: App = None,
    url: Url = None,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Tell how queues and workers are: jobs by state, the longest wait, rates of the last five minutes, the share that fails."""
    store = find_store(url, app, name)
    seen, workers = with_store(store, lambda broker: _look(_desk(store, broker), range_, queues))
    if as_json:
        whole = {"overview": seen.model_dump_json(), "workers": [one.model_dump_json() for one in workers]}
        document(_raw(whole))
        return
    if sys.stdout.isatty():
        print(_headline(seen))
    table(_QUEUES, map(_queue, seen.queues))
    for one in seen.attention:
        talk(f"{one.title}: {one.detail}")


def _raw(value: Any) -> Any:
    """JSON that pydantic has written, inside of a document."""
    if isinstance(value, str):
        return msgspec.Raw(value.encode())
    return {k: _raw(v) for k, v in value.items()} if isinstance(value, dict) else list(map(_raw, value))


def top(queues: Only = None, range_: Range = "1h", app: App = None, url: Url = None, name: Name = None) -> None:
    """Show queues and workers live, in the terminal; q quits. Where there is no terminal, once."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        stats(queues, range_, app, url, name)
        return
    store = find_store(url, app, name)
    with_store(store, lambda broker: _live(_desk(store, broker), range_, queues))


async def _live(desk: Desk, range_: str, only: list[str] | None) -> None:
    from rich.live import Live

    with _until_q() as quit_, Live(screen=True, auto_refresh=False) as live:
        while not quit_.is_set():
            live.update(_screen(*await _look(desk, range_, only)), refresh=True)
            try:
                await asyncio.wait_for(quit_.wait(), PAUSE)
            except TimeoutError:
                pass


@contextmanager
def _until_q() -> Generator[asyncio.Event]:
    """Set once somebody types q, or Ctrl-C. The terminal is as it was afterwards."""
    loop, quit_, keyboard = asyncio.get_running_loop(), asyncio.Event(), sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def typed() -> None:
        keys = os.read(keyboard, 64)  # several may have come at once
        if not keys or b"q" in keys.lower():
            quit_.set()

    tty.setcbreak(keyboard)
    loop.add_reader(keyboard, typed)
    loop.add_signal_handler(signal.SIGINT, quit_.set)
    try:
        yield quit_
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


# --- what is read -------------------------------------------------------------------------------------------


def _desk(store: Windlass, broker: Broker) -> Desk:
    """What the dashboard reads with, on a broker that is open already."""
    try:
        from windlass.web.admin.desk import Desk
    except ModuleNotFoundError:
        raise ConfigurationError("this needs fastapi, as the dashboard does: pip install 'windlass[fastapi]'") from None

    class Open(Desk):
        async def broker(self) -> Broker:
            return broker

    return Open(store, show_arguments=False)


async def _look(desk: Desk, range_: str, only: list[str] | None) -> tuple[Overview, list[WorkerRow]]:
    """All there is to see now, with the rows of these queues alone, and of who serves them, if any are named."""
    from windlass.core.durations import seconds
    from windlass.web.admin import charts, overview, queues, workers

    now, broker = time.time(), await desk.broker()
    scene = await queues.scene(desk, charts.axis(seconds(range_), now), now)
    seen, alive = overview.overview(desk, scene, await broker.faults(FAULTS), await desk.store()), scene.workers
    if only:
        if missing := set(only) - {one.name for one in seen.queues}:
            raise ConfigurationError(f"there is no queue {', '.join(sorted(missing))}")
        seen = seen.model_copy(update={"queues": [one for one in seen.queues if one.name in only]})
        alive = [one for one in alive if set(only) & set(one.card.queues)]
    return seen, await workers.rows(broker, alive)


# --- how it looks -------------------------------------------------------------------------------------------


def _headline(seen: Overview) -> str:
    slots, ready = seen.slots, seen.totals.get(State.READY, 0)
    oldest = "" if seen.oldest is None else f", the oldest for {length(seen.oldest)}"
    return (
        f"{seen.done_rate:.1f}/s done   {seen.failed_share:.1%} failed   {ready:,} ready{oldest}   "
        f"{slots.busy:,} of {slots.total:,} slots   {seen.workers} workers"
    )


def _queue(queue: QueueRow) -> Iterable[object]:
    waits = queue.counts.get(State.READY, 0)
    drained = "never" if queue.drain is None else length(queue.drain) if waits else ""
    return (
        queue.name,
        "paused" if queue.paused else "open",
        *(queue.counts.get(state, 0) for state in _STATES),
        "" if queue.oldest is None else length(queue.oldest),
        f"{queue.in_rate:.1f}",
        f"{queue.out_rate:.1f}",
        f"{queue.failed_share:.1%}",
        drained,
        f"{queue.busy}/{queue.slots}",
    )


def _worker(worker: WorkerRow, now: float) -> Iterable[object]:
    longest = max((now - job.started_at.timestamp() for job in worker.jobs), default=None)
    return (
        f"{worker.host}:{worker.pid}",
        worker.state,
        f"{sum(worker.busy.values())}/{sum(worker.slots.values())}",
        worker.running,
        "" if longest is None else length(max(0.0, longest)),
        memory(worker.rss or 0),
        worker.code or worker.version,
    )


def _screen(seen: Overview, workers: list[WorkerRow]) -> RenderableType:
    """The whole screen of `top`."""
    from rich.console import Group
    from rich.text import Text

    now = seen.now.timestamp()
    colours = {"bad": "red", "warn": "yellow"}
    return Group(
        Text(f"{seen.now:%H:%M:%S}Z   {_headline(seen)}   q quits", style="bold"),
        "",
        grid(_QUEUES, map(_queue, seen.queues)),
        "",
        grid(_WORKERS, (_worker(one, now) for one in workers)),
        "",
        *(Text(clean(f"{one.title}: {one.detail}"), style=colours[one.level]) for one in seen.attention),
    )
