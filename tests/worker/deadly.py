"""The program of the tests about crashes: imported by them, by runners and by children alike."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from windlass import Retry, Windlass
from windlass.core.outcome import Succeeded
from windlass.errors import JobInterrupted
from windlass.worker.link import Done, frame

ONCE = Retry(attempts=1)
held: list[bytes] = []


def pid() -> int:
    return os.getpid()


def die(way: str, mark: str = "") -> None:
    """Ends its process, in many ways."""
    for number in range(60):
        print(f"line {number}")
    Path(mark or os.devnull).write_text(str(os.getpid()))
    match way:
        case "os._exit(0)":
            os._exit(0)
        case "sys.exit()":
            sys.exit()
        case "sys.exit(3)":
            sys.exit(3)
        case "abort":
            os.abort()
        case "segfault":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "half a result":
            os.write(int(sys.argv[1]), frame(Done(Succeeded(b"true")))[:-1])
            os.kill(os.getpid(), signal.SIGKILL)
        case "exec":
            os.execv(sys.executable, [sys.executable, "-c", "pass"])
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "exit when told":
            try:
                time.sleep(600)
            except JobInterrupted:
                sys.exit(1)
        case _:
            time.sleep(600)


async def die_in_the_loop(way: str) -> None:
    die(way)


def keep(size: int) -> int:
    """Leaks."""
    held.append(b"x" * size)
    return os.getpid()


def eat(size: int, mark: str, go: str = "") -> int:
    """Holds much memory, and long; only its first run does not return at once. go: the file to wait for, before."""
    first = not Path(mark).exists()
    Path(mark).write_text(str(os.getpid()))
    while go and not Path(go).exists():
        time.sleep(0.01)
    eaten = b"x" * size
    if first:
        time.sleep(600)
    return len(eaten)


def no_memory(mark: str) -> str:
    """Its first run raises what Python raises when the system gives it no memory."""
    if not Path(mark).exists():
        Path(mark).touch()
        raise MemoryError
    return "enough"


def build(url: str) -> Windlass:
    """The program over a store."""
    app = Windlass(url, kill_after=0.3, beat=0.1, upkeep=0.1, lease=3, processes=1, threads=2)
    ways: dict[str, Any] = {"lane": "process", "crash_limit": 1, "retry": ONCE}
    app.task(**ways)(die)
    app.task(name="thread.die", **(ways | {"lane": "thread"}))(die)
    app.task(**(ways | {"lane": "loop"}))(die_in_the_loop)
    app.task(**(ways | {"name": "process.twice", "crash_limit": 2}))(die)
    app.task(**(ways | {"name": "loop.once", "lane": "loop"}))(die_in_the_loop)
    app.task(**(ways | {"name": "loop.twice", "lane": "loop", "crash_limit": 2}))(die_in_the_loop)
    for function in (pid, keep):
        app.task(lane="process")(function)
    app.task(lane="process", memory="80MB", on_oom="big")(eat)
    app.task(lane="process", memory="1MB", on_oom="big", name="tiny.pid")(pid)
    app.task(lane="process", on_oom="big", name="unlimited.eat")(eat)
    app.task(lane="process", memory="80MB", on_oom="big", name="fragile.eat", crash_limit=1)(eat)
    app.task(lane="process", on_oom="big", retry=Retry(first=0.01))(no_memory)
    return app


app = build(os.environ.get("WINDLASS_URL", "memory://deadly"))
