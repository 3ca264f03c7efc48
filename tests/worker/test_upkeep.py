"""Upkeep: due jobs, dead workers, and who may be taken for dead."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from windlass.events import Event, Events, StoreTrouble
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

    async def reclaim(self, limit: int, **_: Any) -> list[int]:
        raise OSError("away")

    async def prune(self, limit: int) -> int:
        self.calls.append("prune")
        return limit if self.calls.count("prune") < 3 else 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


async def test_full_batches_are_followed_by_more_and_errors_are_told() -> None:
    keeping, troubles, events = Store(), list[Event](), Events()
    events.subscribe(troubles.append, StoreTrouble)
    upkeep = Upkeep(cast(Any, keeping), Settings(lease=8, beat=1), events)
    await upkeep._all(upkeep._prune)
    assert keeping.calls == ["prune"] * 3
    await upkeep._all(upkeep._reclaim)
    assert [cast(StoreTrouble, trouble).verb for trouble in troubles] == ["reclaim"]


async def test_the_dead_are_looked_for_with_a_grace_for_the_living_and_the_buried_without() -> None:
    keeping, asked = Store(), list[dict[str, Any]]()

    async def reclaim(limit: int, **given: Any) -> list[int]:
        asked.append(given)
        return [0] * limit if len(asked) == 2 else []

    keeping.reclaim = reclaim  # type: ignore[method-assign] # it takes whatever it is given
    upkeep = Upkeep(cast(Any, keeping), Settings(lease=8, beat=1), Events())
    await upkeep._all(upkeep._reclaim)
    await upkeep.reclaim(["one"])
    assert asked == [{"gap": 4.0, "grace": 2.0}, {"workers": ["one"]}, {"workers": ["one"]}]


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
