"""SIGTERM and SIGINT: the first asks for a drain, the second to hand everything back at once, the third to be gone.

SIGHUP starts the runners of a supervisor anew, with the code as it is then. From a terminal that is closed, it is one of the others.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def ignore() -> None:
    """Do nothing on any. Not SIG_IGN: that would be inherited by what a job starts, which then could not be terminated."""
    for number in (*SIGNALS, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: None)


@contextmanager
def catching(on_signal: Callable[[int], None], on_hangup: Callable[[], None] | None = None) -> Generator[None]:
    """Call `on_signal` in the running loop with 1, 2, 3, ... for each signal. Outside of the main thread, nothing.

    on_hangup: called on SIGHUP, which is left alone otherwise.
    """
    loop = asyncio.get_running_loop()
    count = 0

    def caught() -> None:
        nonlocal count
        count += 1
        on_signal(count)

    handlers: dict[signal.Signals, Callable[[], None]] = dict.fromkeys(SIGNALS, caught)
    if on_hangup is not None:
        handlers[signal.SIGHUP] = caught if sys.stdin is not None and sys.stdin.isatty() else on_hangup
    try:
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
    except (ValueError, RuntimeError):
        yield
        return
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
