"""streaq, on uvloop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streaq import Worker

from peers import jobs
from peers.adapters import Args, Settings, module_worker, slices

SYNC = False
settings = Settings.from_environment()
options: dict[str, Any] = {"idle_timeout": 5} if settings.reliable else {}  # a minute by default
app = Worker(
    redis_url=settings.url, anyio_kwargs={"use_uvloop": True}, concurrency=settings.concurrency, **options
)  # fmt: skip
task_options: dict[str, Any] = {} if settings.results else {"ttl": 0}
tasks = {name: app.task(name=name, **task_options)(body) for name, body in jobs.ASYNC.items()}


def commands(processes: int) -> list[list[str]]:
    return module_worker("peers.adapters.streaq", processes)


class Client:
    async def open(self) -> None:
        await app.__aenter__()

    async def close(self) -> None:
        await app.__aexit__(None, None, None)

    async def enqueue(self, task: str, *args: object) -> object:
        return await tasks[task].enqueue(*args)

    async def enqueue_many(self, task: str, calls: Sequence[Args]) -> None:
        for portion in slices(calls, 1000):
            await app.enqueue_many([tasks[task].enqueue(*args) for args in portion])

    async def call(self, task: str, *args: object) -> object:
        handle = await tasks[task].enqueue(*args)
        return (await handle.result(30)).result


if __name__ == "__main__":
    app.run_sync()
