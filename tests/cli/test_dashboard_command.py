"""`windlass dashboard`, as a process of its own."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from command import Background, Windlass, shell


@contextmanager
def dashboard(*arguments: object, **more: str) -> Iterator[httpx2.Client]:
    """A client of one that serves on a free port."""
    with Background("dashboard", *arguments, "--port", 0, **more) as process:
        process.until("is at http://")
        (address,) = re.findall(r"is at (http://\S+)", process.err)
        with httpx2.Client(base_url=address) as client:
            yield client
        process.process.send_signal(signal.SIGTERM)
        process.end()


def test_it_shows_the_app_to_its_machine(project: Path) -> None:
    assert shell("enqueue", "tasks.resize", 4).code == 0
    with dashboard() as client:
        tasks = {row["name"] for row in client.get("api/v1/tasks").json()["tasks"]}
        assert {"tasks.resize", "tasks.boom"} <= tasks
        own = {"Sec-Fetch-Site": "same-origin"}
        made = client.post("api/v1/tasks/tasks.greet/run", json={"arguments": {"name": "ann"}}, headers=own)
        assert made.status_code == 201
        assert client.get(f"api/v1/jobs/{made.json()['id']}").json()["queue"] == "mail"
        assert client.get("api/v1/queues", headers={"Host": "evil.example"}).status_code == 403
        assert "server" not in client.get("api/v1/queues").headers


def test_behind_a_password(project: Path) -> None:
    with dashboard("--auth", "password", WINDLASS_DASHBOARD_PASSWORD="correct horse battery") as client:
        assert client.get("api/v1/queues").status_code == 401
        assert client.get("api/v1/queues", auth=("ann", "correct horse battery")).status_code == 200


def test_a_store_without_an_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windlass: Windlass) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/jobs.db"
    refused = windlass("dashboard", "--url", url)
    assert (refused.code, "nothing was ever enqueued there" in refused.err) == (2, True)
    assert windlass("queue", "pause", "mail", "--url", url).code == 0
    with dashboard("--url", url) as client:
        assert [row["name"] for row in client.get("api/v1/queues").json()["queues"]] == ["mail"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_it_refuses_to_be_open_to_others(project: Path, windlass: Windlass, host: str) -> None:
    ran = windlass("dashboard", "--host", host)
    assert ran.code == 2
    assert all(fix in ran.err for fix in ("--auth password", "WINDLASS_DASHBOARD_PASSWORD", "127.0.0.1", "--insecure"))


def test_a_port_in_use_says_so(project: Path, windlass: Windlass) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = windlass("dashboard", "--port", taken.getsockname()[1])
    assert (ran.code, "take another --port" in ran.err) == (2, True)


def test_a_store_in_memory_is_refused(project: Path, windlass: Windlass) -> None:
    assert windlass("dashboard", "--url", "memory://").code == 2
