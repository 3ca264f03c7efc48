"""Schedules as an app has them: at the decorator, and `app.schedules` at run time."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Annotated, Any

import pytest

from windlass import ConfigurationError, Cron, Every, InvalidArguments, Schedule, Seal, Secret, Windlass
from windlass.core import schedule as core
from windlass.core.state import State
from windlass.definition import Definition
from windlass.errors import TaskDefinitionError, Undecodable, UnknownSchedule, UnknownTask
from windlass.testing import Harness
from windlass.timetable import SHELF
from windlass.worker.ticker import Ticker


@pytest.fixture
def app() -> Windlass:
    return Windlass("memory://")


async def report(region: str, since: timedelta = timedelta(days=1)) -> None: ...


def declared(app: Windlass, **given: Any) -> tuple[Schedule, ...]:
    return app.task(name="report", **given)(report).definition.schedules  # type: ignore[no-any-return] # Any above


# --- at the decorator


def test_a_schedule_is_named_after_its_task(app: Windlass) -> None:
    @app.task(schedule=Cron("0 9 * * mon-fri", tz="Europe/Berlin"))
    async def nightly() -> None: ...

    (one,) = nightly.definition.schedules
    assert (one.name, one.task, one.when) == (nightly.name, nightly.name, Cron("0 9 * * mon-fri", tz="Europe/Berlin"))


def test_several_schedules_are_numbered_unless_they_have_names(app: Windlass) -> None:
    here = Schedule(Every("1h"), args={"region": "eu"})
    one, two = declared(app, schedule=[here, core.replace(here, name="us")])
    assert (one.name, two.name) == ("report:1", "us")
    with pytest.raises(TaskDefinitionError, match="two of its schedules"):
        declared(app, schedule=[core.replace(here, name="us")] * 2)


def test_required_arguments_must_be_given(app: Windlass) -> None:
    with pytest.raises(TaskDefinitionError, match=r"region.*Schedule\(Cron\(...\), args=\{...\}\)"):
        declared(app, schedule=Every("1h"))


def test_arguments_are_checked_and_kept_as_they_travel(app: Windlass) -> None:
    (one,) = declared(app, schedule=Schedule(Every("1h"), args={"region": "eu", "since": timedelta(hours=2)}))
    assert one.args == {"region": "eu", "since": "PT2H"}
    with pytest.raises(TaskDefinitionError, match="since"):
        declared(app, schedule=Schedule(Every("1h"), args={"region": "eu", "since": "often"}))


def test_options_that_make_no_sense_are_refused(app: Windlass) -> None:
    with pytest.raises(ConfigurationError, match="priority"):
        declared(app, schedule=Schedule(Every("1h"), args={"region": "eu"}, options={"priority": 99}))


# --- at run time


@pytest.fixture
def known(app: Windlass) -> Definition:
    return app.task(name="report")(report).definition


async def test_one_is_added_listed_and_shown(app: Windlass, known: Definition) -> None:
    with Harness(app):
        one = await app.schedules.add("report", Schedule(Cron("0 3 * * *"), name="eu", args={"region": "eu"}))
        assert await app.schedules.get("eu") == one
        assert one.since > 0
        (planned,) = await app.schedules.list()
        assert planned == await app.schedules.show("eu")
        assert planned.schedule == one
        assert [(at.hour, at.minute) for at in planned.next] == [(3, 0)] * 5
        assert planned.ticks == []


async def test_a_name_is_taken_once_and_a_task_must_be_known(app: Windlass, known: Definition) -> None:
    with Harness(app):
        one = Schedule(Every("1h"), args={"region": "eu"})
        await app.schedules.add(app.get_task("report"), one)
        with pytest.raises(ConfigurationError, match="already"):
            await app.schedules.add("report", one)
        with pytest.raises(UnknownTask):
            await app.schedules.add("nothing", one)
        with pytest.raises(TaskDefinitionError, match="region"):
            await app.schedules.add("report", Every("1h"))


async def test_it_is_edited_paused_resumed_and_removed(app: Windlass, known: Definition) -> None:
    with Harness(app) as jobs:
        one = await app.schedules.add("report", Schedule(Every("1h"), name="eu", args={"region": "eu"}))
        jobs.travel("1m")
        new = await app.schedules.edit("eu", when=Every("2h"), args={"region": "us", "since": 60}, jitter="5m")
        assert (new.when, new.args, new.jitter) == (Every("2h"), {"region": "us", "since": "PT1M"}, 300.0)
        assert new.since >= one.since + 60
        assert (await app.schedules.pause("eu")).paused
        assert (await app.schedules.show("eu")).next == []
        jobs.travel("1h")
        resumed = await app.schedules.resume("eu")
        assert (resumed.paused, resumed.since >= new.since + 3600) == (False, True)
        await app.schedules.remove("eu")
        assert await app.schedules.list() == []


async def test_what_makes_no_sense_changes_nothing(app: Windlass, known: Definition) -> None:
    with Harness(app):
        one = await app.schedules.add("report", Schedule(Every("1h"), name="eu", args={"region": "eu"}))
        for fields in (
            {"args": {}},
            {"options": {"priority": 77}},
            {"overlap": "x"},
            {"task": "other"},
            {"args": 5},
            {"options": []},
            {"since": 0.0},
        ):
            with pytest.raises(ConfigurationError):
                await app.schedules.edit("eu", **fields)
        assert await app.schedules.get("eu") == one
        for call in (app.schedules.pause, app.schedules.remove, app.schedules.run, app.schedules.show):
            with pytest.raises(UnknownSchedule, match="windlass schedule list"):
                await call("us")


async def test_of_a_task_that_is_unknown_here_all_but_its_arguments_can_be_changed(app: Windlass) -> None:
    with Harness(app):
        broker = await app.broker()
        await broker.put(SHELF, "x", core.write(Schedule(Every("1h"), name="x", task="far.away")))
        assert (await app.schedules.edit("x", when=Every("2h"))).when == Every("2h")
        for call in (app.schedules.edit("x", args={"n": 1}), app.schedules.run("x")):
            with pytest.raises(UnknownTask):
                await call
        await app.schedules.remove("x")


async def test_one_in_the_code_is_removed_in_the_code(app: Windlass) -> None:
    @app.task(name="nightly", schedule=Cron("0 3 * * *"))
    async def nightly() -> None: ...

    with Harness(app):
        broker = await app.broker()
        await Ticker(broker, app).declare()
        with pytest.raises(ConfigurationError, match=r"in the code \(.*test_schedules.py:\d+\)"):
            await app.schedules.remove("nightly")
        assert (await app.schedules.edit("nightly", when=Cron("0 4 * * *"))).edited == ["when"]


async def test_it_runs_now_and_with_skip_not_beside_another(app: Windlass, known: Definition) -> None:
    with Harness(app) as jobs:
        await app.schedules.add("report", Schedule(Every("1h"), name="eu", args={"region": "eu"}, overlap="skip"))
        first, second = await app.schedules.run("eu"), await app.schedules.run("eu")
        assert (first.fresh, second.fresh, second.id) == (True, False, first.id)
        assert jobs.assert_enqueued("report", region="eu").meta == {"schedule": "eu"}


async def test_its_ticks_tell_what_became_of_them(app: Windlass, known: Definition) -> None:
    with Harness(app) as jobs:
        await app.schedules.add("report", Schedule(Every("1h"), name="eu", args={"region": "eu"}, overlap="skip"))
        ticker = Ticker(await app.broker(), app)
        for _ in range(2):
            jobs.travel("1h")
            await ticker.look()
        left_out, made = (await app.schedules.show("eu")).ticks
        assert (left_out.skipped, left_out.job) == (True, None)
        assert made.job is not None
        assert (made.job.id, made.job.state, made.skipped) == (made.id, State.READY, False)
        assert left_out.at - made.at == timedelta(hours=1)
        await jobs.drain()
        await (await app.broker()).forget([made.id])
        left_out, made = (await app.schedules.show("eu")).ticks
        assert (made.job, made.skipped) == (None, False)


async def test_what_cannot_be_read_is_left_out_and_told_of(app: Windlass, caplog: pytest.LogCaptureFixture) -> None:
    with Harness(app):
        await (await app.broker()).put(SHELF, "x", b"{}")
        assert await app.schedules.list() == []
        assert "'x' is left out" in caplog.text
        with pytest.raises(Undecodable):
            await app.schedules.get("x")


async def test_behind_a_seal_nobody_else_makes_or_changes_a_schedule() -> None:
    """Workers would make jobs of it, and seal them."""
    app = Windlass("memory://sealed-schedules", seal=Seal.signing({"k": secrets.token_bytes(32)}))

    @app.task
    async def pay(amount: int) -> None: ...

    one = await app.schedules.add(pay, Schedule(Every("1h"), args={"amount": 1}))
    assert [planned.schedule for planned in await app.schedules.list()] == [one]
    stranger = Windlass("memory://sealed-schedules")
    broker = await stranger.broker()
    ((name, data),) = await broker.leaves(SHELF)
    assert data != core.write(one)
    await broker.put(SHELF, "theirs", data)
    await broker.put(SHELF, name, core.write(core.replace(one, args={"amount": 1_000_000})))
    assert await app.schedules.list() == []
    await app.close()
    await stranger.close()


def test_secret_arguments_are_known_as_such(app: Windlass) -> None:
    @app.task(schedule=Schedule(Every("1h"), args={"token": "abc", "n": 1}))
    async def fetch(token: Annotated[str, Secret], n: int) -> None: ...

    (one,) = fetch.definition.schedules
    assert one.secret == ("token",)


def test_arguments_of_a_schedule_are_small(app: Windlass) -> None:
    with pytest.raises((InvalidArguments, TaskDefinitionError), match="max_payload"):
        declared(app, schedule=Schedule(Every("1h"), args={"region": "x" * 70_000}))


async def test_an_edit_without_a_change_seals_anew() -> None:
    old, new = secrets.token_bytes(32), secrets.token_bytes(32)
    keys = {"old": old}, {"new": new, "old": old}, {"new": new}
    before, meanwhile, after = (Windlass("memory://rotated", seal=Seal.signing(ring)) for ring in keys)
    one = await before.schedules.add(before.task(name="nightly")(nightly), Cron("0 3 * * *"))
    assert await after.schedules.list() == []
    assert await meanwhile.schedules.edit("nightly") == one
    assert [planned.schedule for planned in await after.schedules.list()] == [one]
    for app in (before, meanwhile, after):
        await app.close()


async def nightly() -> None: ...
