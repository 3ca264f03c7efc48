"""Upkeep: due jobs, dead workers, and who may be taken for dead."""

from __future__ import annotations

from typing import Any

import pytest

from windlass.events import Events
from windlass.settings import Settings
from windlass.worker import upkeep as module
from windlass.worker.upkeep import Upkeep


class Store:
    def __init__(self) -> None:
        self.calls: list[str] = []

    async def promote(self, limit: int, wait: float) -> list[int]:
        self.calls.append("promote")
        return [0] * limit if self.calls.count("promote") < 3 else []

    async def reclaim(self, limit: int) -> list[int]:
        raise OSError("away")

    async def prune(self, limit: int) -> int:
        return 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(module, "now", lambda: now[0])
    return now


def test_silence_after_a_gap_is_not_death(clock: list[float]) -> None:
    settings = Settings(lease=8, beat=1)
    keeping: Any = Store()
    upkeep = Upkeep(keeping, settings, Events())
    assert not upkeep.may_reclaim(), "we have just come"
    clock[0] += 2.1
    assert upkeep.may_reclaim()
    clock[0] += 5
    assert not upkeep.may_reclaim(), "we were away"
    clock[0] += 1
    assert not upkeep.may_reclaim()
    clock[0] += 1.1
    assert upkeep.may_reclaim()


async def test_full_batches_are_followed_by_more_and_errors_count_as_a_gap(clock: list[float]) -> None:
    keeping: Any = Store()
    upkeep = Upkeep(keeping, Settings(lease=8, beat=1), Events())
    upkeep.may_reclaim()
    clock[0] += 2.1
    assert upkeep.may_reclaim()
    await upkeep._all(upkeep._promote)
    assert keeping.calls == ["promote"] * 3
    await upkeep._all(upkeep.reclaim)
    assert not upkeep.may_reclaim()
