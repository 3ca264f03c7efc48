"""The program whose jobs the chaos suite runs. Those that do harm are in offenders.py."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

import flows
import offenders
import sabotage
from evidence import LOOK, Trace, now, witnessed

from windlass import Context, Depends, Retry, Windlass

__all__ = ["Trace", "app", "build", "now"]


CHILDREN = "children"
IN_CHILD = sys.argv[0].endswith("child.py")


async def quick(number: int) -> list[int]:
    """The result tells whose run it is of: the number that was given, and the token."""
    with witnessed() as ctx:
        return [number, ctx.token]


def quick_process(number: int) -> list[int]:
    with witnessed() as ctx:
        return [number, ctx.token]


async def nap(number: int, seconds: float) -> list[int]:
    with witnessed() as ctx:
        await asyncio.sleep(seconds)
        return [number, ctx.token]


def nap_thread(number: int, seconds: float) -> list[int]:
    with witnessed() as ctx:
        end = now() + seconds
        while now() < end:  # where an interruption can strike
            time.sleep(LOOK)
        return [number, ctx.token]


def nap_process(number: int, seconds: float) -> list[int]:
    with witnessed() as ctx:
        time.sleep(seconds)
        return [number, ctx.token]


def is_open(gate: str) -> bool:
    """Whether a gate is open for all, for this process, or for children, of which this is one."""
    return any(map(os.path.exists, (gate, f"{gate}.{os.getpid()}", *([f"{gate}.{CHILDREN}"] if IN_CHILD else []))))


async def gated(number: int, gate: str) -> list[int]:
    """Ends once the gate is there."""
    with witnessed() as ctx:
        while not is_open(gate):  # noqa: ASYNC110 # a file is how another process can tell
            await asyncio.sleep(LOOK)
        return [number, ctx.token]


def gated_thread(number: int, gate: str) -> list[int]:
    with witnessed() as ctx:
        while not is_open(gate):
            time.sleep(LOOK)
        return [number, ctx.token]


async def flaky(number: int, failures: int) -> list[int]:
    """Raises in its first attempts."""
    with witnessed() as ctx:
        if ctx.attempt <= failures:
            raise OSError(f"attempt {ctx.attempt}")
        return [number, ctx.token]


async def talkative(number: int, lines: int) -> list[int]:
    """Writes to its journal all the time."""
    with witnessed() as ctx:
        for line in range(lines):
            ctx.log(f"line {line}")
            ctx.progress(line + 1, lines)
            ctx.chunk(line)
            await asyncio.sleep(LOOK)
        return [number, ctx.token]


async def steps(number: int, last: int, ctx: Context = Depends()) -> list[int]:
    """Goes on from its checkpoint; answers where this run began, too."""
    first: int = ctx.last_checkpoint or 0
    with witnessed():
        for step in range(first, last):
            await asyncio.sleep(0.05)
            ctx.checkpoint(step + 1)
        return [number, ctx.token, first]


LOOP, THREAD, PROCESS = "loop", "thread", "process"
AGAIN = Retry(attempts=3, first=0.05, jitter=0)
NEVER = 1_000_000
"""Crashes after which a job of the storm is given up: it is hit by many, none of which is its own fault."""


def build(url: str, **settings: Any) -> Windlass:
    """The program over a store."""
    app = Windlass(url, name="chaos", **settings)
    for function in (quick, nap, gated, gated_thread, talkative, steps, nap_thread):
        app.task(name=function.__name__)(function)
    for in_child in (quick_process, nap_process, gated_thread):
        app.task(name=in_child.__name__.replace("thread", "process"), lane="process")(in_child)
    app.task(name="flaky", retry=AGAIN)(flaky)
    for any_lane in (quick, nap, nap_thread, flaky):
        app.task(name=f"storm_{any_lane.__name__}", retry=AGAIN, crash_limit=NEVER)(any_lane)
    app.task(name="storm_nap_process", lane="process", crash_limit=NEVER)(nap_process)
    offenders.enlist(app)
    flows.enlist(app)
    return app


sabotage.apply()
sabotage.break_down()
app = build(os.environ.get("WINDLASS_URL", "memory://chaos"))
