"""One simulated world: its processes, its machines and its weather, and what is promised of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any, Protocol

from windlass.core.job import JobId
from windlass.errors import BrokerUnavailable
from windlass.testing.simulate.judge import Judge
from windlass.testing.simulate.loop import Loop
from windlass.testing.simulate.plan import TASKS, Host, Plan, job_name
from windlass.testing.simulate.process import Process
from windlass.testing.simulate.store import Fate, Link, Store

RARE, OFTEN = 0.02, 0.06
"""Which share of the calls is lost, for each of the ways to be lost; and in a bad network."""


class Machine(Protocol):
    """What runs on one host. `process` is the first process of its worker, of the latest boot."""

    process: Process
    boots: int

    @property
    def runners(self) -> list[Process]: ...
    def boot(self) -> None: ...
    def terminate(self) -> None: ...
    def reload(self) -> None: ...


class World:
    """All there is. It is also the weather: it says which call is lost, and who dies of it.

    troubled: there are faults. closing: machines that stop do not come back. down: the store is away. cut_off: who cannot reach it.
    """

    def __init__(self, plan: Plan, loop: Loop) -> None:
        self.plan, self.loop = plan, loop
        self.errands = {errand.job.id: errand for errands in plan.errands for errand in errands}
        self.store = Store(loop)
        shown = self.store.root._space.jobs
        self.judge = self.store.judge = Judge(loop, shown, self._attempts, self.lives, plan.settings)
        self.machines: list[Machine] = []
        self.processes: list[Process] = []
        self.troubled, self.closing, self.down = True, False, False
        self.cut_off: set[Machine] = set()
        self.steering: list[asyncio.Task[None]] = []
        die = loop.die
        self._fates = [one for one in ("lost request", "lost answer", "late request") if plan.has(f"{one}s")]
        self._lost = len(self._fates) * (RARE if die.random() < 0.7 else OFTEN)
        self._struck = die.choice((0.002, 0.01, 0.03)) if plan.has("strikes") else 0.0

    def _attempts(self, job: JobId) -> int:
        return self.errands[job].attempts or self.plan.settings.retry.attempts

    def lives(self, worker: str, since: float = inf) -> bool:
        """Whether its process, and who beats for it, are there (and went on before `since`), and can reach the store."""
        name = worker.partition(":")[0]
        process = next(one for one in self.processes if one.name == name)
        both = (process, self.machine(process).process)
        return self.reachable(process) and all(one.turns and one.resumed < since for one in both)

    # --- processes

    def start(self, name: str, parent: Process | None = None) -> Process:
        """A new process: of a machine, or of another process."""
        process = Process(name, self.plan.hosts[int(name[1])].skew, len(self.processes))
        process.resumed = self.loop.now
        self.processes.append(process)
        if parent is not None:
            parent.children.append(process)
        else:
            process.on_death = lambda status: self.died(process, status)
            self.judge.troubled()
        self.store.tell(process, "starts")
        return process

    def host(self, process: Process) -> Host:
        """What the plan says of the machine that it runs on."""
        return self.plan.hosts[int(process.name[1])]

    def machine(self, process: Process) -> Machine:
        """The machine that it runs on."""
        return self.machines[int(process.name[1])]

    def died(self, process: Process, status: int) -> None:
        """A process is gone."""
        self.store.tell(process, "dies", (status,))
        if self.loop.die.random() < 0.7:  # else its connection stands half open
            self.store.cut(lambda one: one is process)
        machine = self.machine(process)
        if machine.process is process:
            self.loop.call_later(self.loop.die.uniform(0.1, 4), self._boot, machine, context=self.loop.outside.room)
        elif status and machine.process.alive:
            self._promise_return(process, machine.process)
        self.judge.troubled()

    def _boot(self, machine: Machine) -> None:
        if not self.closing:
            machine.boot()

    # --- promises

    def _promise_return(self, runner: Process, supervisor: Process) -> None:
        """What a dead runner held is run again within a second; the most of it is for the pause until somebody claims."""
        within = 0.3 + 20 * self.plan.latency

        def back() -> bool:
            return not supervisor.turns or not self.judge.held_by(runner)

        def calm() -> float:
            return max(self.judge.heard_since, supervisor.resumed)

        promise = "I9 a dead runner's jobs come back at once"
        self.judge.promised(promise, within, back, f"{runner} died", calm=calm)

    def told_dead(self, process: Process, worker: str) -> None:
        """A worker whose jobs were taken, and which hears of it, lets go of them."""
        heard, within = self.loop.now, self.plan.settings.kill_after + 1

        def turned(one: Process) -> bool:
            return one.turns and one.resumed <= heard

        def idle() -> bool:
            return not turned(process) or not any(turned(run.process) for run in self.judge.runs_of(worker))

        what = f"{worker.partition(':')[0]} heard that it is dead"
        self.judge.promised("a zombie lets go", within, idle, what, calm=lambda: 0.0)

    def neglect(self, within: float) -> None:
        """No job waits for longer than that while somebody could run it."""
        if self.loop.now - self.judge.calm_since < within:
            return
        for book in self.judge.neglected(within):
            if idle := self._idle(book.new.lane, within):
                what = f"{job_name(book.new.id)} is ready, and {idle} has nothing to do"
                self.judge.fail("I18 what is ready is taken", what)

    def _idle(self, lane: str, within: float) -> Process | None:
        """A runner that could have taken a job in that lane all this time."""
        slots = {"loop": self.plan.settings.concurrency, "process": self.plan.settings.processes}[lane]
        for one in self.processes:
            waits = one.turns and one.busy_at is not None and self.loop.now - one.busy_at > within
            if waits and self.host(one).tasks[-1] == TASKS[-1] and self.judge.idle(one, lane, slots):
                return one
        return None

    # --- the weather

    def delay(self) -> float:
        return self.loop.die.random() * 2 * self.plan.latency

    def patience(self) -> float:
        return self.loop.die.uniform(0.3, 2)

    def fate(self, process: Process) -> Fate:
        if not (self._lost and self.troubled and self.loop.die.random() < self._lost):
            return None
        self.judge.troubled(self.loop.now + 8, store=True)
        return self.loop.die.choice(self._fates)

    def reachable(self, process: Process) -> bool:
        return not (self.down or (process.name[0] == "m" and self.machine(process) in self.cut_off))

    def passed(self, process: Process, verb: str, where: str) -> None:
        if self._struck and self.troubled and process.name[0] == "m" and self.loop.die.random() < self._struck:
            self.loop.call_soon(self._strike, process, f"{verb} {where}", context=self.loop.outside.room)

    def _strike(self, process: Process, what: str) -> None:
        if process.alive:
            self.store.tell(process, "is struck", (what,))
            if self.loop.die.random() < 0.6:
                self.loop.kill(process, -9)
            else:
                self.freeze(process, self.loop.die.uniform(0.3, 2) * self.plan.settings.lease)

    def freeze(self, process: Process, seconds: float) -> None:
        """Stop a process for a while, and all that it started."""
        self.store.tell(process, "is stopped", (seconds,))
        for one in process.family():
            self.loop.freeze(one)
        self.judge.troubled(self.loop.now + seconds)
        self.loop.call_later(seconds, self.thaw, process, context=self.loop.outside.room)

    def thaw(self, process: Process) -> None:
        """Let it go on."""
        if process.stopped and process.alive:
            self.store.tell(process, "goes on")
            for one in process.family():
                if not one.blocker:
                    self.loop.thaw(one)
            self.judge.troubled()

    def away(self, what: str, gone: Callable[[Process], bool], back: Callable[[], None]) -> None:
        """The store is out of reach for a while, for whoever is `gone` then."""
        seconds = self.loop.die.uniform(0.1, 2) * self.plan.settings.lease
        self.store.tell(self.store.process, what, (seconds,))
        self.store.cut(gone)
        self.judge.troubled(self.loop.now + seconds, store=True)
        self.loop.call_later(seconds, back)

    def come_back(self) -> None:
        """The store is there again."""
        if self.down:
            self.down = False
            self.judge.back = self.loop.now

    def heal(self) -> None:
        """No more trouble."""
        self.troubled = False
        self.come_back()
        self.cut_off.clear()
        for process in self.processes:
            self.thaw(process)
        for machine in self.machines:
            if not machine.boots:
                machine.boot()
        self.judge.troubled()

    # --- those who use it

    def link(self, name: str) -> Any:
        """A connection of somebody outside of the workers."""
        return Link(self.store, self, Process(name))

    async def ask(self, link: Any, verb: str, *args: Any) -> Any:
        """Call a verb again and again, until there is an answer."""
        while True:
            try:
                return await getattr(link, verb)(*args)
            except BrokerUnavailable:
                await asyncio.sleep(0.5)


worlds: list[World] = []
"""The world that is being simulated, last."""


def world() -> World:
    """The world that is being simulated."""
    return worlds[-1]
