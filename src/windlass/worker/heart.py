"""Beats for worker ids, from outside of the event loop that runs their jobs: in the supervisor, or in a thread of its own.

A store that cannot be reached stops the beats, not the jobs: whether somebody else took them over meanwhile only the store
knows, and the token of each run keeps a late outcome from doing harm. So a worker goes on, and asks again until it is told.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import msgspec

from windlass.broker.port import Broker
from windlass.core.job import Card, Pulse
from windlass.core.outcome import bounded
from windlass.events import Events, StoreBack, StoreTrouble
from windlass.failpoints import failpoint
from windlass.settings import Settings
from windlass.worker.chores import Chores
from windlass.worker.evidence import own_stacks, resident
from windlass.worker.past import Past
from windlass.worker.run import pauses

CardOf = Callable[[str], Card]
OnPulse = Callable[[str, Pulse], None]
StacksOf = Callable[[str], Awaitable[str]]

STACKS = "stacks"
"""The shelf for the stacks that somebody wished to see, by worker."""
MOST_STACKS = 1000
"""What is on it at most: those of workers that could not clear up behind themselves, after years."""


class Heart:
    """Keeps ids alive. `card_of` tells what to say of an id, `on_pulse` hears each answer of the store.

    stacks_of: the stacks of the process behind an id, which are written into the book when somebody wishes to see them.
    """

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        events: Events,
        card_of: CardOf,
        on_pulse: OnPulse,
        stacks_of: StacksOf,
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._events = events
        self._card_of = card_of
        self._on_pulse = on_pulse
        self._stacks_of = stacks_of
        self._shown: dict[str, float] = {}
        self._chores = Chores()
        self._workers: set[str] = set()
        # A beat that was under way when its id was retired must not bring it back to life.
        self._lock = asyncio.Lock()
        self._troubled = False
        self._answered = time.monotonic()

    @property
    def unanswered(self) -> float:
        """Seconds since the store answered a beat."""
        return time.monotonic() - self._answered

    async def adopt(self, worker: str) -> None:
        """Keep `worker` alive from now on; returns once the store knows it, however long that takes."""
        for pause in pauses():
            if await self._beat(worker, {worker}):
                self._workers.add(worker)
                return
            await asyncio.sleep(pause)

    async def retire(self, worker: str, card: Card | None = None, tries: int = 3) -> None:
        """End the life of `worker`. Without an answer of the store, its lease ends by itself.

        card: what to say of it at last; by default that no job is to blame: it was given up on purpose.
        """
        self.drop(worker)
        async with self._lock:
            for _, pause in zip(range(tries), pauses(), strict=False):
                try:
                    last = card or msgspec.structs.replace(self._card_of(worker), blameless=True)
                    await self._broker.beat(worker, last, 0)
                    if self._shown.pop(worker, None) is not None:
                        await self._broker.remove(STACKS, worker)
                    return
                except Exception as error:
                    self._events.emit(StoreTrouble("beat", error))
                    await asyncio.sleep(pause)

    def drop(self, worker: str) -> None:
        """Beat no more for `worker`, whose lease ends by itself."""
        self._workers.discard(worker)

    async def run(self) -> None:
        """Beat for ever."""
        try:
            while True:
                await asyncio.sleep(self._settings.beat)
                try:
                    failpoint("supervisor.before_beat")
                    for worker in list(self._workers):
                        await self._beat(worker, self._workers)
                except Exception as error:  # whatever it was, the next beat must come
                    self._events.emit(StoreTrouble("beat", error))
        finally:
            await self._chores.cancel()

    async def _beat(self, worker: str, wanted: set[str]) -> bool:
        async with self._lock:
            if worker not in wanted:
                return False
            try:
                pulse = await self._broker.beat(worker, self._card_of(worker), self._settings.lease)
            except Exception as error:
                self._troubled = True
                self._events.emit(StoreTrouble("beat", error))
                return False
            self._answered = time.monotonic()
            if self._troubled:
                self._troubled = False
                self._events.emit(StoreBack("beat"))
        if not pulse.alive:
            self._workers.discard(worker)
        if pulse.wish.stacks != self._shown.get(worker, 0.0):
            self._shown[worker] = pulse.wish.stacks
            self._chores.begin(self._show_stacks(worker))
        self._on_pulse(worker, pulse)
        return True

    async def _show_stacks(self, worker: str) -> None:
        """Write them down; when the store does not take them, the next beat asks for them again."""
        try:
            stacks = await self._stacks_of(worker) or "its stacks cannot be had"
            await self._broker.put(STACKS, worker, stacks.encode(), MOST_STACKS)
        except Exception as error:
            self._shown.pop(worker, None)
            self._events.emit(StoreTrouble("put", error))


class HeartThread:
    """A heart in a thread with its own event loop and its own broker: a job that blocks the runner's loop does not stop it."""

    def __init__(self, make_broker: Callable[[], Broker], settings: Settings, events: Events, card_of: CardOf) -> None:
        self.on_pulse: OnPulse = lambda _worker, _pulse: None
        self._make_broker = make_broker
        self._settings = settings
        self._events = events
        self._card_of, self._past = card_of, Past()
        self._home = asyncio.get_running_loop()
        self._opened: Future[tuple[asyncio.AbstractEventLoop, Heart, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="windlass-heart", daemon=True)

    async def start(self) -> None:
        self._thread.start()
        await asyncio.wrap_future(self._opened)

    async def stop(self) -> None:
        loop, _, done = await asyncio.wrap_future(self._opened)
        loop.call_soon_threadsafe(done.set)
        await asyncio.to_thread(self._thread.join)

    async def adopt(self, worker: str) -> None:
        await self._there("adopt", worker)

    async def retire(self, worker: str) -> None:
        await self._there("retire", worker)

    async def _there(self, verb: str, worker: str) -> Any:
        loop, heart, _ = self._opened.result()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(getattr(heart, verb)(worker), loop))

    def _told(self, worker: str) -> Card:
        return self._past.told(self._card_of(worker), resident(os.getpid()), time.monotonic())

    def _tell(self, worker: str, pulse: Pulse) -> None:
        if pulse.cancelling or pulse.wish.state or not pulse.alive:
            try:
                self._home.call_soon_threadsafe(self.on_pulse, worker, pulse)
            except RuntimeError:
                pass  # the runner's loop is gone

    async def _live(self) -> None:
        broker = self._make_broker()
        try:
            await broker.open()
        except BaseException as error:
            self._opened.set_exception(error)
            return
        heart = Heart(broker, self._settings, self._events, self._told, self._tell, _own_stacks)
        done = asyncio.Event()
        beating = asyncio.create_task(heart.run())
        self._opened.set_result((asyncio.get_running_loop(), heart, done))
        await done.wait()
        beating.cancel()
        await asyncio.wait({beating})
        await broker.close()


async def _own_stacks(_worker: str) -> str:
    return bounded(own_stacks())
