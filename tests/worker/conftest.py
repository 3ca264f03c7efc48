"""What all tests of the worker share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import pytest

from windlass import Windlass

QUICK: dict[str, Any] = {"kill_after": 0.3, "beat": 0.05, "upkeep": 0.05, "lease": 2, "processes": 2, "threads": 4}
_numbers = count()


@pytest.fixture
def make_app() -> Callable[..., Windlass]:
    """Makes an app on a store of its own, in memory, with short times."""

    def make(**settings: Any) -> Windlass:
        return Windlass(f"memory://test-{next(_numbers)}", **{**QUICK, **settings})

    return make


@pytest.fixture
def app(make_app: Callable[..., Windlass]) -> Windlass:
    return make_app()


async def until(condition: Callable[[], Any], timeout: float = 15.0) -> Any:
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
