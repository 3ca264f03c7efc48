"""Logs: the events of a worker as lines of the standard `logging`, and how those lines look on stderr.

Every line that is about a job carries its id, its task and its attempt: the worker's own lines, and what user code logs in a job. Where the
job was enqueued in a trace, JSON lines carry the trace's id, too: that of the running code, else that of the enqueue.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, cast

import msgspec

from windlass.context import current_or_none
from windlass.core.job import Claim
from windlass.core.outcome import (
    Cancelled,
    ErrorInfo,
    Failed,
    Outcome,
    Parked,
    Released,
    Retried,
    Snoozed,
    Succeeded,
    Suspended,
)
from windlass.core.payload import Undecodable, unpack
from windlass.core.plain import plain
from windlass.definition import Program
from windlass.errors import BrokerUnavailable
from windlass.events import (
    Counted,
    Event,
    Events,
    JobEnded,
    JobStarted,
    StaleWrite,
    StoreBack,
    StoreTrouble,
    WorkerChanged,
)

LogFormat = Literal["plain", "json", "rich"]

logger = logging.getLogger("windlass")
_EXTRA = (
    *("job_id", "task", "queue", "attempt", "seconds", "error", "error_type", "worker", "verb"),
    *("trace_id", "span_id"),
)
_TRACEPARENT = re.compile("[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_QUIET = frozenset({"started", "ready", "reloading", "stopping", "draining", "stopped"})
"""Changes of a worker that are part of its normal life; every other one is worth a warning."""


class _Outage:
    """The trouble with the store, told once when it begins and once when it ends, however many calls fail meanwhile."""

    FORGOTTEN = 60.0
    """Seconds without trouble after which the next one is a new one, though nobody said that the last was over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # a worker's heart may beat in a thread of its own
        self._since = self._latest = 0.0
        self._failed = 0
        self._told: set[type[BaseException]] = set()

    def worse(self, verb: str, error: BaseException) -> None:
        """A call failed."""
        kind = BrokerUnavailable if isinstance(error, BrokerUnavailable) else type(error)
        with self._lock:
            now = time.monotonic()
            if now - self._latest > self.FORGOTTEN:
                self._failed, self._told = 0, set()
            if not self._failed:
                self._since = now
            self._latest, self._failed = now, self._failed + 1
            level = logging.DEBUG if kind in self._told else logging.WARNING
            self._told.add(kind)
        said = f"{kind.__name__}: {error}"
        more = {"verb": verb, "error": said}
        logger.log(level, "the store failed to %s, and is asked again until it does: %s", verb, said, extra=more)

    def better(self) -> None:
        """A call that had failed succeeded."""
        with self._lock:
            failed, took = self._failed, time.monotonic() - self._since
            self._failed, self._told = 0, set()
        if failed:
            logger.info("the store answers again: %d calls failed in %.1f s", failed, took)


_outage = _Outage()


def log_event(event: Event) -> None:
    """The subscriber: write one event of a worker to the logger "windlass"."""
    match event:
        case JobStarted(claim):
            _about(logging.DEBUG, claim, "started")
        case JobEnded(claim, outcome, seconds):
            _ended(claim, outcome, seconds)
        case StaleWrite(claim):
            _about(logging.WARNING, claim, "was given to another worker meanwhile; what this run wrote was refused")
        case WorkerChanged(worker, what, detail):
            level = logging.INFO if what in _QUIET else logging.WARNING
            logger.log(level, "worker %s %s%s", worker, what, f": {detail}" if detail else "", extra={"worker": worker})
        case StoreTrouble(verb, error):
            _outage.worse(verb, error)
        case StoreBack():
            _outage.better()
        case Counted():
            pass  # for metrics


def subscribe(events: Events) -> None:
    """Log the events of an app, once however often it is asked for."""
    debug = (JobStarted,) if logger.isEnabledFor(logging.DEBUG) else ()
    events.subscribe(log_event, JobEnded, StaleWrite, WorkerChanged, StoreTrouble, StoreBack, *debug)


def setup(program: Program) -> None:
    """For a runner: the logs of `program`, as $WINDLASS_LOG_FORMAT and $WINDLASS_LOG_LEVEL say."""
    configure(
        cast(LogFormat, os.environ.get("WINDLASS_LOG_FORMAT", "plain")), os.environ.get("WINDLASS_LOG_LEVEL", "INFO")
    )
    subscribe(program.events)


def configure(form: LogFormat = "plain", level: str = "INFO") -> None:
    """Send the process's logs to stderr, in one of the formats; "rich" means "plain" where stderr is no terminal."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if form == "rich" and sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        handler = RichHandler(console=Console(stderr=True), show_path=False, markup=False)
        handler.setFormatter(Named("%(message)s"))
    else:
        handler.setFormatter(
            JsonLines() if form == "json" else Named("%(stamp)s %(levelname)-7s %(name)s: %(message)s")
        )
    handler.addFilter(_of_the_job)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class Named(logging.Formatter):
    """Lines for people; a line about a job that does not name it gets the job's task and id at its end.

    No text, wherever it comes from, can begin a line that looks like one of ours, or command a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it, set in, what else belongs to it."""
        return plain(super().format(record)).replace("\n", "\n    ")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without the traceback."""
        record.stamp = _stamp(record)
        line, job = super().formatMessage(record), getattr(record, "job_id", None)
        return line if job is None or job in line else f"{line} [{getattr(record, 'task', '')} {job}]"


class JsonLines(logging.Formatter):
    """One JSON object per line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in _EXTRA if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["traceback"] = record.exc_text or self.formatException(record.exc_info)
        return plain(msgspec.json.encode(line, enc_hook=str).decode())


def _about(level: int, claim: Claim, what: str, **more: Any) -> None:
    if logger.isEnabledFor(level):
        extra = {"job_id": claim.id, "task": claim.task, "queue": claim.queue, "attempt": claim.attempt, **more}
        extra |= _enqueued_in(_meta(claim))
        logger.log(level, "job %s (%s, attempt %d) %s", claim.id, claim.task, claim.attempt, what, extra=extra)


def _ended(claim: Claim, outcome: Outcome | None, seconds: float) -> None:
    if isinstance(outcome, Succeeded) and not logger.isEnabledFor(logging.DEBUG):
        return  # most jobs end so, and most workers do not tell
    took, more = f"after {seconds:.3f} s", {"seconds": round(seconds, 6)}
    match outcome:
        case Succeeded():
            _about(logging.DEBUG, claim, f"succeeded {took}", **more)
        case Retried(delay, error):
            _troubled(logging.WARNING, claim, f"failed {took} and is tried again in {delay:.1f} s", error, more)
        case Failed(error):
            _troubled(logging.ERROR, claim, f"failed {took}", error, more)
        case Parked(reason):
            _about(logging.WARNING, claim, f"is parked until a worker understands it: {reason}", error=reason, **more)
        case Cancelled(reason):
            _about(logging.INFO, claim, f"was cancelled {took}: {reason}", **more)
        case Snoozed(delay):
            _about(logging.INFO, claim, f"sleeps for {delay:.1f} s", **more)
        case Suspended():
            _about(logging.INFO, claim, "waits", **more)
        case Released():
            _about(logging.INFO, claim, f"was handed back {took}", **more)
        case None:
            _about(logging.WARNING, claim, f"was lost to another worker {took}", **more)


def _troubled(level: int, claim: Claim, what: str, error: ErrorInfo, more: dict[str, Any]) -> None:
    said = next(iter(error.message.splitlines()), "")
    _about(level, claim, f"{what}: {error.type}: {said}", error=error.message, error_type=error.type, **more)


def _of_the_job(record: logging.LogRecord) -> bool:
    """Add the running job, and the trace, to what user code logs."""
    if hasattr(record, "job_id"):
        return True
    if (job := current_or_none()) is not None:
        record.job_id, record.task, record.queue, record.attempt = job.job_id, job.task, job.queue, job.attempt
        vars(record).update(_enqueued_in(job.meta))
    if (trace := sys.modules.get("opentelemetry.trace")) is not None:  # if nobody traces, nothing is imported
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            record.trace_id, record.span_id = format(span.trace_id, "032x"), format(span.span_id, "016x")
    return True


def _enqueued_in(meta: Mapping[str, str]) -> dict[str, str]:
    """The trace in which a job was enqueued, if it was in one."""
    match = _TRACEPARENT.fullmatch(meta.get("traceparent", ""))
    return {"trace_id": match[1], "span_id": match[2]} if match else {}


def _meta(claim: Claim) -> dict[str, str]:
    try:
        return unpack(claim.body).meta
    except Undecodable:
        return {}


def _stamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
