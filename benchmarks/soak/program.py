"""The jobs of the soak: a little of everything that a web team hands to its workers. Each answers its number."""

from __future__ import annotations

import asyncio
import os
import random
import time

from windlass import Context, Depends, Retry, Windlass

PAYLOAD = 4000
"""Characters that every tenth job carries, in and out."""

app = Windlass(os.environ.get("WINDLASS_URL", "memory://"), name="soak", keep="20s", keep_failed="20s")
"""Finished jobs are kept for twenty seconds only: a store that grows all the same has forgotten to forget."""


@app.task(crash_limit=1000)
async def light(number: int, text: str = "") -> int:
    await asyncio.sleep(random.expovariate(50))
    return number


@app.task(crash_limit=1000)
def threaded(number: int) -> int:
    time.sleep(random.expovariate(30))
    return number


@app.task(lane="process", crash_limit=1000)
def heavy(number: int) -> int:
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    return number


@app.task(crash_limit=1000, retry=Retry(attempts=5, first=0.2))
async def flaky(number: int, ctx: Context = Depends()) -> int:
    if ctx.attempt < 2:
        raise ConnectionError("the other side is away")
    return number


@app.task(crash_limit=1000)
async def talkative(number: int, ctx: Context = Depends()) -> int:
    for step in range(ctx.last_checkpoint or 0, 10):
        ctx.progress(step + 1, 10)
        ctx.log(f"step {step}")
        ctx.chunk({"step": step})
        ctx.checkpoint(step + 1)
        await asyncio.sleep(0.05)
    return number


MIX = {light: 0.7, threaded: 0.1, heavy: 0.02, flaky: 0.08, talkative: 0.1}
"""Which part of all jobs each is."""


@app.task(crash_limit=1000, queue="probe", priority=9)
async def probe(number: int) -> int:
    """How long this takes, from the call to the result, is the latency that is plotted."""
    return number
