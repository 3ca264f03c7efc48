"""`Supervisor`: the parent of the runners. It starts them, beats for them, watches, kills and replaces them.

It imports no user code, so nothing that a job does can stop its beats. When a runner dies, it says so to the store at once and
takes its jobs back: they run again within a second. When it dies itself, the kernel kills everything below it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import msgspec

from windlass.broker.url import make_broker
from windlass.core.job import Card, Pulse, StoreInfo
from windlass.errors import ConfigurationError
from windlass.events import Events, StoreTrouble, WorkerChanged
from windlass.settings import Settings
from windlass.worker import watchdog
from windlass.worker.chores import Chores
from windlass.worker.heart import Heart
from windlass.worker.link import TICK, Keep, Orders, Process, Pulsed, Ready, Stop, Tick, kill_group
from windlass.worker.signals import catching
from windlass.worker.upkeep import Upkeep

SHORT_LIFE = 10.0
"""A runner that lived for less than these seconds died young, and its successor waits longer each time."""
FIRST_WAIT, MOST_WAIT = 0.5, 30.0


class Ward(Process):
    """A runner process in our care."""

    def __init__(self) -> None:
        super().__init__("windlass.worker.process")
        self.born = self.heard = time.monotonic()
        self.ids: set[str] = set()
        self.tick: Tick | None = None
        self.leaving = False
        self.stuck = False
        self.refusal = ""

    def card(self) -> Card:
        """What is to be said of it in the store."""
        return self.tick.card if self.tick else Card(host="", pid=self.group, started_at=time.time())


class Supervisor:
    """Runs the app that the `orders` name until a signal comes; `run` is the whole of it.

    on_ready: called once, when an app is loaded and its store is open; what it raises ends the supervisor.
    """

    def __init__(
        self, orders: Orders, on_ready: Callable[[Ready, StoreInfo], None] = lambda _ready, _store: None
    ) -> None:
        self.events = Events()
        self._orders = orders
        self._on_ready = on_ready
        self._settings = Settings()
        self._wards: set[Ward] = set()
        self._succession = 0
        self._young_deaths = 0
        self._stopping = 0
        self._failure: Exception | None = None
        self._chores = Chores()
        self._changed = asyncio.Event()
        self._stack = AsyncExitStack()
        self._heart: Heart | None = None
        self._upkeep: Upkeep | None = None

    async def run(self) -> int:
        """Work until told to stop; answers the exit code. Raises `ConfigurationError` or `BrokerError` when it cannot begin."""
        async with self._stack:
            with catching(self.stop):
                self._spawn()
                self._chores.begin(self._watch())
                while self._wards or (self._succession and not self._stopping):
                    self._changed.clear()
                    await self._changed.wait()
            await self._chores.cancel()
        if self._failure is not None:
            raise self._failure
        return 1 if self._stopping > 2 else 0

    def restart_runners(self) -> None:
        """Start a new runner for each, with the code as it is now, and let the old ones drain."""
        self._young_deaths = 0
        for ward in [ward for ward in self._wards if not ward.leaving]:
            self._replace(ward, "restart")

    def stop(self, count: int = 1) -> None:
        """As on the first, second or third signal: drain; hand back what runs; kill. Before the start is done, each of them kills."""
        self._stopping = count
        self._changed.set()
        for ward in self._wards:
            if count > 2 or self._heart is None:
                ward.kill()
            else:
                self._dismiss(ward, interrupt=count > 1)

    def _dismiss(self, ward: Ward, interrupt: bool = False) -> None:
        if not ward.leaving:
            settings = self._settings
            patience = settings.shutdown_timeout * 2 + settings.kill_after + settings.lease
            asyncio.get_running_loop().call_later(patience, ward.kill)
        ward.leaving = True
        self._chores.begin(ward.send(Stop("shutdown", interrupt)))

    def _say(self, ward: Ward, what: str, detail: str = "") -> None:
        self.events.emit(WorkerChanged(f"runner {ward.group}", what, detail))

    # --- the life of a runner

    def _spawn(self) -> None:
        ward = Ward()
        self._wards.add(ward)
        self._chores.begin(self._attend(ward))

    def _replace(self, ward: Ward, why: str) -> None:
        self._say(ward, "replaced", why)
        self._dismiss(ward)
        self._spawn()

    async def _succeed(self) -> None:
        """Start a successor: at once, unless its ancestors died young."""
        self._succession += 1
        if self._young_deaths > 1:
            await asyncio.sleep(min(MOST_WAIT, FIRST_WAIT * 2 ** (self._young_deaths - 2)))
        self._succession -= 1
        if not self._stopping:
            self._spawn()

    async def _attend(self, ward: Ward) -> None:
        await ward.send(self._orders)
        try:
            while (message := await ward.receive()) is not None:
                match message:
                    case Ready(refusal=refusal) if refusal:
                        ward.refusal = refusal
                    case Ready():
                        await self._begin(message)
                        self._say(ward, "started")
                    case Tick():
                        self._on_tick(ward, message)
                    case Keep():
                        self._chores.begin(self._keep(ward, message))
                    case _:
                        pass
        except Exception as error:
            self._failure = error
        ward.kill()
        await self._bury(ward, await ward.gone)

    async def _begin(self, ready: Ready) -> None:
        """The first runner tells where the store is, and how many runners there shall be."""
        if self._heart is not None:
            return
        self._settings = replace(self._settings, **ready.settings)
        broker = make_broker(ready.url, ready.name)
        self._heart = Heart(broker, self._settings, self.events, self._card_of, self._on_pulse)
        self._upkeep = Upkeep(broker, self._settings, self.events)
        self._stack.push_async_callback(broker.close)
        await broker.open()
        self._on_ready(ready, await broker.describe())
        self._stack.push_async_callback(self._upkeep.stop)
        await self._upkeep.start()
        self._chores.begin(self._heart.run())
        for _ in range(self._settings.runners - 1):
            self._spawn()

    def _on_tick(self, ward: Ward, tick: Tick) -> None:
        ward.tick, ward.heard = tick, time.monotonic()
        if ward.stuck:
            ward.stuck = False
            self._say(ward, "turning again")
        if tick.wish and not ward.leaving:
            self._replace(ward, tick.wish)

    async def _bury(self, ward: Ward, status: int) -> None:
        """Take the jobs of a dead runner back at once, kill what it left behind, and see to its succession."""
        words = await ward.death()
        said = ward.refusal or words.message
        if ward.verdict is None:
            words = msgspec.structs.replace(words, message=ward.refusal or f"its runner died: {said}")
        for group in ward.tick.groups if ward.tick else ():
            kill_group(group)
        card = msgspec.structs.replace(ward.card(), state="dead", last_words=words)
        if self._heart is not None and self._upkeep is not None:
            for worker in list(ward.ids):  # an id that its runner gave up just before may still be on its way out
                await self._heart.retire(worker, card)
            try:
                await self._upkeep.reclaim()
            except Exception as error:
                self.events.emit(StoreTrouble("reclaim", error))  # the upkeep will come to it
        await ward.close()
        self._wards.discard(ward)
        clean = status == 0 and not ward.refusal
        if self._heart is None:
            if not self._stopping:
                self._failure = ConfigurationError(ward.refusal or f"the first runner died: {said}")
        elif self._failure is None:
            self._say(ward, "stopped" if clean else "died", "" if clean else said)
        if not (ward.leaving or self._stopping or self._failure or (clean and self._orders.burst)):
            self._young_deaths = self._young_deaths + 1 if time.monotonic() - ward.born < SHORT_LIFE else 0
            await self._succeed()
        self._changed.set()

    async def _watch(self) -> None:
        """Kill a runner that stands still because of a job that is over its limit."""
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            for ward in self._wards:
                silent = now - ward.heard
                if ward.tick is None or not watchdog.stuck(silent):
                    continue
                if not ward.stuck:
                    ward.stuck = True
                    self._say(ward, "stuck", "its event loop stands still")
                if verdict := watchdog.sentence(silent, ward.tick.deadline, now, self._settings.kill_after):
                    ward.condemn(verdict)

    # --- beats

    async def _keep(self, ward: Ward, wish: Keep) -> None:
        assert self._heart is not None
        if wish.alive:
            ward.ids.add(wish.worker)
            await self._heart.adopt(wish.worker)
            if ward.gone.done():
                await self._heart.retire(wish.worker)
        else:
            await self._heart.retire(wish.worker)
            ward.ids.discard(wish.worker)
            await ward.send(Pulsed(wish.worker, Pulse(alive=False)))

    def _ward_of(self, worker: str) -> Ward | None:
        return next((ward for ward in self._wards if worker in ward.ids), None)

    def _card_of(self, worker: str) -> Card:
        ward = self._ward_of(worker)
        return ward.card() if ward is not None else Card(host="", pid=0, state="stopped")

    def _on_pulse(self, worker: str, pulse: Pulse) -> None:
        if (ward := self._ward_of(worker)) is not None:
            if not pulse.alive:
                ward.ids.discard(worker)
            self._chores.begin(ward.send(Pulsed(worker, pulse)))
