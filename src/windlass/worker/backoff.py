"""How long to wait before the store is asked again."""

from __future__ import annotations

import random
from collections.abc import Iterator

FIRST = 0.05
MOST = 2.0


def pauses() -> Iterator[float]:
    """Growing, jittered pauses in seconds, without an end: a store that comes back finds all its workers within MOST."""
    pause = FIRST
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(MOST, pause * 2)
