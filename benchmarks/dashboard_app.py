"""The app that `dashboard.py` measures: `python dashboard_app.py FD` serves its dashboard, `windlass worker dashboard_app:app` works."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import uvicorn
from fastapi import FastAPI

from windlass import Context, Depends, Windlass
from windlass.fastapi import dashboard

app = Windlass(os.environ["BENCH_URL"], log_lines=1_000_000)  # all of them, and they go with the store


@app.task(name="dashboard_app.done", keep="1m")
async def done(number: int) -> None:
    """One job among many."""


@app.task(name="dashboard_app.chatter", timeout="5m")
async def chatter(rate: int, ctx: Context = Depends()) -> None:
    """Log so many lines a second, until cancelled."""
    number = 0
    while True:
        for _ in range(rate // 20):
            number += 1
            ctx.log(f"line {number}: something happened, and somebody may want to know of it")
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    api = FastAPI()
    api.include_router(dashboard(app), prefix="/windlass")
    config = uvicorn.Config(api, log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run([socket.socket(fileno=int(sys.argv[1]))])
