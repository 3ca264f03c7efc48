"""Locks between processes, and what a fork does to them."""

from __future__ import annotations

import os
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock
from pathlib import Path
from weakref import WeakSet


class FileLock:
    """A lock between processes (and threads), of the kernel: it is free again when its holder dies.

    mode: of the file. inherited: the locks that were open when this process was forked.
    """

    inherited: set[Path] = set()
    _all: WeakSet[FileLock] = WeakSet()

    def __init__(self, path: Path, mode: int = 0o600) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with suppress(PermissionError):  # somebody else's
            os.fchmod(self._file, mode)
        FileLock._all.add(self)

    def take(self) -> bool:
        """Take the lock if it is free; answers whether it was."""
        try:
            flock(self._file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def __enter__(self) -> None:
        flock(self._file, LOCK_EX)

    def __exit__(self, *_: object) -> None:
        flock(self._file, LOCK_UN)

    def close(self) -> None:
        """Let go."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @classmethod
    def forget_all(cls) -> None:
        """After a fork, in the child: its copies of the parent's locks would outlive the parent."""
        for lock in cls._all:
            if lock._file >= 0:
                cls.inherited.add(lock._path)
            lock.close()


os.register_at_fork(after_in_child=FileLock.forget_all)
