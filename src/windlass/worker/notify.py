"""`Notify`: tells the service manager that started this process how it is (sd_notify). Without $NOTIFY_SOCKET it does nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence

from windlass.core.job import Card
from windlass.events import Event, Events, WorkerChanged

PAUSE = 1.0
"""At most so many seconds between two looks."""

logger = logging.getLogger("windlass")


class Notify:
    """Says READY=1 once it can run jobs, RELOADING=1 and STOPPING=1 as it happens; STATUS= and WATCHDOG=1 while the event loop turns.

    readiness: why it cannot run jobs, "" when it can. cards: what each runner says of itself.
    """

    def __init__(self, events: Events, readiness: Callable[[], str], cards: Callable[[], Sequence[Card]]) -> None:
        # Taken out of the environment: what a job starts must not speak for this process.
        place, every, pid = (os.environ.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))
        self._place = f"\0{place[1:]}" if place.startswith("@") else place
        self._watched = every.isdecimal() and int(every) > 0 and pid in ("", str(os.getpid()))
        self._pause = min(PAUSE, int(every) / 2e6) if self._watched else PAUSE
        self._readiness = readiness
        self._cards = cards
        self._unready, self._reloading = True, False
        self._owed: list[str] = []
        self._status = ""
        self._warned = False
        if self._place:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            events.subscribe(self._on_change, WorkerChanged)

    async def run(self) -> None:
        """Tell, for ever."""
        while True:
            self._tell()
            await asyncio.sleep(self._pause)

    def stop(self) -> None:
        """Tell nothing more."""
        if self._place:
            self._place = ""
            self._socket.close()

    def _on_change(self, event: Event) -> None:
        match event:
            case WorkerChanged(what="reloading"):
                self._reloading = True
                self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            case WorkerChanged(what="ready") if self._reloading:
                self._reloading = False
                self._tell("READY=1")
            case WorkerChanged(what="stopping"):
                self._tell("STOPPING=1")
            case _:
                self._tell()

    def _tell(self, news: str = "") -> None:
        """The news, after what could not be told before, and how it is now."""
        if not self._place:
            return
        trouble, cards = self._readiness(), self._cards()
        if self._unready and not trouble:
            self._unready = False
            self._owed.append("READY=1")
        self._owed += [news] if news else []
        while self._owed and self._send(self._owed[0]):
            self._owed.pop(0)
        if self._owed:
            return  # one after the other
        running = sum(sum(card.busy.values()) for card in cards)
        status = f"STATUS={trouble or 'ready'}; runners: {len(cards)}, running jobs: {running}"
        if (status != self._status or self._watched) and self._send(status + "\nWATCHDOG=1" * self._watched):
            self._status = status

    def _send(self, message: str) -> bool:
        try:
            self._socket.sendto(message.encode(errors="replace"), self._place)
            return True
        except BlockingIOError:
            return False  # it is busy; there will be another look
        except OSError as error:
            if not self._warned:
                logger.warning("the service manager at $NOTIFY_SOCKET cannot be told how this worker is: %s", error)
            self._warned = True
            return False
