"""`Ward`: a runner process, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import os
import time
from math import inf
from pathlib import Path

import msgspec

from windlass.core.job import Card
from windlass.core.outcome import ErrorInfo
from windlass.worker.evidence import resident
from windlass.worker.link import Limited, Process, Tick, kill_group
from windlass.worker.past import Past

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Ward(Process):
    """A runner in our care.

    ids: under which it works, and for which we beat. tick: what it said last, and when. limited: its runs with a time limit.
    breathed: when its interpreter was free last, though its loop stood still. at_work: whether it came to work, once that is known.
    leaving: it claims no more. heir: its successor is on the way. content: no other is wanted in its place before this time.
    due: when it is killed if it is still there. frozen: since when somebody has stopped it. stuck: that it stands still, and where.
    culprits: the jobs for which it was killed. blameless: no job is to blame for its end.
    """

    def __init__(self) -> None:
        super().__init__("windlass.worker.process")
        self.born = self.ticked = self.breathed = time.monotonic()
        self.ids: set[str] = set()
        self.tick: Tick | None = None
        self.limited: dict[str, Limited] = {}
        self.at_work: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.leaving = self.heir = self.blameless = self.looked_at = False
        self.content, self.due = 0.0, inf
        self.frozen: float | None = None
        self.stuck: ErrorInfo | None = None
        self.culprits: list[Limited] = []
        self.refusal = ""
        self._past = Past()

    @property
    def done(self) -> bool:
        """Whether it has stored everything, and only has to leave."""
        return self.tick is not None and self.tick.card.state == "stopped"

    def hear(self, tick: Tick) -> None:
        """It works, and its loop turns."""
        self.tick, self.ticked = tick, time.monotonic()
        known, self.limited = self.limited, {}
        for job, thread in tick.limited:
            if (one := known.get(job)) is not None:  # else it is told of next
                one.thread = thread
                self.limited[job] = one
        if not self.at_work.done():
            self.at_work.set_result(True)

    def excuse(self, now: float) -> None:
        """Its silence so far means nothing: we did not listen."""
        self.ticked = self.breathed = now
        self.frozen = None

    def card(self) -> Card:
        """What is to be said of it in the store."""
        card = self.tick.card if self.tick else Card(host="", pid=self.group, started_at=time.time())
        if self.stuck is not None:
            card = msgspec.structs.replace(card, state="stuck", last_words=self.stuck)
        return msgspec.structs.replace(card, blameless=self.blameless)

    def told(self) -> Card:
        """Its card for a beat: with its memory, and its past."""
        return self._past.told(self.card(), resident(self.group), time.monotonic())

    async def stacks(self) -> str:
        """Its stacks now, for somebody who wishes to see them: they explain nothing that becomes of it later."""
        if self.stopped():
            return "it is stopped (SIGSTOP)"
        stacks = await self.dump()
        if self.stuck is None and not self.gone.done():
            self.forget()
        return stacks

    def put_down(self, why: str) -> None:
        """Kill it, though none of its jobs did anything wrong."""
        if not self.gone.done():
            self.blameless = True
            self.condemn(ErrorInfo("crash", "RunnerKilled", f"killed {why}"))

    def kill_children(self) -> None:
        """Kill the processes of its jobs: each has a group of its own."""
        for group in self.tick.groups if self.tick else ():
            kill_group(group)

    def memory(self) -> int:
        """Resident bytes of the process itself; 0 where there is no /proc, or when it is gone."""
        try:
            return int(Path(f"/proc/{self.group}/statm").read_text().split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0

    def stopped(self) -> bool:
        """Whether somebody has stopped it, as SIGSTOP and debuggers do."""
        try:
            return Path(f"/proc/{self.group}/stat").read_text().rpartition(") ")[2][:1] in ("T", "t")
        except OSError:
            return False

    def spent(self) -> dict[int, float]:
        """The CPU time of each of its threads so far, in seconds; 0: the main one. Empty where the kernel does not tell."""
        spent = dict[int, float]()
        for file in Path(f"/proc/{self.group}/task").glob("*/schedstat"):
            try:
                thread = int(file.parent.name)
                spent[0 if thread == self.group else thread] = int(file.read_text().split()[0]) / 1e9
            except OSError:
                continue  # it has just ended
        return spent
