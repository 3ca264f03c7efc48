"""`windlass health`: whether the workers of this user are ready, for exec probes. `main` calls it before anything heavy is imported."""

from __future__ import annotations

import math
import socket
import sys
import time
from collections.abc import Sequence

from windlass.worker import runtime

TIMEOUT = 2.0
MOST_BYTES = 8192


def parse(words: Sequence[str]) -> tuple[bool, int | None, float] | None:
    """live, pid and timeout, as `health` takes them; None for what the full command line has to answer: help, and nonsense."""
    live, pid, timeout = False, None, TIMEOUT
    rest = iter([part for word in words for part in word.split("=", 1)])
    try:
        for word in rest:
            if word == "--live":
                live = True
            elif word == "--pid":
                pid = int(next(rest))
            elif word == "--timeout":
                timeout = float(next(rest))
            else:
                return None
    except (StopIteration, ValueError):
        return None
    return (live, pid, timeout) if 0 < timeout < math.inf else None


def health(live: bool = False, pid: int | None = None, timeout: float = TIMEOUT) -> int:
    """Print how each worker of this user is; answers the exit code: 0 all are ready, 1 one is not, 3 there is none.

    live: whether they live is enough. pid: only this one. timeout: seconds for all of them together.
    """
    deadline = time.monotonic() + timeout
    asked = [(worker, _ask(path, live, deadline)) for worker, path in _found() if pid in (None, worker)]
    told = [(worker, *_answer(line, deadline)) for worker, line in asked if line is not None]
    for worker, _, said in told:
        print(worker, said, sep="\t")
    if not told:
        which = "worker of this user" if pid is None else f"worker with process id {pid}"
        print(f"windlass: no {which} runs here", file=sys.stderr)
        return 3
    sys.stdout.flush()
    return 0 if all(well for _, well, _ in told) else 1


def _found() -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for folder in runtime.folders():
        try:
            found += runtime.sockets(folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            print(f"windlass: {error}", file=sys.stderr)
    return sorted(found)


def _ask(path: str, live: bool, deadline: float) -> socket.socket | OSError | None:
    """The line on which the answer will come, or why none will; None when nobody is there any more."""
    try:
        return runtime.reach(path, _left(deadline), b"GET /%s HTTP/1.1\r\n\r\n" % (b"livez" if live else b"readyz"))
    except OSError as error:
        return error


def _answer(line: socket.socket | OSError, deadline: float) -> tuple[bool, str]:
    """Whether all is well, and what was said."""
    data = b""
    if isinstance(line, socket.socket):
        with line:
            try:
                line.settimeout(_left(deadline))
                while len(data) < MOST_BYTES and (more := line.recv(MOST_BYTES)):
                    data += more
            except OSError:
                data = b""
    head, _, said = data.partition(b"\r\n\r\n")
    return head.startswith(b"HTTP/1.1 200 "), " ".join(said.decode(errors="replace").split()) or "does not answer"


def _left(deadline: float) -> float:
    """Seconds until then; more than 0, which would mean not to wait at all."""
    return max(deadline - time.monotonic(), 0.001)
