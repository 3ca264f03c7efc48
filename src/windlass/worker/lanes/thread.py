"""Lane "thread": each job of a plain `def` task runs in a thread of our own.

The threads are daemons, so that one which cannot be interrupted (it sits in a C call) never holds up the end of the process. A
thread is interrupted by raising `JobInterrupted` in it, and only while it is inside the job's function.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

from windlass.errors import JobInterrupted
from windlass.worker.call import Caller, ending_of
from windlass.worker.run import Lane, Reports, Run, named

Work = Callable[[], Any]
Report = Callable[[Any], None]

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)


class Worker:
    """One thread. It is given one thing at a time, by `put`; `report` is called, in the thread, with what came of it."""

    def __init__(self, number: int) -> None:
        self._inbox: SimpleQueue[tuple[Work, Report] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._inside = self._doomed = False
        self._thread = threading.Thread(target=self._serve, name=f"windlass-thread-{number}", daemon=True)
        self._thread.start()
        self.id = self._thread.native_id or 0

    def put(self, work: Work, report: Report) -> None:
        """Call `work` in the thread."""
        self._doomed = False
        self._inbox.put((work, report))

    def quit(self) -> None:
        """End the thread, once it is free."""
        self._inbox.put(None)

    def interrupt(self) -> None:
        """Raise `JobInterrupted` in the work, if it has not ended; at most once for each."""
        with self._lock:
            self._doomed = True
            if self._inside and self._thread.ident is not None:
                _raise_in(self._thread.ident, ctypes.py_object(JobInterrupted))

    def _serve(self) -> None:
        while (item := self._inbox.get()) is not None:
            work, report = item
            report(self._do(work))
            del item, work, report

    def _do(self, work: Work) -> Any:
        """What the work answers, or the error it raises. The interruption may strike at any step in here, and nowhere else."""
        answer: list[Any] = []
        try:
            try:
                self._enter()
                # A context of its own for each job: what one sets, the next does not see.
                answer.append(contextvars.Context().run(work))
            except BaseException as error:
                answer.append(error)
            self._leave()
        except JobInterrupted as late:
            self._leave()
            answer.append(late)
        return answer[0]

    def _enter(self) -> None:
        with self._lock:
            if self._doomed:
                raise JobInterrupted
            self._inside = True

    def _leave(self) -> None:
        """Nothing is raised in this thread any more; what was raised and has not struck yet is taken back."""
        with self._lock:
            self._inside = False
            _raise_in(threading.get_ident(), ctypes.py_object())


class ThreadLane(Lane):
    """As many threads as jobs at once, started when needed and kept."""

    name = "thread"

    def __init__(self, slots: int, reports: Reports, caller: Caller) -> None:
        super().__init__(slots, reports)
        self._caller = caller
        self._loop = asyncio.get_running_loop()
        self._idle: list[Worker] = []
        self._count = 0
        self._answers: deque[tuple[Run, Callable[[Any], None], Any]] = deque()
        self._woken = False

    async def stop(self) -> None:
        for worker in self._idle:
            worker.quit()

    def run(self, run: Run) -> None:
        if self._caller.plain(run.definition):
            perform = Caller.perform_here if run.limit is None else named(Caller.perform_here, run.claim.id)
            here = partial(perform, self._caller, run.definition, run.open, run.values)
            self._take(run)
            self.reports.began(run)
            self._call(run, here, partial(self._ended, run))
        else:
            self.reports.began(run)
            drive = ThreadLane._drive if run.limit is None else named(ThreadLane._drive, run.claim.id)
            run.task = self._loop.create_task(drive(self, run))

    def _ended(self, run: Run, answer: Any) -> None:
        self.reports.finish(run, ending_of(answer, run.open) if isinstance(answer, BaseException) else answer)

    async def _drive(self, run: Run) -> None:
        """Dependencies and middleware run in the loop, the function between them in a thread."""

        async def in_thread(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if run.why is not None:
                raise JobInterrupted
            answered: asyncio.Future[Any] = self._loop.create_future()
            inner = partial(contextvars.copy_context().run, function, *args, **kwargs)
            self._take(run)
            self._call(run, inner, lambda answer: None if answered.done() else answered.set_result(answer))
            answer = await answered
            if isinstance(answer, BaseException):
                raise answer
            return answer

        self.reports.finish(run, await self._caller.perform(run.definition, run.open, run.values, in_thread))

    def _take(self, run: Run) -> None:
        """Give a run a thread."""
        self._count += not self._idle
        run.place = self._idle.pop() if self._idle else Worker(self._count)
        run.thread = run.place.id

    def _call(self, run: Run, work: Work, then: Callable[[Any], None]) -> None:
        """Call `work` in the thread of a run, and then `then` with its answer in the loop."""
        worker: Worker = run.place
        worker.put(work, lambda answer: self._say(run, then, answer))

    def _say(self, run: Run, then: Callable[[Any], None], answer: Any) -> None:
        """From a thread: give an answer to the loop. Many in a row wake it once."""
        self._answers.append((run, then, answer))
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._hear)
            except RuntimeError:
                pass  # the thread was given up and outlived the loop

    def _hear(self) -> None:
        self._woken = False  # first: who finds it set can trust that what he left is still to be heard
        while self._answers:
            run, then, answer = self._answers.popleft()
            worker, run.place, run.thread = run.place, None, 0
            if run.ended:
                worker.quit()  # it was given up, and another has its place
            else:
                self._idle.append(worker)
            then(answer)

    def interrupt(self, run: Run) -> None:
        if run.place is not None:
            run.place.interrupt()
        elif run.task is not None:
            run.task.cancel()

    def kill(self, run: Run) -> bool:
        if run.task is not None:
            run.task.cancel()
        return False
