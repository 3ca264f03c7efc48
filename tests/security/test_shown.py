"""What is shown of hostile text (S27, S28): one line stays one line, a terminal is given no commands, no password is told."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest

from windlass import Retry, Windlass
from windlass.broker.port import Broker
from windlass.cli.main import main
from windlass.cli.output import clean, talk
from windlass.core.ids import new_id
from windlass.core.job import Card, Entry, NewJob
from windlass.core.outcome import Failed, Parked
from windlass.core.plain import plain
from windlass.core.urls import exposed, masked
from windlass.errors import ErrorInfo
from windlass.observe.logs import configure, subscribe
from windlass.worker.health import answer
from windlass.worker.runner import working

EVIL = "first\r\n2026-01-01T00:00:00Z INFO windlass: all is well\x1b[2J\x1b]0;owned\x07\x9b31m\x00\u202eexe.txt\u2028next\x85last"
COMMANDS = ["\r", "\x1b", "\x07", "\x9b", "\x00", "\u202e", "\u2028", "\x85", "\x7f", "\x08"]
"""Characters that do something to a terminal, or to who reads it."""


def harmless(text: str) -> bool:
    return not any(character in text for character in COMMANDS)


def test_plain_text_keeps_lines_and_tabs_and_writes_out_the_rest() -> None:
    assert plain("a\tb\nc \u00e9 \u65e5\u672c \U0001f600") == "a\tb\nc \u00e9 \u65e5\u672c \U0001f600"
    assert plain("\x1b[31mred\r\n") == "\\u001b[31mred\\u000d\n"
    assert plain("\u202eevil \x9b \u2028") == "\\u202eevil \\u009b \\u2028"
    assert json.loads(plain(json.dumps(EVIL, ensure_ascii=False))) == EVIL
    assert harmless(plain(EVIL + "".join(COMMANDS)))


# --- the worker's log ---------------------------------------------------------------------------------------


@pytest.fixture
def _restored() -> Iterator[None]:
    """The root logger is as it was afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


async def _told(form: Any) -> str:
    """Everything that a hostile writer or task can have the worker log."""
    app, stream = Windlass("memory://told", beat=0.05, upkeep=0.05, lease=2), io.StringIO()
    with redirect_stderr(stream):
        configure(form, "debug")
    subscribe(app.events)

    @app.task(retry=Retry(attempts=1))
    async def shout() -> None:
        logging.getLogger("user").warning("%s and %%s", EVIL)
        logging.getLogger(EVIL).warning("its name is evil")
        raise ValueError(EVIL)

    async with working(app):
        handles = [await shout.enqueue()]
        handles += await app.place(
            [NewJob(id=new_id(), task=EVIL, body=b"{}"), NewJob(id=new_id(), task="x", body=b"{}")]
        )
        handles += await app.place(
            [NewJob(id=new_id(), task=shout.name, body=b'{"args":{"%b":1},"v":1}' % b"\\u001b[2J")]
        )
        for handle in handles:
            async for event in handle.events():
                if event.kind == "state" and event.data == "parked":
                    break
    await app.close()
    return stream.getvalue()


@pytest.mark.usefixtures("_restored")
async def test_lines_for_people_cannot_be_forged() -> None:
    said = await _told("plain")
    lines = said.splitlines()
    assert harmless(said), "no character commands a terminal"
    assert any("parked" in line for line in lines)
    assert any("failed" in line for line in lines)
    forged = [line for line in lines if not line.startswith("    ") and "all is well" in line.partition(": ")[0]]
    assert forged == [], "what comes after a line break is set in"
    assert any(line.startswith("    2026-01-01T00:00:00Z INFO windlass: all is well") for line in lines)


@pytest.mark.usefixtures("_restored")
async def test_lines_for_machines_are_one_object_each() -> None:
    said = await _told("json")
    lines = [json.loads(line) for line in said.splitlines()]
    assert harmless(said)
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in lines)
    assert EVIL in {line["logger"] for line in lines}, "whole, and only as a value"


# --- the command --------------------------------------------------------------------------------------------


async def _stock(url: str) -> list[str]:
    """A store with hostile text wherever text can be."""
    app = Windlass(url)
    broker: Broker = await app.broker()
    await broker.beat("w", Card(host=EVIL, pid=1, version=EVIL, queues=("default",)), 60.0)
    jobs: list[str] = []
    error = ErrorInfo("exception", EVIL, EVIL, f"Traceback\n  {EVIL}\n", {"last_log": EVIL})
    for outcome in (Failed(error), Parked(EVIL), None):
        job = NewJob(
            id=new_id(),
            task=EVIL,
            body=b'{"args":{"a":"\\u001b[2J"},"v":1,"meta":{"m":"\\u001b"}}',
            key=f"{EVIL}{len(jobs)}",
        )
        await broker.enqueue([job])
        jobs.append(job.id)
        (claim,) = await broker.claim(["default"], {"loop": 1}, "w")
        log = json.dumps({"level": EVIL, "message": EVIL}).encode()
        progress = json.dumps({"current": 1.0, "total": 2.0, "message": EVIL}).encode()
        entries = [Entry("log", log, 0.0, 1), Entry("progress", progress, 0.0, 1), Entry(EVIL, b"{}", 0.0, 1)]
        await broker.append([(claim, entries)])
        if outcome is not None:
            await broker.settle([(claim, outcome)])
    await broker.enqueue([NewJob(id=new_id(), task="t", body=b"{}", queue=EVIL)])
    await app.close()
    return jobs


def test_no_output_of_the_command_commands_a_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/jobs.db"
    failed, parked, running = asyncio.run(_stock(url))
    for command in (
        ("job", "list"), ("job", "show", failed), ("job", "show", parked), ("job", "show", running), ("job", "logs", failed),
        ("job", "watch", failed), ("queue", "list"), ("workers",), ("doctor",), ("job", "retry", "no\x1b[2Jid"),
        ("job", "delete", running), ("enqueue", "evil\x1b[2J"),
    ):  # fmt: skip
        capfd.readouterr()
        main([*command, "--url", url])
        out, err = capfd.readouterr()
        assert out or err, command
        assert harmless(out + err), command
        if command[0] == "job" and command[1] == "list":
            assert len(out.splitlines()) == 4, "a row is a line"


def test_cells_and_talk(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\n" not in clean(EVIL)
    assert harmless(clean(EVIL))
    talk(EVIL)
    assert harmless(capsys.readouterr().err)


# --- addresses (S27, S32) -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:CANARY@host:6379/0",
        "redis://:CANARY@h1:1,h2:2/0",
        "rediss://host/0?password=CANARY&username=u",
        "redis+sentinel://u:CANARY@host/service?sentinel_password=CANARY",
        "redis://user:CANARY@@host/0",
        "unix://user:CANARY@/path?db=0",
    ],
)
def test_no_password_in_an_address_that_is_shown(url: str) -> None:
    assert "CANARY" not in masked(url)
    assert list(exposed(masked(url))) == [said for said in exposed(url) if "CANARY" not in said]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://localhost/0", []),
        ("redis://127.0.0.1:7000,[::1]:7001/0", []),
        ("unix:///run/redis.sock", []),
        ("redis://db.internal:6379/0", ["without a password", "use TLS"]),
        ("redis://user:***@10.0.0.7/0", ["use TLS"]),
        ("redis://10.0.0.7/0?password=***", ["use TLS"]),
        ("rediss://10.0.0.7/0", ["without a password"]),
        ("rediss://user:***@10.0.0.7/0", []),
        ("rediss://user:***@10.0.0.7/0?ssl_cert_reqs=none", ["ssl_cert_reqs=none"]),
        ("redis+sentinel://localhost,elsewhere/service", ["without a password", "use TLS"]),
        ("rediss+sentinel://u:***@elsewhere/service?sentinel_password=x", []),
    ],
)
def test_a_server_in_the_open_is_remarked_on(url: str, said: list[str]) -> None:
    found = list(exposed(url))
    assert len(found) == len(said)
    assert all(wanted in one for wanted, one in zip(said, found, strict=True))


# --- probes (S31) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_", [b"GET /livez", b"GET /readyz", b"GET /", b"POST /livez", b"nonsense", b"HEAD /readyz"]
)
@pytest.mark.parametrize("ready", ["", "the store does not answer"])
def test_a_probe_learns_no_name_and_no_version(request_: bytes, ready: str) -> None:
    told = answer(request_ + b" HTTP/1.1\r\nHost: x\r\n\r\n", lambda: ready).decode()
    head, _, body = told.partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    known = {"Content-Type", "Content-Length", "Cache-Control", "Connection", "Allow"}
    assert {line.partition(":")[0] for line in lines} <= known
    assert body.strip() in ("", ready, status.split(" ", 2)[2].lower())
