"""The line that fails does so as it says: seen from both of its ends."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from servers import Proxy

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Ends]]


class Server:
    """Answers "<...>" to what it hears, and remembers it. gone: how each of its connections ended."""

    def __init__(self) -> None:
        self.heard = b""
        self.pieces = 0
        self.gone: list[BaseException | None] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        why: BaseException | None = None
        try:
            while data := await reader.read(65536):
                self.heard += data
                self.pieces += 1
                writer.write(b"<" + data + b">")
                await writer.drain()
        except ConnectionError as error:
            why = error
        self.gone.append(why)
        writer.close()


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    async with (
        await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening,
        Proxy(listening.sockets[0].getsockname()[1]) as proxy,
    ):
        yield proxy


@pytest.fixture
async def dial(proxy: Proxy) -> AsyncIterator[Dial]:
    """Connects through the proxy."""
    writers = list[asyncio.StreamWriter]()

    async def dialled() -> Ends:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writers.append(writer)
        return reader, writer

    yield dialled
    for writer in writers:
        writer.close()


async def ask(ends: Ends, words: bytes) -> bytes:
    """The whole answer, or what came of it before the connection ended."""
    ends[1].write(words)
    try:
        return await ends[0].readexactly(len(words) + 2)
    except asyncio.IncompleteReadError as error:
        return error.partial


async def silent(ends: Ends) -> bool:
    """Whether nothing comes: only what is wrongly there can make this fail."""
    try:
        async with asyncio.timeout(0.1):
            return not await ends[0].read(1)
    except TimeoutError:
        return True


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 # both ends are in this loop
            await asyncio.sleep(0.001)


async def test_an_answer_that_is_lost_was_given(proxy: Proxy, dial: Dial, server: Server) -> None:
    ends, other = await dial(), await dial()
    proxy.lose_answer(b"two")
    assert await ask(ends, b"one") == b"<one>"
    assert await ask(ends, b"two") == b""
    assert (server.heard, proxy.lost) == (b"onetwo", 1)
    assert await ask(other, b"two") == b"<two>"


async def test_a_part_of_an_answer_comes_and_then_the_end(proxy: Proxy, dial: Dial, server: Server) -> None:
    ends = await dial()
    proxy.cut_answer(b"word", 3)
    assert await ask(ends, b"word") == b"<wo"
    assert (server.heard, proxy.lost) == (b"word", 1)


async def test_a_part_of_an_answer_comes_and_then_a_reset(proxy: Proxy, dial: Dial, server: Server) -> None:
    reader, writer = await dial()
    proxy.cut_answer(b"word", 3, reset=True)
    writer.write(b"word")
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(6)
    assert (server.heard, proxy.lost) == (b"word", 1)


async def test_a_request_is_reset_in_its_middle_at_both_ends(proxy: Proxy, dial: Dial, server: Server) -> None:
    reader, writer = await dial()
    proxy.cut_request(b"word", 2)
    writer.write(b"word")
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(6)
    await until(lambda: server.gone)
    assert server.heard in (b"", b"wo")  # a reset may overtake what is before it
    assert isinstance(server.gone[0], ConnectionResetError)


@pytest.mark.parametrize(("asking", "heard"), [(True, b"one"), (False, b"onetwo")])
async def test_a_connection_is_dead_in_one_direction(
    proxy: Proxy, dial: Dial, server: Server, asking: bool, heard: bytes
) -> None:
    ends = await dial()
    assert await ask(ends, b"one") == b"<one>"
    proxy.deaden(asking=asking, answering=not asking)
    ends[1].write(b"two")
    assert await silent(ends)
    assert server.heard == heard
    assert await ask(await dial(), b"new") == b"<new>"


async def test_what_is_held_back_comes_later(proxy: Proxy, dial: Dial, server: Server) -> None:
    ends = await dial()
    assert await ask(ends, b"one") == b"<one>"
    proxy.lines[0].clog()
    ends[1].write(b"two")
    assert await silent(ends)
    assert server.heard == b"one"
    proxy.lines[0].unclog()
    assert await ends[0].readexactly(5) == b"<two>"


async def test_every_connection_is_held_back_for_a_while(proxy: Proxy, dial: Dial) -> None:
    all_ends = [await dial() for _ in range(4)]
    assert [await ask(ends, b"one") for ends in all_ends] == [b"<one>"] * 4
    swizzling = asyncio.create_task(proxy.swizzle(proxy.lines, 0.4, random.Random(1)))
    await until(lambda: not any(line.asking.open.is_set() for line in proxy.lines))
    assert [await ask(ends, b"two") for ends in all_ends] == [b"<two>"] * 4
    await swizzling


async def test_a_black_hole_takes_connections_and_says_nothing(proxy: Proxy, dial: Dial, server: Server) -> None:
    proxy.blackhole = True
    ends = await dial()
    ends[1].write(b"one")
    assert await silent(ends)
    assert (server.heard, proxy.taken) == (b"", 1)
    proxy.blackhole = False
    assert await ask(await dial(), b"new") == b"<new>"


async def test_every_byte_travels_alone(proxy: Proxy, dial: Dial, server: Server) -> None:
    proxy.sliced = True
    ends = await dial()
    ends[1].write(b"word")
    await until(lambda: server.heard == b"word")
    assert server.pieces > 1


async def test_it_refuses_connections_and_admits_them_again(proxy: Proxy, dial: Dial) -> None:
    reader, _ = await dial()
    port = proxy.port
    await until(lambda: len(proxy.lines) == 1)
    await proxy.refuse()
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    with pytest.raises(ConnectionRefusedError):
        await dial()
    await proxy.admit()
    assert proxy.port == port
    assert await ask(await dial(), b"new") == b"<new>"


async def test_no_server_behind_it_ends_connections(proxy: Proxy, dial: Dial) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        proxy.upstream = nobody.getsockname()[1]
    reader, _ = await dial()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await reader.readexactly(1)
