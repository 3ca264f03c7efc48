"""Metrics for Prometheus: what is counted, what the store says, and that neither can grow or hang."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client.samples import Sample

from scraped import samples, value
from windlass import Fail, Retry, Windlass
from windlass.broker.memory import MemoryBroker
from windlass.core.ids import new_id
from windlass.core.job import Card, NewJob, QueueInfo
from windlass.core.measures import SERIES, Rollup, histogram_of
from windlass.core.state import State
from windlass.errors import BrokerUnavailable, ConfigurationError
from windlass.events import Counted, Events, StoreTrouble, WorkerChanged
from windlass.fastapi import jobs_router, metrics_router
from windlass.observe import prometheus
from windlass.observe.prometheus import Metrics
from windlass.worker import recorder
from windlass.worker.runner import working


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def metrics(events: Events) -> Metrics:
    metrics = Metrics()
    metrics.subscribe(events)
    return metrics


def rollup(task: str, outcome: str = "succeeded", *runs: float, queue: str = "q") -> Rollup:
    return Rollup(queue, task, outcome, len(runs), histogram_of([0.5] * len(runs)), histogram_of(runs))


async def of_store(**queues: dict[State, int]) -> MemoryBroker:
    """A store with jobs that are ready."""
    store = MemoryBroker()
    for queue, counts in queues.items():
        await store.enqueue([NewJob(id=new_id(), task="t", body=b"", queue=queue) for _ in range(counts[State.READY])])
    return store


# --- what is counted ----------------------------------------------------------------------------------------


async def test_runs_add_up(events: Events, metrics: Metrics) -> None:
    events.emit(Counted([rollup("a", "succeeded", 0.1, 0.2), rollup("b", "failed", 3.0)]))
    events.emit(Counted([rollup("a", "succeeded", 0.1), rollup("a", "failed", 3.0)]))
    told = await metrics.scrape(None)
    for task, outcome, count in (("a", "succeeded", 3), ("a", "failed", 1), ("b", "failed", 1)):
        assert value(told, "windlass_jobs_total", queue="q", task=task, outcome=outcome) == count
    assert value(told, "windlass_job_run_seconds_count", queue="q", task="a") == 4
    assert value(told, "windlass_job_wait_seconds_count", queue="q") == 5


async def test_times_are_in_buckets_a_factor_of_two_apart(events: Events, metrics: Metrics) -> None:
    events.emit(Counted([rollup("a", "succeeded", 0.001, 0.0011, 1.0, 1.5, 1e6)]))
    told = [one for one in samples(await metrics.scrape(None)) if one.name == "windlass_job_run_seconds_bucket"]
    below = {float(one.labels["le"]): one.value for one in told}
    assert [round(high / low, 6) for low, high in pairwise(list(below)[:-1])] == [2.0] * (len(below) - 2)
    assert [below[bound] for bound in (0.001, 0.002, 0.512, 1.024, 2.048, 67108.864, float("inf"))] == [
        1,
        2,
        2,
        3,
        4,
        4,
        5,
    ]


async def test_the_sum_of_times_is_near_the_truth(events: Events, metrics: Metrics) -> None:
    """It is read off buckets whose ends are a factor of sqrt(2) apart, so no time counts for more than 21 % too much or too little."""
    times = [1.01**n / 100 for n in range(1000)]
    events.emit(Counted([rollup("a", "succeeded", *times)]))
    total = value(await metrics.scrape(None), "windlass_job_run_seconds_sum", queue="q", task="a")
    assert total == pytest.approx(sum(times), rel=0.05)


async def test_trouble_is_counted_from_zero_on(events: Events, metrics: Metrics) -> None:
    """A counter that begins with 1 tells Prometheus of no increase."""
    before = await metrics.scrape(None)
    for change in prometheus.CHANGES:
        assert value(before, "windlass_runner_changes_total", change=change) == 0
    for change in ("died", "died", "lost", "started", "a change that nobody knows"):
        events.emit(WorkerChanged("w", change))
    events.emit(StoreTrouble("settle", OSError("gone")))
    told = await metrics.scrape(None)
    assert value(told, "windlass_runner_changes_total", change="died") == 2
    assert value(told, "windlass_runner_changes_total", change="lost") == 1
    assert value(told, "windlass_store_errors_total", verb="settle") == 1
    assert len([one for one in samples(told) if one.name == "windlass_runner_changes_total"]) == len(prometheus.CHANGES)


async def test_endless_tasks_make_no_endless_metrics(events: Events, metrics: Metrics) -> None:
    for start in range(0, 3 * SERIES, 100):
        events.emit(Counted([rollup(f"task-{n}", "succeeded", 0.1) for n in range(start, start + 100)]))
    told = [one for one in samples(await metrics.scrape(None)) if one.name == "windlass_jobs_total"]
    assert len(told) == SERIES + 1
    assert sum(one.value for one in told) == 3 * SERIES


async def test_slots_of_all_runners() -> None:
    cards = [Card(host="h", pid=n, slots={"loop": 10, "thread": 2}, busy={"loop": n, "thread": 0}) for n in (1, 2)]
    told = await Metrics(lambda: cards).scrape(None)
    assert value(told, "windlass_runners") == 2
    assert [value(told, "windlass_slots", lane=lane) for lane in ("loop", "thread")] == [20, 4]
    assert [value(told, "windlass_slots_busy", lane=lane) for lane in ("loop", "thread")] == [3, 0]


async def test_names_that_would_break_the_format(events: Events, metrics: Metrics) -> None:
    name = 'a"b\\c}\n# HELP x'
    events.emit(Counted([rollup(name, "succeeded", 0.1)]))
    assert value(await metrics.scrape(None), "windlass_jobs_total", queue="q", task=name, outcome="succeeded") == 1


# --- what the store says ------------------------------------------------------------------------------------


async def test_the_oldest_job_is_told_before_anybody_runs_it(metrics: Metrics) -> None:
    now = time.time()
    queues = [QueueInfo("late", {State.READY: 1}, oldest=now - 60), QueueInfo("idle", {})]
    queues += [QueueInfo(f"more-{n:03}", {State.READY: 1}, oldest=now - n) for n in range(prometheus.QUEUES)]
    told = await metrics.scrape(Counting(lambda: queues))
    late, idle, others = (value(told, "windlass_queue_oldest_seconds", queue=queue) for queue in ("late", "idle", ""))
    assert 60 <= late < 120
    assert idle == 0
    assert prometheus.QUEUES - 1 <= others < prometheus.QUEUES + 60  # those beyond the limit are one


async def test_queues_and_workers(metrics: Metrics) -> None:
    store = await of_store(mail={State.READY: 3}, video={State.READY: 1})
    await store.pause("video")
    await store.beat("w1", Card(host="h", pid=1), 60.0)
    told = await metrics.scrape(store)
    assert value(told, "windlass_store_up") == 1
    assert value(told, "windlass_queue_jobs", queue="mail", state="ready") == 3
    assert value(told, "windlass_queue_jobs", queue="mail", state="running") == 0
    assert [value(told, "windlass_queue_paused", queue=queue) for queue in ("mail", "video")] == [0, 1]
    assert value(told, "windlass_workers", state="working") == 1


async def test_no_worker_is_a_number_too(metrics: Metrics) -> None:
    assert value(await metrics.scrape(MemoryBroker()), "windlass_workers", state="working") == 0


class Counting(MemoryBroker):
    """Counts how often it is asked, and says what it is told to say."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        super().__init__()
        self.asked = 0
        self._say = answer

    async def tally(self) -> list[QueueInfo]:
        self.asked += 1
        await asyncio.sleep(0)
        answer = self._say()
        return await answer if asyncio.iscoroutine(answer) else answer


async def test_many_scrapes_ask_the_store_once() -> None:
    metrics, store = Metrics(), Counting(list)
    told = await asyncio.gather(*(metrics.scrape(store) for _ in range(10)))
    assert store.asked == 1
    assert len(set(told)) == 1


async def test_what_the_store_said_is_forgotten_in_time(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "FRESH", 0.0)
    store = Counting(list)
    for _ in range(3):
        await metrics.scrape(store)
    assert store.asked == 3


async def test_a_store_that_is_away_is_down_and_nothing_old_is_told_of_it(
    events: Events, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise BrokerUnavailable("nobody listens")

    monkeypatch.setattr(prometheus, "FRESH", 0.0)
    events.emit(Counted([rollup("a", "succeeded", 0.1)]))
    assert value(await metrics.scrape(await of_store(mail={State.READY: 1})), "windlass_store_up") == 1
    for broker in (Counting(away), None):
        told = await metrics.scrape(broker)
        assert value(told, "windlass_store_up") == 0
        assert not [one for one in samples(told) if one.name.startswith(("windlass_queue", "windlass_workers"))]
        assert value(told, "windlass_jobs_total", queue="q", task="a", outcome="succeeded") == 1


async def test_a_store_that_hangs_is_not_waited_for(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "PATIENCE", 0.01)
    store = Counting(asyncio.Event().wait)
    assert value(await asyncio.wait_for(metrics.scrape(store), 30), "windlass_store_up") == 0


async def test_endless_queues_make_no_endless_metrics(metrics: Metrics) -> None:
    many = [QueueInfo(f"queue-{n:06}", {State.READY: 1}) for n in range(prometheus.QUEUES + 1000)]
    told = samples(await metrics.scrape(Counting(lambda: many)))
    ready = [one for one in told if one.name == "windlass_queue_jobs" and one.labels["state"] == "ready"]
    assert len(ready) == prometheus.QUEUES + 1
    assert sum(one.value for one in ready) == len(many)


# --- in an app ----------------------------------------------------------------------------------------------


async def test_it_is_mounted_in_an_api_with_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """And its counts are those of the store."""
    monkeypatch.setattr(recorder, "PERIOD", 0.01)
    monkeypatch.setattr(prometheus, "FRESH", 0.0)
    app = Windlass("memory://metrics")

    @app.task(name="fine")
    async def fine() -> None: ...

    @app.task(name="bad", queue="mail", retry=Retry(attempts=1))
    def bad() -> None:
        raise Fail("no")

    api = FastAPI()
    api.include_router(jobs_router(app))
    api.include_router(metrics_router(app), prefix="/internal")
    client = httpx2.AsyncClient(transport=httpx2.ASGITransport(api), base_url="http://here")
    async with app.lifespan(), client:
        jobs = await app.enqueue_many([*(fine.bind() for _ in range(5)), bad.bind()])
        before = await client.get("/internal/metrics")
        assert before.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert value(before.text, "windlass_queue_jobs", queue="default", state="ready") == 5
        async with working(app):
            await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), 30)
        told = (await client.get("/internal/metrics")).text
    assert value(told, "windlass_jobs_total", queue="default", task="fine", outcome="succeeded") == 5
    assert value(told, "windlass_jobs_total", queue="mail", task="bad", outcome="failed") == 1
    assert value(told, "windlass_queue_jobs", queue="default", state="succeeded") == 5
    assert value(told, "windlass_queue_jobs", queue="mail", state="failed") == 1
    assert value(told, "windlass_job_run_seconds_count", queue="default", task="fine") == 5
    assert not [one for one in samples(told) if one.name == "windlass_slots"]


async def test_an_api_whose_store_is_away_still_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Windlass("memory://away")

    async def away() -> None:
        raise BrokerUnavailable("nobody listens")

    monkeypatch.setattr(app, "broker", away)
    api = FastAPI()
    api.include_router(metrics_router(app))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(api), base_url="http://here") as client:
        answer = await client.get("/metrics")
    assert (answer.status_code, value(answer.text, "windlass_store_up")) == (200, 0)


def test_samples_are_what_they_seem() -> None:
    assert samples('a{b="c"} 1\n') == [Sample("a", {"b": "c"}, 1.0)]


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "windlass.observe.prometheus")
    with pytest.raises(ConfigurationError, match=r"pip install 'windlass\[prometheus\]'"):
        importlib.import_module("windlass.observe.prometheus")
