"""A scenario of the catalogue, and how it is played: set the stage, do harm, let everything end, judge the history."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import processes
from history import Outcome
from stage import PATIENCE, Stage, until

from windlass.core.state import State

Play = Callable[[Stage], Awaitable[None]]
SQLITE, REDIS = "sqlite", "redis"
BOTH = (SQLITE, REDIS)


@dataclass(frozen=True)
class Scenario:
    """One fault of the catalogue.

    number: as in the catalogue ("A2"). fault, promise: what happens and what must hold nevertheless, for the documentation.
    stores: where it makes sense. quick: part of `make test`. proxied: workers talk to the store through a line that can fail.
    """

    number: str
    fault: str
    promise: str
    play: Play
    stores: Sequence[str] = BOTH
    quick: bool = True
    proxied: bool = False


CATALOGUE: dict[str, Scenario] = {}


def scenario(
    number: str, fault: str, promise: str, *, stores: Sequence[str] = BOTH, quick: bool = True, proxied: bool = False
) -> Callable[[Play], Play]:
    """Enter the decorated play into the catalogue. It sets workers and faults going; the end and the judgement are the same for all."""

    def enter(play: Play) -> Play:
        assert number not in CATALOGUE, number
        on = (REDIS,) if proxied else stores
        CATALOGUE[number] = Scenario(number, fault, promise, play, on, quick, proxied)
        return play

    return enter


class Skipped(Exception):
    """This machine cannot do that to anybody; says why."""


async def play(
    one: Scenario, store: str, *, scale: int = 1, mutant: str = "", seed: int | None = None, patience: float = PATIENCE
) -> Outcome:
    """Play a scenario on a store. One in which no fault happened, or no job came through, proves nothing: that is a violation itself.

    seed: of all that is left to chance. patience: seconds for whatever should happen by itself.
    """
    began = time.monotonic()
    seed = random.randrange(1 << 32) if seed is None else seed
    print(f"{one.number} on {store}, seed {seed}")
    processes.patience.set(patience)
    with tempfile.TemporaryDirectory(prefix="windlass-chaos-") as folder:
        made = Stage(store, Path(folder), scale=scale, proxied=one.proxied, mutant=mutant, seed=seed)
        async with made as stage:
            violations = list[str]()
            try:
                await one.play(stage)
                await stage.finish()
            except Skipped as why:
                return Outcome(one.number, store, 0, 0, 0, [], [], 0.0, skipped=str(why))
            except (AssertionError, TimeoutError) as error:
                violations.append(f"the play broke off at {_where(error)}: {error!r}")
                await stage.finish(within=5.0)
            violations += await _judged(stage)
            if violations:
                print(stage.log[-5000:])
                if keep := os.environ.get("CHAOS_KEEP"):
                    kept = Path(keep) / f"{one.number}-{store}-{seed}"
                    shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("*-wake"))  # pipes
    took, history = time.monotonic() - began, stage.history
    return Outcome(
        one.number, store, len(history.faults), len(history.told), history.doubled, history.recoveries(), violations, took,
        stage.notes,
    )  # fmt: skip


async def _judged(stage: Stage) -> list[str]:
    """All that was not as it should be."""
    history, found = stage.history, stage.history.violations()
    if not history.faults:
        found.append("no fault happened")
    if not any(job and job.state is State.SUCCEEDED for job in history.jobs.values()):
        found.append("no job came through")
    found += [f"worker {pid} did not leave when it was asked to" for pid in stage.stayed]
    found += [f"process {pid} outlived its worker" for pid in await _left_over(stage)]
    if "Traceback" in stage.log:
        found.append(f"a worker said: {_excerpt(stage.log)}")
    return found


def _where(error: BaseException) -> str:
    """The last line of the play itself that led to an error."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if "scenarios_" in one.filename]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno} ({frames[-1].line})" if frames else "its end"


async def _left_over(stage: Stage) -> set[int]:
    """What is left of the workers, after a moment in which the kernel may end it."""
    try:
        await until(lambda: not stage.left_over(), 5.0)
    except TimeoutError:
        pass
    return stage.left_over()


def _excerpt(log: str) -> str:
    return log[log.index("Traceback") :][:2000]
