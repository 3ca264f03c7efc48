"""`Limit`: how a program says what jobs may take of something that others need, too. What stores make of it is told in `core.gates`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import inf, isfinite
from typing import Any

from msgspec.structs import replace

from windlass.core.durations import seconds
from windlass.core.gates import LimitInfo, uses_of
from windlass.core.job import Job
from windlass.core.terms import Terms, Use
from windlass.errors import ConfigurationError, InvalidArguments, TaskDefinitionError

_RATE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d*\s*(?:ms|s|m|h|d))\s*")
LONGEST_KEY = 255


class Limit:
    """A limit: `Limit("openai", rate="60/m", burst=10, running=5, key=lambda video: video.owner)`.

    rate: units in a time, "60/m" or "10/s"; burst: how many of them may come at once, by default all of that time.
    running: units of jobs that run at once. ordered: the jobs of one key run one after the other, in their order, retries included.
    key: the key, or a function of arguments of the task, which it names as its parameters; each key has the whole limit to itself.
    units: how many a job takes, or a function that says so in the same way. Functions run where the job is enqueued.
    All jobs under one name and key share the limit, of whichever task. What the newest one enqueued says of it counts for all who wait.
    Raises `ConfigurationError`.
    """

    def __init__(
        self,
        name: str,
        *,
        rate: str | None = None,
        burst: float | None = None,
        running: float | None = None,
        ordered: bool = False,
        key: str | Callable[..., object] = "",
        units: float | Callable[..., float] = 1,
    ) -> None:
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_KEY or not name.isprintable():
            raise ConfigurationError(
                f"the name of a limit is 1 to {LONGEST_KEY} printable characters, not {name!r:.80}"
            )
        self.name, self.ordered, self.key, self.units = name, ordered, key, units
        many, self.rate = (inf, inf) if rate is None else _rate(name, rate)
        self.burst = many if burst is None else burst
        self.running = inf if running is None else running
        if rate is None and burst is not None:
            raise ConfigurationError(f'limit {name!r}: burst={burst!r} needs a rate, such as rate="60/m"')
        if rate is None and running is None and not ordered:
            raise ConfigurationError(f"limit {name!r} limits nothing: say rate=, running= or ordered=True")
        for said, value in (("burst", self.burst), ("running", self.running)):
            if not isinstance(value, int | float) or not value > 0:
                raise ConfigurationError(f"limit {name!r}: {said} is more than 0, not {value!r}")
        if not callable(units):
            self._check(units, ConfigurationError)

    def __repr__(self) -> str:
        return f"<Limit {self.name!r}>"

    def compile(self, task: str, signature: inspect.Signature) -> None:
        """Raise `TaskDefinitionError` unless its functions ask for arguments of this task, by name."""
        for said, function in (("key", self.key), ("units", self.units)):
            if callable(function) and (unknown := [one for one in _asked(function) if one not in signature.parameters]):
                asked = f"the function {said}= of the limit {self.name!r} asks for {', '.join(unknown)}"
                raise TaskDefinitionError(f"{task}: {asked}, and the arguments are {signature}")

    def use(self, values: Mapping[str, Any]) -> Use:
        """What a job with these arguments takes. Raises `InvalidArguments` for what can never pass."""
        key = str(_answer(self.key, values)) if callable(self.key) else self.key
        if len(key) > LONGEST_KEY or not (key.isprintable() or not key):
            raise InvalidArguments(
                f"limit {self.name!r}: a key is text of at most {LONGEST_KEY} printable characters, not {key!r:.80}"
            )
        units = _answer(self.units, values) if callable(self.units) else self.units
        self._check(units, InvalidArguments)
        burst = self.burst if self.rate < inf else 1.0
        return Use(self.name, key, float(units), self.running, self.rate, burst, self.ordered)

    def _check(self, units: object, error: type[Exception]) -> None:
        if isinstance(units, bool) or not isinstance(units, int | float) or not (isfinite(units) and units >= 0):
            raise error(f"limit {self.name!r}: units are a finite number from 0 on, not {units!r:.80}")
        for said, most in (("burst", self.burst), ("running", self.running)):
            if units > most:
                raise error(
                    f"limit {self.name!r}: a job of {units:g} units can never pass {said}={most:g}; raise it, or ask for fewer units"
                )


def compile_limits(task: str, limits: Iterable[Limit], signature: inspect.Signature) -> None:
    """Raise `TaskDefinitionError` for limits that a task with these arguments cannot have."""
    names = list[str]()
    for limit in limits:
        if not isinstance(limit, Limit):
            raise TaskDefinitionError(f'{task}: limits=[...] holds Limit("name", ...), not {limit!r:.80}')
        limit.compile(task, signature)
        names.append(limit.name)
    if twice := [name for name in names if names.count(name) > 1]:
        raise TaskDefinitionError(f"{task} names the limit {twice[0]!r} twice; put both into one Limit")
    if sum(limit.ordered for limit in limits) > 1:
        raise TaskDefinitionError(f"{task} has two ordered limits: a job keeps the order of one key only")


def with_limits(terms: Terms | None, limits: Sequence[Limit], values: Callable[[], Mapping[str, Any]]) -> Terms | None:
    """The terms of a job with these limits. values: gives its arguments."""
    arguments = values() if any(callable(one.key) or callable(one.units) for one in limits) else {}
    return replace(terms or Terms(), uses=tuple(limit.use(arguments) for limit in limits))


def why_waiting(job: Job, limits: Iterable[LimitInfo], paused: bool, now: float) -> Iterator[str]:
    """In sentences, what keeps a job with limits from being ready. limits: what the store knows of them. paused: its queue is."""
    known = {(one.limit, one.key): one for one in limits}
    if paused:
        yield f"The queue {job.queue} is paused, and its jobs with limits wait until somebody resumes it."
    for use in uses_of(job.terms):
        found, name = (
            known.get((use.limit, use.key)),
            f"limit {use.limit}" + (f" under the key {use.key}" if use.key else ""),
        )
        if found is None:
            continue
        if found.closed_until is not None and found.closed_until.timestamp() > now:
            yield f"The {name} is paused for another {found.closed_until.timestamp() - now:,.0f} seconds: a run asked for that."
        if use.ordered and found.turn not in (None, job.id):
            yield f"The jobs of the {name} run one after the other, and it is the turn of {found.turn}."
        if found.held + min(use.units, found.running) > found.running:
            yield f"The {name} admits {found.running:g} units at once: {found.held:g} are taken, and it takes {use.units:g}."
        if found.level is not None and found.level - found.reserved < min(use.units, found.burst):
            free = found.level - found.reserved
            yield f"The {name} gives {found.rate:.3g} units a second: {free:.3g} are there, and it takes {use.units:g}."
        if found.waiting > 1:
            yield f"{found.waiting:,} jobs wait for the {name}; the higher priority comes first, then who is due for longer."


def _rate(name: str, text: str) -> tuple[float, float]:
    """Of "60/m", how many and how many a second."""
    match = _RATE.fullmatch(text) if isinstance(text, str) else None
    number = match[2].replace(" ", "") if match else ""
    time = seconds(number if number[:1].isdigit() else f"1{number}") if number else 0.0
    if match is None or time <= 0 or float(match[1]) <= 0:
        raise ConfigurationError(f'limit {name!r}: rate={text!r} is no rate; write "60/m", "10/s" or "1000/h"')
    return float(match[1]), float(match[1]) / time


def _asked(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def _answer(function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    asked = _asked(function)
    if missing := [name for name in asked if name not in values]:
        raise ConfigurationError(
            f"a function of a limit asks for {', '.join(missing)}, and the task has {', '.join(values) or 'no arguments'}"
        )
    return function(**{name: values[name] for name in asked})
