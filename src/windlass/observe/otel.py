"""Traces and metrics by OpenTelemetry, as its conventions for messaging have them: `instrument(app)` is the whole installation.

Each enqueue is a span ("send QUEUE"), and so is each run ("process QUEUE"). The context of the first (W3C) travels in the job's `meta`.
A job's first run is a child of the span that enqueued it; a run that was delayed, or is a repeat, begins a trace of its own, with a
link to that span.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, cast
from weakref import WeakSet

from msgspec.structs import replace

from windlass.app import Windlass
from windlass.broker.port import Broker
from windlass.context import Context
from windlass.core.job import NewJob, Placed
from windlass.core.measures import BOUNDS, SERIES
from windlass.core.outcome import Failed, Retried, called
from windlass.core.payload import with_meta
from windlass.errors import Cancel, ConfigurationError, Snooze
from windlass.events import Counted, Event, JobEnded
from windlass.middleware import CallNext
from windlass.worker.call import describe

try:
    from opentelemetry import context, metrics, trace
    from opentelemetry.metrics import Histogram, MeterProvider
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode, TracerProvider
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError:
    raise ConfigurationError("traces need opentelemetry-api: pip install 'windlass[otel]'") from None

SOON = 1.0
"""A job that was due so many seconds after it was enqueued, or later, was delayed."""
_w3c = TraceContextTextMapPropagator()
_instrumented: WeakSet[Windlass] = WeakSet()


def instrument(
    app: Windlass, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> None:
    """Trace and measure what the app enqueues and runs, with the global providers unless others are given. Twice is once.

    To be called before the app is used, where the app is defined: so it holds in the API, in the runners and in their children.
    """
    if app in _instrumented:
        return
    _instrumented.add(app)
    telemetry, before = _Telemetry(tracer_provider, meter_provider), app.around_broker
    app.around_broker = lambda broker: cast(Broker, _Traced(before(broker), telemetry))
    app.middlewares.insert(0, telemetry.process)
    app.events.subscribe(telemetry.ended, JobEnded)
    app.events.subscribe(telemetry.counted, Counted)


class _Telemetry:
    """The instruments of one app."""

    def __init__(self, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None) -> None:
        self.tracer = trace.get_tracer("windlass", version("windlass"), tracer_provider)
        meter = metrics.get_meter("windlass", version("windlass"), meter_provider)
        self.sent = meter.create_counter("messaging.client.sent.messages", "{message}", "Jobs that were enqueued.")
        self.consumed = meter.create_counter("messaging.client.consumed.messages", "{message}", "Runs that ended.")

        def durations(name: str, text: str) -> Histogram:
            return meter.create_histogram(name, "s", text, explicit_bucket_boundaries_advisory=BOUNDS[::4])

        self.sending = durations("messaging.client.operation.duration", "Length of an enqueue.")
        self.processing = durations("messaging.process.duration", "Length of a run.")
        self.waiting = durations("windlass.job.wait", "From when a job was due to its claim.")
        self._known: dict[tuple[str, ...], dict[str, Any]] = {}

    async def process(self, ctx: Context, call_next: CallNext) -> Any:
        """The middleware: a span around the function, which ends with its error."""
        sender = _w3c.extract(ctx.meta, context.Context())  # and not the span in which a worker was started
        sent = trace.get_current_span(sender).get_span_context()
        straight = ctx.attempt == 1 and not ctx.crashes and ctx.due_at - ctx.enqueued_at < SOON
        attributes = _about("process", ctx.queue) | {
            "messaging.message.id": ctx.job_id, "windlass.task": ctx.task, "windlass.attempt": ctx.attempt,
        }  # fmt: skip
        with self.tracer.start_as_current_span(
            f"process {ctx.queue}",
            sender if straight else context.Context(),
            SpanKind.CONSUMER,
            attributes,
            [] if straight or not sent.is_valid else [Link(sent)],
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                return await call_next()
            except (Snooze, Cancel):
                raise  # no error
            except BaseException as error:
                told = describe(error, scrub=ctx.scrub)  # without what is secret
                said = {
                    "exception.type": told.type,
                    "exception.message": told.message,
                    "exception.stacktrace": told.traceback,
                }
                span.add_event("exception", said)
                span.set_attribute("error.type", told.type)
                span.set_status(Status(StatusCode.ERROR, told.message))
                raise

    def ended(self, event: Event) -> None:
        """Measure a run, in the worker: also one whose process died."""
        assert isinstance(event, JobEnded)
        claim, outcome = event.claim, event.outcome
        self.waiting.record(max(0.0, claim.claimed_at - claim.due_at), self._series(claim.queue, claim.task))
        error = outcome.error.type if isinstance(outcome, Failed | Retried) else ""
        said = "lost" if outcome is None else called(outcome)
        self.processing.record(event.seconds, self._series(claim.queue, claim.task, said, error))

    def counted(self, event: Event) -> None:
        """Add what the recorder has added up: so a job pays nothing for it."""
        assert isinstance(event, Counted)
        for one in event.rollups:
            self.consumed.add(one.count, self._series(one.queue, one.task, one.outcome))

    def _series(self, queue: str, task: str, outcome: str = "", error: str = "") -> dict[str, Any]:
        """The attributes of such runs. What is new once there are `SERIES` of them is told as of the queue and the task ""."""
        known = self._known.get((queue, task, outcome, error))
        if known is None:
            if len(self._known) >= SERIES:
                queue = task = error = ""
            told = {"windlass.outcome": outcome, "error.type": error}
            said = {"windlass.task": task} | {name: value for name, value in told.items() if value}
            known = self._known[queue, task, outcome, error] = _about("process", queue) | said
        return known


class _Traced:
    """A broker that puts the trace into what is enqueued; all else is the broker's own."""

    def __init__(self, broker: Broker, telemetry: _Telemetry) -> None:
        self._broker = broker
        self._telemetry = telemetry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def enqueue(self, jobs: Sequence[NewJob], *, now: float | None = None) -> list[Placed]:
        if not jobs:
            return []
        queues, tasks = {job.queue for job in jobs}, {job.task for job in jobs}
        about = _about("send", *queues)
        attributes: dict[str, Any] = about | ({"windlass.task": jobs[0].task} if len(tasks) == 1 else {})
        if len(jobs) == 1:
            attributes["messaging.message.id"] = jobs[0].id
        else:
            attributes["messaging.batch.message_count"] = len(jobs)
        name = " ".join(("send", *queues)) if len(queues) == 1 else "send"
        started = time.monotonic()
        with self._telemetry.tracer.start_as_current_span(name, kind=SpanKind.PRODUCER, attributes=attributes):
            carrier: dict[str, str] = {}
            _w3c.inject(carrier)
            if carrier:
                jobs = [replace(job, body=with_meta(job.body, carrier)) for job in jobs]
            placed = await self._broker.enqueue(jobs, now=now)
        self._telemetry.sent.add(len(jobs), about)
        self._telemetry.sending.record(time.monotonic() - started, about)
        return placed


def _about(operation: str, *queues: str) -> dict[str, Any]:
    """The attributes that spans and metrics share."""
    told = {
        "messaging.system": "windlass",
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
    }
    return told | ({"messaging.destination.name": queues[0]} if len(queues) == 1 else {})
