"""What is stored, as msgpack arrays: jobs as they came, where they stand, their entries. And ids, which are 16 bytes in Redis.

`scripts/lib.lua` cuts and joins these arrays without decoding them, so the width of the first fields is fixed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from struct import pack
from typing import Any

import msgspec

from windlass.core.job import Card, Claim, Entry, Job, JobId, NewJob, Progress, Reading, Worker
from windlass.core.outcome import ErrorInfo, quarantined
from windlass.core.state import State

STATES = list(State)
"""A state is stored as its place here; `lib.lua` knows the same numbers."""
NUMBERS = {state: number for number, state in enumerate(STATES)}
_RUNNING = bytes([NUMBERS[State.RUNNING], 0xCF])
_PLAIN_LINE = "default\0loop"
NOBODY = bytes(16)
"""The id of no job."""


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
    return (pack(">BH", 0xC5, size) if size < 65536 else pack(">BI", 0xC6, size)) + data


@lru_cache(1024)
def line_of(queue: str, lane: str) -> str:
    """The name of the line in which a ready job stands."""
    return f"{queue}\0{lane}"


def fence(claim: Claim) -> bytes:
    """The part of a stand that is this claim's as long as it lives."""
    return _RUNNING + claim.token.to_bytes(8, "big")


def claims(reply: Sequence[bytes]) -> list[Claim]:
    """The answer of `claim.lua`."""
    if not reply:
        return []
    now, token = float(reply[0]), int(reply[1])
    found = list[Claim]()
    for at in range(2, len(reply), 3):
        job, former = _made(reply[at + 1]), reply[at + 2]
        queue, lane = _split(job.line)
        attempt, crashes, resumed = 1, 0, False
        if former:
            stand = _stand(former)
            attempt, crashes, resumed = stand.attempt + 1, stand.crashes, stand.started_at is not None
        spent = (attempt, crashes, job.crash_limit, job.created, now, resumed)
        found.append(Claim(full(reply[at]), token, job.task, queue, lane, job.body, *spent))
        token += 1
    return found


@lru_cache(1024)
def _split(line: str | None) -> tuple[str, str]:
    queue, _, lane = (line or _PLAIN_LINE).partition("\0")
    return queue, lane


def job(stored: JobId, made: bytes, where: bytes | None, progress: bytes | None, cancelling: int = 0) -> Job:
    """A job as it is seen from outside."""
    came = _made(made)
    queue, lane = _split(came.line)
    stand = _stand(where) if where else Stand(NUMBERS[State.READY], 0, 0, 0, came.created, 0, 0, 0, None, None, False)
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
        progress=None if progress is None else msgspec.json.decode(entry(progress).data, type=Progress),
        body=came.body,
        result=stand.result,
    )


def told(stored: JobId, said: bytes) -> Reading:
    """What `tell` (lib.lua) says of a job that has come to its end, and never wrote into its journal."""
    size = int.from_bytes(said[:4], "big")
    ended = job(stored, said[4 : 4 + size], said[4 + size :], None)
    return Reading(ended.state, ended.attempt, [], ended)


def _error(text: str) -> ErrorInfo:
    crashes, brace, rest = text.partition("{")
    error = msgspec.json.decode(brace + rest, type=ErrorInfo)
    return quarantined(error, int(crashes)) if crashes else error


def line(given: Entry) -> bytes:
    """An entry to be stored."""
    return _encode(Line(given.kind, given.data, given.at, given.attempt))


def entry(stored: bytes) -> Entry:
    """An entry that was stored."""
    number, _, rest = stored.partition(b":")
    found = _line(rest)
    return Entry(found.kind, found.data, found.at, found.attempt, int(number))


def worker(name: bytes, card: bytes, until: bytes, held: int) -> Worker:
    """A worker that lives."""
    return Worker(name.decode(), msgspec.json.decode(card, type=Card), date(float(until)), held)


def batched(values: Sequence[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """`size` at a time, of a flat answer."""
    return zip(*[iter(values)] * size, strict=True)


def date(moment: float) -> datetime:
    """A Unix time, aware."""
    return datetime.fromtimestamp(moment, UTC)
