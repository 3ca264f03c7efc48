"""Tickers: each tick once, however many there are, whatever their clocks show and wherever they die; and what overlap asks for."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from servers import BINARIES, MISSING, RedisServer
from windlass import Cron, Every, Schedule, Windlass
from windlass.broker.port import Broker
from windlass.core import schedule as core
from windlass.core.job import Card, Job
from windlass.core.outcome import Succeeded
from windlass.core.schedule import KEEP, tick_id
from windlass.core.state import State
from windlass.errors import BrokerUnavailable
from windlass.events import Event, StoreBack, StoreTrouble
from windlass.failpoints import armed
from windlass.timetable import NOTED, SHELF, noted
from windlass.worker import ticker as module
from windlass.worker.runner import working
from windlass.worker.ticker import IDLE, LOOK, STALE, Ticker

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()
ROOM = {"loop": 100, "thread": 100}


class Clocked:
    """A broker in a time of the test's own. skew: what its `now` is wrong by; the store itself is not."""

    def __init__(self, broker: Broker, time: list[float], skew: float = 0.0) -> None:
        self.broker, self.time, self.skew, self.calls = broker, time, skew, Counter[str]()

    async def now(self) -> float:
        return self.time[0] + self.skew

    def __getattr__(self, verb: str) -> Any:
        async def call(*args: Any, **given: Any) -> Any:
            self.calls[verb] += 1
            dated = {"now": self.time[0]} if verb in ("enqueue", "claim", "settle", "beat", "promote", "prune") else {}
            return await getattr(self.broker, verb)(*args, **given, **dated)

        return call


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer(BINARIES[0]) as server:
        yield server


@pytest.fixture(
    params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.skipif(not BINARIES, reason=MISSING))]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        server = request.getfixturevalue("redis")
        server.command("FLUSHALL")
        return cast(str, server.url())
    return f"sqlite:///{tmp_path}/jobs.db" if request.param == "sqlite" else f"memory://{tmp_path.name}"


class Scene:
    """An app without workers, time that the test moves, and tickers."""

    def __init__(self, app: Windlass, broker: Broker) -> None:
        self.app, self.time = app, [NOON]
        self.broker: Any = Clocked(broker, self.time)
        self.runs = Counter[str]()

    def ticker(self, skew: float = 0.0) -> Ticker:
        return Ticker(cast(Broker, Clocked(self.broker.broker, self.time, skew)), self.app)

    async def put(self, schedule: Schedule) -> None:
        """Keep a schedule that fires from now on."""
        await self.broker.put(SHELF, schedule.name, core.write(replace(schedule, since=self.time[0])))

    async def claim(self) -> list[Any]:
        """Start what is ready."""
        await self.broker.beat("w", Card(host="here", pid=1), 60.0)
        await self.broker.promote()
        claims = await self.broker.claim(["default"], ROOM, "w")
        self.runs.update(one.id for one in claims)
        return list(claims)

    async def work(self) -> None:
        """Run what is ready."""
        await self.broker.settle([(one, Succeeded(b"null")) for one in await self.claim()])

    async def jobs(self) -> list[Job]:
        """All jobs, the oldest first."""
        return list(reversed((await self.broker.find(limit=10_000)).jobs))

    def id(self, name: str, after: float) -> str:
        return tick_id(self.app.name, name, NOON + after)


@pytest.fixture
async def scene(url: str) -> AsyncIterator[Scene]:
    app = Windlass(url)

    @app.task(name="work")
    async def work(n: int = 0) -> None: ...

    broker = app.make_broker()
    await broker.open()
    yield Scene(app, broker)
    await broker.close()


def every(length: str, **fields: Any) -> Schedule:
    return Schedule(Every(length), name="s", task="work", **fields)


@pytest.mark.parametrize("seed", range(3))
async def test_any_number_of_tickers_with_any_clocks_make_each_tick_once(scene: Scene, seed: int) -> None:
    """For hours, so that jobs are pruned meanwhile; some tickers look seldom, and some die between a job and its note."""
    chance = random.Random(seed)
    await scene.put(every("1m", on_missed="all", options={"keep": 0}))
    tickers = [scene.ticker(skew) for skew in (-25.0, -3.0, 0.0, 20.0, 90.0)]
    while scene.time[0] < NOON + 3 * 3600:
        for ticker in chance.sample(tickers, chance.randrange(1, 4)):
            if chance.random() < 0.1:
                armed[chance.choice(["ticker.before_enqueue", "ticker.after_enqueue"])] = "raise"
            await asyncio.gather(ticker.look(), chance.choice(tickers).look(), return_exceptions=True)
            armed.clear()
        await scene.work()
        await scene.broker.prune()
        scene.time[0] += chance.choice([1.0, 20.0, 60.0, 400.0])
    scene.time[0] += 120
    await tickers[2].look()
    await scene.work()
    ticks = {scene.id("s", 60.0 * n) for n in range(1, int((scene.time[0] - NOON) // 60) + 1)}
    assert ticks <= scene.runs.keys()
    assert len(await scene.broker.leaves("ticks/s", limit=100)) == NOTED
    assert set(scene.runs.values()) == {1}


async def test_a_job_starts_when_the_stores_clock_says_so_though_a_tickers_clock_is_ahead(scene: Scene) -> None:
    await scene.put(every("1m"))
    await scene.ticker(skew=20.0).look()
    scene.time[0] += 45
    fast = scene.ticker(skew=20.0)
    await fast.look()
    assert [job.state for job in await scene.jobs()] == [State.SCHEDULED]
    scene.time[0] = NOON + 59
    assert await scene.claim() == []
    scene.time[0] = NOON + 60
    (claim,) = await scene.claim()
    assert (claim.id, claim.due_at) == (scene.id("s", 60), NOON + 60)


@pytest.mark.parametrize("where", ["ticker.before_enqueue", "ticker.after_enqueue"])
async def test_a_tick_whose_ticker_died_is_made_by_the_next_one_once(scene: Scene, where: str) -> None:
    await scene.put(every("1m"))
    scene.time[0] += 60
    armed[where] = "raise"
    with pytest.raises(RuntimeError):
        await scene.ticker().look()
    assert await noted(scene.broker, "s") == []
    await scene.work()
    await scene.ticker().look()
    await scene.work()
    assert scene.runs == {scene.id("s", 60): 1}
    assert await noted(scene.broker, "s") == [(NOON + 60, scene.id("s", 60))]


async def test_a_job_outlives_its_tick_so_that_notes_that_are_lost_make_no_second_one(scene: Scene) -> None:
    """All workers die when it has run and is not noted yet, and come back after hours: first they prune, then they look."""
    await scene.put(every("12h", options={"keep": 0}, window="1d"))
    scene.time[0] += 12 * 3600
    armed["ticker.after_enqueue"] = "raise"
    with pytest.raises(RuntimeError):
        await scene.ticker().look()
    await scene.work()
    scene.time[0] += 11 * 3600
    await scene.broker.prune()
    await scene.ticker().look()
    await scene.work()
    assert scene.runs == {scene.id("s", 12 * 3600): 1}
    scene.time[0] += 15 * 3600
    assert await scene.broker.prune() == 1


async def test_a_ticker_that_stood_still_with_a_tick_in_its_hand_finds_its_job_there(scene: Scene) -> None:
    """Though it is long finished, and what it said of its `keep` is over."""
    await scene.put(every("1m", options={"keep": 0}))
    slow, quick = scene.ticker(), scene.ticker()
    scene.time[0] += 60
    going, held = asyncio.Event(), asyncio.Event()
    enqueue = slow._broker.enqueue

    async def late(jobs: Any) -> Any:
        held.set()
        await going.wait()
        return await enqueue(jobs)

    slow._broker.enqueue = late  # type: ignore[method-assign] # that is how it stands still
    stuck = asyncio.create_task(slow.look())
    await held.wait()
    for _ in range(5):
        await quick.look()
        await scene.work()
        scene.time[0] += 60
    scene.time[0] = NOON + 60 + KEEP - 1
    await scene.broker.prune()
    going.set()
    await stuck
    await scene.work()
    assert set(scene.runs.values()) == {1}
    assert (await noted(scene.broker, "s"))[0][0] == NOON + 300  # its late note has taken nothing back


async def test_who_stood_still_for_long_looks_anew_before_a_job_is_made(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.put(every("1m"))
    ticker, clock = scene.ticker(), [100.0]
    fake = SimpleNamespace(clock_gettime=lambda _: clock[0], monotonic=lambda: clock[0])
    monkeypatch.setattr(module, "time", fake)
    leaves = ticker._broker.leaves

    async def slow(shelf: str, **given: Any) -> Any:
        found = await leaves(shelf, **given)
        if shelf != SHELF:
            clock[0] += STALE + 1
        return found

    ticker._broker.leaves = slow  # type: ignore[method-assign] # that is how it stands still
    scene.time[0] += 60
    assert await ticker.look() == 0.0
    assert await scene.jobs() == []
    ticker._broker.leaves = leaves  # type: ignore[method-assign] # it goes on
    await ticker.look()
    assert len(await scene.jobs()) == 1


# --- overlap ------------------------------------------------------------------------------------------------


async def test_skip_leaves_a_tick_out_while_an_earlier_job_is_unfinished(scene: Scene) -> None:
    await scene.put(every("1m", overlap="skip"))
    one, other = scene.ticker(), scene.ticker()
    scene.time[0] += 60
    await asyncio.gather(one.look(), other.look())
    (claim,) = await scene.claim()
    scene.time[0] += 60
    await asyncio.gather(one.look(), other.look())
    assert (await noted(scene.broker, "s"))[0] == (NOON + 120, claim.id)
    await scene.broker.settle([(claim, Succeeded(b"null"))])
    await other.look()
    assert len(await scene.jobs()) == 1
    scene.time[0] += 60
    await other.look()
    assert [job.id for job in await scene.jobs()] == [scene.id("s", 60), scene.id("s", 180)]


async def test_cancel_other_cancels_the_earlier_job_and_never_a_later_one(scene: Scene) -> None:
    await scene.put(every("1m", overlap="cancel_other"))
    one, other = scene.ticker(), scene.ticker()
    scene.time[0] += 60
    await asyncio.gather(one.look(), other.look())
    await scene.claim()
    scene.time[0] += 60
    await asyncio.gather(one.look(), other.look())
    first, second = await scene.jobs()
    assert (first.cancelling, second.state, second.cancelling) == (True, State.READY, False)


async def test_queue_waits_for_the_end_of_the_one_before(scene: Scene) -> None:
    await scene.put(every("1m", overlap="queue", on_missed="all"))
    one, other = scene.ticker(), scene.ticker()
    order = list[str]()
    scene.time[0] += 60
    await one.look()
    (claim,) = await scene.claim()
    scene.time[0] += 185
    for _ in range(4):
        assert await one.look() == pytest.approx(LOOK, abs=0.5)
        assert await scene.claim() == []
        await scene.broker.settle([(claim, Succeeded(b"null"))])
        order.append(claim.id)
        scene.time[0] += LOOK
        await asyncio.gather(one.look(), other.look())
        (claim, *more) = await scene.claim() or [None]
        assert more == []
        if claim is None:
            break
    assert order == [scene.id("s", 60 * n) for n in range(1, 5)]


async def test_allow_runs_both(scene: Scene) -> None:
    await scene.put(every("1m"))
    ticker = scene.ticker()
    for _ in range(2):
        scene.time[0] += 60
        await ticker.look()
        assert len(await scene.claim()) == 1


# --- what it costs, what it sees ----------------------------------------------------------------------------


async def test_without_schedules_it_looks_once_in_a_while_and_no_further(scene: Scene) -> None:
    ticker = scene.ticker()
    await ticker.declare()
    assert await ticker.look() == IDLE >= 20
    assert cast(Any, ticker._broker).calls == {"leaves": 2}


async def test_between_ticks_it_looks_at_the_shelf_and_no_further(scene: Scene) -> None:
    await scene.put(every("1h"))
    ticker: Any = scene.ticker()
    await ticker.look()
    ticker._broker.calls.clear()
    assert await ticker.look() == LOOK
    assert ticker._broker.calls == {"leaves": 1}


async def test_it_sleeps_until_the_next_tick_if_that_is_soon(scene: Scene) -> None:
    await scene.put(every("1m"))
    scene.time[0] += 59
    assert await scene.ticker().look() == pytest.approx(1.0, abs=0.5)


async def test_edits_are_seen_with_the_next_look(scene: Scene) -> None:
    await scene.put(every("1h"))
    ticker = scene.ticker()
    await ticker.look()
    scene.time[0] += 60
    await scene.put(every("1m"))
    scene.time[0] += 60
    await ticker.look()
    assert [job.id for job in await scene.jobs()] == [scene.id("s", 120)]
    await scene.put(every("1m", paused=True))
    scene.time[0] += 60
    await ticker.look()
    await scene.broker.remove(SHELF, "s")
    scene.time[0] += 60
    await ticker.look()
    assert len(await scene.jobs()) == 1


async def test_its_job_is_as_the_schedule_says(scene: Scene) -> None:
    await scene.put(every("1m", args={"n": 7}, jitter="30s", options={"priority": 9, "meta": {"a": "b"}, "keep": 0}))
    scene.time[0] += 60
    await scene.ticker().look()
    (job,) = await scene.jobs()
    assert (job.task, job.priority, job.key) == ("work", 9, None)
    assert NOON + 60 <= job.run_at.timestamp() < NOON + 90
    assert b'"args":{"n":7}' in job.body
    assert b'{"a":"b","schedule":"s","tick":"2026-06-01T12:01:00+00:00"}' in job.body


async def test_tasks_of_other_programs_are_left_to_these(scene: Scene) -> None:
    await scene.put(replace(every("1m"), task="other"))
    scene.time[0] += 60
    assert await scene.ticker().look() == LOOK
    assert await scene.jobs() == []


async def test_what_makes_no_sense_is_told_of_once_and_holds_up_nothing(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.broker.put(SHELF, "a", b"nonsense")
    await scene.broker.put("ticks/s", "nonsense", b"\xff")
    await scene.put(replace(every("1m", options={"priority": 77}), name="b"))
    await scene.put(every("1m"))
    ticker = scene.ticker()
    for _ in range(3):
        scene.time[0] += 60
        await ticker.look()
    assert [record.args and record.args[0] for record in caplog.records if record.levelno == logging.WARNING] == [
        "a",
        "b",
    ]
    assert len(await scene.jobs()) == 3


async def test_many_schedules_are_seen_to_at_once(scene: Scene) -> None:
    for number in range(250):
        await scene.put(replace(every("1m"), name=f"s{number:03}"))
    scene.time[0] += 60
    await asyncio.gather(scene.ticker().look(), scene.ticker().look())
    assert {job.id for job in await scene.jobs()} == {scene.id(f"s{number:03}", 60) for number in range(250)}


# --- the code -----------------------------------------------------------------------------------------------


async def kept(scene: Scene) -> dict[str, Schedule]:
    return {name: core.read(data) for name, data in await scene.broker.leaves(SHELF)}


async def test_a_worker_puts_the_schedules_of_its_code_into_the_book_and_takes_out_what_is_gone(scene: Scene) -> None:
    @scene.app.task(name="twice", schedule=[Every("1h"), Schedule(Cron("0 9 * * *"), name="nine")])
    async def twice() -> None: ...

    await asyncio.gather(scene.ticker().declare(), scene.ticker().declare())
    assert {name: one.since for name, one in (await kept(scene)).items()} == {"nine": NOON, "twice:1": NOON}
    await scene.put(every("1m"))  # added at run time
    await scene.broker.put("ticks/nine", "1", b"")
    scene.app.definitions["twice"].schedules = scene.app.definitions["twice"].schedules[:1]
    await scene.ticker().declare()
    assert (await kept(scene)).keys() == {"s", "twice:1"}
    assert await scene.broker.leaves("ticks/nine") == []


async def test_schedules_of_modules_that_are_not_loaded_here_are_anothers(scene: Scene) -> None:
    one = every("1h", module="another.program")
    await scene.put(replace(one, declared=one))
    await scene.ticker().declare()
    assert (await kept(scene)).keys() == {"s"}


async def test_what_an_operator_changed_outlives_a_restart_and_a_deploy(scene: Scene) -> None:
    @scene.app.task(name="nightly", schedule=Cron("0 3 * * *"))
    async def nightly() -> None: ...

    await scene.ticker().declare()
    one = (await kept(scene))["nightly"]
    await scene.broker.put(SHELF, "nightly", core.write(core.changed(one, NOON, when=Cron("0 4 * * *"), paused=True)))
    scene.app.definitions["nightly"].schedules = (replace(scene.app.definitions["nightly"].schedules[0], jitter=60.0),)
    ticker: Any = scene.ticker()
    await ticker.declare()
    one = (await kept(scene))["nightly"]
    assert (one.when, one.paused, one.jitter, one.edited) == (Cron("0 4 * * *"), True, 60.0, ["when"])
    ticker._broker.calls.clear()
    await ticker.declare()
    assert ticker._broker.calls["put"] == 0


# --- in a worker --------------------------------------------------------------------------------------------


async def test_workers_make_and_run_the_jobs_of_their_schedules(
    make_app: Callable[..., Windlass], until: Callable[..., Any]
) -> None:
    app, ran = make_app(), list[int]()

    @app.task(schedule=Every("1s"))
    async def beat() -> None:
        ran.append(1)

    async with working(app), working(app):
        await until(lambda: len(ran) >= 2)
    (one,) = await app.schedules.list()
    assert len(one.ticks) == len({tick.id for tick in one.ticks}) >= 2
    assert len(ran) == sum(tick.job is not None and tick.job.state is State.SUCCEEDED for tick in one.ticks)


async def test_a_store_that_is_away_is_asked_again_and_that_is_told(
    app: Windlass, until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK", 0.01)
    seen, answers = list[Event](), [BrokerUnavailable("away")] * 2

    class Away:
        async def leaves(self, *_: Any, **__: Any) -> list[Any]:
            if answers:
                raise answers.pop()
            return []

    app.events.subscribe(seen.append, StoreTrouble, StoreBack)
    ticker = Ticker(cast(Any, Away()), app)
    await ticker.start()
    await until(lambda: len(seen) == 3)
    await ticker.stop()
    assert [type(one) for one in seen] == [StoreTrouble, StoreTrouble, StoreBack]
