"""`Supervisor`: the parent of the runners. It starts them, beats for them, watches, kills and replaces them.

It imports no user code, so nothing that a job does can stop its beats. When a runner dies, it says so to the store at once and
takes its jobs back: they run again within a second. When it dies itself, the kernel kills everything below it.

There are as many runners that serve as there shall be (`_wanted`), and besides those that leave: `_fill` starts what is missing,
after a death; `_exchange` starts a successor first, and then lets the old one go.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from math import inf

import msgspec

from windlass.broker.port import Broker
from windlass.broker.url import make_broker
from windlass.core.job import Card, StoreInfo
from windlass.core.outcome import ErrorInfo
from windlass.errors import BrokerUnavailable, ConfigurationError
from windlass.events import Events, WorkerChanged
from windlass.settings import Settings
from windlass.worker import watchdog
from windlass.worker.chores import Chores
from windlass.worker.custody import Custody
from windlass.worker.link import STORE_AWAY, Begun, Breath, Keep, Orders, Ready, Stop, Tick, Told
from windlass.worker.patrol import Patrol
from windlass.worker.signals import catching
from windlass.worker.ward import Ward

SHORT_LIFE = 10.0
"""A runner that lived for less than these seconds died young, and its successor waits longer each time."""
FIRST_WAIT, MOST_WAIT = 0.5, 30.0
MOST_STILLBORN = 5
"""So many runners in a row that die before they can work, and it is no use to go on."""
FAREWELL = 5.0
"""Seconds beyond its time that a runner which stops may take."""
MOMENT = 2.0
"""Seconds to give the jobs of killed runners back, after the third signal; and to let go of a store that hangs."""


class Supervisor:
    """Runs the app that the `orders` name until a signal comes; `run` is the whole of it.

    on_ready: called once, when an app is loaded and its store (`broker`) is open; what it raises ends the supervisor.
    heard: what its runners tell of themselves, if the orders say so.
    """

    def __init__(
        self, orders: Orders, on_ready: Callable[[Ready, StoreInfo], None] = lambda _ready, _store: None
    ) -> None:
        self.events, self.heard = Events(), Events()
        self.broker: Broker | None = None
        self._orders = orders
        self._on_ready = on_ready
        self._settings = Settings()
        self._wards: set[Ward] = set()
        self._wanted = 1
        self._young_deaths = self._stillborn = 0
        self._stopping = self._restarts = 0
        self._failure: Exception | None = None
        self._last_word = ""
        self._place = ("", "")
        self._chores = Chores()
        self._changed = asyncio.Event()
        self._stack = AsyncExitStack()
        self._custody: Custody | None = None

    async def run(self) -> int:
        """Work until told to stop; answers the exit code. Raises `ConfigurationError` or `BrokerError` when it cannot begin."""
        with catching(self.stop, self.restart_runners):
            self._chores.begin(self._fill())
            while self._wards or self._wanted:
                self._changed.clear()
                await self._changed.wait()
            await self._chores.cancel()
            try:
                async with asyncio.timeout(MOMENT):
                    await self._stack.aclose()
            except TimeoutError:
                pass  # the store hangs
        if self._failure is not None:
            raise self._failure
        if self._last_word:
            self._tell("gave up", self._last_word)
        return 1 if self._last_word or self._stopping > 2 else 0

    def readiness(self) -> str:
        """Why it cannot run jobs, in a few words; "" when it can."""
        if self._stopping or not self._wanted:
            return "stopping"
        if self._custody is None:
            return "starting"
        if self._custody.unanswered > self._settings.lease:
            return f"the store has not answered for {self._custody.unanswered:.0f} s"
        now = time.monotonic()
        at_work = [ward for ward in self._serving() if ward.tick is not None and now - ward.ticked <= watchdog.SILENCE]
        if not at_work:
            return "no runner works"
        if self._young_deaths > 1 and all(now - ward.born < SHORT_LIFE for ward in at_work):
            return f"runners die young: {self._young_deaths} in a row"
        return ""

    def cards(self) -> list[Card]:
        """What each runner says of itself."""
        return [ward.card() for ward in self._wards]

    # --- what it is told

    def stop(self, count: int = 1) -> None:
        """As on the first, second or third signal: drain; hand back what runs; kill."""
        if not self._stopping:
            self._tell("stopping")
        self._stopping, self._wanted = max(count, self._stopping), 0
        self._changed.set()
        for ward in self._wards:
            if count > 2:
                ward.put_down("on the third signal")
            else:
                self._dismiss(ward, 0.0 if count > 1 else self._settings.shutdown_timeout)
        if count > 2:
            asyncio.get_running_loop().call_later(MOMENT, self._leave)

    def _leave(self) -> None:
        """Wait for the store no more."""
        self._wards.clear()
        self._changed.set()

    def restart_runners(self) -> None:
        """Let new runners, with the code as it is now, take the places of the old, one after the other."""
        self._young_deaths = 0
        self._chores.begin(self._fill())  # now, and not after a pause
        self._restarts += 1
        if self._restarts == 1 and self._custody is not None:
            self._chores.begin(self._restart())

    async def _restart(self) -> None:
        """Exchange all runners, and once more if that was asked for meanwhile."""
        done = 0
        self._tell("reloading")
        while done < self._restarts:
            done, old = self._restarts, None
            for ward in [ward for ward in self._serving() if not ward.heir]:
                if old is not None:
                    await asyncio.wait({old.gone})
                if await self._exchange(ward, "restart", self._settings.shutdown_timeout):
                    old = ward
        self._restarts = 0
        if self._wanted:
            self._tell("ready")

    def _tell(self, what: str, detail: str = "") -> None:
        self.events.emit(WorkerChanged(f"supervisor {os.getpid()}", what, detail))

    def _say(self, ward: Ward, what: str, detail: str = "") -> None:
        self.events.emit(WorkerChanged(f"runner {ward.group}", what, detail))

    # --- the coming and going of runners

    def _serving(self) -> list[Ward]:
        return [ward for ward in self._wards if not ward.leaving]

    def _spawn(self) -> Ward:
        ward = Ward()
        self._wards.add(ward)
        self._chores.begin(self._attend(ward))
        return ward

    async def _fill(self, pause: float = 0.0) -> None:
        """Start the runners that are missing, after a pause."""
        await asyncio.sleep(pause)
        try:
            while len(self._serving()) < self._wanted:
                self._spawn()
        except OSError as error:  # the machine has no process, no file, no memory left for us
            more = self._count_death(str(error), young=True, stillborn=True)
            self._tell("could not start a runner", f"{error}{more}")

    def _count_death(self, why: str, *, young: bool, stillborn: bool) -> str:
        """See to the place of a runner that is gone; answers what there is to say of it."""
        self._young_deaths = self._young_deaths + 1 if young else 0
        self._stillborn = self._stillborn + 1 if stillborn else 0
        if self._stillborn >= MOST_STILLBORN:
            self._give_up(why)
            return ""
        again, pause = self._young_deaths, 0.0
        if again > 1:
            pause = min(MOST_WAIT, FIRST_WAIT * 2 ** (again - 2)) * random.uniform(0.5, 1.0)
        self._chores.begin(self._fill(pause))
        within = f"{again} times in a row within {SHORT_LIFE:g} s of its start"
        return f" ({within}; the next start is in {pause:.1f} s)" if pause else ""

    def _give_up(self, why: str) -> None:
        self._last_word = (
            f"{self._stillborn} runners in a row died before they could work, the last one: {why}."
            " Mend that (`windlass doctor` may tell more), and start the worker again"
        )
        if self._wards:
            self._tell("gives up", f"{self._last_word}. What runs is finished first")
        self.stop()

    async def _exchange(self, ward: Ward, why: str, timeout: float) -> bool:
        """Start a successor, and when it works let `ward` go, whose jobs have `timeout` seconds. Without one that works, it stays."""
        if not self._wanted or ward.leaving:
            return False
        try:
            heir = self._spawn()
        except OSError as error:
            working, trouble = False, f"could not be started: {error}"
        else:
            ward.heir = True
            working = await heir.at_work
            trouble = f"died: {heir.refusal}"
        ward.heir = False
        if working:
            self._say(ward, "replaced", why)
            self._dismiss(ward, timeout)
        elif self._wanted and not ward.leaving:
            self._say(ward, "stays", f"it was to be replaced ({why}), but its successor {trouble}")
        return working

    def _dismiss(self, ward: Ward, timeout: float) -> None:
        """Let a runner go: what still runs after `timeout` seconds is handed back (inf: it may take as long as it takes)."""
        ward.leaving = True
        ward.due = min(ward.due, time.monotonic() + timeout + self._settings.kill_after + FAREWELL)
        if ward.tick is None and not ward.ids:  # with an id it may hold jobs, though we have not heard of its work yet
            ward.put_down("before it came to work")
        self._chores.begin(ward.send(Stop("shutdown", not timeout, timeout)))

    # --- the life of a runner

    async def _attend(self, ward: Ward) -> None:
        """Care for a runner from its first moment until it is buried, whatever happens."""
        try:
            await self._listen(ward)
        except Exception as error:
            self._blunder(ward, error)
        ward.kill()
        try:
            await self._bury(ward, await ward.gone)
        except Exception as error:
            self._blunder(ward, error)
            self._chores.begin(self._fill(FIRST_WAIT))
        finally:
            if not ward.at_work.done():
                ward.at_work.set_result(False)
            if self._custody is not None:
                self._custody.let_go(ward)
            await ward.close()
            self._wards.discard(ward)
            self._changed.set()

    def _blunder(self, ward: Ward, error: Exception) -> None:
        """Nothing of that kind may end us, once we have begun; before, it is the reason why we cannot begin."""
        if self._custody is None:
            self._failure, self._wanted = self._failure or error, 0
        else:
            logging.getLogger("windlass").error("a bug in Windlass: no care for runner %s", ward.group, exc_info=error)

    async def _listen(self, ward: Ward) -> None:
        await ward.send(self._orders)
        while (message := await ward.receive()) is not None:
            match message:
                case Ready():
                    await self._on_loaded(ward, message)
                    if self._custody is None and not message.refusal:
                        return
                case Tick():
                    self._on_tick(ward, message)
                case Begun():
                    ward.limited |= {one.claim.id: one for one in message.runs}
                case Breath():
                    ward.breathed = time.monotonic()
                case Keep():
                    self._chores.begin(self._keep(ward, message))
                case Told(event):
                    self.heard.emit(event)
                case _:
                    pass

    async def _keep(self, ward: Ward, wish: Keep) -> None:
        try:
            assert self._custody is not None
            await self._custody.keep(ward, wish)
        except Exception as error:
            self._blunder(ward, error)
            ward.put_down("for it would wait for ever")

    async def _on_loaded(self, ward: Ward, ready: Ready) -> None:
        ward.refusal = ready.refusal
        if ready.refusal:
            return
        if self._custody is not None and (ready.url, ready.name) != self._place:
            ward.refusal = "its app names another store than before; start the whole worker again"
            ward.put_down("for that")
        elif self._custody is None:
            # A store that hangs must not keep us from hearing that the runner was killed.
            beginning = asyncio.ensure_future(self._begin(ready))
            await asyncio.wait({beginning, ward.gone}, return_when=asyncio.FIRST_COMPLETED)
            beginning.cancel()
            await asyncio.wait({beginning})
            if not beginning.cancelled():
                beginning.result()

    async def _begin(self, ready: Ready) -> None:
        """The first runner tells where the store is, and how many runners there shall be."""
        self._settings, self._place = replace(self._settings, **ready.settings), (ready.url, ready.name)
        broker = self.broker = make_broker(ready.url, ready.name)
        self._stack.push_async_callback(broker.close)
        await broker.open()
        store = await broker.describe()
        store.check(self._settings.durability)
        self._on_ready(ready, store)
        self._chores.begin(Patrol(lambda: self._wards, self._settings, self._say, self._abandon).run())
        self._custody = Custody(broker, self._settings, self.events, self.stop)
        self._stack.push_async_callback(self._custody.stop)
        await self._custody.start()
        self._wanted = self._settings.runners if self._wanted else 0
        await self._fill()
        if self._restarts:
            self._chores.begin(self._restart())

    def _on_tick(self, ward: Ward, tick: Tick) -> None:
        if ward.tick is None:
            self._stillborn = 0
            self._say(ward, "started")
            if all(other.tick is None for other in self._wards):
                self._tell("ready")
        ward.hear(tick)
        if ward.stuck is not None:
            ward.stuck = None
            ward.forget()
            self._say(ward, "turning again")
        if ward.leaving:
            if tick.card.state not in ("working", "quiet") and not any(tick.card.busy.values()):
                ward.due = min(ward.due, time.monotonic() + self._settings.shutdown_timeout + FAREWELL)
        elif not ward.heir and ward.content <= time.monotonic() and (why := self._worn(ward, tick)):
            ward.heir = True
            self._chores.begin(self._renew(ward, why, stalled=bool(tick.stalled)))

    def _worn(self, ward: Ward, tick: Tick) -> str:
        """Why a runner shall be replaced; "" as long as it is well. One that only grew old waits until all others are at their places."""
        settings = self._settings
        if tick.stalled or tick.wish or len(self._wards) != self._wanted:
            return tick.stalled or tick.wish
        if settings.runner_jobs and tick.jobs >= settings.runner_jobs:
            return f"it ran {tick.jobs} jobs"
        if settings.runner_memory and (held := ward.memory()) > settings.runner_memory:
            return f"it holds {held >> 20} MB"
        return ""

    async def _renew(self, ward: Ward, why: str, *, stalled: bool) -> None:
        """Exchange a runner, whose jobs may take their time."""
        if stalled:
            self._say(ward, "stalled", f"{why}\n{await ward.dump()}".strip())
        if not await self._exchange(ward, why, inf):
            ward.content = time.monotonic() + MOST_WAIT

    async def _bury(self, ward: Ward, status: int) -> None:
        """See to the place of a dead runner, kill what it left behind, and give its jobs back at once."""
        words = await ward.death()
        clean, served = status == 0 and not ward.refusal, not ward.leaving
        ward.leaving = True
        ward.kill_children()
        if self._custody is None:
            if not self._stopping and self._failure is None:
                said = ward.refusal or f"the first runner died: {words.message}"
                self._failure = BrokerUnavailable(said) if status == STORE_AWAY else ConfigurationError(said)
            self._wanted = 0
            return
        ward.refusal, more = ward.refusal or words.message, ""
        if not ward.at_work.done():
            ward.at_work.set_result(False)
        if served and clean and self._orders.burst:
            self._wanted = max(0, self._wanted - 1)
        elif len(self._serving()) < self._wanted:
            young = time.monotonic() - ward.born < SHORT_LIFE and not ward.culprits
            stillborn = ward.tick is None and status != STORE_AWAY
            more = self._count_death(ward.refusal, young=young, stillborn=stillborn)
        self._say(ward, "stopped" if clean else "died", "" if clean else ward.refusal + more)
        await self._custody.give_back(ward, msgspec.structs.replace(words, message=f"its runner died: {ward.refusal}"))

    async def _abandon(self, ward: Ward) -> None:
        """Give the jobs of a runner that was stopped for too long to others. When it goes on, it hears that it is dead."""
        self._dismiss(ward, inf)
        ward.blameless = True
        ward.kill_children()
        self._say(ward, "abandoned", "it was stopped (SIGSTOP) for longer than its lease: others have its jobs")
        self._chores.begin(self._fill())
        if self._custody is not None:
            words = ErrorInfo("crash", "RunnerStopped", "its runner was stopped (SIGSTOP) for longer than its lease")
            await self._custody.give_back(ward, words)
