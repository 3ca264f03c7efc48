"""dramatiq, with threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from peers import jobs
from peers.adapters import Args, Settings, script

SYNC = True
settings = Settings.from_environment()
# By default a dead worker is looked for at one command in a thousand, and is one after a minute.
options: dict[str, Any] = {"heartbeat_timeout": 5000, "maintenance_chance": 100_000} if settings.reliable else {}
broker = RedisBroker(url=settings.url, **options)
if settings.results:
    broker.add_middleware(Results(backend=RedisBackend(url=settings.url), store_results=True))
dramatiq.set_broker(broker)
actors = {name: dramatiq.actor(body, actor_name=name) for name, body in jobs.SYNC.items()}


def commands(processes: int) -> list[list[str]]:
    return [[script("dramatiq"), __name__, "--processes", str(processes), "--threads", str(settings.concurrency)]]


class Client:
    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def enqueue(self, task: str, *args: object) -> object:
        return actors[task].send(*args)

    async def enqueue_many(self, task: str, calls: Sequence[Args]) -> None:
        for args in calls:
            actors[task].send(*args)

    async def call(self, task: str, *args: object) -> object:
        return actors[task].send(*args).get_result(block=True, timeout=30_000)
