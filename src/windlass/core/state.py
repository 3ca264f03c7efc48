"""The states of a job and the one table of moves between them. The diagram in the docs is drawn from this table."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a job stands."""

    SCHEDULED = "scheduled"  # its time has not come
    WAITING = "waiting"  # for letters (other jobs to finish, an event), or for its limits
    READY = "ready"  # any worker may take it
    RUNNING = "running"  # one worker holds it
    PARKED = "parked"  # no worker could make sense of it; kept until one can
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Whether nothing more happens to the job by itself."""
        return self in FINISHED


FINISHED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
LIVE = frozenset(State) - FINISHED


class Move(StrEnum):
    """What can happen to a job, by the broker verb that does it."""

    PROMOTE = "promote"  # its time came
    PASS = "passes its limits"
    HOLD = "its limits hold it back"
    CLAIM = "claim"
    SUCCEED = "settle: succeeded"
    RETRY = "settle: retried"
    SNOOZE = "settle: snoozed"
    SUSPEND = "settle: suspended"
    RELEASE = "settle: released"
    PARK = "settle: parked"
    FAIL = "settle: failed"
    ABANDON = "settle: cancelled"  # a run that ended because it was asked to
    RECLAIM = "reclaim"  # its worker died
    QUARANTINE = "reclaim: too many crashes"
    CANCEL = "cancel"
    UNWANTED = "its receiver ends"  # what waits for it, and for nobody else does
    EXPIRE = "promote: expired"
    REVIVE = "revive"
    REPLACE = "enqueue: replaced"  # by another one with its key
    LETTER = (
        "letter"  # the last one that it waited for, or one that tells of a failure, to a job that does not collect them
    )


_S = State
TRANSITIONS: dict[tuple[State, Move], frozenset[State]] = {
    (_S.SCHEDULED, Move.PROMOTE): frozenset({_S.READY, _S.WAITING}),
    (_S.SCHEDULED, Move.CANCEL): frozenset({_S.CANCELLED}),
    (_S.SCHEDULED, Move.UNWANTED): frozenset({_S.CANCELLED}),
    (_S.SCHEDULED, Move.EXPIRE): frozenset({_S.CANCELLED}),
    (_S.SCHEDULED, Move.REVIVE): frozenset({_S.READY, _S.WAITING}),
    (_S.SCHEDULED, Move.LETTER): frozenset({_S.READY, _S.WAITING}),
    (_S.WAITING, Move.PASS): frozenset({_S.READY}),
    (_S.WAITING, Move.LETTER): frozenset({_S.READY, _S.SCHEDULED, _S.FAILED}),
    (_S.WAITING, Move.CANCEL): frozenset({_S.CANCELLED}),
    (_S.WAITING, Move.UNWANTED): frozenset({_S.CANCELLED}),
    (_S.WAITING, Move.EXPIRE): frozenset({_S.CANCELLED}),
    (_S.READY, Move.CLAIM): frozenset({_S.RUNNING}),
    (_S.READY, Move.HOLD): frozenset({_S.WAITING}),
    (_S.READY, Move.CANCEL): frozenset({_S.CANCELLED}),
    (_S.READY, Move.UNWANTED): frozenset({_S.CANCELLED}),
    (_S.READY, Move.EXPIRE): frozenset({_S.CANCELLED}),
    (_S.RUNNING, Move.SUCCEED): frozenset({_S.SUCCEEDED}),
    (_S.RUNNING, Move.RETRY): frozenset({_S.READY, _S.SCHEDULED, _S.WAITING, _S.CANCELLED}),
    (_S.RUNNING, Move.SNOOZE): frozenset({_S.READY, _S.SCHEDULED, _S.WAITING, _S.CANCELLED}),
    (_S.RUNNING, Move.SUSPEND): frozenset({_S.WAITING, _S.SCHEDULED, _S.READY, _S.CANCELLED}),
    (_S.RUNNING, Move.RELEASE): frozenset({_S.READY, _S.WAITING, _S.CANCELLED}),
    (_S.RUNNING, Move.PARK): frozenset({_S.PARKED, _S.CANCELLED}),
    (_S.RUNNING, Move.FAIL): frozenset({_S.FAILED}),
    (_S.RUNNING, Move.ABANDON): frozenset({_S.CANCELLED}),
    (_S.RUNNING, Move.RECLAIM): frozenset({_S.READY, _S.WAITING, _S.CANCELLED}),
    (_S.RUNNING, Move.QUARANTINE): frozenset({_S.FAILED}),
    (_S.PARKED, Move.CANCEL): frozenset({_S.CANCELLED}),
    (_S.PARKED, Move.REVIVE): frozenset({_S.READY, _S.WAITING}),
    (_S.SCHEDULED, Move.REPLACE): frozenset({_S.SCHEDULED, _S.READY, _S.WAITING}),
    (_S.READY, Move.REPLACE): frozenset({_S.SCHEDULED, _S.READY, _S.WAITING}),
    (_S.WAITING, Move.REPLACE): frozenset({_S.SCHEDULED, _S.READY, _S.WAITING}),
    (_S.FAILED, Move.REVIVE): frozenset({_S.READY, _S.WAITING}),
    (_S.CANCELLED, Move.REVIVE): frozenset({_S.READY, _S.WAITING}),
}
"""Every legal move: (state, what happens) -> the states it may lead to. What is not here cannot happen."""

BORN = frozenset({State.SCHEDULED, State.WAITING, State.READY})
"""The states a job may be enqueued into."""


def mermaid() -> str:
    """The table as a Mermaid state diagram (used by the docs)."""
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {state}: enqueue" for state in sorted(BORN)]
    for (state, move), targets in TRANSITIONS.items():
        lines += [f"    {state} --> {target}: {move}".replace(": settle: ", ": ") for target in sorted(targets)]
    lines += [f"    {state} --> [*]: prune" for state in sorted(FINISHED)]
    return "\n".join(lines) + "\n"
