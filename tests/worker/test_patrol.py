"""The patrol over a runner that stands still: what it takes for the truth, and what it waits for before it kills."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf
from typing import Any, cast

import pytest
from test_watchdog import STACKS, limited

from windlass.settings import Settings
from windlass.worker import patrol, watchdog
from windlass.worker.patrol import Patrol
from windlass.worker.ward import Ward


class Silent:
    """A runner whose loop has stood still for a while, with a job of a thread that is over its limit."""

    group, due, frozen, stuck, blameless, looked_at, done = 1, inf, None, None, False, False, False
    tick = True

    def __init__(self) -> None:
        now = time.monotonic()
        self.ticked, self.breathed = now - 60, now - 0.2
        self.gone = asyncio.get_running_loop().create_future()
        self.limited = {"of-a-thread": limited("of-a-thread", now - 60, thread=77)}
        self.ids = {"me"}
        self.culprits: list[Any] = []
        self.condemned: list[Any] = []
        self.used = 0.0
        self.on_dump: Callable[[], None] = lambda: None
        self.is_stopped = False

    async def dump(self) -> str:
        self.on_dump()
        return STACKS

    def spent(self) -> dict[int, float]:
        self.used += 0.1
        return {0: 0.0, 77: self.used}

    def stopped(self) -> bool:
        return self.is_stopped

    def look(self) -> None: ...

    def condemn(self, verdict: Any) -> None:
        self.condemned.append(verdict)


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[[Silent], Any]:
    """Looks at a runner once."""
    monkeypatch.setattr(watchdog, "SILENCE", 0.2)
    monkeypatch.setattr(patrol, "TICK", 0.05)

    async def nothing(_ward: Ward) -> None: ...

    async def look(ward: Silent) -> None:
        watch = Patrol(lambda: [cast(Ward, ward)], Settings(), lambda *_: None, nothing)
        await watch._look(cast(Ward, ward), time.monotonic())

    return look


async def test_a_breath_from_before_tells_nothing(look: Any) -> None:
    """The loop was late and a thread said so; then the job began, and took the interpreter for itself."""
    ward = Silent()
    await look(ward)
    assert [one.claim.id for one in ward.culprits] == ["of-a-thread"]


async def test_a_late_breath_is_waited_for(look: Any) -> None:
    """The interpreter is free: the loop stands still for some other reason, and the thread is only over its own limit."""
    ward = Silent()

    def later() -> None:
        asyncio.get_running_loop().call_later(0.1, breathe, ward)

    ward.on_dump = later
    await look(ward)
    assert ward.culprits == []
    assert len(ward.condemned) == 1, "nobody knows who did it"


def breathe(ward: Silent) -> None:
    ward.breathed = time.monotonic()


def turn(ward: Silent) -> None:
    ward.ticked = time.monotonic()


def stop(ward: Silent) -> None:
    ward.is_stopped = True


@pytest.mark.parametrize(
    "meanwhile", [turn, stop, lambda ward: ward.gone.set_result(-9)], ids=["turns", "stops", "dies"]
)
async def test_what_happens_meanwhile_counts(look: Any, meanwhile: Callable[[Silent], None]) -> None:
    ward = Silent()
    ward.on_dump = lambda: meanwhile(ward)
    await look(ward)
    assert ward.condemned == []
