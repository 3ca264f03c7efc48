"""The scenarios: what each measures, its figures, how much work it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Figure:
    """One number of a scenario. `lower`: the smaller, the better; None: neither is better."""

    key: str
    title: str
    unit: str
    digits: int = 0
    lower: bool | None = False


@dataclass(frozen=True)
class Scenario:
    """One kind of measurement. The first figure is the one that tables are sorted by."""

    id: str
    title: str
    text: str
    figures: tuple[Figure, ...]
    measure: str
    """The function of `measure.py` or `crash.py` that does it."""
    full: Mapping[str, float]
    """Its options: seconds that a round is to take, jobs, ..."""
    quick: Mapping[str, float]
    """What a quick run changes in them."""
    processes: int = 1
    flags: tuple[str, ...] = ()
    durable: bool = False
    """On the server with an append-only file."""
    together: bool = False
    """All contenders at once, each on a server of its own: the time is spent waiting."""
    rounds: int | None = None
    """So many at most."""

    def options(self, quick: bool) -> dict[str, float]:
        """What a measurement is told."""
        return {**self.full, **(self.quick if quick else {})}


def amounts(**given: float) -> Mapping[str, float]:
    return MappingProxyType(given)


RATE = Figure("rate", "jobs/s", "jobs/s")
DRAIN = (
    RATE,
    Figure("worker_us", "worker CPU per job", "µs", lower=True),
    Figure("redis_us", "Redis CPU per job", "µs", 1, lower=True),
    Figure("commands", "Redis commands per job", "", 1, lower=True),
)
SIZED, SIZED_QUICK = amounts(seconds=3, warm=1000, least=300, most=200_000), amounts(seconds=1.5)
"""A drain is sized by the rate of its warm-up to last so many seconds, within bounds."""
CRASH = (
    Figure("finished", "all done after", "s", 1, lower=True),
    Figure("in_flight", "in flight", "jobs", lower=None),
    Figure("unfinished", "never done", "jobs", lower=True),
    Figure("first", "first runs again after", "s", 1, lower=True),
    Figure("last", "last runs again after", "s", 1, lower=True),
    Figure("doubled", "done twice", "jobs", lower=True),
)

SCENARIOS = (
    Scenario(
        "A",
        "Drain of no-ops, one worker process",
        "A backlog of jobs that do nothing, then a worker starts. Jobs a second from the first start to the last. Results are kept.",
        DRAIN,
        "drain",
        SIZED,
        SIZED_QUICK,
    ),
    Scenario(
        "A-aof",
        "The same on Redis with `appendonly everysec`",
        "What a Redis that survives its own crash costs.",
        DRAIN,
        "drain",
        SIZED,
        SIZED_QUICK,
        durable=True,
    ),
    Scenario(
        "A-off",
        "The same with results switched off where that is possible",
        "For those who need none. Windlass keeps them here, too.",
        DRAIN,
        "drain",
        SIZED,
        SIZED_QUICK,
        flags=("no-results",),
    ),
    Scenario(
        "B", "Drain of no-ops, two worker processes", "As A, with two.", DRAIN, "drain", SIZED, SIZED_QUICK, processes=2
    ),
    Scenario(
        "C",
        "An idle worker",
        "One job after another on a worker that has nothing else to do; before it, how the worker started and what it costs to wait.",
        (
            Figure("trip50", "round trip p50", "ms", 2, lower=True),
            Figure("trip99", "round trip p99", "ms", 2, lower=True),
            Figure("start50", "enqueue to start p50", "ms", 2, lower=True),
            Figure("start99", "enqueue to start p99", "ms", 2, lower=True),
            Figure("up", "process start to first job", "s", 2, lower=True),
            Figure("pss", "memory of the worker tree (PSS)", "MiB", lower=True),
            Figure("idle_commands", "Redis commands while idle", "per s", 1, lower=True),
            Figure("idle_cpu", "CPU while idle", "%", 1, lower=True),
        ),
        "idle",
        amounts(seconds=6, trips=500),
        amounts(seconds=3, trips=200),
    ),
    Scenario(
        "D",
        "Jobs that wait: 50 ms of `sleep`, 100 at once",
        "2,000 jobs/s are ideal; from the first start to the last end.",
        (
            Figure("share", "of the ideal", "%", 1),
            Figure("rate", "jobs/s", "jobs/s", lower=None),
            Figure("worker_us", "worker CPU per job", "µs", lower=True),
        ),
        "sleeps",
        amounts(seconds=4, warm=200, least=60, most=8000),
        amounts(seconds=2),
    ),
    Scenario(
        "E",
        "Jobs that compute: 50 ms of CPU on two processes",
        "Against two bare processes without any queue that do the same work just before and just after.",
        (Figure("share", "of two bare processes", "%", 1), Figure("rate", "jobs/s", "jobs/s", 1, lower=None)),
        "burns",
        amounts(jobs=120),
        amounts(jobs=60),
        processes=2,
    ),
    Scenario(
        "F",
        "Open loop: 500 jobs a second",
        "Jobs arrive by the clock, whether or not the last one is done; enqueue to start.",
        (
            Figure("start50", "p50", "ms", 2, lower=True),
            Figure("start99", "p99", "ms", 2, lower=True),
            Figure("start999", "p99.9", "ms", 2, lower=True),
            Figure("cpu", "worker CPU", "%", lower=True),
        ),
        "open_loop",
        amounts(rate=500, seconds=10),
        amounts(seconds=4),
    ),
    Scenario(
        "G",
        "A deep backlog",
        "The rate of the first 2,000 jobs of a fresh worker, with 3,000 waiting and with many; then its rate over seconds with many.",
        (
            Figure("deep", "steady, many waiting", "jobs/s"),
            Figure("shallow", "first 2,000 of 3,000", "jobs/s"),
            Figure("first", "first 2,000 of many", "jobs/s"),
            Figure("share", "many / 3,000", "%"),
            Figure("depth", "many", "jobs", lower=None),
        ),
        "backlog",
        amounts(depth=1_000_000, samples=5, seconds=2),
        amounts(depth=400_000, samples=3, seconds=0.8),
    ),
    Scenario(
        "H",
        "kill -9 of the whole worker, with the library's own defaults",
        "20 jobs of 1.5 s are in flight; the worker and all below it are killed; a new one starts at once. A no-op a second keeps coming.",
        CRASH,
        "kill_worker",
        amounts(jobs=20, patience=120),
        amounts(patience=30),
        together=True,
        rounds=1,
    ),
    Scenario(
        "H-safe",
        "kill -9 of the whole worker, with each library's settings for it",
        "With what the library offers against it: late acknowledgement, short heartbeats, 5 to 10 s until a worker counts as dead.",
        CRASH,
        "kill_worker",
        amounts(jobs=20, patience=120),
        amounts(patience=30),
        flags=("reliable",),
        together=True,
    ),
    Scenario(
        "H-runner",
        "kill -9 of the process that runs the jobs only",
        "The rest of the worker lives on, and nobody starts anything. For libraries whose worker is more than one process.",
        CRASH,
        "kill_runner",
        amounts(jobs=20, patience=60),
        amounts(patience=30),
        flags=("reliable",),
        together=True,
    ),
    Scenario(
        "P",
        "Producing",
        "Enqueueing with nobody who works: awaited one by one, then in bulk by the best way there is; and what a waiting job costs.",
        (
            Figure("single", "one by one", "jobs/s"),
            Figure("bulk", "in bulk", "jobs/s"),
            Figure("bytes", "Redis memory per waiting job", "bytes", lower=True),
        ),
        "produce",
        amounts(seconds=1.5, jobs=20_000),
        amounts(seconds=0.7, jobs=10_000),
    ),
)
BY_ID = MappingProxyType({scenario.id: scenario for scenario in SCENARIOS})
