"""A seal that stands in the program's code: the supervisor, which has no keys, the runners and children that load them, and the command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

PROGRAM = """
from windlass import Context, Depends, Retry, Seal, Snooze, Windlass

app = Windlass(seal=Seal.encrypting({"now": b"k" * 32}), kill_after=0.3, beat=0.1, upkeep=0.05, lease=3, processes=1)

@app.task
async def loop(n: int) -> int:
    return n

@app.task
def thread(n: int) -> int:
    return n

@app.task(lane="process")
def process(n: int, ctx: Context = Depends()) -> dict[str, int]:
    if ctx.last_checkpoint is None:
        print("saved", n)
        ctx.checkpoint({"n": n})
        raise Snooze(0)
    return ctx.last_checkpoint
"""
Command = Callable[..., str]


@pytest.fixture
def command(tmp_path: Path, url: str) -> Command:
    """Runs the command beside the program: what it says on stdout."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "pyproject.toml").touch()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WINDLASS_")}

    def run(*arguments: object, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "windlass.cli.main", *map(str, arguments)],
            capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path, env={**kept, "WINDLASS_URL": url},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("url", ["sqlite", "redis"], indirect=True)
def test_only_who_loads_the_program_has_the_keys(command: Command) -> None:
    jobs = {lane: command("enqueue", f"program:{lane}", 12345678).strip() for lane in ("loop", "thread", "process")}
    command("worker", "program:app", "--burst")
    for lane, job in jobs.items():
        with_keys = msgspec.json.decode(command("job", "show", "--json", "--app", "program:app", job))
        assert with_keys["arguments"] == {"n": 12345678}
        assert with_keys["result"] == ({"n": 12345678} if lane == "process" else 12345678)
        assert "unreadable" not in with_keys
        without = msgspec.json.decode(command("job", "show", "--json", job))
        assert (without["state"], without["arguments"], without["result"]) == ("succeeded", None, None)
        assert without["unreadable"].endswith("it is sealed with the key 'now', and this program has no keys")
    assert "saved 12345678" in command("job", "logs", "--app", "program:app", jobs["process"])
    assert "it is sealed with the key 'now'" in command("job", "logs", jobs["process"])
    assert "12345678" not in command("job", "show", jobs["process"]) + command(
        "job", "watch", "--json", jobs["process"]
    )
