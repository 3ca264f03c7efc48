"""`Custody`: what a supervisor does in the store for its runners. It beats for their ids, and sees to what a dead one leaves behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec

from windlass.broker.port import Broker
from windlass.core.job import Card, Claim, Pulse
from windlass.core.outcome import ErrorInfo, Outcome
from windlass.events import Events, JobEnded, StoreTrouble
from windlass.failpoints import failpoint
from windlass.settings import Settings
from windlass.worker import watchdog
from windlass.worker.chores import Chores
from windlass.worker.heart import Heart
from windlass.worker.journal import attempt
from windlass.worker.link import Keep, Pulsed
from windlass.worker.recorder import Recorder
from windlass.worker.run import Identity, Run, pauses
from windlass.worker.upkeep import Upkeep
from windlass.worker.ward import Ward


class Custody:
    """The ids of all runners, in a broker that is open. `on_unwanted` hears, once, that somebody wishes us to stop."""

    def __init__(self, broker: Broker, settings: Settings, events: Events, on_unwanted: Callable[[], None]) -> None:
        self._broker = broker
        self._settings = settings
        self._events = events
        self._wards: dict[str, Ward] = {}
        self._on_unwanted = on_unwanted
        self._unwanted = False
        self._heart = Heart(broker, settings, events, self._card_of, self._on_pulse, self._stacks_of)
        self._upkeep = Upkeep(broker, settings, events)
        self._recorder = Recorder(broker, events, settings.version)
        self._chores = Chores()

    async def start(self) -> None:
        """Begin to beat."""
        await self._upkeep.start()
        await self._recorder.start()
        self._chores.begin(self._heart.run())

    async def stop(self) -> None:
        """Beat no more."""
        await self._upkeep.stop()
        await self._chores.cancel()
        await self._recorder.stop()

    @property
    def unanswered(self) -> float:
        """Seconds since the store answered a beat."""
        return self._heart.unanswered

    async def keep(self, ward: Ward, wish: Keep) -> None:
        """Beat for an id of a runner, or no more; it hears when that is so."""
        if wish.alive:
            self._wards[wish.worker] = ward
            ward.ids.add(wish.worker)
            await self._heart.adopt(wish.worker)
            if ward.gone.done():  # it has died meanwhile, and the store may have heard of that before
                self._forget(wish.worker)
                await self._heart.retire(wish.worker)
        else:
            await self._heart.retire(wish.worker)
            self._forget(wish.worker)
            await ward.send(Pulsed(wish.worker, Pulse(alive=False)))

    async def give_back(self, ward: Ward, words: ErrorInfo) -> None:
        """End what a runner holds, which is dead or as good as dead: its culprits have timed out, all else is for others at once."""
        if ward.culprits and await self._time_out(ward, words):
            ward.blameless = True
        failpoint("supervisor.before_give_back")
        card = msgspec.structs.replace(ward.card(), state="dead", last_words=words)
        ids = list(ward.ids)  # one that it gave up just before may still be on its way out
        for worker in ids:
            self._forget(worker)
            await ward.send(Pulsed(worker, Pulse(alive=False)))
        try:
            async with asyncio.timeout(self._settings.lease):  # then all is over anyway
                await asyncio.gather(*(self._heart.retire(worker, card) for worker in ids))
                await self._upkeep.reclaim(ids)
        except Exception as error:
            self._events.emit(StoreTrouble("reclaim", error))  # the upkeep will come to it

    def let_go(self, ward: Ward) -> None:
        """Beat no more for a dead runner, whatever became of its ids."""
        for worker in list(ward.ids):
            self._heart.drop(worker)
            self._forget(worker)

    async def _time_out(self, ward: Ward, words: ErrorInfo) -> bool:
        """Write down how the culprits ended; False when the store does not take it within a lease."""
        failpoint("supervisor.before_time_out")
        pairs = [(one.claim, watchdog.timed_out(one, words.traceback)) for one in ward.culprits]
        try:
            async with asyncio.timeout(self._settings.lease):
                applied = await self._settle(min(ward.ids, default=""), pairs)
        except TimeoutError:
            return False
        now = time.monotonic()
        for one, (claim, outcome), done in zip(ward.culprits, pairs, applied, strict=True):
            if done:
                took = now - one.deadline + one.limit
                self._recorder.note([(Run(claim, Identity(""), took=took), outcome)], [True])
                self._events.emit(JobEnded(claim, outcome, took))
        return True

    async def _settle(self, worker: str, pairs: Sequence[tuple[Claim, Outcome]]) -> list[bool]:
        pause, written = pauses(), False
        while True:
            try:
                if not written:
                    await self._broker.append([(claim, attempt(claim, worker, outcome)) for claim, outcome in pairs])
                    written = True
                return (await self._broker.settle(pairs))[0]
            except Exception as error:
                self._events.emit(StoreTrouble("settle", error))
                await asyncio.sleep(next(pause))

    def _forget(self, worker: str) -> None:
        if (ward := self._wards.pop(worker, None)) is not None:
            ward.ids.discard(worker)

    def _card_of(self, worker: str) -> Card:
        ward = self._wards.get(worker)
        return ward.told() if ward is not None else Card(host="", pid=0, state="stopped")

    async def _stacks_of(self, worker: str) -> str:
        ward = self._wards.get(worker)
        return await ward.stacks() if ward is not None else ""

    def _on_pulse(self, worker: str, pulse: Pulse) -> None:
        if pulse.wish.state == "stopped" and not self._unwanted:
            self._unwanted = True
            self._on_unwanted()
        if (ward := self._wards.get(worker)) is not None:
            if not pulse.alive:
                self._forget(worker)
            if not ward.gone.done():
                self._chores.begin(ward.send(Pulsed(worker, pulse)))
