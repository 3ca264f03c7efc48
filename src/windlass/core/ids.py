"""Job ids: UUID version 7 (RFC 9562, section 5.7), so that ids sort by the time they were made."""

from __future__ import annotations

import os
import time
from uuid import UUID

from windlass.errors import InvalidArguments

_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62
_MASK_A = 0xFFF << 64
_MASK_B = (1 << 62) - 1


def new_id() -> str:
    """A fresh job id: 48 bits of Unix milliseconds, then 74 random bits, as canonical text of 36 characters."""
    random = int.from_bytes(os.urandom(10), "big")
    milliseconds = time.time_ns() // 1_000_000 & 0xFFFFFFFFFFFF
    value = milliseconds << 80 | _VERSION | (random & _MASK_A) | _VARIANT | (random & _MASK_B)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def check_id(text: str) -> str:
    """`text` in canonical form; raises `InvalidArguments` when it is no UUID."""
    try:
        return str(UUID(text))
    except ValueError:
        raise InvalidArguments(f"{text!r} is no job id; a job id looks like {new_id()}") from None
