"""What the live store promises, and what is asked of it; and the version of the code on every attempt."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from servers import BINARIES, MISSING, RedisServer
from windlass import ConfigurationError, Windlass
from windlass.errors import DurabilityUnavailable
from windlass.worker.runner import working

needs_redis = pytest.mark.skipif(not BINARIES, reason=MISSING)


@pytest.mark.parametrize("durability", ["", "process", "power"])
async def test_a_store_that_keeps_what_is_asked_of_it_opens(tmp_path: Path, durability: str) -> None:
    app = Windlass(f"sqlite:///{tmp_path}/jobs.db", durability=durability)
    assert (await app.describe()).survives == ("process crash", "power cut")
    await app.close()


@pytest.mark.parametrize(
    ("url", "durability", "said"),
    [
        ("sqlite:///{}/jobs.db?synchronous=NORMAL", "power", "survive a power cut.*it survives: process crash"),
        ("sqlite:///{}/jobs.db", "node", "survive a node loss"),
        ("memory://", "process", "survive a process crash.*it survives: nothing"),
    ],
)
async def test_a_store_that_cannot_keep_it_is_refused(tmp_path: Path, url: str, durability: str, said: str) -> None:
    app = Windlass(url.format(tmp_path), durability=durability)

    @app.task
    async def nothing() -> None: ...

    with pytest.raises(DurabilityUnavailable, match=said):
        await nothing.enqueue()
    with pytest.raises(DurabilityUnavailable, match=said):
        async with working(app):
            raise AssertionError("it works")


@needs_redis
@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, []),
        ({"appendonly": "yes", "appendfsync": "everysec"}, ["process"]),
        ({"appendonly": "yes", "appendfsync": "always"}, ["process", "power"]),
    ],
)
async def test_redis_is_asked_what_it_does(options: dict[str, Any], kept: list[str]) -> None:
    with RedisServer(**options) as server:
        for durability in ("process", "power", "node"):
            app = Windlass(server.url(), durability=durability)
            if durability in kept:
                await app.broker()
            else:
                with pytest.raises(DurabilityUnavailable, match=durability):
                    await app.broker()
            await app.close()


def test_a_worker_refuses_to_start_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("from windlass import Windlass\napp = Windlass(durability='node')\n")
    worker = subprocess.run(
        [sys.executable, "-m", "windlass.cli.main", "worker", "main:app"],
        cwd=tmp_path,
        env={**os.environ, "WINDLASS_URL": f"sqlite:///{tmp_path}/jobs.db"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert worker.returncode == 2
    assert "durability='node'" in worker.stderr
    assert "Traceback" not in worker.stderr


async def test_the_version_of_the_code_stands_on_the_attempt(make_app: Callable[..., Windlass]) -> None:
    app = make_app(version="2026.11-a1b2c3")

    @app.task
    async def quick() -> None: ...

    async with working(app):
        job = await quick.enqueue()
        await job.result(timeout=10)
        (worker,) = await (await app.broker()).workers()
    assert (await job.info()).version == worker.card.code == "2026.11-a1b2c3"


async def test_without_a_version_there_is_none(app: Windlass) -> None:
    @app.task
    async def quick() -> None: ...

    job = await quick.enqueue()
    assert (await job.info()).version == ""
    async with working(app):
        await job.result(timeout=10)
    assert (await job.info()).worker
    assert (await job.info()).version == ""


def test_a_durability_is_one_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDLASS_DURABILITY", "everything")
    with pytest.raises(ConfigurationError, match="none of process, power, node"):
        Windlass("memory://")
