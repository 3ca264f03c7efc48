"""`windlass schedule`."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command import Background, Windlass

NIGHTLY = ("schedule", "add", "tasks.resize", "--as", "nightly", "--cron", "0 3 * * *", "--args", '{"number": 4}')


def test_one_is_added_listed_and_shown(windlass: Windlass) -> None:
    added = windlass(*NIGHTLY, "--tz", "Europe/Berlin", "--jitter", "90", "--overlap", "skip", "--json")
    assert added.code == 0
    told = windlass("schedule", "show", "nightly", "--json").json
    assert told == added.json
    assert told | {"next": 0} == {
        "name": "nightly",
        "task": "tasks.resize",
        "said": "At 03:00 every day (Europe/Berlin)",
        "when": {"kind": "cron", "line": "0 3 * * *", "tz": "Europe/Berlin"},
        "args": {"number": 4},
        "options": {},
        "on_missed": "once",
        "window": 86_400.0,
        "overlap": "skip",
        "jitter": 90.0,
        "paused": False,
        "origin": "run time",
        "edited": [],
        "next": 0,
        "ticks": [],
    }
    assert len(told["next"]) == 5
    ((name, on, when, following, last, task),) = windlass("schedule", "list").rows
    assert (name, on, when, last, task) == ("nightly", "on", "At 03:00 every day (Europe/Berlin)", "", "tasks.resize")
    assert following.replace(".000Z", "Z") == told["next"][0].replace(".000Z", "Z")
    shown = windlass("schedule", "show", "nightly").rows
    assert ["said", "At 03:00 every day (Europe/Berlin)"] in shown
    assert sum(row[0] == "next" for row in shown) == 5


def test_it_is_edited_paused_resumed_run_and_removed(windlass: Windlass, store: Any) -> None:
    windlass(*NIGHTLY)
    edited = windlass(
        "schedule", "edit", "nightly", "--every", "15m", "--args", '{"number": 5}', "--on-missed", "all", "--json"
    )
    assert (edited.json["when"], edited.json["args"]) == ({"kind": "every", "seconds": 900.0}, {"number": 5})
    assert windlass("schedule", "pause", "nightly").rows == [["nightly", "paused"]]
    assert windlass("schedule", "list").rows[0][1:4] == ["paused", "Every 15 minutes", ""]
    assert windlass("schedule", "resume", "nightly").rows == [["nightly", "on"]]
    job = windlass("schedule", "run", "nightly").rows[0][0]
    assert store(lambda broker: broker.get([job]))[0].task == "tasks.resize"
    assert windlass("schedule", "remove", "nightly").rows == [["nightly", "removed"]]
    assert windlass("schedule", "list", "--json").json == []


def test_without_the_app_all_but_arguments_can_be_changed(windlass: Windlass, url: str) -> None:
    windlass(*NIGHTLY)
    assert windlass("schedule", "edit", "nightly", "--every", "1h", "--url", url).code == 0
    assert windlass("schedule", "edit", "nightly", "--args", "{}", "--url", url).code == 3
    assert windlass("schedule", "remove", "nightly", "--url", url).code == 0


def test_what_there_is_not_is_not_found(windlass: Windlass) -> None:
    windlass(*NIGHTLY)
    for verb in ("show", "edit", "pause", "resume", "run", "remove"):
        done = windlass("schedule", verb, "weekly")
        assert (done.code, done.err.count("there is no schedule 'weekly'")) == (3, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tasks.resize",), "when?"),
        (("tasks.resize", "--cron", "x"), "no cron line"),
        (("tasks.resize", "--cron", "0 9 * * *", "--every", "1h"), "either"),
        (("tasks.resize", "--every", "1h", "--tz", "UTC"), "--tz goes with --cron"),
        (("tasks.resize", "--every", "1h", "--args", "[]"), "--args is a JSON object"),
        (("tasks.resize", "--every", "1h"), "number"),
        (("tasks.resize", "--every", "1h", "--overlap", "x"), "overlap is one of"),
        (("tasks.resize", "--every", ""), "no duration"),
    ],
)
def test_nonsense_is_said_in_one_line(windlass: Windlass, words: tuple[str, ...], said: str) -> None:
    done = windlass("schedule", "add", *words)
    assert done.code == 2
    assert said in done.err.splitlines()[-1]
    assert done.err.splitlines()[-1].startswith("windlass: ")


def test_an_unknown_task_is_not_found(windlass: Windlass) -> None:
    assert windlass("schedule", "add", "tasks.nothing", "--every", "1h").code == 3


def test_where_there_is_none_it_says_what_to_write(windlass: Windlass, store: Any) -> None:
    store(lambda broker: broker.tally())
    done = windlass("schedule", "list")
    assert (done.code, done.out) == (0, "")
    assert '@app.task(schedule=Cron("0 9 * * mon-fri"))' in done.err


def test_a_schedule_in_the_code_runs_and_is_seen(windlass: Windlass, project: Path) -> None:
    with (project / "tasks.py").open("a") as file:
        file.write(
            "\nfrom windlass import Every\n\n@app.task(schedule=Every(1))\nasync def beat() -> None:\n"
            "    await app.schedules.pause('tasks.beat')\n"
            "    import os, signal\n    os.kill(os.getppid(), signal.SIGTERM)\n"
        )
    with Background("worker") as worker:
        assert worker.end().code == 0
    told = windlass("schedule", "show", "tasks.beat", "--json").json
    assert (told["origin"], told["paused"]) == ("code", True)
    assert told["ticks"][-1]["outcome"] == "succeeded"
    assert windlass("schedule", "remove", "tasks.beat").code == 2


def test_the_doctor_says_that_nobody_sees_to_them(windlass: Windlass) -> None:
    windlass(*NIGHTLY)
    told = [one for one in windlass("doctor", "--json").json if one["about"] == "schedules"]
    assert told == [
        {"level": "note", "about": "schedules", "said": "1 fire only while a worker runs; start one: windlass worker"}
    ]


BEATS = """
from windlass import Context, Depends, Every, Schedule

@app.task(schedule=Schedule(Every(1), on_missed="all"))
def beat(ctx: Context = Depends()) -> None:
    with open("beats", "a") as file:
        file.write(ctx.meta["tick"] + "\\n")
    if len(open("beats").readlines()) == 8:
        import os, signal
        os.kill(os.getppid(), signal.SIGTERM)
"""


def test_a_runner_that_is_killed_just_before_and_just_after_it_makes_a_job_loses_and_repeats_none(
    windlass: Windlass, project: Path
) -> None:
    with (project / "tasks.py").open("a") as file:
        file.write(BEATS)
    (project / "once").mkdir()
    deaths = "ticker.before_enqueue=kill9,ticker.after_enqueue=kill9"
    once = str(project / "once")
    with Background("worker", WINDLASS_FAILPOINTS=deaths, WINDLASS_FAILPOINTS_ONCE=once) as worker:
        assert worker.end().code == 0
    assert sorted(path.name for path in (project / "once").iterdir()) == [
        "ticker.after_enqueue",
        "ticker.before_enqueue",
    ]
    ticks = [datetime.fromisoformat(line) for line in (project / "beats").read_text().split()]
    assert sorted(ticks) == [ticks[0] + timedelta(seconds=number) for number in range(len(ticks))]
    assert len(ticks) >= 8
