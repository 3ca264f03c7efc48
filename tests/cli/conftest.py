"""A project folder with an app and a SQLite store, the command run in it, and a hand on the store behind the command's back."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import TASKS, Ran, Windlass

from windlass.broker.port import Broker
from windlass.broker.url import make_broker
from windlass.cli.main import main


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder: tasks.py with an app, no store yet, and no setting from outside."""
    for name in [name for name in os.environ if name.startswith("WINDLASS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WINDLASS_DEBUG", "")  # as `--debug` sets it for this process and its children
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "tasks.py").write_text(TASKS)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def windlass(project: Path, capfd: pytest.CaptureFixture[str]) -> Windlass:
    """Runs the command in this process: `windlass("job", "list")`."""

    def run(*arguments: object) -> Ran:
        capfd.readouterr()
        code = main([str(one) for one in arguments])
        return Ran(code, *capfd.readouterr())

    return run


@pytest.fixture
def url(project: Path) -> str:
    """The store that the project's app uses."""
    return f"sqlite:///{project / '.windlass' / 'windlass.db'}"


@pytest.fixture
def store(url: str) -> Callable[[Callable[[Broker], Awaitable[Any]]], Any]:
    """Does something with the project's store: `store(lambda broker: broker.tally())`."""

    def do(work: Callable[[Broker], Awaitable[Any]]) -> Any:
        async def session() -> Any:
            broker = make_broker(url, "windlass")
            await broker.open()
            try:
                return await work(broker)
            finally:
                await broker.close()

        return asyncio.run(session())

    return do
