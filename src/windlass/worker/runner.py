"""`Runner`: the parts of a worker, started in order and stopped in the reverse order.

1. the broker            everything below talks to it
2. capture               before the first job can print
3. the keeper, the ids   who beats for us; an id lives before anything is claimed, and until every outcome is stored
4. journal and settler   before any run can end; the settler stops once everything is stored, and then the recorder knows all
5. dependencies, lanes   before any run can start
6. upkeep, revival       embedded only, beside a supervisor the supervisor does the upkeep; the revival once
7. the ticker            before the fetcher, so that it stops after it: what is due meanwhile, others see to
8. the fetcher           from here on jobs come. It stops first: nothing new comes while the rest drains

A runner is embedded in a running event loop (`working`, `work`), or it is a process of its own below a `Supervisor`.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from math import inf

from windlass.core.job import DEFAULT_QUEUE, Card, Entry, Pulse
from windlass.core.outcome import UNKNOWN_TASK
from windlass.core.queues import Served, served
from windlass.core.resources import Pool
from windlass.core.state import State
from windlass.definition import Definition, Program
from windlass.events import StoreTrouble, WorkerChanged
from windlass.settings import Settings
from windlass.worker import capture
from windlass.worker.call import Caller
from windlass.worker.chores import Chores
from windlass.worker.executor import Executor
from windlass.worker.fetcher import Fetcher
from windlass.worker.heart import HeartThread
from windlass.worker.identity import Identities, Keeper
from windlass.worker.journal import Journal
from windlass.worker.lanes.batch import BatchLane
from windlass.worker.lanes.devices import DeviceLane
from windlass.worker.lanes.loop import LoopLane
from windlass.worker.lanes.process import ProcessLane
from windlass.worker.lanes.thread import ThreadLane
from windlass.worker.recorder import Recorder
from windlass.worker.run import Identity, Lane, Reports, Run, pauses
from windlass.worker.settler import BACKLOG, Settler
from windlass.worker.signals import catching
from windlass.worker.ticker import Ticker
from windlass.worker.upkeep import Upkeep

PAGE = 200
REVIVE = 10.0
"""Seconds between two looks at what was parked."""
MOMENT = 0.5
"""Seconds that a stop waits for the claims under way: a healthy store ends them at once."""
LAST_WORDS = 3.0
"""Seconds at least that a stop tries to store the last outcomes, though its time is over."""
STALL = 120.0
"""Seconds after which a loop that still waits for the store will wait for ever: a claim waits for 10 s, and no store takes over 30 s."""
VERSION = version("windlass")


def queues_of(program: Program, wanted: Sequence[str] | None) -> Served:
    """The queues to serve: the `wanted`, or all queues of the program's tasks. Raises `ConfigurationError`."""
    return served(wanted, {one.queue for one in program.definitions.values()} | {DEFAULT_QUEUE})


class Runner:
    """Works for `program` in the running event loop.

    queues: served strictly in this order, or by weight ("video:2"); by default all queues of the program's tasks, alike.
    keeper: who beats for us; by default a thread of this process, and then this runner does the upkeep too.
    on_unwanted: called when somebody wishes this worker to stop; below a supervisor, that sees to it.
    """

    def __init__(
        self,
        program: Program,
        *,
        queues: Sequence[str] | None = None,
        settings: Settings | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self.program = program
        self.settings = settings or program.settings
        self.hurry = asyncio.Event()
        self.queues = queues_of(program, queues)
        self._started_at = time.time()
        self._state = "working"
        self._stopped = asyncio.Event()
        self.on_unwanted: Callable[[], None] = lambda: None
        self._end = inf
        self._stack = AsyncExitStack()
        self._upkeep: Upkeep | None = None
        self.process_lanes: list[ProcessLane] = []
        self._sharing = 0
        self._build(keeper)

    def _build(self, keeper: Keeper | None) -> None:
        events, settings = self.program.events, self.settings
        broker = self.broker = self.program.make_broker()
        self.journal = Journal(broker, events, settings.log_lines, lambda run: self.executor.stop(run, "lost"))
        if keeper is None:
            keeper = HeartThread(self.program.make_broker, settings, events, self.card)
            self._upkeep = Upkeep(broker, settings, events)
        keeper.on_pulse = self._on_pulse
        self.keeper = keeper
        self.identities = Identities(keeper, self._on_lost, broker.wake, settings.version)
        self.recorder = Recorder(broker, events, settings.version)
        self.settler = Settler(
            broker,
            events,
            self.journal.flush,
            self.identities.let_go,
            self.recorder.note,
            patience=settings.shutdown_timeout,
        )
        executor = Executor(self.program.definitions, settings, self.settler.put, events, self._load_journal)
        self.executor = executor
        self.caller = Caller(self.program, settings.max_payload)
        reports = Reports(self.journal.note, executor.began, executor.finish, settings.max_payload)
        self._add_lanes(reports)
        self.fetcher = Fetcher(
            broker,
            lambda: self.queues.order(random.random),
            self.identities,
            events,
            start_job=executor.start,
            release=executor.release,
            full=lambda: self.settler.backlog >= BACKLOG,
        )

    def _add_lanes(self, reports: Reports) -> None:
        """The three that there always are, and those of tasks that need more than one of their slots, if we have it."""
        settings, lanes, pool = self.settings, self.executor.lanes, Pool(self.settings.has)
        slots = {"loop": settings.concurrency, "thread": settings.threads, "process": settings.processes}
        for name, most in slots.items():
            lanes[name] = self._lane(name, most, reports)
        self.processes = self.process_lanes[0]
        for one in self.program.definitions.values():
            if one.slot not in lanes and (not one.resources or pool.most(one.resources)):
                lanes[one.slot] = self._own_lane(one, slots[one.lane], pool, reports)

    def _lane(self, name: str, slots: int, reports: Reports) -> Lane:
        if name == "loop":
            return LoopLane(slots, reports, self.caller)
        if name == "thread":
            return ThreadLane(slots, reports, self.caller)
        lane = ProcessLane(replace(self.settings, processes=slots), reports, self.program)
        self.process_lanes.append(lane)
        return lane

    def _own_lane(self, task: Definition, slots: int, pool: Pool, reports: Reports) -> Lane:
        """A lane for a batch, for jobs that need resources, or for a batch that does; its slots and children are its own."""

        def inner(reports: Reports) -> Lane:
            return self._lane(task.lane, task.batch.runs if task.batch else slots, reports)

        def with_devices(reports: Reports) -> Lane:
            lane = DeviceLane(task.slot, task.resources, pool, reports, inner)
            lane.on_change = self._on_devices
            self._sharing += 1
            return lane

        make = with_devices if task.resources else inner
        return make(reports) if task.batch is None else BatchLane(task, reports, make)

    def _on_devices(self, taken: bool) -> None:
        """There is room again; or less than a claim has offered that waits for another lane with the same devices."""
        if not taken:
            for lane in self.executor.lanes.values():
                lane.wake()
        elif self._sharing > 1:
            self.broker.wake()

    async def start(self) -> None:
        """Start all parts. When one cannot start, those before it are stopped again, and its error is raised."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.broker.close)
            await self.broker.open()
            if self._upkeep is not None and self.settings.durability:  # beside a supervisor, the supervisor has looked
                (await self.broker.describe()).check(self.settings.durability)
            stack.callback(capture.uninstall)
            capture.install()
            for part in (self.keeper, self.identities, self.journal, self.recorder, self.settler):
                stack.push_async_callback(part.stop)
                await part.start()
            await stack.enter_async_context(self.caller.worker)
            for lane in self.executor.lanes.values():
                stack.push_async_callback(lane.stop)
                await lane.start()
            if self._upkeep is not None:
                stack.push_async_callback(self._upkeep.stop)
                await self._upkeep.start()
            ticker = Ticker(self.broker, self.program)
            stack.push_async_callback(ticker.stop)
            await ticker.start()
            reviving = asyncio.create_task(self._revive(), name="windlass revival")
            stack.callback(reviving.cancel)
            used = {definition.slot for definition in self.program.definitions.values()}
            self.fetcher.serve(self.executor.lanes.values(), set(used))
            self._stack = stack.pop_all()
        self._say("started", ", ".join(self.queues.told()))

    async def stop(self, timeout: float | None = None) -> None:
        """Claim no more, let what runs finish for at most `timeout` seconds (by default as the settings say), hand back the rest.

        Setting `hurry` ends the waiting. A runner that was stopped is not started again; a second call waits for the first.
        """
        if self._state != "working":
            await self._stopped.wait()
            return
        self._state = "draining"
        try:
            await self._stop(timeout)
        finally:
            self._stopped.set()

    async def _stop(self, timeout: float | None) -> None:
        self._say("draining", f"{len(self.executor.runs)} jobs run")
        # A store that hangs must not keep the drain from beginning; what it still hands out is given back.
        await self.fetcher.stop(MOMENT)
        self.hasten(self.settings.shutdown_timeout if timeout is None else timeout)
        await self.executor.drain(self.hurry)
        await self.fetcher.stop(MOMENT)
        left = self._end - asyncio.get_running_loop().time()
        self.settler.patience = min(self.settings.shutdown_timeout, max(LAST_WORDS, left))
        self._state = "stopped"
        await self._stack.aclose()
        self._say("stopped")

    def hasten(self, timeout: float) -> None:
        """While it stops: hand back in `timeout` seconds what runs then (inf: when it has ended). The soonest such call counts."""
        if timeout < inf:
            self.executor.warn()
            loop = asyncio.get_running_loop()
            loop.call_later(timeout, self.hurry.set)
            self._end = min(self._end, loop.time() + timeout)

    def stalled(self) -> str:
        """Which of our loops waits for the store beyond all its deadlines, or has ended by mistake; "" when none does."""
        for name, part in (("fetch", self.fetcher), ("settle", self.settler)):
            if self._state == "working" and part.waits > STALL:
                return f"its {name} loop made no step for {part.waits:.0f} s"
        return ""

    def _say(self, what: str, detail: str = "") -> None:
        self.program.events.emit(WorkerChanged(f"{socket.gethostname()}:{os.getpid()}", what, detail))

    def card(self, _worker: str = "") -> Card:
        """What this worker says of itself; may be asked for in any thread."""
        lanes = self.executor.lanes
        return Card(
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=tuple(sorted(self.queues.weights)),
            slots={name: lane.slots for name, lane in lanes.items()},
            busy={name: lane.busy for name, lane in lanes.items()},
            started_at=self._started_at,
            version=VERSION,
            state="quiet" if self.fetcher.quiet and self._state == "working" else self._state,
            code=self.settings.version,
        )

    def _on_pulse(self, worker: str, pulse: Pulse) -> None:
        if not pulse.alive:
            self.identities.lost(worker)
            return
        self.executor.cancel(pulse.cancelling)
        if not self.identities.wished(worker, state := pulse.wish.state):
            return
        if state == "stopped":
            self.on_unwanted()
        elif state != self.card().state and self._state == "working":
            self.fetcher.quiet = state == "quiet"
            self.broker.wake()  # a claim that waits would still be given jobs
            self._say(state)

    def _on_lost(self, identity: Identity) -> None:
        self._say("lost", f"the store gave the jobs of {identity.worker} to others")
        self.executor.lose(identity)

    async def _load_journal(self, run: Run) -> Sequence[Entry]:
        for pause in pauses():
            try:
                reading = await self.broker.read(run.claim.id)
            except Exception as error:
                self.program.events.emit(StoreTrouble("read", error))
                await asyncio.sleep(pause)
                continue
            return reading.entries if reading else ()
        return ()

    async def _revive(self) -> None:
        """What was parked because nobody understood it gets another chance, if its task is known here.

        Once at the start. After that only what an older worker, which still runs beside us, has parked for want of the task.
        """
        everything, trouble = True, pauses()
        while True:
            try:
                await self._revive_known(everything)
                everything, trouble, pause = False, pauses(), REVIVE * random.uniform(0.8, 1.2)
            except Exception as error:
                self.program.events.emit(StoreTrouble("revive", error))
                pause = next(trouble)
            await asyncio.sleep(pause)

    async def _revive_known(self, everything: bool) -> None:
        before: str | None = None
        while True:
            jobs, before = await self.broker.find(states=[State.PARKED], before=before, limit=PAGE)
            chosen = (job for job in jobs if everything or (job.reason or "").startswith(UNKNOWN_TASK))
            await self.broker.revive([job.id for job in chosen if job.task in self.program.definitions])
            if before is None:
                return

    async def until(self, stop: asyncio.Event, *, burst: bool = False) -> None:
        """Return when `stop` is set; in a burst also once nothing in our queues is ready or running, here or elsewhere."""
        ends = {asyncio.create_task(stop.wait()), *([asyncio.create_task(self._idle())] if burst else [])}
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in done:
                end.result()
        finally:
            for end in ends:
                end.cancel()

    async def _idle(self) -> None:
        while True:
            if not self.executor.runs and not self.settler.backlog:
                tally = [one for one in await self.broker.tally() if one.name in self.queues.weights and not one.paused]
                if not any(one.counts.get(state) for one in tally for state in (State.READY, State.RUNNING)):
                    return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def working(program: Program, *, queues: Sequence[str] | None = None) -> AsyncGenerator[Runner]:
    """A worker in this event loop, for as long as the block lasts: for a web application's lifespan, and for tests.

    If somebody wishes that it stops, it does so before, and the application goes on.
    """
    runner, chores = Runner(program, queues=queues), Chores()
    runner.on_unwanted = lambda: chores.begin(runner.stop())
    await runner.start()
    try:
        yield runner
    finally:
        await runner.stop()
        await chores.finish()


async def work(program: Program, *, queues: Sequence[str] | None = None, burst: bool = False) -> None:
    """Work until a signal comes (or this call is cancelled); with `burst` until nothing is ready or running."""
    stop = asyncio.Event()
    async with working(program, queues=queues) as runner:
        runner.on_unwanted = stop.set

        def on_signal(count: int) -> None:
            stop.set()
            if count > 1:
                runner.hurry.set()
            if count > 2:
                os._exit(1)

        with catching(on_signal):
            await runner.until(stop, burst=burst)
            # In here, so that a second signal is heard while the runner drains.
            await runner.stop()
