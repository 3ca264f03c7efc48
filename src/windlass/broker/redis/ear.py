"""What a broker is told without asking: its channel, and the calls that wait for something to be said on it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from uuid import uuid4


class Waiter:
    """One waiting call. `said`: what was told beside the topic, until it is taken."""

    __slots__ = ("_heard", "_loop", "_waiting", "said")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heard = False
        self._waiting: asyncio.Future[None] | None = None
        self.said = b""

    def wake(self, said: bytes = b"") -> None:
        """Let it look."""
        self._heard, self.said = True, said
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Return when something was said since the last time, or after `seconds`."""
        if not self._heard:
            self._waiting = self._loop.create_future()
            timer = self._loop.call_later(seconds, self.wake)
            try:
                await self._waiting
            finally:
                timer.cancel()
                self._waiting = None
        self._heard = False

    def take(self) -> bytes:
        """What was said, once."""
        said, self.said = self.said, b""
        return said


def work(line: str) -> bytes:
    """The topic: work became ready in this line."""
    return b"r" + line.encode()


def job(stored: bytes) -> bytes:
    """The topic: something happened to the job of this id."""
    return b"j%c%b" % (len(stored), stored)


class Ear:
    """The waiting calls by their topics."""

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

    def hear(self, message: bytes) -> None:
        """Wake who waits for what this message is about."""
        length = 2 + message[1] if message.startswith(b"j") and len(message) > 1 else len(message)
        for waiter in self._waiting.get(message[:length], ()):
            waiter.wake(message[length:])

    def wake(self, kind: bytes = b"") -> None:
        """Wake all, or all who wait for one kind of topic."""
        for topic, waiting in self._waiting.items():
            if topic.startswith(kind):
                for waiter in waiting:
                    waiter.wake()
