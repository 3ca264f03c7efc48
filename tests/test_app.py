"""The app: its name, its connections over loops, threads and forks, and its opening and closing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from by_hand import run_next
from windlass import ConfigurationError, Windlass
from windlass.broker.memory import MemoryBroker
from windlass.errors import (
    BrokerError,
    BrokerUnavailable,
    StoreCorrupt,
    StoreFull,
    StoreRefused,
    StoreTooNew,
    UnknownScheme,
)


def work(number: int) -> int:
    return number * 2


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "{a}", "ä ö"])
def test_a_name_that_could_not_be_part_of_a_key_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="an app's name is made of letters"):
        Windlass("memory://", name=name)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("amqp://localhost", "'amqp' is not built yet; use one of sqlite://, memory://, redis://"),
        ("mysql://localhost", "'mysql' is no store that Windlass knows"),
        ("jobs.db", "'jobs.db' is no store that Windlass knows"),
    ],
)
def test_an_unknown_store_is_refused_with_what_there_is(url: str, said: str) -> None:
    with pytest.raises(UnknownScheme) as refused:
        Windlass(url)
    assert said in str(refused.value)


def test_making_an_app_touches_nothing(tmp_path: Path) -> None:
    Windlass(f"sqlite:///{tmp_path / 'deep' / 'jobs.db'}")
    assert list(tmp_path.iterdir()) == []


def test_many_loops_one_after_the_other(url: str) -> None:
    """Scripts, notebooks and tests call asyncio.run again and again."""
    app = Windlass(url)
    task = app.task(work)

    async def round_trip(number: int) -> int:
        async with app.lifespan():
            job = await task.enqueue(number)
            await run_next(app)
            return await job.result(timeout=10)

    assert [asyncio.run(round_trip(number)) for number in range(5)] == [0, 2, 4, 6, 8]


def test_many_loops_at_once_see_one_store(url: str) -> None:
    app = Windlass(url)
    task = app.task(work)
    ids: list[str] = []

    async def produce() -> None:
        async with app.lifespan():
            ids.append((await task.enqueue(1)).id)

    threads = [threading.Thread(target=lambda: asyncio.run(produce())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def known() -> int:
        async with app.lifespan():
            return sum(job is not None for job in await (await app.broker()).get(ids))

    assert asyncio.run(known()) == len(set(ids)) == 4


async def test_one_loop_opens_one_connection_however_many_ask_at_once(url: str) -> None:
    app = Windlass(url)
    async with app.lifespan():
        first, *others = await asyncio.gather(*(app.broker() for _ in range(20)))
        assert all(other is first for other in others)


async def test_a_caller_that_gives_up_does_not_break_the_opening_for_others(url: str) -> None:
    app = Windlass(url)
    impatient, patient = asyncio.create_task(app.broker()), asyncio.create_task(app.broker())
    await asyncio.sleep(0)
    impatient.cancel()
    broker = await patient
    assert await app.broker() is broker
    await app.close()


async def test_after_closing_the_next_use_opens_again(url: str) -> None:
    app = Windlass(url)
    job = await app.task(work).enqueue(1)
    await app.close()
    await app.close()
    assert (await job.info()).id == job.id
    await app.close()


async def test_a_store_that_could_not_be_opened_is_tried_again(tmp_path: Path) -> None:
    place = tmp_path / "blocked"
    place.write_text("a file where a folder must be")
    app = Windlass(f"sqlite:///{place / 'jobs.db'}")
    task = app.task(work)
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            await task.enqueue(1)
    place.unlink()
    assert (await task.enqueue(1)).fresh
    await app.close()


class Away(MemoryBroker):
    """A store that cannot be opened before it is `back`."""

    back = False
    error: BrokerError = BrokerUnavailable("the network is down")

    def sibling(self) -> Away:
        return self

    async def open(self) -> None:
        if not self.back:
            raise self.error


@pytest.mark.parametrize("error", [BrokerUnavailable("database is locked"), StoreFull("no space left on device")])
async def test_an_app_starts_without_its_store_and_works_once_it_is_back(
    error: BrokerError, caplog: pytest.LogCaptureFixture
) -> None:
    app, store = Windlass("memory://"), Away()
    store.error, task = error, app.task(work)
    with app.store_replaced(store):
        async with app.lifespan():
            assert f"starts without its store, and asks again: {error}" in caplog.text
            with pytest.raises(type(error)):
                await task.enqueue(1)
            store.back = True
            assert (await task.enqueue(1)).fresh


async def test_an_app_does_not_start_on_a_store_that_only_people_can_mend() -> None:
    app, store = Windlass("memory://"), Away()
    for error in (StoreCorrupt("damaged"), StoreTooNew("upgrade"), StoreRefused("a network disk")):
        store.error = error  # type: ignore[assignment]  # any error of a store
        with app.store_replaced(store), pytest.raises(type(error)):
            async with app.lifespan():
                pytest.fail("it started")


FORK = """
import os, sys
from windlass import Windlass

app = Windlass(sys.argv[1])

@app.task
def work(number: int) -> int: ...

if sys.argv[2] == "used":
    print(work.delay(1).id, flush=True)
child = os.fork()
if child == 0:
    try:
        print(work.delay(2).id, flush=True)
    except Exception as error:
        print(f"refused: {error}", file=sys.stderr, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(work.delay(3).id, flush=True)
"""


@pytest.mark.parametrize("before", ["unused", "used"])
def test_an_app_survives_a_fork(tmp_path: Path, before: str) -> None:
    """Gunicorn with --preload forks: each child opens the store for itself, unless the parent had it open already.

    SQLite cannot be opened in a child whose parent has the file open (its locks are per process), and says so.
    """
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    done = subprocess.run(
        [sys.executable, "-c", FORK, url, before], capture_output=True, text=True, timeout=60, check=True
    )
    ids = done.stdout.split()

    async def known() -> int:
        app = Windlass(url)
        async with app.lifespan():
            return sum(job is not None for job in await (await app.broker()).get(ids))

    assert len(ids) == 2
    assert asyncio.run(known()) == 2
    assert ("open it after the fork" in done.stderr) is (before == "used")


async def test_the_sync_api_cannot_be_called_from_its_own_loop(url: str) -> None:
    app = Windlass(url)
    task = app.task(work)

    async def inside() -> None:
        task.delay(1)

    with pytest.raises(RuntimeError, match="called from its own background loop; await the async twin"):
        await asyncio.to_thread(app.run_blocking, inside())


def test_an_app_says_what_it_is() -> None:
    app = Windlass("memory://", name="shop")
    app.task(work)
    assert repr(app) == "<Windlass 'shop': 1 tasks>"
