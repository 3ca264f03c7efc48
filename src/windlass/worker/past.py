"""`Past`: the last hour of a worker, which its card tells. Pure."""

from __future__ import annotations

from collections import deque

import msgspec

from windlass.core.job import Card

MINUTE = 60.0
MINUTES = 60
"""That a card tells of, at most."""


class Past:
    """What one process did in its last hour, minute by minute."""

    def __init__(self) -> None:
        self._minutes = deque[tuple[float, int]](maxlen=MINUTES)
        self._began = 0.0
        self._seen: list[tuple[int, int]] = []  # since then: busy slots, resident bytes

    def told(self, card: Card, rss: int, now: float) -> Card:
        """The card for a beat, with the memory (bytes) and the past of its process. now: seconds of a clock that never goes back.

        A minute without a beat was like the one before.
        """
        if not self._seen:
            self._began = now
        elif over := int((now - self._began) // MINUTE):
            busy, held = zip(*self._seen, strict=True)
            minute = round(sum(busy) / len(busy), 1), max(held) >> 20
            self._minutes.extend([minute] * min(over, MINUTES))
            self._began += over * MINUTE
            self._seen.clear()
        self._seen.append((sum(card.busy.values()), rss))
        return msgspec.structs.replace(card, rss=rss, past=tuple(self._minutes))
