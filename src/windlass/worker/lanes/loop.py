"""Lane "loop": each job of an `async def` task is one asyncio task of the runner's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from windlass.context import Context
from windlass.core.job import Entry
from windlass.core.outcome import Ending
from windlass.worker.call import Caller
from windlass.worker.run import Lane, Run

Note = Callable[[Run, Entry], None]


def context_of(run: Run, note: Note) -> Context:
    """The context that a run's code sees, in this process."""
    claim = run.claim
    context = run.context = Context(
        job_id=claim.id,
        task=claim.task,
        attempt=claim.attempt,
        crashes=claim.crashes,
        token=claim.token,
        sink=partial(note, run),
        meta=run.envelope.meta,
        last_checkpoint=run.checkpoint,
    )
    return context


class LoopLane(Lane):
    """Many jobs at once; an interruption is the task's cancellation."""

    name = "loop"

    def __init__(
        self, slots: int, caller: Caller, note: Note, began: Callable[[Run], None], finish: Callable[[Run, Ending], None]
    ) -> None:
        super().__init__(slots)
        self._caller = caller
        self._note = note
        self._began = began
        self._finish = finish
        self._loop = asyncio.get_running_loop()

    def run(self, run: Run) -> None:
        run.task = self._loop.create_task(self._drive(run))
        self._began(run)

    async def _drive(self, run: Run) -> None:
        if run.ended:
            return
        ending = await self._caller.perform(run.definition, context_of(run, self._note), run.values)
        self._finish(run, ending)

    def interrupt(self, run: Run) -> None:
        assert run.task is not None
        if run.context is None:  # its first step is still to come, and would be skipped without a word
            self._finish(run, run.interruption())
        else:
            run.task.cancel()

    def kill(self, run: Run) -> bool:
        return False
