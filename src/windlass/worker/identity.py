"""The ids under which a runner holds its jobs. The store judges by them: what no living id holds is run again.

A runner has one current id, and takes a new one when

* the store says that the old one does not live any more: its jobs belong to others by now;
* a claim failed without an answer. It may have happened, and then the store thinks that this worker runs a job which it
  has never heard of. As long as the id lives nobody else would run it. So no more is claimed under that id, it is kept
  alive until its known jobs are done, and then given up: what is still held by it comes back by `reclaim`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

from windlass.core.ids import new_id
from windlass.core.job import Pulse
from windlass.worker.chores import Chores
from windlass.worker.run import Identity


class Keeper(Protocol):
    """Who beats for this runner's ids, from outside of its event loop. `on_pulse` is called in it with what the store answers."""

    on_pulse: Callable[[str, Pulse], None]

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def adopt(self, worker: str) -> None:
        """Keep `worker` alive from now on; returns once the store knows it, however long that takes."""
        ...

    async def retire(self, worker: str) -> None:
        """End the life of `worker`: it holds nothing, or what it holds shall be run by others."""
        ...


class Identities:
    """All ids of a runner.

    on_lost: called with one whose jobs are no longer ours. wake: ends the waits of claims, also of those under an id of the past.
    version: of the user's code; it stands in every id, and so on every attempt.
    """

    def __init__(
        self, keeper: Keeper, on_lost: Callable[[Identity], None], wake: Callable[[], None], version: str
    ) -> None:
        self._keeper = keeper
        self._on_lost = on_lost
        self._wake = wake
        self._host = socket.gethostname()[:60] + (f"@{version}" if version else "")
        self._all: dict[str, Identity] = {}
        self._newest: Identity | None = None
        self._current: asyncio.Task[Identity] | None = None
        self._retiring = Chores()

    async def start(self) -> None:
        """Become known to the store."""
        self._renew()
        await self.current()

    def close(self) -> None:
        """Wait no longer for an id to claim under."""
        if self._current is not None:
            self._current.cancel()

    async def stop(self) -> None:
        """Give up every id; called once all outcomes are stored, or nothing more can be done for them."""
        self.close()
        for worker in self._all:
            self._retiring.begin(self._keeper.retire(worker))
        await self._retiring.finish()
        self._all.clear()

    async def current(self) -> Identity:
        """The id to claim under, once it lives."""
        while True:
            current = self._current
            assert current is not None
            identity = await asyncio.shield(current)
            if current is self._current:  # another may have taken its place just now
                return identity

    def _renew(self) -> None:
        identity = self._newest = Identity(f"{self._host}:{new_id()}")
        self._all[identity.worker] = identity
        self._current = asyncio.create_task(self._adopted(identity), name="windlass identity")

    async def _adopted(self, identity: Identity) -> Identity:
        await self._keeper.adopt(identity.worker)
        return identity

    def doubt(self, identity: Identity) -> None:
        """A claim under this id may have happened without an answer."""
        if identity is self._newest:
            self._renew()
            self._wake()

    def wished(self, worker: str, state: str) -> bool:
        """Somebody wishes this id to be in that state; answers whether that is new. So what was wished last counts, of whichever id."""
        identity = self._all.get(worker)
        if identity is None or identity.wished == state:
            return False
        identity.wished = state
        return True

    def lost(self, worker: str) -> None:
        """The store says that this id does not live any more."""
        identity = self._all.pop(worker, None)
        if identity is not None:
            self.doubt(identity)
            self._on_lost(identity)

    def let_go(self, identity: Identity) -> None:
        """One thing less is held under this id; an id of the past that holds nothing is given up."""
        identity.held -= 1
        if not identity.held and identity.worker in self._all and identity is not self._newest:
            del self._all[identity.worker]
            self._retiring.begin(self._keeper.retire(identity.worker))
