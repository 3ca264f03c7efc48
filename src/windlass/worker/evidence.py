"""What can be known of a process from outside: the memory it holds, the stacks it leaves behind, and what it died of."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import resource
import signal
import sys
import time
from functools import partial
from io import FileIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import cast

from windlass.core.outcome import ErrorInfo, bounded

DUMP = signal.SIGRTMAX - 1 if hasattr(signal, "SIGRTMAX") else None
"""The signal on which a process of ours writes down its stacks; None where there is no such thing."""
DUMP_WAIT = 1.0
"""Seconds to wait for these stacks. A process that is stopped never answers."""
RECENT = 1.0
"""Seconds that may pass between the kernel's count of an OOM kill and the death it means."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_CGROUPS = Path("/sys/fs/cgroup")
_READ = 1 << 20

Evidence = dict[str, str | int | float]


def resident(pid: int) -> int:
    """Resident bytes of a process and its descendants; 0 where there is no /proc, or when it is gone."""
    total, waiting = 0, [pid]
    for one in waiting:
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * _PAGE
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (OSError, ValueError, IndexError):
            continue  # it has just ended, or this is no Linux
    return total


def peak(usage: resource.struct_rusage) -> int:
    """The most that was ever resident, in bytes. A new process begins with the peak of its parent."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Stacks:
    """A file in memory into which a process writes its stacks: when a fatal signal strikes it, and when it is asked."""

    def __init__(self) -> None:
        # Unbuffered, and never moved: the process writes at a place in the file that it shares with us.
        if hasattr(os, "memfd_create"):
            self.file = FileIO(os.memfd_create("windlass-stacks"), "r+")
        else:
            self.file = TemporaryFile(buffering=0)  # noqa: SIM115 # its owner closes it
        self._asked = 0

    def last(self) -> str:
        """What it wrote as it died; or else when it was asked last, or ""."""
        return self._text(self._asked) or self._text(0)

    def clear(self) -> None:
        """Forget what was written."""
        self.file.seek(0)
        self.file.truncate()
        self._asked = 0

    async def ask(self, pid: int) -> str:
        """The stacks of process `pid` now, though it holds its interpreter; "" when they cannot be had."""
        # Sent to a process that does not expect it (not ready yet, or it was told to forget), the signal would kill.
        if DUMP is None or not _has(pid, "SigCgt"):
            return ""
        self.clear()
        os.kill(pid, DUMP)
        end = time.monotonic() + DUMP_WAIT
        while time.monotonic() < end and (not self._size or _has(pid, "SigPnd", "ShdPnd", "SigBlk")):  # noqa: ASYNC110 # nobody tells us
            await asyncio.sleep(0.005)
        self._asked = self._size
        return self._text(0)

    @property
    def _size(self) -> int:
        return 0 if self.file.closed else os.fstat(self.file.fileno()).st_size

    def _text(self, start: int) -> str:
        data = b"" if self.file.closed else os.pread(self.file.fileno(), _READ, start)
        return bounded(_culprit_first(data.decode("utf-8", "replace")))


def _has(pid: int, *masks: str) -> bool:
    """Whether `DUMP` is in one of these masks of signals of a process (of its main thread)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    found = (int(line.split()[1], 16) for line in lines if line.startswith(masks))
    return any(mask >> (cast(int, DUMP) - 1) & 1 for mask in found)


def _culprit_first(text: str) -> str:
    """Stacks of many threads, that of the one at fault first, where no limit cuts it off."""
    return "\n\n".join(sorted(text.split("\n\n"), key=lambda one: not one.startswith(("Fatal", "Current"))))


def leave_stacks(fd: int) -> None:
    """From now on, this process writes its stacks to `fd`: for the parent's `Stacks`."""
    faulthandler.enable(fd)
    if DUMP is not None:
        faulthandler.register(DUMP, fd, all_threads=True)
    # What a job forks is not this process, and writes where everybody does.
    os.register_at_fork(after_in_child=partial(os.dup2, 2, fd, False))


class OomKills:
    """How many processes the kernel killed for memory in the cgroup of process `pid`, as far as that can be read."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._file: Path | None = None
        self._before = self._latest = 0
        self._at = 0.0
        self.look()

    def look(self) -> None:
        """Find the cgroup, and where its count stands: what is counted more than `RECENT` seconds before a death does not mean it."""
        try:
            file, now = oom_counter(Path(f"/proc/{self._pid}/cgroup").read_text()), time.monotonic()
        except OSError:
            return
        if file is None or not resident(self._pid):  # a dead process seems to be in the root cgroup (version 1)
            return
        if file != self._file:
            self._file, self._at = file, now
            self._before = self._latest = _count(file)
        elif now - self._at > RECENT:
            self._before, self._latest, self._at = self._latest, _count(file), now

    @property
    def more(self) -> int:
        """How many more it is than at the look before the last one."""
        return 0 if self._file is None else _count(self._file) - self._before


def oom_counter(membership: str) -> Path | None:
    """The file with the count for the cgroups (version 1 or 2) of a process, as its /proc/PID/cgroup tells them."""
    files = list[Path]()
    for _, controllers, path in (line.split(":", 2) for line in membership.splitlines()):
        # A container may see its own cgroup as the root, and the host's path to it.
        for place in (path[1:], ""):
            if "memory" in controllers.split(","):
                files.append(_CGROUPS / "memory" / place / "memory.oom_control")
            elif not controllers:
                files.append(_CGROUPS / place / "memory.events")
    return next((file for file in files if file.is_file()), None)


def _count(file: Path) -> int:
    try:
        return int(dict(line.split() for line in file.read_text().splitlines())["oom_kill"])
    except (OSError, ValueError, KeyError):
        return 0  # the cgroup is gone, or the kernel older than 4.13


def cause_of_death(status: int, oom_kills: int = 0) -> ErrorInfo:
    """What an exit status says, in words and as evidence. oom_kills: how many kills for memory the kernel counted meanwhile."""
    if status >= 0:
        message = f"left with exit code {status} (os._exit, or a crash in C)"
        return ErrorInfo("crash", "ProcessDied", message, "", {"exit_code": status})
    evidence: Evidence = {"signal": -status}
    hint = ""
    if -status == signal.SIGKILL:
        hint = " (out of memory, perhaps: the kernel kills like that)"
        if oom_kills > 0:
            hint, evidence["oom_kill"] = ": out of memory, the kernel chose it", oom_kills
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = "real-time"
    return ErrorInfo("crash", "ProcessDied", f"killed by signal {-status} ({name}){hint}", "", evidence)
