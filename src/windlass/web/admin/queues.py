"""Queues as the API shows them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from math import ceil
from typing import NamedTuple

from windlass.core.job import QueueInfo, Worker
from windlass.core.measures import merged, percentile
from windlass.core.state import State
from windlass.web.admin import charts
from windlass.web.admin.charts import Axis, Cell, Sum
from windlass.web.admin.desk import Desk, Lately
from windlass.web.admin.shapes import QueueRow, QueueTask, Scale
from windlass.web.admin.workers import slots


class Scene(NamedTuple):
    """What there is now, and what happened along an axis and lately."""

    now: float
    queues: list[QueueInfo]
    workers: list[Worker]
    axis: Axis
    cells: list[Cell]
    lately: Lately


async def scene(desk: Desk, axis: Axis, now: float, queue: str | None = None) -> Scene:
    """All queues, or one of them."""
    broker = await desk.broker()
    tally, workers = await broker.tally(), await broker.workers()
    desk.flows.look(tally, now)
    cells, lately = await desk.history.cells(axis, now, queue), await desk.latest(now)
    queues = [one for one in _all(desk, tally, workers) if queue in (None, one.name)]
    return Scene(now, queues, workers, axis, cells, lately)


def _all(desk: Desk, tally: Iterable[QueueInfo], workers: Iterable[Worker]) -> list[QueueInfo]:
    """The queues that hold something, and those that a worker or a task names."""
    found = {one.name: one for one in tally}
    names = {name for worker in workers for name in worker.card.queues}
    names |= {definition.queue for definition in desk.app.definitions.values()}
    return [found.get(name) or QueueInfo(name, {}) for name in sorted(found.keys() | names)]


def _wait(queue: QueueInfo, now: float) -> float | None:
    """How long the ready job that is due for longest has waited."""
    return None if queue.oldest is None else max(0.0, now - queue.oldest)


def rows(desk: Desk, of: Scene) -> list[QueueRow]:
    """All queues of a scene."""
    return [_row(desk, of, queue) for queue in of.queues]


def _row(desk: Desk, of: Scene, queue: QueueInfo) -> QueueRow:
    parts = [one.queues.get(queue.name) for one in of.cells]
    out = sum(of.lately.queues.get(queue.name, Sum()).outcomes.values()) / of.lately.length
    growth, ready = desk.flows.growth(queue, of.now), queue.counts.get(State.READY, 0)
    shrinks = out if growth is None else -growth
    total, busy = slots([one for one in of.workers if queue.name in one.card.queues])
    return QueueRow(
        name=queue.name,
        paused=queue.paused,
        counts=queue.counts,
        oldest=_wait(queue, of.now),
        in_rate=max(0.0, out + (growth or 0.0)),
        out_rate=out,
        drain=0.0 if not ready else ready / shrinks if shrinks > 0 else None,
        failed_share=charts.failed_share(parts),
        spark=charts.spark(parts),
        slots=total,
        busy=busy,
    )


def tasks(cells: Sequence[Cell]) -> list[QueueTask]:
    """What was done of each task, the most first."""
    found = [
        QueueTask(
            name=name,
            count=charts.count(parts),
            failed_share=charts.failed_share(parts),
            p95=percentile(merged(*(one.run for one in parts)), 0.95),
        )
        for name, parts in charts.by_task(cells).items()
        if name
    ]
    return sorted(found, key=lambda one: (-one.count, one.name))


async def scale(desk: Desk, name: str) -> Scale | None:
    """What an autoscaler goes by; None when there is no such queue."""
    broker, now = await desk.broker(), time.time()
    workers = await broker.workers()
    queue = next((one for one in _all(desk, await broker.tally(), workers) if one.name == name), None)
    if queue is None:
        return None
    ready, running = queue.counts.get(State.READY, 0), queue.counts.get(State.RUNNING, 0)
    size = _size(desk, name, [one for one in workers if name in one.card.queues])
    return Scale(
        ready=ready,
        running=running,
        oldest=_wait(queue, now) or 0.0,
        wanted_workers=ceil((running + (0 if queue.paused else ready)) / size),
    )


def _size(desk: Desk, queue: str, serving: Sequence[Worker]) -> int:
    """How many jobs of a queue one worker runs at once: those that serve it, or one with the settings that we know."""
    settings = desk.app.settings
    own = {"loop": settings.concurrency, "thread": settings.threads, "process": settings.processes}
    lanes = {one.slot for one in desk.app.definitions.values() if one.queue == queue} or own.keys()
    sizes = [sum(of.get(lane, 0) for lane in lanes) for of in [one.card.slots for one in serving] or [own]]
    return max(1, sum(sizes) // len(sizes))
