"""ardiq (Rust core). On asyncio's own loop, as its command line runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ardiq import Ardiq

from peers import jobs
from peers.adapters import Args, Settings, module_worker, slices

SYNC = False
settings = Settings.from_environment()
options: dict[str, Any] = {"concurrency": settings.concurrency}
if not settings.results:
    options["result_ttl_ms"] = 0
if settings.reliable:
    options["idle_timeout_ms"] = 5000  # a minute by default
app = Ardiq(redis_url=settings.url, **options)
tasks = {name: app.task(name=name)(body) for name, body in jobs.ASYNC.items()}


def commands(processes: int) -> list[list[str]]:
    return module_worker("peers.adapters.ardiq", processes)


class Client:
    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def enqueue(self, task: str, *args: object) -> object:
        return await tasks[task].enqueue(*args)

    async def enqueue_many(self, task: str, calls: Sequence[Args]) -> None:
        prepare = tasks[task].prepare
        for portion in slices(calls, 1000):
            await app.enqueue_many([prepare(*args) for args in portion])

    async def call(self, task: str, *args: object) -> object:
        handle = await tasks[task].enqueue(*args)
        return (await handle.result(timeout=30)).value


if __name__ == "__main__":
    asyncio.run(app.run())
