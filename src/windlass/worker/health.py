"""`Health`: tells others how a supervisor is, over HTTP on a Unix socket (there `windlass health` asks) and on a port, if one is wanted.

`/livez`: the supervisor's event loop turns; nobody else is asked. `/readyz`: it has what it needs to run jobs, or why not.
`/metrics`, where they are wanted: for Prometheus. The probes name no host, version or job: whoever can reach the port may read them.
The metrics name queues and tasks.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Awaitable, Callable

from windlass.errors import ConfigurationError
from windlass.worker import runtime

MOST_BYTES = 8192
"""The longest request."""
PATIENCE = 5.0
"""Seconds that an exchange may take."""
MOST_CONNECTIONS = 64
"""Open at once. Then the oldest gives way: a probe is done in a moment, so it is none."""
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}

Metrics = Callable[[], Awaitable[str]]

logger = logging.getLogger("windlass")


def parse(text: str) -> tuple[str, int]:
    """Host and port of "[HOST:]PORT", by default on this machine alone. Raises `ConfigurationError`."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16) or bool(colon) != bool(host):
        raise ConfigurationError(
            f"health {text!r} is no [HOST:]PORT (ports are 1 to 65535); write 8080 to be asked from this machine only,"
            " 0.0.0.0:8080 to be asked from others, or nothing to listen on no port"
        )
    return host or "127.0.0.1", int(port)


def asked(request: bytes) -> bytes:
    """The path that a request names; b"" when it is none."""
    words = request.partition(b"\r\n")[0].split(b" ")
    return words[1].partition(b"?")[0] if len(words) == 3 else b""


def answer(request: bytes, readiness: Callable[[], str], metrics: str | None = None) -> bytes:
    """The response to a request, of which all is here that will come.

    readiness: why it is not ready, "" when it is. metrics: None where there are none.
    """
    words, path = request.partition(b"\r\n")[0].split(b" "), asked(request)
    said, form = "", "charset=utf-8"
    if b"\r\n\r\n" not in request or len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        status = 400
    elif path not in (b"/livez", b"/readyz") and (path != b"/metrics" or metrics is None):
        status = 404
    elif words[0] not in (b"GET", b"HEAD"):
        status = 405
    elif path == b"/metrics":
        status, said, form = 200, metrics or "", "version=0.0.4; charset=utf-8"
    else:
        said = readiness() if path == b"/readyz" else ""
        status = 503 if said else 200
    body = (said or _REASONS[status].lower()).encode(errors="replace") + b"\n"
    head = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: text/plain; {form}",
        f"Content-Length: {len(body)}",
        *(["Allow: GET, HEAD"] if status == 405 else []),
        "Cache-Control: no-store",
        "Connection: close",
        "\r\n",
    ]
    return "\r\n".join(head).encode() + (b"" if words[0] == b"HEAD" else body)


class Health:
    """Answers probes until it is stopped. Every supervisor has one. metrics: gives the text for Prometheus, at most `PATIENCE` later."""

    def __init__(self, readiness: Callable[[], str], metrics: Metrics | None = None) -> None:
        self._servers: list[asyncio.Server] = []
        self._path = ""
        self._open: dict[_Exchange, None] = {}
        self._exchange = lambda: _Exchange(self._open, readiness, metrics)

    async def start(self, address: str = "") -> None:
        """Listen, also on `address` ("[HOST:]PORT"). Raises `ConfigurationError` when that cannot be had.

        A supervisor that cannot have its socket works without it, and warns.
        """
        if address:
            place = parse(address)
            try:
                self._servers.append(await asyncio.get_running_loop().create_server(self._exchange, *place))
            except OSError as error:
                raise ConfigurationError(f"health {address}: {_remedy(error)}") from None
        refused = []
        for folder in runtime.folders():
            try:
                self._path = await self._listen(folder)
                return
            except OSError as error:
                refused.append(str(error))
        logger.warning("`windlass health` cannot find this worker: %s; set $XDG_RUNTIME_DIR", "; ".join(refused))

    def stop(self) -> None:
        """Listen no more. What was asked and not answered yet never will be."""
        if self._path:
            runtime.remove(self._path)
        for server in self._servers:
            server.close()
        for exchange in list(self._open):
            exchange.abort()

    async def _listen(self, folder: str) -> str:
        """Open the socket. Only once it listens it gets the name by which it is found: one that refuses is a dead one."""
        runtime.make(folder)
        for _, path in runtime.sockets(folder):  # of those who could not remove their own
            try:
                if (line := runtime.reach(path, 0)) is not None:
                    line.close()
            except OSError:
                pass  # it lives, and is busy
        path = os.path.join(folder, runtime.name())
        hidden = f"{path}.new"
        self._servers.append(await asyncio.get_running_loop().create_unix_server(self._exchange, hidden))
        os.rename(hidden, path)
        return path


class _Exchange(asyncio.Protocol):
    """One request and its response. all: those that are open, the oldest first."""

    def __init__(self, all: dict[_Exchange, None], readiness: Callable[[], str], metrics: Metrics | None) -> None:
        self._all = all
        self._readiness = readiness
        self._metrics = metrics
        self._measuring: asyncio.Task[None] | None = None
        self._request = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._deadline = asyncio.get_running_loop().call_later(PATIENCE, self.abort)
        self._all[self] = None
        if len(self._all) > MOST_CONNECTIONS:
            next(iter(self._all)).abort()

    def data_received(self, data: bytes) -> None:
        self._request += data
        if b"\r\n\r\n" in self._request or len(self._request) > MOST_BYTES:
            if self._metrics is None or asked(self._request) != b"/metrics":
                self._say()
            elif self._measuring is None:
                self._measuring = asyncio.get_running_loop().create_task(self._measure(self._metrics))

    async def _measure(self, metrics: Metrics) -> None:
        self._say(await metrics())

    def _say(self, metrics: str | None = None) -> None:
        self._transport.write(answer(self._request, self._readiness, metrics))
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        if self._measuring is not None:
            self._measuring.cancel()
        self._all.pop(self, None)

    def abort(self) -> None:
        """Hang up; it counts no more, though the loop tells of its end only later."""
        self._all.pop(self, None)
        self._transport.abort()


def _remedy(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is in use, perhaps by another worker; give each a port of its own"
        case errno.EACCES:
            return "this user may not listen on it; take a port above 1023"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address; 0.0.0.0 means all it has"
        case _:
            return error.strerror or str(error)
