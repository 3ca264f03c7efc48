"""taskiq with taskiq-redis, on streams; on a list with the flag "list". A result is polled every 200 ms by default; here every 2 ms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

from peers import jobs
from peers.adapters import Args, Settings, in_flight, script

SYNC = False
settings = Settings.from_environment()
options: dict[str, Any] = {"idle_timeout": 10_000} if settings.reliable else {}  # 10 minutes by default
broker = (
    ListQueueBroker(settings.url)
    if "list" in settings.flags
    else RedisStreamBroker(settings.url, consumer_id="0", **options)
)
if settings.results:
    broker = broker.with_result_backend(RedisAsyncResultBackend(settings.url, result_ex_time=600))
tasks = {name: broker.task(task_name=name)(body) for name, body in jobs.ASYNC.items()}


def commands(processes: int) -> list[list[str]]:
    command = [script("taskiq"), "worker", f"{__name__}:broker", "--log-level", "WARNING"]
    return [[*command, "--workers", str(processes), "--max-async-tasks", str(settings.concurrency)]]


class Client:
    async def open(self) -> None:
        await broker.startup()

    async def close(self) -> None:
        await broker.shutdown()

    async def enqueue(self, task: str, *args: object) -> object:
        return await tasks[task].kiq(*args)

    async def enqueue_many(self, task: str, calls: Sequence[Args]) -> None:
        await in_flight(self.enqueue, task, calls, 50)

    async def call(self, task: str, *args: object) -> object:
        handle = await tasks[task].kiq(*args)
        return (await handle.wait_result(check_interval=0.002)).return_value
