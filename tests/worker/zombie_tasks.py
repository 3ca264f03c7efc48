"""The program of the tests about workers that come back from the dead: each run notes what happens to it in FOLDER/notes."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from windlass import Windlass
from windlass.errors import JobInterrupted

app = Windlass(
    os.environ.get("WINDLASS_URL", "memory://zombie-tasks"),
    kill_after=1.0, beat=0.2, upkeep=0.1, lease=2, processes=1, threads=2,
)  # fmt: skip


def note(folder: str, what: str) -> None:
    with open(Path(folder, "notes"), "a") as notes:
        notes.write(f"{what} {os.getpid()}\n")


def released(folder: str) -> bool:
    return Path(folder, "release").exists()


@app.task
async def watched(folder: str) -> int:
    """Waits to be released; answers where it ran."""
    note(folder, "start")
    try:
        while not released(folder):  # noqa: ASYNC110 # another process tells
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        note(folder, "cancelled")
        raise
    note(folder, "end")
    return os.getpid()


@app.task
def thread_watched(folder: str) -> int:
    note(folder, "start")
    try:
        while not released(folder):
            time.sleep(0.02)
    except JobInterrupted:
        note(folder, "cancelled")
        raise
    note(folder, "end")
    return os.getpid()


@app.task(lane="process")
def process_watched(folder: str) -> int:
    note(folder, "start")
    while not released(folder):
        time.sleep(0.02)
    note(folder, "end")
    return os.getppid()


@app.task
def deaf(folder: str) -> int:
    """Is not to be stopped, and ends all the same, in every one of its runs."""
    note(folder, "start")
    while not released(folder):
        try:
            time.sleep(0.02)
        except JobInterrupted:
            pass
    note(folder, "end")
    return os.getpid()


@app.task
async def pid() -> int:
    return os.getpid()
