"""The link between processes: what is no message ends the process that sent it, and the leash needs nobody's help."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from windlass.core.measures import Rollup
from windlass.core.outcome import Succeeded
from windlass.events import Counted, StoreTrouble, WorkerChanged
from windlass.worker import link
from windlass.worker.link import Done, Process, Stop, Told, _decoder, frame

CHILD = """
import os, sys, time
from windlass.worker.link import Parent
parent = Parent(*map(int, sys.argv[1:]))
{what}
"""


def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> Process:
    (tmp_path / "a_child.py").write_text(CHILD.format(what=what))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Process("a_child")


async def test_whole_messages_arrive_and_half_a_message_is_the_end(tmp_path: Path, monkeypatch: Any) -> None:
    half = frame(Done(Succeeded(b"2")))[:-1]
    child = process(
        tmp_path, monkeypatch, f"parent._socket.sendall({frame(Done(Succeeded(b'1'))) + half!r}); os._exit(7)"
    )
    assert await child.receive() == Done(Succeeded(b"1"))
    assert await child.receive() is None
    assert await child.gone == 7
    await child.close()


@pytest.mark.parametrize("rubbish", [b"\x00\x00\x00\x01\xc1", b"\xff\xff\xff\xff", b"\x00\x00\x00\x03abc"])
async def test_rubbish_is_refused(tmp_path: Path, monkeypatch: Any, rubbish: bytes) -> None:
    child = process(tmp_path, monkeypatch, f"parent._socket.sendall({rubbish!r}); time.sleep(60)")
    assert await child.receive() is None
    assert "nonsense" in (await child.death()).message
    await child.close()


async def test_the_end_is_seen_even_if_a_grandchild_keeps_the_socket(tmp_path: Path, monkeypatch: Any) -> None:
    what = "import subprocess; subprocess.Popen(['sleep', '60'], pass_fds=[int(sys.argv[1])], start_new_session=True); os._exit(3)"
    child = process(tmp_path, monkeypatch, what)
    assert await asyncio.wait_for(child.receive(), 20) is None
    assert await child.gone == 3
    await child.close()


async def test_what_was_said_to_the_dead_is_no_line_of_the_log(tmp_path: Path, monkeypatch: Any) -> None:
    """asyncio logs an exception that nobody asked for when its future is collected; in which order that happens is not ours to say."""
    child = process(tmp_path, monkeypatch, "os._exit(3)")
    await child.gone
    for _ in range(2):  # the second one meets a transport that knows
        await child.send(Stop("drain"))
        await asyncio.sleep(0)
    _, writer = await child._streams
    closed = cast(Any, writer)._protocol._closed
    assert isinstance(closed._exception, BrokenPipeError)
    await child.close()
    assert not closed._log_traceback


async def test_who_hangs_up_before_he_leaves_is_not_killed_for_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(link, "GRACE", 20)
    child = process(
        tmp_path, monkeypatch, "parent._stream.close(); parent._socket.close(); time.sleep(0.1); os._exit(5)"
    )
    assert await child.receive() is None
    child.kill()
    assert await child.gone == 5
    await child.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help")
async def test_the_leash_kills_a_process_that_holds_its_interpreter(tmp_path: Path, monkeypatch: Any) -> None:
    what = "import re; parent.send(__import__('windlass.worker.link').worker.link.Ready()); re.match(r'(a+)+$', 'a' * 64 + 'b')"
    child = process(tmp_path, monkeypatch, what)
    assert isinstance(await child.receive(), link.Ready)
    child.let_go()
    assert await asyncio.wait_for(child.gone, 10) == -9
    await child.close()


@pytest.mark.parametrize(
    "event",
    [
        Counted([Rollup("q", "t", "failed", 2, {3: 2}, {4: 1})]),
        WorkerChanged("w1", "lost"),
        StoreTrouble("settle", ValueError("no")),
    ],
)
def test_events_travel(event: Any) -> None:
    """Of an error its message: whatever its class is, the supervisor need not know it."""
    arrived = _decoder.decode(frame(Told(event))[4:])
    assert isinstance(arrived, Told)
    if isinstance(event, StoreTrouble):
        assert isinstance(arrived.event, StoreTrouble)
        assert (arrived.event.verb, str(arrived.event.error)) == ("settle", "no")
    else:
        assert arrived.event == event


def test_nothing_else_becomes_text_on_its_way() -> None:
    with pytest.raises(NotImplementedError):
        frame(Told(StoreTrouble("settle", object())))  # type: ignore[arg-type]  # that is the test
