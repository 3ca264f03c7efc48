"""What a supervisor answers to probes, over its socket and its port, whatever is sent there."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.errors import ConfigurationError
from windlass.worker import health, runtime
from windlass.worker.health import Health, answer, parse

GET = b"GET %s HTTP/1.1\r\nHost: here\r\n\r\n"
Ask = Callable[[bytes], Awaitable[bytes]]
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the sockets are: apart from those of others, and with a path short enough for a socket."""
    parent = tmp_path_factory.mktemp("run")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(parent))
    monkeypatch.setenv("TMPDIR", str(parent))
    return parent / "windlass"


@pytest.fixture
def trouble() -> list[str]:
    """Why it is not ready: the last of these."""
    return [""]


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def served(free_port: int, trouble: list[str]) -> AsyncGenerator[Health]:
    served = Health(lambda: trouble[-1])
    await served.start(str(free_port))
    yield served
    served.stop()


@asynccontextmanager
async def calling(port: int) -> AsyncGenerator[Line]:
    """A connection to the port, which is gone afterwards."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass  # the other side was first


@pytest.fixture
def ask(served: Health, free_port: int) -> Ask:
    """Send this to the port; answers everything that comes back until the other side hangs up."""

    async def ask(request: bytes) -> bytes:
        async with calling(free_port) as (reader, writer):
            writer.write(request)
            return await asyncio.wait_for(reader.read(), 30)

    return ask


def names(folder: Path) -> set[str]:
    """The files of a folder."""
    return {path.name for path in folder.iterdir()}


# --- what is said -------------------------------------------------------------------------------------------


async def test_it_is_alive_and_ready(ask: Ask) -> None:
    for path in (b"/livez", b"/readyz", b"/readyz?verbose"):
        assert await ask(GET % path) == (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n"
            b"Cache-Control: no-store\r\nConnection: close\r\n\r\nok\n"
        )


async def test_it_is_alive_and_not_ready(ask: Ask, trouble: list[str]) -> None:
    trouble.append("the store does not answer")
    said = await ask(GET % b"/readyz")
    assert said.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert said.endswith(b"\r\n\r\nthe store does not answer\n")
    assert (await ask(GET % b"/livez")).startswith(b"HTTP/1.1 200 ")


async def test_head_is_get_without_the_body(ask: Ask) -> None:
    whole = await ask(GET % b"/readyz")
    assert await ask((GET % b"/readyz").replace(b"GET", b"HEAD")) == whole.removesuffix(b"ok\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GET % b"/", 404),
        (GET % b"/livez/", 404),
        (GET % b"/../livez", 404),
        (GET % b"http://here/livez", 404),
        (b"POST /livez HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", 405),
        (b"POST /nothing HTTP/1.1\r\n\r\n", 404),
        (b"get /livez HTTP/1.1\r\n\r\n", 405),
        (b"GET /livez\r\n\r\n", 400),
        (b"GET  /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/2\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nX: " + b"x" * health.MOST_BYTES, 400),
    ],
)
async def test_anything_else_is_refused(ask: Ask, request_: bytes, status: int) -> None:
    said = await ask(request_)
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert (b"\r\nAllow: GET, HEAD\r\n" in said) is (status == 405)


async def test_a_request_may_come_in_pieces(served: Health, free_port: int) -> None:
    async with calling(free_port) as (reader, writer):
        for piece in (b"GET /live", b"z HTTP/1.1\r", b"\n\r", b"\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


@given(st.binary(max_size=200), st.text(max_size=50))
def test_whatever_is_sent_the_answer_is_a_whole_response(request_: bytes, trouble: str) -> None:
    for one in (request_, b"GET " + request_ + b"\r\n\r\n", b"GET /readyz HTTP/1.1" + request_ + b"\r\n\r\n"):
        head, _, body = answer(one, lambda: trouble).partition(b"\r\n\r\n")
        status, *headers = head.split(b"\r\n")
        assert status[:9] == b"HTTP/1.1 "
        assert int(status[9:12]) in (200, 400, 404, 405, 503)
        assert b"Content-Length: %d" % len(body) in headers or (one.startswith(b"HEAD") and body == b"")
        assert b"windlass" not in head.lower()


# --- metrics ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def measured(port: int, metrics: health.Metrics) -> AsyncGenerator[Health]:
    served = Health(str, metrics)
    await served.start(str(port))
    try:
        yield served
    finally:
        served.stop()


async def test_metrics_are_told_where_they_are_wanted(ask: Ask, free_port: int) -> None:
    assert (await ask(GET % b"/metrics")).startswith(b"HTTP/1.1 404 ")


async def test_metrics_are_waited_for(free_port: int) -> None:
    begun, measured_now = asyncio.Event(), asyncio.Event()

    async def metrics() -> str:
        begun.set()
        await measured_now.wait()
        return "windlass_up 1"

    async with (
        measured(free_port, metrics),
        calling(free_port) as (reader, writer),
        calling(free_port) as (other, probe),
    ):
        writer.write(GET % b"/metrics?x=1")
        await begun.wait()
        writer.write(GET % b"/metrics")  # more is not asked on this line
        probe.write(GET % b"/livez")
        assert (await other.read()).startswith(b"HTTP/1.1 200 ")  # meanwhile
        measured_now.set()
        said = await asyncio.wait_for(reader.read(), 30)
    assert said.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n")
    assert said.endswith(b"\r\n\r\nwindlass_up 1\n")


async def test_who_hangs_up_is_not_measured_for(free_port: int) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def metrics() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    async with measured(free_port, metrics):
        async with calling(free_port) as (_, writer):
            writer.write(GET % b"/metrics")
            await asyncio.wait_for(begun.wait(), 30)
        await asyncio.wait_for(ended.wait(), 30)


# --- who asks badly -----------------------------------------------------------------------------------------


async def hung_up_on(reader: asyncio.StreamReader) -> bool:
    """Whether the other side ended the connection and said nothing."""
    try:
        return await asyncio.wait_for(reader.read(), 30) == b""
    except ConnectionError:
        return True


async def test_who_does_not_finish_is_hung_up_on(
    served: Health, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.05)
    async with calling(free_port) as (silent, _), calling(free_port) as (slow, writer):
        writer.write(b"GET /livez HTTP/1.1\r\n")
        assert await hung_up_on(silent)
        assert await hung_up_on(slow)


async def test_a_crowd_that_says_nothing_does_not_keep_a_probe_out(ask: Ask, free_port: int) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(health.MOST_CONNECTIONS + 10):
            oldest = await stack.enter_async_context(calling(free_port))
        crowd = [await stack.enter_async_context(calling(free_port)) for _ in range(health.MOST_CONNECTIONS + 10)]
        assert (await ask(GET % b"/livez")).startswith(b"HTTP/1.1 200 ")
        assert await hung_up_on(oldest[0])
        newest, writer = crowd[-1]
        writer.write(GET % b"/livez")
        assert (await newest.read()).startswith(b"HTTP/1.1 200 ")


async def test_nobody_keeps_it_from_stopping(served: Health, ask: Ask, free_port: int) -> None:
    async with calling(free_port) as (reader, _):
        await ask(GET % b"/livez")
        served.stop()
        assert await hung_up_on(reader)
    with pytest.raises(ConnectionRefusedError):
        await ask(b"")


# --- where it listens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("localhost:1", ("localhost", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse(text) == address


@pytest.mark.parametrize("text", ["", "0", "65536", "-1", ":8080", "here", "here:", "here:http", "8080:", "²", "[]:80"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is no \[HOST:\]PORT .*; write 8080"):
        parse(text)


@pytest.mark.parametrize(
    ("host", "said"),
    [("127.0.0.1", "the port is in use, perhaps by another worker"), ("192.0.2.1", "does not have that")],
)
async def test_a_port_that_cannot_be_had(served: Health, free_port: int, host: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"health {host}:{free_port}: .*{said}"):
        await Health(str).start(f"{host}:{free_port}")


async def test_without_a_port_there_is_only_the_socket(folder: Path) -> None:
    served = Health(str)
    await served.start()
    ((pid, path),) = runtime.sockets(str(folder))
    assert pid == os.getpid()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(GET % b"/livez")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    served.stop()
    assert names(folder) == set()


# --- the folder of sockets ----------------------------------------------------------------------------------


async def test_only_its_user_can_enter_the_folder(served: Health, folder: Path) -> None:
    assert os.stat(folder).st_mode & 0o777 == 0o700


async def test_several_of_one_user_share_the_folder(served: Health, folder: Path) -> None:
    other = Health(str)
    await other.start()
    assert len(runtime.sockets(str(folder))) == 2
    other.stop()
    assert len(runtime.sockets(str(folder))) == 1


async def test_those_that_start_at_once_leave_each_other_alone(folder: Path) -> None:
    """None takes for dead what another has only just begun to make."""
    many = [Health(str) for _ in range(20)]
    await asyncio.gather(*(one.start() for one in many))
    paths = [path for _, path in runtime.sockets(str(folder))]
    assert len(paths) == len(names(folder)) == 20
    for path in paths:
        line = runtime.reach(path, 0)
        assert line is not None
        line.close()
    for one in many:
        one.stop()
    assert names(folder) == set()


async def test_the_sockets_of_the_dead_are_removed_and_those_of_the_living_are_not(folder: Path) -> None:
    runtime.make(str(folder))
    dead, busy = f"{os.getpid()}-dead.sock", "1-busy.sock"  # a number may belong to somebody else meanwhile
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        one.bind(str(folder / dead))
        other.bind(str(folder / busy))
        other.listen(0)
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(str(folder / busy))  # and it takes no second call
            served = Health(str)
            await served.start()
            assert names(folder) & {dead, busy} == {busy}
            served.stop()
    assert names(folder) == {busy}


def spoil(folder: Path, kind: str) -> None:
    """Put there what nobody should trust."""
    match kind:
        case "open to others":
            folder.mkdir()
            folder.chmod(0o750)
        case "a link":
            (folder.parent / "own").mkdir(mode=0o700)
            folder.symlink_to(folder.parent / "own")
        case "a file":
            folder.touch(mode=0o600)


@pytest.mark.parametrize("kind", ["open to others", "a link", "a file"])
async def test_another_folder_is_taken_where_the_first_cannot_be_trusted(folder: Path, kind: str) -> None:
    spoil(folder, kind)
    with pytest.raises(PermissionError, match=f"{folder} is not a folder that only user"):
        runtime.sockets(str(folder))
    served = Health(str)
    await served.start()
    assert [pid for pid, _ in runtime.sockets(runtime.folders()[1])] == [os.getpid()]
    served.stop()


async def test_a_folder_of_somebody_else_is_never_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.make(str(folder))
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)  # the folders that are made now are not this user's either
    served = Health(str)
    await served.start()
    served.stop()
    assert names(folder) == set()
    assert f"{folder} is not a folder that only user {mine + 1} can enter" in caplog.text


async def test_without_any_folder_a_worker_works_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    for variable in ("XDG_RUNTIME_DIR", "TMPDIR"):
        monkeypatch.setenv(variable, str(tmp_path / "missing"))
    served = Health(str)
    await served.start()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "set $XDG_RUNTIME_DIR" in caplog.text
    served.stop()
