"""Workers as the API shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from windlass.broker.port import Broker
from windlass.core.durations import date
from windlass.core.job import Job, Worker
from windlass.core.state import State
from windlass.web.admin.filter import Filter
from windlass.web.admin.matching import matching
from windlass.web.admin.shapes import Held, Past, WorkerRow

RUNNING = 500
"""Running jobs that are told, at most."""


async def rows(broker: Broker, workers: Sequence[Worker]) -> list[WorkerRow]:
    """These workers with the jobs that they hold."""
    held = defaultdict[str, list[Job]](list)
    if any(one.running for one in workers):
        for job in (await matching(broker, Filter(states=(State.RUNNING,)), limit=RUNNING)).jobs:
            held[job.worker or ""].append(job)
    return [row(one, held[one.id]) for one in workers]


def row(worker: Worker, jobs: Sequence[Job] = ()) -> WorkerRow:
    """One worker. jobs: those that it holds."""
    card = worker.card
    return WorkerRow(
        id=worker.id,
        host=card.host,
        pid=card.pid,
        version=card.version,
        code=card.code,
        state=card.state if card.state in ("working", "quiet") else "draining",
        queues=list(card.queues),
        slots=card.slots,
        busy=card.busy,
        running=worker.running,
        started_at=date(card.started_at),
        until=worker.until,
        rss=card.rss or None,
        past=Past(busy=[busy for busy, _ in card.past], mib=[mib for _, mib in card.past]),
        jobs=[Held(id=job.id, task=job.task, queue=job.queue, started_at=job.started_at or job.run_at) for job in jobs],
    )


def slots(workers: Sequence[Worker]) -> tuple[int, int]:
    """How many slots these have, and how many of them are busy."""
    return sum(sum(one.card.slots.values()) for one in workers), sum(sum(one.card.busy.values()) for one in workers)
