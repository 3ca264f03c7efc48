"""All settings of an app, with their defaults. Precedence: argument, then `WINDLASS_*`, then `[tool.windlass]`, then the default."""

from __future__ import annotations

import logging
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from windlass.core.durations import seconds, size
from windlass.core.job import DURABILITY
from windlass.core.resources import amounts
from windlass.core.retry import Retry
from windlass.errors import ConfigurationError

logger = logging.getLogger("windlass")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set, in seconds and bytes unless said otherwise.

    The environment spells them WINDLASS_SHUTDOWN_TIMEOUT="1m", pyproject.toml `shutdown_timeout = "1m"` under [tool.windlass].
    """

    lease: float = 7.0
    """How long a worker lives without a beat; then its jobs are taken back."""
    beat: float = 1.0
    """How often a worker beats. A cancel reaches a running job within one beat."""
    upkeep: float = 0.5
    """How often due jobs are looked for where the store cannot tell us (SQLite). Dead workers are looked for four times in a lease."""
    shutdown_timeout: float = 30.0
    """After the first SIGTERM: how long running jobs may take to finish before they are handed back."""
    kill_after: float = 5.0
    """How long a job that was told to stop (limit, cancel, shutdown) may clean up before it is killed or abandoned."""
    concurrency: int = 100
    """Jobs of `async def` tasks that one runner runs at once."""
    threads: int = 16
    """Jobs in lane "thread" that one runner runs at once."""
    processes: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Jobs in lane "process" that one runner runs at once, each in a child of its own."""
    has: dict[str, int] = field(default_factory=dict)
    """What the machine has for the tasks with `needs=`: "gpu=2,licence=1"."""
    runners: int = 1
    """Runner processes under one supervisor."""
    runner_jobs: int = 0
    """A runner is replaced after this many jobs, while those that it still runs finish; 0: never."""
    runner_memory: int = 0
    """A runner is replaced when it holds more than this (without its children), while its jobs finish; 0: never."""
    child_jobs: int = 100
    """A child of lane "process" is replaced after this many jobs."""
    child_memory: int = 0
    """A child of lane "process" is replaced when it holds more than this between jobs; 0: never."""
    max_payload: int = 4 << 20
    """The largest encoded arguments, result, chunk or checkpoint of a job."""
    keep: float = 86_400.0
    """How long a succeeded or cancelled job is kept."""
    keep_failed: float = 7 * 86_400.0
    """How long a failed job is kept."""
    log_lines: int = 1000
    """Lines of log kept per run of a job; more are counted, and said to be missing."""
    version: str = ""
    """The version of your code, such as a release or a commit: it is stamped on every attempt."""
    durability: str = ""
    """What an accepted job must survive: "process" (a crash of any process), "power" (a power cut) or "node" (the loss of a machine)."""
    retry: Retry = field(default_factory=Retry)
    """The policy of tasks that name none."""


def _duration(value: Any) -> float:
    bare = isinstance(value, str) and value.replace(".", "", 1).isdecimal()
    return seconds(float(value) if bare else value)


def _count(value: Any) -> int:
    try:
        if isinstance(value, (bool, float)):
            raise ValueError
        return int(value)
    except (ValueError, TypeError):
        raise ConfigurationError(f"{value!r} is no whole number") from None


def _version(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9._+-]{0,40}", value):
        raise ConfigurationError(f"{value!r} is no version: at most 40 letters, digits and . _ + -")
    return value


def _durability(value: Any) -> str:
    if value and value not in DURABILITY:
        raise ConfigurationError(f"{value!r} is none of {', '.join(DURABILITY)}")
    return str(value)


SETTABLE: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("lease", "beat", "upkeep", "shutdown_timeout", "kill_after", "keep", "keep_failed"), _duration),
    **dict.fromkeys(
        ("concurrency", "threads", "processes", "runners", "runner_jobs", "child_jobs", "log_lines"), _count
    ),
    **dict.fromkeys(("runner_memory", "child_memory", "max_payload"), size),
    "has": amounts,
    "version": _version,
    "durability": _durability,
}
"""What the environment and pyproject.toml can set, and how it is read."""
LOCATING = {"url", "app", "name", "health"}
"""Keys of [tool.windlass] that say where things are; they are no settings."""
_POSITIVE = {"lease", "beat", "upkeep", "runners", "child_jobs", "max_payload"}


def parse(name: str, value: Any, source: str) -> Any:
    """One setting from text or a plain value; raises `ConfigurationError` naming where it was set."""
    try:
        amount = SETTABLE[name](value)
        if not isinstance(amount, str | dict) and (amount < 0 or (amount == 0 and name in _POSITIVE)):
            raise ConfigurationError(f"{value!r} is too small")
        return amount
    except ConfigurationError as error:
        raise ConfigurationError(f"setting {name!r} from {source}: {error}") from None


def load(**given: Any) -> Settings:
    """The settings in force here: `given` values first, then the environment, then pyproject.toml, then defaults."""
    found: dict[str, Any] = {}
    for name, value in project().items():
        if name in SETTABLE:
            found[name] = parse(name, value, "[tool.windlass]")
        elif name not in LOCATING:
            known = ", ".join(sorted({*SETTABLE, *LOCATING}))
            raise ConfigurationError(f"[tool.windlass] has no setting {name!r}; it knows {known}")
    for name in SETTABLE:
        if (text := os.environ.get(f"WINDLASS_{name.upper()}")) is not None:
            found[name] = parse(name, text, f"$WINDLASS_{name.upper()}")
    for variable in (one for one in os.environ if one.startswith("WINDLASS_")):
        name = variable.removeprefix("WINDLASS_").lower()
        if name not in SETTABLE and (near := get_close_matches(name, SETTABLE, 1, 0.8)):
            logger.warning("$%s sets nothing; did you mean $WINDLASS_%s?", variable, near[0].upper())
    for name, value in given.items():
        if name not in SETTABLE and name != "retry":
            known = ", ".join(sorted({*SETTABLE, "retry"}))
            raise ConfigurationError(f"there is no setting {name!r}; there are {known}")
        if value is not None:
            found[name] = value if name == "retry" else parse(name, value, "an argument")
    settings = replace(Settings(), **found)
    if settings.beat >= settings.lease:
        raise ConfigurationError(
            f"setting 'beat' ({settings.beat:g} s) must be shorter than 'lease' ({settings.lease:g} s), best several times"
        )
    return settings


def pyproject(start: Path | None = None) -> Path | None:
    """The nearest pyproject.toml at or above `start` (by default the current folder)."""
    here = (start or Path.cwd()).resolve()
    return next((path for folder in (here, *here.parents) if (path := folder / "pyproject.toml").is_file()), None)


def project() -> dict[str, Any]:
    """The [tool.windlass] table of the nearest pyproject.toml; empty without one."""
    path = pyproject()
    if path is None:
        return {}
    try:
        table = tomllib.loads(path.read_text("utf-8")).get("tool", {}).get("windlass", {})
    except ValueError as error:  # no TOML, or no UTF-8
        raise ConfigurationError(f"{path} is no valid TOML: {error}") from None
    return dict(table)


def default_url() -> str:
    """$WINDLASS_URL, else `url` of [tool.windlass], else a SQLite file beside the nearest pyproject.toml (or here)."""
    if url := os.environ.get("WINDLASS_URL") or project().get("url"):
        return str(url)
    path = pyproject()
    folder = path.parent if path else Path.cwd()
    return f"sqlite:///{folder / '.windlass' / 'windlass.db'}"
