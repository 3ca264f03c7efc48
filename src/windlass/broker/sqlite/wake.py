"""Push between processes: whoever waits has a FIFO in the store's wake folder, and whoever commits writes into it what changed.

Nobody waits: the folder is empty, and nothing is written. A message may be lost (the pipe is full, the file system has no FIFOs):
every waiting call therefore looks again by itself once in a while.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from errno import ENXIO
from pathlib import Path
from uuid import uuid4

import msgspec

LOOK_AGAIN = 1.0
"""Seconds after which a waiting call looks by itself."""
LOOK_OFTEN = 0.1
"""The same where nobody can ring."""
PIPE = 65536
ATOMIC = 4096
"""Bytes that are written to a FIFO entirely or not at all (PIPE_BUF)."""
ALL = "*"
READY, CHANGED = "ready", "changed"
"""The two kinds of topics, the last part of a FIFO's name: queues where work became ready, jobs that are not as they were."""


class Ear:
    """One waiting call."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.heard = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Wait until it rings, at most `seconds`, and not much longer than what it would take to look by itself."""
        try:
            async with asyncio.timeout(min(seconds, self._patience)):
                await self.heard.wait()
        except TimeoutError:
            pass  # time to look
        self.heard.clear()


class Hall:
    """All calls of one event loop that wait for one kind of topic, behind one FIFO."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.ears: defaultdict[str, set[Ear]] = defaultdict(set)
        self.path = folder / f"{os.getpid()}-{uuid4().hex}.{kind}"
        self._ends: list[int] = []
        hidden = folder / f".{self.path.name}"
        try:
            _make_fifo(hidden)
            # A writing end of our own: without one, the pipe would be at its end whenever a bell-ringer closes.
            self._ends = [os.open(hidden, flags | os.O_NONBLOCK) for flags in (os.O_RDONLY, os.O_WRONLY)]
            hidden.rename(self.path)  # seen only now that it can be opened for writing
            self.loop.add_reader(self._ends[0], self._read)
        except (OSError, NotImplementedError):
            self.close()
            hidden.unlink(missing_ok=True)

    @property
    def patience(self) -> float:
        """How long a call may trust in being woken."""
        return LOOK_AGAIN if self._ends else LOOK_OFTEN

    def close(self) -> None:
        """Take the FIFO away."""
        if self._ends:
            self.loop.remove_reader(self._ends[0])
            self.path.unlink(missing_ok=True)
        for end in self._ends:
            os.close(end)
        self._ends = []
        try:
            self.path.parent.rmdir()
        except OSError:
            pass  # others wait

    def wake(self, topics: Collection[str]) -> None:
        """Wake all who wait for one of `topics`."""
        heard = self.ears if ALL in topics else topics
        for topic in heard:
            for ear in self.ears.get(topic, ()):
                ear.heard.set()

    def _read(self) -> None:
        try:
            message = os.read(self._ends[0], PIPE)
        except BlockingIOError:
            return
        if len(message) > PIPE - ATOMIC:  # it may have been full, and messages lost
            self.wake((ALL,))
            return
        for line in message.splitlines():
            try:
                self.wake(msgspec.json.decode(line, type=list[str]))
            except (msgspec.DecodeError, RecursionError):  # somebody else's
                self.wake((ALL,))


class Bell:
    """Lets calls wait for topics, and wakes them, here and in other processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._halls: dict[tuple[asyncio.AbstractEventLoop, str], Hall] = {}

    @contextmanager
    def listen(self, kind: str, topics: Sequence[str]) -> Generator[Ear]:
        """An ear for `topics`. Nothing that is committed from now on is missed."""
        at = asyncio.get_running_loop(), kind
        hall = self._halls.get(at) or self._halls.setdefault(at, Hall(self._folder, kind))
        ear = Ear(hall.patience)
        for topic in topics:
            hall.ears[topic].add(ear)
        try:
            yield ear
        finally:
            for topic in set(topics):
                hall.ears[topic].discard(ear)
                if not hall.ears[topic]:
                    del hall.ears[topic]
            if not hall.ears:
                hall.close()
                del self._halls[at]

    def ring(self, changes: Mapping[str, Collection[str]], *, here: bool = False) -> None:
        """Say, from any thread, what changed: for each kind, its topics. here: in this process only."""
        if not any(changes.values()):
            return
        own = set[str]()
        for (loop, kind), hall in list(self._halls.items()):
            own.add(hall.path.name)
            if topics := changes.get(kind):
                with suppress(RuntimeError):  # the loop was closed under it: nobody waits any more
                    loop.call_soon_threadsafe(hall.wake, topics)
        if here:
            return
        try:  # the folder is there while somebody waits; asking for it costs less than an error
            names = set(os.listdir(self._folder) if os.access(self._folder, os.R_OK) else ()) - own
        except OSError:
            return
        messages = {kind: _messages(list(topics)) for kind, topics in changes.items() if topics} if names else {}
        for name in names:
            kind = name.rpartition(".")[2]
            if kind in messages and not name.startswith("."):
                self._tell(self._folder / name, messages[kind])

    def _tell(self, path: Path, messages: Sequence[bytes]) -> None:
        try:
            end = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno == ENXIO:  # whoever waited is dead
                path.unlink(missing_ok=True)
            return
        try:
            for message in messages:
                os.write(end, message)
        except OSError:
            pass  # full, so that it will be read and taken for everything; or just closed
        finally:
            os.close(end)


def _make_fifo(path: Path) -> None:
    """Make a FIFO, and its folder, which others may be taking away just now."""
    for _ in range(10):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            return os.mkfifo(path, 0o600)
        except FileNotFoundError:
            continue
    raise FileNotFoundError(path)


def _messages(topics: Sequence[str]) -> list[bytes]:
    """`topics` in as few messages as can be written whole."""
    message = msgspec.json.encode(topics) + b"\n"
    if len(message) <= ATOMIC:
        return [message]
    if len(topics) == 1:
        return [msgspec.json.encode([ALL]) + b"\n"]
    half = len(topics) // 2
    return _messages(topics[:half]) + _messages(topics[half:])
