"""The verbs as they run inside Redis: one file each, behind what they share; and their names for `EVALSHA`."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple

from windlass.core.measures import FAULTS, SERIES, STEPS, VERSIONS


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
    limits = f"{SERIES}, {FAULTS}, {VERSIONS}, {{{', '.join(map(str, STEPS))}}}"
    texts["history"] = f"local SERIES, FAULTS, VERSIONS, STEPS = {limits}\n{texts['history']}"
    before = f"{texts.pop('lib')}\n"
    for part in ("ids", "history", "letters", "order", "keys", "gates", "jobs"):
        before += f"local function open_{part}(...)\n{texts.pop(part)}end\n"
    return {name: _script(name, text, before) for name, text in texts.items()}


def _script(name: str, text: str, before: str) -> Script:
    flags, _, rest = text.partition("\n")  # "#!lua flags=...", which must stand first
    whole = f"{flags}\n{before}\n{rest}".encode()
    return Script(name, whole, sha1(whole, usedforsecurity=False).hexdigest().encode())
