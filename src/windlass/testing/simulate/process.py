"""A process of the simulated world, and whose code is running."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from windlass.testing.simulate.loop import Step


class Process:
    """A process: its callbacks run in order, while it lives and is not stopped. Whose a callback is, its context says.

    skew: by how many seconds its wall clock is wrong. number: its process id. room: the context of its code. children: they die with it.
    on_death: called with the exit status when it is dead. resumed: when it began, or went on after a stop. blocker: the job that makes
    it stand still. breathes: meanwhile, another thread of it can speak. hungry: it dies for want of memory. busy_at: when it took or
    gave back a job last; None while it takes none.
    ready: its callbacks whose turn has come. lost: those that will never run.
    """

    def __init__(self, name: str, skew: float = 0.0, number: int = 0) -> None:
        self.name, self.skew, self.number = name, skew, number
        self.alive, self.stopped, self.queued = True, False, False
        self.resumed = 0.0
        self.blocker, self.breathes, self.hungry = "", False, False
        self.busy_at: float | None = None
        self.ready: deque[Step] = deque()
        self.lost: list[Step] = []
        self.children: list[Process] = []
        self.on_death: Callable[[int], None] = lambda _status: None
        self.room = Context()
        self.room.run(here.set, self)

    def __repr__(self) -> str:
        return self.name

    @property
    def turns(self) -> bool:
        """Whether its code can run."""
        return self.alive and not self.stopped

    def family(self) -> list[Process]:
        """It, and all that it started."""
        return [self, *(one for child in self.children for one in child.family())]


here: ContextVar[Process] = ContextVar("process")
"""The process whose code is running."""
