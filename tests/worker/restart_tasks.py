"""The program of the tests about new runners in the places of old ones. What it does on import, the files in $RESTARTS tell."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from windlass import Windlass

FOLDER = Path(os.environ.get("RESTARTS", os.devnull))
if (FOLDER / "broken").exists():
    raise RuntimeError("a broken deploy")
CODE = (FOLDER / "code").read_text() if (FOLDER / "code").exists() else "first"

app = Windlass(
    f"{os.environ.get('WINDLASS_URL', 'memory://restart-tasks')}{'.other' * (FOLDER / 'moved').exists()}",
    kill_after=1.0, beat=0.2, upkeep=0.1, lease=3, processes=1, threads=2,
)  # fmt: skip


@app.task
async def code() -> tuple[int, str]:
    return os.getpid(), CODE


@app.task
async def wait(number: int) -> int:
    """Until it is released; answers where it ran."""
    (FOLDER / f"began {number}").write_text(str(os.getpid()))
    while not (FOLDER / "release").exists():  # noqa: ASYNC110 # another process tells
        await asyncio.sleep(0.02)
    return os.getpid()


@app.task
async def grow() -> int:
    """Makes its runner hold 64 MB more, for good."""
    app.ballast = b"x" * (64 << 20)  # type: ignore[attr-defined]  # kept with the app
    return os.getpid()
