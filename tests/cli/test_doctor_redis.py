"""`windlass doctor` on Redis: what the server is, what it can lose, and what should be set otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from command import Ran, Windlass

from servers import BINARIES, MISSING, RedisServer

pytestmark = pytest.mark.skipif(not BINARIES, reason=MISSING)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer(password="secret") as server:
        yield server


@pytest.fixture
def doctor(windlass: Windlass, server: RedisServer) -> Callable[[], Ran]:
    def run() -> Ran:
        ran = windlass("doctor", "--url", server.url())
        assert "secret" not in ran.out + ran.err
        return ran

    return run


def notes(ran: Ran) -> list[str]:
    return [said for mark, about, said in ran.rows if (mark, about) == ("note", "store")]


def said(ran: Ran) -> dict[str, str]:
    return {about: text for mark, about, text in ran.rows if (mark, about) != ("note", "store")}


def test_what_it_is(doctor: Callable[[], Ran], server: RedisServer) -> None:
    ran = doctor()
    assert ran.code == 0
    told = server.info("server")
    assert ran.out.count(f"127.0.0.1:{server.port}") == 1
    assert f"127.0.0.1:{server.port}" in said(ran)["store"]
    assert told.get("valkey_version", told["redis_version"]) in said(ran)["store"]


def test_what_it_can_lose(doctor: Callable[[], Ran], server: RedisServer) -> None:
    ran = doctor()
    assert said(ran)["survives"] == "an accepted job survives nothing"
    assert any("appendonly is no" in note and "CONFIG SET appendonly yes" in note for note in notes(ran))
    server.command("CONFIG SET appendonly yes")
    ran = doctor()
    assert said(ran)["survives"] == "an accepted job survives: process crash"
    assert any("appendfsync is everysec" in note and "power cut" in note for note in notes(ran))
    server.command("CONFIG SET appendfsync always")
    ran = doctor()
    assert said(ran)["survives"] == "an accepted job survives: process crash, power cut"
    assert notes(ran) == []


def test_a_policy_that_throws_jobs_away(doctor: Callable[[], Ran], server: RedisServer) -> None:
    server.command("CONFIG SET maxmemory-policy allkeys-lru")
    ran = doctor()
    assert ran.code == 1
    (said,) = [said for mark, about, said in ran.rows if (mark, about) == ("WRONG", "store")]
    assert said.startswith("maxmemory-policy is allkeys-lru")
    assert "noeviction" in said


def test_a_clock_that_differs(doctor: Callable[[], Ran], server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    later = float(server.command("TIME")[0]) + 1000.0
    monkeypatch.setattr("windlass.broker.redis.looks.time", SimpleNamespace(time=lambda: later))
    assert any(re.search(r"clock differs .* -(1000|99\d)\.\d s", note) for note in notes(doctor()))


def test_a_server_that_is_away(doctor: Callable[[], Ran], server: RedisServer) -> None:
    server.stop()
    ran = doctor()
    assert ran.code == 1
    (wrong,) = [said for mark, about, said in ran.rows if (mark, about) == ("WRONG", "store")]
    assert f"127.0.0.1:{server.port}" in wrong


def test_a_wrong_password(windlass: Windlass, server: RedisServer) -> None:
    ran = windlass("doctor", "--url", f"redis://:guess@127.0.0.1:{server.port}/0")
    assert ran.code == 1
    (wrong,) = [said for mark, about, said in ran.rows if (mark, about) == ("WRONG", "store")]
    assert "check user and password" in wrong
    assert "guess" not in ran.out + ran.err
