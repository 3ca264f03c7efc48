"""What a flow has come to: the steps that its code asked for, and what became of them, from its journal. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Literal

import msgspec
from pydantic import BaseModel, ConfigDict

from windlass.core import letters
from windlass.core.durations import date
from windlass.core.ids import derived
from windlass.core.job import Entry, JobId
from windlass.core.payload import Undecodable, read_json
from windlass.flow import Record

Kind = Literal["run", "event", "sleep", "call"]
Outcome = Literal["waiting", "succeeded", "failed", "cancelled", "late"]
MOST = 200
"""Steps that are told: the latest."""


class Step(BaseModel):
    """A step of a flow. until: when its wait is over, at the latest. job: the one that it runs. event: the one that it waits for."""

    model_config = ConfigDict(frozen=True)

    number: int
    name: str
    kind: Kind
    at: datetime
    until: datetime | None
    ended: datetime | None
    outcome: Outcome
    job: str | None = None
    event: str | None = None


class Steps:
    """The steps of one flow, entry by entry. What they gave is not kept, nor are letters of which no step knows."""

    def __init__(self, job: JobId) -> None:
        self._job = job
        self._records = dict[int, tuple[float, float, Record]]()
        self._runs = set[JobId]()
        self._came = dict[str, tuple[float, letters.Said]]()

    def add(self, entries: Iterable[Entry]) -> None:
        """Take what the journal says next. What cannot be read is passed over."""
        for entry in entries:
            with suppress(Undecodable, msgspec.MsgspecError):
                if entry.kind == "step":
                    self._note(read_json("a step", entry.data, Record), entry.at)
                elif entry.kind == "letter":
                    letter = letters.read(entry.data)
                    if letter.said == "event" or letter.name in self._runs:
                        self._came.setdefault(letter.name, (entry.at, letter.said))

    def _note(self, record: Record, at: float) -> None:
        begun = self._records.get(record.number, (at,))[0]
        self._records[record.number] = begun, at, msgspec.structs.replace(record, value=msgspec.Raw(b"null"))
        if record.name.startswith("run "):
            self._runs.add(derived(self._job, record.number))

    def told(self, now: float) -> list[Step]:
        """The latest steps, in their order."""
        return [self._step(number, now) for number in sorted(self._records)[-MOST:]]

    def _step(self, number: int, now: float) -> Step:
        begun, told, record = self._records[number]
        kind = _kind(record)
        job = derived(self._job, number) if kind == "run" else None
        event = record.name.removeprefix("event ") if kind == "event" else None
        outcome, ended = self._end(record, job or event, told, now)
        return Step(
            number=number,
            name=record.name,
            kind=kind,
            at=date(begun),
            until=None if record.until is None else date(record.until),
            ended=None if ended is None else date(ended),
            outcome=outcome,
            job=job,
            event=event,
        )

    def _end(self, record: Record, letter: str | None, told: float, now: float) -> tuple[Outcome, float | None]:
        """What became of a step, and when. letter: the name of the one that answers it."""
        if record.error is not None:
            return "late" if record.error.kind == "timeout" else "failed", told
        if letter is not None:
            if (came := self._came.get(letter)) is None:
                return "waiting", None
            return "succeeded" if came[1] == "event" else came[1], came[0]
        if record.until is not None and record.until > now:
            return "waiting", None
        return "succeeded", record.until or told


def _kind(record: Record) -> Kind:
    if record.name.startswith("run "):
        return "run"
    if record.name.startswith("event "):
        return "event"
    return "call" if record.until is None else "sleep"
