"""The app behind the tests of the dashboard: tasks that do what a test asks them to. `python dashboard_shop.py FD` serves it;
`windlass worker dashboard_shop:app` runs its jobs. Who looks is an admin, unless the cookie `role` says otherwise.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI, Request

from windlass import Context, Depends, Flow, Limit, Retry, Secret, Windlass
from windlass.fastapi import dashboard

NEVER = Retry(attempts=1)


def make(url: str) -> Windlass:
    """The shop on some store."""
    app = Windlass(url, name="shop", kill_after="1s", beat="0.3s", lease="5s", processes=2)

    @app.task(name="shop.greet", keep="1h")
    async def greet(name: str, times: int = 1, style: Literal["plain", "loud"] = "plain") -> list[str]:
        """Say hello, some times."""
        return [f"Hello, {name}{'!' if style == 'loud' else ''}"] * times

    @app.task(name="shop.fails", retry=NEVER)
    async def fails(message: str, kind: str = "ValueError") -> None:
        """Fail with an error of this name."""
        raise type(kind, (Exception,), {})(message)

    @app.task(name="shop.mended", retry=NEVER)
    async def mended(path: str) -> str:
        """Fail until the file is there."""
        return await asyncio.to_thread(Path(path).read_text)

    @app.task(name="shop.hold")
    async def hold(gate: str, ctx: Context = Depends()) -> str:
        """Run until the gate says "open"; each line in it before is logged, and counts as progress."""
        told = 0
        while True:
            lines = await asyncio.to_thread(_lines, Path(gate))
            for line in lines[told:]:
                told += 1
                ctx.log(line, level="warning" if "careful" in line else "info")
                ctx.chunk(line)
                ctx.progress(told, 10, line)
            if "open" in lines:
                return "opened"
            await asyncio.sleep(0.05)

    @app.task(name="shop.stubborn", lane="process", retry=NEVER)
    def stubborn() -> None:
        """Do not listen to anybody."""
        while True:
            try:
                time.sleep(60)
            except BaseException:  # that is the point
                continue

    @app.task(name="shop.crash", lane="process", crash_limit=1)
    def crash() -> None:
        """Take the process along."""
        os.kill(os.getpid(), signal.SIGSEGV)

    @app.task(name="shop.pay", queue="payments")
    async def pay(order: int, card: Annotated[str, Secret]) -> None:
        """Know a secret."""

    @app.task(name="shop.album", retry=NEVER)
    async def album(greetings: list[list[str]]) -> int:
        """Count what a group of others said."""
        return len(greetings)

    @app.flow(name="shop.publish")
    async def publish(name: str, flow: Flow = Depends()) -> str:
        """Greet, and wait for a person."""
        await flow.run(greet.bind(name))
        await flow.event("approved", timeout="3d")
        return name

    @app.task(name="shop.narrow", limits=[Limit("door", running=1, key=lambda who: who)])
    async def narrow(gate: str, who: str, ctx: Context = Depends()) -> str:
        """Do as `hold`, one at a time."""
        return await hold(gate, ctx)

    @app.task(name="shop.echo", retry=NEVER)
    async def echo(text: str, error: bool, ctx: Context = Depends()) -> Any:
        """Give back the text in every way there is."""
        ctx.log(text)
        ctx.progress(1, 2, text)
        ctx.chunk({"text": text})
        if error:
            raise type(text[:100], (Exception,), {"__module__": "shop"})(text)
        return {text: [text]}

    return app


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


app = make(os.environ.get("SHOP_URL", "memory://"))


def serve(fd: int) -> None:
    """Answer on an open socket, until a signal comes."""

    def role(request: Request) -> str:
        return request.cookies.get("role", "admin")

    api = FastAPI()
    api.include_router(dashboard(app, auth=role, environment=os.environ["SHOP_ENVIRONMENT"]), prefix="/deep/windlass")
    uvicorn.Server(uvicorn.Config(api, log_level="warning", timeout_graceful_shutdown=2)).run(
        [socket.socket(fileno=fd)]
    )


if __name__ == "__main__":
    serve(int(sys.argv[1]))
