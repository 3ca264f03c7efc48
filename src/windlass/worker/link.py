"""Two of our processes side by side: messages as length-prefixed MessagePack over a socket pair, and a leash.

The leash is a pipe of which only the parent holds the writing end. When the parent dies, however it dies, the kernel itself sends
SIGKILL to the child's whole process group: no thread of the child needs to run for that, no lock to be free.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

import msgspec
from msgspec import Struct

from windlass.core.job import Card, Claim, Entry, Pulse
from windlass.core.outcome import Ending, ErrorInfo

TICK = 0.5
"""Seconds between two `Tick`s of a runner whose event loop turns."""
FRAME_LIMIT = 256 << 20
GRACE = 0.3
"""Seconds that the messages of a dead process may take to be read. Somebody it started may hold its socket open for ever."""


class Orders(Struct, tag=True):
    """The first message, to a runner or a child: the program to load (`modules` hold its tasks, `path` is the parent's sys.path).

    For a runner besides: queues as in `Runner`; the settings that differ from the program's; url: the store to use, if the program
    names none; setup: "module:function" to call with the program (to subscribe a log); burst: leave once nothing is ready or
    running. Without a target the program is discovered: it is a `kind` ("module:class").
    """

    target: str | None = None
    modules: list[str] = []
    path: list[str] = []
    kind: str = "builtins:object"
    queues: list[str] | None = None
    settings: dict[str, Any] = {}
    url: str | None = None
    setup: str | None = None
    burst: bool = False


class Ready(Struct, tag=True):
    """The answer: the program is loaded, or refused for a reason.

    A runner tells what its supervisor needs to know of it: its store, its settings, and for a banner how it was found, its tasks and
    the queues it works on.
    """

    refusal: str = ""
    url: str = ""
    name: str = ""
    settings: dict[str, Any] = {}
    target: str = ""
    how: str = ""
    tasks: list[str] = []
    queues: list[str] = []


class Start(Struct, tag=True):
    """To a child: run this."""

    claim: Claim
    checkpoint: bytes | None


class Stop(Struct, tag=True):
    """To a child: the run should end soon, or (interrupt) must end now; "quit": leave. To a runner: drain, or (interrupt) hand back."""

    why: str
    interrupt: bool = False


class Note(Struct, tag=True):
    """From a child: an entry for the journal."""

    entry: Entry


class Done(Struct, tag=True):
    """From a child: how the run ended."""

    ending: Ending


class Keep(Struct, tag=True):
    """From a runner: beat for this id from now on, or no more. The next Pulsed for it is the answer."""

    worker: str
    alive: bool


class Pulsed(Struct, tag=True):
    """To a runner: what the store answered to a beat."""

    worker: str
    pulse: Pulse


class Tick(Struct, tag=True):
    """From a runner: its loop turns. deadline: see `Executor.overdue`. groups: of its children. wish: why it should be replaced."""

    card: Card
    deadline: tuple[float, str] | None
    groups: list[int]
    wish: str = ""


Message = Orders | Ready | Start | Stop | Note | Done | Keep | Pulsed | Tick
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def frame(message: Message) -> bytes:
    """A message as it travels."""
    data = _encoder.encode(message)
    return len(data).to_bytes(4, "big") + data


def _size(head: bytes) -> int:
    if (size := int.from_bytes(head, "big")) > FRAME_LIMIT:
        raise msgspec.MsgspecError(f"a message of {size:,} bytes")
    return size


class Process:
    """A child process, in a session of its own, on a leash; made in a running loop. `group` is its id and that of its group."""

    def __init__(self, module: str) -> None:
        ours, theirs = socket.socketpair()
        held, self._leash = os.pipe()
        fds = (theirs.fileno(), held)
        command = [sys.executable, "-m", module, *map(str, fds)]
        try:
            self._popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=fds, start_new_session=True)
        except BaseException:
            ours.close()
            os.close(self._leash)
            raise
        finally:
            theirs.close()
            os.close(held)
        self.group = self._popen.pid
        self.verdict: ErrorInfo | None = None
        self._streams = asyncio.ensure_future(asyncio.open_connection(sock=ours))
        self.gone = asyncio.create_task(self._wait(), name=f"windlass wait {self.group}")

    async def _wait(self) -> int:
        """The exit status, once the process is dead; then nothing of its group is left either."""
        try:
            pidfd = os.pidfd_open(self.group)
        except (AttributeError, OSError):  # no Linux
            await asyncio.to_thread(self._popen.wait)
        else:
            loop, dead = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(pidfd, dead.set)
            try:
                await dead.wait()
            finally:
                loop.remove_reader(pidfd)
                os.close(pidfd)
        kill_group(self.group)
        return self._popen.wait()

    async def send(self, message: Message) -> None:
        """Send; to a process that is dead it goes nowhere."""
        _, writer = await asyncio.shield(self._streams)
        writer.write(frame(message))

    async def receive(self) -> Message | None:
        """The next message; None when no more will come. Who sends what is no message is condemned."""
        reading = asyncio.ensure_future(self._read())
        await asyncio.wait({reading, self.gone}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({reading}, timeout=GRACE)
        if reading.done():
            return reading.result()
        reading.cancel()
        return None

    async def _read(self) -> Message | None:
        reader, _ = await asyncio.shield(self._streams)
        try:
            return _decoder.decode(await reader.readexactly(_size(await reader.readexactly(4))))
        except msgspec.MsgspecError as error:
            self.condemn(ErrorInfo("crash", "ProcessMadeNoSense", f"its process sent nonsense: {error}"))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        return None

    def kill(self) -> None:
        """Kill the process and all that it started and that stayed in its group."""
        if not self.gone.done():
            kill_group(self.group)

    def condemn(self, verdict: ErrorInfo) -> None:
        """Kill it, for a reason that its exit status will not tell."""
        self.verdict = self.verdict or verdict
        self.kill()

    async def death(self) -> ErrorInfo:
        """What it died of, once it is dead."""
        return cause_of_death(await asyncio.shield(self.gone)) if self.verdict is None else self.verdict

    async def close(self) -> None:
        """Kill what is left, and let go of everything."""
        self.kill()
        await asyncio.wait({self.gone})
        (await self._streams)[1].close()
        self.let_go()

    def let_go(self) -> None:
        """Let go of the leash, as the kernel does when we die."""
        if self._leash >= 0:
            os.close(self._leash)
            self._leash = -1


class Parent:
    """The parent, as its child sees it: a blocking socket, to which any thread may write."""

    def __init__(self, socket_fd: int, leash_fd: int) -> None:
        _put_on_leash(leash_fd)
        self._socket = socket.socket(fileno=socket_fd)
        self._stream = self._socket.makefile("rb")
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Send; raises `OSError` when the parent is gone."""
        data = frame(message)
        with self._lock:
            self._socket.sendall(data)

    def receive(self) -> Message | None:
        """The next message; None when the parent is gone."""
        head = self._stream.read(4)
        data = self._stream.read(_size(head)) if len(head) == 4 else b""
        return _decoder.decode(data) if data else None


def kill_group(group: int) -> None:
    """Kill a process group, if there is one of that id."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def die_together() -> None:
    """Kill this process and its whole group."""
    kill_group(os.getpgrp())


def _die_with(fd: int) -> None:
    os.read(fd, 1)
    die_together()


def _put_on_leash(fd: int) -> None:
    if not hasattr(fcntl, "F_SETSIG"):  # no Linux
        threading.Thread(target=_die_with, args=(fd,), daemon=True).start()
        return
    fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    try:
        if not os.read(fd, 1):
            die_together()
    except BlockingIOError:
        pass  # open and silent, as it should be


def cause_of_death(status: int) -> ErrorInfo:
    """What an exit status says, in words and as evidence."""
    if status < 0:
        name = signal.Signals(-status).name
        hint = " (out of memory, perhaps: the kernel kills like that)" if name == "SIGKILL" else ""
        return ErrorInfo("crash", "ProcessDied", f"killed by signal {-status} ({name}){hint}", "", {"signal": -status})
    message = f"left with exit code {status} (os._exit, or a crash in C)"
    return ErrorInfo("crash", "ProcessDied", message, "", {"exit_code": status})
