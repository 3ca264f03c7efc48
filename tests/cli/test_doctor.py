"""`windlass doctor`: each thing that can be wrong is found, named in one line, and makes the exit code 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command import Ran, Windlass, claim
from msgspec.structs import replace

from windlass.broker.sqlite.broker import SqliteBroker
from windlass.core.ids import new_id
from windlass.core.job import Card, NewJob, StoreInfo
from windlass.core.outcome import Parked


def put(store: Any, queue: str = "default") -> None:
    job = NewJob(id=new_id(), task="tasks.resize", body=b'{"args":{},"v":1}', queue=queue)
    store(lambda broker: broker.enqueue([job]))


def wrong(ran: Ran) -> list[str]:
    return [f"{about}: {said}" for mark, about, said in ran.rows if mark == "WRONG"]


def test_a_healthy_project(windlass: Windlass) -> None:
    ran = windlass("doctor")
    assert (ran.code, wrong(ran)) == (0, [])
    said = {about: text for _, about, text in ran.rows}
    assert said["app"] == "tasks:app (found in tasks.py)"
    assert said["tasks"].startswith("4: tasks.boom, tasks.greet")
    assert "process crash" in said["survives"]


@pytest.mark.parametrize("named", [("tasks:app",), ("--app", "tasks:app")])
def test_the_app_may_be_named(windlass: Windlass, named: tuple[str, ...]) -> None:
    said = {about: text for _, about, text in windlass("doctor", *named).rows}
    assert said["app"] == "tasks:app (as given)"


def test_json_holds_the_same(windlass: Windlass) -> None:
    findings = windlass("doctor", "--json").json
    assert {"level": "ok", "about": "app", "said": "tasks:app (found in tasks.py)"} in findings


def test_ready_jobs_that_nobody_takes(windlass: Windlass, store: Any) -> None:
    put(store, "video")
    ran = windlass("doctor")
    assert ran.code == 1
    assert wrong(ran) == ["queue: video holds 1 ready jobs and no living worker takes them; windlass worker -q video"]
    store(lambda broker: broker.beat("w1", Card(host="here", pid=7, queues=("video",)), 60.0))
    served = windlass("doctor")
    assert served.code == 0
    assert "tasks use mail and no living worker takes it" in served.out


def test_a_paused_queue_is_no_fault(windlass: Windlass, store: Any) -> None:
    put(store, "video")
    windlass("queue", "pause", "video")
    ran = windlass("doctor")
    assert ran.code == 0
    assert "video is paused, 1 jobs wait" in ran.out


def test_what_an_accepted_job_survives_is_said_in_words(windlass: Windlass) -> None:
    said = {about: text for _, about, text in windlass("doctor").rows}
    assert said["survives"] == "an accepted job survives: process crash, power cut"
    assert ["ok", "survives", "an accepted job survives: process crash"] in windlass(
        "doctor", "--url", "sqlite:///fast.db?synchronous=NORMAL"
    ).rows


def test_a_danger_that_the_store_tells_of_is_wrong(windlass: Windlass, monkeypatch: pytest.MonkeyPatch) -> None:
    described = SqliteBroker.describe

    async def describe(self: SqliteBroker) -> StoreInfo:
        return replace(await described(self), remarks=("DANGER: a full disk; make room", "it is slow"))

    monkeypatch.setattr(SqliteBroker, "describe", describe)
    ran = windlass("doctor")
    assert ran.code == 1
    assert wrong(ran) == ["store: a full disk; make room"]
    assert ["note", "store", "it is slow"] in ran.rows


@pytest.mark.parametrize("asked", ["in the code", "in the environment"])
def test_a_store_that_keeps_less_than_the_app_asks_for(
    windlass: Windlass, project: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    if asked == "in the code":
        tasks = (project / "tasks.py").read_text()
        (project / "tasks.py").write_text(tasks.replace("Windlass()", "Windlass(durability='power')"))
    else:
        monkeypatch.setenv("WINDLASS_DURABILITY", "power")
    assert wrong(windlass("doctor")) == []
    ran = windlass("doctor", "--url", "sqlite:///fast.db?synchronous=NORMAL")
    assert ran.code == 1
    (said,) = wrong(ran)
    assert said.startswith("durability: durability='power' asks that accepted jobs survive a power cut")
    assert "synchronous" in said
    assert any(about == "workers" for _, about, _ in ran.rows)  # and it goes on


def test_parked_jobs_and_why(windlass: Windlass, store: Any) -> None:
    async def park(broker: Any) -> None:
        await broker.settle([(await claim(broker), Parked("no worker knows old.task"))])

    put(store)
    store(park)
    ran = windlass("doctor")
    assert ran.code == 1
    assert wrong(ran)[0].startswith("parked: 1 of tasks.resize: no worker knows old.task; start a worker that knows it")


def test_without_an_app_the_store_is_still_looked_at(windlass: Windlass, project: Path) -> None:
    (project / "tasks.py").unlink()
    ran = windlass("doctor")
    assert ran.code == 1
    assert wrong(ran)[0].startswith("app: no Windlass app found")
    assert any(about == "survives" for _, about, _ in ran.rows)


def test_an_app_without_tasks(windlass: Windlass, project: Path) -> None:
    (project / "tasks.py").write_text("from windlass import Windlass\napp = Windlass()\n")
    assert wrong(windlass("doctor"))[0].startswith("tasks: the app has none")


def test_a_task_whose_annotation_does_not_exist(windlass: Windlass, project: Path) -> None:
    with (project / "tasks.py").open("a") as file:
        file.write("\n@app.task\ndef odd(what: 'Missing') -> None: ...\n")
    ran = windlass("doctor")
    assert ran.code == 1
    assert "annotation names 'Missing'" in wrong(ran)[0]
    assert "tasks.py:" in wrong(ran)[0]


def test_a_store_that_is_none(windlass: Windlass, project: Path) -> None:
    (project / "broken.db").write_bytes(b"this is no database, " * 500)
    ran = windlass("doctor", "--url", f"sqlite:///{project}/broken.db")
    assert ran.code == 1
    assert wrong(ran)[0].startswith("store: ")


def test_memory_is_noted(windlass: Windlass) -> None:
    ran = windlass("doctor", "--url", "memory://")
    assert ran.code == 0
    assert "for tests only" in ran.out


def test_no_password_is_shown(windlass: Windlass, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDLASS_URL", "redis://user:secret@host/0")
    ran = windlass("doctor")
    assert ran.code == 1
    assert "secret" not in ran.out + ran.err
