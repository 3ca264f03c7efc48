"""The lane of one task with `batch=...`: its jobs gather, and run together, in a lane of the task's own.

Each job is a `Run` of its own: it has its outcome, its journal, its slot. A joint run stands for them in the inner lane. Who is
cancelled, or lost, leaves the others alone: it ends at once, and what the joint run says of it is thrown away. Only with the
last one the joint run is interrupted. A time limit and a shutdown are for all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, cast

from windlass.core.batch import parted, together
from windlass.core.job import Entry
from windlass.core.outcome import Ending, Raised
from windlass.definition import Definition
from windlass.worker import capture
from windlass.worker.call import describe
from windlass.worker.run import Lane, Reports, Run


class BatchLane(Lane):
    """`make_inner` makes the lane in which the joint runs are made, given where it reports."""

    def __init__(self, definition: Definition, reports: Reports, make_inner: Callable[[Reports], Lane]) -> None:
        assert definition.batch is not None
        self._batch = definition.batch
        super().__init__(self._batch.size * self._batch.runs, reports)
        self.name = definition.slot
        self._parameter = definition.item.parameter
        self.inner = make_inner(Reports(self._note, self._began, self._finish, reports.max_payload))
        self.remote = self.inner.remote
        self.decodes = self._batch.by is not None or not self.remote
        self._loop = asyncio.get_running_loop()
        self._open: dict[Any, list[Run]] = {}
        self._closing: dict[Any, float] = {}
        self._due: deque[list[Run]] = deque()
        self._jobs: dict[Run, list[Run]] = {}

    @property
    def free(self) -> int:
        """Seats in runs that can still be filled: who runs has all seats of its run."""
        running = sum(not run.ended for jobs in self._jobs.values() for run in jobs)
        return min(self._batch.runs - len(self._jobs), self.inner.free) * self._batch.size - (self.busy - running)

    @property
    def patience(self) -> float:
        """Until a group closes: what came later would wait here for the end of its run."""
        return max(0.0, min(self._closing.values(), default=inf) - self._loop.time())

    async def start(self) -> None:
        await self.inner.start()

    async def stop(self) -> None:
        await self.inner.stop()

    # --- gathering

    def run(self, run: Run) -> None:
        key = None if self._batch.by is None else self._batch.by(run.values[self._parameter][0])
        group = self._open.setdefault(key, [])
        group.append(run)
        if len(group) == 1:
            wait = cast(float, self._batch.wait)
            self._closing[key] = self._loop.time() + wait
            self._loop.call_later(wait, self._close, key, group)
        if len(group) == self._batch.size:
            self._close(key, group)

    def _close(self, key: Any, group: list[Run]) -> None:
        """Nobody joins this group any more; it runs as soon as it can."""
        if self._open.get(key) is group:  # it was not full before
            del self._open[key], self._closing[key]
            self._due.append(group)
            self._go_on()

    def _go_on(self) -> None:
        while self._due and len(self._jobs) < self._batch.runs:
            if jobs := [run for run in self._due.popleft() if not run.ended]:
                self._begin(jobs)

    def _begin(self, jobs: list[Run]) -> None:
        first = jobs[0]
        joint = Run(first.claim, first.identity, first.definition, first.envelope, lane=self.inner)
        joint.values = {} if self.remote else together([run.values for run in jobs])
        joint.more = [run.claim for run in jobs[1:]]
        joint.limit = min((run.limit for run in jobs if run.limit is not None), default=None)
        self._jobs[joint] = jobs
        for run in jobs:
            run.place, run.limit = joint, joint.limit
        try:
            self.inner.run(joint)
        except Exception as error:  # no thread, no memory
            self._finish(joint, Raised(describe(error), ("builtins.Exception",)))

    # --- what the inner lane tells

    def _note(self, joint: Run, entry: Entry) -> None:
        for run in self._jobs.get(joint, ()):
            self.reports.note(run, entry)

    def _began(self, joint: Run) -> None:
        for run in self._jobs[joint]:
            if not run.ended:
                run.thread = joint.thread
                self.reports.began(run)

    def _finish(self, joint: Run, ending: Ending) -> None:
        if joint.ended:
            return
        if joint.context is not None:
            capture.finish(joint.context)
        jobs = self._leave(joint)
        for run, own in zip(jobs, parted(ending, len(jobs)), strict=True):
            run.why = run.why or joint.why  # the limit of one is that of all, whose clock is the next to ring
            self.reports.finish(run, own)
        self._go_on()
        self.wake()

    def _leave(self, joint: Run) -> list[Run]:
        joint.ended, joint.task, joint.context = True, None, None
        return self._jobs.pop(joint)

    # --- what a job is told

    def tell(self, run: Run, why: str) -> None:
        joint = run.place
        if isinstance(joint, Run) and joint.why is None and not self._leaves_alone(run):
            joint.why = run.why
            self.inner.tell(joint, why)
            if joint.why is not None:
                self.inner.interrupt(joint)

    def interrupt(self, run: Run) -> None:
        # What interrupts the joint run was told to it already: the first of its jobs that is to end does that for all.
        if not isinstance(run.place, Run) or self._leaves_alone(run):
            self.reports.finish(run, run.interruption())

    def kill(self, run: Run) -> bool:
        joint: Run = run.place
        if not joint.ended:
            if self.inner.kill(joint):
                return True
            self._leave(joint)  # it goes on without a master
            self._go_on()
        return False

    def _leaves_alone(self, run: Run) -> bool:
        """Whether it is to end, and its joint run is not: for other jobs it goes on."""
        others = any(one is not run and not one.ended for one in self._jobs.get(run.place, ()))
        return others and run.why in ("cancel", "lost")
