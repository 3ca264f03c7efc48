"""Metrics for Prometheus: what a worker has counted, and what the store says of its queues and workers.

What a worker counts is its own, and sums over workers are right. What the store says (`windlass_queue_*`, `windlass_workers`) is the same
wherever it is asked: take its `max`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple

from windlass.broker.port import Broker
from windlass.core.job import Card, QueueInfo, Worker
from windlass.core.measures import BOUNDS, Histogram, Rollup, folded, merged
from windlass.core.state import State
from windlass.errors import ConfigurationError
from windlass.events import Counted, Event, Events, StoreTrouble, WorkerChanged

try:
    from prometheus_client import generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector
except ModuleNotFoundError:
    raise ConfigurationError("metrics need prometheus-client: pip install 'windlass[prometheus]'") from None

FRESH = 3.0
"""Seconds for which an answer of the store is told again."""
PATIENCE = 2.0
"""Seconds that a scrape waits for the store."""
QUEUES = 500
"""Queues that are told apart; the others, by name, are added up as the queue ""."""
CHANGES = ("died", "replaced", "stuck", "stalled", "frozen", "abandoned", "lost")
"""What may happen to a runner that is worth counting; "lost": its lease."""
_Values = Mapping[tuple[str, ...], float]


class _Told(NamedTuple):
    """What the store said."""

    queues: list[QueueInfo]
    workers: list[Worker]


class Metrics(Collector):
    """Hears events, and is scraped. cards: what each runner of this worker says of itself; None where there is no worker."""

    def __init__(self, cards: Callable[[], Sequence[Card]] | None = None) -> None:
        self._cards = cards
        self._rollups: list[Rollup] = []
        self._changes = Counter[str](dict.fromkeys(CHANGES, 0))
        self._troubles = Counter[str](beat=0)
        self._told: _Told | None = None
        self._asked_at = -inf
        self._asking = asyncio.Lock()

    def subscribe(self, events: Events) -> None:
        """Count these events, too."""
        events.subscribe(self._hear, Counted, StoreTrouble, WorkerChanged)

    def _hear(self, event: Event) -> None:
        match event:
            case Counted(rollups):
                self._rollups = folded(self._rollups, rollups)
            case StoreTrouble(verb):
                self._troubles[verb] += 1
            case WorkerChanged(what=what) if what in CHANGES:
                self._changes[what] += 1
            case _:
                pass

    async def scrape(self, broker: Broker | None) -> str:
        """The text for Prometheus. The store is asked once in `FRESH` seconds; when there is none, or no answer, it is down."""
        async with self._asking:
            if time.monotonic() - self._asked_at > FRESH:
                self._told = None if broker is None else await _ask(broker)
                self._asked_at = time.monotonic()
        return generate_latest(self).decode()

    def collect(self) -> Iterator[Metric]:
        """All of them, as they are."""
        yield from _of_runs(self._rollups)
        yield _counter("store_errors", "Calls to the store that failed.", ["verb"], _by_one(self._troubles))
        yield _counter("runner_changes", "What happened to runners.", ["change"], _by_one(self._changes))
        if self._cards is not None:
            yield from _of_runners(self._cards())
        yield _gauge("store_up", "Whether the store answered.", [], {(): float(self._told is not None)})
        if self._told is not None:
            yield from _of_queues(_few(self._told.queues))
            states = Counter({"working": 0}) + Counter(worker.card.state for worker in self._told.workers)
            yield _gauge("workers", "Workers (runners) that are alive.", ["state"], _by_one({"working": 0, **states}))


async def _ask(broker: Broker) -> _Told | None:
    try:
        async with asyncio.timeout(PATIENCE):
            return _Told(await broker.tally(), await broker.workers())
    except Exception:  # whatever it is, the other metrics are told
        return None


# --- families -----------------------------------------------------------------------------------------------


def _of_runs(rollups: Iterable[Rollup]) -> Iterator[Metric]:
    ended: dict[tuple[str, ...], float] = {}
    waits: dict[tuple[str, ...], Histogram] = {}
    runs: dict[tuple[str, ...], Histogram] = {}
    for one in rollups:
        ended[one.key] = one.count
        for found, key, histogram in ((waits, (one.queue,), one.wait), (runs, (one.queue, one.task), one.run)):
            found[key] = merged(found.get(key, {}), histogram)
    yield _counter("jobs", "Runs that ended, by what became of the job.", ["queue", "task", "outcome"], ended)
    yield _histogram("job_wait_seconds", "From when a job was due to the start of its run.", ["queue"], waits)
    yield _histogram("job_run_seconds", "From the start of a run to its end.", ["queue", "task"], runs)


def _of_runners(cards: Sequence[Card]) -> Iterator[Metric]:
    slots, busy = Counter[str](), Counter[str]()
    for card in cards:
        slots.update(card.slots)
        busy.update(card.busy)
    yield _gauge("runners", "Runner processes.", [], {(): len(cards)})
    yield _gauge("slots", "Jobs that can run at once.", ["lane"], _by_one(slots))
    yield _gauge("slots_busy", "Jobs that run.", ["lane"], _by_one(busy))


def _of_queues(queues: Sequence[QueueInfo]) -> Iterator[Metric]:
    jobs: _Values = {(one.name, state.value): one.counts.get(state, 0) for one in queues for state in State}
    yield _gauge("queue_jobs", "Jobs, by the state they are in.", ["queue", "state"], jobs)
    paused: _Values = {(one.name,): float(one.paused) for one in queues}
    yield _gauge("queue_paused", "Whether the queue is paused.", ["queue"], paused)
    now = time.time()
    oldest: _Values = {(one.name,): max(0.0, now - one.oldest) if one.oldest else 0.0 for one in queues}
    text = "For how long the ready job that waits longest has waited; 0 when none is ready."
    yield _gauge("queue_oldest_seconds", text, ["queue"], oldest)


def _few(queues: Sequence[QueueInfo]) -> list[QueueInfo]:
    """Each of the first queues, and the others as one."""
    others = Counter[State]()
    for one in queues[QUEUES:]:
        others.update(one.counts)
    oldest = min((one.oldest for one in queues[QUEUES:] if one.oldest), default=None)
    return [*queues[:QUEUES], *([QueueInfo("", dict(others), oldest=oldest)] if others else [])]


def _by_one(values: Mapping[str, float]) -> _Values:
    return {(name,): value for name, value in values.items()}


def _counter(name: str, text: str, labels: Sequence[str], values: _Values) -> Metric:
    family = CounterMetricFamily(f"windlass_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(name: str, text: str, labels: Sequence[str], values: _Values) -> Metric:
    family = GaugeMetricFamily(f"windlass_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, ...], Histogram]) -> Metric:
    """Every other bound, a factor of 2 apart. The sum is read off the buckets, as if each time were in the middle of its own."""
    family = HistogramMetricFamily(f"windlass_{name}", text, labels=labels)
    for key, times in values.items():
        counts = [times.get(n, 0) for n in range(len(BOUNDS) + 1)]
        middles = [(low + high) / 2 for low, high in zip([0.0, *BOUNDS], [*BOUNDS, BOUNDS[-1]], strict=True)]
        buckets = [(f"{BOUNDS[n]:.3f}", float(sum(counts[: n + 1]))) for n in range(0, len(BOUNDS), 2)]
        total = sum(count * middle for count, middle in zip(counts, middles, strict=True))
        family.add_metric(key, [*buckets, ("+Inf", float(sum(counts)))], total)
    return family
