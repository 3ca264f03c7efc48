"""A line that fails: a TCP proxy which can lose an answer, go dead without a word, or be slow."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class _Line:
    """One connection through the proxy."""

    def __init__(self) -> None:
        self.dead = False
        self.losing = False


class Proxy:
    """Between clients and 127.0.0.1:`upstream`: `async with Proxy(port) as proxy: ...`.

    port: where it listens. delay: seconds that each answer takes longer. lost: answers that were lost so far.
    """

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._lines: dict[asyncio.Task[None], _Line] = {}
        self._losing: bytes | None = None
        self.delay = 0.0
        self.lost = 0
        self.port = 0

    def lose_answer(self, to: bytes) -> None:
        """The next request that holds these bytes arrives, its answer does not, and the connection ends."""
        self._losing = to

    def deaden(self) -> None:
        """From now on nothing arrives on the connections that there are, in either direction, and nobody is told."""
        for line in self._lines.values():
            line.dead = True

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._lines:
            task.cancel()
        if self._lines:
            await asyncio.wait(self._lines)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task, line = asyncio.current_task(), _Line()
        assert task is not None
        self._lines[task] = line
        writers = [writer]
        try:
            back, onward = await asyncio.open_connection("127.0.0.1", self._upstream)
            writers.append(onward)
            ways = [
                asyncio.ensure_future(self._ask(line, reader, onward)),
                asyncio.ensure_future(self._answer(line, back, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # the proxy is closed
        finally:
            del self._lines[task]
            for end in writers:
                end.transport.abort()  # and with it ends the other way

    async def _ask(self, line: _Line, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if self._losing is not None and self._losing in data:
                    self._losing, line.losing = None, True
                if not line.dead:
                    target.write(data)
                    await target.drain()

    async def _answer(self, line: _Line, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if line.losing:
                    self.lost += 1
                    return
                await asyncio.sleep(self.delay)
                if not line.dead:
                    target.write(data)
                    await target.drain()
