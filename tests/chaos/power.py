"""The power of the store's machine is cut: everything on it dies, and its disk has what was written to it, and nothing more.

The disk is an ext4 file system in a file. FS_IOC_SHUTDOWN makes it forget all that it has not written yet.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import producer
from evidence import now
from history import POWER_CUT
from processes import family, send
from producer import Answered
from scenario import REDIS, SQLITE, Skipped, scenario
from scenarios_messages import written
from scenarios_sqlite import sound
from stage import HERE, Stage, until

from servers.redis import BOUND

FS_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
SIZE = 256 << 20
ENOUGH = 2000
"""Jobs that are acknowledged before the power goes."""
LAG = 3.0
"""Seconds of acknowledged jobs that may be lost where the store syncs once a second: one to wait, one on a slow disk, one for us."""

long_form = partial(scenario, quick=False)


class Disk:
    """The file system in `image`, mounted at `place`."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image, self.place = image, place

    def plug_in(self) -> None:
        """Mount it, and let it look after what it has lost. Raises `CalledProcessError`."""
        run("mount", "-o", "loop", self.image, self.place)

    def pull_out(self) -> None:
        """Unmount it; its loop device goes with it."""
        run("umount", "--lazy", self.place)

    def cut_power(self) -> None:
        """From now on nothing reaches it, and what it has not written is gone."""
        place = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(place, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(place)


def run(*command: object) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


@contextmanager
def disk(stage: Stage) -> Generator[Disk]:
    """A new one; it is gone in every case."""
    made = Disk(stage.folder / "image", stage.folder / "disk")
    made.place.mkdir()
    with made.image.open("wb") as image:
        image.truncate(SIZE)
    try:
        run("mkfs.ext4", "-q", "-F", made.image)
        made.plug_in()
    except (OSError, subprocess.CalledProcessError) as error:
        raise Skipped(f"power can be cut only where we may mount an ext4 file system (as root): {error}") from None
    try:
        yield made
    finally:
        if os.path.ismount(made.place):
            made.pull_out()


def produce(stage: Stage) -> subprocess.Popen[bytes]:
    """A process that enqueues one batch after the other, and remembers elsewhere what it was told."""
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    variables = {**os.environ, "WINDLASS_URL": stage.url_of_workers, "PYTHONPATH": path}
    command = [*BOUND, sys.executable, "-m", "producer", str(stage.folder / "told"), "1000000", "many", "1000000"]
    with (stage.folder / "said").open("ab") as log:
        return subprocess.Popen(command, cwd=HERE, env=variables, stdout=log, stderr=log)


def acknowledged(stage: Stage) -> list[str]:
    """The jobs that the producer was told are stored, in that order."""
    lines = producer.read(stage.folder / "told")
    return [job for line in lines if isinstance(line, Answered) for job in line.ids]


async def cut(stage: Stage, place: Disk, stop: Callable[[], Any], start: Callable[[], Any]) -> tuple[list[str], int]:
    """Cut the power under a producer and a worker, and switch it on again.

    Answers what was acknowledged, and how much of that more than `LAG` seconds before the end. stop, start: the store's server.
    """
    worker, one = stage.worker(), produce(stage)
    await until(lambda: len(acknowledged(stage)) >= ENOUGH)
    before, begun = len(acknowledged(stage)), now()
    await until(lambda: now() >= begun + LAG)
    place.cut_power()
    victims = family(worker.pid)
    stage.harm(POWER_CUT, victims).until = now()
    send(signal.SIGKILL, victims)
    one.kill()
    stop()
    await asyncio.to_thread(one.wait)
    await asyncio.to_thread(place.pull_out)
    await asyncio.to_thread(place.plug_in)
    await asyncio.to_thread(start)
    await written(stage, ["told"])
    return acknowledged(stage), before


async def survivors(stage: Stage, jobs: list[str]) -> int:
    """How many of these jobs the store still knows: the first ones, and not one of the others."""
    found = await stage.look(jobs)
    known = [found[job] is not None for job in jobs]
    survived = sum(known)
    assert known == [True] * survived + [False] * (len(known) - survived), "not the latest ones were lost"
    stage.notes += [f"acknowledged: {len(jobs)}", f"survived: {survived}"]
    return survived


async def survives(stage: Stage) -> bool:
    """What the store itself says of power cuts."""
    return "power cut" in (await (await stage.app.broker()).describe()).survives


async def sqlite(stage: Stage, synchronous: str) -> tuple[bool, int, int]:
    """Whether the store promised to survive, how many jobs were acknowledged, how many survived."""
    place = stage.keep(disk(stage))
    await stage.move(f"sqlite:///{place.place}/jobs.db?synchronous={synchronous}")
    promised = await survives(stage)
    await stage.app.close()
    os.sync()
    jobs, _ = await cut(stage, place, lambda: None, lambda: None)
    sound(place.place / "jobs.chaos.db")
    survived = await survivors(stage, jobs)
    return promised, len(jobs), survived


async def redis(stage: Stage, appendfsync: str) -> tuple[bool, int, int, int]:
    """The same, and how many were acknowledged more than `LAG` seconds before."""
    assert stage.server is not None
    place = stage.keep(disk(stage))
    stage.server.options |= {"dir": place.place, "appendfsync": appendfsync}
    await asyncio.to_thread(stage.server.restart)
    promised = await survives(stage)
    os.sync()
    jobs, before = await cut(stage, place, stage.server.kill, stage.server.start)
    survived = await survivors(stage, jobs)
    return promised, len(jobs), survived, before


@long_form(
    "G4a",
    "Power cut, SQLite with `synchronous=FULL` (the default)",
    "Not one acknowledged job is lost; the file is sound.",
    stores=(SQLITE,),
)
async def sqlite_full(stage: Stage) -> None:
    promised, asked, survived = await sqlite(stage, "FULL")
    stage.worker()
    assert promised
    assert survived == asked


@long_form(
    "G4b",
    "Power cut, SQLite with `synchronous=NORMAL`",
    "What was accepted since the last checkpoint is lost, as the store says beforehand; the file is sound, and all goes on.",
    stores=(SQLITE,),
)
async def sqlite_normal(stage: Stage) -> None:
    promised, _, _ = await sqlite(stage, "NORMAL")
    stage.forgive(stage.history.told)
    stage.worker()
    await stage.enqueue("quick", 20)
    assert not promised


@long_form(
    "D3a",
    "Power cut, Redis with `appendfsync always`",
    "Not one acknowledged job is lost.",
    stores=(REDIS,),
)
async def redis_always(stage: Stage) -> None:
    promised, asked, survived, _ = await redis(stage, "always")
    stage.worker()
    assert promised
    assert survived == asked


@long_form(
    "D3b",
    "Power cut, Redis with `appendfsync everysec`",
    "What was accepted in the last seconds is lost, as the store says beforehand; all goes on.",
    stores=(REDIS,),
)
async def redis_everysec(stage: Stage) -> None:
    promised, _, survived, before = await redis(stage, "everysec")
    stage.forgive(stage.history.told)
    stage.worker()
    await stage.enqueue("quick", 20)
    assert not promised
    assert survived >= before, "more than its last seconds was lost"
