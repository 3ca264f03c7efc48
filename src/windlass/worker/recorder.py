"""What a runner, or the supervisor in its place, tells for the history: counted as runs end, told every few seconds, each report once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from itertools import compress

from windlass.broker.port import Measures
from windlass.core.ids import new_id
from windlass.core.measures import FAULTS, Report, Rollup, Sighting, folded, histogram_of, sighted
from windlass.core.outcome import ErrorInfo, Failed, Outcome, Retried, Succeeded, called
from windlass.events import Counted, Events, StoreBack, StoreTrouble
from windlass.failpoints import failpoint
from windlass.worker.run import NOT_STARTED, Run, pauses

PERIOD = 5.0
"""Seconds between two reports."""
PATIENCE = 1.0
"""Seconds that a stop waits for a store that does not take what is left."""
NOTES = 10_000
"""Runs whose times are kept one by one before they are added up."""
Times = tuple[list[float], list[float]]
"""Of some runs: how long each waited, and how long it took, or NOT_STARTED."""


class Recorder:
    """Counts runs and failures. A report that the store did not answer is told again under its number, until it does.

    version: of the program's code, as it says. While the store is away, what it counts stays as small as one span.
    """

    def __init__(self, broker: Measures, events: Events, version: str) -> None:
        self._broker = broker
        self._events = events
        self._version = version
        self._writer = new_id()
        self._number = 0
        self._times: defaultdict[tuple[str, str, str], Times] = defaultdict(_no_times)
        self._noted = 0
        self._rollups: list[Rollup] = []
        self._sightings: dict[str, Sighting] = {}
        self._under_way: Report | None = None
        self._troubled = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="windlass recorder")

    async def stop(self) -> None:
        """Tell what is left, as long as there is patience."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        try:
            async with asyncio.timeout(PATIENCE):
                for pause in pauses():
                    if await self._tell() and await self._tell():  # what was under way, and the rest
                        break
                    await asyncio.sleep(pause)
        except TimeoutError:
            pass  # the store's own counts have it

    def note(self, pairs: Sequence[tuple[Run, Outcome]], applied: Sequence[bool]) -> None:
        """Count the runs whose outcomes were applied."""
        times = self._times
        for run, outcome in compress(pairs, applied):
            claim = run.claim
            name = "succeeded" if type(outcome) is Succeeded else self._name(run, outcome)
            waits, runs = times[claim.queue, claim.task, name]
            waits.append(claim.claimed_at - claim.due_at)
            runs.append(run.took)
        self._noted += len(pairs)
        if self._noted >= NOTES:
            self._fold()

    def _name(self, run: Run, outcome: Outcome) -> str:
        """What the history calls an outcome; if it is a failure, that is counted, too."""
        if isinstance(outcome, Failed | Retried):
            self._sight(run, outcome.error, final=isinstance(outcome, Failed))
        return called(outcome)

    def _sight(self, run: Run, error: ErrorInfo, final: bool) -> None:
        one = sighted(run.claim.task, run.claim.id, error, final, self._version)
        known = self._sightings.get(one.fingerprint)
        if known is not None or len(self._sightings) < FAULTS:
            self._sightings[one.fingerprint] = known.plus(one) if known else one

    def _fold(self) -> None:
        """Add up what was noted."""
        self._rollups = folded(self._rollups, [_rollup(key, *times) for key, times in self._times.items()])
        self._times.clear()
        self._noted = 0

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            await self._tell()

    async def _tell(self) -> bool:
        """Hand over a report, if there is anything to tell; answers whether the store has it."""
        if self._under_way is None:
            self._fold()
            if not self._rollups and not self._sightings:
                return True
            self._number += 1
            self._under_way = Report(self._rollups, list(self._sightings.values()))
            self._events.emit(Counted(self._rollups))
            self._rollups, self._sightings = [], {}
        try:
            failpoint("recorder.before_record")
            await self._broker.record(self._writer, self._number, self._under_way)
            failpoint("recorder.after_record")
        except Exception as error:
            self._troubled = True
            self._events.emit(StoreTrouble("record", error))
            return False
        self._under_way = None
        if self._troubled:
            self._troubled = False
            self._events.emit(StoreBack("record"))
        return True


def _no_times() -> Times:
    return [], []


def _rollup(key: tuple[str, str, str], waits: list[float], runs: list[float]) -> Rollup:
    started = (took for took in runs if took != NOT_STARTED)
    return Rollup(*key, len(waits), histogram_of(waits), histogram_of(started))
