"""What must happen without anybody asking: promote what is due, take back what the dead held, prune what was kept long enough.

Safe on every worker at once, without a leader. Beside a supervisor it runs in the supervisor, which no job can block.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sized

from windlass.broker.port import Upkeep as Keeping
from windlass.events import Events, StoreTrouble
from windlass.settings import Settings

BATCH = 1000
PRUNE = 30.0
_clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Seconds since boot, with the time that the machine was suspended."""
    return time.clock_gettime(_clock)


class Upkeep:
    """One loop over the three verbs, each in bounded batches until it finds no more."""

    def __init__(self, broker: Keeping, settings: Settings, events: Events) -> None:
        self._broker = broker
        self._settings = settings
        self._events = events
        self._task: asyncio.Task[None] | None = None
        self._seen = float("-inf")
        self._trusted = float("inf")

    async def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="windlass upkeep")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        prune_at = now() + random.uniform(0, PRUNE)
        while True:
            await self._all(self._promote)
            if self.may_reclaim():
                await self._all(self.reclaim)
            if now() >= prune_at:
                await self._all(self._prune)
                prune_at = now() + PRUNE * random.uniform(0.8, 1.2)
            await asyncio.sleep(self._settings.upkeep * random.uniform(0.8, 1.2))

    def may_reclaim(self) -> bool:
        """Whether silence of a worker means its death.

        After a gap in our own ticks (the machine was suspended, the store away, or we just came) all workers were silent
        for us; they get the time of two beats to speak up.
        """
        moment = now()
        if moment - self._seen > self._settings.lease / 2:
            self._trusted = moment + 2 * self._settings.beat
        self._seen = moment
        return moment >= self._trusted

    async def _promote(self) -> Sized:
        return await self._broker.promote(BATCH)

    async def reclaim(self) -> Sized:
        """Take back now what the dead held."""
        return await self._broker.reclaim(BATCH)

    async def _prune(self) -> Sized:
        return range(await self._broker.prune(BATCH))

    async def _all(self, verb: Callable[[], Awaitable[Sized]]) -> None:
        try:
            while len(await verb()) >= BATCH:  # noqa: ASYNC110 # nothing to wait for: more is there at once
                await asyncio.sleep(0)
        except Exception as error:
            self._seen = float("-inf")
            self._events.emit(StoreTrouble(verb.__name__.strip("_"), error))
