"""What happened, step by step, as a chart wants it. The past does not change: it is added up once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

from windlass.broker.port import Broker
from windlass.core.measures import Rollup
from windlass.web.admin.charts import Axis, Cell, cell

KEPT = 600
"""Steps that are remembered: those of two or three charts."""
SURE = 120.0
"""Seconds after which a step is over by every clock, so that nothing more is told of it."""
AT_ONCE = 100
"""Spans that are read and added up at once; in between, others have their turn."""

Key = tuple[int, int, str | None, str | None]


class History:
    """Remembers the steps of the latest charts."""

    def __init__(self, broker: Callable[[], Awaitable[Broker]]) -> None:
        self._broker = broker
        self._known: dict[tuple[Key, int], Cell] = {}

    async def cells(self, of: Axis, now: float, queue: str | None = None, task: str | None = None) -> list[Cell]:
        """The steps of an axis; of one queue, of one task, if given."""
        key = of.base, of.step, queue, task
        found = {at: one for at in of.steps if (one := self._known.get((key, at)))}
        broker = await self._broker()
        for some in _runs([at for at in of.steps if at not in found], of):
            rollups = await broker.series(of.base, some[0], some[-1] + of.step, queue=queue, task=task)
            found |= zip(some, map(cell, _parted(rollups, some, of.step)), strict=True)
        self._remember(key, {at: found[at] for at in of.steps if at + of.step + SURE <= now})
        return [found[at] for at in of.steps]

    def _remember(self, key: Key, cells: dict[int, Cell]) -> None:
        for at, one in cells.items():
            self._known.pop((key, at), None)
            self._known[key, at] = one
        for old in list(self._known)[: max(0, len(self._known) - KEPT)]:
            del self._known[old]


def _runs(steps: Sequence[int], of: Axis) -> Iterator[list[int]]:
    """The steps in runs without a gap, none with more spans than are read at once."""
    most, run = max(1, AT_ONCE * of.base // of.step), list[int]()
    for at in steps:
        if run and (at != run[-1] + of.step or len(run) == most):
            yield run
            run = []
        run.append(at)
    if run:
        yield run


def _parted(rollups: Sequence[Rollup], steps: Sequence[int], step: int) -> list[list[Rollup]]:
    """The rollups of each step."""
    found: list[list[Rollup]] = [[] for _ in steps]
    for one in rollups:
        found[(one.at - steps[0]) // step].append(one)
    return found
