"""Starting a process, the pipe to it, and its death: where Windlass meets the operating system, and the simulation takes its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import fields, replace
from typing import Any

from windlass.context import Context
from windlass.core.job import Claim, Entry
from windlass.core.outcome import Ending, ErrorInfo, Raised
from windlass.core.payload import unpack
from windlass.definition import Definition
from windlass.events import Event, Events, WorkerChanged
from windlass.settings import Settings
from windlass.testing.simulate.plan import TASKS
from windlass.testing.simulate.process import here
from windlass.testing.simulate.store import Link
from windlass.testing.simulate.work import DEFINITIONS
from windlass.testing.simulate.world import world
from windlass.worker import link, process, ward
from windlass.worker.call import Caller, describe
from windlass.worker.evidence import cause_of_death
from windlass.worker.lanes import process as lane
from windlass.worker.run import in_stacks

PIPE = 0.0005
"""Seconds that a message between two processes of one machine takes."""


class App:
    """The program of a worker, as `windlass.Windlass` would be: one for each process."""

    name, url = "windlass", "memory://"
    middlewares: list[Any] = []
    dependency_overrides: dict[Any, Any] = {}

    def __init__(self) -> None:
        host = world().host(here.get())
        self.settings: Settings = replace(world().plan.settings, runners=max(1, host.runners))
        names = host.tasks if world().troubled else TASKS
        self.definitions: dict[str, Definition] = {name: DEFINITIONS[name] for name in names}
        self.events = Events()
        self.events.subscribe(_note, WorkerChanged)

    def get_task(self, name: str) -> Any:
        """None of these tasks has a schedule."""
        raise AssertionError(name)

    async def broker(self) -> Any:
        """Only flows ask for it, and there are none."""
        raise NotImplementedError

    def make_broker(self) -> Any:
        """A link of the calling process to the store."""
        return connect()


def connect(*_: Any) -> Any:
    """A link of the calling process to the store."""
    return Link(world().store, world(), here.get())


async def stacks_of(_worker: str) -> str:
    """Nobody wishes to see them here."""
    return ""


def _note(event: Event) -> None:
    """What a runner says of itself."""
    assert isinstance(event, WorkerChanged)
    runner = here.get()
    world().store.tell(runner, event.what, (event.detail,))
    if event.what in ("started", "draining"):
        runner.busy_at = world().loop.now if event.what == "started" else None
    elif event.what.startswith("abandoned a job"):
        world().judge.gave_up(runner, event.detail.split()[1])


class Spawned(link.Process):
    """A child process as its parent sees it. What it runs, `MAINS` says."""

    def __init__(self, module: str) -> None:
        parent, loop = here.get(), world().loop
        self.process = world().start(f"{parent.name}.{len(parent.children) + 1}", parent)
        self.process.on_death = self._on_death
        self.group = self.process.number
        self.verdict = None
        self.gone = loop.create_future()  # type: ignore[assignment] # a Task in the real one; both are only waited for
        self.pipe = Pipe(self)
        self.parent = parent
        self._inbox: asyncio.Queue[link.Message | None] = asyncio.Queue()
        loop.create_task(self._live(MAINS[module]), context=self.process.room)

    async def _live(self, main: Callable[[Pipe], Coroutine[Any, Any, None]]) -> None:
        await main(self.pipe)
        world().loop.kill(self.process, 0)

    def _on_death(self, status: int) -> None:
        world().died(self.process, status)
        world().loop.call_later(PIPE * 2, self._on_gone, status, context=self.parent.room)

    def _on_gone(self, status: int) -> None:
        self._inbox.put_nowait(None)
        if not self.gone.done():
            self.gone.set_result(status)

    def arrived(self, message: link.Message) -> None:
        """A message of the child is here."""
        self._inbox.put_nowait(message)

    async def send(self, message: link.Message) -> None:
        world().loop.call_later(PIPE, self.pipe.arrived, message, context=self.process.room)

    async def receive(self) -> link.Message | None:
        return await self._inbox.get()

    def kill(self) -> None:
        world().loop.kill(self.process, -9)

    async def death(self) -> ErrorInfo:
        return self.verdict or cause_of_death(await asyncio.shield(self.gone), int(self.process.hungry))

    async def close(self) -> None:
        self.kill()
        await asyncio.wait({self.gone})

    async def dump(self) -> str:
        return in_stacks(self.process.blocker) if self.process.blocker else ""

    def look(self) -> None: ...
    def stack(self) -> str:
        return ""

    def forget(self) -> None: ...
    def let_go(self) -> None: ...


class Ward(ward.Ward, Spawned):
    """A runner, as its supervisor sees it."""

    def condemn(self, verdict: ErrorInfo) -> None:
        if self.process.blocker:
            world().judge.innocent(self.process, self.process.blocker)
        super().condemn(verdict)

    def memory(self) -> int:
        return 0

    def stopped(self) -> bool:
        if self.process.blocker and self.process.breathes:  # the loop stands still, but another thread can speak
            self.breathed = time.monotonic()
        return self.process.stopped and not self.process.blocker

    def spent(self) -> dict[int, float]:
        return {0: time.monotonic()} if self.process.blocker else {}


class Child(lane.Child, Spawned):
    """A child of lane "process", as its runner sees it."""


class Pipe:
    """The parent, as its child sees it."""

    def __init__(self, spawned: Spawned) -> None:
        self._spawned = spawned
        self._early: list[link.Message] = []
        self._listener: Callable[[link.Message], None] = self._early.append

    def send(self, message: link.Message) -> None:
        """To the parent."""
        world().loop.call_later(PIPE, self._spawned.arrived, message, context=self._spawned.parent.room)

    def arrived(self, message: link.Message) -> None:
        """A message of the parent is here."""
        self._listener(message)

    def listen(self, listener: Callable[[link.Message], None]) -> None:
        """Hand every message to `listener`, from the first."""
        self._listener = listener
        for message in self._early:
            listener(message)


class Parent(link.Parent):
    """The parent, as `process.serve` wants it."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe

    def send(self, message: link.Message) -> None:
        self.pipe.send(message)


async def _runner(pipe: Pipe) -> None:
    """As `worker.process.main`."""
    app = App()
    settings = {one.name: getattr(app.settings, one.name) for one in fields(app.settings) if one.name != "retry"}
    pipe.send(link.Ready(url=app.url, name=app.name, settings=settings))
    await process.serve(Parent(pipe), app, link.Orders(), app.settings)


async def listen(supervised: process.Supervised) -> None:
    """In the place of `Supervised.start`, whose threads read the pipe."""
    parent = supervised._parent
    assert isinstance(parent, Parent)
    parent.pipe.listen(supervised._hear)


async def _child(pipe: Pipe) -> None:
    """As `lanes.child.main`."""
    child = _Child(pipe)
    pipe.listen(child.hear)
    pipe.send(link.Ready())
    await child.serve()


class _Child:
    """As `lanes.child.Child`, without its signals."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe, self._app = pipe, App()
        self._caller = Caller(self._app, self._app.settings.max_payload)
        self._inbox: asyncio.Queue[Claim | None] = asyncio.Queue()
        self._task: asyncio.Task[Ending] | None = None
        self._context: Context | None = None
        self._interrupted = False

    def hear(self, message: link.Message) -> None:
        """A message of the runner."""
        if isinstance(message, link.Start):
            self._context = Context(message.claim, self._note, meta={}, last_checkpoint=message.checkpoint)
            self._interrupted = False
            self._inbox.put_nowait(message.claim)
        elif isinstance(message, link.Stop) and message.why == "quit":
            self._inbox.put_nowait(None)
        elif isinstance(message, link.Stop) and self._context is not None:
            self._context.stop(message.why)
            self._interrupted = self._interrupted or message.interrupt
            if message.interrupt and self._task is not None:
                self._task.cancel()

    def _note(self, entry: Entry) -> None:
        self._pipe.send(link.Note(entry))

    async def serve(self) -> None:
        """Run what comes, until it is told to quit."""
        while (claim := await self._inbox.get()) is not None:
            ending = await self._run(claim)
            self._task = self._context = None
            self._pipe.send(link.Done(ending))

    async def _run(self, claim: Claim) -> Ending:
        context, definition = self._context, self._app.definitions[claim.task]
        assert context is not None
        values = definition.arguments.decode(unpack(claim.body).args)
        performing = self._caller.perform(definition, lambda: context, values)
        self._task = asyncio.get_running_loop().create_task(performing)
        if self._interrupted:
            self._task.cancel()
        try:
            return await self._task
        except asyncio.CancelledError as error:  # before its first step
            return Raised(describe(error), ())


MAINS: dict[str, Callable[[Pipe], Coroutine[Any, Any, None]]] = {
    "windlass.worker.process": _runner,
    "windlass.worker.lanes.child": _child,
}
