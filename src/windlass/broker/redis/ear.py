"""What a broker is told without asking: its channel, and the calls that wait for something to be said on it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from uuid import uuid4


class Waiter:
    """One waiting call."""

    __slots__ = ("heard",)

    def __init__(self) -> None:
        self.heard = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Return when something was said, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self.heard.wait()
        except TimeoutError:
            pass  # time to look
        self.heard.clear()


class Ear:
    """The waiting calls by what they wait for: b"r" and a line of ready jobs, or b"j" and a job's id."""

    def __init__(self, root: bytes) -> None:
        self.channel = root + f"ear:{uuid4().hex}".encode()
        self._waiting: dict[bytes, set[Waiter]] = {}

    @contextmanager
    def listen(self, topics: Iterable[bytes]) -> Generator[Waiter]:
        """Wait for `topics`. Nothing that is said from now on is missed."""
        waiter, topics = Waiter(), list(topics)
        for topic in topics:
            self._waiting.setdefault(topic, set()).add(waiter)
        try:
            yield waiter
        finally:
            for topic in topics:
                waiting = self._waiting[topic]
                waiting.discard(waiter)
                if not waiting:
                    del self._waiting[topic]

    def hear(self, topic: bytes) -> None:
        """Wake who waits for it."""
        for waiter in self._waiting.get(topic, ()):
            waiter.heard.set()

    def wake(self, kind: bytes = b"") -> None:
        """Wake all, or all who wait for one kind of thing."""
        for topic, waiting in self._waiting.items():
            if topic.startswith(kind):
                for waiter in waiting:
                    waiter.heard.set()
