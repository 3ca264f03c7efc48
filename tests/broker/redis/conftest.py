"""Real servers for the tests of the Redis broker: one that is shared and emptied, others made for a test, and open brokers over them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest
from faults import Connect, Start

from servers import BINARIES, MISSING, RedisServer
from windlass.broker.redis.broker import RedisBroker

try:
    import uvloop
except ModuleNotFoundError:
    uvloop = None
needed = pytest.mark.skipif(not BINARIES, reason=MISSING)


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What is about connections is tested on both event loops that a worker may have; they close them differently."""
    loops = {"asyncio": asyncio.new_event_loop}
    if uvloop is not None and item.path.name == "test_redis_connections.py":
        loops["uvloop"] = uvloop.new_event_loop
    return loops


@pytest.fixture(scope="session", params=BINARIES or [pytest.param("", marks=needed)], ids=lambda path: Path(path).name)
def shared(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """The server of this process of pytest, once for each kind that is installed. It must not be stopped."""
    with RedisServer(request.param) as server:
        yield server


@pytest.fixture
def url(shared: RedisServer) -> str:
    """An empty store."""
    shared.command("FLUSHALL")
    return shared.url()


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a server that is the test's own: `start(appendonly="yes")`."""
    if not BINARIES:
        pytest.skip(MISSING)
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(RedisServer(**options))


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Opens a broker, which is closed after the test."""
    async with AsyncExitStack() as stack:

        async def opened(url: str, name: str = "windlass") -> RedisBroker:
            broker = RedisBroker(url, name)
            stack.push_async_callback(broker.close)
            await broker.open()
            return broker

        yield opened


@pytest.fixture
def name() -> str:
    """The app's."""
    return "windlass"


@pytest.fixture
async def broker(url: str, name: str, connect: Connect) -> RedisBroker:
    return await connect(url, name)


@pytest.fixture
async def second(broker: RedisBroker, url: str, name: str, connect: Connect) -> RedisBroker:
    """Another connection to the same store."""
    return await connect(url, name)
