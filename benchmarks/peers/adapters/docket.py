"""docket (pydocket). Its worker looks for work every 5 ms here, not every 250 ms: it starts no more than its concurrency each time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import uvloop
from docket import Docket, Worker

from peers import jobs
from peers.adapters import Args, Settings, module_worker, slices

SYNC = False
settings = Settings.from_environment()


def commands(processes: int) -> list[list[str]]:
    return module_worker("peers.adapters.docket", processes)


def make_docket() -> Docket:
    """redis-py 8.1 limits a pool to 100 connections, and docket fails above it: the URL raises that limit."""
    options: dict[str, Any] = {} if settings.results else {"execution_ttl": timedelta(0)}
    return Docket(name="peers", url=f"{settings.url}?max_connections=2000", **options)


def register(docket: Docket) -> None:
    for name, body in jobs.ASYNC.items():
        docket.register(body, names=[name])


class Client:
    async def open(self) -> None:
        self.docket = await make_docket().__aenter__()
        register(self.docket)

    async def close(self) -> None:
        await self.docket.__aexit__(None, None, None)

    async def enqueue(self, task: str, *args: object) -> object:
        return await self.docket.add(task)(*args)

    async def enqueue_many(self, task: str, calls: Sequence[Args]) -> None:
        for portion in slices(calls, 1000):
            await self.docket.add_many([self.docket.call(task)(*args) for args in portion])

    async def call(self, task: str, *args: object) -> object:
        execution = await self.docket.add(task)(*args)
        return await execution.get_result(timeout=timedelta(seconds=30))


async def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    options: dict[str, Any] = {
        "concurrency": settings.concurrency,
        "minimum_check_interval": timedelta(milliseconds=5),
    }
    if settings.reliable:
        options["redelivery_timeout"] = timedelta(seconds=5)  # 5 minutes by default
    async with make_docket() as docket:
        register(docket)
        async with Worker(docket, **options) as worker:
            await worker.run_forever()


if __name__ == "__main__":
    uvloop.run(main())
