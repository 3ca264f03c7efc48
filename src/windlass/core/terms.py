"""What a job asks for beside its turn in the line. A plain job has no terms, and costs nothing of what is told here."""

from __future__ import annotations

from math import inf
from typing import Literal

from msgspec import Struct

PAUSED = ""
"""The limit whose keys are the paused queues: nobody passes there for as long as they are."""


def gate_name(limit: str, key: str) -> str:
    """The name of a gate. Names sort by limit, then by key."""
    return f"{limit}\x1f{key}"


class Use(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a job takes of a limit while it runs, or when it starts.

    limit, key: the limit, and which one of its kind ("openai", "alice"). units: how much of it.
    running: units at most of jobs that run at once. rate: units a second, on average; burst: units at most that were saved up.
    ordered: the jobs of one key run one after the other, in the order in which they came, retries included.
    """

    limit: str
    key: str = ""
    units: float = 1.0
    running: float = inf
    rate: float = inf
    burst: float = 1.0
    ordered: bool = False

    @property
    def gate(self) -> str:
        """The name of its gate."""
        return gate_name(self.limit, self.key)


class Meter(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a run says of a limit at its end. used: units that it really took of the rate; None: as many as it had asked for.

    pause: for so many seconds nobody passes under the same key; who passed and has not started goes back to the gate.
    """

    limit: str
    used: float | None = None
    pause: float = 0.0


class Terms(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One field or group of fields for each thing that a job may ask for.

    root: the workflow it belongs to: the id of the job that stands for the whole. to: the jobs that are told of its end, by a letter.
    letters: it waits until so many have come. collects: letters of failures count as well; else the first one fails the job.

    group: whose job it is, for fair shares. weight: the share of that group. ageing: seconds of waiting that are worth one priority.

    unique: until when the key is taken: until the job has "finished", or until it has "started". unique_for: for so many seconds from its
    enqueueing, finished or not. replaces: what it finds under its key, and has not started yet, becomes this job instead; put off
    by that, it is due `latest` seconds after the first one came, at the latest.

    uses: limits that must admit it before it is ready.
    """

    root: str | None = None
    to: tuple[str, ...] = ()
    letters: int = 0
    collects: bool = False

    group: str | None = None
    weight: float = 1.0
    ageing: float = inf

    unique: Literal["finished", "started"] = "finished"
    unique_for: float = 0.0
    replaces: bool = False
    latest: float = inf

    uses: tuple[Use, ...] = ()

    @property
    def alone(self) -> bool:
        """Whether nobody waits for the job, and it waits for nobody."""
        return not (self.root or self.to or self.letters)
