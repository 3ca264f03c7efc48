"""G: the file of the store is busy, full, held, or not to be written."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

from scenario import SQLITE, Skipped, scenario
from stage import LEASE, Stage, until

from windlass import Call
from windlass.errors import StoreFull

on_sqlite = partial(scenario, stores=(SQLITE,))
BLOCK = 4096
"""Bytes by which a disk is filled."""


def file_of(stage: Stage, suffix: str = "") -> Path:
    """The file of the program called "chaos", or one that goes with it."""
    return stage.folder / f"jobs.chaos.db{suffix}"


def sound(path: Path) -> None:
    """Nothing in the file is damaged."""
    with closing(sqlite3.connect(path)) as con:
        assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@on_sqlite(
    "G1",
    "Eight processes work on one file, and a producer floods it",
    "Nobody is ever told that the database is locked; all of them get work; nothing runs twice.",
)
async def eight_processes(stage: Stage) -> None:
    for _ in range(2):
        stage.worker("--runners=3", "--concurrency=5")
    await stage.said("started: default", 6)
    assert len(stage.everyone()) >= 8
    stage.harm("eight processes")
    await asyncio.gather(*(stage.enqueue("nap", 50, 0.01) for _ in range(8 * stage.scale)))
    await stage.ended()
    pids = {run.start.pid for runs in stage.history.runs().values() for run in runs}
    assert len(pids) >= 4, "most of them got nothing"
    assert "locked" not in stage.log
    assert "failed to" not in stage.log


@on_sqlite(
    "G2",
    "Whole workers are killed while they write to the file, again and again",
    "The file stays sound (`PRAGMA integrity_check`); nothing that was accepted is lost.",
)
async def killed_writers(stage: Stage) -> None:
    for _ in range(2 * stage.scale):
        worker, before = stage.worker(), stage.started()
        await stage.enqueue("talkative", 5, 10)
        await stage.enqueue("nap", 40, 0.02)
        await stage.wait_started(before + 20)
        await asyncio.sleep(stage.random.uniform(0, 0.1))
        stage.kill_tree(worker)
        sound(file_of(stage))
    stage.worker()
    await stage.ended()
    sound(file_of(stage))


@on_sqlite(
    "G3",
    "The disk is full, for longer than the lease",
    "`enqueue` raises `StoreFull` and stores nothing; jobs that run go on, and their results are stored later. Nothing runs twice.",
)
async def full_disk(stage: Stage) -> None:
    disk = stage.keep(small_disk(stage.folder / "disk"))
    await stage.move(f"sqlite:///{disk}/jobs.db")
    stage.worker()
    await stage.enqueue("nap", 20, 0.5)
    await stage.wait_started(20)
    stage.harm("disk full")
    refused = await fill(stage, disk)
    await asyncio.sleep(1.2 * LEASE)
    (disk / "ballast").unlink()
    assert not any((await stage.look([call.job.id for call in refused])).values())
    await stage.submit(refused)
    await stage.ended()
    sound(disk / "jobs.chaos.db")


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of its own, of 2 MB."""
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False
    ).returncode:
        raise Skipped("a disk can be filled only where we may mount one (as root)")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


async def fill(stage: Stage, disk: Path) -> list[Call[..., Any]]:
    """Leave no room for a single byte; answers the calls that were refused."""
    while True:
        with (disk / "ballast").open("ab", buffering=0) as ballast, suppress(OSError):
            while ballast.write(bytes(BLOCK)):
                pass
        calls = stage.bind("talkative", 50, 5)
        try:
            await stage.submit(calls)
        except StoreFull:
            return calls


@on_sqlite(
    "G5a",
    "Somebody reads the file in a transaction that does not end",
    "Work goes on; the log beside the file grows meanwhile, and is cut when the reader leaves.",
)
async def stuck_reader(stage: Stage) -> None:
    stage.worker()
    await stage.enqueue("quick", 1)
    await stage.wait_started(1)
    with closing(sqlite3.connect(file_of(stage), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        seen = reader.execute("SELECT count(*) FROM job").fetchone()
        stage.harm("stuck reader")
        await stage.enqueue("talkative", 20 * stage.scale, 20)
        await stage.ended()
        await asyncio.sleep(1.5)  # a checkpoint is tried every half second
        log = file_of(stage, "-wal").stat().st_size
        assert log > 0
        assert reader.execute("SELECT count(*) FROM job").fetchone() == seen
    await until(lambda: file_of(stage, "-wal").stat().st_size == 0, 10.0)
    stage.notes.append(f"the log grew to {log >> 10} KiB, and was cut when the reader left")


@on_sqlite(
    "G5b",
    "There is always somebody who reads the file: no moment is free for a checkpoint",
    "Work goes on; the log is cut as soon as there is a moment.",
)
async def always_a_reader(stage: Stage) -> None:
    stage.worker()
    await stage.enqueue("quick", 1)
    await stage.wait_started(1)
    enough, looks = threading.Event(), list[int]()
    readers = threading.Thread(target=_read_all_the_time, args=(file_of(stage), enough, looks))
    readers.start()
    try:
        await until(lambda: looks)
        stage.harm("always a reader")
        await stage.enqueue("talkative", 20 * stage.scale, 20)
        await stage.enqueue("nap", 200 * stage.scale, 0.01)
        await stage.ended()
    finally:
        enough.set()
        await asyncio.to_thread(readers.join)
    assert len(looks) > 20
    await until(lambda: file_of(stage, "-wal").stat().st_size == 0, 10.0)


def _read_all_the_time(path: Path, enough: threading.Event, looks: list[int]) -> None:
    """Two readers, of whom one begins before the other ends."""
    with ExitStack() as stack:
        readers = [stack.enter_context(closing(sqlite3.connect(path, isolation_level=None))) for _ in range(2)]
        for turn in cycle(readers):
            turn.execute("BEGIN")
            looks.append(turn.execute("SELECT count(*) FROM job").fetchone()[0])
            for other in readers:
                if other is not turn and other.in_transaction:
                    other.execute("COMMIT")
            if enough.wait(0.005):
                return


@on_sqlite(
    "G6",
    "The file is made read-only, and the runner that has it open dies",
    "Its supervisor says why no successor can work, and tries again without haste; when the file can be written again, all goes on.",
)
async def read_only(stage: Stage) -> None:
    first = stage.worker()
    await stage.enqueue("nap", 20, 0.3)
    await stage.wait_started(20)
    with immutable(file_of(stage)):
        (runner,) = {run.start.pid for runs in stage.history.runs().values() for run in runs}
        stage.kill(runner)
        await stage.said("cannot be written")
        assert first.poll() is None
    await stage.enqueue("quick", 5)


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Nobody can open the file for writing, not even root."""
    if subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode:
        raise Skipped("a file can be kept from its owner only where chattr works (as root, on ext4)")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", path], check=True)


@on_sqlite(
    "G9a",
    "Somebody holds the lock of the database for longer than the lease (a sqlite3 shell in a transaction)",
    "Calls wait; nothing runs twice.",
)
async def held(stage: Stage) -> None:
    await hold(stage, 1.5 * LEASE)


@on_sqlite(
    "G9b",
    "Somebody holds the lock of the database for ten seconds",
    "Calls wait; nothing runs twice.",
    quick=False,
)
async def held_long(stage: Stage) -> None:
    await hold(stage, 10.0)


async def hold(stage: Stage, seconds: float) -> None:
    """Under two workers, each of which would take the other's jobs."""
    stage.worker()
    stage.worker()
    await stage.said("started", 4)
    await stage.enqueue("nap", 40, seconds + LEASE)
    await stage.wait_started(40)
    await asyncio.sleep(stage.random.uniform(0.5, 1.0))  # whatever each of them does, some do it first
    with closing(sqlite3.connect(file_of(stage), isolation_level=None)) as shell:
        shell.execute("BEGIN EXCLUSIVE")
        stage.harm("lock held")
        await asyncio.sleep(seconds)
        shell.execute("ROLLBACK")
    await stage.enqueue("quick", 20)
