"""Whole workers on a Redis that is killed, paused and cut off under them; and workers that are killed over a Redis that lives."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import recorded

from servers import BINARIES, MISSING, RedisServer
from windlass import Windlass
from windlass.worker.fetcher import WAIT
from windlass.worker.runner import working

pytestmark = pytest.mark.skipif(not BINARIES, reason=MISSING)
HERE = Path(__file__).parent
BACK = 15.0
"""Seconds within which a worker works again; it should take less than 5."""
FEW = 10
"""Lines in which it may say what was wrong."""
LEASE = 3
Until = Callable[..., Awaitable[Any]]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer(appendonly="yes", appendfsync="always") as server:
        yield server


@pytest.fixture
async def app(server: RedisServer) -> AsyncIterator[Windlass]:
    app = recorded.build(server.url())
    yield app
    await app.close()


class Records:
    """Which job ran in which process, in the order of their starts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def __len__(self) -> int:
        return self.path.read_bytes().count(b"\n")

    def read(self) -> list[tuple[int, int]]:
        return [(int(number), int(pid)) for number, pid in map(str.split, self.path.read_text().splitlines())]

    def runs(self) -> Counter[int]:
        """How often each job was run."""
        return Counter(number for number, _ in self.read())


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "records")


@contextmanager
def worker(server: RedisServer, records: Records, **settings: object) -> Generator[subprocess.Popen[bytes]]:
    """`windlass worker` as a process of its own; what it says goes to the file "log" beside the records."""
    given = {f"WINDLASS_{name.upper()}": str(value) for name, value in settings.items()}
    environment = {**os.environ, "WINDLASS_URL": server.url(), "RECORDS": str(records.path), **given}
    with records.path.with_name("log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "windlass.cli.main", "worker", "recorded:app"],
            cwd=HERE, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(records: Records) -> list[str]:
    """What the worker said since its banner and its start, without "started" and "stopped" of an orderly life."""
    lines = records.path.with_name("log").read_text().splitlines()
    return [line for line in lines if " WARNING " in line or " ERROR " in line or "Traceback" in line]


def cut_off(server: RedisServer) -> None:
    assert sum(server.command("CLIENT KILL TYPE", kind) for kind in ("normal", "pubsub")) >= 2


def killed(server: RedisServer) -> None:
    server.restart()


def away(server: RedisServer) -> None:
    server.kill()
    time.sleep(2.0)
    server.start()


def paused(server: RedisServer) -> None:
    server.command("CLIENT PAUSE 3000 ALL")
    server.command("PING")


def asleep(server: RedisServer) -> None:
    """For longer than a worker lives without a beat."""
    server.command("DEBUG SLEEP", LEASE + 1)


def forgetful(server: RedisServer) -> None:
    server.command("SCRIPT FLUSH")


async def test_5000_jobs_while_the_server_is_killed_paused_and_cut_off(
    server: RedisServer, app: Windlass, records: Records, until: Until
) -> None:
    """All end with their result, each was run once, the worker goes on by itself, and says in a few lines what was wrong."""
    jobs = await app.enqueue_many([app.get_task("recorded.short").bind(number) for number in range(5000)])
    with worker(server, records, lease=LEASE, beat=0.5) as process:
        await until(lambda: len(records) > 200)
        for fault in (cut_off, killed, away, paused, asleep, forgetful):
            before = len(said(records))
            await asyncio.to_thread(fault, server)
            ran = len(records)
            assert ran < 4500, "the fault was too late to be met"
            await until(lambda ran=ran: len(records) > ran + 200, timeout=BACK)
            print(fault.__name__, *said(records)[before:], sep="\n")
            assert len(said(records)) - before <= FEW
        await until(lambda: len(records) >= 5000, timeout=60.0)
        assert [await job.result(timeout=30) for job in jobs] == list(range(5000))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert records.runs() == Counter(range(5000))


@pytest.mark.parametrize("whole", [False, True], ids=["runner", "tree"])
async def test_what_a_killed_worker_had_in_hand_runs_again_and_nothing_else(
    server: RedisServer, app: Windlass, records: Records, until: Until, tmp_path: Path, whole: bool
) -> None:
    ended = await app.enqueue_many([app.get_task("recorded.short").bind(number) for number in range(20)])
    gate = tmp_path / "gate"
    with worker(server, records, lease=2, beat=0.3, upkeep=0.2) as process:
        assert [await job.result(timeout=20) for job in ended] == list(range(20))
        in_hand = range(20, 40)
        held = await app.enqueue_many([app.get_task("recorded.gated").bind(number, str(gate)) for number in in_hand])
        await until(lambda: len(records) == 40)
        os.kill(process.pid if whole else records.read()[-1][1], signal.SIGKILL)
        if whole:
            process.wait()
            with worker(server, records, lease=2, beat=0.3, upkeep=0.2):
                await until(lambda: len(records) == 60, timeout=BACK)
                gate.touch()
                assert [await job.result(timeout=20) for job in held] == list(in_hand)
        else:
            await until(lambda: len(records) == 60, timeout=BACK)
            gate.touch()
            assert [await job.result(timeout=20) for job in held] == list(in_hand)
    assert records.runs() == {**dict.fromkeys(range(20), 1), **dict.fromkeys(in_hand, 2)}
    assert [(await job.info()).crashes for job in held] == [1] * 20


async def test_a_full_server_is_worked_empty(server: RedisServer, app: Windlass) -> None:
    """Jobs that write to their journals, too, end while no new one can be stored."""
    jobs = await app.enqueue_many([app.get_task("recorded.talkative").bind(number) for number in range(50)])
    server.command("CONFIG SET maxmemory 1")
    async with working(app):
        assert await asyncio.gather(*(job.result(timeout=20) for job in jobs)) == list(range(50))


async def test_an_idle_worker_asks_about_once_a_second(
    server: RedisServer, app: Windlass, records: Records, until: Until
) -> None:
    """Over a whole turn of its waiting, beside its heartbeat, which is slow here; and when something comes, it is there."""
    with worker(server, records, lease=200, beat=60):
        job = await app.get_task("recorded.short").enqueue(0)
        assert await job.result(timeout=20) == 0
        broker, long_ago = await app.broker(), time.time() - 3600
        await until(lambda: broker.series(60, long_ago, long_ago + 7200))  # what it tells of that job is told
        await app.close()
        asked = await asyncio.to_thread(overheard, server, WAIT)
        assert len(asked) < 1.5 * WAIT, asked
        job = await app.get_task("recorded.short").enqueue(1)
        assert await job.result(timeout=20) == 1


def overheard(server: RedisServer, seconds: float) -> list[str]:
    """Every command that clients send meanwhile; not what scripts do."""
    text, end = b"", time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(b"MONITOR\r\n")
        while (left := end - time.monotonic()) > 0:
            line.settimeout(left)
            try:
                text += line.recv(65536)
            except TimeoutError:
                break
    commands = text.decode(errors="replace").splitlines()
    assert commands[0] == "+OK"
    return [command for command in commands[1:] if " lua] " not in command]
