"""What a measurement has in its hands: one contender's client, its worker, the server between them, and the records of what ran."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from peers.adapters import Client, Settings
from peers.jobs import Record, Records
from peers.processes import Worker
from peers.servers import Redis

Figures = dict[str, float]
PATIENCE = 60.0
"""Seconds after which a measurement that has not come to its end is given up."""


class Failed(Exception):
    """A measurement that came to nothing, with the reason."""


class Bench:
    """One contender under measurement: its client here, its worker beside, the server between them."""

    def __init__(self, adapter: str, options: dict[str, float]) -> None:
        self.module = import_module(adapter)
        self.options = options
        self.settings = Settings.from_environment()
        self.redis = Redis(int(self.settings.url.rpartition(":")[2].partition("/")[0]))
        self.records = Records(Path(os.environ["PEERS_RECORDS"]))
        self.log = Path(os.environ["PEERS_LOG"])
        self.client: Client = self.module.Client()
        self.results = bool(int(os.environ["PEERS_RESULTS"]))

    def start(self, processes: int | None = None) -> Worker:
        """A worker, as a user starts one."""
        settings = self.settings if processes is None else replace(self.settings, processes=processes)
        return Worker(self.module.commands(settings.processes), settings.environment(), self.log)

    def clear(self) -> None:
        """An empty server, and nothing ran yet."""
        self.redis.clear()
        self.records.clear()

    async def until(self, enough: Callable[[], bool], worker: Worker, patience: float = PATIENCE) -> bool:
        """Look every 10 ms; whether it came to be in time. Raises when the worker ends by itself."""
        deadline = time.monotonic() + patience
        while not enough():
            if (code := worker.ended()) is not None:
                raise Failed(f"the worker ended by itself with {code}: {self.last_words()}")
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    async def ran(self, count: int, worker: Worker) -> list[Record]:
        """The records, once there are so many. Raises when they do not come."""
        if not await self.until(lambda: self.records.count() >= count, worker):
            raise Failed(f"{self.records.count():,} of {count:,} records after {PATIENCE:.0f} s: {self.last_words()}")
        return self.records.read()

    def last_words(self) -> str:
        """The end of the worker's log, in a line."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return " | ".join(lines[-3:])[-400:] or "it said nothing"
