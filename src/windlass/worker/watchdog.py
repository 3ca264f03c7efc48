"""What is to be done about a runner whose event loop stands still: who is to blame, and who is only to be pitied. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from windlass.core.outcome import ErrorInfo, Failed, Retried
from windlass.worker.link import Limited
from windlass.worker.run import in_stacks

SILENCE = 2.0
"""Seconds without a tick after which a loop counts as standing still. By itself that is no crime: a job may block it and still finish."""

LEAST, SHARE = 0.01, 0.25
"""Seconds of CPU time that all threads used together, and the part of it that makes one of them busy."""


def over(limited: Iterable[Limited], now: float, kill_after: float) -> list[Limited]:
    """The runs that are over their limit for so long that only force is left. now: by the clock of their deadlines."""
    return [one for one in limited if now >= one.deadline + kill_after]


def busy(before: Mapping[int, float], after: Mapping[int, float]) -> set[int]:
    """The threads that used a good share of the CPU time (seconds) between two looks. Who waits for the interpreter uses next to none."""
    used = {thread: spent - before.get(thread, 0.0) for thread, spent in after.items()}
    total = sum(used.values())
    return {thread for thread, spent in used.items() if total >= LEAST and spent >= SHARE * total}


def in_the_way(limited: Iterable[Limited], stacks: str, busy: Collection[int] | None) -> list[Limited]:
    """The runs that keep the others from going on.

    stacks: of all threads of the runner, the main one first. busy: the threads that use the CPU while something holds the interpreter
    (0: the main one); None when nothing does. A job that waits is on no stack.
    """
    main = stacks.partition("\n\n")[0]

    def blocks(one: Limited) -> bool:
        if busy is not None and one.thread:
            return one.thread in busy
        return (busy is None or 0 in busy) and in_stacks(one.claim.id) in main

    return [one for one in limited if blocks(one)]


def culprits(over: Collection[Limited], in_the_way: Collection[Limited]) -> list[Limited] | None:
    """The runs to be ended, and their runner with them; none: it may live on. None: it has to go, and nobody knows who did it.

    Who is in the way has the time that its own limit gives it, though others be over theirs.
    """
    if over and not in_the_way:
        return None
    return [one for one in in_the_way if one in over]


def timed_out(culprit: Limited, stacks: str) -> Retried | Failed:
    """What becomes of a job that was ended with its runner."""
    threads = stacks.split("\n\n")
    own = next((one for one in threads if in_stacks(culprit.claim.id) in one), stacks)
    error = culprit.outcome.error
    message = f"{error.message}; it held up all other jobs of its runner (the GIL, or the event loop), which was killed"
    error = msgspec.structs.replace(error, message=message, traceback=own.strip())
    return msgspec.structs.replace(culprit.outcome, error=error)


def sentence(blamed: Collection[Limited], now: float, stacks: str) -> ErrorInfo:
    """Why a runner is killed that stands still while these runs are over their limit."""
    first = min(blamed, key=lambda one: one.deadline)
    message = (
        f"killed, for it stood still (something held the GIL, or the event loop)"
        f" while job {first.claim.id} was over its time limit by {now - first.deadline:.1f} s"
    )
    return ErrorInfo("crash", "InterpreterHeld", message, stacks)
