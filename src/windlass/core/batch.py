"""Batches: many jobs of one task in one run of its function. What such a task looks like, and how its jobs end: pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

import msgspec

from windlass.core.durations import Duration, seconds
from windlass.core.outcome import Ending, Succeeded
from windlass.core.secret import Values
from windlass.errors import ConfigurationError, TaskDefinitionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How jobs of one task are run together.

    size: jobs of one run at most. wait: for how long the first one waits for others. runs: at once, in each runner.
    by: a function of an item; only items for which it answers the same run together.
    """

    size: int
    wait: Duration = 0.05
    by: Callable[[Any], Any] | None = None
    runs: int = 1

    def __post_init__(self) -> None:
        for name in ("size", "runs"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise ConfigurationError(f"Batch({name}=...) is a whole number, at least 1, not {value!r}")
        if self.by is not None and not callable(self.by):
            raise ConfigurationError(f"Batch(by=...) is a function of an item, not {self.by!r}")
        object.__setattr__(self, "wait", seconds(self.wait))


class Item(NamedTuple):
    """What the function of a batch takes and gives: the parameter of its items, the type of one, and of its result."""

    parameter: str
    kind: Any
    result: Any


def item_of(task: str, function: Callable[..., Any], hints: Mapping[str, Any], injected: Collection[str]) -> Item:
    """Raises `TaskDefinitionError` unless the function takes one `list[...]` beside what is injected, and answers a `list[...]`."""
    travelling = [one for one in inspect.signature(function).parameters.values() if one.name not in injected]
    if len(travelling) != 1 or travelling[0].kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        raise TaskDefinitionError(
            f"{task}: with batch=... it takes one parameter, a list of items, beside what Depends() gives it"
        )
    name = travelling[0].name
    for what, hint in ((f"parameter {name!r}", hints.get(name)), ("result", hints.get("return"))):
        if get_origin(hint) is not list:
            raise TaskDefinitionError(f"{task}: with batch=... its {what} is annotated as list[...], one for each job")
    (kind,), (result,) = get_args(hints[name]), get_args(hints["return"])
    return Item(name, kind, _without_errors(result))


def _without_errors(hint: Any) -> Any:
    """The type of a result without the exceptions that may stand in its place."""
    if get_origin(hint) not in (Union, UnionType):
        return hint
    kept = tuple(one for one in get_args(hint) if not (isinstance(one, type) and issubclass(one, BaseException)))
    return Union[kept] if kept else hint  # noqa: UP007 # made at run time


def together(jobs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The arguments of one run, of the decoded arguments of its jobs: their lists, one behind the other."""
    if len(jobs) == 1:
        return jobs[0]
    joined = {name: [item for job in jobs for item in job[name]] for name in jobs[0]}
    if isinstance(first := jobs[0], Values):
        return Values(joined, first.hidden, [one for job in jobs if isinstance(job, Values) for one in job.secrets])
    return joined


_endings = msgspec.msgpack.Decoder(list[Ending])


def joined(endings: Sequence[Ending]) -> Ending:
    """The ending of a run, of those of its jobs: of one job it is that job's, of several a success that holds them all."""
    return endings[0] if len(endings) == 1 else Succeeded(msgspec.msgpack.encode(endings))


def parted(ending: Ending, jobs: int) -> list[Ending]:
    """The ending of each of so many jobs, of that of their run."""
    return _endings.decode(ending.result) if jobs > 1 and isinstance(ending, Succeeded) else [ending] * jobs
