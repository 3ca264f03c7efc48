"""A runner as a process of its own: `python -m windlass.worker.process SOCKET LEASH STACKS`, started by a supervisor.

It does not hear terminals and service managers: the supervisor tells it what to do. It dies with its supervisor.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from math import inf
from typing import Any, cast

from windlass.core.resources import told
from windlass.core.urls import masked
from windlass.definition import Program
from windlass.errors import BrokerError, ConfigurationError, WindlassError
from windlass.events import Counted, StoreTrouble, WorkerChanged
from windlass.settings import Settings
from windlass.worker import signals
from windlass.worker.heart import OnPulse
from windlass.worker.link import (
    STORE_AWAY,
    TICK,
    Begun,
    Breath,
    Keep,
    Message,
    Orders,
    Parent,
    Pulsed,
    Ready,
    Stop,
    Tick,
    Told,
    die_together,
)
from windlass.worker.loading import load
from windlass.worker.run import Run
from windlass.worker.runner import Runner, queues_of

GC_THRESHOLDS = (10_000, 10, 10)
"""Of the cyclic garbage collector, instead of 700: the drain of small jobs gains a tenth."""
LAST_GRACE = 5.0
"""Seconds that the exit of this process may take, once everything is stored: a thread may hold it up."""


class Supervised:
    """The supervisor, as its runner sees it: the keeper of our ids, and who tells us to stop.

    timeout: for how long what runs may still run then. on_stop: called with the timeout of each Stop.
    """

    def __init__(self, parent: Parent) -> None:
        self.stopping = asyncio.Event()
        self.timeout = inf
        self.on_stop: Callable[[float], None] = lambda _timeout: None
        self.on_pulse: OnPulse = lambda _worker, _pulse: None
        self._parent = parent
        self._loop = asyncio.get_running_loop()
        self._answers: dict[str, asyncio.Future[None]] = {}
        self._beginning: list[Run] = []
        self._ticked = time.monotonic()

    async def start(self) -> None:
        for work in (self._listen, self._breathe):
            threading.Thread(target=work, name="windlass-link", daemon=True).start()

    async def stop(self) -> None:
        """The link ends with the process."""

    async def adopt(self, worker: str) -> None:
        await self._ask(Keep(worker, True))

    async def retire(self, worker: str) -> None:
        await self._ask(Keep(worker, False))

    async def _ask(self, wish: Keep) -> None:
        answer = self._answers[wish.worker] = self._loop.create_future()
        self._parent.send(wish)
        await answer

    def _listen(self) -> None:
        while (message := self._parent.receive()) is not None:
            try:
                self._loop.call_soon_threadsafe(self._hear, message)
            except RuntimeError:
                return  # the loop is closed: we are on our way out, and the leash holds
        die_together()

    def _breathe(self) -> None:
        """Show that the interpreter is free, while the loop stands still."""
        while True:
            time.sleep(TICK)
            if time.monotonic() - self._ticked > 2 * TICK:
                self._parent.send(Breath())

    def _hear(self, message: Message) -> None:
        if isinstance(message, Stop):
            timeout = 0.0 if message.interrupt else message.timeout
            self.timeout = min(self.timeout, timeout)
            self.stopping.set()
            self.on_stop(timeout)
        elif isinstance(message, Pulsed):
            answer = self._answers.pop(message.worker, None)
            if answer is None:
                self.on_pulse(message.worker, message.pulse)
            elif not answer.done():
                answer.set_result(None)

    async def ticking(self, runner: Runner) -> None:
        """Show, for ever, that this loop turns, and what a supervisor needs to know should it turn no more."""
        while True:
            self.tick(runner)
            await asyncio.sleep(TICK)

    def announce(self, run: Run, runner: Runner) -> None:
        """Tell of a run before its code can take the interpreter for itself: at once, or just before the loop comes to it."""
        self._beginning.append(run)
        if run.thread:
            self._tell_begun(runner)
        elif len(self._beginning) == 1:
            self._loop.call_soon(self._tell_begun, runner)

    def _tell_begun(self, runner: Runner) -> None:
        if begun := [runner.executor.limited(run) for run in self._beginning if not run.ended]:
            self._parent.send(Begun(begun))
        self._beginning.clear()

    def tick(self, runner: Runner) -> None:
        """Show how the runner stands."""
        executor, groups = runner.executor, [group for lane in runner.process_lanes for group in lane.groups]
        wish = f"{executor.abandoned} jobs could not be stopped" if executor.abandoned else ""
        self._parent.send(Tick(runner.card(), executor.limits(), groups, executor.ended, wish, runner.stalled()))
        self._ticked = time.monotonic()


async def serve(parent: Parent, program: Program, orders: Orders, settings: Settings) -> None:
    """Run until told to stop; in a burst, until there is nothing left to do."""
    supervised = Supervised(parent)
    runner = Runner(program, queues=orders.queues, settings=settings, keeper=supervised)
    if orders.telling:
        program.events.subscribe(
            lambda event: parent.send(Told(cast(Any, event))), Counted, StoreTrouble, WorkerChanged
        )
    for lane in runner.process_lanes:
        lane.setup, lane.on_spawn = orders.setup, lambda: supervised.tick(runner)
    runner.executor.on_limited = lambda run: supervised.announce(run, runner)
    await runner.start()
    ticking = asyncio.create_task(supervised.ticking(runner))
    # A runner that cannot tick would be taken for a stuck one.
    ticking.add_done_callback(lambda _ticking: supervised._hear(Stop("shutdown", interrupt=True)))
    await runner.until(supervised.stopping, burst=orders.burst)
    supervised.on_stop = runner.hasten
    await runner.stop(supervised.timeout)
    if ticking.done():
        ticking.result()
    ticking.cancel()
    _leave_soon(0)  # the loop's own end waits for every task, also for one that was given up


def prepare(orders: Orders) -> tuple[Program, Settings, Ready]:
    """Load the program, and tell what there is to know of it. Raises `ConfigurationError`."""
    if orders.url is not None:
        os.environ["WINDLASS_URL"] = orders.url
    found = load(orders)
    program: Program = found.object
    if orders.url not in (None, program.url):
        raise ConfigurationError(
            f"{found.target} names its store itself ({masked(program.url)}): --url {masked(str(orders.url))} is in vain"
        )
    settings = replace(program.settings, **orders.settings)
    if settings.has and settings.runners > 1:
        raise ConfigurationError(
            f"{settings.runners} runners would all hand out the same devices ({told(settings.has)}); use one runner"
        )
    ready = Ready(
        url=program.url,
        name=program.name,
        settings={name: value for name, value in asdict(settings).items() if name != "retry"},
        target=found.target,
        how=found.how,
        tasks=sorted(program.definitions),
        queues=queues_of(program, orders.queues).told(),
    )
    return program, settings, ready


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop, uvloop's where it is installed."""
    try:
        import uvloop  # the extra "fast"
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def main(*fds: str) -> None:
    """Load the program, run it, and go."""
    signals.ignore()
    parent = Parent(*map(int, fds))
    if not isinstance(orders := parent.receive(), Orders):
        return
    code = 0
    try:
        program, settings, ready = prepare(orders)
        parent.send(ready)
        # What was imported stays: the collector need not look at it again, nor at every few hundred short-lived jobs.
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        with asyncio.Runner(loop_factory=new_loop) as loop:
            loop.run(serve(parent, program, orders, settings))
    except WindlassError as error:
        if os.environ.get("WINDLASS_DEBUG"):
            traceback.print_exc()
        parent.send(Ready(refusal=str(error)))
        code = STORE_AWAY if isinstance(error, BrokerError) else 2
    _leave_soon(code)
    sys.exit(code)


def _leave_soon(code: int) -> None:
    """Be gone after `LAST_GRACE`, whatever a thread or a task that hears nothing is still at."""
    last = threading.Timer(LAST_GRACE, os._exit, (code,))
    last.daemon = True
    last.start()


if __name__ == "__main__":
    main(*sys.argv[1:])
