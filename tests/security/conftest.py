"""Stores of each kind for the tests of security, and a hand on what is in them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from servers import BINARIES, MISSING, RedisServer
from windlass import Windlass
from windlass.broker.port import Broker
from windlass.broker.url import make_broker

QUICK: dict[str, Any] = {"kill_after": 0.3, "beat": 0.05, "upkeep": 0.05, "lease": 2, "processes": 1, "threads": 2}
_numbers = count()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server of this process of pytest."""
    if not BINARIES:
        pytest.skip(MISSING)
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store."""
    if request.param == "memory":
        return f"memory://security-{next(_numbers)}"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    return server.url()


@pytest.fixture
async def make_app(url: str) -> AsyncIterator[Callable[..., Windlass]]:
    """Makes apps on the store, with short times; each is closed after the test."""
    made: list[Windlass] = []

    def make(**settings: Any) -> Windlass:
        made.append(Windlass(url, **{**QUICK, **settings}))
        return made[-1]

    yield make
    for app in made:
        await app.close()


@pytest.fixture
async def raw(url: str, make_app: Callable[..., Windlass]) -> AsyncIterator[Broker]:
    """The store as somebody sees it who has its password and nothing else."""
    make_app()  # it keeps a store in memory alive
    broker = make_broker(url, "windlass")
    await broker.open()
    yield broker
    await broker.close()


async def until(condition: Callable[[], Any], timeout: float = 20.0) -> Any:
    """The condition's answer (awaited if need be), once it is true."""
    end = time.monotonic() + timeout
    while True:
        answer = condition()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.01)


@pytest.fixture(name="until")
def _until() -> Callable[..., Awaitable[Any]]:
    return until
