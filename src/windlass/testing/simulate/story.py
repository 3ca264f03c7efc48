"""A simulation from its beginning to its end: boot, trouble, heal, drain, stop."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, contextmanager
from typing import Any

from windlass.core.state import State
from windlass.testing.simulate.account import Account
from windlass.testing.simulate.books import Violation
from windlass.testing.simulate.clock import virtual_time
from windlass.testing.simulate.loop import Broken, Loop
from windlass.testing.simulate.machines import Machine, fitted
from windlass.testing.simulate.mutants import mutated
from windlass.testing.simulate.plan import QUEUES, draw, job_name
from windlass.testing.simulate.troubles import farewell, terminate, trouble
from windlass.testing.simulate.work import produce
from windlass.testing.simulate.world import World
from windlass.worker.supervisor import FAREWELL

STEPS = 100_000
"""Steps of one simulation at most: fifty times those of a common one."""
DRAIN = 200.0
"""Seconds in which everything is to be over once there is no more trouble. Long jobs, retries and poison have their time in it."""
RECOVERY = 10.0
"""Seconds in which the jobs of a dead worker come back, at most: the promise of the documentation."""
NEGLECT = 4.0
"""Seconds for which a job may be ready while somebody could run it."""
SWEEP = 4
"""Simulations whose remains are put away at once."""


def simulate(seed: int, mutant: str | None = None) -> Account:
    """Run the simulation of this number, of Windlass or of a mutant of it."""
    with closing(simulate_many([seed], mutant)) as one:
        return next(one)


def simulate_many(seeds: Iterable[int], mutant: str | None = None) -> Generator[Account]:
    """The simulations of these numbers, one after the other."""
    with _put_away() as sweep:
        for number, seed in enumerate(seeds, 1):
            yield _simulate(seed, mutant)
            if number % SWEEP == 0:
                sweep()


def _simulate(seed: int, mutant: str | None) -> Account:
    loop = Loop(seed)
    failure: BaseException | None = None
    with virtual_time(loop, seed), mutated(mutant):
        world = loop.outside.room.run(World, draw(seed), loop)
        with fitted(world):
            try:
                loop.play(_story(world), STEPS)
            except Exception as error:  # a promise was broken, or some code of the product raised
                failure = error
            finally:
                loop.close()
    return Account(seed, loop.steps, loop.now, world.judge.times, world.store.lines, failure)


@contextmanager
def _put_away() -> Generator[Callable[[], object]]:
    """Inside the `with`, remains of simulations are collected only when what it gives is called, and their last words are not heard.

    A coroutine of a process that is dead must not be finalized while the simulation goes on: its `finally` would act.
    """
    hook, collecting = sys.unraisablehook, gc.isenabled()
    gc.freeze()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sys.unraisablehook = lambda _said: None
            try:
                yield gc.collect
            finally:
                gc.collect()
    finally:
        sys.unraisablehook = hook
        gc.unfreeze()
        if collecting:
            gc.enable()


async def _story(world: World) -> None:
    loop, judge = world.loop, world.judge
    world.machines += [Machine(number) for number in range(len(world.plan.hosts))]
    for machine in world.machines:
        loop.call_later(loop.die.uniform(0, 2), machine.boot)
    busy = [asyncio.create_task(produce(world, errands)) for errands in world.plan.errands]
    watch = asyncio.create_task(_watch(world))
    troubling = asyncio.create_task(trouble(world))
    while loop.now < world.plan.troubled and (judge.open() or not all(task.done() for task in busy)):  # noqa: ASYNC110 # many things may end it
        await asyncio.sleep(1.0)
    troubling.cancel()
    world.heal()
    for task in (*busy, *world.steering):
        await task
    for queue in QUEUES:
        await world.ask(world.link("console"), "pause", queue, False)
    if world.plan.has("old programs"):
        _stop_all(world)  # a deployment: they come back with all tasks
    await _drain(world)
    watch.cancel()
    world.closing = True
    await _stop(world)
    _last_look(world)


async def _watch(world: World) -> None:
    """Look now and then whether the dead hold something, and whether something is left lying."""
    while True:
        await asyncio.sleep(1.0)
        if not world.down and any(machine.process.alive for machine in world.machines):
            world.judge.overdue(RECOVERY)
            world.neglect(NEGLECT)


async def _drain(world: World) -> None:
    end = world.loop.now + DRAIN
    while left := world.judge.open():
        if world.loop.now > end:
            said = ", ".join(f"{job_name(job)} is {world.judge.books[job].state}" for job in left)
            raise Violation("I1 none is lost, none appears", f"not over after {DRAIN:g} s: {said}")
        await asyncio.sleep(1.0)


def _stop_all(world: World) -> None:
    for machine in world.machines:
        if machine.process.alive:
            terminate(world, machine)


async def _stop(world: World) -> None:
    _stop_all(world)
    patience = farewell(world) + FAREWELL + 1  # a runner that a job holds up is killed in the end
    end = world.loop.now + patience
    while left := [machine.process.name for machine in world.machines if machine.process.alive]:
        if any(machine.process.blocker for machine in world.machines):  # but not an application
            end = world.loop.now + patience
        world.judge.expect("I17 a graceful stop ends", world.loop.now < end, "{} goes on", left)
        await asyncio.sleep(0.2)


def _last_look(world: World) -> None:
    """What the store shows in the end, journals and counts, is what happened."""
    memory, judge = world.store.root, world.judge
    for job in judge.books:
        judge.observe("read", world.store.process, (job,), {}, _now(memory.read(job)))
    counted: Counter[tuple[str, State]] = Counter((book.queue, book.state) for book in judge.books.values())
    tally = {(one.name, state): n for one in _now(memory.tally()) for state, n in one.counts.items()}
    judge.expect("I20 the counts are those of a full count", tally == counted, "{} for {}", tally, dict(counted))


def _now(verb: Any) -> Any:
    """The answer of a verb that does not wait."""
    try:
        verb.send(None)
    except StopIteration as done:
        return done.value
    raise Broken("a look at the store waits")
