"""Time and chance of a simulation: what `time`, `random` and `os.urandom` answer in it hangs on the seed alone."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

from windlass.core import ids
from windlass.testing.simulate.loop import Broken, Loop
from windlass.testing.simulate.process import here

EPOCH = 1_700_000_000.0
"""The Unix time at which every simulation begins."""
BOOTED = 1_000.0
"""Seconds since boot at that moment."""


@contextmanager
def replaced(places: Sequence[tuple[Any, str, Any]]) -> Generator[None]:
    """Inside the `with`, each (owner, name) has another value."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    try:
        for owner, name, value in places:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


@contextmanager
def virtual_time(loop: Loop, seed: int) -> Generator[None]:
    """Inside the `with`, clocks and chance are those of the simulation. The wall clock is that of the machine of whoever looks at it."""

    def wall() -> float:
        return EPOCH + loop.now + here.get(loop.outside).skew

    def since_boot(_clock: int = 0) -> float:
        return BOOTED + loop.now

    def nobody_sleeps(_seconds: float) -> None:
        raise Broken("nobody sleeps in the simulation")

    places = [
        (time, "time", wall),
        (time, "time_ns", lambda: int(wall() * 1e9)),
        (time, "monotonic", since_boot),
        (time, "clock_gettime", since_boot),
        (time, "sleep", nobody_sleeps),
        (os, "urandom", Random(seed).randbytes),
    ]
    chance = random.getstate()
    try:
        with replaced(places):
            random.seed(seed)
            ids._stock.clear()
            yield
    finally:
        random.setstate(chance)
        ids._stock.clear()
