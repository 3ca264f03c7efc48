"""Lane "process": one job at a time per child process, which is started when first needed, kept warm, and replaced in time.

What a job does to its process is the end of that process only: a crash, an exit, a signal, too much memory, a C call that never
returns. A child is told to stop by a message, on which it sends SIGTERM to its own group, so that what the job has started
hears it too; `kill_after` later the group gets SIGKILL.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from math import inf

from msgspec.structs import replace

from windlass.core.outcome import Died, Ending, ErrorInfo
from windlass.core.resources import Devices, environment
from windlass.definition import Program
from windlass.errors import ConfigurationError
from windlass.failpoints import failpoint
from windlass.settings import Settings
from windlass.worker.chores import Chores
from windlass.worker.evidence import RECENT, Evidence, resident
from windlass.worker.link import Done, Note, Orders, Process, Ready, Start, Stop
from windlass.worker.loading import orders_for
from windlass.worker.run import Lane, Reports, Run

LOOK = 0.1
"""Seconds between two looks at the memory of a job that has a limit."""


class Child(Process):
    """A child process and what is known of it. devices: those it was started for."""

    def __init__(self, devices: Devices) -> None:
        super().__init__("windlass.worker.lanes.child", environment(devices, os.environ.get("CUDA_VISIBLE_DEVICES")))
        self.devices = devices
        self.jobs = 0
        self.ready = False

    async def watch(self, limit: float) -> None:
        """Kill the child once it, with all that it started, holds more than `limit` bytes."""
        while (held := resident(self.group)) <= limit:  # nobody tells us: /proc must be asked
            self.look()
            await asyncio.sleep(LOOK if limit < inf else RECENT)
        await self.dump()
        evidence: Evidence = {"rss_bytes": held, "memory_limit_bytes": int(limit)}
        message = f"over its memory limit: {_bytes(held)} of {_bytes(int(limit))}"
        self.condemn(ErrorInfo("crash", "MemoryLimitExceeded", message, "", evidence))


class ProcessLane(Lane):
    """As many children as jobs at once."""

    name = "process"
    remote = True
    decodes = False

    def __init__(self, settings: Settings, reports: Reports, program: Program) -> None:
        super().__init__(settings.processes, reports)
        self._program, self._settings = program, settings
        self._children: set[Child] = set()
        self._idle: list[Child] = []
        self._chores = Chores()
        self._orders: Orders | None = None
        # Jobs of other lanes come here too, after a crash, and their number is not limited by our own slots.
        self._room = asyncio.Semaphore(max(1, settings.processes))
        self.on_spawn: Callable[[], None] = lambda: None
        self.setup: str | None = None

    @property
    def groups(self) -> list[int]:
        """The process groups of all children."""
        return [child.group for child in self._children]

    @property
    def usable(self) -> bool:
        return self._orders is not None and self.slots > 0

    async def start(self) -> None:
        try:
            self._orders = replace(orders_for(self._program), setup=self.setup)
        except ConfigurationError:
            if any(definition.lane == self.name for definition in self._program.definitions.values()):
                raise

    async def stop(self) -> None:
        for child in self._idle:
            self._chores.begin(self._retire(child))
        await self._chores.finish()

    def run(self, run: Run) -> None:
        self._chores.begin(self._drive(run))

    async def _drive(self, run: Run) -> None:
        async with self._room:
            worn = None if run.ended else await self._run(run)
        if worn is not None:
            await self._retire(worn)

    async def _run(self, run: Run) -> Child | None:
        """Run in a child; answers the child if it is not to be used again."""
        try:
            child = run.place = self._take(run.devices)
            ending = await self._attend(run, child)
        except Exception as error:  # the machine has no process, no file, no memory left for us
            child, message = run.place, f"the child process could not be run: {error}"
            ending = Died(ErrorInfo("crash", type(error).__name__, message))
        run.place = None
        self.reports.finish(run, ending)
        if child is None:
            return None
        child.jobs += 1
        most = self._settings.child_memory
        worn = child.jobs >= self._settings.child_jobs or (most and resident(child.group) > most)
        if worn or run.why is not None or isinstance(ending, Died):
            return child
        self._idle.append(child)
        return None

    def _take(self, devices: Devices) -> Child:
        """The warmest child that has these devices. An idle one that holds some of them, and others, must go."""
        for child in self._idle[::-1]:
            own = child.devices == devices
            if own or any(not set(devices.get(name, ())).isdisjoint(held) for name, held in child.devices.items()):
                self._idle.remove(child)
                if own and not child.gone.done():
                    return child
                self._chores.begin(self._retire(child))
        child = Child(dict(devices))
        failpoint("process.after_spawn")
        self._children.add(child)
        self.on_spawn()
        return child

    async def _attend(self, run: Run, child: Child) -> Ending:
        """Run in `child` until it says how that ended, or dies."""
        limit = run.definition.memory_in(run.claim.queue)
        watching = asyncio.create_task(child.watch(inf if limit is None else limit))
        if child.ready:
            await self._begin(run, child)
        else:
            assert self._orders is not None
            await child.send(self._orders)
        try:
            while (message := await child.receive()) is not None:
                if isinstance(message, Note):
                    self.reports.note(run, message.entry)
                elif isinstance(message, Done):
                    return message.ending
                elif isinstance(message, Ready) and not message.refusal:
                    child.ready = True
                    await self._begin(run, child)
                elif isinstance(message, Ready):
                    child.condemn(ErrorInfo("crash", "ProcessNotStarted", message.refusal))
        finally:
            watching.cancel()
        child.kill()
        return Died(await child.death())

    async def _begin(self, run: Run, child: Child) -> None:
        child.forget()
        self.reports.began(run)
        await child.send(Start(run.claim, run.checkpoint, run.more, run.devices))

    def tell(self, run: Run, why: str) -> None:
        if run.place is not None and run.place.ready:
            self._chores.begin(run.place.send(Stop(why, run.why is not None)))

    def interrupt(self, run: Run) -> None:
        if run.place is None:  # it still waits for a child to come free
            self.reports.finish(run, run.interruption())
        elif not run.place.ready:
            run.place.kill()

    def kill(self, run: Run) -> bool:
        if run.place is not None:
            self._chores.begin(self._kill(run.place))
        return True

    async def _kill(self, child: Child) -> None:
        await child.dump()
        child.kill()

    async def _retire(self, child: Child) -> None:
        """Let a child end by itself, if it does so in time."""
        if child.ready and not child.gone.done():
            await child.send(Stop("quit"))
            await asyncio.wait({child.gone}, timeout=self._settings.kill_after)
        await child.close()
        self._children.discard(child)


def _bytes(size: int) -> str:
    return f"{size / (1 << 30):.1f} GB" if size >= 1 << 30 else f"{size >> 20} MB"
