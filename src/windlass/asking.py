"""The options by which a job asks for more than its turn, and what they come to for the arguments of one call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Literal, get_args
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from windlass.core.keys import Debounce, Throttle
from windlass.core.terms import Terms
from windlass.errors import ConfigurationError

Text = str | Callable[..., str | int | UUID | None]
"""Text, or a function that makes it of those arguments of the call that it names; None: nothing, for this call."""
Unique = Literal["finished", "started"]
OnConflict = Literal["return", "replace", "raise"]
LIGHTEST, HEAVIEST = 0.001, 1000.0
"""Weights of a group."""


class Asking(Struct, frozen=True, kw_only=True):
    """Options with a default for every job of a task. key, fair_by and weight may be functions of the arguments.

    key: at most one job has it. unique: until it has "finished" (the default), or "started".
    on_conflict: when the key is taken: "return" a handle of the job that has it (the default); "replace" that job, if it has not started;
    "raise" `JobExists`.
    debounce, throttle: the last, or the first, of the jobs with one key.
    fair_by: whose job it is: each group has its turn. weight: the share of that group. ageing: so long a wait is worth one priority.
    """

    key: Text | None = None
    unique: Unique | None = None
    on_conflict: OnConflict | None = None
    debounce: Debounce | None = None
    throttle: Throttle | None = None
    fair_by: Text | None = None
    weight: float | Callable[..., float] | None = None
    ageing: float | None = None

    def check_asking(self) -> None:
        """Raise `ConfigurationError` for what can never be."""
        for name in ("key", "fair_by"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                checked_text(name, value)
        if self.weight is not None and not callable(self.weight):
            _weight(self.weight)
        for name, kinds in (("unique", Unique), ("on_conflict", OnConflict)):
            if (value := getattr(self, name)) not in (None, *get_args(kinds)):
                raise ConfigurationError(f"{name} is one of {', '.join(map(repr, get_args(kinds)))}, not {value!r:.80}")
        for name, kind, example in (("debounce", Debounce, '"30s", longest="5m"'), ("throttle", Throttle, '"1m"')):
            if (value := getattr(self, name)) is not None and not isinstance(value, kind):
                raise ConfigurationError(f"{name}=... takes a {kind.__name__}({example}), not {value!r:.80}")
        if self.ageing is not None and self.ageing <= 0:
            raise ConfigurationError("ageing must be more than 0 seconds; leave it out for strict priorities")

    @property
    def functions(self) -> dict[str, Callable[..., object]]:
        """The options that are functions of the arguments."""
        return {name: value for name in ("key", "fair_by", "weight") if callable(value := getattr(self, name))}

    def for_call(self, arguments: Mapping[str, Any]) -> tuple[str | None, Terms | None]:
        """The key and the terms of a job with these arguments. Raises `ConfigurationError` when they make no sense."""
        made = {name: _called(name, function, arguments) for name, function in self.functions.items()}
        key = checked_text("key", value) if (value := made.get("key", self.key)) is not None else None
        group = checked_text("fair_by", value) if (value := made.get("fair_by", self.fair_by)) is not None else None
        weight = _weight(made.get("weight", 1.0 if self.weight is None else self.weight))
        if self.debounce and self.throttle:
            raise ConfigurationError("debounce lets the last job run and throttle the first: give one of them")
        for name in ("unique", "on_conflict", "debounce", "throttle"):
            if self.key is None and getattr(self, name) is not None:
                raise ConfigurationError(f"{name}=... is about jobs with the same key: give a key=..., too")
        if self.fair_by is None and self.weight is not None:
            raise ConfigurationError("weight=... is the share of a group: give a fair_by=..., too")
        bursts = self.debounce or self.throttle
        keyed = (
            Terms()
            if key is None
            else Terms(
                unique=self.unique or ("started" if bursts else "finished"),
                unique_for=self.throttle.unique_for if self.throttle else 0.0,
                replaces=self.on_conflict == "replace" or self.debounce is not None,
                latest=self.debounce.latest if self.debounce else inf,
            )
        )
        terms = replace(keyed, group=group, weight=weight, ageing=self.ageing or inf)
        return key, None if terms == Terms() else terms


def checked_text(name: str, value: object) -> str:
    """Text that every store can keep. Raises `ConfigurationError`."""
    if not isinstance(value, str) or not 0 < len(value) <= 255:
        raise ConfigurationError(f"{name} must be text of 1 to 255 characters, not {value!r:.80}")
    if any(one == "\0" or "\ud800" <= one <= "\udfff" for one in value):
        raise ConfigurationError(f"{name}={value!r:.80} holds a character that not every store can keep")
    return value


def check_functions(asking: Asking, function: Callable[..., Any]) -> None:
    """Raise `ConfigurationError` when an option asks for an argument that `function` does not have."""
    known = inspect.signature(function).parameters
    for name, made in asking.functions.items():
        if missing := [one for one in _named(made) if one not in known]:
            raise ConfigurationError(
                f"{name}=... asks for {', '.join(missing)}, and {function.__qualname__} takes {', '.join(known) or 'nothing'}"
            )


def _named(function: Callable[..., object]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [
        one.name
        for one in parameters
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]


def _called(name: str, function: Callable[..., object], arguments: Mapping[str, Any]) -> Any:
    try:
        given = [arguments[one] for one in _named(function)]
    except KeyError as error:
        raise ConfigurationError(f"{name}=... asks for {error}, which is no argument of the task") from None
    value = function(*given)
    return str(value) if name != "weight" and isinstance(value, int | UUID) and not isinstance(value, bool) else value


def _weight(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not LIGHTEST <= value <= HEAVIEST:
        raise ConfigurationError(f"weight is a number from {LIGHTEST} to {HEAVIEST:.0f}, not {value!r:.80}")
    return float(value)
