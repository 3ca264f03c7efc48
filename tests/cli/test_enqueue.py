"""`windlass enqueue`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from command import Windlass

from windlass.core.payload import unpack


def arguments(store: Any, job_id: str) -> Any:
    (job,) = store(lambda broker: broker.get([job_id]))
    return msgspec.json.decode(unpack(job.body).args)


def test_prints_the_id_and_nothing_else_on_stdout(windlass: Windlass, store: Any) -> None:
    ran = windlass("enqueue", "tasks.resize", 42, "--width", 400)
    assert ran.code == 0
    assert arguments(store, ran.out.strip()) == {"number": 42, "width": 400}


def test_the_task_may_be_named_by_module_and_attribute(windlass: Windlass, store: Any) -> None:
    ran = windlass("enqueue", "tasks:resize", "--number=7")
    assert ran.code == 0
    assert arguments(store, ran.out.strip()) == {"number": 7}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("42",), {"name": "42"}),
        (("Ann", "--loud"), {"name": "Ann", "loud": True}),
        (("Ann", "--loud", "--tags", '["a", "b"]'), {"name": "Ann", "loud": True, "tags": ["a", "b"]}),
        (("42", "--tags", '["a"]'), {"name": "42", "tags": ["a"]}),
        (("-5",), {"name": "-5"}),
        (("--", "--name", "Ann"), {"name": "Ann"}),
        (('"quoted"',), {"name": "quoted"}),
    ],
)
def test_values_are_json_or_text_as_the_task_wants_them(
    windlass: Windlass, store: Any, words: tuple[str, ...], expected: Any
) -> None:
    ran = windlass("enqueue", "tasks.greet", *words)
    assert (ran.code, ran.err) == (0, "windlass: using tasks:app (found in tasks.py)\n")
    assert arguments(store, ran.out.strip()) == expected


def test_options_of_the_job(windlass: Windlass, store: Any) -> None:
    ran = windlass(
        "enqueue",
        "tasks.resize",
        1,
        "--in",
        "5m",
        "--key",
        "k",
        "--priority",
        9,
        "-q",
        "video",
        "--expires",
        3600,
        "--json",
    )
    assert ran.json["state"] == "scheduled"
    (job,) = store(lambda broker: broker.get([ran.json["id"]]))
    assert (job.key, job.priority, job.queue) == ("k", 9, "video")
    assert (job.run_at - job.created_at).total_seconds() == pytest.approx(300, abs=1)
    assert job.expires_at is not None


def test_a_taken_key_is_told_and_answers_the_first_job(windlass: Windlass) -> None:
    first = windlass("enqueue", "tasks.resize", 1, "--key", "k")
    second = windlass("enqueue", "tasks.resize", 2, "--key", "k")
    assert second.code == 0
    assert second.out == first.out
    assert "nothing was stored" in second.err


def test_url_wins_over_the_app(windlass: Windlass, project: Path) -> None:
    url = f"sqlite:///{project}/other.db"
    assert windlass("enqueue", "tasks.resize", 1, "--url", url).code == 0
    assert len(windlass("job", "list", "--url", url).rows) == 1
    assert not (project / ".windlass").exists()


def test_what_a_module_prints_at_import_stays_out_of_stdout(windlass: Windlass, project: Path) -> None:
    (project / "tasks.py").write_text("print('hello from import')\n" + (project / "tasks.py").read_text())
    ran = windlass("enqueue", "tasks.resize", 1, "--json")
    assert ran.json["fresh"] is True
    assert "hello from import" in ran.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("tasks.resze", "1"), 3, "did you mean tasks.resize?"),
        (("tasks.nothing_like_it",), 3, "it has tasks.boom, tasks.greet"),
        (("tasks:nope",), 2, "has no attribute 'nope'"),
        (("tasks:app",), 2, "is a Windlass, not a Task"),
        (("tasks.resize", "abc"), 2, "number: Input should be a valid integer"),
        (("tasks.resize",), 2, "number"),
        (("tasks.resize", "1", "--depth", "3"), 2, "depth"),
        (("tasks.resize", "--number", "1", "--number", "2"), 2, "given twice"),
        (("tasks.resize", "1", "--priority", "11"), 2, "priority is 0 to 9"),
        (("tasks.resize", "1", "--priority", "high"), 2, "--priority"),
        (("tasks.resize", "1", "--in", "5x"), 2, "is no duration"),
        (("tasks.resize", "1", "--in", "-5"), 2, "no duration"),
        (("tasks.resize", "1", "--at", "tomorrow"), 2, "is no time"),
        (("tasks.resize", "1", "--at", "2030-01-01T00:00"), 2, "time zone"),
        (("tasks.resize", "1", "--timeout", "0"), 2, "timeout must be more than 0"),
        (("tasks.resize", "1", "--url", "memory://"), 2, "memory://"),
        (("tasks.resize", "1", "--url", "amqp://localhost"), 2, "not built yet"),
        (("tasks.resize", "1", "--url", "nonsense"), 2, "no store that Windlass knows"),
    ],
)
def test_bad_input_is_one_line_and_stores_nothing(
    windlass: Windlass, project: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    ran = windlass("enqueue", *words)
    assert (ran.code, ran.out) == (code, "")
    complaint = ran.err.splitlines()[-1]
    assert said in complaint
    assert "Traceback" not in ran.err
    assert not (project / ".windlass").exists()
