"""What befalls machines and the store while a world is troubled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from windlass.testing.simulate.plan import QUEUES
from windlass.testing.simulate.process import Process
from windlass.testing.simulate.world import Machine, World

PACE = 8.0
"""Seconds from one trouble to the next of its kind, about."""


async def trouble(world: World) -> None:
    """Bring trouble, until cancelled."""
    kinds = [kind for kind in TROUBLES if world.plan.has(kind)]
    while kinds:
        await asyncio.sleep(world.loop.die.expovariate(len(kinds) / PACE) + 0.01)
        TROUBLES[world.loop.die.choice(kinds)](world, world.loop.die.choice(world.machines))


def terminate(world: World, machine: Machine) -> None:
    """SIGTERM, and what is promised of it."""
    process, runners = machine.process, machine.runners
    world.store.tell(process, "is told to stop")
    world.judge.troubled()

    def clean() -> bool:
        return not process.alive and not any(world.judge.held_by(runner) for runner in runners)

    promise = "I17 a graceful stop leaves nothing"
    world.judge.promised(promise, farewell(world), clean, f"{process} was told to stop")
    machine.terminate()


def farewell(world: World) -> float:
    """Seconds in which a machine stops."""
    settings = world.plan.settings
    return settings.shutdown_timeout + settings.kill_after + 2 + 20 * world.plan.latency


def _terminate(world: World, machine: Machine) -> None:
    if machine.process.turns:
        terminate(world, machine)
        if world.loop.die.random() < 0.3:
            world.loop.call_later(world.loop.die.uniform(0.1, 3), machine.terminate)


def _reload(world: World, machine: Machine) -> None:
    if machine.process.turns:
        world.store.tell(machine.process, "is told to reload")
        machine.reload()


def _cut_power(world: World, machine: Machine) -> None:
    world.loop.kill(machine.process, -9)


def _kill_runner(world: World, machine: Machine) -> None:
    if runner := _runner(world, machine):
        world.loop.kill(runner, -9)


def _freeze_machine(world: World, machine: Machine) -> None:
    world.freeze(machine.process, world.loop.die.uniform(0.2, 2.5) * world.plan.settings.lease)


def _freeze_runner(world: World, machine: Machine) -> None:
    if runner := _runner(world, machine):
        world.freeze(runner, world.loop.die.uniform(0.5, 4) * world.plan.settings.lease)


def _runner(world: World, machine: Machine) -> Process | None:
    runners = machine.runners if machine.process.alive else []
    return world.loop.die.choice(runners) if runners else None


def _outage(world: World, _machine: Machine) -> None:
    if not world.down:
        world.down = True
        world.judge.up = world.judge.back
        world.judge.gone = world.judge.back = world.loop.now
        world.away("is away", lambda _: True, world.come_back)


def _partition(world: World, machine: Machine) -> None:
    if machine not in world.cut_off:
        world.cut_off.add(machine)
        what = f"is cut off from {machine.process}"
        world.away(what, lambda one: not world.reachable(one), lambda: world.cut_off.discard(machine))


def _pause(world: World, _machine: Machine) -> None:
    queue, seconds = world.loop.die.choice(QUEUES), world.loop.die.uniform(0.5, 6)
    world.steering.append(asyncio.create_task(_pause_for(world, queue, seconds)))


async def _pause_for(world: World, queue: str, seconds: float) -> None:
    link = world.link("console")
    await world.ask(link, "pause", queue, True)
    await asyncio.sleep(seconds)
    await world.ask(link, "pause", queue, False)


TROUBLES: dict[str, Callable[[World, Machine], None]] = {
    "outages": _outage,
    "partitions": _partition,
    "power cuts": _cut_power,
    "crashes": _kill_runner,
    "freezes": _freeze_machine,
    "stuck runners": _freeze_runner,
    "stops": _terminate,
    "reloads": _reload,
    "pauses": _pause,
}
"""The faults that come and go by themselves; the others lie in the plan, or in the weather."""
