"""Resources: what a machine has a number of (GPUs, licences), and a job needs some of while it runs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from windlass.errors import ConfigurationError

Amounts = Mapping[str, int]
Devices = Mapping[str, tuple[int, ...]]
"""The indexes of what a run was handed, by resource."""
_GPUS = "CUDA_VISIBLE_DEVICES"


def amounts(given: Any) -> dict[str, int]:
    """How much of what: {"gpu": 2}, or the same as text, "gpu=2,licence=1". Raises `ConfigurationError`."""
    if isinstance(given, str) and given:
        parts = [one.partition("=") for one in given.split(",")]
        given = {name: int(text) if text.isdecimal() else text for name, _, text in parts}
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{given!r:.80} names no resources; say gpu=2")
    for name, amount in given.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name):
            raise ConfigurationError(f"{name!r:.80} is no name of a resource: letters, digits, - and _")
        if type(amount) is not int or amount < 1:
            raise ConfigurationError(f"{amount!r:.80} is no amount of {name!r}: a whole number, at least 1")
    return dict(sorted(given.items()))


def told(needs: Amounts) -> str:
    """As a person writes it: "gpu=1,licence=2"."""
    return ",".join(f"{name}={amount}" for name, amount in needs.items())


def needs_of(lane: str) -> str:
    """What the jobs of a lane need, as `told` says it; "" for nothing."""
    return ",".join(lane.partition(":")[0].split("+")[1:])


def environment(devices: Devices, before: str | None) -> dict[str, str]:
    """What a process that has these devices must be told when it starts. before: which GPUs the worker itself may see."""
    if "gpu" not in devices:
        return {}
    seen = [one.strip() for one in before.split(",")] if before else []
    return {_GPUS: ",".join(seen[index] if index < len(seen) else str(index) for index in devices["gpu"])}


class Pool:
    """The devices of a worker that are free: the lowest indexes go first, and so the same again to a process that is warm."""

    def __init__(self, has: Amounts) -> None:
        self._has = has
        self._free = {name: list(range(amount)) for name, amount in has.items()}

    def most(self, needs: Amounts) -> int:
        """How many runs with these needs there can be at once."""
        return min(self._has.get(name, 0) // amount for name, amount in needs.items())

    def room(self, needs: Amounts) -> int:
        """How many can begin now."""
        return min(len(self._free.get(name, ())) // amount for name, amount in needs.items())

    def take(self, needs: Amounts) -> dict[str, tuple[int, ...]]:
        """Devices for a run; there is `room` for it."""
        taken = {name: tuple(self._free[name][:amount]) for name, amount in needs.items()}
        for name, amount in needs.items():
            del self._free[name][:amount]
        return taken

    def give_back(self, devices: Mapping[str, Sequence[int]]) -> None:
        """They are free again."""
        for name, indexes in devices.items():
            self._free[name] = sorted([*self._free[name], *indexes])
