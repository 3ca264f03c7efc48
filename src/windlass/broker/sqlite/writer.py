"""The threads that own the connections: one writes, all calls that wait in one commit; one reads, so that no look blocks a write.

Writers of all processes queue up at a lock file (`-lock`), so that SQLite's own polling for its lock never happens. Only one process,
elected by a second lock file (`-checkpointer`) that it holds as long as it lives, moves the write-ahead log into the file, and only
while it holds the write lock: SQLite before 3.51.3 can damage the log when several connections checkpoint at once.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar, cast

import msgspec

from windlass.broker.sqlite.locks import FileLock
from windlass.broker.sqlite.order import Order
from windlass.broker.sqlite.place import Place
from windlass.broker.sqlite.schema import PATIENCE, connect, migrations, prepare, sql
from windlass.broker.sqlite.wake import CHANGED, READY, Bell
from windlass.core.state import State
from windlass.errors import BrokerUnavailable, StoreCorrupt, WindlassError
from windlass.failpoints import failpoint

I = TypeVar("I")  # noqa: E741  # what a verb is asked
R = TypeVar("R")  # what it answers
T = TypeVar("T")

GROUP = 512
"""Calls in one commit, at most."""
TICK = 1.0
"""Seconds without a call after which a writer looks after the log."""
CHECKPOINT_EVERY, CHECKPOINT_FROM, TRUNCATE_FROM = 0.5, 4 << 20, 64 << 20
"""Seconds between checkpoints, and the size of the log (bytes) from which there are any, or it is cut."""


class Transaction:
    """What a verb works with: one connection inside one transaction, and what it leaves to be done once for the whole group."""

    def __init__(self, con: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self.con, self.clock = con, clock
        self.ready: set[str] = set()
        self.changed: list[str] = []
        self.order = Order(con)
        self.ended: list[Any] = []  # who is to be told: see `letters`
        self.gates: Any = None  # of the present verb, if it has to do with limits: see `gates`
        self._tally: Counter[tuple[str, State]] = Counter()

    def now(self, now: float | None) -> float:
        """The time that counts for a call."""
        return self.clock() if now is None else now

    def run(self, name: str, *values: object) -> sqlite3.Cursor:
        """Run a statement."""
        return self.con.execute(sql(name), values)

    def count(self, queue: str, state: State, jobs: int) -> None:
        """So many more (or fewer) jobs of a queue are in a state."""
        self._tally[queue, state] += jobs

    def finish(self) -> None:
        """Write what was left for the end."""
        assert not self.ended, "a verb ended a job and told nobody: see `letters`"
        self.order.save()
        if deltas := [(queue, state, jobs) for (queue, state), jobs in self._tally.items() if jobs]:
            self.run("tally_add", msgspec.json.encode(deltas).decode())


Undo = Callable[[R], "tuple[Verb[Any, Any], Any] | None"]


@dataclass(frozen=True, slots=True, eq=False)
class Verb(Generic[I, R]):
    """Something to do in a transaction, for all calls of a group at once: `run` answers each of the items.

    turn: the order within a group. undo: what makes up for an answer that nobody is there to take any more.
    durable: whether what it did must survive a power cut from its answer on.
    """

    run: Callable[[Transaction, list[I]], list[R]]
    turn: int = 1
    undo: Undo[R] = lambda _: None
    durable: bool = True

    @staticmethod
    def each(
        run: Callable[[Transaction, T], R], turn: int = 1, undo: Undo[R] = lambda _: None, durable: bool = True
    ) -> Verb[T, R]:
        """A verb that gains nothing from grouping."""
        return Verb(lambda tx, items: [run(tx, item) for item in items], turn, undo, durable)


NOTHING: Verb[None, None] = Verb.each(lambda tx, _: None)


@dataclass(slots=True, eq=False)
class Call:
    """One call of a verb, and where its answer goes."""

    verb: Verb[Any, Any]
    item: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    answer: Any = None
    error: Exception | None = None
    deadline: asyncio.TimerHandle | None = None


def _durable(calls: Sequence[Call]) -> bool:
    """Whether one of `calls` must survive a power cut."""
    return any(call.verb.durable for call in calls)


def _inode(path: Path) -> int:
    """Which file is there; 0: none."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


class Desk:
    """A thread that owns one connection and serves calls in their order. The reader is one of these."""

    group = 1

    def __init__(self, place: Place, clock: Callable[[], float]) -> None:
        self.place, self.clock = place, clock
        self.alone: AbstractContextManager[None] = nullcontext()
        self._calls: SimpleQueue[Call | None] = SimpleQueue()

    async def open(self) -> None:
        """Start; raises what makes the store unusable."""
        loop = asyncio.get_running_loop()
        opening, name = Call(NOTHING, None, loop, loop.create_future()), f"windlass-{type(self).__name__.lower()}"
        self._thread = threading.Thread(target=self._run, args=(opening,), name=name, daemon=True)
        self._thread.start()
        await opening.future

    async def close(self) -> None:
        """Serve the calls that wait already, and what makes up for them, then let go of the file."""
        with suppress(WindlassError):  # what could not be done was told to whoever asked
            await self.call(NOTHING, None)
        self._calls.put(None)
        await asyncio.to_thread(self._thread.join, PATIENCE)

    async def call(self, verb: Verb[I, R], item: I) -> R:
        """What the verb answers; raises `BrokerUnavailable` when it takes longer than anybody should wait."""
        return cast(R, await self._submit(verb, item))

    def _submit(self, verb: Verb[Any, Any], item: Any) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        call = Call(verb, item, loop, loop.create_future())
        call.deadline = loop.call_later(PATIENCE, self._give_up, call)
        self._calls.put(call)
        return call.future

    def _give_up(self, call: Call) -> None:
        if not call.future.done():
            call.future.set_exception(self.place.locked())

    def _hand_out(self, calls: Sequence[Call]) -> None:
        """In the callers' loop: hand out the answers."""
        for call in calls:
            if call.deadline:
                call.deadline.cancel()
            if not call.future.done():
                if call.error:
                    call.future.set_exception(call.error)
                else:
                    call.future.set_result(call.answer)
            elif call.error is None and (undo := call.verb.undo(call.answer)):
                self._submit(*undo).add_done_callback(lambda undone: undone.cancelled() or undone.exception())

    def _run(self, opening: Call) -> None:
        try:
            self.start()
        except Exception as error:
            opening.error = self.place.mapped(error)
        self._answer([opening])
        if opening.error is None:
            try:
                self._serve_all()
            finally:
                self.stop()

    def _serve_all(self) -> None:
        last = False
        while not last:
            try:
                first = self._calls.get(timeout=TICK)
            except Empty:
                self.tend(idle=True)
                continue
            if first is None:
                return
            calls = [first]
            try:
                with self.alone:
                    last = self._join(calls)
                    done = self._serve([call for call in calls if not call.future.done()])
                self.committed(done, calls)
            except Exception as error:
                # What was committed is not done again: its callers are told, and may ask what became of it.
                for call in calls:
                    call.error = call.error or self.place.mapped(error)
                self._answer(calls)
            self.tend(idle=False)

    def _join(self, calls: list[Call]) -> bool:
        """Add the calls that came meanwhile; answers whether they are the last."""
        with suppress(Empty):
            while len(calls) < self.group:
                call = self._calls.get_nowait()
                if call is None:
                    return True
                calls.append(call)
        return False

    def _serve(self, calls: list[Call]) -> list[Transaction]:
        """Do all calls in one transaction; when that fails, each in its own, so that no call pays for its neighbour."""
        try:
            return [self.transact(calls)] if calls else []
        except Exception as error:
            mapped = self.place.mapped(error)
            if len(calls) > 1 and not isinstance(mapped, BrokerUnavailable | StoreCorrupt):
                return [tx for call in calls for tx in self._serve([call])]
            for call in calls:
                call.error = mapped
            return []

    def _answer(self, calls: list[Call]) -> None:
        by_loop = defaultdict[asyncio.AbstractEventLoop, list[Call]](list)
        for call in calls:
            by_loop[call.loop].append(call)
        for loop, answered in by_loop.items():
            with suppress(RuntimeError):  # the loop was closed: nobody waits for this any more
                loop.call_soon_threadsafe(self._hand_out, answered)

    def transact(self, calls: list[Call]) -> Transaction:
        """All calls or none."""
        self.begin(calls)
        try:
            tx, by_verb = Transaction(self.con, self.clock), defaultdict[Verb[Any, Any], list[Call]](list)
            for call in calls:
                by_verb[call.verb].append(call)
            for verb in sorted(by_verb, key=lambda verb: verb.turn):
                alike = by_verb[verb]
                for call, answer in zip(alike, verb.run(tx, [call.item for call in alike]), strict=True):
                    call.answer = answer
            self.commit(tx)
        except BaseException:
            if self.con.in_transaction:  # SQLite itself rolls back after some errors
                self.con.execute("ROLLBACK")
            raise
        return tx

    def start(self) -> None:
        """Open the connection."""
        self.con = connect(self.place)

    def stop(self) -> None:
        """Close it."""
        self.con.close()

    def tend(self, idle: bool) -> None:
        """What is to be done between calls."""

    def begin(self, calls: Sequence[Call]) -> None:
        """Begin a transaction for `calls`."""
        self.con.execute("BEGIN")

    def commit(self, tx: Transaction) -> None:
        """End the transaction."""
        self.con.execute("COMMIT")

    def committed(self, done: Sequence[Transaction], calls: list[Call]) -> None:
        """What is to be done once `calls` have happened."""
        self._answer(calls)


class Writer(Desk):
    """The one thread of this process that writes."""

    group = GROUP

    def __init__(self, place: Place, clock: Callable[[], float], bell: Bell) -> None:
        super().__init__(place, clock)
        self._bell = bell
        self._log = place.beside("-wal")
        self._elected, self._synced, self._moved = False, place.full, False
        self._tended = 0.0

    def start(self) -> None:
        """Open the file, creating it or bringing it forward."""
        if self.place.beside("-lock") in FileLock.inherited:
            raise self.place.forked()
        self.place.check()
        self._lock = self.alone = FileLock(self.place.beside("-lock"), self.place.mode)
        self._office = FileLock(self.place.beside("-checkpointer"), self.place.mode)
        try:
            with self._lock:
                self.place.create()
                super().start()
                try:
                    prepare(self.con, self.place, migrations())
                except BaseException:
                    self.con.close()
                    raise
                self._files = self._inodes()
        except BaseException:
            self._lock.close()
            self._office.close()
            raise

    def _inodes(self) -> list[int]:
        """Which files are where ours should be."""
        return [_inode(self.place.beside(suffix)) for suffix in ("", "-wal", "-shm", "-lock", "-checkpointer")]

    def stop(self) -> None:
        """Close it; the last one to leave takes the log with it, under the lock like every checkpoint."""
        try:
            with self._lock:
                super().stop()
        finally:
            self._lock.close()
            self._office.close()

    def begin(self, calls: Sequence[Call]) -> None:
        """Begin a transaction, whose commit waits for the disk when one of `calls` must survive a power cut."""
        if self._moved:
            raise self.place.moved()
        synced = self.place.full and _durable(calls)
        if synced != self._synced:
            self.con.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            self._synced = synced
        # A read that turns into a write would fail at once when another wrote in between.
        self.con.execute("BEGIN IMMEDIATE")

    def commit(self, tx: Transaction) -> None:
        """Count, and make it last, in the file that others see."""
        tx.finish()
        failpoint("sqlite.before_commit")
        self.con.execute("COMMIT")
        if _inode(self.place.path) != self._files[0]:
            self._moved = True
            raise self.place.moved()

    def committed(self, done: Sequence[Transaction], calls: list[Call]) -> None:
        """Answer, and wake whoever waits for what changed: first of all whoever has work to do now."""
        failpoint("sqlite.after_commit")
        claimed = not _durable(calls)
        if claimed:
            self._answer(calls)
        for tx in done:
            self._bell.ring({READY: tx.ready, CHANGED: tx.changed})
        if not claimed:
            self._answer(calls)

    def tend(self, idle: bool) -> None:
        """Checkpoint, when this process is the one to do it and there is enough to be worth it."""
        now = time.monotonic()
        if now - self._tended < CHECKPOINT_EVERY:
            return
        self._tended, self._moved = now, self._moved or self._inodes() != self._files
        if self._moved:
            return
        self._elected = self._elected or self._office.take()
        if not self._elected:
            return
        try:
            size = self._log.stat().st_size
            if size >= CHECKPOINT_FROM or (idle and size):
                with self._lock:
                    self._checkpoint("TRUNCATE" if idle or size >= TRUNCATE_FROM else "PASSIVE")
        except (sqlite3.Error, OSError):
            pass  # no room, or somebody reads: the log is complete without it, and the next time comes

    def _checkpoint(self, how: str) -> None:
        self.con.execute("PRAGMA busy_timeout = 0")  # nobody waits at the lock for a slow reader
        try:
            self.con.execute(f"PRAGMA wal_checkpoint({how})").fetchall()
        finally:
            self.con.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")
