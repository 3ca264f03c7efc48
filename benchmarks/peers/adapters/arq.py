"""arq. Polls every 500 ms by default; here 10 ms in the worker and 2 ms for a result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func

from peers import jobs
from peers.adapters import Args, Settings, in_flight, module_worker

SYNC = False
settings = Settings.from_environment()
redis = RedisSettings.from_dsn(settings.url)


def commands(processes: int) -> list[list[str]]:
    return module_worker("peers.adapters.arq", processes)


class Client:
    async def open(self) -> None:
        self.pool = await create_pool(redis)

    async def close(self) -> None:
        await self.pool.aclose()

    async def enqueue(self, task: str, *args: object) -> object:
        return await self.pool.enqueue_job(task, *args)

    async def enqueue_many(self, task: str, calls: Sequence[Args]) -> None:
        await in_flight(self.enqueue, task, calls, 100)

    async def call(self, task: str, *args: object) -> object:
        job = await self.pool.enqueue_job(task, *args)
        assert job is not None
        return await job.result(poll_delay=0.002)


def with_context(body: Callable[..., Awaitable[int]]) -> Callable[..., Awaitable[int]]:
    """arq hands each job a context first."""

    async def run(_context: dict[str, Any], *args: Any) -> int:
        return await body(*args)

    return run


async def main() -> None:
    options: dict[str, Any] = {"max_jobs": settings.concurrency, "poll_delay": 0.01}
    if not settings.results:
        options["keep_result"] = 0
    if settings.reliable:
        options["job_timeout"] = 10  # a dead worker's lock on a job lives for this and 10 s; 5 minutes by default
    functions = [func(with_context(body), name=name) for name, body in jobs.ASYNC.items()]
    await Worker(functions=functions, redis_settings=redis, **options).async_run()


if __name__ == "__main__":
    uvloop.run(main())
