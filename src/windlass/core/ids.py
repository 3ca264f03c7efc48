"""Job ids: UUID version 7 (RFC 9562, section 5.7), so that ids sort by the time they were made."""

from __future__ import annotations

import json
import os
import time
from hashlib import sha1, sha256
from uuid import UUID

from windlass.errors import InvalidArguments

STOCK = 64
"""Ids whose random part is made at once: asking the system for it costs more than the rest of an id."""

_FREE, _VARIANT = int("3fffffffffffffff" * STOCK, 16), int("8000000000000000" * STOCK, 16)
_now = -1, ""
_stock: list[str] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_stock.clear)  # or parent and child would make the same ids


def new_id() -> str:
    """A fresh job id: 48 bits of Unix milliseconds, 12 bits of the millisecond's fraction (method 3 of section 6.2), 62 random bits.

    Ids of one machine sort by the quarter of a microsecond in which they were made.
    """
    global _now
    while True:
        try:
            random = _stock.pop()
            break
        except IndexError:  # it was empty, or another thread was quicker
            _stock.extend(_randoms())
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    at, start = _now
    if at != milliseconds:
        start = _start(milliseconds)
        _now = milliseconds, start
    return f"{start}{rest * 4096 // 1_000_000:03x}-{random[:4]}-{random[4:]}"


def derived(parent: str, number: int) -> str:
    """The id of the part `number` of a job: always the same one, and as old as the job itself. Redis reckons it, too (letters.lua).

    Parts follow each other (by 16 bits of their numbers), because indexes take what comes in order for half the price. 44 bits of a hash,
    and 12 that come from the parent, tell them from those of its neighbours.
    """
    digits, place = sha1(f"{parent}/{number}".encode(), usedforsecurity=False).hexdigest(), f"{number & 0xFFFF:04x}"
    return f"{parent[:15]}{parent[-3:]}-8{place[:3]}-{place[3]}{digits[:11]}"


def first_id_at(moment: float) -> str:
    """The smallest id that can be made at this Unix time: ids that are made from then on are not smaller, those made before are."""
    milliseconds, rest = divmod(max(0, int(moment * 1e9)), 1_000_000)
    return f"{_start(milliseconds)}{rest * 4096 // 1_000_000:03x}-8000-000000000000"


def id_about(moment: float, *about: str) -> str:
    """The id of what these words name, as if it was made at that Unix time: whoever asks gets the same one."""
    bits = int.from_bytes(sha256(json.dumps(about).encode()).digest()[:8]) & (1 << 62) - 1 | 1 << 63
    return f"{first_id_at(moment)[:18]}-{bits >> 48:04x}-{bits & (1 << 48) - 1:012x}"


def _start(milliseconds: int) -> str:
    """What stands before the fraction of the millisecond, in all ids of this one."""
    text = f"{milliseconds & 0xFFFFFFFFFFFF:012x}"
    return f"{text[:8]}-{text[8:]}-7"


def _randoms() -> list[str]:
    """What follows the time in so many ids: the variant and 62 random bits, in 16 digits."""
    bits = int.from_bytes(os.urandom(8 * STOCK), "big") & _FREE | _VARIANT
    digits = f"{bits:x}"
    return [digits[at : at + 16] for at in range(0, len(digits), 16)]


def is_id(text: str) -> bool:
    """Whether some job may have this id."""
    try:
        UUID(text)
        return True
    except ValueError:
        return False


def check_id(text: str) -> str:
    """`text` in canonical form; raises `InvalidArguments` when it is no UUID."""
    try:
        return str(UUID(text))
    except ValueError:
        raise InvalidArguments(f"{text!r} is no job id; a job id looks like {new_id()}") from None
