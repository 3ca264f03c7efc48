"""One module per library, named like it, written as a user of the library would write it. A module has:

    SYNC                    whether its client blocks; clients that await run on uvloop
    commands(processes)     the command lines that start a worker of so many processes
    Client                  the producer, see the protocol here

It is imported in the library's own environment only. To add a library: a module here and a line in `contenders.py`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Args = tuple[Any, ...]


class Client(Protocol):
    """A producer. `task` is "noop", "sleep" or "burn"."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def enqueue(self, task: str, *args: Any) -> object:
        """Enqueue one job and come back when the store has it."""

    async def enqueue_many(self, task: str, calls: Sequence[Args]) -> None:
        """Enqueue all of them in the best way the library offers."""

    async def call(self, task: str, *args: Any) -> object:
        """Enqueue, wait, and return the job's result. Not asked of libraries that keep none."""


@dataclass(frozen=True)
class Settings:
    """What the suite tells an adapter, in the producer and in the worker alike."""

    url: str
    concurrency: int
    processes: int
    flags: frozenset[str]
    """"reliable": survive a killed worker; "no-results": keep none; anything else belongs to the adapter."""

    @classmethod
    def from_environment(cls) -> Settings:
        """As `environment` put them there."""
        return cls(
            os.environ["PEERS_URL"],
            int(os.environ["PEERS_CONCURRENCY"]),
            int(os.environ["PEERS_PROCESSES"]),
            frozenset(os.environ["PEERS_FLAGS"].split()),
        )

    def environment(self) -> dict[str, str]:
        """The variables that hand these settings to another process."""
        return {
            "PEERS_URL": self.url,
            "PEERS_CONCURRENCY": str(self.concurrency),
            "PEERS_PROCESSES": str(self.processes),
            "PEERS_FLAGS": " ".join(sorted(self.flags)),
        }

    @property
    def reliable(self) -> bool:
        return "reliable" in self.flags

    @property
    def results(self) -> bool:
        return "no-results" not in self.flags


def script(name: str) -> str:
    """The path of a console script of this environment."""
    return str(Path(sys.executable).parent / name)


def module_worker(adapter: str, processes: int) -> list[list[str]]:
    """For libraries whose worker is started from code: the adapter's own `__main__`, once per process."""
    return [[sys.executable, "-m", adapter]] * processes


def slices(calls: Sequence[Args], size: int) -> Iterator[Sequence[Args]]:
    """The calls in portions."""
    return (calls[start : start + size] for start in range(0, len(calls), size))


async def in_flight(enqueue: Callable[..., Awaitable[object]], task: str, calls: Sequence[Args], at_once: int) -> None:
    """Bulk for libraries without a bulk call: so many single calls at once."""
    for portion in slices(calls, at_once):
        await asyncio.gather(*(enqueue(task, *args) for args in portion))
