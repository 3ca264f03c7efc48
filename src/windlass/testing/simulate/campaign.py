"""Many seeds, on all cores, and what came of them."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field

from windlass.testing.simulate.story import simulate_many

CHUNK = 40
"""Seeds that one process takes at a time."""
FEW = 1000
"""With fewer seeds than these, something rare may not have happened, and that means nothing."""

SOMETIMES = {
    "a stale outcome was refused": "the fence held",
    "a stale journal entry was refused": "and that of the journal",
    "settle happened without an answer": "so its repeat had to be harmless",
    "a journal entry was repeated": "and written once",
    "append happened after its caller gave up": "and put nothing older over what was newer",
    "claim happened without an answer": "so its jobs had to come back",
    "a claim came for the dead": "its worker died before it heard of it",
    "beat happened after its caller gave up": "it was late, not lost",
    "an enqueue was repeated": "and stored once",
    "nobody knows whether a job was accepted": "an enqueue failed, and was left at that",
    "a key was taken": "and admitted no second job",
    "a cancel beat an outcome": "it came first",
    "a cancel lost to an outcome": "it came last",
    "a job was cancelled before it ran": "",
    "a job was cancelled as its worker was gone": "",
    "a job was taken back": "from a dead worker",
    "a job was quarantined": "it, or its luck, killed its workers",
    "a death was nobody's fault": "no crash was counted",
    "a neighbour was innocent": "its runner was killed for another job",
    "a zombie was told that it is dead": "it beat after its jobs were taken",
    "a zombie began a run": "of a job that was another's by then",
    "a run went on from a checkpoint": "",
    "a job was revived": "",
    "a job expired": "",
    "a job moved to another queue": "for want of memory",
    "a runner was stuck": "a job held up its loop",
    "a runner was frozen": "by SIGSTOP",
    "a runner was abandoned": "frozen for longer than its lease",
    "a runner was replaced": "by its successor",
    "parked": "an outcome: nobody knew the task",
    "released": "an outcome: handed back at a stop",
    "snoozed": "an outcome",
    "retried": "an outcome",
}
"""What must happen at least once in a campaign: a simulation in which nothing goes wrong proves nothing."""


@dataclass(slots=True)
class Tally:
    """The sum of many simulations. hours: of the virtual clock. failures: of each seed that failed, the reason."""

    seeds: int = 0
    steps: int = 0
    hours: float = 0.0
    times: Counter[str] = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Count another's seeds too."""
        self.seeds += other.seeds
        self.steps += other.steps
        self.hours += other.hours
        self.times += other.times
        self.failures |= other.failures

    def never(self) -> list[str]:
        """What should have happened, and did not."""
        return [what for what in SOMETIMES if not self.times[what]] if self.seeds >= FEW else []


def run_some(seeds: Iterable[int], mutant: str | None = None) -> Tally:
    """Simulate these seeds, one after the other, up to the first that fails."""
    total = Tally()
    with closing(simulate_many(seeds, mutant)) as accounts:
        for account in accounts:
            total.add(Tally(1, account.steps, account.seconds / 3600, account.times))
            if account.failure is not None:
                total.failures[account.seed] = f"{type(account.failure).__name__}: {account.failure}"
                break
    return total


def run_many(first: int, count: int, mutant: str | None, processes: int, heard: Callable[[Tally], None]) -> Tally:
    """Simulate `count` seeds from `first` on, in as many processes, until one fails. `heard` is told the sum so far, now and then."""
    total = Tally()
    chunks = [range(at, min(at + CHUNK, first + count)) for at in range(first, first + count, CHUNK)]
    with ProcessPoolExecutor(processes) as pool:
        running = [pool.submit(run_some, chunk, mutant) for chunk in chunks]
        for done in as_completed(running):
            total.add(done.result())
            heard(total)
            if total.failures:
                pool.shutdown(cancel_futures=True)
                break
    return total


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def table(total: Tally, seconds: float) -> Iterator[str]:
    """What came of a campaign, a line each."""
    pace = f"in {seconds:.1f} s ({total.seeds / seconds:.0f} seeds/s)"
    yield f"{total.seeds:,} seeds, {total.steps:,} steps, {total.hours:,.1f} virtual hours {pace}"
    width = max(map(len, SOMETIMES))
    for what, why in SOMETIMES.items():
        yield f"  {what:<{width}} {total.times[what]:>9,}  {why}".rstrip()


def timed(run: Callable[[], Tally]) -> tuple[Tally, float]:
    """A campaign, and the seconds it took."""
    began = time.perf_counter()
    total = run()
    return total, time.perf_counter() - began
