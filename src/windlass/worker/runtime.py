"""Where the supervisors of this user are found on this machine: a Unix socket each, in a folder that nobody else can enter.

`windlass health` imports this and must answer in 100 ms: the standard library's smallest modules are all there is.
"""

from __future__ import annotations

import os
import socket
import stat

_SUFFIX = ".sock"


def folders() -> list[str]:
    """Where the sockets may be, best first. Who asks may have another environment than the supervisor, so look into all."""
    runtime, temporary = os.environ.get("XDG_RUNTIME_DIR", ""), os.environ.get("TMPDIR") or "/tmp"
    shared = os.path.join(temporary, f"windlass-{os.geteuid()}")
    return [os.path.join(runtime, "windlass"), shared] if os.path.isabs(runtime) else [shared]


def make(folder: str) -> None:
    """Make a folder for this user alone, if it is not there. Raises `OSError` when there is something else."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        check(folder)


def check(folder: str) -> None:
    """Raise `OSError` unless only this user can enter the folder: in one of somebody else's, anybody could answer."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder that only user {os.geteuid()} can enter; remove it")


def name() -> str:
    """A file name for a socket of this process that no other ever had: so the socket of a dead one is safely removed."""
    return f"{os.getpid()}-{os.urandom(4).hex()}{_SUFFIX}"


def sockets(folder: str) -> list[tuple[int, str]]:
    """The process id and path of each socket. Raises `OSError`, as `check` does."""
    check(folder)
    names = [name for name in os.listdir(folder) if name.endswith(_SUFFIX) and name.partition("-")[0].isdecimal()]
    return sorted((int(name.partition("-")[0]), os.path.join(folder, name)) for name in names)


def reach(path: str, timeout: float, request: bytes = b"") -> socket.socket | None:
    """A connection to the supervisor behind a socket, the request sent. None when it is dead: then the socket is removed.

    Raises `OSError` when it takes no calls.
    """
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.settimeout(timeout)
        line.connect(path)
        line.sendall(request)
        return line
    except BaseException as error:
        line.close()
        if not isinstance(error, (ConnectionRefusedError, FileNotFoundError)):
            raise
    remove(path)
    return None


def remove(path: str) -> None:
    """Remove a socket that nobody is to find any more."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
