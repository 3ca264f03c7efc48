"""The one thin sync facade: a background event loop in a daemon thread, which sync code hands coroutines to."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


class BackgroundLoop:
    """One event loop in one daemon thread per process, started when first needed, made anew after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run `work` in the background loop and wait for its result; callable from any thread, also one that runs a loop.

        An interruption of the waiting thread (Ctrl-C, the end of a job) cancels the work.
        """
        loop = self._running()
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("the sync API was called from its own background loop; await the async twin there")
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                loop = self._loop = asyncio.new_event_loop()
                self._pid = os.getpid()
                self._thread = threading.Thread(target=loop.run_forever, name="windlass-blocking", daemon=True)
                self._thread.start()
            return self._loop


background = BackgroundLoop()
"""The process's background loop, shared by all apps."""
