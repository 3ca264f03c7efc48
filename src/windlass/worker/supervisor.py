"""`Supervisor`: the parent of the runners. It starts them, beats for them, watches, kills and replaces them.

It imports no user code, so nothing that a job does can stop its beats. When a runner dies, it says so to the store at once and
takes its jobs back: they run again within a second. When it dies itself, the kernel kills everything below it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import msgspec

from windlass.broker.url import make_broker
from windlass.core.job import Card, Pulse
from windlass.core.outcome import ErrorInfo
from windlass.errors import BrokerError, ConfigurationError
from windlass.events import Events, StoreTrouble, WorkerChanged
from windlass.settings import Settings
from windlass.worker import watchdog
from windlass.worker.heart import Heart
from windlass.worker.link import (
    Adopt,
    BadFrame,
    Orders,
    Process,
    Pulsed,
    Ready,
    Refused,
    Retire,
    Stop,
    Tick,
    cause_of_death,
)
from windlass.worker.process import TICK
from windlass.worker.signals import catching
from windlass.worker.upkeep import Upkeep

SHORT_LIFE = 10.0
"""A runner that lived for less than these seconds died young, and its successor waits longer each time, up to MOST_WAIT."""
FIRST_WAIT, MOST_WAIT = 0.5, 30.0


class Ward:
    """A runner process in our care."""

    def __init__(self) -> None:
        self.process = Process("windlass.worker.process")
        self.born = time.monotonic()
        self.ids: set[str] = set()
        self.tick: Tick | None = None
        self.heard = self.born
        self.leaving = False
        self.stuck = False
        self.refusal: str | None = None
        self.sentence: ErrorInfo | None = None

    def card(self, last_words: ErrorInfo | None = None) -> Card:
        """What is to be said of it in the store."""
        card = self.tick.card if self.tick else Card(host="", pid=self.process.group, started_at=time.time())
        return card if last_words is None else msgspec.structs.replace(card, state="dead", last_words=last_words)


class Supervisor:
    """Runs the app at `target` ("package.module:app") until a signal comes; `run` is the whole of it.

    queues: as in `Runner`. settings: those that differ from the program's own. setup: "module:function", called with the
    program in each runner (to subscribe a log). burst: leave once nothing is ready or running.
    """

    def __init__(
        self,
        target: str,
        *,
        queues: Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        setup: str | None = None,
        burst: bool = False,
    ) -> None:
        self.events = Events()
        self._orders = Orders(target, list(queues) if queues else None, dict(settings or {}), setup, burst)
        self._wards: set[Ward] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._settings = Settings()
        self._young_deaths = 0
        self._stopping = 0
        self._changed = asyncio.Event()
        self._failure: Exception | None = None
        self._heart: Heart | None = None
        self._upkeep: Upkeep | None = None

    async def run(self) -> int:
        """Work until told to stop; answers the exit code. Raises `ConfigurationError` or `BrokerError` when it cannot begin."""
        async with AsyncExitStack() as stack:
            self._stack = stack
            with catching(self._on_signal):
                self._spawn()
                self._do(self._watch())
                while self._wards or (not self._stopping and self._failure is None and not self._all_left()):
                    self._changed.clear()
                    await self._changed.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._failure is not None:
            raise self._failure
        return 1 if self._stopping > 2 else 0

    def _all_left(self) -> bool:
        return self._orders.burst and self._heart is not None

    def restart_runners(self) -> None:
        """Start a new runner for each, with the code as it is now, and let the old ones drain."""
        self._young_deaths = 0
        for ward in [ward for ward in self._wards if not ward.leaving]:
            self._replace(ward, "restart")

    def _on_signal(self, count: int) -> None:
        self._stopping = count
        self._changed.set()
        for ward in self._wards:
            if count > 2:
                ward.process.kill()
            else:
                self._dismiss(ward, interrupt=count > 1)

    def _dismiss(self, ward: Ward, interrupt: bool = False) -> None:
        if not ward.leaving:
            settings = self._settings
            patience = settings.shutdown_timeout * 2 + settings.kill_after + settings.lease
            asyncio.get_running_loop().call_later(patience, ward.process.kill)
        ward.leaving = True
        self._do(ward.process.send(Stop("shutdown", interrupt)))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _say(self, ward: Ward, what: str, detail: str = "") -> None:
        self.events.emit(WorkerChanged(f"runner {ward.process.group}", what, detail))

    # --- the life of a runner

    def _spawn(self) -> None:
        ward = Ward()
        self._wards.add(ward)
        self._do(self._attend(ward))

    async def _spawn_later(self) -> None:
        """Start a successor: at once, unless its ancestors died young."""
        wait = min(MOST_WAIT, FIRST_WAIT * 2 ** (self._young_deaths - 2)) if self._young_deaths > 1 else 0.0
        await asyncio.sleep(wait)
        if not self._stopping:
            self._spawn()

    def _replace(self, ward: Ward, why: str) -> None:
        self._say(ward, "replaced", why)
        self._dismiss(ward)
        self._spawn()

    async def _attend(self, ward: Ward) -> None:
        await ward.process.send(self._orders)
        try:
            while (message := await ward.process.receive()) is not None:
                match message:
                    case Ready():
                        await self._on_ready(message)
                        self._say(ward, "started")
                    case Refused(reason):
                        ward.refusal = reason
                    case Tick():
                        self._on_tick(ward, message)
                    case Adopt(worker):
                        ward.ids.add(worker)
                        self._do(self._adopt(worker))
                    case Retire(worker):
                        self._do(self._retire(ward, worker))
                    case _:
                        raise BadFrame(f"a {type(message).__name__}, out of turn")
        except BadFrame as error:
            ward.sentence = ErrorInfo("crash", "RunnerMadeNoSense", f"the runner sent {error}")
        except (BrokerError, ConfigurationError) as error:
            self._failure = error
        ward.process.kill()
        await self._bury(ward, await ward.process.gone)

    async def _on_ready(self, ready: Ready) -> None:
        """The first runner tells where the store is, and how many runners there shall be."""
        if self._heart is not None:
            return
        self._settings = replace(self._settings, **ready.settings)
        broker = make_broker(ready.url, ready.name)
        self._stack.push_async_callback(broker.close)
        await broker.open()
        self._heart = Heart(broker, self._settings, self.events, self._card_of, self._on_pulse)
        self._upkeep = Upkeep(broker, self._settings, self.events)
        await self._upkeep.start()
        self._stack.push_async_callback(self._upkeep.stop)
        self._do(self._heart.run())
        for _ in range(self._settings.runners - 1):
            self._spawn()

    def _on_tick(self, ward: Ward, tick: Tick) -> None:
        ward.tick, ward.heard = tick, time.monotonic()
        if ward.stuck:
            ward.stuck = False
            self._say(ward, "turning again")
        if tick.wants_to_go and not ward.leaving:
            self._replace(ward, tick.wants_to_go)

    async def _bury(self, ward: Ward, status: int) -> None:
        """Take the jobs of a dead runner back at once, kill what it left behind, and see to its succession."""
        self._wards.discard(ward)
        words = self._last_words(ward, status)
        for group in ward.tick.groups if ward.tick else ():
            Process.kill_group(group)
        if self._heart is not None and self._upkeep is not None:
            for worker in ward.ids:
                await self._heart.retire(worker, ward.card(words))
            if ward.ids:
                await self._reclaim(self._upkeep)
        await ward.process.close()
        clean = status == 0 and ward.refusal is None
        self._say(ward, "stopped" if clean else "died", "" if clean else words.message)
        if ward.refusal is not None and self._heart is None:
            self._failure = ConfigurationError(ward.refusal)
        if not ward.leaving and not self._stopping and self._failure is None and not (clean and self._orders.burst):
            young = time.monotonic() - ward.born < SHORT_LIFE
            self._young_deaths = self._young_deaths + 1 if young else 0
            self._do(self._spawn_later())
        self._changed.set()

    async def _reclaim(self, upkeep: Upkeep) -> None:
        try:
            await upkeep.reclaim()
        except Exception as error:
            self.events.emit(StoreTrouble("reclaim", error))  # the upkeep will come to it

    @staticmethod
    def _last_words(ward: Ward, status: int) -> ErrorInfo:
        if ward.sentence is not None:
            return ward.sentence
        cause = cause_of_death(status)
        return msgspec.structs.replace(cause, message=ward.refusal or f"its runner died: {cause.message}")

    # --- beats

    async def _adopt(self, worker: str) -> None:
        assert self._heart is not None
        await self._heart.adopt(worker)

    async def _retire(self, ward: Ward, worker: str) -> None:
        assert self._heart is not None
        await self._heart.retire(worker)
        ward.ids.discard(worker)
        await ward.process.send(Pulsed(worker, Pulse(alive=False)))

    def _ward_of(self, worker: str) -> Ward | None:
        return next((ward for ward in self._wards if worker in ward.ids), None)

    def _card_of(self, worker: str) -> Card:
        ward = self._ward_of(worker)
        return ward.card() if ward is not None else Card(host="", pid=0, state="stopped")

    def _on_pulse(self, worker: str, pulse: Pulse) -> None:
        if (ward := self._ward_of(worker)) is not None:
            if not pulse.alive:
                ward.ids.discard(worker)
            self._do(ward.process.send(Pulsed(worker, pulse)))

    async def _watch(self) -> None:
        """Kill a runner that stands still because of a job that is over its limit."""
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            for ward in [ward for ward in self._wards if ward.tick is not None]:
                assert ward.tick is not None
                silent = now - ward.heard
                if watchdog.stuck(silent) and not ward.stuck:
                    ward.stuck = True
                    self._say(ward, "stuck", "its event loop stands still")
                ward.sentence = watchdog.sentence(silent, ward.tick.deadline, now, self._settings.kill_after)
                if ward.sentence is not None:
                    ward.process.kill()


def supervise(
    target: str,
    *,
    queues: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    setup: str | None = None,
    burst: bool = False,
    prepare: Callable[[Supervisor], None] = lambda _supervisor: None,
) -> int:
    """Run a supervisor to its end, and answer the exit code. `prepare` is called with it, in its loop, before it starts."""

    async def run() -> int:
        supervisor = Supervisor(target, queues=queues, settings=settings, setup=setup, burst=burst)
        prepare(supervisor)
        return await supervisor.run()

    return asyncio.run(run())
