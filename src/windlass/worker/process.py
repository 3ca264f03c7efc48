"""A runner as a process of its own: `python -m windlass.worker.process SOCKET LEASH`, started by a supervisor.

It does not hear terminals and service managers: the supervisor tells it what to do. It dies with its supervisor.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import traceback
from dataclasses import asdict, replace

from windlass import targets
from windlass.core.urls import masked
from windlass.definition import Program
from windlass.errors import ConfigurationError, WindlassError
from windlass.settings import Settings
from windlass.worker import signals
from windlass.worker.heart import OnPulse
from windlass.worker.link import TICK, Keep, Message, Orders, Parent, Pulsed, Ready, Stop, Tick, die_together
from windlass.worker.loading import load
from windlass.worker.run import Run
from windlass.worker.runner import Runner, queues_of

GC_THRESHOLDS = (10_000, 10, 10)
"""Of the cyclic garbage collector, instead of 700: the drain of small jobs gains a tenth."""
LAST_GRACE = 5.0
"""Seconds that the exit of this process may take, once everything is stored: a thread may hold it up."""


class Supervised:
    """The supervisor, as its runner sees it: the keeper of our ids, and who tells us to stop."""

    def __init__(self, parent: Parent) -> None:
        self.stopping, self.hurry = asyncio.Event(), asyncio.Event()
        self._parent = parent
        self._loop = asyncio.get_running_loop()
        self._answers: dict[str, asyncio.Future[None]] = {}
        self._deadline: tuple[float, str] | None = None
        self.on_pulse: OnPulse = lambda _worker, _pulse: None

    async def start(self) -> None:
        threading.Thread(target=self._listen, name="windlass-link", daemon=True).start()

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
            self._loop.call_soon_threadsafe(self._hear, message)
        die_together()

    def _hear(self, message: Message) -> None:
        if isinstance(message, Stop):
            self.stopping.set()
            if message.interrupt:
                self.hurry.set()
        elif isinstance(message, Pulsed):
            answer = self._answers.pop(message.worker, None)
            if answer is None:
                self.on_pulse(message.worker, message.pulse)
            elif not answer.done():
                answer.set_result(None)

    async def ticking(self, runner: Runner) -> None:
        """Show, for ever, that this loop turns, and what a supervisor needs to know should it turn no more."""
        runner.processes.on_spawn = lambda: self._tick(runner)
        runner.executor.on_limited = lambda run: self._announce(run, runner)
        while True:
            self._tick(runner)
            await asyncio.sleep(TICK)

    def _announce(self, run: Run, runner: Runner) -> None:
        # Before its code can take the interpreter for itself. Later deadlines can wait for the next tick.
        if self._deadline is None or (run.deadline is not None and run.deadline < self._deadline[0]):
            self._tick(runner)

    def _tick(self, runner: Runner) -> None:
        self._deadline = runner.executor.overdue()
        lost = runner.executor.abandoned
        wish = f"{lost} jobs could not be stopped" if lost else ""
        self._parent.send(Tick(runner.card(), self._deadline, runner.processes.groups, wish))


async def serve(parent: Parent, program: Program, orders: Orders, settings: Settings) -> None:
    """Run until told to stop; in a burst, until there is nothing left to do."""
    supervised = Supervised(parent)
    runner = Runner(program, queues=orders.queues, settings=settings, keeper=supervised)
    runner.hurry = supervised.hurry
    await runner.start()
    ticking = asyncio.create_task(supervised.ticking(runner))
    await runner.until(supervised.stopping, burst=orders.burst)
    await runner.stop()
    ticking.cancel()


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
    if orders.setup is not None:
        targets.load(orders.setup)(program)
    ready = Ready(
        url=program.url,
        name=program.name,
        settings={name: value for name, value in asdict(settings).items() if name != "retry"},
        target=found.target,
        how=found.how,
        tasks=sorted(program.definitions),
        queues=queues_of(program, orders.queues),
    )
    return program, settings, ready


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop, uvloop's where it is installed."""
    try:
        import uvloop  # the extra "fast"
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def main(socket_fd: str, leash_fd: str) -> None:
    """Load the program, run it, and go."""
    signals.ignore()
    parent = Parent(int(socket_fd), int(leash_fd))
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
        code = 2
    last = threading.Timer(LAST_GRACE, os._exit, (code,))
    last.daemon = True
    last.start()
    sys.exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
