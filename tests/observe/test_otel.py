"""Traces and metrics by OpenTelemetry: who is whose parent, what is linked, and what is said of errors."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from itertools import count
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from windlass import Cancel, InvalidArguments, JobCancelled, JobFailed, Retry, Seal, Secret, Snooze, Windlass, current
from windlass.broker.memory import MemoryBroker
from windlass.core.ids import new_id
from windlass.core.job import Claim
from windlass.core.measures import SERIES, Rollup
from windlass.core.outcome import Succeeded
from windlass.core.payload import unpack
from windlass.errors import BrokerUnavailable, ConfigurationError
from windlass.events import Counted, JobEnded
from windlass.fastapi import Accepted, JobAccepted, Tasks, jobs_router
from windlass.observe.otel import instrument
from windlass.worker.runner import working

_numbers = count()


class Told:
    """The spans and metrics so far."""

    def __init__(self) -> None:
        self._spans, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._reader])

    def spans(self, name: str) -> list[ReadableSpan]:
        """The spans of that name, in the order of their ends."""
        return [one for one in self._spans.get_finished_spans() if one.name == name]

    def points(self, name: str) -> list[Any]:
        """The data points of a metric."""
        data = self._reader.get_metrics_data()
        every = (
            [one for of in data.resource_metrics for scope in of.scope_metrics for one in scope.metrics] if data else []
        )
        return [point for one in every if one.name == name for point in one.data.data_points]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def app(told: Told) -> Windlass:
    app = Windlass(f"memory://otel-{next(_numbers)}", beat=0.05, upkeep=0.05, lease=2, processes=1)
    instrument(app, told.tracers, told.meters)
    return app


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def ids(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id


# --- who belongs to whom ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lane", ["loop", "thread"])
@pytest.mark.parametrize("way", ["enqueue", "delay", "many"])
async def test_a_run_is_a_child_of_the_enqueue_and_that_of_its_caller(
    app: Windlass, told: Told, lane: Any, way: str
) -> None:
    tracer = told.tracers.get_tracer("shop")

    async def work(number: int) -> None:
        with tracer.start_as_current_span("inside"):
            pass

    def work_in_thread(number: int) -> None:
        with tracer.start_as_current_span("inside"):
            pass

    task = app.task(lane=lane, queue="mail", name="work")(work if lane == "loop" else work_in_thread)
    with tracer.start_as_current_span("request") as request:
        if way == "enqueue":
            job = await task.enqueue(1)
        elif way == "delay":
            job = task.delay(1)
        else:
            (job,) = await app.enqueue_many([task.bind(1)])
    async with working(app):
        await job.result(timeout=30)
    (send,), (process,), (inside,) = told.spans("send mail"), told.spans("process mail"), told.spans("inside")
    assert (send.kind, process.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert parent(send) == request.get_span_context().span_id
    assert parent(process) == ids(send)[1]
    assert parent(inside) == ids(process)[1]
    assert len({ids(one)[0] for one in (send, process, inside)}) == 1
    assert not process.links
    attributes = {
        "messaging.system": "windlass", "messaging.operation.type": "process", "messaging.operation.name": "process",
        "messaging.destination.name": "mail", "messaging.message.id": job.id, "windlass.task": "work", "windlass.attempt": 1,
    }  # fmt: skip
    assert dict(process.attributes or {}) == attributes
    del attributes["windlass.attempt"]
    of_send = attributes | {"messaging.operation.type": "send", "messaging.operation.name": "send"}
    assert dict(send.attributes or {}) == of_send
    assert (process.status.status_code, process.events) == (StatusCode.UNSET, ())


async def test_a_repeat_and_a_delayed_run_begin_traces_of_their_own_with_a_link(app: Windlass, told: Told) -> None:
    @app.task(retry=Retry(attempts=2, first=0))
    async def fails_once() -> None:
        if current().attempt == 1:
            raise ValueError("not yet")

    @app.task
    async def late() -> None: ...

    again, delayed = await fails_once.enqueue(), await late.options(delay=1.1).enqueue()
    async with working(app):
        await again.result(timeout=30)
        await delayed.result(timeout=30)
    sent = {dict(one.attributes or {})["messaging.message.id"]: ids(one) for one in told.spans("send default")}
    runs: dict[Any, list[ReadableSpan]] = {}
    for one in told.spans("process default"):
        runs.setdefault(dict(one.attributes or {})["messaging.message.id"], []).append(one)
    first, second = runs[again.id]
    (third,) = runs[delayed.id]
    assert (ids(first)[0], parent(first), first.links) == (sent[again.id][0], sent[again.id][1], ())
    for run, job in ((second, again), (third, delayed)):
        assert run.parent is None
        (link,) = run.links
        assert (link.context.trace_id, link.context.span_id) == sent[job.id]
        assert ids(run)[0] != sent[job.id][0]


async def test_one_batch_is_one_span(app: Windlass, told: Told) -> None:
    @app.task
    async def one() -> None: ...

    @app.task(queue="mail")
    async def two() -> None: ...

    async with app.lifespan():
        await app.enqueue_many([one.bind(), two.bind(), two.bind()])
        await app.enqueue_many([two.bind(), two.bind()])
        await app.enqueue_many([])
        jobs = (await (await app.broker()).find()).jobs
    (mixed,), (pure,) = told.spans("send"), told.spans("send mail")
    assert dict(mixed.attributes or {})["messaging.batch.message_count"] == 3
    assert "messaging.destination.name" not in dict(mixed.attributes or {})
    assert dict(pure.attributes or {})["messaging.batch.message_count"] == 2
    assert {unpack(job.body).meta["traceparent"][36:52] for job in jobs} == {
        f"{ids(span)[1]:016x}" for span in (mixed, pure)
    }


async def test_what_fastapi_traces_is_the_parent(app: Windlass, told: Told) -> None:
    @app.task
    async def work() -> None: ...

    api = FastAPI()
    api.include_router(jobs_router(app), prefix="/jobs")
    tracer = told.tracers.get_tracer("the server")

    @api.middleware("http")
    async def served(request: Any, call_next: Callable[[Any], Any]) -> Any:
        with tracer.start_as_current_span(request.url.path, kind=SpanKind.SERVER):
            return await call_next(request)

    @api.post("/accepted", status_code=202)
    async def accepted(accept: Accepted) -> JobAccepted:
        return await accept(work.bind())

    @api.post("/batch")
    async def batch(tasks: Tasks) -> None:
        tasks.add_task(work)

    async with (
        app.lifespan(),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(api), base_url="http://here") as client,
    ):
        for path in ("/accepted", "/batch"):
            assert (await client.post(path)).is_success
    for path, send in zip(("/accepted", "/batch"), told.spans("send default"), strict=True):
        (server,) = told.spans(path)
        assert parent(send) == ids(server)[1]


# --- how it ends --------------------------------------------------------------------------------------------


async def test_an_error_is_told_without_what_is_secret(app: Windlass, told: Told) -> None:
    @app.task(retry=Retry(attempts=1))
    async def boom(password: Annotated[str, Secret]) -> None:
        raise ValueError(f"wrong: {password}")

    job = await boom.enqueue("hunter2-hunter2")
    async with working(app):
        with pytest.raises(JobFailed):
            await job.result(timeout=30)
    (span,) = told.spans("process default")
    assert span.status.status_code is StatusCode.ERROR
    assert dict(span.attributes or {})["error.type"] == "ValueError"
    (event,) = span.events
    assert event.name == "exception"
    said = dict(event.attributes or {})
    assert said["exception.message"] == "wrong: [secret]"
    assert "in boom" in str(said["exception.stacktrace"])
    assert "hunter2" not in span.to_json()


@pytest.mark.parametrize("signal", [Snooze(0), Cancel("enough")])
async def test_what_a_job_says_on_purpose_is_no_error(app: Windlass, told: Told, signal: Exception) -> None:
    @app.task
    async def says() -> None:
        if len(told.spans("process default")) == 0:
            raise signal

    job = await says.enqueue()
    async with working(app):
        try:
            await job.result(timeout=30)
        except JobCancelled:
            pass
    first = told.spans("process default")[0]
    assert (first.status.status_code, first.events) == (StatusCode.UNSET, ())


async def test_an_enqueue_that_fails_ends_its_span_with_the_error(
    app: Windlass, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.task
    async def work() -> None: ...

    async def away(*_: Any, **__: Any) -> None:
        raise BrokerUnavailable("nobody listens")

    monkeypatch.setattr(MemoryBroker, "enqueue", away)
    with pytest.raises(BrokerUnavailable):
        await work.enqueue()
    (span,) = told.spans("send default")
    assert span.status.status_code is StatusCode.ERROR
    assert not told.points("messaging.client.sent.messages")


async def test_metrics(app: Windlass, told: Told) -> None:
    @app.task(name="fine")
    async def fine() -> None: ...

    @app.task(name="bad", queue="mail", retry=Retry(attempts=1))
    def bad() -> None:
        raise OSError("no")

    jobs = await app.enqueue_many([fine.bind(), fine.bind(), bad.bind()])
    jobs.append(await fine.enqueue())
    async with working(app):
        await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), 30)
    assert sum(point.value for point in told.points("messaging.client.sent.messages")) == 4
    points: list[HistogramDataPoint] = told.points("messaging.process.duration")
    ran = {(one.attributes or {})["windlass.task"]: one for one in points}
    assert {task: one.count for task, one in ran.items()} == {"fine": 3, "bad": 1}
    assert dict(ran["bad"].attributes or {}) == {
        "messaging.system": "windlass", "messaging.operation.type": "process", "messaging.operation.name": "process",
        "messaging.destination.name": "mail", "windlass.task": "bad", "windlass.outcome": "failed", "error.type": "OSError",
    }  # fmt: skip
    assert len(told.points("messaging.client.operation.duration")) == 2
    waited = {(one.attributes or {})["windlass.task"]: one for one in told.points("windlass.job.wait")}
    assert {task: one.count for task, one in waited.items()} == {"fine": 3, "bad": 1}
    assert "windlass.outcome" not in (waited["bad"].attributes or {})
    consumed = told.points("messaging.client.consumed.messages")
    assert {(one.attributes["windlass.task"], one.attributes["windlass.outcome"], one.value) for one in consumed} == {
        ("fine", "succeeded", 3), ("bad", "failed", 1),
    }  # fmt: skip


async def test_the_wait_is_from_when_a_job_was_due(app: Windlass, told: Told) -> None:
    claim = Claim(
        id=new_id(), task="work", queue="mail", lane="loop", body=b"", token=1, attempt=1, crashes=0, crash_limit=3,
        enqueued_at=10.0, due_at=70.0, claimed_at=100.0,
    )  # fmt: skip
    app.events.emit(JobEnded(claim, Succeeded(b"1"), 2.0))
    (waited,), (ran,) = told.points("windlass.job.wait"), told.points("messaging.process.duration")
    assert (waited.sum, ran.sum) == (30.0, 2.0)


async def test_the_labels_are_bounded(app: Windlass, told: Told) -> None:
    """A queue for each tenant, and errors that make up their names, must not fill the memory of what measures them."""
    for start in range(0, 2 * SERIES, 100):
        app.events.emit(
            Counted([Rollup(f"tenant-{n}", "work", "succeeded", 2, {}, {}) for n in range(start, start + 100)])
        )
    points = told.points("messaging.client.consumed.messages")
    assert len(points) == SERIES + 1
    assert sum(point.value for point in points) == 4 * SERIES
    (others,) = [one for one in points if one.attributes["messaging.destination.name"] == ""]
    assert others.value == 2 * SERIES


# --- what it does not do ------------------------------------------------------------------------------------


async def test_without_a_provider_jobs_are_as_they_were() -> None:
    app = Windlass("memory://no-provider")

    @app.task
    async def work(number: int) -> int:
        return number

    plain = work.bind(1).job.body
    instrument(app)
    job = await work.enqueue(1)
    (stored,) = await (await app.broker()).get([job.id])
    assert stored is not None
    assert stored.body == plain
    async with working(app):
        assert await job.result(timeout=30) == 1
    assert not trace.get_current_span().get_span_context().is_valid


async def test_instrumenting_twice_is_instrumenting_once(app: Windlass, told: Told) -> None:
    instrument(app, told.tracers, told.meters)

    @app.task
    async def work() -> None: ...

    async with app.lifespan():
        await work.enqueue()
    assert len(told.spans("send default")) == 1
    assert len(app.middlewares) == 1


async def test_the_tags_of_a_job_stay_and_a_seal_holds(told: Told) -> None:
    app = Windlass("memory://sealed-and-traced", seal=Seal.signing({"k": b"k" * 32}))
    instrument(app, told.tracers, told.meters)
    seen: dict[str, str] = {}

    @app.task(meta={"tenant": "7"}, timeout="1m")
    async def work(number: int) -> int:
        seen.update(current().meta)
        return number

    job = await work.enqueue(3)
    async with working(app):
        assert await job.result(timeout=30) == 3
    assert seen.pop("traceparent").split("-")[1] == f"{ids(told.spans('send default')[0])[0]:032x}"
    assert seen == {"tenant": "7"}


async def test_a_bad_argument_sends_nothing(app: Windlass, told: Told) -> None:
    @app.task
    async def work(number: int) -> None: ...

    with pytest.raises(InvalidArguments):
        await work.enqueue("seven")  # type: ignore[arg-type]  # that is the test
    assert not told.spans("send default")


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-0-0-00", "ff-" + "f" * 32 + "-" + "f" * 16 + "-01"])
async def test_a_trace_that_makes_no_sense_is_none(app: Windlass, told: Told, traceparent: str) -> None:
    @app.task
    async def work() -> None: ...

    plain = Windlass(app.url)
    plain._first = app._first  # the same store, not instrumented
    job = (
        await plain.task(name=work.name)(work.definition.function).options(meta={"traceparent": traceparent}).enqueue()
    )
    async with working(app):
        await job.result(timeout=30)
    (span,) = told.spans("process default")
    assert span.parent is None
    assert not span.links


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "windlass.observe.otel")
    with pytest.raises(ConfigurationError, match=r"pip install 'windlass\[otel\]'"):
        importlib.import_module("windlass.observe.otel")
