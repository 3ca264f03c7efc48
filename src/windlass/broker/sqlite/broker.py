"""`SqliteBroker`: the port's verbs over one file. Each hands its call to the thread that writes or to the one that reads."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from math import inf
from typing import TypeVar

from windlass.broker.sqlite import gates, history, letters, looks, presence, putting, verbs
from windlass.broker.sqlite.place import MEMORY, Place, file_system
from windlass.broker.sqlite.schema import SAFE
from windlass.broker.sqlite.wake import ALL, CHANGED, READY, Bell
from windlass.broker.sqlite.writer import Desk, Verb, Writer
from windlass.core.gates import LimitInfo
from windlass.core.job import (
    SCAN,
    Card,
    Claim,
    Duty,
    Entry,
    Found,
    Job,
    JobId,
    NewJob,
    Placed,
    Pulse,
    QueueInfo,
    Reading,
    Ready,
    StoreInfo,
    Worker,
)
from windlass.core.measures import Fault, Mark, Report, Rollup
from windlass.core.outcome import Outcome
from windlass.core.state import State
from windlass.errors import BrokerUnavailable

I = TypeVar("I")  # noqa: E741  # what a verb is asked
R = TypeVar("R")  # what it answers

SOON = 1.0
"""Seconds that a promote waits for the next job that a limit lets pass; who waits longer would hear of nothing else."""


class SqliteBroker:
    """Jobs in a SQLite file, shared by any number of processes of one machine.

    url: `sqlite:///relative/path.db` or `sqlite:////absolute/path.db`. With `?synchronous=FULL`, the default, what was accepted
    survives a power cut; with `?synchronous=NORMAL` it survives the death of any process, but a power cut takes everything since
    the last checkpoint: commits are faster, as none waits for the disk.
    name: each app has a file of its own; an app called "shop" that is given `jobs.db` lives in `jobs.shop.db`.
    clock: the store's clock, Unix seconds; may be assigned, to travel in time.
    """

    def __init__(self, url: str, name: str = "windlass", *, clock: Callable[[], float] = time.time) -> None:
        self._place = Place.of(url, name)
        self.clock = clock
        self._bell = Bell(self._place.beside("-wake"))
        self._desks: tuple[Writer, Desk] | None = None
        self._opening = asyncio.Lock()
        self._process = 0
        self._wakes = 0

    # --- life -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        async with self._opening:
            if self._desks is not None:
                self._open_desks()
                return
            writer, reader = Writer(self._place, self._now, self._bell), Desk(self._place, self._now)
            await writer.open()
            try:
                await reader.open()
            except BaseException:
                await writer.close()
                raise
            self._desks, self._process = (writer, reader), os.getpid()

    async def close(self) -> None:
        async with self._opening:
            if self._desks is None or self._process != os.getpid():
                return
            (writer, reader), self._desks = self._desks, None
            self._bell.ring({READY: (ALL,), CHANGED: (ALL,)}, here=True)
            await reader.close()
            await writer.close()

    async def describe(self) -> StoreInfo:
        found = await self._write(looks.pragmas, None)
        full, disk = found["synchronous"] >= 2, file_system(self._place.path.parent)
        remarks = list[str]()
        if not full:
            remarks.append("synchronous=NORMAL: a power cut loses what was accepted since the last checkpoint")
        if disk in MEMORY:
            remarks.append(f"it is in memory ({disk}): every job is gone when the machine restarts; put it on a disk")
        if disk == "overlay":
            remarks.append(
                "it is on an overlay, as a container's own files are: gone with the container; put it on a volume"
            )
        if sqlite3.sqlite_version_info < SAFE:
            remarks.append(
                f"SQLite {sqlite3.sqlite_version} is older than {'.'.join(map(str, SAFE))} and could damage a log that several connections"
                " checkpoint at once; Windlass lets only one do it. Let no other program write to the file"
            )
        return StoreInfo(
            kind="sqlite",
            place=str(self._place.path),
            version=sqlite3.sqlite_version,
            survives=("process crash", "power cut") if full and disk not in MEMORY else ("process crash",),
            remarks=tuple(remarks),
            details={
                "synchronous": "FULL" if full else "NORMAL",
                "journal_mode": found["journal_mode"],
                "file_system": disk or "?",
                "schema": found["user_version"],
                "bytes": found["page_count"] * found["page_size"],
                "log_bytes": found["log_bytes"],
            },
        )

    async def now(self) -> float:
        self._open_desks()
        return self.clock()

    def _now(self) -> float:
        return self.clock()

    def _open_desks(self) -> tuple[Writer, Desk]:
        if self._desks is None:
            raise BrokerUnavailable(f"the store {self._place.path} is not open: await broker.open() first")
        if self._process != os.getpid():
            raise self._place.forked()
        return self._desks

    async def _write(self, verb: Verb[I, R], item: I) -> R:
        return await self._open_desks()[0].call(verb, item)

    async def _look(self, verb: Verb[I, R], item: I) -> R:
        return await self._open_desks()[1].call(verb, item)

    # --- work -------------------------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[NewJob], *, now: float | None = None) -> list[Placed]:
        return await self._write(putting.enqueue, (jobs, now)) if jobs else []

    async def claim(
        self,
        queues: Sequence[str],
        room: Mapping[str, int],
        worker: str,
        *,
        wait: float = 0.0,
        now: float | None = None,
    ) -> list[Claim]:
        wakes = self._wakes

        def enough(claims: list[Claim]) -> bool:
            return bool(claims) or self._wakes != wakes

        look = partial(self._write, letters.claim, (queues, room, worker, now))
        return await self._until(look, enough, READY, queues, wait)

    def wake(self) -> None:
        self._wakes += 1
        self._bell.ring({READY: (ALL,)}, here=True)

    async def settle(
        self, pairs: Sequence[tuple[Claim, Outcome]], *, now: float | None = None
    ) -> tuple[list[bool], list[Ready]]:
        return await self._write(letters.settle, (pairs, now)) if pairs else ([], [])

    async def beat(self, worker: str, card: Card, ttl: float, *, now: float | None = None) -> Pulse:
        return await self._write(presence.beat, (worker, card, ttl, now))

    async def append(self, pairs: Sequence[tuple[Claim, Sequence[Entry]]], *, now: float | None = None) -> list[bool]:
        return await self._write(verbs.append, pairs) if pairs else []

    async def read(
        self, job: JobId, *, after: int = 0, wait: float = 0.0, seen: tuple[State, int] | None = None
    ) -> Reading | None:
        def enough(reading: Reading | None) -> bool:
            if reading is None or reading.entries or reading.end:
                return True
            return seen is not None and seen != (reading.state, reading.attempt)

        return await self._until(partial(self._look, looks.read, (job, after)), enough, CHANGED, [job], wait)

    async def _until(
        self,
        look: Callable[[], Awaitable[R]],
        enough: Callable[[R], bool],
        kind: str,
        topics: Sequence[str],
        wait: float,
    ) -> R:
        """What `look` finds, once that is enough, `wait` seconds are over or the broker is closed; looks whenever a topic rings."""
        found = await look()
        if enough(found) or wait <= 0:
            return found
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        with self._bell.listen(kind, topics) as ear:
            while self._desks is not None:
                found = await look()
                left = end - loop.time()
                if enough(found) or left <= 0:
                    break
                await ear.wait(left)
        return found

    # --- upkeep -----------------------------------------------------------------------------------------------

    async def promote(self, limit: int = 1000, *, wait: float = 0.0, now: float | None = None) -> list[Ready]:
        ready = await self._write(letters.promote, (limit, now))
        if ready or wait <= 0 or now is not None:
            return ready
        # Nobody tells us of anything, but when a limit lets the next one pass is known, and its rate would suffer if we looked too rarely.
        opens = await self._look(gates.opens, None)
        if opens is None or (left := opens - self.clock()) > min(wait, SOON):
            return []
        await asyncio.sleep(left)
        return [] if self._desks is None else await self._write(letters.promote, (limit, now))

    async def reclaim(
        self,
        limit: int = 1000,
        *,
        workers: Sequence[str] | None = None,
        gap: float = inf,
        grace: float = 0.0,
        now: float | None = None,
    ) -> list[Ready]:
        return await self._write(letters.reclaim, (limit, workers, gap, grace, now))

    async def prune(self, limit: int = 1000, *, now: float | None = None) -> int:
        return await self._write(verbs.prune, (limit, now))

    # --- looking and steering ---------------------------------------------------------------------------------

    async def get(self, ids: Sequence[JobId]) -> list[Job | None]:
        return await self._look(looks.get, ids) if ids else []

    async def find(
        self,
        *,
        states: Collection[State] = (),
        queue: str | None = None,
        task: str | None = None,
        key: str | None = None,
        root: JobId | None = None,
        before: JobId | None = None,
        after: JobId | None = None,
        limit: int = 50,
        scan: int = SCAN,
    ) -> Found:
        which = {"queue = ?": queue, "task = ?": task, "key = ?": key, "root = ?": root}
        filters = {**which, "id < ?": before, "id > ?": after}
        return await self._look(looks.find, (states, filters, min(limit, scan), scan))

    async def tally(self) -> list[QueueInfo]:
        return await self._look(looks.tally, None)

    async def cancel(self, ids: Sequence[JobId], *, now: float | None = None) -> dict[JobId, State]:
        return await self._write(letters.cancel, (ids, now)) if ids else {}

    async def revive(self, ids: Sequence[JobId], *, now: float | None = None) -> list[Ready]:
        return await self._write(letters.revive, (ids, now)) if ids else []

    async def forget(self, ids: Sequence[JobId], *, now: float | None = None) -> list[JobId]:
        return await self._write(letters.forget, (ids, now)) if ids else []

    async def deliver(self, job: JobId, name: str, data: bytes, *, now: float | None = None) -> bool:
        return await self._write(letters.deliver, (job, name, data, now))

    async def pause(self, queue: str, paused: bool = True, *, now: float | None = None) -> None:
        await self._write(verbs.pause, (queue, paused, now))

    async def limits(
        self,
        names: Sequence[tuple[str, str]] | None = None,
        *,
        after: tuple[str, str] | None = None,
        limit: int = 50,
        now: float | None = None,
    ) -> list[LimitInfo]:
        return await self._look(gates.limits, (names, after, limit, now))

    async def workers(self, *, now: float | None = None) -> list[Worker]:
        return await self._look(presence.workers, now)

    async def wish(
        self, worker: str, state: Duty | None = None, stacks: float | None = None, *, now: float | None = None
    ) -> bool:
        return await self._write(presence.wish, (worker, state, stacks, now))

    # --- the history and the book -----------------------------------------------------------------------------

    async def record(self, writer: str, number: int, report: Report, *, now: float | None = None) -> bool:
        return await self._write(history.record, (writer, number, report, now))

    async def series(
        self, step: int, since: float, until: float, *, queue: str | None = None, task: str | None = None
    ) -> list[Rollup]:
        return await self._look(history.series, (step, since, until, queue, task))

    async def faults(self, limit: int = 50, *, before: tuple[float, str] | None = None) -> list[Fault]:
        return await self._look(history.faults, (limit, before))

    async def mark(self, fingerprints: Sequence[str], state: Mark, until: float = 0.0) -> list[str]:
        return await self._write(history.mark, (fingerprints, state, until))

    async def put(self, shelf: str, name: str, data: bytes, most: int | None = None) -> None:
        await self._write(history.put, (shelf, name, data, most))

    async def leaf(self, shelf: str, name: str) -> bytes | None:
        return await self._look(history.leaf, (shelf, name))

    async def leaves(
        self, shelf: str, *, after: str | None = None, limit: int = 50, newest_first: bool = False
    ) -> list[tuple[str, bytes]]:
        return await self._look(history.leaves, (shelf, after, limit, newest_first))

    async def remove(self, shelf: str, name: str) -> bool:
        return await self._write(history.remove, (shelf, name))
