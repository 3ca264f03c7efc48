"""Letters: what a job tells others of its end, and what somebody outside tells a job. Each is an entry of kind "letter" in the journal of
the job that it is for; so the receiver's journal is all that a join or a flow needs to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec
from msgspec import Struct

from windlass.core.ids import derived
from windlass.core.job import Entry
from windlass.core.outcome import Cancelled, ErrorInfo, Failed, Succeeded
from windlass.core.payload import Fill
from windlass.core.state import State
from windlass.core.terms import Terms
from windlass.errors import JobCancelled, JobError, JobFailed, Undecodable

End = Succeeded | Failed | Cancelled
Said = Literal["succeeded", "failed", "cancelled", "event"]


class Letter(Struct, frozen=True, array_like=True, gc=False):
    """The data of a "letter" entry, as MessagePack.

    name: the id of the job that wrote it, or what the event is called. task: of that job.
    data: what it carries, as JSON: a result, an `ErrorInfo`, the reason of a cancel, what came with the event.
    """

    name: str
    said: Said
    task: str
    data: bytes


write = msgspec.msgpack.Encoder().encode
read = msgspec.msgpack.Decoder(Letter).decode
"""Raises `msgspec.MsgspecError` for what is no letter."""

UNWANTED = "nobody waits for it any more"
"""Why a part is cancelled whose receiver has ended without it."""
MISSED = (State.FAILED, State.CANCELLED)
"""Where parts stand that are revived with the job that waits for them."""
PARTS = 1_000_000
"""Parts of a job that are looked for at most."""
FAILED = ("failed", "cancelled")
"""What a letter says of a job that has no result."""


def of(job: str, task: str, ended: End) -> Letter:
    """The letter about the end of a job."""
    match ended:
        case Succeeded(result):
            return Letter(job, "succeeded", task, result)
        case Failed(error):
            return Letter(job, "failed", task, msgspec.json.encode(error))
        case Cancelled(reason):
            return Letter(job, "cancelled", task, msgspec.json.encode(reason))


def missed(letter: Letter) -> ErrorInfo:
    """The error of a job that cannot start any more, because of what this letter says."""
    return ErrorInfo(
        "reason", "PartFailed", f"it waited for the job {letter.name} ({letter.task}), which {_HAS[letter.said]}"
    )


def parts(job: str, terms: Terms | None, started: bool) -> list[str]:
    """The ids of the parts that a job waits for; none of one that was started. A part is there, and has only this job in its `to`."""
    return [] if terms is None or started else [derived(job, number) for number in range(min(terms.letters, PARTS))]


_HAS = {"failed": "failed", "cancelled": "was cancelled"}


def found(entries: Iterable[Entry]) -> dict[str, Letter]:
    """The letters in a journal, by their names. Raises `Undecodable`."""
    try:
        letters = [read(entry.data) for entry in entries if entry.kind == "letter"]
    except msgspec.MsgspecError as error:
        raise Undecodable(f"a letter to this job cannot be read: {error}") from None
    return {letter.name: letter for letter in letters}


def answer(letter: Letter, decode: Callable[[bytes], Any]) -> Any:
    """What a letter carries, decoded; a `JobError` when it tells of a failure."""
    if letter.said not in FAILED:
        return decode(letter.data)
    job = f"job {letter.name} ({letter.task})"
    try:
        if letter.said == "cancelled":
            return JobCancelled(letter.name, f"{job} was cancelled: {msgspec.json.decode(letter.data, type=str)}")
        error = msgspec.json.decode(letter.data, type=ErrorInfo)
    except msgspec.MsgspecError as trouble:
        raise Undecodable(f"the letter of the {job} cannot be read: {trouble}") from None
    return JobFailed(letter.name, f"{job} failed: {error.type}: {error.message}", error)


def filled(job: str, args: bytes, fill: Fill, came: dict[str, Letter]) -> bytes:
    """Arguments as JSON, with what the letters say for the parameter that is filled by them.

    Raises `JobError` for a part that has no result (unless failures are collected), `Undecodable` when a letter is missing.
    """
    parts = [came.get(derived(job, number)) for number in range(fill.parts or 1)] if fill.parts != 0 else []
    values = list[bytes]()
    for letter in parts:
        if letter is None:
            raise Undecodable("a letter that this job waited for is not there")
        value = answer(letter, lambda data: data)
        if isinstance(value, JobError):
            if not fill.collects:
                raise value
            value = msgspec.json.encode(value.told())
        values.append(value)
    whole = b"[%b]" % b",".join(values) if fill.parts is not None else values[0]
    name = msgspec.json.encode(fill.parameter)
    return b"{%b:%b}" % (name, whole) if args == b"{}" else b"{%b:%b,%b" % (name, whole, args[1:])
