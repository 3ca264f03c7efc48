"""`windlass queue` and `windlass workers`."""

from __future__ import annotations

from typing import Any

import pytest
from command import Windlass, claim

from windlass.core.ids import new_id
from windlass.core.job import NewJob
from windlass.core.terms import Terms, Use


def put(store: Any, **fields: Any) -> None:
    store(
        lambda broker: broker.enqueue([NewJob(id=new_id(), task="tasks.resize", body=b'{"args":{},"v":1}', **fields)])
    )


def test_list_counts_by_state(windlass: Windlass, store: Any) -> None:
    put(store, queue="mail")
    put(store, queue="mail", delay=60.0)
    put(store, queue="video")
    assert windlass("queue", "list").rows == [
        ["mail", "open", "1", "0", "1", "0", "0", "0", "0", "0"],
        ["video", "open", "0", "0", "1", "0", "0", "0", "0", "0"],
    ]
    told = windlass("queue", "list", "--json").json
    assert all(one.pop("oldest") > 1.7e9 for one in told)
    assert told == [
        {"name": "mail", "counts": {"ready": 1, "scheduled": 1}, "paused": False},
        {"name": "video", "counts": {"ready": 1}, "paused": False},
    ]


def test_pause_and_resume(windlass: Windlass, store: Any) -> None:
    put(store, queue="mail")
    put(store, queue="video")
    assert windlass("queue", "pause", "mail", "video").rows == [["mail", "paused"], ["video", "paused"]]
    assert windlass("queue", "resume", "video").rows == [["video", "open"]]
    assert [row[1] for row in windlass("queue", "list").rows] == ["paused", "open"]
    assert store(lambda broker: broker.find(queue="mail")).jobs[0].state == "ready"


def test_who_looks_asks_nothing_of_the_store(windlass: Windlass, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, queue="mail")
    monkeypatch.setenv("WINDLASS_DURABILITY", "node")
    assert windlass("queue", "list").rows[0][0] == "mail"


def test_pause_wants_a_queue(windlass: Windlass) -> None:
    assert windlass("queue", "pause").code == 2


def test_workers(windlass: Windlass, store: Any) -> None:
    put(store)
    none = windlass("workers", "--json")
    assert (none.code, none.json) == (0, [])
    store(claim)
    ((worker, state, host, pid, queues, running, slots, *_, memory),) = windlass("workers").rows
    assert (worker, state, host, pid, queues, running, slots, memory) == (
        "w1",
        "working",
        "here",
        "7",
        "default",
        "1",
        "loop:0/2",
        str(90 << 20),
    )
    (told,) = windlass("workers", "--json").json
    assert (told["id"], told["running"], told["queues"], told["slots"]) == ("w1", 1, ["default"], {"loop": 2})


def test_limits_are_listed(windlass: Windlass, store: Any) -> None:
    for key in ("ann", "ann", "bob"):
        put(store, terms=Terms(uses=(Use("openai", key, running=1), Use("all", rate=1.0, burst=9))))
    assert windlass("limits").rows == [
        ["all", "", "2", "9/9", "0", ""],
        ["openai", "ann", "1/1", "", "1", ""],
        ["openai", "bob", "1/1", "", "0", ""],
    ]
    assert [row[1] for row in windlass("limits", "openai").rows] == ["ann", "bob"]
    assert windlass("limits", "all", "--json").json[0]["held"] == 2
