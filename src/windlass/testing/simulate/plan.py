"""What happens in one simulation, drawn from its seed: the machines, the jobs and what each of their runs does, the faults.

Each seed has a few of the faults only (swarm testing): a world in which everything goes wrong at once hides what goes wrong
only when something else goes right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from random import Random

from windlass.core.job import JobId, NewJob
from windlass.core.payload import packer
from windlass.core.retry import Retry
from windlass.settings import Settings

FAULTS = {
    "lost requests": "a call does not reach the store",
    "lost answers": "a call happens, and its caller never hears of it",
    "late requests": "a call happens long after its caller gave up",
    "slow network": "every call takes long",
    "outages": "the store is away for a while",
    "partitions": "one machine cannot reach the store for a while",
    "careless producers": "an enqueue that failed is not repeated: nobody knows whether it happened",
    "power cuts": "a machine is gone at once",
    "crashes": "a runner dies",
    "strikes": "a process dies or is stopped as it talks to the store: before, meanwhile, just after",
    "freezes": "a machine stands still, for longer than its lease or not, and goes on",
    "stuck runners": "a runner stands still, and its supervisor does not",
    "stops": "SIGTERM, once or twice",
    "wrong clocks": "the machines do not agree on the time",
    "forgetful producers": "an enqueue is repeated, after an answer or without one",
    "cancels": "jobs are cancelled at any moment",
    "pauses": "a queue is paused for a while",
    "revivals": "failed and cancelled jobs are made ready again",
    "old programs": "a machine does not know all tasks",
    "poison": "jobs kill their process",
    "limits": "jobs run over their time limit",
    "deaf jobs": "jobs do not stop when told to",
    "blocking jobs": "jobs hold up the loop of their process, and all others in it",
    "hungry jobs": "jobs die for want of memory",
    "reloads": "SIGHUP: all runners are exchanged",
    "short lives": "runners are exchanged after a few jobs",
}
"""The faults, and what they mean."""

TASKS = ("play", "play_later", "play_apart")
QUEUES = ("default", "later", "apart")
"""Of these tasks; the last one has lane "process"."""
QUICK, LONG = (0.01, 1.5), (1.0, 2.0)
"""Seconds that a run takes; how often the lease a long one lasts."""


@dataclass(frozen=True, slots=True)
class Act:
    """What one run of a job does: so many `pieces` of work, each followed by a checkpoint and a line of log; then its `ending`.

    deaf: seconds for which it goes on once it was told to stop. delay: of a snooze or a retry, or how long it blocks.
    """

    ending: str
    seconds: float = 0.0
    pieces: int = 0
    deaf: float = 0.0
    delay: float = 0.0


@dataclass(slots=True)
class Errand:
    """One job: when it is enqueued, and how often again; what its runs do (the last act is repeated); when it is cancelled or revived."""

    at: float
    job: NewJob
    acts: tuple[Act, ...]
    attempts: int
    again: list[float] = field(default_factory=list)
    cancelled: list[float] = field(default_factory=list)
    revived: float | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """A machine: a supervisor with so many runners, or (0) a worker that is embedded in some application."""

    runners: int
    tasks: tuple[str, ...]
    skew: float


@dataclass(slots=True)
class Plan:
    """All that is drawn before the simulation begins. errands: those that are enqueued together. troubled: seconds with faults."""

    seed: int
    faults: frozenset[str]
    settings: Settings
    latency: float
    hosts: list[Host]
    errands: list[list[Errand]]
    troubled: float

    def lines(self) -> Iterator[str]:
        """The plan, for people to read."""
        yield f"seed {self.seed}: {', '.join(sorted(self.faults)) or 'no faults'}; latency {self.latency * 1000:g} ms"
        said = {name: value for name, value in asdict(self.settings).items() if value != getattr(Settings(), name)}
        yield ", ".join(f"{name} {value}" for name, value in said.items())
        for number, host in enumerate(self.hosts):
            kind = f"{host.runners} runners" if host.runners else "embedded"
            yield f"m{number}: {kind}, clock {host.skew:+.1f} s, {', '.join(host.tasks)}"
        for errand in (one for errands in self.errands for one in errands):
            job = errand.job
            yield f"{errand.at:9.4f}  {job_name(job.id)}: {job.task} in {job.queue}, key {job.key}, {errand.attempts or 'all'} attempts"
            yield from (f"{'':>13}{act}" for act in errand.acts)

    def has(self, fault: str) -> bool:
        """Whether this fault occurs."""
        assert fault in FAULTS, fault
        return fault in self.faults


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    die = Random(seed)
    share = die.choice((0.0, 0.15, 0.3, 0.5))
    faults = frozenset(fault for fault in FAULTS if die.random() < share)
    lease = die.choice((4.0, 7.0))
    settings = Settings(
        lease=lease,
        beat=lease / die.choice((2.5, 3, 5)),
        upkeep=die.choice((1.0, 2.0, 3.0)),
        shutdown_timeout=die.choice((0.5, 2.0, 6.0)),
        kill_after=die.choice((0.5, 2.0)),
        concurrency=die.choice((1, 2, 3, 4)),
        threads=0,
        processes=die.choice((0, 1, 1, 2)),
        runner_jobs=3 if "short lives" in faults else 0,
        retry=Retry(attempts=die.choice((1, 2, 3, 3, 4)), first=0.5, most=4.0),
    )
    every = TASKS if settings.processes else TASKS[:2]
    hosts = []
    for _ in range(die.choice((1, 2, 2, 3))):
        old = "old programs" in faults and die.random() < 0.5
        skew = die.uniform(-30, 30) if "wrong clocks" in faults else 0.0
        hosts.append(Host(die.choice((0, 1, 1, 2)), every[:-1] if old else every, skew))
    troubled = die.uniform(8, 20)
    latency = die.choice((0.05, 0.2)) if "slow network" in faults else 0.002
    errands = [_errand(die, number, faults, settings, every, troubled) for number in range(1, die.randint(4, 10))]
    together = [errands[:2], *([one] for one in errands[2:])] if die.random() < 0.3 else [[one] for one in errands]
    return Plan(seed, faults, settings, latency, hosts, together, troubled)


def _errand(
    die: Random, number: int, faults: frozenset[str], settings: Settings, tasks: tuple[str, ...], troubled: float
) -> Errand:
    attempts = die.choice((1, 2, 3)) if die.random() < 0.3 else 0
    retry = Retry(attempts=attempts, first=0.2, most=1.0) if attempts else None
    limited = die.random() < (0.5 if "limits" in faults else 0.3 if "blocking jobs" in faults else 0)
    timeout = settings.lease * die.uniform(0.2, 0.6) if limited else None
    task = die.choice(tasks)
    job = NewJob(
        id=job_id(number),
        task=task,
        body=packer(timeout=timeout, retry=retry)(b"{}"),
        queue=QUEUES[TASKS.index(task)] if die.random() < 0.8 else QUEUES[0],
        lane="process" if task == TASKS[-1] else "loop",
        priority=die.choice((0, 5, 5, 9)),
        delay=die.uniform(0.5, 6) if die.random() < 0.2 else 0.0,
        expires=die.uniform(0.5, 8) if die.random() < 0.1 else None,
        key=die.choice(("a", "b")) if die.random() < 0.2 else None,
        crash_limit=die.choice((1, 2, 3, 3, 3)),
    )
    errand = Errand(die.uniform(0, troubled * 0.7), job, _acts(die, faults, settings, timeout), attempts)
    if "forgetful producers" in faults and die.random() < 0.5:
        errand.again = [die.uniform(0, 5) for _ in range(die.randint(1, 3))]
    if "cancels" in faults and die.random() < 0.5:
        errand.cancelled = [errand.at + die.uniform(0, 6) for _ in range(die.randint(1, 2))]
    if "revivals" in faults and die.random() < 0.3:
        errand.revived = errand.at + die.uniform(1, 10)
    return errand


def _acts(die: Random, faults: frozenset[str], settings: Settings, timeout: float | None) -> tuple[Act, ...]:
    """What the runs of a job do. The last act, which is repeated, leads to an end of the job in a few runs at most."""
    acts = [_act(die, faults, settings, timeout) for _ in range(die.choice((0, 0, 0, 1, 1, 2)))]
    last = die.random()
    if "poison" in faults and last < 0.15:
        return (*acts, Act("die", die.uniform(0, 0.5)))
    if last < 0.25:
        return (*acts, Act(die.choice(("raise", "fail", "quit")), die.uniform(*QUICK)))
    return (*acts, Act("succeed", min(die.uniform(*QUICK), (timeout or 9.0) / 2), die.choice((0, 0, 0, 2))))


def _act(die: Random, faults: frozenset[str], settings: Settings, timeout: float | None) -> Act:
    endings = ["succeed", "raise", "raise", "snooze", "retry"]
    for fault, worst in (("poison", "die"), ("blocking jobs", "block"), ("hungry jobs", "eat")):
        endings += [worst, worst] if fault in faults else []
    ending = die.choice(endings)
    long = die.random() < 0.3
    seconds = settings.lease * die.uniform(*LONG) if long else die.uniform(*QUICK)
    if timeout is not None and die.random() < 0.6:
        seconds = timeout * 3
    deaf = 0.0
    if "deaf jobs" in faults and die.random() < 0.5:
        deaf = settings.kill_after * die.uniform(0.2, 3)
    delay = settings.lease * die.uniform(0.5, 3) if ending == "block" else die.uniform(0.1, 3)
    return Act(ending, seconds, die.choice((0, 0, 1, 4)), deaf, delay)


def job_id(number: int) -> JobId:
    """The id of the job of that number, one that a person can tell from another."""
    return f"00000000-0000-7000-8000-{number:012}"


def job_name(job: JobId) -> str:
    """How a trace calls a job."""
    return f"job {int(job[-12:])}"
