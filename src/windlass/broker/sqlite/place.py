"""The place of a store: where its URL points, whether promises can be kept there, and what its errors mean."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from windlass.core.urls import split
from windlass.errors import (
    BrokerUnavailable,
    ConfigurationError,
    InvalidArguments,
    StoreCorrupt,
    StoreFull,
    StoreRefused,
    WindlassError,
)

NETWORK = re.compile(
    r"nfs\d*|cifs|smb\d*|smbfs|9p|afs|ceph|glusterfs|lustre|ncpfs|virtiofs|fuse\.(sshfs|s3fs|rclone|gcsfuse|goofys)"
)
"""File systems on which locks, shared memory or fsync are not what they are on a local disk."""
MEMORY = ("tmpfs", "ramfs")
"""File systems that a restart of the machine empties."""
REFUSING = ("EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST", "ENAMETOOLONG", "ELOOP")
"""Errors of the operating system that last until somebody changes the place or its permissions."""
PRIVATE = 0o600
"""The mode of a new file: jobs are nobody else's to read."""
_ESCAPED = re.compile(r"\\(\d{3})")
_PRIMARY = 0xFF
"""The part of SQLite's extended error codes that names the class."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store lives. `path` is absolute and free of links, so that all who share the file share its locks."""

    path: Path
    full: bool = True

    @classmethod
    def of(cls, url: str, name: str) -> Place:
        """From `sqlite:///relative/path.db` or `sqlite:////absolute/path.db`; raises `ConfigurationError`.

        An app not called "windlass" has a file of its own beside the one that is named: `jobs.db` becomes `jobs.shop.db`.
        """
        parts = split(url)
        path = Path(unquote(parts.path.removeprefix("/")))
        if parts.netloc or not path.name or path.name == ":memory:" or "\0" in parts.path + unquote(parts.path):
            raise ConfigurationError(
                f"{url!r} names no file; write sqlite:///relative/path.db or sqlite:////absolute/path.db (memory:// keeps nothing)"
            )
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        synchronous = options.pop("synchronous", "FULL").upper()
        if options or synchronous not in ("FULL", "NORMAL"):
            wrong = next(iter(options), f"synchronous={synchronous}")
            raise ConfigurationError(
                f"{url!r}: there is no option {wrong!r}; there is synchronous=FULL or synchronous=NORMAL"
            )
        if not re.fullmatch(r"[\w-][\w.-]*", name):
            raise ConfigurationError(
                f"{name!r} cannot name an app: letters, digits, '_', '-' and '.' can, it is part of a file name"
            )
        if name != "windlass":
            path = path.with_name(f"{path.stem}.{name}{path.suffix}")
        return cls(Path(os.path.realpath(path)), synchronous == "FULL")

    def beside(self, suffix: str) -> Path:
        """A companion of the file: its locks, its write-ahead log, the folder of its wake-ups."""
        return self.path.with_name(self.path.name + suffix)

    def check(self) -> None:
        """Create the folder; raise `StoreRefused` where a store could not keep its promises."""
        folder = self.path.parent
        try:
            # Nobody else's to read. One that is there already is as open as its owner wants.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self.mapped(error) from error
        kind = file_system(folder)
        if NETWORK.fullmatch(kind):
            raise StoreRefused(
                f"{self.path} is on a network file system ({kind}), which can lose or damage jobs; put it on a local disk"
            )
        if self.path.is_dir():
            raise StoreRefused(f"{self.path} is a folder; name a file in it, such as {self.path / 'windlass.db'}")
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            raise StoreRefused(f"{self.path} is no plain file; name one that is, or that does not exist yet")
        for place in (folder, self.path, self.beside("-wal"), self.beside("-lock")):
            if place.exists() and not os.access(place, os.R_OK | os.W_OK):
                raise StoreRefused(
                    f"{place} cannot be written by this user; make it writable or move the store elsewhere"
                )

    def create(self) -> None:
        """Create the file, if it is missing, for its owner only. Its log and locks are as open as it is."""
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE))

    @property
    def mode(self) -> int:
        """Who may read and write the file."""
        try:
            return self.path.stat().st_mode & 0o666
        except FileNotFoundError:
            return PRIVATE

    def moved(self) -> BrokerUnavailable:
        """What we write to is not what others find at the path: it would be lost."""
        return BrokerUnavailable(
            f"{self.path} was deleted or replaced, or what belongs to it was, while it was open; the call may not have happened."
            " Start this program anew"
        )

    def mapped(self, error: Exception) -> Exception:
        """What an error of SQLite or of the operating system means, and what can be done about it; any other error as it is."""
        meaning: Exception = error
        if isinstance(error, sqlite3.Error):
            meaning = self._of_sqlite(error)
        elif isinstance(error, UnicodeDecodeError):  # SQLite quotes what it cannot read
            meaning = self._corrupt(error)
        elif isinstance(error, OSError) and not isinstance(error, WindlassError):
            meaning = self._of_system(error)
        if meaning is not error:
            meaning.__cause__ = error
        return meaning

    def _of_system(self, error: OSError) -> WindlassError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return self._full()
        what = f"{error.filename or self.path}: {error.strerror}"
        if errno.errorcode.get(error.errno or 0) in REFUSING:
            return StoreRefused(f"{what}; make it writable or move the store elsewhere")
        return BrokerUnavailable(what)

    def _of_sqlite(self, error: sqlite3.Error) -> WindlassError:
        code = getattr(error, "sqlite_errorcode", 0)
        match code & _PRIMARY:
            case sqlite3.SQLITE_FULL:
                return self._full()
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return self._corrupt(error)
            case sqlite3.SQLITE_ERROR if "JSON" in str(error) or "no such" in str(error):  # not what we put there
                return self._corrupt(error)
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
                return StoreRefused(
                    f"{self.path} cannot be written ({error}); make it and its folder writable or move the store elsewhere"
                )
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return self.locked()
            case sqlite3.SQLITE_CONSTRAINT | sqlite3.SQLITE_MISMATCH | sqlite3.SQLITE_TOOBIG:
                return InvalidArguments(f"the store cannot keep this: {error}")
            case sqlite3.SQLITE_IOERR if _free(self.path.parent) < 1 << 16:
                return self._full()
            case _:
                return BrokerUnavailable(f"{self.path}: {error} ({getattr(error, 'sqlite_errorname', 'no code')})")

    def locked(self) -> BrokerUnavailable:
        """Somebody held the store's lock for too long."""
        return BrokerUnavailable(
            f"{self.path} did not answer in time: another process holds it (is one stopped, or a sqlite3 shell in a transaction?)"
        )

    def forked(self) -> BrokerUnavailable:
        """SQLite's locks do not survive a fork: a child that went on with the file could damage it."""
        return BrokerUnavailable(
            f"the store {self.path} was open when this process was forked, and cannot be used here: open it after the fork, or start"
            " the process with the method 'spawn'"
        )

    def _corrupt(self, error: Exception) -> StoreCorrupt:
        return StoreCorrupt(
            f"{self.path} is damaged or no store ({error}). Nothing was deleted: move it away, with {self.path.name}-wal, and start"
            f" again with an empty store, or rescue what it holds with: sqlite3 {self.path} .recover"
        )

    def _full(self) -> StoreFull:
        return StoreFull(f"no room left for {self.path}: free some space on its disk; the store goes on by itself then")


def file_system(folder: Path, mounts: str | None = None) -> str:
    """The kind of file system that `folder` is on, from /proc/self/mountinfo (or `mounts`); "" where that is not known."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text()
        except OSError:
            return ""
    found, kind = Path(""), ""
    for line in mounts.splitlines():
        head, _, tail = line.partition(" - ")
        point = Path(_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), head.split()[4]))
        if folder.is_relative_to(point) and len(point.parts) >= len(found.parts):
            found, kind = point, tail.split()[0]
    return kind


def _free(folder: Path) -> int:
    """Bytes left on the disk of `folder`."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return 1 << 62
    return disk.f_bavail * disk.f_frsize
