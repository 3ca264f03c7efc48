from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest

from windlass.broker.sqlite.broker import SqliteBroker
from windlass.testing.conformance import Conformance
from windlass.testing.conformance.machine import check_against_model


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[SqliteBroker]:
    broker = SqliteBroker(f"sqlite:///{tmp_path}/jobs.db")
    await broker.open()
    yield broker
    await broker.close()


@pytest.fixture
async def second(broker: SqliteBroker, tmp_path: Path) -> AsyncIterator[SqliteBroker]:
    second = SqliteBroker(f"sqlite:///{tmp_path}/jobs.db")
    await second.open()
    yield second
    await second.close()


class TestSqlite(Conformance):
    """The port, on a file, the second broker being a connection of its own."""


def test_sqlite_agrees_with_the_model(tmp_path: Path) -> None:
    number = count()
    check_against_model(lambda: SqliteBroker(f"sqlite:///{tmp_path}/{next(number)}.db?synchronous=NORMAL"))
