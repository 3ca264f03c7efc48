"""saq. A result is polled every 500 ms by default; here every 2 ms."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvloop
from saq import Queue, Worker

from peers import jobs
from peers.adapters import Args, Settings, in_flight, module_worker

SYNC = False
settings = Settings.from_environment()
options: dict[str, Any] = {} if settings.results else {"ttl": -1}
if settings.reliable:
    options |= {"heartbeat": 5, "retries": 3}


def commands(processes: int) -> list[list[str]]:
    return module_worker("peers.adapters.saq", processes)


class Client:
    async def open(self) -> None:
        self.queue = Queue.from_url(settings.url)
        await self.queue.connect()

    async def close(self) -> None:
        await self.queue.disconnect()

    async def enqueue(self, task: str, *args: object) -> object:
        return await self.queue.enqueue(task, **jobs.named(task, args), **options)

    async def enqueue_many(self, task: str, calls: Sequence[Args]) -> None:
        await in_flight(self.enqueue, task, calls, 100)

    async def call(self, task: str, *args: object) -> object:
        return await self.queue.apply(task, poll_interval=0.002, **jobs.named(task, args), **options)


def with_context(body: Callable[..., Awaitable[int]]) -> Callable[..., Awaitable[int]]:
    """saq hands each job a context first."""

    async def run(_context: dict[str, Any], **arguments: Any) -> int:
        return await body(**arguments)

    return run


async def main() -> None:
    queue = Queue.from_url(settings.url)
    await queue.connect()
    timers = {"sweep": 1} if settings.reliable else None  # a minute by default
    functions = [(name, with_context(body)) for name, body in jobs.ASYNC.items()]
    await Worker(queue, functions=functions, concurrency=settings.concurrency, timers=timers).start()


if __name__ == "__main__":
    uvloop.run(main())
