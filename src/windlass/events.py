"""What happens in a worker, as values; whoever wants to know subscribes. Logs and metrics are subscribers, nothing more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import get_args

from msgspec import Struct

from windlass.core.job import Claim
from windlass.core.measures import Rollup
from windlass.core.outcome import Outcome


class JobStarted(Struct, frozen=True):
    """A run of a job begins."""

    claim: Claim


class JobEnded(Struct, frozen=True):
    """A run of a job is over. `outcome` is None when the lease was lost; `seconds` is the run's length."""

    claim: Claim
    outcome: Outcome | None
    seconds: float


class StaleWrite(Struct, frozen=True):
    """The store refused a write because the job is no longer this worker's."""

    claim: Claim


class Counted(Struct, frozen=True, tag=True):
    """Runs that have ended, added up: told every few seconds, if there are any."""

    rollups: list[Rollup]


class WorkerChanged(Struct, frozen=True, tag=True):
    """A worker, or a part of it, changed: `what` is "started", "draining", "stopped", "lost", "stuck", "abandoned a thread", ..."""

    worker: str
    what: str
    detail: str = ""


class StoreTrouble(Struct, frozen=True, tag=True):
    """A call to the store failed and will be repeated."""

    verb: str
    error: BaseException


class StoreBack(Struct, frozen=True):
    """A call to the store succeeded after its trouble."""

    verb: str


Event = JobStarted | JobEnded | StaleWrite | Counted | WorkerChanged | StoreTrouble | StoreBack
Subscriber = Callable[[Event], None]


class Events:
    """A list of subscribers. A subscriber that raises is logged and does not disturb the others."""

    def __init__(self) -> None:
        self._subscribers: dict[type[Event], list[Subscriber]] = {kind: [] for kind in get_args(Event)}

    def subscribe(self, subscriber: Subscriber, *kinds: type[Event]) -> Subscriber:
        """Call `subscriber` with every event of these kinds (by default of all) from now on (usable as a decorator).

        Subscribing twice is subscribing once.
        """
        for kind in kinds or get_args(Event):
            if subscriber not in self._subscribers[kind]:
                self._subscribers[kind].append(subscriber)
        return subscriber

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody listens to this kind: what happens for every job need not be told otherwise."""
        return bool(self._subscribers[kind])

    def emit(self, event: Event) -> None:
        """Tell every subscriber."""
        for subscriber in self._subscribers[type(event)]:
            try:
                subscriber(event)
            except Exception:
                logging.getLogger("windlass").exception("a subscriber failed on %r", event)
