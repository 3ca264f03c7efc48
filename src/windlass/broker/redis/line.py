"""One connection to Redis: calls go out at once, one behind the other, and the answers come back in the same order.

redis-py opens the connection (TLS, AUTH, HELLO, SELECT); then this protocol takes its transport over. Many calls share one
connection, nobody waits for a free one, and what the server pushes (RESP3) arrives between the answers. A cancelled call does
no harm: its answer is dropped when it comes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.asyncio.connection import AbstractConnection

ANSWER_TIMEOUT = 10.0
"""Seconds without an answer after which a connection counts as dead."""

FAREWELL = 1.0
"""Seconds for the other side's part in closing (TLS)."""


class LineLost(ConnectionError):
    """The connection ended before the answer came: the call may have happened."""


class Line(asyncio.Protocol):
    """An open connection. `on_push` gets each message, `on_lost` is called once when the connection has ended.

    Raises `LineLost` when it has ended already.
    """

    def __init__(
        self, opened: AbstractConnection, on_push: Callable[[bytes], None], on_lost: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_push = on_push
        self._on_lost = on_lost
        self._replies = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._heard = True
        self._why = "the connection was closed"
        self._room: asyncio.Future[None] | None = None
        self._gone = asyncio.Event()
        self.lost = self.left = False
        # Taken over: redis-py shall think that its connection is gone. The writer must live as long as its transport.
        theirs = cast(Any, opened)
        self._writer: asyncio.StreamWriter = theirs._writer
        theirs._reader = theirs._writer = None
        self._transport = cast(asyncio.Transport, self._writer.transport)
        try:
            self._transport.set_protocol(self)
        except RuntimeError as error:  # uvloop's, when it is closed already
            raise LineLost(str(error)) from error
        if self._transport.is_closing():  # its end was told to redis-py
            raise LineLost(self._why)

    def send(self, *command: Any) -> asyncio.Future[Any]:
        """Send a command; the future is its answer, a `hiredis.ReplyError` when it was refused. Raises `LineLost` later, or now."""
        if self.lost:
            raise LineLost(self._why)
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(answer)
        try:
            self._transport.write(hiredis.pack_command(command))
        except RuntimeError as error:  # uvloop's, when it was closed just now
            self.drop(str(error))
            return answer
        if self._watch is None:
            self._heard = False
            self._watch = self._loop.call_later(ANSWER_TIMEOUT, self._look_at_the_time)
        return answer

    @property
    def full(self) -> bool:
        """Whether the server takes in less than we send."""
        return self._room is not None

    async def ready(self) -> None:
        """Wait until it is not full."""
        if self._room is not None:
            await asyncio.shield(self._room)

    def _look_at_the_time(self) -> None:
        """Nothing was heard since the last look, and somebody waits: the connection is dead."""
        self._watch = None
        if not self._waiting:
            return
        if not self._heard:
            self.drop(f"no answer within {ANSWER_TIMEOUT:g} s")
            return
        self._heard = False
        self._watch = self._loop.call_later(ANSWER_TIMEOUT, self._look_at_the_time)

    def drop(self, why: str) -> None:
        """End the connection now; all who wait for an answer are told."""
        if not self.lost:
            self._why = why
            self._transport.abort()
            self._end()

    def leave(self) -> None:
        """Send nothing more: the connection ends with the last answer that is due."""
        self.left = True
        if not self._waiting and not self.lost:
            self._transport.close()
            self._end()

    async def close(self) -> None:
        """Wait for the answers that are due, then end the connection."""
        due = list(self._waiting)
        self.leave()
        if due:
            await asyncio.wait(due)
        try:
            async with asyncio.timeout(FAREWELL):
                await self._gone.wait()
        except TimeoutError:
            self._transport.abort()

    def _end(self) -> None:
        self.lost = True
        if self._watch is not None:
            self._watch.cancel()
        self.resume_writing()
        while self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(LineLost(self._why))
                answer.exception()  # whoever asked may be gone
        self._on_lost()

    # --- called by the event loop

    def data_received(self, data: bytes) -> None:
        self._heard = True
        replies = self._replies
        replies.feed(data)
        try:
            while (reply := replies.gets()) is not False:
                if type(reply) is hiredis.PushNotification:
                    if reply[0] == b"message":
                        self._on_push(reply[2])
                    continue
                answer = self._waiting.popleft()
                if not answer.done():
                    answer.set_result(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            self.drop(f"what came is not Redis' protocol: {error}")
        if self.left:
            self.leave()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        if not self.lost:
            self._why = f"the connection was lost: {exc}" if exc else "the server closed the connection"
            self._end()

    def pause_writing(self) -> None:
        if self._room is None:
            self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._room is not None:
            self._room.set_result(None)
            self._room = None
