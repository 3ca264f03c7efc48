"""What can be known of a process from outside: the memory it holds, the stacks it leaves behind, and what it died of."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from io import FileIO
from pathlib import Path
from struct import Struct
from tempfile import TemporaryFile
from types import FrameType
from typing import cast

from windlass.core.outcome import ErrorInfo, bounded

DUMP = signal.SIGRTMAX - 1 if hasattr(signal, "SIGRTMAX") else None
"""The signal on which a process of ours writes down its stacks, whatever holds its interpreter; None where there is no such thing."""
POLITE = 0.5
"""Seconds that a process has to write its stacks as one of its own threads, before it is sent the signal."""
DUMP_WAIT = 1.0
"""Seconds to wait for these stacks. A process that is stopped never answers."""
DEPTH = 100
"""Calls that are written of each thread."""
END = b"\0"
"""What a process writes when it has written all that it was asked for."""
_WISH = Struct("d")
"""When the stacks were asked for, by `time.monotonic()`: the same clock for all processes."""
RECENT = 1.0
"""Seconds that may pass between the kernel's count of an OOM kill and the death it means."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_CGROUPS = Path("/sys/fs/cgroup")
_READ = 1 << 20

Evidence = dict[str, str | int | float]


def resident(pid: int) -> int:
    """Resident bytes of a process and its descendants; 0 where there is no /proc, or when it is gone.

    Every beat asks, so files are read in the way that costs least.
    """
    total, waiting = 0, [pid]
    for one in waiting:
        try:
            total += int(_content(f"/proc/{one}/statm").split()[1]) * _PAGE
            for task in os.listdir(f"/proc/{one}/task"):
                waiting += map(int, _content(f"/proc/{one}/task/{task}/children").split())
        except (OSError, ValueError, IndexError):
            continue  # it has just ended, or this is no Linux
    return total


def _content(path: str) -> bytes:
    with open(path, "rb", 0) as file:
        return file.read()


def peak(usage: resource.struct_rusage) -> int:
    """The most that was ever resident, in bytes. A new process begins with the peak of its parent."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Stacks:
    """A file in memory into which a process writes its stacks: when a fatal signal strikes it, and when it is asked.

    fds: what the process gets (`leave_stacks`).
    """

    def __init__(self) -> None:
        # Unbuffered, and never moved: the process writes at a place in the file that it shares with us.
        if hasattr(os, "memfd_create"):
            self._file = FileIO(os.memfd_create("windlass-stacks"), "r+")
        else:
            self._file = TemporaryFile(buffering=0)  # noqa: SIM115 # its owner closes it
        self._pipe = list(os.pipe())
        self.fds = (self._file.fileno(), self._pipe[0])
        self._asked = 0
        self._asking = asyncio.Lock()

    def last(self) -> str:
        """What it wrote as it died; or else when it was asked last, or ""."""
        return self._text(self._asked) or self._text(0)

    def clear(self) -> None:
        """Forget what was written."""
        self._file.seek(0)
        self._file.truncate()
        self._asked = 0

    async def ask(self, pid: int) -> str:
        """The stacks of process `pid` now, though it holds its interpreter; "" when they cannot be had.

        The signal comes second: while threads run Python, to walk their stacks at any moment crashes the process once in a thousand times.
        Threads that have not come to answer for so long all wait for one that is in C, and all stacks stand still.
        """
        # Asked before it expects to be (not ready yet, or it was told to forget), the process would answer late, and the signal would kill.
        async with self._asking:
            if DUMP is None or not _has(pid, "SigCgt"):
                return ""
            self.clear()
            os.write(self._pipe[1], _WISH.pack(time.monotonic()))
            if not await self._within(POLITE, self._answered):
                os.kill(pid, DUMP)
                await self._within(DUMP_WAIT, lambda: bool(self._size) and not _has(pid, "SigPnd", "ShdPnd", "SigBlk"))
            self._asked = self._size
            return self._text(0)

    def _answered(self) -> bool:
        return self._size > 0 and os.pread(self._file.fileno(), len(END), self._size - len(END)) == END

    def close(self) -> None:
        """Let go of it."""
        self._file.close()
        while self._pipe:
            os.close(self._pipe.pop())

    async def _within(self, seconds: float, done: Callable[[], bool]) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:  # nobody tells us
            if self._file.closed or done():
                return True
            await asyncio.sleep(0.005)
        return False

    @property
    def _size(self) -> int:
        return 0 if self._file.closed else os.fstat(self._file.fileno()).st_size

    def _text(self, start: int) -> str:
        data = b"" if self._file.closed else os.pread(self._file.fileno(), _READ, start)
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
    return "\n\n".join(sorted(text.strip("\0").split("\n\n"), key=lambda one: not one.startswith(("Fatal", "Current"))))


def leave_stacks(file: int, wishes: int) -> None:
    """From now on, this process writes its stacks to `file` for the parent's `Stacks`: when it dies, and for each wish in `wishes`."""
    faulthandler.enable(file)
    if DUMP is not None:
        threading.Thread(target=_write_stacks, args=(file, wishes), name="windlass-stacks", daemon=True).start()
        faulthandler.register(DUMP, file, all_threads=True)
    # What a job forks is not this process, and writes where everybody does.
    os.register_at_fork(after_in_child=partial(os.dup2, 2, file, False))


def _write_stacks(file: int, wishes: int) -> None:
    while wish := os.read(wishes, _WISH.size):
        if time.monotonic() - _WISH.unpack(wish)[0] > POLITE:
            continue  # the signal has answered it, or this process was stopped: what is written now would be taken for something later
        os.write(file, own_stacks().encode("utf-8", "replace") + END)


def own_stacks() -> str:
    """The stacks of all other threads of this process now."""
    main, threads = threading.main_thread().ident, sys._current_frames()
    threads.pop(threading.get_ident())
    names = {one: "Current thread" if one == main else f"Thread 0x{one:016x}" for one in threads}
    return "\n".join(_stack(names[one], top) for one, top in threads.items())


def _stack(thread: str, frame: FrameType | None) -> str:
    """The calls of a thread, as `faulthandler` writes them."""
    lines = [f"{thread} (most recent call first):\n"]
    while frame is not None and len(lines) <= DEPTH:
        lines.append(f'  File "{frame.f_code.co_filename}", line {frame.f_lineno} in {frame.f_code.co_name}\n')
        frame = frame.f_back
    return "".join(lines)


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
