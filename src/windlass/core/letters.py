"""Letters: what a job tells others of its end, and what somebody outside tells a job. Each is an entry of kind "letter" in the journal of
the job that it is for; so the receiver's journal is all that a join or a flow needs to go on.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from windlass.core.outcome import Cancelled, ErrorInfo, Failed, Succeeded

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
    return ErrorInfo("reason", "PartFailed", f"it waited for the job {letter.name} ({letter.task}), which {_HAS[letter.said]}")


_HAS = {"failed": "failed", "cancelled": "was cancelled"}
