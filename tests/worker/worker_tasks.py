"""The program of the worker's tests: imported by them, by runners and by children alike."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from windlass import Context, Depends, Retry, Snooze, Windlass, current
from windlass.errors import JobInterrupted

ONCE = Retry(attempts=1)


async def add(a: int, b: int) -> int:
    return a + b


def pid_in_process() -> int:
    return os.getpid()


async def pid() -> int:
    return os.getpid()


async def nap(seconds: float, mark: str = "") -> int:
    if mark:
        Path(mark).touch()  # noqa: ASYNC240 # a moment, on a local disk
    await asyncio.sleep(seconds)
    return os.getpid()


async def hang_once(mark: str) -> int:
    """Returns at once after a crash; hangs before."""
    if not current().crashes:
        Path(mark).touch()  # noqa: ASYNC240 # a moment, on a local disk
        await asyncio.sleep(600)
    return os.getpid()


def thread_nap(seconds: float) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)
    return os.getpid()


def process_nap(seconds: float, mark: str = "") -> int:
    if mark:
        Path(mark).write_text(str(os.getpid()))
    time.sleep(seconds)
    return os.getpid()


async def process_async_nap(seconds: float) -> None:
    await asyncio.sleep(seconds)


def process_subprocess(seconds: float, mark: str) -> None:
    child = subprocess.Popen(["sleep", str(seconds)])
    Path(mark).write_text(str(child.pid))
    child.wait()


def terminate_subprocess() -> int:
    child = subprocess.Popen(["sleep", "60"])
    child.terminate()
    return child.wait(10)


def leave(code: int) -> None:
    print("about to leave")
    os._exit(code)


def crash() -> None:
    ctypes.string_at(0)


def kill_self(number: int) -> None:
    os.kill(os.getpid(), number)


def eat(size: int) -> None:
    eaten = b"x" * size
    time.sleep(30)
    del eaten


def hold_the_gil() -> None:
    re.match(r"(a+)+$", "a" * 64 + "b")


def deaf(seconds: float) -> str:
    """Ignores every interruption."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(0.02)
        except JobInterrupted:
            pass
    return "deaf"


def speak(ctx: Context = Depends()) -> Any:
    """Uses every way to the journal; a second run answers what the first one left."""
    before = ctx.last_checkpoint
    if before is not None:
        return before
    print("printed")
    logging.getLogger("speaker").warning("logged %d", 7)
    ctx.log("said")
    ctx.chunk({"n": 1})
    ctx.progress(1, 2)
    ctx.progress(2, 2, "done")
    ctx.checkpoint({"at": 5})
    print("no end", end="")
    raise Snooze(0)


async def speak_async(ctx: Context = Depends()) -> Any:
    return speak(ctx)


def flood(lines: int) -> None:
    for number in range(lines):
        print(number)


def meta() -> dict[str, str]:
    return dict(current().meta)


def build(url: str, **settings: Any) -> Windlass:
    """The program over a store."""
    quick: dict[str, Any] = {"kill_after": 0.5, "beat": 0.1, "upkeep": 0.1, "lease": 3, "processes": 2, "threads": 4}
    app = Windlass(url, **{**quick, **settings})
    for function in (add, pid, nap, hang_once, thread_nap):
        app.task(function)
    for function in (deaf, speak, flood, meta, terminate_subprocess):
        app.task(function)
        app.task(lane="process", name=f"process.{function.__name__}")(function)
    app.task(speak_async)
    in_process: list[Any] = [pid_in_process, process_nap, process_async_nap, process_subprocess, hold_the_gil]
    for function in in_process:
        app.task(lane="process", retry=ONCE)(function)
    for function in (leave, crash, kill_self):
        app.task(lane="process", crash_limit=1)(function)
    app.task(lane="process", memory="100MB", crash_limit=1)(eat)
    app.task(name="thread.hold_the_gil", timeout=0.5, crash_limit=1)(hold_the_gil)
    app.task(name="suspect.hold_the_gil", timeout=0.5, retry=ONCE)(hold_the_gil)
    app.task(name="suspect.crash")(crash)
    return app


app = build(os.environ.get("WINDLASS_URL", "memory://worker-tests"))
