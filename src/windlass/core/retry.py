"""When a failed attempt is tried again: a value, and two pure questions to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from windlass.core.durations import Duration, seconds
from windlass.errors import ConfigurationError

ErrorClass = type[BaseException] | str


def error_name(error: ErrorClass) -> str:
    """The full name of an exception class, as it is stored: "builtins.OSError"."""
    return error if isinstance(error, str) else f"{error.__module__}.{error.__qualname__}"


def _names(errors: Any) -> tuple[str, ...]:
    if isinstance(errors, (str, type)):
        errors = (errors,)
    return tuple(error_name(error) for error in errors)


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry policy.

    attempts: how often the job is tried in all, the first time included.
    first, factor, most: the delay after attempt n is `first * factor ** (n - 1)`, never over `most`.
    jitter: the share of each delay that is drawn at random (0.0 to 1.0), so that a crowd of failures spreads out.
    on, unless: exception classes (or their full names) that are worth a retry; `unless` wins. Subclasses count.
    """

    attempts: int = 3
    first: Duration = 1.0
    factor: float = 3.0
    most: Duration = 3600.0
    jitter: float = 0.25
    on: tuple[ErrorClass, ...] | ErrorClass = ("builtins.Exception",)
    unless: tuple[ErrorClass, ...] | ErrorClass = ()

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int) or self.attempts < 1:
            raise ConfigurationError(f"Retry(attempts=...) counts the first try too: at least 1, not {self.attempts!r}")
        if not 0 <= self.jitter <= 1:
            raise ConfigurationError(f"Retry(jitter=...) is a share between 0 and 1, not {self.jitter!r}")
        if not 1 <= self.factor < math.inf:
            raise ConfigurationError(f"Retry(factor=...) must be at least 1, and finite, not {self.factor!r}")
        for field in ("first", "most"):
            object.__setattr__(self, field, seconds(getattr(self, field)))
        for field in ("on", "unless"):
            object.__setattr__(self, field, _names(getattr(self, field)))

    def delay(self, attempt: int, chance: float) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 1); `chance` in [0, 1) places it in the jitter."""
        first = float(self.first)  # type: ignore[arg-type]  # __post_init__ made it seconds
        try:
            raw = first * self.factor ** (attempt - 1)
        except OverflowError:  # the cap was reached long before
            raw = first and math.inf
        delay = min(raw, float(self.most))  # type: ignore[arg-type]  # the same
        return delay * (1 - self.jitter * chance)

    def wants(self, lineage: tuple[str, ...]) -> bool:
        """Whether an error with these class names (its own and its ancestors') is worth another attempt."""
        return any(name in lineage for name in self.on) and not any(name in lineage for name in self.unless)  # type: ignore[union-attr]  # tuples since __post_init__
