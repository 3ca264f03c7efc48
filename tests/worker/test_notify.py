"""What the service manager is told: against a real datagram socket, by itself and by a real `windlass worker`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from windlass import Windlass
from windlass.core.job import Card
from windlass.events import Events, WorkerChanged
from windlass.worker.notify import Notify

Until = Callable[..., Awaitable[Any]]
TASKS = """
import os
from windlass import Windlass

app = Windlass()

def look() -> list[str]:
    return [name for name in os.environ if name.startswith(("NOTIFY", "WATCHDOG"))]

app.task(look, name="tasks.look")
app.task(look, name="tasks.look_in_a_process", lane="process")
"""


def look() -> list[str]:
    """What a job finds in its environment, to be found by the worker under TASKS."""
    raise NotImplementedError


READY = "STATUS=ready; runners: 1, running jobs: 3"
CARD = Card(host="", pid=1, started_at=0.0, busy={"loop": 2, "thread": 1})


class Manager:
    """Listens as systemd does. `said` is every message that came, in order."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.said: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{place[1:]}" if place.startswith("@") else place)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """All that came up to now."""
        try:
            while True:
                self.said.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return self.said

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Manager]:
    name = tmp_path_factory.mktemp("run") / "notify"
    manager = Manager(str(name) if request.param == "file" else f"@windlass-test-{os.getpid()}{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", manager.place)
    yield manager
    manager.close()


class Supervised:
    """Stands in for a supervisor."""

    def __init__(self) -> None:
        self.events = Events()
        self.trouble = "the app is not loaded yet"
        self.notify = Notify(self.events, lambda: self.trouble, lambda: [CARD])

    def change(self, what: str) -> None:
        self.events.emit(WorkerChanged("supervisor", what))


def test_ready_is_said_once_and_the_status_when_it_changes(manager: Manager) -> None:
    supervised = Supervised()
    supervised.change("started")
    supervised.change("ready")
    assert manager.heard() == ["STATUS=the app is not loaded yet; runners: 1, running jobs: 3"]
    supervised.trouble = ""
    for what in ("started", "ready", "started"):
        supervised.change(what)
    assert manager.heard()[1:] == ["READY=1", READY]
    supervised.trouble = "the store does not answer"
    supervised.change("lost")
    supervised.trouble = ""
    supervised.change("found")
    assert manager.heard()[3:] == ["STATUS=the store does not answer; runners: 1, running jobs: 3", READY]
    supervised.notify.stop()


def test_a_reload_and_the_end_are_told_as_they_happen(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    supervised = Supervised()
    supervised.trouble = ""
    before = time.monotonic_ns() // 1000
    supervised.change("reloading")
    ready, reloading, status = manager.heard()
    assert (ready, status) == ("READY=1", READY)
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert before <= int(reloading.rpartition("=")[2]) <= time.monotonic_ns() // 1000
    supervised.change("ready")
    supervised.change("stopping")
    assert manager.heard()[3:] == ["READY=1", "STOPPING=1"]
    supervised.notify.stop()
    supervised.change("died")
    assert manager.heard()[5:] == []
    assert caplog.records == []


def fill(line: socket.socket) -> None:
    """Send until nothing more goes in."""
    try:
        while True:
            line.send(b"noise")
    except BlockingIOError:
        pass


def test_what_the_manager_has_no_room_for_is_told_later_and_in_order(manager: Manager) -> None:
    supervised = Supervised()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        other.connect(f"\0{manager.place[1:]}" if manager.place.startswith("@") else manager.place)
        fill(other)
    supervised.trouble = ""
    supervised.change("reloading")
    supervised.change("ready")
    assert set(manager.heard()) == {"noise"}
    supervised.change("started")
    told = [one.partition("\n")[0] for one in manager.heard() if one != "noise"]
    assert told == ["READY=1", "RELOADING=1", "READY=1", READY]
    supervised.notify.stop()


def test_nothing_is_inherited_and_nothing_is_said_without_a_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    supervised = Supervised()
    assert {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & set(os.environ) == set()
    supervised.change("started")
    supervised.notify.stop()


def test_a_manager_that_is_not_there_is_complained_of_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for place in (str(tmp_path / "nobody"), "vsock:2:1234"):
        monkeypatch.setenv("NOTIFY_SOCKET", place)
        supervised = Supervised()
        supervised.change("started")
        supervised.change("started")
        supervised.notify.stop()
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("usec", "pid", "watched"),
    [("2000000", "", True), ("2000000", "own", True), ("2000000", "1", False), ("0", "", False), ("often", "", False)],
)
async def test_the_watchdog_is_fed_twice_in_its_time(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, until: Until, usec: str, pid: str, watched: bool
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real_sleep(0)

    real_sleep = asyncio.sleep
    monkeypatch.setattr("windlass.worker.notify.asyncio", SimpleNamespace(sleep=sleep))
    supervised = Supervised()
    supervised.trouble = ""
    running = asyncio.create_task(supervised.notify.run())
    await until(lambda: len(slept) >= 3)
    running.cancel()
    supervised.notify.stop()
    assert set(slept) == {1.0}
    assert manager.heard()[:4] == (["READY=1", *[f"{READY}\nWATCHDOG=1"] * 3] if watched else ["READY=1", READY])


async def test_a_real_worker(manager: Manager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, until: Until) -> None:
    """From its start over a reload to its end; its jobs look for what they should not have."""
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    monkeypatch.setenv("WINDLASS_URL", f"sqlite:///{tmp_path}/jobs.db")
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "tasks.py").write_text(TASKS)
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "windlass.cli.main", "worker", "tasks:app"),
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
    )
    app = Windlass()
    try:
        await until(lambda: "READY=1" in manager.heard())
        first = manager.heard().index("READY=1")
        assert first > 0
        assert not any(one.startswith("STATUS=ready") for one in manager.said[:first])
        for name in ("tasks.look", "tasks.look_in_a_process"):
            assert await (await app.task(name=name)(look).enqueue()).result(timeout=30) == []
        await until(lambda: manager.heard()[-3:].count("STATUS=ready; runners: 1, running jobs: 0\nWATCHDOG=1") == 3)
        worker.send_signal(signal.SIGHUP)
        await until(lambda: manager.heard().count("READY=1") == 2)
        assert any(one.startswith("RELOADING=1\nMONOTONIC_USEC=") for one in manager.said)
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(worker.wait(), 30) == 0
        assert manager.heard().count("STOPPING=1") == 1
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
        await app.close()
