"""Failpoints: off they cost nothing and do nothing; armed they fail once, at their name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from windlass.failpoints import armed, failpoint


@pytest.fixture(autouse=True)
def nothing_armed() -> Iterator[None]:
    armed.clear()
    yield
    armed.clear()


def in_a_process(program: str, armed: str = "", **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", f"from windlass.failpoints import failpoint\n{program}"],
        env={**os.environ, "WINDLASS_FAILPOINTS": armed, **more},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_is_not_armed_does_nothing() -> None:
    failpoint("a")
    armed["a"] = "raise"
    failpoint("b")


def test_raise_fires_once() -> None:
    armed["a"] = "raise"
    with pytest.raises(RuntimeError, match="failpoint a"):
        failpoint("a")
    failpoint("a")


def test_delay_blocks_the_thread() -> None:
    armed["a"] = "delay:0.05"
    started = time.monotonic()
    failpoint("a")
    assert time.monotonic() - started >= 0.05


def test_disarmed_points_do_nothing() -> None:
    armed["a"] = "raise"
    armed.clear()
    failpoint("a")


def test_kill9_takes_the_process_down_at_the_point() -> None:
    with in_a_process("print('before', flush=True)\nfailpoint('x')\nprint('after')", "y=raise, x=kill9") as process:
        assert process.stdout is not None
        assert process.stdout.read() == "before\n"
    assert process.returncode == -signal.SIGKILL


def test_stop_suspends_the_process_until_it_is_continued() -> None:
    with in_a_process("failpoint('x')\nprint('after')", "x=stop") as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        assert process.stdout is not None
        assert process.stdout.read() == "after\n"
    assert process.returncode == 0


@pytest.mark.parametrize("armed", ["", "x", ",,", "other=kill9"])
def test_an_environment_that_arms_nothing_here_is_harmless(armed: str) -> None:
    with in_a_process("failpoint('x')\nprint('after')", armed) as process:
        assert process.stdout is not None
        assert process.stdout.read() == "after\n"
    assert process.returncode == 0


def test_where_once_is_asked_for_only_the_first_process_fails(tmp_path: Path) -> None:
    codes = []
    for _ in range(3):
        with in_a_process("failpoint('x')", "x=kill9", WINDLASS_FAILPOINTS_ONCE=str(tmp_path)) as process:
            codes.append(process.wait())
            pid = process.pid
        if codes == [-signal.SIGKILL]:
            assert (tmp_path / "x").read_text() == str(pid)
    assert codes == [-signal.SIGKILL, 0, 0]
