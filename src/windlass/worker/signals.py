"""SIGTERM and SIGINT: the first asks for a drain, the second to hand everything back at once, the third to be gone."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def ignore() -> None:
    """Do nothing on either. Not SIG_IGN: that would be inherited by what a job starts, which then could not be terminated."""
    for number in SIGNALS:
        signal.signal(number, lambda _number, _frame: None)


@contextmanager
def catching(on_signal: Callable[[int], None]) -> Generator[None]:
    """Call `on_signal` in the running loop with 1, 2, 3, ... for each signal. Outside of the main thread, nothing."""
    loop = asyncio.get_running_loop()
    count = 0

    def caught() -> None:
        nonlocal count
        count += 1
        on_signal(count)

    try:
        for number in SIGNALS:
            loop.add_signal_handler(number, caught)
    except (ValueError, RuntimeError):
        yield
        return
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
