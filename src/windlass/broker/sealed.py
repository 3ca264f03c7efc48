"""A broker behind a seal: bodies, results, log lines, chunks, checkpoints and schedules are sealed on their way in, and opened on their
way out.

Not sealed, for the stores read or judge them: a job's name, queue, times and counts, its progress, and why it failed.
The body of a job that may take another one's place is bound to its key: it does not know whose id it will have.
What does not open comes out as bytes that are no JSON (`core.seal.refused`): who decodes them says why, and a worker parks the job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from msgspec import MsgspecError
from msgspec.structs import replace

from windlass.broker.port import Broker
from windlass.core import letters
from windlass.core.job import Claim, Entry, Found, Job, JobId, NewJob, Placed, Reading, Ready
from windlass.core.outcome import Outcome, Succeeded
from windlass.core.seal import Seal, refused
from windlass.core.state import State
from windlass.errors import NotOpened

CLEAR = ("progress",)
"""Kinds of journal entries that stores read."""
SEALED = ("schedules",)
"""Shelves of the book from which jobs are made."""


def sealed(broker: Broker, seal: Seal) -> Broker:
    """`broker`, behind `seal`."""
    return cast(Broker, _Sealed(broker, seal))


class _Sealed:
    """The verbs that carry something; all others are the broker's own."""

    def __init__(self, broker: Broker, seal: Seal) -> None:
        self._broker = broker
        self._seal = seal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def enqueue(self, jobs: Sequence[NewJob], *, now: float | None = None) -> list[Placed]:
        closed = [replace(job, body=self._seal.seal(job.body, "body", _place(job), job.task)) for job in jobs]
        return await self._broker.enqueue(closed, now=now)

    async def claim(
        self,
        queues: Sequence[str],
        room: Mapping[str, int],
        worker: str,
        *,
        wait: float = 0.0,
        now: float | None = None,
    ) -> list[Claim]:
        claims = await self._broker.claim(queues, room, worker, wait=wait, now=now)
        return [replace(claim, body=self._body(claim)) for claim in claims]

    async def settle(
        self, pairs: Sequence[tuple[Claim, Outcome]], *, now: float | None = None
    ) -> tuple[list[bool], list[Ready]]:
        return await self._broker.settle([(claim, self._closed(claim, outcome)) for claim, outcome in pairs], now=now)

    def _closed(self, claim: Claim, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Succeeded):
            return Succeeded(self._seal.seal(outcome.result, "result", claim.id, claim.task))
        return outcome

    async def deliver(self, job: JobId, name: str, data: bytes, *, now: float | None = None) -> bool:
        return await self._broker.deliver(job, name, self._seal.seal(data, "event", job, name), now=now)

    async def append(self, pairs: Sequence[tuple[Claim, Sequence[Entry]]], *, now: float | None = None) -> list[bool]:
        closed = [(claim, [self._written(claim.id, entry) for entry in entries]) for claim, entries in pairs]
        return await self._broker.append(closed, now=now)

    def _written(self, job: JobId, entry: Entry) -> Entry:
        if entry.kind in CLEAR:
            return entry
        return replace(entry, data=self._seal.seal(entry.data, entry.kind, job, str(entry.attempt)))

    async def read(
        self, job: JobId, *, after: int = 0, wait: float = 0.0, seen: tuple[State, int] | None = None
    ) -> Reading | None:
        reading = await self._broker.read(job, after=after, wait=wait, seen=seen)
        if reading is None:
            return None
        entries = [self._read(job, entry) for entry in reading.entries]
        return replace(reading, entries=entries, end=reading.end and self._seen(reading.end))

    def _read(self, job: JobId, entry: Entry) -> Entry:
        if entry.kind in CLEAR:
            return entry
        if entry.kind == "letter":
            return replace(entry, data=self._letter(job, entry.data))
        return replace(entry, data=self._open(entry.data, entry.kind, job, str(entry.attempt)))

    def _letter(self, job: JobId, data: bytes) -> bytes:
        """A letter, opened as what its sender sealed: its result, or what came with the event. Why a job failed is not sealed."""
        try:
            letter = letters.read(data)
        except MsgspecError:
            return data
        about = {"succeeded": ("result", letter.name, letter.task), "event": ("event", job, letter.name)}.get(
            letter.said
        )
        return letters.write(replace(letter, data=self._open(letter.data, *about))) if about else data

    async def get(self, ids: Sequence[JobId]) -> list[Job | None]:
        return [job and self._seen(job) for job in await self._broker.get(ids)]

    async def find(self, **given: Any) -> Found:
        jobs, more = await self._broker.find(**given)
        return Found([self._seen(job) for job in jobs], more)

    def _seen(self, job: Job) -> Job:
        result = job.result
        if result is not None or job.state is State.SUCCEEDED:
            # Success without a sealed result is somebody else's word.
            result = self._open(result or b"", "result", job.id, job.task)
        return replace(job, body=self._body(job), result=result)

    def _body(self, job: Claim | Job) -> bytes:
        try:
            return self._seal.open(job.body, "body", job.id, job.task)
        except NotOpened as error:
            return refused(error) if job.key is None else self._open(job.body, "body", _named(job.key), job.task)

    async def put(self, shelf: str, name: str, data: bytes, most: int | None = None) -> None:
        data = self._seal.seal(data, shelf, name) if shelf in SEALED else data
        await self._broker.put(shelf, name, data, most)

    async def leaf(self, shelf: str, name: str) -> bytes | None:
        data = await self._broker.leaf(shelf, name)
        return self._open(data, shelf, name) if data is not None and shelf in SEALED else data

    async def leaves(self, shelf: str, **given: Any) -> list[tuple[str, bytes]]:
        found = await self._broker.leaves(shelf, **given)
        return [(name, self._open(data, shelf, name)) for name, data in found] if shelf in SEALED else found

    def _open(self, data: bytes, *about: str) -> bytes:
        try:
            return self._seal.open(data, *about)
        except NotOpened as error:
            return refused(error)


def _place(job: NewJob) -> str:
    """What its body is bound to."""
    return _named(job.key) if job.key is not None and job.terms is not None and job.terms.replaces else job.id


def _named(key: str) -> str:
    return f"key {key}"
