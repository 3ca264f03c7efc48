"""The verbs as they run inside Redis: one file each, behind what they share; and their names for `EVALSHA`."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple


class Script(NamedTuple):
    """One verb: its text, and the SHA-1 of it, by which Redis knows it once it has seen it."""

    name: str
    text: bytes
    sha: bytes


def load() -> dict[str, Script]:
    """All verbs by name."""
    folder = files(__name__)
    texts = {
        entry.name.removesuffix(".lua"): entry.read_text() for entry in folder.iterdir() if entry.name.endswith(".lua")
    }
    parts = {part: texts.pop(part) for part in ("lib", "ids", "jobs")}
    before = f"{parts['lib']}\nlocal function open_ids()\n{parts['ids']}end\nlocal function open_jobs()\n{parts['jobs']}end\n"
    return {name: _script(name, text, before) for name, text in texts.items()}


def _script(name: str, text: str, before: str) -> Script:
    flags, _, rest = text.partition("\n")  # "#!lua flags=...", which must stand first
    whole = f"{flags}\n{before}\n{rest}".encode()
    return Script(name, whole, sha1(whole, usedforsecurity=False).hexdigest().encode())
