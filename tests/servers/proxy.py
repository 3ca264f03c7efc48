"""A line that fails: a TCP proxy that can be slow, lose, cut, hold back, swallow or refuse what passes."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with RST, at once."""


@dataclass(frozen=True)
class _Cut:
    """What shall happen to the next request that holds `to`, or to its answer: `after` bytes pass, and the connection ends."""

    to: bytes
    answer: bool
    after: int = 0
    reset: bool = False


class _Way:
    """One direction of a connection. dead: what comes is swallowed. open: while it is not set, what comes is held back."""

    def __init__(self) -> None:
        self.dead = False
        self.open = asyncio.Event()
        self.open.set()


class Line:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.asking, self.answering = _Way(), _Way()
        self.cut: _Cut | None = None
        self.ends = [client]

    def clog(self) -> None:
        """Hold back whatever comes from now on, in both directions."""
        for way in (self.asking, self.answering):
            way.open.clear()

    def unclog(self) -> None:
        """Let it go on, with all that was held back."""
        for way in (self.asking, self.answering):
            way.open.set()

    def end(self, reset: bool = False) -> None:
        """End the connection at both ends, without a word or with a reset."""
        for end in self.ends:
            if reset:
                with suppress(OSError):  # it has ended by itself
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.transport.abort()


class Proxy:
    """Between clients and 127.0.0.1:`upstream`: `async with Proxy(port) as proxy: ...`.

    port: where it listens. upstream: may be changed, for connections to come. lines: the connections that there are, the oldest first.
    delay: seconds that each answer takes longer. sliced: each byte travels alone. blackhole: new connections are taken, and never answered.
    lost: requests and answers that were cut so far. taken: connections that were taken so far.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.delay = 0.0
        self.sliced = self.blackhole = False
        self.lost = self.taken = self.port = 0
        self._lines: dict[asyncio.Task[None], Line] = {}
        self._cut: _Cut | None = None

    @property
    def lines(self) -> list[Line]:
        return list(self._lines.values())

    # --- faults

    def lose_answer(self, to: bytes) -> None:
        """The next request that holds these bytes arrives, its answer does not, and the connection ends."""
        self._cut = _Cut(to, answer=True)

    def cut_answer(self, to: bytes, after: int, *, reset: bool = False) -> None:
        """The next request that holds these bytes arrives; of its answer so many bytes do, and the connection ends."""
        self._cut = _Cut(to, True, after, reset)

    def cut_request(self, to: bytes, after: int) -> None:
        """Of the next request that holds these bytes only so many bytes arrive, and the connection is reset."""
        self._cut = _Cut(to, False, after, reset=True)

    def deaden(self, *, asking: bool = True, answering: bool = True) -> None:
        """From now on nothing arrives on the connections that there are, in one or either direction, and nobody is told."""
        for line in self.lines:
            line.asking.dead |= asking
            line.answering.dead |= answering

    def reset(self) -> None:
        """Reset all connections."""
        for line in self.lines:
            line.end(reset=True)

    async def refuse(self) -> None:
        """Reset all connections, and take no new ones until `admit`."""
        self._server.close()
        self.reset()

    async def admit(self) -> None:
        """Take connections, at the same port as ever."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def swizzle(self, lines: Sequence[Line], seconds: float, chance: random.Random) -> None:
        """Clog these connections one by one, and unclog them in another order; all in so many seconds."""
        pause = seconds / (2 * len(lines))
        for line in chance.sample(lines, len(lines)):
            line.clog()
            await asyncio.sleep(pause)
        for line in chance.sample(lines, len(lines)):
            line.unclog()
            await asyncio.sleep(pause)

    # --- how it is done

    async def __aenter__(self) -> Proxy:
        await self.admit()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._lines:
            task.cancel()
        if self._lines:
            await asyncio.wait(self._lines)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task, line = asyncio.current_task(), Line(writer)
        assert task is not None
        self._lines[task] = line
        self.taken += 1
        try:
            if self.blackhole:
                line.asking.dead = True
                await self._pass(line, line.asking, reader, writer)
                return
            back, onward = await asyncio.open_connection("127.0.0.1", self.upstream)
            line.ends.append(onward)
            ways = [
                asyncio.ensure_future(self._pass(line, line.asking, reader, onward)),
                asyncio.ensure_future(self._pass(line, line.answering, back, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except (asyncio.CancelledError, OSError):
            pass  # the proxy is closed, or there is no server
        finally:
            del self._lines[task]
            line.unclog()
            line.end()  # and with it ends the other way

    async def _pass(self, line: Line, way: _Way, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                asking = way is line.asking
                if asking and (cut := self._cut) is not None and cut.to in data:
                    self._cut, line.cut = None, cut
                ends = line.cut is not None and line.cut.answer is not asking
                if not asking:
                    await asyncio.sleep(self.delay)
                await self._write(way, data[: line.cut.after] if ends and line.cut else data, target)
                if ends and line.cut:
                    self.lost += 1
                    line.end(line.cut.reset)
                    return

    async def _write(self, way: _Way, data: bytes, target: asyncio.StreamWriter) -> None:
        await way.open.wait()
        if way.dead:
            return
        for piece in (data[n : n + 1] for n in range(len(data))) if self.sliced else (data,):
            target.write(piece)
            await target.drain()
            await asyncio.sleep(0)  # who listens may have read it by now
