"""Commands and scripts to wherever the store is now: connects when needed, follows a cluster's moves, loads scripts that got lost."""

from __future__ import annotations

import asyncio
from typing import Any

import hiredis

from windlass.broker.redis.ear import Ear
from windlass.broker.redis.line import Line, LineLost
from windlass.broker.redis.place import ELSEWHERE, Place, first_word
from windlass.broker.redis.scripts import load
from windlass.errors import BrokerUnavailable

MOVES = 5
"""Redirections that are followed for one call."""


class NotDone(BrokerUnavailable):
    """The store was not reached, or did not want to for now: nothing happened."""


class Client:
    """One connection at a time, which is made anew by the first call after it was lost. For one event loop."""

    def __init__(self, url: str, name: str) -> None:
        self.place = Place(url)
        self.root = f"{{{name}}}:".encode()
        self.ear = Ear(self.root)
        self.open = False
        self._client_name = f"windlass:{name}".replace(" ", "_")
        self._scripts = load()
        self._line: Line | None = None
        self._connecting = asyncio.Lock()

    async def connect(self) -> Line:
        """The connection, once there is one."""
        async with self._connecting:
            if not self.open:
                raise NotDone(f"the store {self.place.shown} is not open: await broker.open() first")
            if self._line is None or self._line.lost or self._line.left:
                try:
                    made = await self.place.connect(self._client_name, self.ear.channel)
                    self._line = Line(made, self.ear.hear, self.ear.wake)
                except BrokerUnavailable as error:
                    raise NotDone(str(error)) from error
                except LineLost as error:
                    raise NotDone(f"{self.place.shown}: {error}") from error
            return self._line

    async def close(self) -> None:
        """Let every call that is under way be answered, then let go."""
        self.open = False
        self.ear.wake()
        async with self._connecting:
            line, self._line = self._line, None
        if line is not None:
            await line.close()

    async def call(self, verb: str, *args: Any) -> Any:
        """What the script `verb` answers. Raises `BrokerUnavailable` and other `BrokerError`."""
        script = self._scripts[verb]
        answer = await self._ask(b"EVALSHA", script.sha, 1, self.root, *args)
        if type(answer) is hiredis.ReplyError and first_word(answer) == "NOSCRIPT":
            answer = await self._ask(b"EVAL", script.text, 1, self.root, *args)
        return self._checked(answer)

    async def send(self, *command: Any) -> Any:
        """What the server answers to a command of its own."""
        return self._checked(await self._ask(*command))

    def _checked(self, answer: Any) -> Any:
        if type(answer) is not hiredis.ReplyError:
            return answer
        error = self.place.refused(str(answer))
        raise NotDone(str(error)) if isinstance(error, BrokerUnavailable) else error

    async def _ask(self, *command: Any) -> Any:
        """The answer, or the refusal."""
        answer: Any = None
        for _ in range(MOVES):
            line = self._line
            if line is None or line.lost or line.left or not self.open:
                line = await self.connect()
            if line.full:
                await line.ready()
            try:
                answer = await line.send(*command)
            except LineLost as error:
                raise BrokerUnavailable(f"{self.place.shown}: {error}; the call may have happened") from error
            if type(answer) is not hiredis.ReplyError:
                return answer
            word = first_word(answer)
            if word == "MOVED":
                self.place.redirect(str(answer))
            if word == "MOVED" or word in ELSEWHERE:
                line.leave()  # others may have been answered well before the change
            if word != "MOVED":
                return answer
        return answer
