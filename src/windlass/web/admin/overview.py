"""The whole at a glance: totals, queues, and what needs attention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from windlass.core.job import StoreInfo, Worker
from windlass.core.measures import Fault
from windlass.core.state import State
from windlass.web.admin import charts
from windlass.web.admin.desk import Desk
from windlass.web.admin.queues import Scene, rows
from windlass.web.admin.shapes import Attention, Deploy, Overview, QueueRow, Slots
from windlass.web.admin.words import length, plural
from windlass.web.admin.workers import slots

NEW = 3600.0
"""Seconds for which a failure that was not seen before is new."""
TOLD = 5
"""New failures that are told one by one."""
BACKLOG = 100
"""Ready jobs from which on a queue that grows is worth a word."""
GROWS = 1.1
"""So many times more must come in than go out."""
DANGER = "DANGER: "
"""How a store's remark begins that tells of jobs which can be lost."""


def overview(desk: Desk, of: Scene, faults: Sequence[Fault], store: StoreInfo) -> Overview:
    """What a scene shows."""
    queues, totals = rows(desk, of), Counter[State]()
    for queue in of.queues:
        totals.update(queue.counts)
    total, busy = slots(of.workers)
    return Overview(
        now=datetime.fromtimestamp(of.now, UTC),
        totals={state: totals[state] for state in State},
        done_rate=of.lately.whole.count() / of.lately.length,
        failed_share=charts.failed_share([one.whole for one in of.cells]),
        oldest=max((one.oldest for one in queues if one.oldest is not None), default=None),
        slots=Slots(busy=busy, total=total),
        workers=len(of.workers),
        series=charts.series(of.cells, of.axis),
        queues=queues,
        attention=list(attention(queues, of.workers, faults, store, of.now)),
        deploys=deploys(of.workers, of.axis.start),
    )


def deploys(workers: Sequence[Worker], since: float) -> list[Deploy]:
    """Since when each version of the code runs, of those that came since then."""
    first: dict[str, float] = {}
    for card in (one.card for one in workers if one.card.code):
        first[card.code] = min(card.started_at, first.get(card.code, card.started_at))
    came = sorted((at, version) for version, at in first.items() if at >= since)
    return [Deploy(at=datetime.fromtimestamp(at, UTC), version=version) for at, version in came]


def attention(
    queues: Sequence[QueueRow], workers: Sequence[Worker], faults: Sequence[Fault], store: StoreInfo, now: float
) -> Iterator[Attention]:
    """What a person should look at, the worst first."""
    found = [*_of_queues(queues, workers), *_of_faults(faults, now), *_of_workers(queues, workers)]
    for remark in store.remarks:
        if remark.startswith(DANGER):
            title = "Accepted jobs can be lost"
            said = remark.removeprefix(DANGER)
            found.append(Attention(kind="durability", level="bad", title=title, detail=said, to="/system"))
    yield from sorted(found, key=lambda one: one.level != "bad")


def _of_faults(faults: Sequence[Fault], now: float) -> Iterator[Attention]:
    new = [one for one in faults if one.state == "open" and one.first_seen >= now - NEW]
    for fault in new[:TOLD]:
        since = f" since {fault.versions[0]}" if fault.versions else ""
        title, detail = f"{fault.task} fails in a new way", f"{plural(fault.count, 'time')} {fault.type}{since}"
        yield Attention(kind="failure", level="bad", title=title, detail=detail, to="/failures")
    if more := new[TOLD:]:
        title, detail = f"{len(more):,} more new failures", "of other tasks, or in other places"
        yield Attention(kind="failure", level="bad", title=title, detail=detail, to="/failures")


def _of_queues(queues: Sequence[QueueRow], workers: Sequence[Worker]) -> Iterator[Attention]:
    served = {name for worker in workers for name in worker.card.queues}
    for queue in queues:
        ready, parked, to = queue.counts.get(State.READY, 0), queue.counts.get(State.PARKED, 0), _path(queue)
        waits = (
            f"{plural(ready, 'job')} {'waits' if ready == 1 else 'wait'}, the oldest for {length(queue.oldest or 0.0)}"
        )
        if ready and queue.paused:
            yield Attention(kind="stalled", level="warn", title=f"{queue.name} is paused", detail=waits, to=to)
        elif ready and workers and queue.name not in served:
            yield Attention(kind="stalled", level="bad", title=f"No worker takes {queue.name}", detail=waits, to=to)
        elif ready >= BACKLOG and queue.drain is None and queue.in_rate > GROWS * queue.out_rate:
            rates = f"{ready:,} ready, {queue.in_rate:.1f} a second come in and {queue.out_rate:.1f} go out"
            yield Attention(kind="backlog", level="warn", title=f"{queue.name} grows", detail=rates, to=to)
        if parked:
            title = f"{plural(parked, 'job')} of {queue.name} {'is' if parked == 1 else 'are'} parked"
            detail = "no worker could make sense of them; they are kept until one can"
            to = f"/jobs?q={quote(f'state:parked queue:{_quoted(queue.name)}')}"
            yield Attention(kind="parked", level="warn", title=title, detail=detail, to=to)


def _of_workers(queues: Sequence[QueueRow], workers: Sequence[Worker]) -> Iterator[Attention]:
    waiting = sum(queue.counts.get(State.READY, 0) for queue in queues)
    if waiting and not workers:
        detail = f"{plural(waiting, 'job')} {'waits' if waiting == 1 else 'wait'}; start one: windlass worker"
        yield Attention(kind="workers", level="bad", title="No worker is alive", detail=detail, to="/workers")
    for worker in workers:
        if worker.card.state == "stuck":
            detail = f"the event loop of process {worker.card.pid} stands still; its page can show its stacks"
            to = f"/workers/{quote(worker.id, safe='')}"
            yield Attention(
                kind="workers", level="bad", title=f"A worker on {worker.card.host} is stuck", detail=detail, to=to
            )
    codes = Counter(worker.card.code for worker in workers)
    if len(codes) > 1:
        said = ", ".join(
            f"{plural(number, 'worker')}: {code or 'no version'}" for code, number in sorted(codes.items())
        )
        title = f"{len(codes)} versions of the code run"
        yield Attention(kind="workers", level="warn", title=title, detail=said, to="/system")


def _path(queue: QueueRow) -> str:
    return f"/queues/{quote(queue.name, safe='')}"


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
