"""How one call, or every call of a task, is to be treated: what a person may say of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypedDict

from msgspec.structs import asdict, replace

from windlass.asking import Asking, OnConflict, Text, Unique, checked_text
from windlass.core.durations import Duration, seconds
from windlass.core.keys import Debounce, Throttle
from windlass.core.retry import Retry
from windlass.core.schedule import Schedule, When
from windlass.errors import ConfigurationError
from windlass.limit import Limit

_DURATIONS = {"delay", "expires", "timeout", "keep", "ageing"}
FAR = 2200
"""The year before which a job begins: its own times, and what is added to them, are dates in every zone."""


class FlowOptions(TypedDict, total=False):
    """What `@app.flow(...)` takes: what `@app.task(...)` takes of it has the same meaning here."""

    name: str
    queue: str
    priority: int
    timeout: Duration
    retry: Retry
    keep: Duration
    expires: Duration
    key: Text
    unique: Unique
    on_conflict: OnConflict
    debounce: Debounce
    throttle: Throttle
    fair_by: Text
    weight: float | Callable[..., float]
    ageing: Duration
    crash_limit: int
    needs: dict[str, int]
    limits: Sequence[Limit]
    meta: dict[str, str]
    schedule: When | Schedule | Sequence[When | Schedule]


class Options(Asking, frozen=True, kw_only=True):
    """How one call, or every call of a task, is to be treated. None: as the next wider place says.

    queue, priority (0 to 9, higher is sooner), timeout, retry, keep, meta: see the task's decorator.
    delay or at: not before. expires: cancelled when not started by then. The others: see `Asking`.
    """

    queue: str | None = None
    priority: int | None = None
    delay: float | None = None
    at: float | None = None
    expires: float | None = None
    timeout: float | None = None
    retry: Retry | None = None
    keep: float | None = None
    meta: dict[str, str] = {}

    @classmethod
    def parse(cls, **given: Any) -> Options:
        """Options from what a person writes: durations become seconds, an aware datetime Unix time. `ConfigurationError` if wrong."""
        if unknown := given.keys() - cls.__struct_fields__:
            raise ConfigurationError(
                f"there is no option {', '.join(map(repr, sorted(unknown)))}; there are {', '.join(cls.__struct_fields__)}"
            )
        said = {name: value for name, value in given.items() if value is not None}
        for name in said.keys() & _DURATIONS:
            said[name] = seconds(said[name])
        if (at := said.get("at")) is not None:
            if not isinstance(at, datetime) or at.tzinfo is None:
                raise ConfigurationError(
                    f"at={at!r} is no datetime with a time zone; use datetime.now(timezone.utc) or zoneinfo.ZoneInfo(...)"
                )
            if at.year >= FAR:
                raise ConfigurationError(f"at={at} is too far away; it is before the year {FAR}")
            said["at"] = at.timestamp()
        options = cls(**said)
        options._check()
        return options

    def _check(self) -> None:
        if self.priority is not None and (not isinstance(self.priority, int) or not 0 <= self.priority <= 9):
            raise ConfigurationError(f"priority is 0 to 9 (higher is sooner), not {self.priority!r}")
        if isinstance(self.queue, str) and not self.queue.isprintable():
            raise ConfigurationError(f"the name of a queue is shown in many places, and {self.queue!r:.80} cannot be")
        if self.queue is not None:
            checked_text("queue", self.queue)
        self.check_asking()
        if self.timeout is not None and self.timeout <= 0:
            raise ConfigurationError("timeout must be more than 0 seconds; leave it out for no limit")
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise ConfigurationError(f"retry=... takes a Retry(attempts=...), not {self.retry!r}")
        meta = self.meta
        if not isinstance(meta, dict) or not all(isinstance(one, str) for pair in meta.items() for one in pair):
            raise ConfigurationError("meta holds small text tags: a dict of str to str")

    def over(self, wider: Options) -> Options:
        """These options where they say something, the `wider` ones elsewhere."""
        said = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(wider, **said | {"meta": wider.meta | self.meta})
