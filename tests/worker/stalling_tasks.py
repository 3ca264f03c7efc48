"""A program whose store leaves one call without an answer for ever: the one that the file $STALLING/<verb> stands for."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from windlass import Windlass
from windlass.worker import fetcher, runner

FOLDER = Path(os.environ.get("STALLING", os.devnull))
if "STALLING" in os.environ:
    fetcher.WAIT, runner.STALL = 0.2, 1.5


class Stalling(Windlass):
    def make_broker(self) -> Any:
        broker = super().make_broker()
        for verb in ("claim", "settle"):
            setattr(broker, verb, self._hanging(verb, getattr(broker, verb)))
        return broker

    @staticmethod
    def _hanging(verb: str, call: Any) -> Any:
        async def hanging(*args: Any, **given: Any) -> Any:
            try:
                (FOLDER / verb).unlink()
                await asyncio.Event().wait()
            except OSError:
                return await call(*args, **given)

        return hanging


app = Stalling(
    os.environ.get("WINDLASS_URL", "memory://stalling-tasks"),
    kill_after=0.5, beat=0.1, upkeep=0.1, lease=3, processes=1, threads=2, shutdown_timeout=3,
)  # fmt: skip


@app.task
async def quick() -> int:
    return os.getpid()


@app.task
async def wait() -> int:
    (FOLDER / "began").touch()
    while not (FOLDER / "release").exists():  # noqa: ASYNC110 # another process tells
        await asyncio.sleep(0.02)
    return os.getpid()
