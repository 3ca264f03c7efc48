"""What happens to the SQLite store's files: full disks, lost bits, other people's hands. Nothing accepted is lost without a word."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import stat
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from windlass.broker.damaged import UNREADABLE
from windlass.broker.sqlite import schema
from windlass.broker.sqlite.broker import SqliteBroker
from windlass.core.job import Card, JobId
from windlass.core.outcome import Cancelled, Failed, Parked, Retried
from windlass.core.state import State
from windlass.errors import BrokerError, BrokerUnavailable, StoreCorrupt, StoreFull, StoreRefused, WindlassError
from windlass.testing.conformance.kit import AGAIN, DONE, ERROR, add, entry, job, look, start, state

CARD = Card(host="here", pid=1)
SOON = 30.0
"""Seconds after which something that should have happened has not."""


def at(folder: Path, options: str = "") -> SqliteBroker:
    return SqliteBroker(f"sqlite:///{folder}/jobs.db{options}")


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[SqliteBroker]:
    broker = at(tmp_path)
    await broker.open()
    yield broker
    await broker.close()


def raw(folder: Path, statement: str, *values: object) -> list[Any]:
    """What another program reads and writes."""
    with closing(sqlite3.connect(folder / "jobs.db", isolation_level=None, timeout=SOON)) as con:
        return con.execute(statement, values).fetchall()


def is_sound(folder: Path) -> bool:
    return raw(folder, "PRAGMA integrity_check") == [("ok",)]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110 # a file has no event
            await asyncio.sleep(0.01)


async def works(broker: SqliteBroker, queue: str = "works") -> None:
    """A new job goes all its way."""
    stored = await add(broker, queue=queue, now=time.time())
    await broker.beat("w", CARD, 3600.0)
    claims = await broker.claim([queue], {"loop": 1}, "w")
    assert [claim.id for claim in claims] == [stored]
    assert (await broker.settle([(claims[0], DONE)]))[0] == [True]


# --- who may read it ------------------------------------------------------------------------------------------


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_a_new_store_is_its_owners_only(tmp_path: Path) -> None:
    broker = at(tmp_path / "new")
    await broker.open()
    waiting = asyncio.create_task(broker.read(await add(broker), wait=SOON))
    await until((tmp_path / "new/jobs.db-wake").exists)
    (fifo,) = (tmp_path / "new/jobs.db-wake").iterdir()
    assert stat.S_IMODE(fifo.stat().st_mode) == 0o600
    files = {f"jobs.db{suffix}": 0o600 for suffix in ("", "-wal", "-shm", "-lock", "-checkpointer")}
    assert modes(tmp_path / "new") == {**files, "jobs.db-wake": 0o700}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    await broker.close()
    await waiting


async def test_what_belongs_to_a_store_is_as_open_as_the_store(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").touch()
    (tmp_path / "jobs.db").chmod(0o660)
    broker = at(tmp_path)
    await broker.open()
    await works(broker)
    assert set(modes(tmp_path).values()) == {0o660}
    await broker.close()


async def test_a_wake_folder_that_is_somebody_elses_is_in_nobodys_way(broker: SqliteBroker, tmp_path: Path) -> None:
    """It may hold anything: what is no FIFO of ours is not written to, and what we read there is not trusted."""
    victim, folder = tmp_path / "victim", tmp_path / "jobs.db-wake"
    victim.write_text("precious")
    waiting = asyncio.create_task(broker.read(await add(broker), wait=SOON))
    await until(folder.exists)
    (fifo,) = folder.iterdir()
    (folder / "1-mine.ready").symlink_to(victim)
    (folder / "1-mine.changed").symlink_to(victim)
    for rubbish in (b"\xff\xfe\n", b"[" * 5000 + b"\n", b"{}\n", b"\n\n"):
        with fifo.open("wb", buffering=0) as end:
            end.write(rubbish)
    await works(broker)
    assert victim.read_text() == "precious"
    for left in folder.glob("1-mine.*"):
        left.unlink()
    await broker.close()
    await waiting


@pytest.mark.parametrize("kind", ["fifo", "link", "socket folder", "device"])
async def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    """Before it is opened: a FIFO would never answer."""
    broker, path = at(tmp_path), tmp_path / "jobs.db"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "link":  # it came there after the place was looked up
            (tmp_path / "elsewhere.db").touch()
            path.symlink_to(tmp_path / "elsewhere.db")
        case "socket folder":
            path.mkdir()
        case "device":
            broker = SqliteBroker("sqlite:////dev/zero")
    with pytest.raises(StoreRefused, match=r"plain file|folder"):
        await asyncio.wait_for(broker.open(), SOON)
    assert not (tmp_path / "jobs.db-wal").exists()
    assert "zero-lock" not in os.listdir("/dev")


# --- a file that somebody prepared ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hostile",
    [
        "CREATE TRIGGER hidden AFTER INSERT ON job BEGIN DELETE FROM job; END",
        "CREATE VIEW hidden AS SELECT load_extension('./evil.so')",
        "ALTER TABLE job RENAME TO kept; CREATE VIEW job AS SELECT * FROM kept",
    ],
)
async def test_a_file_with_triggers_or_views_is_refused(tmp_path: Path, hostile: str) -> None:
    broker = at(tmp_path)
    await broker.open()
    await broker.close()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as con:
        con.executescript(hostile)
    with pytest.raises(StoreRefused, match=r"triggers or views \((hidden|job)\)"):
        await at(tmp_path).open()


def test_no_statement_can_reach_out_of_the_file(tmp_path: Path, broker: SqliteBroker) -> None:
    with closing(schema.connect(broker._place)) as con:
        with pytest.raises(sqlite3.OperationalError, match="too many attached"):
            con.execute("ATTACH ? AS other", (str(tmp_path / "other.db"),))
        with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|no such function"):
            con.execute("SELECT load_extension('./evil.so')")
        assert con.execute("PRAGMA trusted_schema").fetchone() == (0,)
    assert not (tmp_path / "other.db").exists()


# --- a file that is deleted or replaced -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deleted", "replaced"])
async def test_a_file_that_is_gone_is_told_at_once(tmp_path: Path, how: str) -> None:
    """No job is accepted into a file that nobody will ever find."""
    broker = at(tmp_path)
    await broker.open()
    await works(broker)
    (tmp_path / "jobs.db").unlink()
    if how == "replaced":
        (tmp_path / "jobs.db").touch()
    for _ in range(2):
        with pytest.raises(BrokerUnavailable, match="deleted or replaced"):
            await broker.enqueue([job()])
    await broker.close()


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-lock", "-checkpointer"])
async def test_a_companion_that_is_gone_is_told_soon(tmp_path: Path, suffix: str) -> None:
    """Others would make a new one, and neither would know of the other."""
    broker = at(tmp_path)
    await broker.open()
    await works(broker)
    (tmp_path / f"jobs.db{suffix}").unlink()

    async def told() -> bool:
        try:
            await broker.enqueue([job()])
        except BrokerUnavailable as error:
            return "deleted or replaced" in str(error)
        return False

    async with asyncio.timeout(SOON):
        while not await told():  # noqa: ASYNC110 # a file has no event
            await asyncio.sleep(0.05)
    await broker.close()


async def test_who_lost_its_file_does_no_harm_to_the_new_one(tmp_path: Path) -> None:
    """Its close leaves the log of the new one alone."""
    old = at(tmp_path)
    await old.open()
    await works(old)
    for name in os.listdir(tmp_path):
        (tmp_path / name).unlink()
    new = at(tmp_path)
    await new.open()
    stored = await add(new)
    with pytest.raises(BrokerUnavailable):
        await old.enqueue([job()])
    await old.close()
    assert (tmp_path / "jobs.db-wal").stat().st_size
    third = at(tmp_path)
    await third.open()
    assert await state(third, stored) is State.READY
    await third.close()
    await new.close()
    assert is_sound(tmp_path)


# --- a disk that is full --------------------------------------------------------------------------------------

SIZE = 1000
"""KiB of the disk."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}k", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path, left: int = 0) -> None:
    """Leave so many pages of 4 KiB."""
    with (folder / "ballast").open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    size = (folder / "ballast").stat().st_size
    os.truncate(folder / "ballast", max(0, size - left * 4096))


async def test_a_store_cannot_be_made_on_a_full_disk(disk: Path) -> None:
    """However far it comes: it says so, and the next time goes well."""
    for left in (0, 1, 2, 5, 10, 20, 40):
        fill(disk, left)
        broker = at(disk)
        try:
            await broker.open()
            await broker.close()
        except StoreFull as error:
            assert "free some space" in str(error)  # noqa: PT017 # there may be room enough
        (disk / "ballast").unlink()
    broker = at(disk)
    await broker.open()
    await works(broker)
    await broker.close()
    assert is_sound(disk)


async def test_what_was_accepted_on_a_disk_that_fills_up_is_kept(disk: Path) -> None:
    """Page by page: each call happens or is refused, work can go on when there is room, and nothing is ever damaged."""
    broker = at(disk)
    await broker.open()
    await broker.beat("w", CARD, 3600.0)
    accepted, refused, ended = set[JobId](), 0, set[JobId]()
    for left in (30, 10, 5, 4, 3, 2, 1, 0):
        fill(disk, left)
        for _ in range(20):
            new = job(body=bytes(3000))
            try:
                accepted |= {placed.id for placed in await broker.enqueue([new])}
                for claim in await broker.claim(["default"], {"loop": 1}, "w"):
                    await broker.settle([(claim, DONE)])
                    ended.add(claim.id)
            except StoreFull:
                refused += 1
        assert {one.id for one in (await broker.find(limit=1000)).jobs} >= accepted, "it can be read all the time"
    assert accepted
    assert refused
    (disk / "ballast").unlink()
    await works(broker)
    raw(disk, "PRAGMA wal_checkpoint(TRUNCATE)")
    while claims := await broker.claim(["default"], {"loop": 100}, "w"):
        assert all((await broker.settle([(claim, DONE) for claim in claims]))[0])
    await broker.beat("w", CARD, 0.0)
    await broker.reclaim()
    jobs = {one.id: one.state for one in (await broker.find(limit=1000)).jobs}
    assert accepted <= jobs.keys()
    assert all(jobs[one] is State.SUCCEEDED for one in ended)
    await broker.close()
    assert is_sound(disk)


async def test_a_run_can_be_ended_once_there_is_room(disk: Path) -> None:
    broker = at(disk)
    await broker.open()
    claims = [await start(broker) for _ in range(5)]
    fill(disk)
    with pytest.raises(StoreFull):
        await broker.append([(claims[0], [entry(data=bytes(4000)) for _ in range(200)])])
    (disk / "ballast").unlink()
    assert (await broker.settle([(claim, DONE) for claim in claims]))[0] == [True] * 5
    await broker.close()


# --- somebody who reads and reads -----------------------------------------------------------------------------


async def test_a_stuck_reader_stops_nobody(
    tmp_path: Path, broker: SqliteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open read transaction elsewhere: the log grows until it ends, and is shown; work goes on."""
    await works(broker)
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as con:
        con.execute("BEGIN")
        assert con.execute("SELECT count(*) FROM job").fetchone() == (1,)
        for number in range(20):
            await broker.enqueue([job(body=bytes(500_000))])
            await works(broker, f"q{number}")
        assert con.execute("SELECT count(*) FROM job").fetchone() == (1,), "it is stuck"
        assert (await broker.describe()).details["log_bytes"] > 10_000_000
    await until(lambda: (tmp_path / "jobs.db-wal").stat().st_size == 0)
    assert (await broker.describe()).details["log_bytes"] < 100_000
    assert len((await broker.find(limit=100)).jobs) == 41


# --- bits that are lost ---------------------------------------------------------------------------------------


async def filled(folder: Path) -> list[JobId]:
    """A store that holds something of everything, closed; answers the jobs."""
    broker, now = at(folder), time.time()
    await broker.open()
    outcomes = [DONE, AGAIN, Failed(ERROR), Cancelled("enough"), Retried(60.0, ERROR), Parked("?")]
    for number, outcome in enumerate(outcomes):
        claim = await start(broker, now=now, queue=f"q{number}", key=f"k{number}")
        await broker.append([(claim, [entry("progress", b'{"current":1}'), entry(), entry("checkpoint")])])
        await broker.settle([(claim, outcome)])
    await start(broker, now=now)
    await broker.enqueue([*(job(body=bytes(2000)) for _ in range(50)), job(expires=60.0), job(delay=60.0)])
    await broker.pause("q1")
    jobs = [one.id for one in (await broker.find(limit=1000)).jobs]
    await broker.close()
    return jobs


async def every_verb(broker: SqliteBroker, ids: list[JobId]) -> list[WindlassError]:
    """Call every verb; answers what was refused."""
    now, refused = time.time(), list[WindlassError]()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: broker.beat("w", CARD, 60.0),
        lambda: broker.enqueue([job(), job(key="k1"), job(delay=1.0)]),
        lambda: broker.claim(["default", "q1"], {"loop": 3, "thread": 1}, "w"),
        lambda: broker.get(ids),
        broker.find,
        lambda: broker.find(states=[State.FAILED]),
        broker.tally,
        broker.workers,
        *(lambda one=one: broker.read(one) for one in ids[:5]),  # type: ignore[misc]  # a default binds it
        lambda: broker.promote(now=now + 100.0),
        lambda: broker.reclaim(now=now + 100.0),
        lambda: broker.revive(ids),
        lambda: broker.cancel(ids),
        lambda: broker.forget(ids[:20]),
        lambda: broker.prune(now=now + 90.0 * 86400.0),
        broker.describe,
    ]
    for call in calls:
        try:
            await asyncio.wait_for(call(), SOON)
        except WindlassError as error:
            refused.append(error)
    return refused


@pytest.mark.parametrize("seed", range(25))
async def test_lost_bits_are_told_by_name(tmp_path: Path, seed: int) -> None:
    """Whatever is damaged, wherever: one of our errors, or none. Nothing hangs, nothing is deleted."""
    ids, chance = await filled(tmp_path), random.Random(seed)
    content = bytearray((tmp_path / "jobs.db").read_bytes())
    for _ in range(chance.choice([1, 5, 50, 500])):
        content[chance.randrange(len(content))] = chance.randrange(256)
    if chance.random() < 0.2:
        del content[chance.randrange(len(content)) :]
    (tmp_path / "jobs.db").write_bytes(content)
    broker = at(tmp_path)
    try:
        await asyncio.wait_for(broker.open(), SOON)
    except WindlassError as error:
        assert isinstance(error, StoreCorrupt | StoreRefused | BrokerError), repr(error)  # noqa: PT017 # it may open, too
        assert (tmp_path / "jobs.db").stat().st_size >= len(content)
        return
    refused = await every_verb(broker, ids)
    assert [error for error in refused if not isinstance(error, StoreCorrupt)] == []
    await broker.close()


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (lambda content: bytes(100) + content[100:], StoreCorrupt),
        (lambda content: content[:16] + b"\xff" * 84 + content[100:], StoreCorrupt),
        (lambda content: content[:5000], StoreCorrupt),
        (lambda content: b"SQLite format 3\0", StoreCorrupt),
        (lambda content: bytes(len(content)), StoreCorrupt),
    ],
    ids=["no header", "a header of ones", "cut short", "a magic word", "nothing but zeros"],
)
async def test_a_damaged_header_is_told_and_left_alone(
    tmp_path: Path, what: Callable[[bytes], bytes], error: type[Exception]
) -> None:
    ids, path = await filled(tmp_path), tmp_path / "jobs.db"
    damaged = what(path.read_bytes())
    path.write_bytes(damaged)
    broker = at(tmp_path)

    async def use() -> None:
        await broker.open()
        await broker.find()

    with pytest.raises(error, match="Nothing was deleted"):
        await use()
    await broker.close()
    assert path.read_bytes() == damaged
    assert ids


LOST = {
    "task": "UPDATE job SET task = CAST(x'736eff' AS TEXT)",
    "id": "UPDATE job SET id = CAST(x'30ff' AS TEXT)",
    "state": "UPDATE job SET state = 'rebdy'",
    "date": "UPDATE job SET created_at = 1e300",
    "infinite": "UPDATE job SET created_at = 9e999",
    "never": "UPDATE job SET run_at = -9e999",
    "error": "UPDATE job SET error = x'7b'",
    "other error": "UPDATE job SET error = CAST('{\"kind\": 1}' AS BLOB)",
    "queue": "UPDATE job SET queue = CAST(x'64ff' AS TEXT)",
    "key": "UPDATE job SET key = CAST(x'c328' AS TEXT)",
    "attempt": "UPDATE job SET attempt = -9223372036854775808",
    "body": "UPDATE job SET body = x''",
}


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
async def test_a_job_that_cannot_be_read_is_in_nobodys_way(tmp_path: Path, broker: SqliteBroker, lost: str) -> None:
    bad = await add(broker, now=time.time(), key="k")
    raw(tmp_path, f"{lost} WHERE id = ?", bad)
    good = [await add(broker, now=time.time()) for _ in range(2)]
    assert len((await broker.find()).jobs) == 3
    seen = await broker.get([bad, *good])
    assert [one.id for one in seen if one] == ([] if "SET id" in lost else [bad]) + good
    if seen[0] is not None and seen[0].task == "?":
        assert (seen[0].state, seen[0].reason) == (State.PARKED, UNREADABLE)
    await broker.beat("w", CARD, 3600.0)
    claims = [claim for _ in range(3) for claim in await broker.claim(["default"], {"loop": 1}, "w")]
    assert {claim.id for claim in claims} >= set(good)
    (told,) = await asyncio.gather(broker.cancel([bad]), return_exceptions=True)
    assert isinstance(told, StoreCorrupt) or told in ({}, {bad: State.RUNNING}, {bad: State.CANCELLED})
    assert all((await broker.settle([(claim, DONE) for claim in claims]))[0])
    await works(broker)


async def test_a_progress_that_is_none_is_not_shown(tmp_path: Path, broker: SqliteBroker) -> None:
    claim = await start(broker, now=time.time())
    await broker.append([(claim, [entry("progress", b"[1,2")])])
    seen = await look(broker, claim.id)
    assert (seen.state, seen.progress) == (State.RUNNING, None)


async def test_a_worker_whose_card_cannot_be_read_is_back_with_its_next_beat(
    tmp_path: Path, broker: SqliteBroker
) -> None:
    claim = await start(broker, now=time.time())
    await broker.beat("good", CARD, 3600.0)
    for card in (b"", b"{", b'{"host":1}', b"\xff"):
        raw(tmp_path, "UPDATE worker SET card = ? WHERE id = 'w'", card)
        assert [worker.id for worker in await broker.workers()] == ["good"]
    await broker.beat("w", CARD, 3600.0)
    assert [worker.id for worker in await broker.workers()] == ["good", "w"]
    raw(tmp_path, "UPDATE worker SET card = x'7b', until = 0 WHERE id = 'w'")
    assert [ready.id for ready in await broker.reclaim()] == [claim.id]
    assert (await look(broker, claim.id)).crashes == 1


# --- what it says of itself -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "survives", "remark"),
    [
        ("", "ext4", ("process crash", "power cut"), None),
        ("?synchronous=NORMAL", "ext4", ("process crash",), "synchronous=NORMAL"),
        ("", "tmpfs", ("process crash",), "in memory (tmpfs)"),
        ("?synchronous=NORMAL", "ramfs", ("process crash",), "in memory (ramfs)"),
        ("", "overlay", ("process crash", "power cut"), "container"),
        ("", "", ("process crash", "power cut"), None),
    ],
)
async def test_what_an_accepted_job_survives(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    kind: str,
    survives: tuple[str, ...],
    remark: str | None,
) -> None:
    for module in ("place", "broker"):
        monkeypatch.setattr(f"windlass.broker.sqlite.{module}.file_system", lambda _: kind)
    broker = at(tmp_path, options)
    await broker.open()
    info = await broker.describe()
    await broker.close()
    assert info.survives == survives
    said = [one for one in info.remarks if "checkpoint a log" not in one and "older than" not in one]
    assert any(remark in one for one in said) if remark else said == []
    assert info.details["file_system"] == (kind or "?")


async def test_memory_is_told_from_a_real_mount(disk: Path) -> None:
    broker = at(disk)
    await broker.open()
    info = await broker.describe()
    await broker.close()
    assert (info.survives, info.details["file_system"]) == (("process crash",), "tmpfs")
