"""Windlass, with its defaults but for the concurrency: results kept, leased, fenced. Nothing is switched off for speed or on for safety."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from peers import jobs
from peers.adapters import Args, Settings, slices
from windlass import Task, Windlass

SYNC = False
settings = Settings.from_environment()
app = Windlass(settings.url)
tasks: dict[str, Task[..., int, Any]] = {
    "noop": app.task(name="noop")(jobs.async_noop),
    "sleep": app.task(name="sleep")(jobs.async_sleep),
    "burn": app.task(name="burn", lane="process")(jobs.burn),  # as the docs advise for CPU
}


def commands(processes: int) -> list[list[str]]:
    command = [sys.executable, "-m", "windlass.cli.main", "worker", f"{__name__}:app", "--log-level", "warning"]
    if "process-lane" in settings.flags:
        return [[*command, "--processes", str(processes)]]
    return [[*command, "--concurrency", str(settings.concurrency), "--runners", str(processes)]]


class Client:
    async def open(self) -> None:
        await app.broker()

    async def close(self) -> None:
        await app.close()

    async def enqueue(self, task: str, *args: object) -> object:
        return await tasks[task].enqueue(*args)

    async def enqueue_many(self, task: str, calls: Sequence[Args]) -> None:
        bind = tasks[task].bind
        for portion in slices(calls, 500):
            await app.enqueue_many(bind(*args) for args in portion)

    async def call(self, task: str, *args: object) -> object:
        return await (await tasks[task].enqueue(*args))
