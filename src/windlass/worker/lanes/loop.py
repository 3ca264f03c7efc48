"""Lane "loop": each job of an `async def` task is one asyncio task of the runner's event loop."""

from __future__ import annotations

import asyncio

from windlass.worker.call import Caller
from windlass.worker.run import Lane, Reports, Run, named


class LoopLane(Lane):
    """Many jobs at once; an interruption is the task's cancellation."""

    name = "loop"

    def __init__(self, slots: int, reports: Reports, caller: Caller) -> None:
        super().__init__(slots, reports)
        self._caller = caller
        self._loop = asyncio.get_running_loop()

    def run(self, run: Run) -> None:
        self.reports.began(run)
        drive = LoopLane._drive if run.limit is None else named(LoopLane._drive, run.claim.id)
        run.task = self._loop.create_task(drive(self, run))

    async def _drive(self, run: Run) -> None:
        run.place = True
        self.reports.finish(run, await self._caller.perform(run.definition, run.open, run.values))

    def interrupt(self, run: Run) -> None:
        assert run.task is not None
        run.task.cancel()
        if run.place is None:  # its first step is still to come, and is now skipped without a word
            self.reports.finish(run, run.interruption())
