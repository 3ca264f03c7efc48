"""Schedules: when they fire, on days with 23 and 25 hours too; what is made up for; what an operator changed and what the code says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from windlass import ConfigurationError, Cron, Every, Schedule
from windlass.core import schedule as core
from windlass.core.schedule import BATCH, LATE, changed, merged, read, tick_id, tick_name, tick_of, write
from windlass.errors import Undecodable

BERLIN = ZoneInfo("Europe/Berlin")
HOUR, DAY = 3600.0, 86_400.0
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()


def ticks(when: core.When, start: datetime, number: int) -> list[str]:
    zone = start.tzinfo
    return [datetime.fromtimestamp(one, zone).isoformat() for one in islice(when.after(start.timestamp()), number)]


# --- when


@pytest.mark.parametrize("line", ["30 2 * * *", "*/30 2 * * *", "* 2 * * *", "15,45 2 * * *"])
def test_what_would_fire_in_the_gap_of_spring_fires_once_at_its_end(line: str) -> None:
    found = ticks(Cron(line, tz="Europe/Berlin"), datetime(2026, 3, 29, tzinfo=BERLIN), 2)
    assert found[0] == "2026-03-29T03:00:00+02:00"
    assert found[1].startswith("2026-03-30T02:")


def test_what_fires_in_the_hour_that_comes_twice_in_autumn_fires_once() -> None:
    start = datetime(2026, 10, 25, tzinfo=BERLIN)
    assert ticks(Cron("30 2 * * *", tz="Europe/Berlin"), start, 2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]
    assert len([one for one in ticks(Cron("*/30 2 * * *", tz="Europe/Berlin"), start, 4) if "10-25" in one]) == 2


@pytest.mark.parametrize("minutes", [10, 50])
def test_asked_in_the_second_of_two_equal_hours_it_goes_on_the_next_day(minutes: int) -> None:
    """Also when the minute is yet to come there: it came in the first of them."""
    second = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)
    assert ticks(Cron(f"{minutes} 2 * * *", tz="Europe/Berlin"), second, 1) == [f"2026-10-26T02:{minutes}:00+01:00"]


@pytest.mark.parametrize(("day", "hours"), [(datetime(2026, 3, 29), 23), (datetime(2026, 10, 25), 25)])
def test_a_line_for_every_hour_goes_by_the_time_that_passes(day: datetime, hours: int) -> None:
    start = day.replace(tzinfo=BERLIN) - timedelta(seconds=1)
    found = ticks(Cron("0 * * * *", tz="Europe/Berlin"), start, 26)
    assert sum(one.startswith(day.date().isoformat()) for one in found) == hours


HALF_AN_HOUR = "Australia/Lord_Howe"
"""Where clocks are set by half an hour. There, cronsim 2.8 leaves out a tick of a line for every hour on that day."""
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "America/Santiago", HALF_AN_HOUR]
fields = st.tuples(
    st.sampled_from(["0", "30", "5,35", "*/20", "*", "10-12"]),
    st.sampled_from(["*", "2", "1,2", "0-3", "23", "*/3"]),
    st.sampled_from(["*", "*/2", "1-15"]),
    st.sampled_from(["*", "3,10"]),
    st.sampled_from(["*", "mon-fri", "sun"]),
)


@settings(max_examples=60, deadline=None)
@given(fields, st.sampled_from(ZONES), st.sampled_from([(3, 7), (3, 28), (4, 3), (9, 5), (10, 3), (10, 24), (11, 1)]))
def test_it_fires_as_a_walk_over_all_minutes_says(parts: tuple[str, ...], name: str, day: tuple[int, int]) -> None:
    """Over two days around the days on which clocks are set: a line that names its hours by the minutes on the wall, else by real ones."""
    assume(name != HALF_AN_HOUR or not parts[1].startswith("*"))
    line, zone = " ".join(parts), ZoneInfo(name)
    start = datetime(2026, *day, tzinfo=zone).timestamp()
    expected = set[float]()
    if parts[1].startswith("*"):
        for minute in range(2 * 1440):
            at = datetime.fromtimestamp(start + 60 * (minute + 1), zone)
            if matches(line, at.replace(tzinfo=None)):
                expected.add(at.timestamp())
    else:
        local = datetime.fromtimestamp(start, zone).replace(tzinfo=None)
        for minute in range(1, 2 * 1440 + 121):
            if matches(line, local + timedelta(minutes=minute)):
                expected.add(instant(local + timedelta(minutes=minute), zone))
    end = start + 2 * DAY
    found = list(core._between(Cron(line, tz=name), start, end))
    assert found == sorted(one for one in expected if start < one <= end)


def matches(line: str, local: datetime) -> bool:
    return next(CronSim(line, local - timedelta(minutes=1))) == local


def instant(local: datetime, zone: ZoneInfo) -> float:
    """The first of its moments; if it has none, the end of the gap that it is in."""
    while (at := local.replace(tzinfo=zone)).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local:
        local += timedelta(minutes=1)
    return at.timestamp()


def test_every_counts_from_the_beginning_of_1970_so_that_all_agree() -> None:
    assert list(islice(Every("15m").after(NOON), 2)) == [NOON + 900, NOON + 1800]
    assert list(islice(Every("15m").after(NOON - 0.001), 1)) == [NOON]
    assert list(islice(Every(90).after(0.0), 2)) == [90.0, 180.0]
    for step in ("1.1s", "1.001s", "7s"):
        found = list(islice(Every(step).after(NOON), 1000))
        assert all(next(Every(step).after(one)) == after for one, after in pairwise(found))


@pytest.mark.parametrize(
    "line", ["", "nonsense", "* * * *", "* * * * * *", "60 * * * *", "@daily", "0 0 30 2 *", "1," * 300]
)
def test_a_line_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(ConfigurationError, match="cron line"):
        Cron(line)


def test_a_day_that_never_comes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="never comes"):
        Cron("0 0 */31 * mon#5")


@given(st.text(alphabet="0123456789*/,-#LWmonfri ?@", max_size=40))
@settings(deadline=None)
def test_whatever_is_written_is_a_line_or_refused(line: str) -> None:
    try:
        assert str(Cron(line)).endswith("(UTC)")
    except ConfigurationError:
        pass


@pytest.mark.parametrize("zone", ["Europe/Berln", "", "../etc/passwd", "Europe", "\0"])
def test_a_zone_that_there_is_not_is_refused(zone: str) -> None:
    with pytest.raises(ConfigurationError, match="no time zone"):
        Cron("0 9 * * *", tz=zone)


def test_a_near_zone_is_named() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'Europe/Berlin'"):
        Cron("0 9 * * *", tz="Europe/Berln")


@pytest.mark.parametrize("length", ["0.5s", 0, "often", -3])
def test_a_length_that_makes_no_sense_is_refused(length: float | str) -> None:
    with pytest.raises(ConfigurationError):
        Every(length)


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (Cron("0 9 * * mon-fri", tz="Europe/Berlin"), "At 09:00 on Monday through Friday (Europe/Berlin)"),
        (Every("15m"), "Every 15 minutes"),
        (Every("1h"), "Every hour"),
        (Every("90s"), "Every 90 seconds"),
        (Every("2d"), "Every 2 days"),
        (Every(1.5), "Every 1.5 seconds"),
    ],
)
def test_in_plain_english(when: core.When, said: str) -> None:
    assert str(when) == said


# --- what is due


def test_a_tick_is_due_once_from_its_moment_on() -> None:
    one = Schedule(Every("1h"))
    assert one.due(NOON - HOUR, NOON - 0.001) == []
    assert one.due(NOON - HOUR, NOON) == [NOON]
    assert one.due(NOON, NOON + 5) == []


@pytest.mark.parametrize(
    ("policy", "expected"), [("skip", []), ("once", [NOON]), ("all", [NOON - HOUR, NOON])], ids=["skip", "once", "all"]
)
def test_of_missed_ticks_as_many_are_made_up_for_as_it_says(policy: core.OnMissed, expected: list[float]) -> None:
    one = Schedule(Every("1h"), on_missed=policy)
    assert one.due(NOON - 2 * HOUR, NOON + LATE) == expected


def test_what_is_a_little_late_is_not_missed_whatever_the_policy() -> None:
    one = Schedule(Every("10s"), on_missed="skip")
    assert one.due(NOON - 10, NOON + 25) == [NOON, NOON + 10, NOON + 20]


def test_nothing_before_the_window_or_its_beginning_is_made_up_for() -> None:
    one = Schedule(Every("1h"), on_missed="all", window="3h")
    assert one.due(0.0, NOON + 60) == [NOON - 2 * HOUR, NOON - HOUR, NOON]
    assert core.replace(one, since=NOON - HOUR).due(0.0, NOON + 60) == [NOON]
    assert core.replace(one, on_missed="once", window=60.0).due(0.0, NOON + 60) == []


def test_many_missed_ticks_come_in_portions_and_in_order() -> None:
    one, last, found = Schedule(Every("1m"), on_missed="all"), NOON - 250 * 60, list[float]()
    while due := one.due(last, NOON):
        assert len(due) <= BATCH + 1
        found += due
        last = due[-1]
    assert found == [NOON - 60 * back for back in range(249, -1, -1)]


def test_the_latest_of_very_many_is_found_soon() -> None:
    assert Schedule(Every(1), window="7d").due(0.0, NOON)[0] == NOON - LATE
    assert Schedule(Cron("* * * * *"), window="365d").due(0.0, NOON)[0] == NOON - 60
    assert Schedule(Cron("0 0 1 1 *"), window="365d").due(0.0, NOON) == [datetime(2026, 1, 1, tzinfo=UTC).timestamp()]


def test_the_next_five_ticks() -> None:
    one = Schedule(Every("1h"))
    assert one.upcoming(NOON) == [NOON + HOUR * more for more in range(1, 6)]
    assert core.replace(one, since=NOON + DAY).upcoming(NOON, 1) == [NOON + DAY + HOUR]


def test_jitter_is_the_same_for_all_who_ask_and_another_for_each_tick() -> None:
    one = Schedule(Every("1h"), jitter="10m")
    starts = [one.start_of(at, tick_id("app", "s", at)) - at for at in islice(one.when.after(NOON), 50)]
    assert starts == [one.start_of(at, tick_id("app", "s", at)) - at for at in islice(one.when.after(NOON), 50)]
    assert all(0 <= late < 600 for late in starts)
    assert max(starts) > 400 > 200 > min(starts)


# --- names and ids


def test_the_id_of_a_ticks_job_is_a_uuid_of_its_moment_and_differs_with_all_that_names_it() -> None:
    ids = {tick_id(app, name, at) for app in ("a", "b") for name in ("x", "y") for at in (NOON, NOON + 1)}
    assert len(ids) == 8
    assert tick_id("a", "x", NOON) == tick_id("a", "x", NOON)
    one = UUID(tick_id("a", "x", NOON))
    assert (str(one), one.version, one.variant) == (tick_id("a", "x", NOON), 7, "specified in RFC 4122")
    assert one.int >> 80 in (int(NOON * 1000), int(NOON * 1000) - 1)


def test_the_names_of_ticks_are_in_their_order() -> None:
    assert tick_of(tick_name(NOON + 0.125)) == NOON + 0.125
    assert tick_name(999.0) < tick_name(NOON) < tick_name(9e9)


# --- the code and the operator


def said(**fields: object) -> Schedule:
    return Schedule(Every("1h"), name="s", task="t", **fields)  # type: ignore[arg-type] # fields of a schedule


def test_a_schedule_reads_back_as_it_was_written() -> None:
    one = merged(None, said(args={"n": [1, None]}, options={"queue": "q"}, jitter="5m"), NOON)
    assert read(write(one)) == one
    assert one.since == NOON
    assert one.edited == []


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"when":{"kind":"cron","line":"x"}}', b'{"when":{"kind":"every","seconds":"a"}}']
)
def test_what_is_no_schedule_cannot_be_read(data: bytes) -> None:
    with pytest.raises(Undecodable):
        read(data)


def test_lengths_of_time_are_kept_in_seconds() -> None:
    one = said(options={"timeout": timedelta(hours=1), "keep": "2m"}, window=timedelta(hours=3))
    assert (one.options, one.window) == ({"timeout": 3600.0, "keep": 120.0}, 10_800.0)
    assert read(write(one)) == one


def test_what_an_operator_changed_stays_and_the_rest_follows_the_code() -> None:
    kept = changed(merged(None, said(args={"n": 1}), NOON), NOON + 1, when=Every("2h"), paused=True)
    assert kept.edited == ["when"]
    new = merged(kept, said(args={"n": 2}, jitter="1m"), NOON + 2)
    assert (new.when, new.paused, new.args, new.jitter) == (Every("2h"), True, {"n": 2}, 60.0)
    assert merged(new, said(args={"n": 2}, jitter="1m"), NOON + 3) == new


def test_what_is_changed_back_follows_the_code_again() -> None:
    kept = changed(changed(merged(None, said(), NOON), NOON, jitter=5.0), NOON, jitter=0.0)
    assert merged(kept, said(jitter=9.0), NOON).jitter == 9.0


def test_nothing_from_before_another_timetable_is_missed() -> None:
    kept = merged(None, said(), NOON)
    assert changed(kept, NOON + 9, args={"n": 1}, jitter=3.0).since == NOON
    for field in ({"when": Every("2h")}, {"paused": True}, {"window": 60.0}, {"on_missed": "all"}):
        assert changed(kept, NOON + 9, **field).since == NOON + 9
    assert merged(kept, core.replace(said(), when=Every("3h")), NOON + 9).since == NOON + 9


def test_one_of_the_same_name_that_was_added_at_run_time_becomes_the_codes() -> None:
    assert merged(said(jitter=9.0), said(), NOON) == merged(None, said(), NOON)


@pytest.mark.parametrize(
    "fields",
    [
        {"on_missed": "never"},
        {"overlap": "x"},
        {"options": {"at": 1}},
        {"name": "a\nb"},
        {"name": "x" * 201},
        {"window": "x"},
    ],
)
def test_nonsense_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        core.replace(said(), **fields)
    with pytest.raises(ConfigurationError, match=r"Cron\(...\) or Every"):
        Schedule("0 9 * * *")  # type: ignore[arg-type] # that is the mistake
