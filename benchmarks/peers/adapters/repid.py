"""repid on Redis streams. It keeps no results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import uvloop
from repid import RedisServer, Repid, Router

from peers import jobs
from peers.adapters import Args, Settings, in_flight, module_worker

SYNC = False
settings = Settings.from_environment()
options: dict[str, Any] = {"claim_interval": 1.0, "min_idle_ms": 5000} if settings.reliable else {}
app = Repid(title="peers", version="1")
app.servers.register_server("default", RedisServer(settings.url, **options), is_default=True)
router = Router()


@router.actor
async def noop(number: int) -> None:
    await jobs.async_noop(number)


@router.actor
async def sleep(number: int, seconds: float) -> None:
    await jobs.async_sleep(number, seconds)


@router.actor
async def burn(number: int) -> None:
    await jobs.async_burn(number)


app.include_router(router)


def commands(processes: int) -> list[list[str]]:
    return module_worker("peers.adapters.repid", processes)


class Client:
    async def open(self) -> None:
        self.connection = app.servers.default.connection()
        await self.connection.__aenter__()

    async def close(self) -> None:
        await self.connection.__aexit__(None, None, None)

    async def enqueue(self, task: str, *args: object) -> object:
        return await app.send_message_json(channel="default", payload=jobs.named(task, args), headers={"topic": task})

    async def enqueue_many(self, task: str, calls: Sequence[Args]) -> None:
        await in_flight(self.enqueue, task, calls, 100)

    async def call(self, task: str, *args: object) -> object:
        raise NotImplementedError("repid keeps no results")


async def main() -> None:
    async with app.servers.default.connection():
        await app.run_worker(tasks_limit=settings.concurrency)


if __name__ == "__main__":
    uvloop.run(main())
