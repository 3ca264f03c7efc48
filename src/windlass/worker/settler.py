"""Stores outcomes: whatever has piled up while the last batch was being written makes the next one.

An outcome is written again until the store takes it, for as long as the worker lives: the token makes a repeat
harmless. What a job wrote to its journal is stored before its outcome is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import inf

from windlass.broker.port import Broker
from windlass.core.job import Job
from windlass.core.outcome import ErrorInfo, Failed, Outcome, Succeeded
from windlass.core.state import State
from windlass.errors import BrokerError
from windlass.events import Events, StaleWrite, StoreBack, StoreTrouble
from windlass.failpoints import failpoint
from windlass.worker.run import Identity, Run, pauses

BATCH = 2000
"""Outcomes in one write at most."""
BACKLOG = 4000
"""Outcomes that may wait before no more work is claimed."""

Pair = tuple[Run, Outcome]


class Settler:
    """The queue of outcomes and its one writer. `flush` stores the journals of ended runs; `let_go` hears of each that is done, `note` of
    all that were written at once, and which of them were applied.

    patience: how long a stop waits, in seconds, for a store that does not take what is left.
    """

    def __init__(
        self,
        broker: Broker,
        events: Events,
        flush: Callable[[Sequence[Pair]], Awaitable[None]],
        let_go: Callable[[Identity], None],
        note: Callable[[Sequence[Pair], Sequence[bool]], None],
        *,
        patience: float,
    ) -> None:
        self.patience = patience
        self._broker = broker
        self._events = events
        self._flush = flush
        self._let_go = let_go
        self._note = note
        self._waiting: list[Pair] = []
        self._under_way = 0
        self._asked: float | None = None
        self._wake: asyncio.Future[None] | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="windlass settler")

    @property
    def backlog(self) -> int:
        """Outcomes that are not stored yet."""
        return len(self._waiting) + self._under_way

    @property
    def waits(self) -> float:
        """For how many seconds the store has not answered a write; inf when the writer has ended that should not."""
        if self._task is not None and self._task.done():
            return inf
        return 0.0 if self._asked is None else asyncio.get_running_loop().time() - self._asked

    def put(self, run: Run, outcome: Outcome | None) -> None:
        """Take over an outcome; None: the job is not ours any more, and nothing may be written."""
        if outcome is None:
            self._let_go(run.identity)
            return
        self._waiting.append((run, outcome))
        if (wake := self._wake) is not None:
            self._wake = None
            self._drained.clear()
            wake.set_result(None)

    async def stop(self) -> None:
        """Store what is left, as long as there is patience."""
        try:
            async with asyncio.timeout(self.patience):
                while self.backlog:
                    await self._drained.wait()
                    await asyncio.sleep(0)
        except TimeoutError:
            pass  # the leases of what is left will end
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        while True:
            if not self._waiting:
                self._wake = asyncio.get_running_loop().create_future()
                self._drained.set()
                await self._wake
            await self._write()

    async def _write(self) -> None:
        """Store the next batch. Nothing of it is kept afterwards, while there may be nothing to do for long."""
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        self._under_way = len(batch)
        await self._settle(batch)
        self._under_way, self._asked = 0, None
        for run, _ in batch:
            self._let_go(run.identity)

    async def _settle(self, batch: list[Pair]) -> None:
        for tries, pause in enumerate(pauses()):
            try:
                failpoint("settler.before_settle")
                self._asked = asyncio.get_running_loop().time()
                if told := [pair for pair in batch if pair[0].notes is not None or type(pair[1]) is not Succeeded]:
                    await self._flush(told)
                applied, _ = await self._broker.settle([(run.claim, outcome) for run, outcome in batch])
                failpoint("settler.after_settle")
                happened = applied if not tries or all(applied) else await self._happened(batch, applied)
            except Exception as error:
                self._events.emit(StoreTrouble("settle", error))
                if not isinstance(error, BrokerError) and tries >= 3:
                    await self._settle_apart(batch, error)
                    return
                await asyncio.sleep(pause)
                continue
            self._note(batch, happened)
            if tries:
                self._events.emit(StoreBack("settle"))
            # After a try without an answer, "not applied" may only mean that the first one was.
            if not tries and not all(applied):
                for (run, _), done in zip(batch, applied, strict=True):
                    if not done:
                        self._events.emit(StaleWrite(run.claim))
            return

    async def _happened(self, batch: list[Pair], applied: list[bool]) -> list[bool]:
        """What was applied by this try, or by one before it that was not answered."""
        jobs = await self._broker.get([run.claim.id for run, _ in batch])
        pairs = zip(batch, applied, jobs, strict=True)
        return [done or (job is not None and _left(run, job)) for (run, _), done, job in pairs]

    async def _settle_apart(self, batch: list[Pair], error: Exception) -> None:
        """No trouble of the store, so one of these outcomes is to blame: it must not hold up the others."""
        if len(batch) > 1:
            for pair in batch:
                await self._settle([pair])
        elif not isinstance(batch[0][1], Failed):
            run = batch[0][0]
            info = ErrorInfo("result", type(error).__name__, f"the outcome could not be stored: {error!r:.500}")
            await self._settle([(run, Failed(info))])


def _left(run: Run, job: Job) -> bool:
    """Whether `run` was ended by an outcome that spends the attempt. A job that was taken back from its worker got the attempt back."""
    claim, rests = run.claim, job.state is not State.RUNNING
    return job.attempt > claim.attempt or (rests and job.attempt == claim.attempt and job.worker == run.identity.worker)
