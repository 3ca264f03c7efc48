"""One open broker per event loop, opened when first needed: asyncio connections belong to the loop that made them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from weakref import WeakKeyDictionary

from windlass.broker.port import Broker


class Connections:
    """The brokers of one app. After a fork the child opens its own. durability: what each must keep, as the setting says."""

    def __init__(self, make: Callable[[], Broker], durability: str) -> None:
        self._make = make
        self._durability = durability
        self._opening: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Broker]] = WeakKeyDictionary()
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, Broker] = WeakKeyDictionary()
        self._pid = os.getpid()

    async def get(self) -> Broker:
        """The open broker of the running loop."""
        loop = asyncio.get_running_loop()
        if self._pid != os.getpid():
            self._opening, self._open, self._pid = WeakKeyDictionary(), WeakKeyDictionary(), os.getpid()
        if (broker := self._open.get(loop)) is not None:
            return broker
        opening = self._opening.get(loop)
        if opening is None or (opening.done() and (opening.cancelled() or opening.exception() is not None)):
            opening = self._opening[loop] = loop.create_task(self._opened(loop))
        return await asyncio.shield(opening)

    async def _opened(self, loop: asyncio.AbstractEventLoop) -> Broker:
        broker = self._make()
        await broker.open()
        if self._durability:
            try:
                (await broker.describe()).check(self._durability)
            except BaseException:
                await broker.close()
                raise
        self._open[loop] = broker
        return broker

    async def close(self) -> None:
        """Close the running loop's broker; the next `get` opens a new one."""
        loop = asyncio.get_running_loop()
        self._opening.pop(loop, None)
        if (broker := self._open.pop(loop, None)) is not None:
            await broker.close()
