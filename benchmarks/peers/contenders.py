"""The table of contenders: which versions, and the settings at which each is at its best.

The settings come from a sweep over concurrencies (10, 100, 500 and what lies between for some), pools and brokers, made with the forerunner
of this suite. If you know better ones for a library, change its line here: that is what it is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

OURS, PROBE = "windlass", "probe"
COMMON = ("uvloop==0.23.0", "hiredis==3.5.0")
"""For everybody: a library that can use them, does."""


@dataclass(frozen=True)
class Setting:
    """Jobs at once in each worker process, and words for the adapter."""

    concurrency: int
    flags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([str(self.concurrency), *self.flags])


@dataclass(frozen=True)
class Contender:
    """One library under measurement."""

    name: str
    packages: tuple[str, ...]
    settings: Mapping[str, Setting]
    """By scenario; "" is for those that are not named."""
    python: tuple[int, int] = (3, 11)
    """The oldest Python it runs on."""
    results: bool = True
    """Whether it can keep results. Then it does, but in the scenario that is about doing without."""
    results_off: bool = True
    """Whether results can be switched off."""
    deep: bool = False
    """Whether it is fast enough for a million jobs in a reasonable time."""
    module: str = ""
    """Its adapter; by default the one of its name."""
    note: str = ""
    """What a reader of the figures must know."""
    skips: frozenset[str] = field(default_factory=frozenset)
    """Scenarios it takes no part in."""

    @property
    def requirements(self) -> tuple[str, ...]:
        """What pip is asked for; `{root}` is this repository."""
        return (*self.packages, *COMMON)

    @property
    def adapter(self) -> str:
        return self.module or f"peers.adapters.{self.name}"

    def setting(self, scenario: str) -> Setting:
        """What it runs with; for "H-safe" that of "H", unless it has one of its own."""
        family = scenario.partition("-")[0]
        return self.settings.get(scenario) or self.settings.get(family) or self.settings[""]


def settings(usual: Setting, **special: Setting) -> Mapping[str, Setting]:
    """A table of settings."""
    return MappingProxyType({"": usual, **special})


CONTENDERS = (
    Contender(
        OURS,
        ("--editable", "{root}[cli,fast,redis]"),
        settings(
            Setting(500), C=Setting(100), D=Setting(100), E=Setting(2, ("process-lane",)), F=Setting(100), H=Setting(32)
        ),
        deep=True,
        results_off=False,
        note="Leases, fencing and results are on in every row: they cannot be switched off.",
    ),
    Contender(
        "ardiq",
        ("ardiq==1.2.0",),
        settings(Setting(500), C=Setting(100), D=Setting(100), E=Setting(10), F=Setting(100), H=Setting(32)),
        python=(3, 12),
        deep=True,
        note="Its core is Rust; its worker uses more than one CPU.",
    ),
    Contender(
        "arq",
        ("arq==0.28.0",),
        settings(Setting(500), C=Setting(100), D=Setting(100), E=Setting(10), F=Setting(100), H=Setting(32)),
        note="Polls; here every 10 ms instead of every 500 ms, and every 2 ms for a result.",
    ),
    Contender(
        "celery",
        ("celery[redis]==5.7.0",),
        settings(Setting(1), D=Setting(100, ("threads",)), H=Setting(20)),
        note="Pool prefork; threads in D. By default a job is taken off the queue before it runs.",
    ),
    Contender(
        "docket",
        ("pydocket==0.27.0",),
        settings(Setting(100), E=Setting(10), H=Setting(32)),
        note="`minimum_check_interval` 5 ms instead of 250 ms.",
    ),
    Contender(
        "dramatiq",
        ("dramatiq[redis]==2.2.1",),
        settings(Setting(100), C=Setting(8), E=Setting(8), F=Setting(8), H=Setting(32)),
        note="Results are off by default; here they are on, but in A-off.",
    ),
    Contender(
        "huey",
        ("huey==3.5.4", "redis==8.1.0"),
        settings(Setting(32), C=Setting(8), D=Setting(100), E=Setting(2, ("processes",)), F=Setting(8), H=Setting(32)),
        note="A job is taken off the queue before it runs, and nothing takes it back.",
    ),
    Contender(
        "repid",
        ("repid[redis]==2.1.4", "typing-extensions==4.16.0"),
        settings(Setting(10), D=Setting(100), H=Setting(32)),
        results=False,
        results_off=False,
        deep=True,
        note="Keeps no results at all: compare it with A-off.",
    ),
    Contender(
        "rq",
        ("rq==2.12.0",),
        settings(Setting(1), H=Setting(1, ("fork",))),
        note="One job at a time in a process. SimpleWorker, which forks no process per job; the default Worker in H.",
    ),
    Contender(
        "saq",
        ("saq[redis]==0.26.4", "typing-extensions==4.16.0"),
        settings(Setting(500), C=Setting(100), D=Setting(100), E=Setting(10), F=Setting(100), H=Setting(32)),
        note="Waiting for a result polls; here every 2 ms instead of every 500 ms.",
    ),
    Contender(
        "streaq",
        ("streaq==7.2.0",),
        settings(Setting(16), D=Setting(100), E=Setting(10), H=Setting(32)),
    ),
    Contender(
        "taskiq",
        ("taskiq==0.13.0", "taskiq-redis==1.2.4"),
        settings(Setting(100), D=Setting(100, ("list",)), E=Setting(10), H=Setting(32)),
        note="On streams; on its list broker in D. Results are off by default; here they are on, but in A-off. "
        "Waiting for a result polls; here every 2 ms instead of every 200 ms. "
        "It looks for a dead worker's jobs only when a new one arrives.",
    ),
    Contender(
        PROBE,
        ("redis==8.1.0", "msgspec==0.22.0"),
        settings(Setting(1000), C=Setting(100), D=Setting(100), F=Setting(100), P=Setting(1000, ("lpush",))),
        module="peers.probe",
        results_off=False,
        deep=True,
        skips=frozenset({"A-off", "E", "H", "H-safe", "H-runner"}),
        note="No queue but the limit: the least code of the same safety. In P its single enqueue is a bare `LPUSH`.",
    ),
)
BY_NAME = MappingProxyType({contender.name: contender for contender in CONTENDERS})
