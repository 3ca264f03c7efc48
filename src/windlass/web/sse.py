"""Server-sent events (WHATWG HTML, section 9.2) over Starlette's StreamingResponse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from anyio import CancelScope
from msgspec import Struct, to_builtins
from pydantic_core import to_json
from starlette.responses import StreamingResponse
from starlette.types import Send

PING = 15.0
"""Seconds of silence after which a comment is sent, so that proxies keep the connection and a dead client is noticed."""

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class Message(Struct, frozen=True):
    """One event. `data` is anything that has a JSON form; `id` is what a client resumes after."""

    event: str
    data: Any
    id: int | None = None


def encode(message: Message) -> bytes:
    """A message as it goes over the wire. JSON holds no raw line break, so the data is one line."""
    head = b"" if message.id is None else b"id: %d\n" % message.id
    data = to_json(message.data, inf_nan_mode="null", fallback=to_builtins)
    return b"%bevent: %b\ndata: %b\n\n" % (head, message.event.encode(), data)


async def stream(messages: AsyncGenerator[Message], ping: float = PING) -> AsyncGenerator[bytes]:
    """The wire form of `messages`, with a comment in every `ping` seconds of silence. Closes `messages` at its end."""
    coming: asyncio.Task[Message | None] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(messages, None))
            await asyncio.wait({coming}, timeout=ping)
            if not coming.done():
                yield b": ping\n\n"
                continue
            message, coming = coming.result(), None
            if message is None:
                return
            yield encode(message)
    finally:
        with CancelScope(shield=True):  # Starlette cancels by scopes, which would cancel the clean-up as well
            if coming is not None:
                coming.cancel()
                await asyncio.wait({coming})
            await messages.aclose()


class EventStream(StreamingResponse):
    """A response that sends `messages` until they end or the client goes; then the iterator is closed, at once."""

    media_type = "text/event-stream"

    def __init__(self, messages: AsyncGenerator[Message], *, ping: float = PING) -> None:
        self._stream = stream(messages, ping)
        super().__init__(self._stream, headers=HEADERS)

    async def stream_response(self, send: Send) -> None:
        """Send it all."""
        try:
            await super().stream_response(send)
        finally:
            with CancelScope(shield=True):
                await self._stream.aclose()
