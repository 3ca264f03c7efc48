"""When a runner whose event loop stands still must be killed, and when it is only to be pitied. Pure."""

from __future__ import annotations

from windlass.core.outcome import ErrorInfo

SILENCE = 2.0
"""Seconds without a tick after which a loop counts as standing still."""


def stuck(silent: float) -> bool:
    """Whether the loop stands still. By itself that is a pity and no crime: a job may block it and still finish."""
    return silent > SILENCE


def sentence(silent: float, deadline: tuple[float, str] | None, now: float, kill_after: float) -> ErrorInfo | None:
    """Why the runner is to be killed; None when it may live on.

    deadline: the earliest one of its running jobs, by the same clock as `now`, and that job. A runner that turns ends such
    a job itself. One that does not will never do it: something in the job holds the interpreter's lock, or the loop.
    """
    if not stuck(silent) or deadline is None or now < deadline[0] + kill_after:
        return None
    over = now - deadline[0]
    message = f"job {deadline[1]} was over its time limit by {over:.1f} s and held the interpreter (the GIL, or the event loop)"
    return ErrorInfo("crash", "InterpreterHeld", f"its runner was killed: {message}", "", {"job": deadline[1]})
