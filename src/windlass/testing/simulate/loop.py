"""One thread, many processes, no time: an event loop whose clock jumps, and whose next step is picked by a die.

The callbacks of one process run in the order in which they became ready, as asyncio promises; whose turn it is among the processes,
the die says. A process that is dead gets no turn any more, one that is stopped none until it goes on: a crash, or a SIGSTOP, between
any two steps.

Only the public interface of asyncio is used, so this works on every CPython that Windlass runs on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, TypeVar

from windlass.testing.simulate.process import Process, here

T = TypeVar("T")


class Broken(Exception):
    """The simulation itself cannot go on."""


_END = Broken("the story is over")


class Step(asyncio.TimerHandle):
    """A callback whose turn has come, or will."""

    __slots__ = ("act", "args", "due", "off", "process", "room")

    def __init__(self, due: float, act: Callable[..., object], args: tuple[Any, ...], room: Context | None) -> None:
        self.due, self.act, self.args, self.off = due, act, args, False
        self.room = copy_context() if room is None else room
        self.process = self.room[here]

    def cancel(self) -> None:
        self.off = True

    def cancelled(self) -> bool:
        return self.off

    def when(self) -> float:
        return self.due


class Loop(asyncio.BaseEventLoop):
    """The loop of all processes. now: seconds since the beginning. Whoever sets `broken` ends the simulation with that error."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.now = 0.0
        self.steps = 0
        self.broken: BaseException | None = None
        self.die = Random(seed)
        self.outside = Process("outside")
        self._serial = count()
        self._timers: list[tuple[float, int, Step]] = []
        self._queue: list[Process] = []
        self._over = False

    # --- what asyncio asks of a loop

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return self._over

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Step:  # type: ignore[override] # less exact about the arguments
        step = Step(self.now, callback, args, context)
        self._enter(step)
        return step

    call_soon_threadsafe = call_soon  # type: ignore[assignment] # the same

    def call_later(  # type: ignore[override] # the same
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Step:
        step = Step(self.now + delay, callback, args, context)
        heappush(self._timers, (step.due, next(self._serial), step))
        return step

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Step:  # type: ignore[override] # the same
        return self.call_later(when - self.now, callback, *args, context=context)

    def create_task(self, coro: Any, **given: Any) -> Any:
        if self._over:  # what is put away begins nothing new
            coro.close()
            return self.create_future()
        return asyncio.Task(coro, loop=self, **given)

    def run_in_executor(self, *_: Any) -> Any:  # type: ignore[override] # the same
        raise Broken("there are no threads in the simulation")

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._over and self.broken is None:
            self.broken = context.get("exception") or Broken(context["message"])

    # --- turning

    def play(self, story: Coroutine[Any, Any, T], most: int) -> T:
        """Run `story` to its end, in at most so many steps, and whatever goes on beside it."""
        asyncio._set_running_loop(self)
        try:
            task = asyncio.Task(story, loop=self, context=self.outside.room)
            task.add_done_callback(self._end, context=self.outside.room)
            self._turn(most)
            if self.broken not in (None, _END):
                raise self.broken
            return task.result()
        finally:
            asyncio._set_running_loop(None)

    def _end(self, _story: object) -> None:
        self.broken = self.broken or _END

    def _turn(self, most: int) -> None:
        """Take step after step, of whoever's turn it is. When it is nobody's, the clock jumps to the next timer."""
        timers, queue, roll = self._timers, self._queue, self.die.random
        while self.broken is None:
            if not queue:
                if not timers:
                    raise Broken("everybody waits, and for nothing")
                self.now = max(self.now, timers[0][0])
                while timers and timers[0][0] <= self.now:
                    step = heappop(timers)[2]
                    if not step.off:
                        self._enter(step)
                continue
            at = int(roll() * len(queue)) if len(queue) > 1 else 0
            process = queue[at]
            step = process.ready.popleft()
            if not process.ready:
                self._leave(at)
            if not step.off:
                step.room.run(step.act, *step.args)
            self.steps += 1
            if self.steps > most:
                raise Broken(f"more than {most} steps: something turns without end")

    def _enter(self, step: Step) -> None:
        process = step.process
        if not process.alive:
            # Kept: what a dead process holds must not be freed, and so finalized, while others live.
            process.lost.append(step)
            return
        process.ready.append(step)
        if not process.queued and not process.stopped:
            process.queued = True
            self._queue.append(process)

    def _leave(self, at: int) -> None:
        self._queue[at].queued = False
        last = self._queue.pop()
        if at < len(self._queue):
            self._queue[at] = last

    # --- what can happen to a process

    def kill(self, process: Process, status: int) -> None:
        """The process, and those it started, are no more."""
        if not process.alive:
            return
        self.freeze(process)
        process.alive = False
        process.lost += process.ready
        process.ready.clear()
        for child in process.children:
            self.kill(child, -9)
        process.on_death(status)

    def freeze(self, process: Process) -> None:
        """As by SIGSTOP: no step of it is taken until `thaw`."""
        process.stopped = True
        if process.queued:
            self._leave(self._queue.index(process))

    def thaw(self, process: Process) -> None:
        """As by SIGCONT."""
        if process.stopped and process.alive:
            process.stopped = False
            process.resumed = self.now
            if process.ready:
                process.queued = True
                self._queue.append(process)

    def close(self) -> None:
        """End everything that still goes on. Its last words are not heard."""
        self._over = True
        asyncio._set_running_loop(self)
        try:
            for task in asyncio.all_tasks(self):
                _put_away(task.get_coro())
        finally:
            asyncio._set_running_loop(None)


def _put_away(code: Any) -> None:
    """Close a coroutine, whatever it has to say to that."""
    for _ in range(9):  # once for each `await` in a `finally`
        try:
            code.close()
            return
        except BaseException:
            continue
