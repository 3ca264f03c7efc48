"""The two fixtures that the conformance suite asks for, on memory. A module for another broker defines its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from windlass.broker.memory import MemoryBroker


@pytest.fixture
async def broker() -> AsyncIterator[MemoryBroker]:
    broker = MemoryBroker()
    await broker.open()
    yield broker
    await broker.close()


@pytest.fixture
async def second(broker: MemoryBroker) -> AsyncIterator[MemoryBroker]:
    second = broker.sibling()
    await second.open()
    yield second
    await second.close()
