"""What must happen without anybody asking: promote what is due, take back what the dead held, prune what was kept long enough.

Safe on every worker at once, without a leader. Beside a supervisor it runs in the supervisor, which no job can block.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence, Sized

from windlass.broker.port import Upkeep as Keeping
from windlass.events import Events, StoreTrouble
from windlass.settings import Settings

BATCH = 1000
PRUNE = 30.0
"""Seconds between two rounds of pruning."""
LOOK = 2.0
"""Seconds between two looks at the dead, at most: what a worker gave up comes back that soon, however long a lease is."""
WAIT = 30.0
"""Seconds that a store which can push may keep us waiting for something to be due."""
GAP = 0.05
"""Seconds between two rounds of promoting where the store pushes: what is due within them is promoted together."""


class Upkeep:
    """Two loops over the three verbs, each verb in bounded batches until it finds no more."""

    def __init__(self, broker: Keeping, settings: Settings, events: Events) -> None:
        self._broker = broker
        self._settings = settings
        self._events = events
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._promote_on_time(), name="windlass promotion"),
            asyncio.create_task(self._clean_up(), name="windlass upkeep"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _promote_on_time(self) -> None:
        """Promote at the moment when something is due, where the store tells us; elsewhere every `upkeep` seconds."""
        while True:
            began, pause = time.monotonic(), self._settings.upkeep
            try:
                found = len(await self._broker.promote(BATCH, wait=WAIT))
                # Nothing, though it might have waited: this store cannot tell us.
                if found or time.monotonic() - began >= WAIT / 2:
                    pause = 0.0 if found >= BATCH else GAP
            except Exception as error:
                self._events.emit(StoreTrouble("promote", error))
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))

    async def _clean_up(self) -> None:
        prune_at = time.monotonic() + random.uniform(0, PRUNE)
        while True:
            await self._all(self._reclaim)
            if time.monotonic() >= prune_at:
                await self._all(self._prune)
                prune_at = time.monotonic() + PRUNE * random.uniform(0.8, 1.2)
            await asyncio.sleep(min(self._settings.lease / 4, LOOK) * random.uniform(0.8, 1.2))

    async def reclaim(self, workers: Sequence[str]) -> None:
        """Take back now what these held."""
        while len(await self._broker.reclaim(BATCH, workers=workers)) >= BATCH:  # noqa: ASYNC110 # nothing to wait for: more is there at once
            await asyncio.sleep(0)

    async def _reclaim(self) -> Sized:
        # When nobody has looked for a while (the store or this machine was away, or we are the first to come), all are silent.
        # They get the time of two beats to speak up.
        return await self._broker.reclaim(BATCH, gap=self._settings.lease / 2, grace=2 * self._settings.beat)

    async def _prune(self) -> Sized:
        return range(await self._broker.prune(BATCH))

    async def _all(self, verb: Callable[[], Awaitable[Sized]]) -> None:
        """Call a verb until it finds no more."""
        try:
            while len(await verb()) >= BATCH:  # noqa: ASYNC110 # nothing to wait for: more is there at once
                await asyncio.sleep(0)
        except Exception as error:
            self._events.emit(StoreTrouble(verb.__name__.strip("_"), error))
