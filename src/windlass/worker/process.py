"""A runner as a process of its own: `python -m windlass.worker.process SOCKET LEASH`, started by a supervisor.

It does not hear terminals and service managers: the supervisor tells it what to do. It dies with its supervisor.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from dataclasses import asdict, replace

from windlass import targets
from windlass.definition import Program
from windlass.errors import ConfigurationError
from windlass.settings import Settings
from windlass.worker import signals
from windlass.worker.heart import CardOf, OnPulse
from windlass.worker.link import Keep, Message, Orders, Parent, Pulsed, Ready, Stop, Tick, die_together
from windlass.worker.loading import load
from windlass.worker.run import Run
from windlass.worker.runner import Runner

TICK = 0.5
LAST_GRACE = 5.0
"""Seconds that the exit of this process may take, once everything is stored: a thread may hold it up."""


class Supervised:
    """The supervisor, as its runner sees it: who beats for our ids, and who tells us to stop."""

    def __init__(self, parent: Parent) -> None:
        self.stopping, self.hurry = asyncio.Event(), asyncio.Event()
        self._parent = parent
        self._loop = asyncio.get_running_loop()
        self._answers: dict[str, asyncio.Future[None]] = {}
        self._deadline: tuple[float, str] | None = None
        self._on_pulse: OnPulse = lambda _worker, _pulse: None

    def keeper(self, _card_of: CardOf, on_pulse: OnPulse) -> Supervised:
        """This, as the keeper of a runner."""
        self._on_pulse = on_pulse
        return self

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
                self._on_pulse(message.worker, message.pulse)
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
    runner = Runner(program, queues=orders.queues, settings=settings, make_keeper=supervised.keeper)
    runner.hurry = supervised.hurry
    await runner.start()
    ticking = asyncio.create_task(supervised.ticking(runner))
    await runner.until(supervised.stopping, burst=orders.burst)
    await runner.stop()
    ticking.cancel()


def main(socket_fd: str, leash_fd: str) -> None:
    """Load the program, run it, and go."""
    signals.ignore()
    parent = Parent(int(socket_fd), int(leash_fd))
    if not isinstance(orders := parent.receive(), Orders):
        return
    try:
        program = load(orders)
        settings = replace(program.settings, **orders.settings)
        if orders.setup is not None:
            targets.load(orders.setup)(program)
        told = {name: value for name, value in asdict(settings).items() if name != "retry"}
        parent.send(Ready("", program.url, program.name, told))
        asyncio.run(serve(parent, program, orders, settings))
    except ConfigurationError as error:
        parent.send(Ready(refusal=str(error)))
        sys.exit(2)
    last = threading.Timer(LAST_GRACE, os._exit, (0,))
    last.daemon = True
    last.start()


if __name__ == "__main__":
    main(*sys.argv[1:])
