"""What happens in a worker, as values; whoever wants to know subscribes. Logs and metrics are subscribers, nothing more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from windlass.core.job import Claim
from windlass.core.outcome import Outcome


@dataclass(frozen=True, slots=True)
class JobStarted:
    """A run of a job begins."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A run of a job is over. `outcome` is None when the lease was lost; `seconds` is the run's length."""

    claim: Claim
    outcome: Outcome | None
    seconds: float


@dataclass(frozen=True, slots=True)
class StaleWrite:
    """The store refused a write because the job is no longer this worker's."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class WorkerChanged:
    """A worker, or a part of it, changed: `what` is "started", "draining", "stopped", "lost", "stuck", "abandoned a thread", ..."""

    worker: str
    what: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StoreTrouble:
    """A call to the store failed and will be repeated."""

    verb: str
    error: BaseException


Event = JobStarted | JobEnded | StaleWrite | WorkerChanged | StoreTrouble
Subscriber = Callable[[Event], None]


class Events:
    """A list of subscribers. A subscriber that raises is logged and does not disturb the others."""

    def __init__(self) -> None:
        self.subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> Subscriber:
        """Call `subscriber` with every event from now on (usable as a decorator)."""
        self.subscribers.append(subscriber)
        return subscriber

    def emit(self, event: Event) -> None:
        """Tell every subscriber."""
        for subscriber in self.subscribers:
            try:
                subscriber(event)
            except Exception:
                logging.getLogger("windlass").exception("a subscriber failed on %r", event)
