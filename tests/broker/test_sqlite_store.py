"""What is peculiar to the SQLite store: its place, its file, and the processes that share it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from windlass import failpoints
from windlass.broker.port import Broker
from windlass.broker.sqlite import looks, schema, verbs
from windlass.broker.sqlite import writer as writing
from windlass.broker.sqlite.broker import SqliteBroker
from windlass.broker.sqlite.locks import FileLock
from windlass.broker.sqlite.place import Place, file_system
from windlass.broker.url import make_broker
from windlass.core.ids import new_id
from windlass.core.job import Card, Claim, Job, NewJob
from windlass.core.outcome import Succeeded
from windlass.core.state import State
from windlass.errors import (
    BrokerUnavailable,
    ConfigurationError,
    StoreCorrupt,
    StoreFull,
    StoreRefused,
    StoreTooNew,
)

CARD = Card(host="here", pid=1)
DONE = Succeeded(b"null")


def job(**fields: object) -> NewJob:
    return NewJob(**{"id": new_id(), "task": "tests.task", "body": b"{}", **fields})  # type: ignore[arg-type]  # a test's shorthand


def at(folder: Path, name: str = "windlass", options: str = "") -> SqliteBroker:
    return SqliteBroker(f"sqlite:///{folder}/jobs.db{options}", name)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[SqliteBroker]:
    broker = at(tmp_path)
    await broker.open()
    yield broker
    await broker.close()


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.armed.clear()


async def take(broker: Broker, room: int = 100, *, worker: str = "w", wait: float = 0.0) -> list[Claim]:
    await broker.beat(worker, CARD, 60)
    return await broker.claim(["default"], {"loop": room}, worker, wait=wait)


def start(script: str, *args: object, failpoint: str = "") -> subprocess.Popen[str]:
    """A process that runs `main(broker, *args)` of `script` on the store of its first argument."""
    program = f"""
import asyncio, os, sys
from windlass.broker.sqlite.broker import SqliteBroker
from windlass.core.job import Card, NewJob
from windlass.core.outcome import Succeeded
from windlass.core.state import State

def say(*words): print(*words, flush=True)

{script}

async def run():
    broker = SqliteBroker("sqlite:///" + sys.argv[1] + "/jobs.db")
    await broker.open()
    await main(broker, *sys.argv[2:])
    await broker.close()

asyncio.run(run())
"""
    environment = {**os.environ, "WINDLASS_FAILPOINTS": failpoint}
    command = [sys.executable, "-c", program, *map(str, args)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, env=environment)
    _started.append(process)
    return process


_started: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def reaped() -> Iterator[None]:
    """Leave no process behind, whatever a test was doing."""
    yield
    while _started:
        process = _started.pop()
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None and not stream.closed:
                stream.close()


async def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return (await asyncio.to_thread(process.stdout.readline)).strip()


async def ended(process: subprocess.Popen[str]) -> int:
    await asyncio.to_thread(process.communicate)
    return process.returncode


# --- the URL --------------------------------------------------------------------------------------------------


def test_the_url_names_a_relative_or_an_absolute_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Place.of("sqlite:///a%20b/jobs.db", "windlass").path == tmp_path / "a b/jobs.db"
    assert Place.of("sqlite:////var/lib/jobs.db", "windlass").path == Path("/var/lib/jobs.db")
    assert Place.of("sqlite:////var/lib/jobs.db?synchronous=normal", "shop") == Place(
        Path("/var/lib/jobs.shop.db"), False
    )


@pytest.mark.parametrize(
    ("url", "name", "hint"),
    [
        ("sqlite://jobs.db", "windlass", "sqlite:///relative/path.db"),
        ("sqlite:///", "windlass", "names no file"),
        ("sqlite:///:memory:", "windlass", "memory://"),
        ("sqlite:///jobs.db?sync=FULL", "windlass", "no option 'sync'"),
        ("sqlite:///jobs.db?synchronous=OFF", "windlass", "synchronous=FULL or"),
        ("sqlite:///jobs.db", "a/b", "cannot name an app"),
        ("sqlite:///jobs.db", "..", "cannot name an app"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint):
        make_broker(url, name)


def test_links_to_one_file_are_one_place(tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to(tmp_path)
    assert Place.of(f"sqlite:///{tmp_path}/other/jobs.db", "windlass") == Place.of(
        f"sqlite:///{tmp_path}/jobs.db", "windlass"
    )


def test_network_file_systems_are_told_by_the_deepest_mount() -> None:
    mounts = "\n".join(
        [
            "22 1 254:0 / / rw - ext4 /dev/vda rw",
            "30 22 0:40 / /mnt/team\\040share rw shared:1 - nfs4 server:/x rw",
            "31 30 254:1 / /mnt/team\\040share/local rw - xfs /dev/vdb rw",
        ]
    )
    assert file_system(Path("/mnt/team share/jobs"), mounts) == "nfs4"
    assert file_system(Path("/mnt/team share/local/jobs"), mounts) == "xfs"
    assert file_system(Path("/mnt/team"), mounts) == "ext4"


async def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.broker.sqlite.place.file_system", lambda _: "fuse.sshfs")
    with pytest.raises(StoreRefused, match="local disk"):
        await at(tmp_path).open()


# --- what the store says of itself ----------------------------------------------------------------------------


async def test_describe_reads_the_live_store(tmp_path: Path, broker: SqliteBroker) -> None:
    info = await broker.describe()
    assert (info.kind, info.place, info.version) == ("sqlite", str(tmp_path / "jobs.db"), sqlite3.sqlite_version)
    assert info.survives == ("process crash", "power cut")
    assert info.details["journal_mode"] == "wal"
    assert any("only one" in remark for remark in info.remarks) == (sqlite3.sqlite_version_info < (3, 51, 3))
    fast = at(tmp_path, "fast", "?synchronous=NORMAL")
    await fast.open()
    info = await fast.describe()
    await fast.close()
    assert info.survives == ("process crash",)
    assert any("power cut" in remark for remark in info.remarks)


async def test_apps_of_other_names_see_nothing_of_each_other(tmp_path: Path, broker: SqliteBroker) -> None:
    shop = at(tmp_path, "shop")
    await shop.open()
    [placed] = await shop.enqueue([job(key="k")])
    assert await broker.get([placed.id]) == [None]
    assert (await broker.enqueue([job(key="k")]))[0].fresh
    assert [claim.id for claim in await take(shop)] == [placed.id]
    await shop.close()


async def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    broker = at(tmp_path)
    with pytest.raises(BrokerUnavailable, match="open"):
        await broker.enqueue([job()])
    await broker.open()
    [placed] = await broker.enqueue([job()])
    await broker.close()
    with pytest.raises(BrokerUnavailable, match="open"):
        await broker.get([placed.id])
    await broker.open()
    assert (await broker.get([placed.id]))[0] is not None
    await broker.close()


# --- one thread writes for all --------------------------------------------------------------------------------


async def test_calls_that_wait_share_a_commit_and_a_bad_one_fails_alone(broker: SqliteBroker) -> None:
    commits = list[int]()
    counted = writing.Writer.committed

    def committed(self: writing.Writer, done: Sequence[writing.Transaction], calls: list[writing.Call]) -> None:
        commits.append(1)
        counted(self, done, calls)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing.Writer, "committed", committed)
        await asyncio.gather(*(broker.enqueue([job()]) for _ in range(50)))
        assert len(commits) < 25
    bad = job(priority=1 << 70)
    answers = await asyncio.gather(*(broker.enqueue([new]) for new in [job(), bad, job()]), return_exceptions=True)
    assert [isinstance(answer, Exception) for answer in answers] == [False, True, False]
    assert (await broker.tally())[0].counts == {State.READY: 52}


async def test_all_or_nothing_also_for_one_bad_job_among_many(broker: SqliteBroker) -> None:
    many = [job() for _ in range(600)]
    with pytest.raises(OverflowError):
        await broker.enqueue([*many, job(priority=1 << 70)])
    assert (await broker.find()).jobs == []
    assert await broker.tally() == []
    assert all(placed.fresh for placed in await broker.enqueue(many))


async def test_a_failure_before_the_commit_leaves_nothing(broker: SqliteBroker) -> None:
    failpoints.armed["sqlite.before_commit"] = "raise"
    with pytest.raises(RuntimeError, match="before_commit"):
        await broker.enqueue([job()])
    assert (await broker.find()).jobs == []
    assert (await broker.enqueue([job()]))[0].fresh


async def test_only_a_claim_does_not_wait_for_the_disk(broker: SqliteBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut would take is a claim whose process it ended, never what anybody was promised."""
    levels, commit = list[str](), writing.Writer.commit

    def spied(self: writing.Writer, tx: writing.Transaction) -> None:
        levels.append({1: "NORMAL", 2: "FULL"}[tx.con.execute("PRAGMA synchronous").fetchone()[0]])
        commit(self, tx)

    async def levels_of(*calls: Awaitable[object]) -> list[str]:
        levels.clear()
        await asyncio.gather(*calls)
        return levels.copy()

    monkeypatch.setattr(writing.Writer, "commit", spied)
    assert await levels_of(broker.enqueue([job() for _ in range(3)])) == ["FULL"]
    assert await levels_of(broker.beat("w", CARD, 60)) == ["FULL"]
    claiming = broker.claim(["default"], {"loop": 1}, "w")
    assert await levels_of(claiming) == ["NORMAL"]
    assert await levels_of(broker.pause("other")) == ["FULL"]
    mixed = await levels_of(*(broker.claim(["default"], {"loop": 1}, "w") for _ in range(2)), broker.enqueue([job()]))
    assert mixed[-1] == "FULL", "the log is synced whole, what came before included"
    assert (await broker.describe()).details["synchronous"] == "FULL"
    assert [name for name, verb in vars(verbs).items() if isinstance(verb, writing.Verb) and not verb.durable] == [
        "claim"
    ]


async def test_with_synchronous_normal_no_commit_waits(tmp_path: Path) -> None:
    broker = at(tmp_path, options="?synchronous=NORMAL")
    await broker.open()
    await broker.enqueue([job()])
    assert len(await take(broker)) == 1
    assert (await broker.describe()).details["synchronous"] == "NORMAL"
    await broker.close()


INDEXES = [
    *(({"states": [state]}, "job_rare") for state in (State.SCHEDULED, State.PARKED, State.FAILED, State.CANCELLED)),
    ({"states": [State.READY]}, "job_ready"),
    ({"states": [State.RUNNING]}, "job_running"),
    ({"states": [State.SUCCEEDED]}, "job_id"),
    ({"queue": "q"}, "job_filed"),
    ({"task": "t", "states": [State.SUCCEEDED]}, "job_filed"),
    ({"key": "k", "queue": "q"}, "job_keyed"),
]


@pytest.mark.parametrize(("filters", "index"), INDEXES, ids=str)
async def test_find_walks_an_index(
    broker: SqliteBroker, filters: dict[str, Any], index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is looked for among many others is not looked for in each of them."""
    plans, jobs = list[str](), looks._jobs

    def explained(tx: writing.Transaction, where: str, values: Sequence[object], source: str = "") -> list[Job]:
        statement = "EXPLAIN QUERY PLAN " + schema.sql("find", where=where, source=source)
        plans.append("; ".join(row[3] for row in tx.con.execute(statement, values)))
        return jobs(tx, where, values, source)

    monkeypatch.setattr(looks, "_jobs", explained)
    for before in (None, "9"):
        await broker.find(**filters, before=before)
    assert [index in plan for plan in plans] == [True, True], plans


async def test_a_slow_look_holds_up_no_write(broker: SqliteBroker) -> None:
    await broker.enqueue([job() for _ in range(50)])
    assert broker._desks is not None
    reader = broker._desks[1]
    going, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(tx: writing.Transaction, _: None) -> int:
        loop.call_soon_threadsafe(going.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(20)
        return int(tx.con.execute("SELECT count(*) FROM job").fetchone()[0])

    looking = asyncio.create_task(reader.call(writing.Verb.each(slow), None))
    await going.wait()
    claims = await take(broker)
    assert (await broker.settle([(claim, DONE) for claim in claims]))[0] == [True] * 50
    go_on.set()
    assert await looking == 50


async def test_long_bodies_and_many_jobs_come_back_whole(broker: SqliteBroker) -> None:
    bodies = [os.urandom(size) for size in (0, 1, 65_536, 65_537, 3_000_000)]
    await broker.enqueue([job(body=body) for body in bodies])
    assert [claim.body for claim in await take(broker)] == bodies


async def test_what_a_cancelled_claim_took_is_given_back(broker: SqliteBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    await broker.enqueue([job()])
    await broker.beat("w", CARD, 60)
    commit, going, cancelled = writing.Writer.commit, asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def held(self: writing.Writer, tx: writing.Transaction) -> None:
        loop.call_soon_threadsafe(going.set)
        assert cancelled.wait(20)
        commit(self, tx)

    monkeypatch.setattr(writing.Writer, "commit", held)
    claiming = asyncio.create_task(broker.claim(["default"], {"loop": 1}, "w"))
    await going.wait()
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    cancelled.set()
    [claim] = await take(broker, wait=20)
    assert claim.attempt == 1


async def test_a_failure_after_the_commit_is_told_but_not_repeated(broker: SqliteBroker) -> None:
    await broker.enqueue([job() for _ in range(3)])
    await broker.beat("w", CARD, 60)
    failpoints.armed["sqlite.after_commit"] = "raise"
    asks = [broker.claim(["default"], {"loop": 1}, "w") for _ in range(2)]
    assert all(isinstance(answer, RuntimeError) for answer in await asyncio.gather(*asks, return_exceptions=True))
    assert (await broker.tally())[0].counts == {State.READY: 1, State.RUNNING: 2}


async def test_a_forked_child_is_told_and_does_no_harm(tmp_path: Path) -> None:
    """SQLite's locks belong to the process: a child that used the parent's file could damage it."""
    script = """
async def main(broker):
    await broker.enqueue([NewJob(id="before", task="t", body=b"")])
    child = os.fork()
    if child == 0:
        asyncio.events._set_running_loop(None)
        asyncio.run(in_child(broker))
        os._exit(0)
    os.waitpid(child, 0)
    await broker.enqueue([NewJob(id="after", task="t", body=b"")])
    say(*(job.id for job in (await broker.find()).jobs))

async def in_child(broker):
    fresh = SqliteBroker("sqlite:///" + sys.argv[1] + "/jobs.db")
    for attempt in broker.enqueue([NewJob(id="never", task="t", body=b"")]), broker.open(), fresh.open():
        try:
            await attempt
        except Exception as error:
            say(type(error).__name__, "forked" in str(error))
    await broker.close()
"""
    process = start(script, tmp_path)
    for _ in range(3):
        assert await line(process) == "BrokerUnavailable True"
    assert sorted((await line(process)).split()) == ["after", "before"]
    assert await ended(process) == 0


# --- several processes ----------------------------------------------------------------------------------------

WORKER = """
async def main(broker, name):
    await broker.beat(name, Card(host="here", pid=os.getpid()), 3600)
    say("ready")
    sys.stdin.readline()
    while claims := await broker.claim(["default"], {"loop": 7}, name):
        say("run", *(claim.id for claim in claims))
        await broker.settle([(claim, Succeeded(b"1")) for claim in claims])
    say("end")
"""

VICTIM = """
async def main(broker, name):
    await broker.beat(name, Card(host="here", pid=os.getpid()), 3600)
    claims = await broker.claim(["default"], {"loop": 5}, name)
    say("held", *(claim.id for claim in claims))
    sys.stdin.readline()
"""


async def test_of_jobs_in_several_processes_that_are_killed_none_is_lost(tmp_path: Path, broker: SqliteBroker) -> None:
    """Of 1,000 jobs only those that were held by a killed process run twice; the others run once."""
    stored = [placed.id for placed in await broker.enqueue([job() for _ in range(1000)])]
    victims = [start(VICTIM, tmp_path, f"victim{n}") for n in range(3)]
    workers = [start(WORKER, tmp_path, f"worker{n}") for n in range(3)]
    held = [word for victim in victims for word in (await line(victim)).split()[1:]]
    assert len(held) == 15
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
        assert await ended(victim) == -signal.SIGKILL
    for worker in workers:
        assert await line(worker) == "ready"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()

    async def runs(worker: subprocess.Popen[str]) -> list[str]:
        ran = list[str]()
        while (words := (await line(worker)).split()) != ["end"]:
            assert words, "a worker died"
            ran += words[1:]
        assert await ended(worker) == 0
        return ran

    ran = [one for all_of_one in await asyncio.gather(*map(runs, workers)) for one in all_of_one]
    assert len(ran) == len(set(ran)) == 985
    for n in range(3):
        await broker.beat(f"victim{n}", CARD, 0.0)
    assert {ready.id for ready in await broker.reclaim()} == set(held)
    again = await take(broker)
    assert {claim.id for claim in again} == set(held)
    await broker.settle([(claim, DONE) for claim in again])
    assert set(ran) | {claim.id for claim in again} == set(stored)
    assert (await broker.tally())[0].counts == {State.SUCCEEDED: 1000}


@pytest.mark.parametrize(("point", "stored"), [("sqlite.before_commit", False), ("sqlite.after_commit", True)])
async def test_a_kill_at_the_commit(tmp_path: Path, point: str, stored: bool) -> None:
    script = """
async def main(broker):
    await broker.enqueue([NewJob(id=f"{n}", task="t", body=b"") for n in range(300)])
"""
    assert await ended(start(script, tmp_path, failpoint=f"{point}=kill9")) == -signal.SIGKILL
    broker = at(tmp_path)
    await broker.open()
    counts = [info.counts for info in await broker.tally()]
    assert counts == ([{State.READY: 300}] if stored else [])
    placed = await broker.enqueue([job(id=f"{n}") for n in range(300)])
    assert {one.fresh for one in placed} == {not stored}
    assert (await broker.tally())[0].counts == {State.READY: 300}
    await broker.close()


async def test_two_that_open_a_new_file_at_once(tmp_path: Path) -> None:
    script = "async def main(broker): await broker.enqueue([NewJob(id=str(os.getpid()), task='t', body=b'')])"
    processes = [start(script, tmp_path) for _ in range(4)]
    assert [await ended(process) for process in processes] == [0] * 4
    broker = at(tmp_path)
    await broker.open()
    assert {found.id for found in (await broker.find()).jobs} == {str(process.pid) for process in processes}
    await broker.close()


async def test_a_claim_in_another_process_is_woken(tmp_path: Path, broker: SqliteBroker) -> None:
    script = """
import glob
from windlass.broker.sqlite import wake
wake.LOOK_AGAIN = 3600.0

async def main(broker):
    await broker.beat("w", Card(host="here", pid=os.getpid()), 3600)
    waiting = asyncio.create_task(broker.claim(["default"], {"loop": 1}, "w", wait=60))
    reading = asyncio.create_task(broker.read("known", wait=60))
    while len(glob.glob(sys.argv[1] + "/jobs.db-wake/*")) < 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    say("waits")
    [claim] = await waiting
    say(claim.id)
    await broker.settle([(claim, Succeeded(b"1"))])
    say((await reading).state)
"""
    await broker.enqueue([job(id="known", delay=3600)])
    process = start(script, tmp_path)
    assert await line(process) == "waits"
    [placed] = await broker.enqueue([job()])
    assert await line(process) == placed.id
    assert (await broker.cancel(["known"])) == {"known": State.CANCELLED}
    assert await line(process) == "cancelled"
    assert await ended(process) == 0
    assert not (tmp_path / "jobs.db-wake").exists(), "nobody waits any more"


async def test_the_fifo_of_a_dead_process_is_taken_away(tmp_path: Path, broker: SqliteBroker) -> None:
    (tmp_path / "jobs.db-wake").mkdir()
    os.mkfifo(tmp_path / "jobs.db-wake" / "1-dead.ready")
    await broker.enqueue([job()])
    assert os.listdir(tmp_path / "jobs.db-wake") == []


async def test_a_claim_waits_also_where_there_are_no_fifos(
    broker: SqliteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise PermissionError("no FIFOs here")

    monkeypatch.setattr(os, "mkfifo", none)
    waiting = asyncio.create_task(take(broker, wait=30))
    await asyncio.sleep(0.05)
    other = SqliteBroker(f"sqlite:///{broker._place.path}")
    await other.open()
    [placed] = await other.enqueue([job()])
    assert [claim.id for claim in await waiting] == [placed.id]
    await other.close()


async def test_one_process_checkpoints_and_another_takes_over(tmp_path: Path) -> None:
    script = "async def main(broker): say('open'); sys.stdin.readline()"
    holder = start(script, tmp_path)
    assert await line(holder) == "open"
    lock = FileLock(tmp_path / "jobs.db-checkpointer")
    for _ in range(1000):  # the holder elects itself after its first idle second
        if not lock.take():
            break
        lock.__exit__()
        await asyncio.sleep(0.01)
    else:
        pytest.fail("nobody became the checkpointer")
    holder.send_signal(signal.SIGKILL)
    await ended(holder)
    assert lock.take()
    lock.close()
    broker = at(tmp_path)
    await broker.open()
    await broker.enqueue([job(body=bytes(100_000)) for _ in range(10)])
    log = tmp_path / "jobs.db-wal"
    deadline = time.monotonic() + 20
    while log.stat().st_size and time.monotonic() < deadline:  # noqa: ASYNC110 # a file has no event
        await asyncio.sleep(0.02)
    assert log.stat().st_size == 0
    await broker.close()
    assert not log.exists()


async def test_a_lock_that_is_held_for_too_long(broker: SqliteBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    other = FileLock(broker._place.beside("-lock"))
    with other:
        monkeypatch.setattr(writing, "PATIENCE", 0.1)
        with pytest.raises(BrokerUnavailable, match="another process holds it"):
            await broker.enqueue([job()])
        monkeypatch.undo()
        assert (await broker.find()).jobs == [], "reading goes on"
    assert (await broker.enqueue([job()]))[0].fresh
    assert len((await broker.find()).jobs) == 1, "nobody waited for the first any more"
    other.close()


# --- the file -------------------------------------------------------------------------------------------------


async def test_an_older_file_is_brought_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = at(tmp_path)
    await broker.open()
    await broker.enqueue([job(id="old")])
    await broker.close()
    steps = [*schema.migrations(), "CREATE TABLE added (x) STRICT"]
    monkeypatch.setattr(
        writing, "migrations", lambda: [*steps[:-1], "CREATE TABLE added (x INTEGER) STRICT; CREATE TABLE job (x)"]
    )
    with pytest.raises(BrokerUnavailable, match="already exists"):
        await at(tmp_path).open()
    monkeypatch.setattr(writing, "migrations", lambda: [*steps[:-1], "CREATE TABLE added (x INTEGER) STRICT"])
    for _ in range(2):
        newer = at(tmp_path)
        await newer.open()
        assert (await newer.describe()).details["schema"] == len(steps)
        assert [found.id for found in (await newer.find()).jobs] == ["old"]
        await newer.close()
    monkeypatch.undo()
    with pytest.raises(StoreTooNew, match="upgrade"):
        await at(tmp_path).open()


async def test_an_empty_file_is_a_new_store(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").touch()
    broker = at(tmp_path)
    await broker.open()
    assert (await broker.describe()).details["schema"] == len(schema.migrations())
    await broker.close()


async def test_a_file_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(StoreCorrupt, match="move it away") as caught:
        await at(tmp_path).open()
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"Dear diary, " * 1000
    path.unlink()
    with sqlite3.connect(path) as con:
        con.execute("CREATE TABLE diary (day TEXT)")
    con.close()
    with pytest.raises(StoreRefused, match="another program"):
        await at(tmp_path).open()


async def test_a_damaged_page_is_told(tmp_path: Path) -> None:
    broker = at(tmp_path)
    await broker.open()
    await broker.enqueue([job() for _ in range(2000)])
    await broker.close()
    path = tmp_path / "jobs.db"
    with closing(sqlite3.connect(path)) as con:
        roots = [page for (page,) in con.execute("SELECT rootpage FROM sqlite_schema")]
    content = bytearray(path.read_bytes())
    for page in roots:
        content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    broker = at(tmp_path)
    await broker.open()
    with pytest.raises(StoreCorrupt, match="recover"):
        await broker.find()
    with pytest.raises(StoreCorrupt, match="recover"):
        await broker.enqueue([job()])
    await broker.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False
    ).returncode:
        pytest.skip("this user may not mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _write(file: io.RawIOBase, content: bytes) -> bool:
    try:
        return bool(file.write(content))
    except OSError:
        return False


async def test_a_full_disk_is_told_and_survived(disk: Path) -> None:
    broker = at(disk)
    await broker.open()
    stored = [placed.id for placed in await broker.enqueue([job(id=f"{n}") for n in range(5)])]
    claims = await take(broker, 5)
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while _write(file, bytes(4096)):
            pass
    with pytest.raises(StoreFull, match="free some space"):
        await broker.enqueue([job(body=bytes(200_000)) for _ in range(20)])
    assert len(await broker.get(stored)) == 5
    ballast.unlink()
    assert (await broker.settle([(claim, DONE) for claim in claims]))[0] == [True] * 5
    assert (await broker.enqueue([job()]))[0].fresh
    await broker.close()
    con = sqlite3.connect(disk / "jobs.db")
    assert con.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    con.close()


async def test_a_read_only_disk_is_refused(disk: Path) -> None:
    broker = at(disk)
    await broker.open()
    await broker.close()
    await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(StoreRefused, match="writ"):
        await at(disk).open()
    with pytest.raises(StoreRefused, match="writ"):
        await SqliteBroker(f"sqlite:///{disk}/new/jobs.db").open()


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").mkdir()
    with pytest.raises(StoreRefused, match="is a folder"):
        await at(tmp_path).open()
    assert json.dumps(os.listdir(tmp_path)) == '["jobs.db"]', "nothing is left beside it"
