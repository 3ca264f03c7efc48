"""How a run ended, what becomes of the job, and the one pure function from the first to the second.

A lane tells the *ending* (`Succeeded`, `Raised`, `TimedOut`, ...); `decide` turns it into an *outcome*
(`Succeeded`, `Retried`, `Failed`, ...), which the broker's `settle` applies. All retry logic lives in `decide`.
"""

from __future__ import annotations

from typing import assert_never

from msgspec import Struct

from windlass.core.durations import seconds
from windlass.core.retry import Retry
from windlass.errors import ErrorInfo as ErrorInfo

ERROR_TEXT_LIMIT = 20_000
"""Characters of a traceback, and of a message, that are kept: the head and the tail."""


def bounded(text: str, limit: int = ERROR_TEXT_LIMIT) -> str:
    """`text`, its middle cut out when it is longer than `limit`, and safe to encode as UTF-8."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode()


# --- endings: what a lane saw -------------------------------------------------------------------------------


class Succeeded(Struct, frozen=True, tag=True):
    """The function returned; `result` is JSON. This ending is its own outcome: there is nothing to decide."""

    result: bytes


class Raised(Struct, frozen=True, tag=True):
    """The function raised; `lineage` holds the class names of the error and its ancestors."""

    error: ErrorInfo
    lineage: tuple[str, ...]


class Said(Struct, frozen=True, tag=True):
    """The function raised a `JobSignal`: `signal` is "snooze", "retry", "fail" or "cancel"."""

    signal: str
    delay: float = 0.0
    reason: str = ""


class Rejected(Struct, frozen=True, tag=True):
    """Running it again would change nothing: its result cannot be stored, or a job that it waited for has failed."""

    error: ErrorInfo


class TimedOut(Struct, frozen=True, tag=True):
    """The run was over its time limit (seconds) and was ended."""

    limit: float
    error: ErrorInfo


class Died(Struct, frozen=True, tag=True):
    """The process that ran the job is gone: killed, crashed, over its memory limit, or it left by itself (or asked to, by `sys.exit`)."""

    error: ErrorInfo


class Interrupted(Struct, frozen=True, tag=True):
    """The run was ended because somebody asked: `why` is "cancel" (of this job), "shutdown" or "lost" (the lease)."""

    why: str


class Suspended(Struct, frozen=True, tag=True):
    """The job goes on once `letters` have come in all, or `delay` seconds from the store's now; the attempt is given back.

    This ending is its own outcome, too. delay: None for no limit.
    """

    letters: int
    delay: float | None = None


UNKNOWN_TASK = "no task "
"""How the reason of `Unknown` begins when the task itself is unknown."""


class Unknown(Struct, frozen=True, tag=True):
    """This worker does not know the task, or cannot decode its arguments."""

    reason: str


Ending = Succeeded | Raised | Said | Rejected | TimedOut | Died | Interrupted | Unknown | Suspended


# --- outcomes: what becomes of the job ----------------------------------------------------------------------


class Retried(Struct, frozen=True, tag=True):
    """This attempt failed; the next may start `delay` seconds from the store's now.

    `crash` says that a crash is counted and the attempt given back. queue: the job moves there; None: it stays in its queue.
    """

    delay: float
    error: ErrorInfo
    crash: bool = False
    queue: str | None = None


class Failed(Struct, frozen=True, tag=True):
    """Failed for good. `crash` says that a crash is counted and the attempt given back."""

    error: ErrorInfo
    crash: bool = False


class Cancelled(Struct, frozen=True, tag=True):
    """Ended on request, of a person or of the task itself."""

    reason: str


class Snoozed(Struct, frozen=True, tag=True):
    """Runs again `delay` seconds from the store's now; the attempt is given back."""

    delay: float


class Released(Struct, frozen=True, tag=True):
    """Handed back unfinished by a worker that stops; the attempt is given back, `RELEASE_LIMIT` times at most."""


class Parked(Struct, frozen=True, tag=True):
    """Put aside until a worker that understands it starts; the attempt is given back."""

    reason: str


Outcome = Succeeded | Retried | Failed | Cancelled | Snoozed | Suspended | Released | Parked

RELEASE_LIMIT = 20
"""How often a job's attempt is given back by `Released`; after that a release spends it."""

CRASH_DELAY = 1.0
"""Seconds before a job whose process died is tried again: a poison job must not spin."""

_LIKE_A_TIMEOUT = ("builtins.TimeoutError", "builtins.OSError", "builtins.Exception")


def out_of_memory(ending: Ending) -> bool:
    """Whether a run ended for want of memory: over its limit, killed by the kernel for it, or with a `MemoryError`."""
    match ending:
        case Died(error):
            return error.type == "MemoryLimitExceeded" or "oom_kill" in error.evidence
        case Raised(lineage=lineage):
            return "builtins.MemoryError" in lineage
        case _:
            return False


def called(outcome: Outcome) -> str:
    """What the history calls an outcome: the name of its kind, or "crashed" when it is tried again after a crash."""
    return "crashed" if isinstance(outcome, Retried) and outcome.crash else type(outcome).__name__.lower()


def decide(
    *,
    attempt: int,
    crashes: int,
    crash_limit: int,
    ending: Ending,
    retry: Retry,
    chance: float,
    on_oom: str | None = None,
) -> Outcome | None:
    """What becomes of a job whose run number `attempt` ended with `ending`.

    crashes: how often a process died under this job before. chance: a random number in [0, 1) for the jitter.
    on_oom: the queue for the next run when this one ended for want of memory; None: as for any other end.
    Returns None when the lease was lost: the job is another worker's, and nothing may be written.
    Total: every ending of the closed union has an answer.
    """
    queue = on_oom if out_of_memory(ending) else None
    match ending:
        case Succeeded() | Suspended():
            return ending
        case Said():
            return _said(ending, attempt, retry)
        case Raised(error, lineage) if attempt < retry.attempts and retry.wants(lineage):
            return Retried(retry.delay(attempt, chance), error, queue=queue)
        case TimedOut(_, error) if attempt < retry.attempts and retry.wants(_LIKE_A_TIMEOUT):
            return Retried(retry.delay(attempt, chance), error)
        case Raised(error=error) | TimedOut(error=error) | Rejected(error=error):
            return Failed(error)
        case Died(error):
            if crashes + 1 >= crash_limit:
                return Failed(quarantined(error, crashes + 1), crash=True)
            return Retried(CRASH_DELAY, error, crash=True, queue=queue)
        case Interrupted("cancel"):
            return Cancelled("cancelled while running")
        case Interrupted("shutdown"):
            return Released()
        case Interrupted():
            return None
        case Unknown(reason):
            return Parked(reason)
        case _:
            assert_never(ending)


def _said(ending: Said, attempt: int, retry: Retry) -> Outcome:
    """The outcome that the task itself asked for."""
    if ending.signal == "snooze":
        return Snoozed(seconds(ending.delay))
    if ending.signal == "cancel":
        return Cancelled(ending.reason)
    error = ErrorInfo("reason", "RetryAfter" if ending.signal == "retry" else "Fail", ending.reason)
    if ending.signal == "retry" and attempt < retry.attempts:
        return Retried(seconds(ending.delay), error)
    return Failed(error)


def quarantined(error: ErrorInfo, crashes: int) -> ErrorInfo:
    """The last word on a job that took its process down too often, with the evidence of the last crash."""
    return ErrorInfo(
        kind="quarantined",
        type="Quarantined",
        message=f"quarantined: its process died {crashes} time{'s' if crashes != 1 else ''}; the last time: {error.message}",
        traceback=error.traceback,
        evidence=error.evidence,
    )


def orphaned(words: ErrorInfo, crashes: int, crash_limit: int, cancelling: bool, *, blameless: bool) -> Outcome:
    """What becomes of a job whose worker is dead. words: its last ones. blameless: it says that none of its jobs is to blame."""
    if blameless:
        return Released()
    if crashes + 1 >= crash_limit and not cancelling:
        return Failed(quarantined(words, crashes + 1), crash=True)
    return Retried(0.0, words, crash=True)


def lost(worker: str) -> ErrorInfo:
    """What is known of a worker that stopped beating and left no last words."""
    return ErrorInfo("crash", "WorkerLost", f"the worker {worker} stopped beating")
