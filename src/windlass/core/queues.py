"""Which queues a worker serves, and in which order each of its claims asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import log
from typing import NamedTuple

from windlass.errors import ConfigurationError


class Served(NamedTuple):
    """The queues of a worker by name, each with its weight. strict: in this order, always."""

    weights: dict[str, int]
    strict: bool = False

    def order(self, chance: Callable[[], float]) -> list[str]:
        """The queues in the order of one claim: each comes first as often as its weight's share of all. chance: a number in [0, 1)."""
        if self.strict:
            return list(self.weights)
        # The first of several alarm clocks to ring, each set at random: it is a queue's with the chance of its rate.
        return sorted(self.weights, key=lambda name: -log(1.0 - chance()) / self.weights[name])

    def told(self) -> list[str]:
        """The queues as a person would ask for them: "video:2"."""
        alike = self.strict or len(set(self.weights.values())) == 1
        return [name if alike else f"{name}:{weight}" for name, weight in self.weights.items()]


def served(wanted: Sequence[str] | None, own: Iterable[str]) -> Served:
    """What a worker serves that was told `wanted`: "video", strictly in this order, or "video:2", with a weight each.

    Without a wish it is its `own` queues, each as often first as the others. Raises `ConfigurationError`.
    """
    if not wanted:
        return Served(dict.fromkeys(sorted(set(own)), 1))
    parts = [one.rpartition(":") for one in wanted]
    weighted = [colon != "" and weight.lstrip("+-").isdecimal() for _, colon, weight in parts]
    if not any(weighted):
        if "" in wanted:
            raise ConfigurationError("a queue must have a name; say -q video")
        return Served(dict.fromkeys(wanted, 1), strict=True)
    weights: dict[str, int] = {}
    for one, (name, _, weight), has_weight in zip(wanted, parts, weighted, strict=True):
        if not has_weight:
            raise ConfigurationError(
                f"the queue {one!r} has no weight and others have; say one for each (-q {one}:1), or for none"
            )
        if not name:
            raise ConfigurationError(f"{one!r} names no queue; say -q video{one}")
        if int(weight) < 1:
            raise ConfigurationError(f"the weight of a queue is at least 1, not {weight}: leave the queue {name!r} out")
        if name in weights:
            raise ConfigurationError(f"the queue {name!r} is there twice; give it one weight")
        weights[name] = int(weight)
    return Served(weights)
