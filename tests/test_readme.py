"""The README keeps its word: its example is run as printed, with a real server, a real worker and SQLite."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

README = Path(__file__).parent.parent / "README.md"
BIN = Path(sys.executable).parent


def blocks(language: str) -> list[str]:
    """The code blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def example() -> str:
    """The FastAPI example."""
    (code,) = blocks("python")
    return code


def commands(program: str) -> list[list[str]]:
    """How the README calls a program."""
    lines = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line[:1] == [program]]


@contextmanager
def running(folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program of the environment, stopped as a person would stop it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WINDLASS_")}
    process = subprocess.Popen([BIN / command[0], *command[1:]], cwd=folder, env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_served(client: httpx2.Client) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            client.get("/openapi.json")
        except httpx2.TransportError:
            assert time.monotonic() < deadline, "the API does not answer"
            time.sleep(0.05)
        else:
            return


@pytest.mark.timeout(100)
def test_the_example_works_as_printed(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(example())
    (tmp_path / "pyproject.toml").write_text("")
    port = free_port()
    (serve,), (work, listing) = commands("uvicorn"), commands("windlass")
    with (
        running(tmp_path, *serve, "--port", str(port)) as api,
        running(tmp_path, *work) as worker,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        until_served(client)
        accepted = client.post("/videos", params={"video": "holiday"})
        assert accepted.status_code == 202
        address = accepted.headers["location"]
        assert address == f"/jobs/{accepted.json()['id']}"
        events = client.get(f"{address}/events").text
        assert '"message":"encoding"' in events
        assert "event: end" in events
        assert client.get(f"{address}/result").json() == "holiday-720p.mp4"
        assert client.get(address).json()["state"] == "succeeded"
        listed = subprocess.run(
            [BIN / listing[0], *listing[1:]], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert accepted.json()["id"] in listed.stdout
        assert "succeeded" in listed.stdout
    assert (api.returncode, worker.returncode) == (0, 0)
    assert (tmp_path / ".windlass" / "windlass.db").exists()


def test_the_example_has_twelve_lines() -> None:
    lines = [line for line in example().splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) == 12


def test_both_commands_exist() -> None:
    makefile = (README.parent / "Makefile").read_text()
    assert [command[1] for command in commands("make")] == ["demo", "test"]
    assert all(f"\n{command[1]}:" in makefile for command in commands("make"))
