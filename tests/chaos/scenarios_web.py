"""J: what a web application does to its jobs."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import uvicorn
from evidence import now
from fastapi import FastAPI
from history import Told
from scenario import scenario
from stage import Stage, until

from windlass.fastapi import Accepted, JobAccepted

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset, at once."""


class Impatient:
    """An ASGI app around another: it cancels the handler as soon as its client is gone. `cut`: how many were cancelled."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.cut = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        handling = asyncio.ensure_future(self._app(scope, receive, send))
        leaving = asyncio.ensure_future(self._gone(receive))
        await asyncio.wait({handling, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        self.cut += handling.cancel()
        await asyncio.wait({handling})

    async def _gone(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


@asynccontextmanager
async def served(stage: Stage) -> AsyncGenerator[tuple[int, Impatient]]:
    """A web application that enqueues a job for each request: its port, and itself."""
    api, quick = FastAPI(), stage.app.get_task("quick")

    @api.post("/{number}", status_code=202)
    async def enqueue(number: int, accept: Accepted) -> JobAccepted:
        return await accept(quick.bind(number))

    app = Impatient(api)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        serving = asyncio.create_task(server.serve([listening]))
        await until(lambda: server.started)
        try:
            yield listening.getsockname()[1], app
        finally:
            server.should_exit = True
            await serving


async def post(port: int, number: int, stay: float | None) -> bytes:
    """Ask for job `number`, always with the same idempotency key; stay: seconds after which the client is gone, without a word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /{number} HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {number}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    try:
        writer.write(head.encode())
        await writer.drain()
        if stay is None:
            return (await reader.read()).partition(b"\r\n\r\n")[2]
        await asyncio.sleep(stay)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        return b""
    finally:
        writer.transport.abort()


@scenario(
    "J5",
    "Clients of a web application go away while it enqueues their jobs, and it cancels their handlers",
    "Each job is stored whole or not at all; the same request with the same Idempotency-Key answers the one job that there is.",
)
async def clients_leave(stage: Stage) -> None:
    stage.worker()
    async with served(stage) as (port, app):
        for number in range(50 * stage.scale):
            await post(port, number, stage.random.uniform(0, 0.004))
        stage.history.strike(now(), "clients gone")
        await until(lambda: app.cut)
        for number in range(50 * stage.scale):
            told = msgspec.json.decode(await post(port, number, None))
            stage.history.told[told["id"]] = Told(number)
    await stage.ended()
    found = (await (await stage.app.broker()).find(limit=1000 * stage.scale, scan=1000 * stage.scale)).jobs
    assert {job.id for job in found} == set(stage.history.told), "a request has left more than its one job"
