"""No child outlives its runner, however the runner ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_link import CHILD
from test_process_lane import gone

RUNNER = """
import asyncio, ctypes, os, signal, sys, time
from windlass.worker.link import Process
async def main():
    child = Process("a_child")
    print(child.group, (await child.receive()).refusal, flush=True)
    {end}
asyncio.run(main())
"""
STARTS = """
import subprocess
from windlass.worker.link import Ready
parent.send(Ready(refusal=str(subprocess.Popen(["sleep", "600"]).pid)))
time.sleep(600)
"""
SEVERAL_WAYS = {
    "killed": "os.kill(os.getpid(), 9)",
    "segfault": "ctypes.string_at(0)",
    "exit": "os._exit(0)",
    "its child is stopped": "os.kill(child.group, signal.SIGSTOP); os.kill(os.getpid(), 9)",
    "it becomes something else": "os.execvp('sleep', ['sleep', '600'])",
    "a fork of it lives on": "os.fork() and os.kill(os.getpid(), 9); os.setsid(); os.write(1, b'%d\\n' % os.getpid()); time.sleep(600)",
}


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("end", SEVERAL_WAYS.values(), ids=SEVERAL_WAYS)
async def test_nothing_is_left_of_a_child_and_what_it_started(
    tmp_path: Path, until: Callable[..., Any], end: str
) -> None:
    (tmp_path / "a_child.py").write_text(CHILD.format(what=STARTS))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", RUNNER.format(end=end)]
    runner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: ASYNC220 # at once
    assert runner.stdout is not None
    child, grandchild = map(int, runner.stdout.readline().split())
    rest = int(runner.stdout.readline()) if "fork" in end else runner.pid
    try:
        for pid in (child, grandchild):
            await until(lambda pid=pid: gone(pid))
    finally:
        for pid in (rest, child, grandchild):
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)
        runner.communicate()
