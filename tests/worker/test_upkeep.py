"""Upkeep: due jobs, dead workers, and who may be taken for dead."""

from __future__ import annotations

import asyncio
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
        answers = {1: [0] * limit, 2: [0]}
        return answers.get(len(self.calls), [])

    async def reclaim(self, limit: int) -> list[int]:
        raise OSError("away")

    async def prune(self, limit: int) -> int:
        self.calls.append("prune")
        return limit if self.calls.count("prune") < 3 else 0


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
    await upkeep._all(upkeep._prune)
    assert keeping.calls == ["prune"] * 3
    await upkeep._all(upkeep.reclaim)
    assert not upkeep.may_reclaim()


async def test_what_is_due_is_asked_for_again_soon_only_while_there_is_some(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full batch is followed at once, a smaller one soon; a store that answers nothing, however slowly, is asked again after `upkeep`."""
    keeping: Any = Store()
    promote, pauses = keeping.promote, list[float]()

    async def slowly(limit: int, wait: float) -> list[int]:
        clock[0] += 2.0
        return list(await promote(limit, wait))

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            raise asyncio.CancelledError

    keeping.promote = slowly
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    monkeypatch.setattr(module.random, "uniform", lambda _low, _high: 1.0)
    with pytest.raises(asyncio.CancelledError):
        await Upkeep(keeping, Settings(upkeep=7.0), Events())._promote_on_time()
    assert pauses == [0.0, module.GAP, 7.0, 7.0, 7.0]
