"""What running jobs write to their journals, on its way to the store: coalesced, bounded, sent about ten times a second."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from windlass.broker.port import Journals
from windlass.core.job import Claim, Entry, LogLine, Tried
from windlass.core.outcome import ErrorInfo, Outcome, Snoozed, Succeeded, Suspended, called
from windlass.core.terms import Meter
from windlass.events import Events, StaleWrite, StoreTrouble
from windlass.worker.chores import Chores
from windlass.worker.run import Notes, Run, pauses

PERIOD = 0.1
LAST_LOG_LIMIT = 10_000
"""Characters of log that are kept as evidence of a crash: the last ones."""
PENDING = 5000
"""Entries of one run that wait for the store at most; what comes then is counted, and said to be missing."""


LAST = 1 << 52
"""The number of what is written when a run is over."""
ATTEMPTS = 100
"""Runs of a job whose ends its journal tells: what is tried for ever must not fill the store."""


class Journal:
    """Takes entries from any thread, and sends them. `on_lost` hears of runs whose lease is gone."""

    def __init__(self, broker: Journals, events: Events, log_lines: int, on_lost: Callable[[Run], None]) -> None:
        self._broker = broker
        self._events = events
        self._log_lines = log_lines
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._dirty: set[Run] = set()
        self._armed = False
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()
        self._chores = Chores()

    async def start(self) -> None:
        """Nothing runs before there is something to send."""

    async def stop(self) -> None:
        await self._chores.cancel()

    def note(self, run: Run, entry: Entry) -> None:
        """Take an entry; any thread, returns at once. What a run writes after its end is not its own any more."""
        if run.ended:
            return
        if entry.kind == "meter":  # it travels with the outcome
            run.meter(msgspec.json.decode(entry.data, type=Meter))
            return
        with self._lock:
            notes = run.notes
            if notes is None:
                notes = run.notes = Notes()
            if entry.kind in ("progress", "checkpoint"):
                notes.latest[entry.kind] = notes.numbered(entry)
            else:
                if entry.kind == "log":
                    notes.logged += 1
                    notes.tail.append(entry.data)
                over = entry.kind == "log" and notes.logged > self._log_lines
                if over or len(notes.entries) >= PENDING:
                    notes.missing += 1
                    return
                notes.entries.append(notes.numbered(entry))
            self._dirty.add(run)
            if self._armed:
                return
            self._armed = True
        try:
            self._loop.call_soon_threadsafe(self._loop.call_later, PERIOD, self._send_soon)
        except RuntimeError:
            pass  # a thread that was given up outlived the loop

    def _send_soon(self) -> None:
        self._chores.begin(self._send_all())

    async def _send_all(self) -> None:
        for pause in pauses():
            try:
                self._armed = False
                await self._send()
                return
            except Exception as error:
                self._armed = True
                self._events.emit(StoreTrouble("append", error))
                await asyncio.sleep(pause)

    async def flush(self, ended: Sequence[tuple[Run, Outcome]]) -> None:
        """Send what there is, at least of these runs, and how they ended. Raises what the store raises; then nothing is lost."""
        for run, outcome in ended:
            last: list[Entry] = []
            if (notes := run.notes) is not None and notes.missing:
                text = f"... {notes.missing} more entries were not kept"
                last.append(Entry("log", msgspec.json.encode(LogLine("warning", text)), time.time(), run.claim.attempt))
                notes.missing = 0
            if run.started and not run.told_of:
                last += attempt(run.claim, run.identity.worker, outcome)
                run.told_of = True
            if last:
                notes = run.notes = notes or Notes()
                notes.entries += map(notes.numbered, last)
                self._dirty.add(run)
        await self._send()

    async def _send(self) -> None:
        async with self._sending:
            with self._lock:
                taken = [(run, self._take(run)) for run in self._dirty]
                self._dirty.clear()
            if not taken:
                return
            try:
                kept = await self._broker.append([(run.claim, entries) for run, entries in taken])
            except BaseException:
                self._put_back(taken)
                raise
        for (run, _), ours in zip(taken, kept, strict=True):
            if not ours:
                self._events.emit(StaleWrite(run.claim))
                self._on_lost(run)

    @staticmethod
    def _take(run: Run) -> list[Entry]:
        notes = run.notes
        assert notes is not None
        entries = [*notes.entries, *notes.latest.values()]
        notes.entries, notes.latest = [], {}
        return sorted(entries, key=lambda entry: entry.number)

    def _put_back(self, taken: Sequence[tuple[Run, list[Entry]]]) -> None:
        with self._lock:
            for run, entries in taken:
                notes = run.notes
                assert notes is not None
                notes.entries = [one for one in entries if one.kind not in ("progress", "checkpoint")] + notes.entries
                notes.latest = {
                    one.kind: one for one in entries if one.kind in ("progress", "checkpoint")
                } | notes.latest
                self._dirty.add(run)


def attempt(claim: Claim, worker: str, outcome: Outcome) -> list[Entry]:
    """The entry about a run that has ended without success, if there is to be one. It comes after all that the run itself has written."""
    if isinstance(outcome, Succeeded | Snoozed | Suspended) or claim.attempt + claim.crashes > ATTEMPTS:
        return []
    tried = Tried(called(outcome), claim.claimed_at, worker, getattr(outcome, "error", None))
    return [Entry("attempt", msgspec.json.encode(tried), time.time(), claim.attempt, number=LAST)]


def with_log(error: ErrorInfo, run: Run) -> ErrorInfo:
    """The error with the last lines that its run logged, as evidence."""
    lines = run.notes.tail if run.notes is not None else ()
    text = "\n".join(msgspec.json.decode(line, type=LogLine).message for line in lines)[-LAST_LOG_LIMIT:]
    return msgspec.structs.replace(error, evidence=error.evidence | {"last_log": text}) if text else error
