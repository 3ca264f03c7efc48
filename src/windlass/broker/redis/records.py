"""What is stored, as msgpack arrays: jobs as they came, where they stand, their entries. And ids, which are 16 bytes in Redis.

`scripts/lib.lua` cuts and joins these arrays without decoding them, so the width of the first fields is fixed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from struct import pack
from typing import Any

import msgspec

from windlass.broker import damaged
from windlass.broker.damaged import decoder
from windlass.core import letters
from windlass.core.job import Card, Claim, Entry, Job, JobId, NewJob, Progress, QueueInfo, Reading, Wish, Worker
from windlass.core.outcome import (
    Cancelled,
    ErrorInfo,
    Failed,
    Outcome,
    Parked,
    Released,
    Retried,
    Snoozed,
    Succeeded,
    Suspended,
    quarantined,
)
from windlass.core.state import State
from windlass.core.terms import Terms
from windlass.errors import PayloadTooLarge, StoreCorrupt

STATES = list(State)
"""A state is stored as its place here; `lib.lua` knows the same numbers."""
NUMBERS = {state: number for number, state in enumerate(STATES)}
_RUNNING = bytes([NUMBERS[State.RUNNING], 0xCF])
_PLAIN_LINE = "default\0loop"
NOBODY = bytes(16)
"""The id of no job."""
LARGEST = 15 << 20
"""Bytes of a body or of a result: Redis hangs up on a listener that it owes 32 MB, and a job is told with both."""


class Made(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A job as it came. line: "queue\\0lane", None for the most usual one. expires: seconds from `created`."""

    created: float
    keep: float
    keep_failed: float
    crash_limit: int
    priority: int
    line: str | None
    task: str
    key: str | None
    expires: float | None
    body: bytes


class Stand(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a job stands. timeless: its expiry was taken back. error: JSON; digits before it: so many crashes were too many."""

    state: int
    token: int
    keep: float
    keep_failed: float
    run_at: float
    attempt: int
    crashes: int
    releases: int
    started_at: float | None
    worker: str | None
    timeless: bool
    finished_at: float | None = None
    result: bytes | None = None
    error: str | None = None
    reason: str | None = None


class Line(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entry of a journal, but for its number, which the store puts before it."""

    kind: str
    data: bytes
    at: float
    attempt: int


_encode = msgspec.msgpack.encode
_made = msgspec.msgpack.Decoder(Made).decode
_stand = msgspec.msgpack.Decoder(Stand).decode
_line = msgspec.msgpack.Decoder(Line).decode
_terms = msgspec.msgpack.Decoder(Terms).decode


def short(job: JobId) -> bytes:
    """The 16 bytes of an id. What is no id, because it is no UUID in its 36 characters, gets 16 bytes that belong to no job."""
    digits = job.replace("-", "")
    try:
        found = bytes.fromhex(digits)
    except ValueError:
        return NOBODY
    whole = len(job) == 36 and len(found) == 16 and job[8] == job[13] == job[18] == job[23] == "-"
    return found if whole and found.hex() == digits else NOBODY


def full(stored: bytes) -> JobId:
    """The id of these 16 bytes."""
    h = stored.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def made(new: NewJob) -> bytes:
    """A job to be stored, but for the time at which it came, which the store puts before it."""
    options = _options(new.keep, new.keep_failed, new.crash_limit, new.priority, line_of(new.queue, new.lane), new.task)
    if new.key is None and new.expires is None:
        return b"%b\xc0\xc0%b" % (options, binary(new.body))
    return b"%b%b%b%b" % (options, _encode(new.key), _encode(new.expires), binary(new.body))


@lru_cache(1024)
def _options(keep: float, keep_failed: float, crash_limit: int, priority: int, line: str, task: str) -> bytes:
    """What all jobs of a task have in common. Times to keep are in single precision: a second in half a year."""
    first = pack(">BfBf", 0xCA, keep, 0xCA, keep_failed)
    rest = (crash_limit, priority, None if line == _PLAIN_LINE else line, task)
    return first + b"".join(map(_encode, rest))


def binary(data: bytes) -> bytes:
    """msgpack's bytes."""
    size = len(data)
    if size < 256:
        return b"\xc4%c%b" % (size, data)
    if size < 65536:
        return pack(">BH", 0xC5, size) + data
    if size > LARGEST:
        raise PayloadTooLarge(f"{size:,} bytes are more than Redis can hand over at once; {LARGEST:,} is the limit")
    return pack(">BI", 0xC6, size) + data


@lru_cache(1024)
def line_of(queue: str, lane: str) -> str:
    """The name of the line in which a ready job stands."""
    return f"{queue}\0{lane}"


def fence(claim: Claim) -> bytes:
    """The part of a stand that is this claim's as long as it lives."""
    return _RUNNING + claim.token.to_bytes(8, "big")


def claims(reply: Sequence[bytes]) -> tuple[list[Claim], list[Claim]]:
    """The answer of `claim.lua`: the claims, and those of jobs that cannot be read, with which these can be settled."""
    found, unreadable = list[Claim](), list[Claim]()
    if reply:
        now, token = float(reply[0]), int(reply[1])
        for number, (job, made, former) in enumerate(batched(reply[2:], 3)):
            try:
                found.append(_claim(job, token + number, made, former, now))
            except StoreCorrupt:
                unreadable.append(Claim(full(job), token + number, "", "", "", made, 1, 0, 0, now, now))
    return found, unreadable


@decoder
def _claim(stored: bytes, token: int, made: bytes, former: bytes | None, now: float) -> Claim:
    job, (attempt, crashes, resumed) = _made(made), (1, 0, False)
    due_at = job.created
    if former is not None:
        stand = _stand(former)
        attempt, crashes, resumed = stand.attempt + 1, stand.crashes, stand.started_at is not None
        due_at = stand.run_at
    queue, lane = _split(job.line)
    spent = (attempt, crashes, job.crash_limit, job.created, now, resumed, due_at, job.key)
    return Claim(full(stored), token, job.task, queue, lane, job.body, *spent)


@lru_cache(1024)
def _split(line: str | None) -> tuple[str, str]:
    queue, _, lane = (line or _PLAIN_LINE).rpartition("\0")
    return queue, lane


def seen(stored: JobId, made: bytes, *rest: Any) -> Job:
    """A job as it is seen from outside, readable or not."""
    try:
        return job(stored, made, *rest)
    except StoreCorrupt:
        return damaged.unreadable(stored, made)


@decoder
def job(
    stored: JobId,
    made: bytes,
    where: bytes | None,
    progress: bytes | None,
    cancelling: int = 0,
    terms: bytes | None = None,
    mail: bytes | None = None,
) -> Job:
    """The same, of what `seen` (lib.lua) says; raises `StoreCorrupt`."""
    came, asked = _made(made), None if terms is None else _terms(terms)
    known, _, awaited = (mail or b"0").partition(b" ")
    queue, lane = _split(came.line)
    never_moved = Stand(NUMBERS[State.READY], 0, 0, 0, came.created, 0, 0, 0, None, None, False)
    stand = never_moved if where is None else _stand(where)
    return Job(
        id=stored,
        task=came.task,
        queue=queue,
        lane=lane,
        state=STATES[stand.state],
        priority=came.priority,
        attempt=stand.attempt,
        crashes=stand.crashes,
        created_at=date(came.created),
        run_at=date(stand.run_at),
        started_at=None if stand.started_at is None else date(stand.started_at),
        finished_at=None if stand.finished_at is None else date(stand.finished_at),
        expires_at=None if came.expires is None or stand.timeless else date(came.created + came.expires),
        key=came.key,
        worker=stand.worker,
        cancelling=bool(cancelling),
        reason=stand.reason,
        error=None if stand.error is None else _error(stand.error),
        progress=_progress(progress),
        body=came.body,
        result=stand.result,
        terms=asked,
        letters=int(known),
        awaited=int(awaited or (asked.letters if asked else 0)),
    )


@decoder
def told(stored: JobId, said: bytes) -> Reading:
    """What `tell` (lib.lua) says of a job that has come to its end, and never wrote into its journal."""
    size = int.from_bytes(said[:4], "big")
    ended = job(stored, said[4 : 4 + size], said[4 + size :], None)
    return Reading(ended.state, ended.attempt, [], ended)


def ended(outcome: Outcome) -> tuple[Any, ...]:
    """An outcome other than a usual success as `settle.lua` takes it: kind, text, delay, crash (and the queue to move to behind it)."""
    match outcome:
        case Succeeded(result):
            message = f"a result of {len(result):,} bytes is too large for Redis; {LARGEST:,} is the limit"
            return b"F", msgspec.json.encode(ErrorInfo("result", "PayloadTooLarge", message)), 0, 0
        case Failed(error, crash):
            return b"F", msgspec.json.encode(error), 0, int(crash)
        case Retried(delay, error, crash, queue):
            return b"R", msgspec.json.encode(error), delay, f"{crash:d}{queue or ''}"
        case Cancelled(reason):
            return b"C", reason, 0, 0
        case Snoozed(delay):
            return b"Z", b"", delay, 0
        case Suspended(awaited, delay):
            return b"W", awaited, -1 if delay is None else delay, 0
        case Released():
            return b"L", b"", 0, 0
        case Parked(reason):
            return b"P", reason, 0, 0
        case _:
            raise AssertionError(outcome)


def _progress(line: bytes | None) -> Progress | None:
    try:
        return None if line is None else damaged.progress(entry(line).data)
    except StoreCorrupt:
        return None


def _error(text: str) -> ErrorInfo:
    crashes, brace, rest = text.partition("{")
    error = msgspec.json.decode(brace + rest, type=ErrorInfo)
    return quarantined(error, int(crashes)) if crashes else error


def line(given: Entry) -> bytes:
    """An entry to be stored."""
    return _encode(Line(given.kind, given.data, given.at, given.attempt))


@decoder
def entry(stored: bytes) -> Entry:
    """An entry that was stored. Raises `StoreCorrupt`."""
    number, _, rest = stored.partition(b":")
    found = _line(rest)
    return Entry(
        found.kind, _letter(found.data) if found.kind == "letter" else found.data, found.at, found.attempt, int(number)
    )


def _letter(data: bytes) -> bytes:
    """A letter, its error as it stands with the job: the stored one may begin with digits."""
    letter = letters.read(data)
    if letter.said != "failed" or letter.data.startswith(b"{"):
        return data
    return letters.write(msgspec.structs.replace(letter, data=msgspec.json.encode(_error(letter.data.decode()))))


@decoder
def reading(job_id: JobId, reply: Sequence[Any]) -> tuple[Reading, bytes | None]:
    """The answer of `read.lua`, and the number after which to go on when it does not hold all entries."""
    number, attempt, last, lines, *rest = reply
    end = job(job_id, *rest) if len(rest) == 6 else None
    return Reading(STATES[number], attempt, list(map(entry, lines)), end, last), rest[0] if len(rest) == 1 else None


@decoder
def worker(name: bytes, card: bytes, until: bytes, held: int, wished: bytes) -> Worker:
    """A worker that lives. Raises `StoreCorrupt`."""
    return Worker(name.decode(), msgspec.json.decode(card, type=Card), date(float(until)), held, wish(wished))


def wish(stored: bytes) -> Wish:
    """What is wished of a worker; nothing, when it cannot be read."""
    state, _, stacks = stored.partition(b" ")
    try:
        return Wish(state.decode(), float(stacks))
    except ValueError:
        return Wish()


@decoder
def counts(counted: Sequence[bytes], paused: Sequence[bytes], ready: Sequence[bytes]) -> list[QueueInfo]:
    """The answer of `tally.lua`. Raises `StoreCorrupt`."""
    oldest = dict[str, float]()
    for line, due in batched(ready, 2):
        queue = line.decode().rpartition("\0")[0]
        oldest[queue] = min(float(due), oldest.get(queue, inf))
    queues = {name: QueueInfo(name, {}, True, oldest.get(name)) for name in map(bytes.decode, paused)}
    for field, number in batched(counted, 2):
        queue, _, state = field.decode().rsplit("\0", 2)
        info = queues.setdefault(queue, QueueInfo(queue, {}, False, oldest.get(queue)))
        info.counts[STATES[int(state)]] = info.counts.get(STATES[int(state)], 0) + int(number)
    return [queues[name] for name in sorted(queues)]


def batched(values: Sequence[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """`size` at a time, of a flat answer."""
    return zip(*[iter(values)] * size, strict=True)


def date(moment: float) -> datetime:
    """A Unix time, aware."""
    return datetime.fromtimestamp(moment, UTC)
