"""How fast queues grow or shrink: the history tells what went out, and what came in only shows in how many are there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from windlass.core.job import QueueInfo
from windlass.core.state import State

MEMORY = 300.0
"""Seconds over which growth is told."""
PAUSE = 5.0
"""Seconds between two counts that are remembered; what lies less far back tells nothing."""


def work(queue: QueueInfo) -> int:
    """The jobs that are ready or run."""
    return queue.counts.get(State.READY, 0) + queue.counts.get(State.RUNNING, 0)


class Flows:
    """Remembers how much work was where, of each look at it in the last five minutes."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, dict[str, int]]] = deque()

    def look(self, queues: Iterable[QueueInfo], now: float) -> None:
        """Remember how much work there is now."""
        while self._looks and self._looks[0][0] < now - MEMORY:
            self._looks.popleft()
        if not self._looks or self._looks[-1][0] <= now - PAUSE:
            self._looks.append((now, {queue.name: work(queue) for queue in queues}))

    def growth(self, queue: QueueInfo, now: float) -> float | None:
        """Jobs per second that the work in a queue became more; None before that can be told."""
        if not self._looks or self._looks[0][0] > now - PAUSE:
            return None
        at, counts = self._looks[0]
        return (work(queue) - counts.get(queue.name, 0)) / (now - at)
