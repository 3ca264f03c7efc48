"""When a task is to run by itself: `Cron`, `Every`, a `Schedule`, and the questions to them, all pure. Moments are Unix times.

A tick is a moment at which a schedule fires. Its job's id is made from the names of app and schedule and from the tick: whoever
makes the job makes the same one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from difflib import get_close_matches
from itertools import count, islice, takewhile
from typing import TYPE_CHECKING, Any, Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from cronsim import CronSim, CronSimError
from msgspec import Struct
from msgspec.structs import force_setattr, replace

from windlass.core.durations import Duration, seconds
from windlass.core.ids import id_about
from windlass.core.job import DAY, JobId
from windlass.core.payload import read_json
from windlass.errors import ConfigurationError, Undecodable

if TYPE_CHECKING:
    Length = Duration
else:
    Length = float  # as it is kept
OnMissed = Literal["skip", "once", "all"]
Overlap = Literal["allow", "skip", "queue", "cancel_other"]

LATE = 30.0
"""Seconds after which a tick counts as missed: a worker may take so long to start, and a store to come back."""
BATCH = 100
"""Ticks that are made up for at once."""
KEEP = 3600.0
"""Seconds that the job of a tick outlives all looks at that tick: so long may somebody stand still who has it in his hand."""
LONGEST = 200
"""Characters of a cron line, and of a name."""
OPTIONS = ("queue", "priority", "timeout", "expires", "keep", "meta")
"""What can be said of a schedule's jobs."""
_LENGTHS = {"timeout", "expires", "keep"}
_SAID = ("when", "task", "args", "options", "on_missed", "window", "overlap", "jitter")
"""Fields that the code says, and an operator may change."""
_TIMING = ("when", "on_missed", "window", "paused")
"""Fields after whose change nothing from before it is missed."""
_UNITS = (("day", DAY), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0))


class Cron(Struct, frozen=True, tag="cron", tag_field="kind"):
    """By the clock on the wall: `Cron("0 9 * * mon-fri", tz="Europe/Berlin")`. Raises `ConfigurationError` for nonsense.

    line: minute, hour, day of month, month, day of week, as cron has them. tz: a zone of the IANA database.
    Where clocks are set forward, what would fire in the gap fires at its end. Where they are set back, a line that names its hours
    fires in the first of the two; one for every hour (`*`) goes by the time that really passes.
    """

    line: str
    tz: str = "UTC"

    def __post_init__(self) -> None:
        if not isinstance(self.line, str) or len(self.line) > LONGEST or len(self.line.split()) != 5:
            raise ConfigurationError(
                f"{self.line!r:.80} is no cron line; it has five fields (minute hour day month weekday): '0 9 * * mon-fri'"
            )
        _zone(self.tz)
        try:
            fires = next(CronSim(self.line, datetime(2000, 1, 1)), None)
        except (CronSimError, ValueError) as error:
            raise ConfigurationError(f"{self.line!r} is no cron line: {error}") from None
        if fires is None:
            raise ConfigurationError(f"{self.line!r} names a day that never comes")

    def after(self, moment: float) -> Iterator[float]:
        """The ticks after this moment, in order."""
        minute, hour, *days = self.line.split()
        if minute.startswith("*") and not hour.startswith("*"):
            minute = f"0-59{minute[1:]}"  # or the library would take it for a line that goes by the time that passes
        for at in CronSim(" ".join((minute, hour, *days)), datetime.fromtimestamp(moment, _zone(self.tz))):
            # In the second of two equal hours, the library begins with what has fired in the first.
            if (tick := at.timestamp()) > moment:
                moment = tick
                yield tick

    def __str__(self) -> str:
        said = CronSim(self.line, datetime(2000, 1, 1)).explain()
        return f"{said} ({self.tz})"


class Every(Struct, frozen=True, tag="every", tag_field="kind"):
    """In steps of one length, counted from the beginning of 1970 (UTC): `Every("15m")`. At least a second."""

    seconds: float

    def __post_init__(self) -> None:
        length = round(seconds(self.seconds), 3)
        if length < 1:
            raise ConfigurationError(f"Every({self.seconds!r}) is too often; a second is the least")
        force_setattr(self, "seconds", length)

    if TYPE_CHECKING:

        def __init__(self, seconds: Duration) -> None: ...

    def after(self, moment: float) -> Iterator[float]:
        """The ticks after this moment, in order."""
        step = round(self.seconds * 1000)
        return (tick / 1000 for tick in count((round(moment * 1000) // step + 1) * step, step))

    def __str__(self) -> str:
        number, unit = next(
            (self.seconds / size, unit) for unit, size in _UNITS if not self.seconds % size or unit == "second"
        )
        return f"Every {unit}" if number == 1 else f"Every {number:g} {unit}s"


When = Cron | Every


class Schedule(Struct, frozen=True, omit_defaults=True):
    """A task that runs by itself. Raises `ConfigurationError` for nonsense.

    when: `Cron` or `Every`. name: unique in the app; by default the task's. args: by parameter name.
    options: of its jobs, as `Task.options` takes them, without delay, at and key.
    on_missed: of the ticks that nobody saw to in time, none is made up for ("skip"), the latest ("once"), or each ("all"); only those
    less than `window` ago.
    overlap: when a tick comes while the job of an earlier one is unfinished: run both ("allow"), leave this one out ("skip"), cancel
    the earlier one ("cancel_other"), or wait until it has finished ("queue"; then `on_missed` says what becomes of those that wait).
    jitter: each run is delayed by up to so much, not always by the same.
    paused, since: it does not fire; nothing before that moment is missed. declared: what the code says, of which an operator may have
    changed something; None for one that was added at run time. module: in which it says so. secret: arguments that are not to be shown.
    """

    when: When
    name: str = ""
    task: str = ""
    args: dict[str, Any] = {}
    options: dict[str, Any] = {}
    on_missed: OnMissed = "once"
    window: Length = DAY
    overlap: Overlap = "allow"
    jitter: Length = 0.0
    paused: bool = False
    since: float = 0.0
    declared: Schedule | None = None
    module: str = ""
    secret: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("window", "jitter"):
            force_setattr(self, field, seconds(getattr(self, field)))
        if not isinstance(self.when, When):
            raise ConfigurationError(f"a schedule takes Cron(...) or Every(...), not {self.when!r:.80}")
        for field, known in (("on_missed", OnMissed), ("overlap", Overlap)):
            if getattr(self, field) not in get_args(known):
                raise ConfigurationError(
                    f"{field} is one of {', '.join(get_args(known))}, not {getattr(self, field)!r:.80}"
                )
        if len(self.name) > LONGEST or not self.name.isprintable():
            raise ConfigurationError(
                f"the name of a schedule is 1 to {LONGEST} printable characters, not {self.name!r:.80}"
            )
        if not isinstance(self.args, dict) or not isinstance(self.options, dict):
            raise ConfigurationError("args and options of a schedule are dicts: args={'region': 'eu'}")
        if unknown := self.options.keys() - {*OPTIONS}:
            said = ", ".join(map(str, unknown))
            raise ConfigurationError(f"a schedule has no option {said}; it has {', '.join(OPTIONS)}")
        lengths = {name: seconds(self.options[name]) for name in self.options.keys() & _LENGTHS}
        force_setattr(self, "options", self.options | lengths)

    @property
    def edited(self) -> list[str]:
        """The fields in which it differs from what the code says."""
        return [field for field in _SAID if self.declared and getattr(self, field) != getattr(self.declared, field)]

    def due(self, last: float, now: float) -> list[float]:
        """The ticks to fire now, in order, when that of `last` (0: none) was seen to last. Of missed ones at most `BATCH`."""
        after, late = max(last, self.since, now - max(seconds(self.window), LATE)), now - LATE
        match self.on_missed:
            case "skip":
                missed = []
            case "once":
                missed = _latest(self.when, after, late)
            case "all":
                missed = list(islice(_between(self.when, after, late), BATCH))
        return missed if len(missed) == BATCH else missed + list(_between(self.when, max(after, late), now))

    @property
    def kept(self) -> float:
        """Seconds that a finished job is kept at least: as long as its tick might be made up for, it stands in the way of a second one."""
        return KEEP + (0.0 if self.on_missed == "skip" else seconds(self.window))

    def upcoming(self, now: float, most: int = 5) -> list[float]:
        """The next ticks."""
        return list(islice(self.when.after(max(now, self.since)), most))

    def start_of(self, tick: float, job: JobId) -> float:
        """When the job of a tick is to start: within the jitter, as its id has it."""
        return tick + seconds(self.jitter) * (int(job[-12:], 16) / 16**12)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, TypeError, OSError):
        near = get_close_matches(str(name), available_timezones(), 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else "zones are called 'UTC', 'Europe/Berlin'"
        raise ConfigurationError(f"there is no time zone {name!r:.80}; {hint}") from None


def _between(when: When, after: float, until: float) -> Iterator[float]:
    return takewhile(lambda tick: tick <= until, when.after(after))


def _latest(when: When, after: float, until: float) -> list[float]:
    """The latest tick within this time, if there is one. Looks back farther and farther: ticks may be many."""
    back = 60.0
    while until > after:
        found = deque(_between(when, max(after, until - back), until), maxlen=1)
        if found or until - back <= after:
            return list(found)
        back *= 30
    return []


def changed(schedule: Schedule, now: float, **fields: Any) -> Schedule:
    """The schedule with other fields. When it fires otherwise from now on, nothing from before is missed."""
    new = replace(schedule, **fields)
    kept = all(getattr(new, field) == getattr(schedule, field) for field in _TIMING)
    return new if kept else replace(new, since=now)


def merged(kept: Schedule | None, said: Schedule, now: float) -> Schedule:
    """What is to be kept of a schedule in the code, where `kept` is what there is.

    What an operator changed stays as it is; the rest follows the code. One of that name that was added at run time becomes the code's.
    """
    if kept is None or kept.declared is None:
        return replace(said, declared=said, since=now)
    followed = {field: getattr(said, field) for field in _SAID if field not in kept.edited}
    return changed(kept, now, declared=said, module=said.module, **followed)


def read(data: bytes) -> Schedule:
    """A schedule as it was kept. Raises `Undecodable`."""
    try:
        found: Schedule = read_json("the schedule", data, Schedule)
        return found
    except ConfigurationError as error:
        raise Undecodable(f"the schedule makes no sense here: {error}") from None


def write(schedule: Schedule) -> bytes:
    """A schedule, for `read`."""
    return msgspec.json.encode(schedule)


def tick_id(app: str, schedule: str, tick: float) -> JobId:
    """The id of the one job of a tick."""
    return id_about(tick, app, "schedule", schedule, str(round(tick * 1000)))


def tick_name(tick: float) -> str:
    """A tick as a name in the book: later ones are larger."""
    return f"{round(tick * 1000):015d}"


def tick_of(name: str) -> float:
    """The tick that has this name."""
    return int(name) / 1000
