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
from collections.abc import Mapping
from contextlib import suppress
from math import inf
from resource import RLIMIT_CORE, RUSAGE_SELF, getrlimit, getrusage, setrlimit
from typing import Any

import msgspec
from msgspec import Struct

from windlass.core.job import Card, Claim, Entry, Pulse
from windlass.core.outcome import Ending, ErrorInfo, Failed, Retried
from windlass.events import Counted, StoreTrouble, WorkerChanged
from windlass.worker.evidence import Evidence, OomKills, Stacks, cause_of_death, leave_stacks, peak

TICK = 0.5
"""Seconds between two `Tick`s of a runner whose event loop turns."""
STORE_AWAY = 4
"""The exit code of a runner that cannot begin because its store does not answer: the next one may."""
FRAME_LIMIT = 256 << 20
GRACE = 0.3
"""Seconds that the messages of a dead process may take to be read. Somebody it started may hold its socket open for ever."""


class Orders(Struct, tag=True):
    """The first message, to a runner or a child: the program to load (`modules` hold its tasks, `path` is the parent's sys.path).

    For a runner besides: queues as in `Runner`; the settings that differ from the program's; url: the store to use, if the program
    names none; burst: leave once nothing is ready or running; telling: tell what happens (`Told`). Without a target the program is
    discovered: it is a `kind` ("module:class"). setup: "module:function" to call with the program (to subscribe a log).
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
    telling: bool = False


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
    """To a child: run this. more: with these, as one batch. devices: what it has of each resource."""

    claim: Claim
    checkpoint: bytes | None
    more: list[Claim] = []
    devices: dict[str, tuple[int, ...]] = {}


class Stop(Struct, tag=True):
    """To a child: the run should end soon, or (interrupt) must end now; "quit": leave.

    To a runner: claim no more, and hand back what still runs after `timeout` seconds, or (interrupt) now. Another Stop may be sooner.
    """

    why: str
    interrupt: bool = False
    timeout: float = inf


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


class Limited(Struct):
    """A run with a time limit (seconds) in a runner's own process, and all that it takes to end it in the runner's place.

    claim: without its body. deadline: by `time.monotonic()`. outcome: what becomes of the job when it is over. thread: see `Run.thread`.
    """

    claim: Claim
    limit: float
    deadline: float
    outcome: Retried | Failed
    thread: int


class Begun(Struct, tag=True):
    """From a runner: these runs are about to begin."""

    runs: list[Limited]


class Tick(Struct, tag=True):
    """From a runner: its loop turns, and this is how it stands.

    limited: which of the runs that it told of (`Begun`) go on, and in which thread. groups: of its children. jobs: runs that have ended.
    wish: why it should be replaced. stalled: which part of it has come to a halt.
    """

    card: Card
    limited: list[tuple[str, int]]
    groups: list[int]
    jobs: int
    wish: str
    stalled: str


class Told(Struct, tag=True):
    """From a runner, if it is to tell: what happened there."""

    event: Counted | StoreTrouble | WorkerChanged


class Breath(Struct, tag=True):
    """From a runner whose loop does not turn: nothing holds its interpreter, for this comes from another thread."""


Message = Orders | Ready | Start | Stop | Note | Done | Keep | Pulsed | Begun | Tick | Told | Breath


def _as_text(value: object) -> str:
    """Of an error (`StoreTrouble`) its message travels."""
    if isinstance(value, BaseException):
        return str(value)
    raise NotImplementedError


_encoder = msgspec.msgpack.Encoder(enc_hook=_as_text)
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message, dec_hook=lambda kind, text: kind(text))


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

    def __init__(self, module: str, environment: Mapping[str, str] = {}) -> None:
        self._stacks = Stacks()
        ours, theirs = socket.socketpair()
        held, self._leash = os.pipe()
        fds = (theirs.fileno(), held, *self._stacks.fds)
        self._inherited = peak(getrusage(RUSAGE_SELF))
        command = [sys.executable, "-m", module, *map(str, fds)]
        try:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=fds,
                start_new_session=True,
                env={**os.environ, **environment} if environment else None,
            )
        except BaseException:
            ours.close()
            os.close(self._leash)
            self._stacks.close()
            raise
        finally:
            theirs.close()
            os.close(held)
        _leashes.add(self._leash)
        self.group = self._popen.pid
        self.verdict: ErrorInfo | None = None
        self._evidence: Evidence = {}
        self._oom_kills = OomKills(self.group)
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
        try:
            _, status, usage = os.wait4(self.group, 0)  # noqa: ASYNC222 # it is dead
        except ChildProcessError:  # done above, or by somebody who waits for every child of this process
            return self._popen.wait()
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        if (most := peak(usage)) > self._inherited:
            self._evidence["peak_rss_bytes"] = most
        return self._popen.returncode

    async def send(self, message: Message) -> None:
        """Send; to a process that is dead it goes nowhere."""
        _, writer = await asyncio.shield(self._streams)
        writer.write(frame(message))

    async def receive(self) -> Message | None:
        """The next message; None when no more will come. Who sends what is no message is condemned."""
        reading = asyncio.ensure_future(self._read())
        await asyncio.wait({reading, self.gone}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({reading}, timeout=GRACE)
        if not reading.done():
            reading.cancel()
        elif (message := reading.result()) is not None:
            return message
        # Who is on his way out hangs up first. Killed meanwhile, he would take the true cause along.
        await asyncio.wait({self.gone}, timeout=GRACE)
        return None

    async def _read(self) -> Message | None:
        reader, _ = await asyncio.shield(self._streams)
        try:
            return _decoder.decode(await reader.readexactly(_size(await reader.readexactly(4))))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: of UTF-8
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

    def look(self) -> None:
        """To be called now and then (a second apart, or as a job begins): an OOM kill is told from those before."""
        self._oom_kills.look()

    async def dump(self) -> str:
        """The stacks of its threads now, though it holds its interpreter; "" when they cannot be had within `DUMP_WAIT`."""
        return "" if self.gone.done() else await self._stacks.ask(self.group)

    def stack(self) -> str:
        """The stacks that it left: of its death by a fatal signal, or else of the last `dump`; "" without any. Until `close`."""
        return self._stacks.last()

    def forget(self) -> None:
        """Forget its stacks so far: what it does next has nothing to do with them."""
        self._stacks.clear()

    async def death(self) -> ErrorInfo:
        """What it died of, once it is dead, with all evidence there is."""
        status = await asyncio.shield(self.gone)
        told = self.verdict or cause_of_death(status, self._oom_kills.more)
        evidence = told.evidence | self._evidence
        return msgspec.structs.replace(told, traceback=told.traceback or self.stack(), evidence=evidence)

    async def close(self) -> None:
        """Kill what is left, and let go of everything."""
        self.kill()
        await asyncio.wait({self.gone})
        _, writer = await self._streams
        writer.transport.abort()  # nobody reads what is left
        # To ask how it ended: else a write that came too late is logged by asyncio, whenever the garbage is collected.
        with suppress(OSError):
            await writer.wait_closed()
        self._stacks.close()
        self.let_go()

    def let_go(self) -> None:
        """Let go of the leash, as the kernel does when we die."""
        if self._leash >= 0:
            _leashes.discard(self._leash)
            os.close(self._leash)
            self._leash = -1


class Parent:
    """The parent, as its child sees it: a blocking socket, to which any thread may write. Made once, first of all."""

    def __init__(self, socket_fd: int, leash_fd: int, stacks_fd: int, wishes_fd: int) -> None:
        for fd in (socket_fd, leash_fd, stacks_fd, wishes_fd):
            os.set_inheritable(fd, False)  # ours, and not of what a job starts
        put_on_leash(leash_fd)
        leave_stacks(stacks_fd, wishes_fd)
        setrlimit(RLIMIT_CORE, (0, getrlimit(RLIMIT_CORE)[1]))  # a core holds every secret of the program
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


_leashes: set[int] = set()


def _drop_leashes() -> None:
    # A fork of ours that outlives us must not hold our children: the kernel would not let go of them.
    while _leashes:
        os.close(_leashes.pop())


os.register_at_fork(after_in_child=_drop_leashes)


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


def put_on_leash(fd: int) -> None:
    """Let this process and its group die with whoever holds the other end of this pipe."""
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
