"""Worker processes from outside: start them, see what they cost, end them. Linux only: it reads /proc."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

MARK = "PEERS_MARK"
"""The environment variable by which every process of a run is known: it is inherited, so nothing that we start gets lost."""
TICKS = os.sysconf("SC_CLK_TCK")


def tree(roots: Iterable[int]) -> list[int]:
    """The processes that are alive and all below them."""
    found, waiting = [], list(roots)
    while waiting:
        pid = waiting.pop()
        try:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, (thread / "children").read_text().split())
        except OSError:
            continue  # it ended meanwhile
        found.append(pid)
    return found


def pss(pids: Iterable[int]) -> float:
    """Proportional resident memory, MiB: pages that processes share are counted once."""
    kib = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of the processes and of their children that ended."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def kill(pids: Iterable[int]) -> None:
    """SIGKILL to each that is still there."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def marked(mark: str) -> list[int]:
    """Every process whose mark begins with `mark`."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and wanted in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else
    return found


def sweep(mark: str) -> None:
    """Kill every process with that mark, and see that they are gone."""
    deadline = time.monotonic() + 5
    while (left := marked(mark)) and time.monotonic() < deadline:
        kill(left)
        time.sleep(0.02)


class Worker:
    """A running worker: as many command lines as the library needs for so many processes."""

    def __init__(self, commands: list[list[str]], environment: dict[str, str], log: Path) -> None:
        with log.open("ab") as output:
            self.began = time.monotonic()
            self.roots = [
                subprocess.Popen(
                    command,
                    env={**os.environ, **environment},
                    cwd=log.parent,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
                for command in commands
            ]

    @property
    def pids(self) -> list[int]:
        """All its processes."""
        return tree(root.pid for root in self.roots)

    def ended(self) -> int | None:
        """The exit code of a command that should still run and does not."""
        return next((code for root in self.roots if (code := root.poll()) is not None), None)

    def kill(self) -> None:
        """SIGKILL to every process of it, children that start meanwhile included."""
        pids = self.pids
        kill(pids)
        for root in self.roots:
            root.wait()
        kill(pid for pid in tree(pids) if pid not in {root.pid for root in self.roots})
