"""The program of the tests about devices. Each task notes what it has while it runs, and waits until it may end."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from windlass import Batch, Context, Depends, Retry, Windlass

ENVIRONMENT_AT_START = os.environ.get("CUDA_VISIBLE_DEVICES")
"""What a library finds that looks when it is imported."""


def told(ctx: Context) -> list[Any]:
    return [os.getpid(), ENVIRONMENT_AT_START, os.environ.get("CUDA_VISIBLE_DEVICES"), {**ctx.devices}]


def use(gate: str = "", ctx: Context = Depends()) -> list[Any]:
    while gate and not Path(gate).exists():
        ctx.progress(1)
        time.sleep(0.01)
    return told(ctx)


def closed(gate: str) -> bool:
    return bool(gate) and not Path(gate).exists()


async def use_async(gate: str = "", ctx: Context = Depends()) -> list[Any]:
    while closed(gate):  # noqa: ASYNC110 # the test tells, by a file
        await asyncio.sleep(0.01)
    return told(ctx)


def deaf(gate: str, ctx: Context = Depends()) -> None:
    while closed(gate):
        try:
            time.sleep(0.01)
        except BaseException:  # that is the test
            pass


def many(gates: list[str], ctx: Context = Depends()) -> list[list[Any]]:
    return [[*use(gate, ctx), len(gates)] for gate in gates]


def die_once(ctx: Context = Depends()) -> list[Any]:
    if not ctx.crashes:
        os._exit(3)
    return told(ctx)


def build(url: str, **settings: Any) -> Windlass:
    app = Windlass(url, kill_after=0.3, beat=0.05, upkeep=0.05, lease=2, threads=3, processes=3, **settings)
    once = Retry(attempts=1)
    for lane, function in (("loop", use_async), ("thread", use), ("process", use)):
        app.task(name=lane, needs={"gpu": 1}, retry=once, lane=lane)(function)  # type: ignore[call-overload]  # lane is text here
    app.task(name="both", lane="process", needs={"gpu": 2}, retry=once)(use)
    app.task(name="plain", lane="process", retry=once)(use)
    app.task(name="die", lane="process", needs={"gpu": 1})(die_once)
    app.task(name="deaf", needs={"gpu": 2}, timeout=0.2, retry=once)(deaf)
    app.task(name="many", lane="process", needs={"gpu": 1}, batch=Batch(size=2, wait="100ms", runs=2))(many)
    app.task(name="rare", needs={"tpu": 1})(use)
    return app


app = build(os.environ.get("WINDLASS_URL", "memory://device-tasks"), has="gpu=2")
poor = build("memory://poor-device-tasks")
half = build("memory://poor-device-tasks", has="gpu=1")
"""The same store as `poor`."""
