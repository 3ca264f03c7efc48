"""The studio as its users start it, for tests: `run.py` in a process of its own, on a fresh folder. And clips to feed it."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import imageio_ffmpeg

T = TypeVar("T")
FOLDER = Path(__file__).resolve().parents[2] / "examples" / "studio"
SAMPLE = FOLDER / "media" / "bigbuckbunny.mp4"
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
DEADLINE = 60.0
"""Seconds for what must happen; only a failing test waits that long."""


def module(name: str) -> ModuleType:
    """A module of the studio, which are no package: under a name that nobody else has."""
    known = f"studio_{name}"
    if known not in sys.modules:
        spec = importlib.util.spec_from_file_location(known, FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[known] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[known])
    return sys.modules[known]


def until(look: Callable[[], T], what: str) -> T:
    """Call `look` until it answers something true, and give that."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {DEADLINE:.0f} s")


@dataclass
class Studio:
    """A running studio."""

    address: str
    data: Path
    process: subprocess.Popen[str]

    def encoders(self, file: str) -> list[int]:
        """The ffmpeg processes that write `file` (in whatever folder of this studio)."""
        return [pid for pid, command in _commands() if _writes(command, self.data, file)]

    def parts(self) -> list[Path]:
        """The unfinished files."""
        return list(self.data.glob("videos/*/.*.part"))


def _commands() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                yield int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue  # it ended while we looked


def _writes(command: list[str], data: Path, file: str) -> bool:
    return command[0] == FFMPEG and any(part.startswith(f"{data}/videos/") and f"/.{file}." in part for part in command)


def parent(pid: int) -> int:
    """The process that started `pid`."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@contextmanager
def running_studio(data: Path, **environment: str) -> Iterator[Studio]:
    """Start the studio, and at the end stop it as Ctrl-C does; it must leave with 0."""
    command = [sys.executable, "run.py", "--port", "0", "--data", str(data)]
    log = data.parent / f"{data.name}.log"
    with (
        log.open("w") as said,
        subprocess.Popen(
            command, cwd=FOLDER, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=said, text=True
        ) as process,
    ):
        try:
            yield Studio(_address(process, log), data, process)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                code = process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    assert code == 0, log.read_text()[-3000:]


def _address(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:  # it ends by itself when it cannot start
        if found := re.search(r"http://\S+", line):
            return found[0]
    raise AssertionError(f"the studio did not start:\n{log.read_text()[-3000:]}")


def make_clip(target: Path, height: int, times: int) -> Path:
    """The sample `times` times in a row, `height` pixels high."""
    once = target.with_name(f"once-{target.name}")
    quiet = (FFMPEG, "-nostdin", "-v", "error", "-y")
    scaled = ("-vf", f"scale=-2:{height}", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "copy")
    subprocess.run([*quiet, "-i", SAMPLE, *scaled, once], check=True)
    subprocess.run(
        [*quiet, "-stream_loop", str(times - 1), "-i", once, "-c", "copy", "-movflags", "+faststart", target],
        check=True,
    )
    once.unlink()
    return target
