"""Work that goes on beside its owner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any


class Chores:
    """Tasks that nobody waits for one by one. Kept here, because asyncio itself would let them be collected half done."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this beside whatever else goes on; nothing is begun any more after `cancel`."""
        if self._over:
            work.close()
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logging.getLogger("windlass").error("a bug in Windlass: %s failed", task.get_coro(), exc_info=error)

    async def finish(self) -> None:
        """Wait until all is done, also what is begun meanwhile."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Break off what is not done, and begin nothing from now on."""
        self._over = True
        for task in self._tasks:
            task.cancel()
        await self.finish()
