"""Claims what can be started now, and nothing more: back-pressure lives here only.

One loop for each lane that a task uses, so that a busy lane does not hold up a free one, and one more for all other
lanes: a job may have been enqueued by a program in which its task had another lane, or by one whose task we do not know.

A claim that is under way is never cancelled: it may have happened, and then the job would be nobody's for as long as
this worker lives. A stop tells the broker to end the waits of its claims (`wake`), and waits for their answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from math import inf

from windlass.broker.port import Claims
from windlass.core.job import Claim
from windlass.errors import BrokerError, BrokerUnavailable
from windlass.events import Events, StoreBack, StoreTrouble
from windlass.failpoints import failpoint
from windlass.worker.identity import Identities
from windlass.worker.run import Identity, Lane, pauses

WAIT = 10.0
"""Seconds that a claim waits at the store."""
LOOK = 0.2
"""Seconds between two looks whether a worker that is quiet may go on."""
HASTE = 0.05
"""A claim that comes back with nothing sooner than this is not repeated sooner: its id may not live, and does not wait."""
GATHER = 0.001
"""Seconds to let more slots come free when only a few are, in a lane that is busy."""
FEW = 8
"""A room of fewer than 1 / FEW of a lane's slots is few."""


class Fetcher:
    """Claims for `groups` of lanes. `start_job` begins a claim; `release` hands one back; `full` says that outcomes pile up.

    quiet: nothing is claimed, for now.
    """

    def __init__(
        self,
        broker: Claims,
        queues: Callable[[], Sequence[str]],
        identities: Identities,
        events: Events,
        *,
        start_job: Callable[[Claim, Identity], None],
        release: Callable[[Claim, Identity], None],
        full: Callable[[], bool],
    ) -> None:
        self._broker = broker
        self._queues = queues
        self._identities = identities
        self._events = events
        self._start_job = start_job
        self._release = release
        self._full = full
        self.quiet = False
        self._groups: list[list[Lane]] = []
        self._strays: list[Lane] = []
        self._asked: set[float] = set()
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def serve(self, lanes: Iterable[Lane], used: set[str]) -> None:
        """Begin to claim: for each of the `used` lanes by itself, for all others together."""
        served = [lane for lane in lanes if lane.slots]
        self._strays = [lane for lane in served if lane.name not in used]
        groups = self._groups = [[lane] for lane in served if lane.name in used]
        groups += [self._strays] if self._strays else []
        self._tasks = [asyncio.create_task(self._serve(lanes), name="windlass fetcher") for lanes in groups]

    @property
    def waits(self) -> float:
        """For how many seconds the store has not answered a claim; inf when a loop has ended that should not."""
        if any(task.done() for task in self._tasks) and not self._stopping.is_set():
            return inf
        return asyncio.get_running_loop().time() - min(self._asked) if self._asked else 0.0

    async def stop(self, patience: float | None = None) -> None:
        """Claim no more; returns when nothing more can arrive, or after `patience` seconds of waiting for a store that hangs."""
        self._stopping.set()
        self._identities.close()
        for lanes in self._groups:
            for lane in lanes:
                lane.wake()
        self._broker.wake()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)

    async def _serve(self, lanes: list[Lane]) -> None:
        trouble, troubled = pauses(), False
        while not self._stopping.is_set():
            room = await self._room(lanes)
            if not room:
                continue
            identity = await self._identities.current()
            if self._stopping.is_set():
                return
            if self.quiet:
                await self._pause(LOOK)
                continue
            # From here to the claim's first step there is no await: whoever wakes what has begun wakes this one, too.
            identity.held += 1
            try:
                claims = await self._claim(identity, room, min(lane.patience for lane in lanes))
                if troubled:
                    trouble, troubled = pauses(), False
                    self._events.emit(StoreBack("claim"))
            except Exception as error:
                if isinstance(error, BrokerUnavailable) or not isinstance(error, BrokerError):
                    self._identities.doubt(identity)
                troubled = True
                self._events.emit(StoreTrouble("claim", error))
                await self._pause(next(trouble))
                continue
            finally:
                self._identities.let_go(identity)
            take = self._release if self._stopping.is_set() else self._start_job
            for claim in claims:
                take(claim, identity)

    async def _claim(self, identity: Identity, room: dict[str, int], patience: float) -> list[Claim]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._asked.add(began)
        try:
            claims = await self._broker.claim(self._queues(), room, identity.worker, wait=min(WAIT, patience))
        finally:
            self._asked.discard(began)
        if claims:
            failpoint("worker.after_claim")
            identity.held += len(claims)
        elif loop.time() - began < HASTE:
            await self._pause(HASTE)
        return claims

    async def _room(self, lanes: list[Lane]) -> dict[str, int]:
        """The free slots, once there are some; empty when the fetcher is to look again."""
        if self._full():
            await self._pause(0.005)
            return {}
        if lanes is self._strays:
            # Their own slots are never taken: what comes runs in another lane, if it is known here.
            if any(lane.free <= 0 for group in self._groups for lane in group):
                await self._pause(0.1)
                return {}
            return {lane.name: 1 for lane in lanes}
        lane = lanes[0]
        while lane.free <= 0 and not self._stopping.is_set():
            lane.waiter = asyncio.get_running_loop().create_future()
            await lane.waiter
        if lane.busy and lane.free < lane.slots // FEW:
            await asyncio.sleep(GATHER)
        free = lane.free
        return {lane.name: free} if free > 0 and not self._stopping.is_set() else {}

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass
