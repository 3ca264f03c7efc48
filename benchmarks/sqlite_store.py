"""How fast the SQLite broker is, beside a bare probe in the same run: `python benchmarks/sqlite_store.py [--folder DIR] [--busy]`.

The probe is the least that keeps the same safety (synchronous=FULL, fenced, results kept): one writer thread, group commit, and no
keys, lanes, counts, leases or listeners. Both sides run in the folder given (its disk is what is measured), in turns, and the medians
of three rounds are printed. --busy keeps the event loop's thread busy meanwhile, as running jobs would.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import queue
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from windlass.broker.sqlite.broker import SqliteBroker
from windlass.core.ids import new_id
from windlass.core.job import Card, NewJob
from windlass.core.outcome import Succeeded

ONE, CALLERS, EACH, BULK, BATCH = 1500, 32, 400, 60, 200
BODY = b'{"v":1,"args":{"name":"' + b"x" * 60 + b'"}}'

try:
    from uvloop import run
except ImportError:
    run = asyncio.run


def job() -> NewJob:
    return NewJob(id=new_id(), task="bench.noop", body=BODY)


class Probe:
    """The bare limit."""

    def __init__(self, path: Path) -> None:
        self.path, self.calls, self.number = path, queue.SimpleQueue[Any](), 0

    async def open(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    async def close(self) -> None:
        self.calls.put(None)
        await asyncio.to_thread(self.thread.join)

    def serve(self) -> None:
        con = sqlite3.connect(self.path, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000"):
            con.execute(f"PRAGMA {pragma}")
        con.execute(
            "CREATE TABLE IF NOT EXISTS job (id TEXT PRIMARY KEY, queue TEXT, state INTEGER, priority INTEGER, place INTEGER, body BLOB,"
            " attempt INTEGER DEFAULT 0, token INTEGER DEFAULT 0, worker TEXT, result BLOB) WITHOUT ROWID"
        )
        con.execute("CREATE INDEX IF NOT EXISTS ready ON job (queue, priority, place) WHERE state = 1")
        while True:
            group = [self.calls.get()]
            try:
                while len(group) < 512:
                    group.append(self.calls.get_nowait())
            except queue.Empty:
                pass
            if None in group:
                con.close()
                return
            con.execute("BEGIN IMMEDIATE")
            done = [(future, work(con, *values)) for work, values, future in group]
            con.execute("COMMIT")
            self.loop.call_soon_threadsafe(self.answer, done)

    @staticmethod
    def answer(done: list[tuple[asyncio.Future[Any], Any]]) -> None:
        for future, value in done:
            future.set_result(value)

    def call(self, work: Callable[..., Any], *values: Any) -> asyncio.Future[Any]:
        future = self.loop.create_future()
        self.calls.put((work, values, future))
        return future

    async def enqueue(self, jobs: list[NewJob]) -> None:
        rows = []
        for new in jobs:
            self.number += 1
            rows.append((new.id, new.queue, new.priority, self.number, new.body))
        await self.call(self._insert, rows)

    @staticmethod
    def _insert(con: sqlite3.Connection, rows: list[Any]) -> None:
        con.executemany(
            "INSERT OR IGNORE INTO job (id, queue, state, priority, place, body) VALUES (?, ?, 1, ?, ?, ?)", rows
        )

    async def claim(self, most: int) -> list[Any]:
        return await self.call(self._claim, most)

    @staticmethod
    def _claim(con: sqlite3.Connection, most: int) -> list[Any]:
        return con.execute(
            "UPDATE job SET state = 2, attempt = attempt + 1, token = token + 1, worker = 'w' WHERE id IN (SELECT id FROM job WHERE"
            " queue = 'default' AND state = 1 ORDER BY queue, priority, place LIMIT ?) RETURNING id, token, body",
            (most,),
        ).fetchall()

    async def settle(self, jobs: list[Any]) -> None:
        await self.call(self._settle, [(b"null", job[0], job[1]) for job in jobs])

    @staticmethod
    def _settle(con: sqlite3.Connection, rows: list[Any]) -> None:
        con.executemany(
            "UPDATE job SET state = 3, result = ?, worker = NULL WHERE id = ? AND token = ? AND state = 2", rows
        )


class Store:
    """The broker behind the same four calls."""

    def __init__(self, path: Path) -> None:
        self.broker = SqliteBroker(f"sqlite:///{path}")
        self.enqueue: Callable[[list[NewJob]], Awaitable[Any]] = self.broker.enqueue

    async def open(self) -> None:
        await self.broker.open()
        await self.broker.beat("w", Card(host="here", pid=os.getpid()), 3600)

    async def close(self) -> None:
        await self.broker.close()

    async def claim(self, most: int) -> list[Any]:
        return await self.broker.claim(["default"], {"loop": most}, "w")

    async def settle(self, jobs: list[Any]) -> None:
        applied, _ = await self.broker.settle([(claim, Succeeded(b"null")) for claim in jobs])
        assert all(applied)


async def drain(side: Probe | Store) -> int:
    """Claim and settle until nothing is left, the settle of a batch beside the claim of the next."""
    done, settling = 0, None
    while jobs := await side.claim(BATCH):
        if settling:
            await settling
        settling = asyncio.ensure_future(side.settle(jobs))
        done += len(jobs)
    if settling:
        await settling
    return done


async def busy(stop: asyncio.Event) -> None:
    """Work for the loop's thread, a millisecond at a time."""
    while not stop.is_set():
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(0)


async def measure(side: Probe | Store, burden: bool) -> dict[str, float]:
    await side.open()
    stop = asyncio.Event()
    load = asyncio.create_task(busy(stop)) if burden else None
    rates, start = {}, time.perf_counter()

    def lap(name: str, jobs: int) -> None:
        nonlocal start
        rates[name] = jobs / (time.perf_counter() - start)
        start = time.perf_counter()

    one = ONE // 10 if burden else ONE
    for _ in range(one):
        await side.enqueue([job()])
    lap("one by one", one)

    async def caller() -> None:
        for _ in range(EACH // (10 if burden else 1)):
            await side.enqueue([job()])

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    lap(f"{CALLERS} callers", CALLERS * (EACH // (10 if burden else 1)))
    batches = [[job() for _ in range(500)] for _ in range(BULK)]
    start = time.perf_counter()
    for batch in batches:
        await side.enqueue(batch)
    lap("bulk of 500", BULK * 500)
    lap(f"claim + settle of {BATCH}", await drain(side))
    stop.set()
    if load:
        await load
    await side.close()
    return rates


# --- several processes --------------------------------------------------------------------------------------


def drainer(path: Path, name: str, go: Any, jobs: Any) -> None:
    """A process that drains; puts how many jobs it had."""

    async def main() -> None:
        store = Store(path)
        await store.open()
        await store.broker.beat(name, Card(host="here", pid=os.getpid()), 3600)
        await asyncio.to_thread(go.wait)
        done, settling = 0, None
        while claims := await store.broker.claim(["default"], {"loop": BATCH}, name):
            if settling:
                await settling
            settling, done = asyncio.ensure_future(store.settle(claims)), done + len(claims)
        if settling:
            await settling
        jobs.put(done)
        await store.close()

    run(main())


def crowd(folder: Path, processes: int, jobs: int = 60_000) -> tuple[float, list[int]]:
    """Jobs a second that so many processes drain from one file together, and how many each had."""
    path = folder / f"crowd{processes}.db"

    async def fill() -> None:
        store = Store(path)
        await store.open()
        for _ in range(jobs // 500):
            await store.enqueue([job() for _ in range(500)])
        await store.close()

    run(fill())
    context = multiprocessing.get_context("spawn")
    go, results = context.Event(), context.Queue()
    crew = [context.Process(target=drainer, args=(path, f"w{n}", go, results)) for n in range(processes)]
    for one in crew:
        one.start()
    time.sleep(3)
    start = time.perf_counter()
    go.set()
    shares = [results.get() for _ in crew]
    rate = jobs / (time.perf_counter() - start)
    for one in crew:
        one.join()
    assert sum(shares) == jobs, shares
    return rate, shares


def waiter(path: Path, pipe: Any) -> None:
    """A process that waits for jobs, and says when it has one."""

    async def main() -> None:
        broker = SqliteBroker(f"sqlite:///{path}")
        await broker.open()
        await broker.beat("w", Card(host="here", pid=os.getpid()), 3600)
        pipe.send("ready")
        while True:
            claims = await broker.claim(["default"], {"loop": 1}, "w", wait=10)
            pipe.send(time.perf_counter())
            if not claims or claims[0].task == "bench.stop":
                break
            await broker.settle([(claims[0], Succeeded(b"null"))])
        await broker.close()

    run(main())


def wake(folder: Path, rounds: int = 300) -> tuple[list[float], list[float]]:
    """Seconds from before an enqueue here, and from its answer, to the claim's answer in another process that waits."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    other = context.Process(target=waiter, args=(folder / "wake.db", theirs))
    other.start()
    whole, beyond = list[float](), list[float]()

    async def main() -> None:
        broker = SqliteBroker(f"sqlite:///{folder}/wake.db")
        await broker.open()
        await asyncio.to_thread(ours.recv)
        for number in range(rounds):
            await asyncio.sleep(0.01)
            new = NewJob(id=new_id(), task="bench.noop" if number < rounds - 1 else "bench.stop", body=BODY)
            start = time.perf_counter()
            await broker.enqueue([new])
            answered = time.perf_counter()
            got = await asyncio.to_thread(ours.recv)
            whole.append(got - start)
            beyond.append(got - answered)
        await broker.close()

    run(main())
    other.join()
    return whole, beyond


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="where the files go")
    parser.add_argument("--busy", action="store_true", help="keep the event loop busy")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--interval", type=float, help="sys.setswitchinterval, seconds")
    parser.add_argument("--alone", action="store_true", help="one process only")
    args = parser.parse_args()
    if args.interval:
        sys.setswitchinterval(args.interval)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        rounds = [
            [run(measure(side(folder / f"{side.__name__}{number}.db"), args.busy)) for side in (Probe, Store)]
            for number in range(args.rounds)
        ]
        print(f"SQLite {sqlite3.sqlite_version}, synchronous=FULL, jobs/s; median of {args.rounds}")
        print(f"{'':24}{'probe':>10}{'windlass':>10}{'ratio':>8}")
        for what in rounds[0][0]:
            probe, store = (statistics.median(one[side][what] for one in rounds) for side in (0, 1))
            print(f"{what:24}{probe:>10,.0f}{store:>10,.0f}{store / probe:>8.0%}")
        if args.alone:
            return
        whole, beyond = wake(folder)
        print(f"enqueue here -> claimed there, p50 {statistics.median(whole) * 1000:.2f} ms", end=", ")
        print(f"beyond the enqueue's answer {statistics.median(beyond) * 1000:.2f} ms")
        one, _ = crowd(folder, 1)
        eight, shares = crowd(folder, 8)
        print(
            f"drain by 1 process {one:,.0f}/s, by 8 {eight:,.0f}/s ({eight / one:.0%}), shares {min(shares)} to {max(shares)}"
        )


if __name__ == "__main__":
    main()
