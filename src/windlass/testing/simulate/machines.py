"""The machines: real supervisors and embedded workers, and everything that is replaced to make them run here."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any

from windlass.core.job import Pulse
from windlass.errors import WindlassError
from windlass.events import Events, WorkerChanged
from windlass.settings import Settings
from windlass.testing.simulate import spawn
from windlass.testing.simulate.clock import replaced
from windlass.testing.simulate.loop import Broken
from windlass.testing.simulate.process import Process, here
from windlass.testing.simulate.store import Ordered
from windlass.testing.simulate.world import World, world, worlds
from windlass.worker import capture, chores, heart, journal, link, patrol, process, runner, supervisor, ward, watchdog
from windlass.worker.lanes import process as lane
from windlass.worker.runner import Runner
from windlass.worker.supervisor import Supervisor

TICK, SILENCE = 2.0, 4.5
"""Seconds between two ticks of a runner, and without one that tell that it stands still. Longer than in life, to have less to do."""
LOOK = 60.0
"""Seconds between two looks at the memory of a child, which has none here."""
SETS = {
    chores.Chores: "_tasks",
    heart.Heart: "_workers",
    journal.Journal: "_dirty",
    lane.ProcessLane: "_children",
    supervisor.Supervisor: "_wards",
    ward.Ward: "ids",
}
"""Sets of the product that are iterated: here, in the same order each time."""
REMARKABLE = ("stuck", "frozen", "abandoned", "replaced")
"""What supervisors say of their runners, and we count."""


class Machine:
    """What runs on one host: a supervisor with its runners, or a worker inside of an application."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.boots = 0
        self.process = Process(f"m{number}")
        self.process.alive = False
        self._signals = 0
        self._supervisor: Supervisor | None = None
        self._runner: Runner | None = None
        self._stop = asyncio.Event()

    def boot(self) -> None:
        """Start it, once more."""
        self.boots += 1
        self._signals, self._supervisor, self._runner, self._stop = 0, None, None, asyncio.Event()
        self.process = world().start(f"m{self.number}.{self.boots}")
        main = self._supervise() if world().host(self.process).runners else self._embed()
        world().loop.create_task(main, context=self.process.room)

    async def _supervise(self) -> None:
        self._supervisor = Supervisor(link.Orders())
        self._supervisor.events.subscribe(self._note, WorkerChanged)
        try:
            await self._supervisor.run()
        except WindlassError as error:  # it could not begin; the service manager will try again
            world().store.tell(self.process, "gives up", (str(error),))
        self._exit()

    async def _embed(self) -> None:
        self._runner = Runner(spawn.App())
        await self._runner.start()
        await self._stop.wait()
        await self._runner.stop()
        self._exit()

    def _exit(self) -> None:
        world().loop.kill(self.process, 0)

    def _note(self, event: Any) -> None:
        world().store.tell(self.process, f"{event.worker} {event.what}", (event.detail,))
        if event.what in REMARKABLE:
            world().judge.times[f"a runner was {event.what}"] += 1

    @property
    def runners(self) -> list[Process]:
        """The processes in which its jobs run, now."""
        return [one for one in self.process.children if one.alive] if self._supervisor else [self.process]

    def reload(self) -> None:
        """SIGHUP."""
        if self._supervisor is not None:
            self.process.room.run(self._supervisor.restart_runners)

    def terminate(self) -> None:
        """SIGTERM."""
        self._signals += 1
        self.process.room.run(self._on_sigterm)

    def _on_sigterm(self) -> None:
        if self._supervisor is not None:
            self._supervisor.stop(self._signals)
        elif self._runner is not None:
            self._stop.set()
            if self._signals > 1:
                self._runner.hurry.set()


class Heart:
    """In the place of `HeartThread`: the same heart, whose thread is a process that no job can hold up."""

    def __init__(
        self, make_broker: Callable[[], Any], settings: Settings, events: Events, card_of: heart.CardOf
    ) -> None:
        self.on_pulse: heart.OnPulse = lambda _worker, _pulse: None
        self._home = here.get()
        self._thread = world().start(f"{self._home.name}.heart", self._home)
        told = card_of, self._tell, spawn.stacks_of
        self._heart = self._thread.room.run(heart.Heart, make_broker(), settings, events, *told)

    async def start(self) -> None:
        self._there(self._heart.run())

    async def stop(self) -> None:
        world().loop.kill(self._thread, 0)

    async def adopt(self, worker: str) -> None:
        await self._there(self._heart.adopt(worker))

    async def retire(self, worker: str) -> None:
        await self._there(self._heart.retire(worker))

    def _there(self, verb: Coroutine[Any, Any, None]) -> Any:
        return world().loop.create_task(verb, context=self._thread.room)

    def _tell(self, worker: str, pulse: Pulse) -> None:
        if pulse.cancelling or not pulse.alive:
            world().loop.call_soon(self.on_pulse, worker, pulse, context=self._home.room)


class Alarm(logging.Handler):
    """What the log calls an error is one of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            error = record.exc_info[1] if record.exc_info else None
            world().loop.call_exception_handler({"message": record.getMessage(), "exception": error})


def _ordered(cls: Any, name: str) -> Callable[..., None]:
    """The constructor of `cls`, and its set in order."""
    make = cls.__init__

    def made(self: Any, *args: Any, **given: Any) -> None:
        make(self, *args, **given)
        assert isinstance(getattr(self, name), set)
        setattr(self, name, Ordered())

    return made


def _places(simulated: World) -> list[tuple[Any, str, Any]]:
    """What of the product, and of Python, has another value here."""

    def kill_group(group: int) -> None:
        simulated.loop.kill(simulated.processes[group], -9)

    def leave_soon(_code: int) -> None:
        """Here, the process ends when its main function does."""

    def nobody_is_hurt(*given: object) -> None:
        raise Broken(f"the simulation has reached for the real world: {given}")

    def resident(_group: int) -> int:
        return 0

    def orders_for(_program: object) -> link.Orders:
        return link.Orders()

    return [
        (socket, "gethostname", lambda: here.get().name),
        (os, "getpid", lambda: here.get().number),
        (capture, "install", lambda: None),
        (capture, "uninstall", lambda: None),
        (process.Supervised, "start", spawn.listen),
        (process, "_leave_soon", leave_soon),
        (os, "kill", nobody_is_hurt),
        (os, "killpg", nobody_is_hurt),
        (os, "_exit", nobody_is_hurt),
        (threading.Thread, "start", nobody_is_hurt),
        (process, "TICK", TICK),
        (patrol, "TICK", TICK),
        (watchdog, "SILENCE", SILENCE),
        (supervisor, "Ward", spawn.Ward),
        (supervisor, "make_broker", spawn.connect),
        (ward, "kill_group", kill_group),
        (runner, "HeartThread", Heart),
        (lane, "Child", spawn.Child),
        (lane, "orders_for", orders_for),
        (lane, "resident", resident),
        (ward, "resident", resident),
        (lane, "LOOK", LOOK),
        (lane, "RECENT", LOOK),
        *((cls, "__init__", _ordered(cls, name)) for cls, name in SETS.items()),
    ]


@contextmanager
def fitted(simulated: World) -> Generator[None]:
    """Inside the `with`, workers are made of simulated processes, in that world."""
    log, alarm = logging.getLogger("windlass"), Alarm()
    aloud = log.propagate
    worlds.append(simulated)
    log.addHandler(alarm)
    log.propagate = False
    try:
        with replaced(_places(simulated)):
            yield
    finally:
        log.propagate = aloud
        log.removeHandler(alarm)
        worlds.pop()
