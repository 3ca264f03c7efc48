"""huey on Redis, with threads; with processes where the jobs need CPU (flag "processes")."""

from __future__ import annotations

from collections.abc import Sequence

from huey import RedisHuey

from peers import jobs
from peers.adapters import Args, Settings, script

SYNC = True
settings = Settings.from_environment()
app = RedisHuey("peers", url=settings.url, results=settings.results)
tasks = {name: app.task(name=name)(body) for name, body in jobs.SYNC.items()}


def commands(processes: int) -> list[list[str]]:
    command = [script("huey_consumer"), f"{__name__}.app", "--quiet", "--no-periodic"]
    if "processes" in settings.flags:
        return [[*command, "--worker-type", "process", "--workers", str(processes)]]
    return [[*command, "--worker-type", "thread", "--workers", str(settings.concurrency)]] * processes


class Client:
    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def enqueue(self, task: str, *args: object) -> object:
        return tasks[task](*args)

    async def enqueue_many(self, task: str, calls: Sequence[Args]) -> None:
        for args in calls:
            tasks[task](*args)

    async def call(self, task: str, *args: object) -> object:
        """Polls; with the shortest steps that pay."""
        return tasks[task](*args).get(blocking=True, timeout=30, backoff=1.0, max_delay=0.002)
