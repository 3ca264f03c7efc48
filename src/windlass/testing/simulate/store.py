"""The store of the simulation: the memory broker, behind a network that delays, loses, and delivers late."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

from windlass.broker.memory import MemoryBroker
from windlass.core.job import Pulse
from windlass.errors import BrokerUnavailable
from windlass.testing.simulate.account import Line
from windlass.testing.simulate.clock import EPOCH
from windlass.testing.simulate.judge import Judge
from windlass.testing.simulate.loop import Loop, Step
from windlass.testing.simulate.process import Process

Fate = str | None
"""What becomes of one call: "lost request", "lost answer", "late request"; None: it arrives, and so does its answer."""


class Ordered(dict[Any, None]):
    """A set that is iterated in the order in which it was filled. That of a real set hangs on addresses and on PYTHONHASHSEED."""

    def add(self, one: Any) -> None:
        self[one] = None

    def discard(self, one: Any) -> None:
        self.pop(one, None)


class Topics(defaultdict[Any, Any]):
    """Who waits for what, iterated in an order of its own."""

    def __init__(self) -> None:
        super().__init__(Ordered)

    def __iter__(self) -> Iterator[Any]:
        return iter(sorted(super().__iter__()))


class Weather(Protocol):
    """Who says how the network is, and hears what passes through it."""

    def delay(self) -> float:
        """Seconds that a message travels."""
        ...

    def patience(self) -> float:
        """Seconds after which a caller gives up."""
        ...

    def fate(self, process: Process) -> Fate: ...
    def reachable(self, process: Process) -> bool: ...
    def passed(self, process: Process, verb: str, where: str) -> None: ...
    def told_dead(self, process: Process, worker: str) -> None: ...


class Store:
    """The server. What arrives is executed at once, in a process of its own, and shown to the judge. lines: of the trace."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.process = Process("store")
        self.root = MemoryBroker(clock=lambda: EPOCH + loop.now)
        self.root._space.waiting = Topics()
        self.judge: Judge
        self.lines: list[Line] = []
        self.waiting = Ordered()

    def tell(self, process: Process, what: str, given: tuple[Any, ...] = (), answer: Any = None) -> None:
        """Write a line of the trace."""
        if not self.loop.is_closed():
            self.lines.append((self.loop.now, process, what, given, answer))

    def cut(self, gone: Callable[[Process], bool]) -> None:
        """End the calls that wait here for processes that are gone, or out of reach."""
        for call in [call for call in self.waiting if gone(call.link.process)]:
            call.cut()


class Link:
    """A process's broker: every verb is a call to the store."""

    def __init__(self, store: Store, weather: Weather, process: Process) -> None:
        self.store, self.weather, self.process = store, weather, process
        self.memory = store.root.sibling()
        self.wakes = 0

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    def wake(self) -> None:
        self.wakes += 1
        self.store.process.room.run(self.memory.wake)

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        return partial(self._ask, verb)

    async def _ask(self, verb: str, *args: Any, **given: Any) -> Any:
        call, loop, weather = Call(self, verb, args, given), self.store.loop, self.weather
        delay, there = weather.delay(), self.store.process.room
        fate = weather.fate(self.process)
        if fate is not None:
            patience = weather.patience()
            call.unheard = fate != "lost request"
            loop.call_later(patience, call.fail, fate, context=there)
            delay += patience * 1.5 if fate == "late request" else 0.0
        if fate != "lost request":
            loop.call_later(delay, call.arrive, context=there)
        weather.passed(self.process, verb, "on its way")
        return await call.answer


class Call:
    """One call, on its way to the store and back. unheard: its answer gets lost."""

    __slots__ = ("answer", "args", "begun", "end", "given", "link", "unheard", "verb", "woken")

    def __init__(self, link: Link, verb: str, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        self.link, self.verb, self.args, self.given = link, verb, args, given
        self.answer: asyncio.Future[Any] = link.store.loop.create_future()
        self.begun = link.wakes
        self.unheard = self.woken = False
        self.end: Step | None = None

    def arrive(self) -> None:
        """In the store: execute, and answer."""
        link, wait = self.link, self.given.get("wait", 0.0)
        if not link.weather.reachable(link.process):
            self._back(self.fail, "refused")
            return
        try:
            answer = self._execute()
        except Exception as error:
            self._back(self._raise, error)
            return
        if wait and not answer and self.verb == "claim" and self.begun == link.wakes:
            self._wait(wait)
        else:
            self._done(answer)

    def _execute(self) -> Any:
        """What the verb answers now. Nothing waits in the memory broker: that is done here, where a crash can strike it."""
        given = self.given | {"wait": 0.0} if "wait" in self.given else self.given
        verb = getattr(self.link.memory, self.verb)(*self.args, **given)
        try:
            verb.send(None)
        except StopIteration as done:
            return done.value
        raise RuntimeError(f"{self.verb} waits")

    def _wait(self, wait: float) -> None:
        """Wait for something to be ready: the memory broker wakes us with all others who wait for these queues."""
        store = self.link.store
        store.waiting.add(self)
        for queue in self.args[0]:
            store.root._space.waiting["queue", queue].add(self)  # type: ignore[arg-type] # in the place of a _Waiter
        self.end = store.loop.call_later(wait, self._look, True, context=store.process.room)

    def wake(self) -> None:
        """Look again, soon."""
        if not self.woken:
            self.woken = True
            self.link.store.loop.call_soon(self._look, context=self.link.store.process.room)

    def _look(self, last: bool = False) -> None:
        self.woken = False
        if self.end is None:
            return
        if (claims := self._execute()) or last or self.begun != self.link.wakes:
            self._leave()
            self._done(claims)

    def _leave(self) -> None:
        assert self.end is not None
        self.end.cancel()
        self.end = None
        store = self.link.store
        store.waiting.discard(self)
        for queue in self.args[0]:
            store.root._space.waiting["queue", queue].discard(self)

    def cut(self) -> None:
        """The connection is gone while we wait."""
        self._leave()
        self._back(self.fail, "cut")

    def _done(self, answer: Any) -> None:
        link, store = self.link, self.link.store
        store.tell(link.process, self.verb, self.args, answer)
        store.judge.observe(self.verb, link.process, self.args, self.given, answer, late=self.answer.done())
        link.weather.passed(link.process, self.verb, "in the store")
        if self.unheard:
            store.judge.times[f"{self.verb} happened without an answer"] += 1
        else:
            self._back(self._succeed, answer)

    def _back(self, how: Callable[[Any], None], what: Any) -> None:
        store = self.link.store
        store.loop.call_later(self.link.weather.delay(), how, what, context=store.process.room)

    def _succeed(self, answer: Any) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)
            link = self.link
            if isinstance(answer, Pulse) and not answer.alive and self.args[2]:
                link.weather.told_dead(link.process, self.args[0])
            link.weather.passed(link.process, self.verb, "on its way back")

    def _raise(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def fail(self, why: str) -> None:
        """The caller gives up."""
        if not self.answer.done():
            self.link.store.tell(self.link.process, f"{self.verb} failed", (why,))
            self.answer.set_exception(BrokerUnavailable(why))
