"""The filter language of the jobs list: `state:failed queue:media "no space left"`. `frontend/src/filter.ts` reads it for the eye.

Values of one name are alternatives; different names, and words, must all hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from windlass.core.durations import seconds
from windlass.core.ids import check_id, first_id_at
from windlass.core.job import Job, JobId
from windlass.core.measures import sighted
from windlass.core.payload import Envelope, unpack
from windlass.core.state import State
from windlass.errors import ConfigurationError, InvalidArguments, Undecodable

NAMES = ("state", "queue", "task", "error", "since", "until", "key", "id", "root", "worker", "fault")
"""What a token may be about, beside `meta.NAME:` and `arg.NAME=`."""
WHOLE = "*"
"""As a root: every job that stands for a whole workflow, or is a flow of its own."""
SKEW = 60.0
"""Seconds that the clock by which an id was made may differ from the store's."""
_WORD = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.)*"?)+')
_NAMED = re.compile(r'(meta\.[^:\s"]+|[a-z]+):|(arg\.[^=\s"]+)=')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"?')
_ID = re.compile(r"[0-9a-f-]{1,36}")
_WITH_ERROR = (State.SCHEDULED, State.PARKED, State.FAILED, State.CANCELLED)


def tokens(q: str) -> list[tuple[str, str]]:
    """Names and values, in order; words without a name have the name ""."""
    found = list[tuple[str, str]]()
    for word in _WORD.findall(q):
        named = _NAMED.match(word)
        found.append(((named[1] or named[2]) if named else "", _unquoted(word[named.end() :] if named else word)))
    return found


def _unquoted(text: str) -> str:
    return _QUOTED.sub(lambda found: re.sub(r"\\(.)", r"\1", found[1]), text)


class Filter(Struct, frozen=True):
    """Which jobs are wanted. An empty part asks for nothing.

    roots: workflows that they belong to, or `WHOLE`.
    since, until: Unix times between which they were made, the first one included. about: values by "meta.NAME" and "arg.NAME".
    """

    states: tuple[State, ...] = ()
    queues: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    about: Mapping[str, tuple[str, ...]] = {}
    since: float | None = None
    until: float | None = None

    @property
    def asks_arguments(self) -> bool:
        """Whether it tells jobs apart by their arguments."""
        return any(name.startswith("arg.") for name in self.about)

    @property
    def after(self) -> JobId | None:
        """All wanted jobs have ids that come after this."""
        lows = [first_id_at(self.since - SKEW)] if self.since is not None else []
        return max([*lows, min(_bound(one, "0") for one in self.ids)] if self.ids else lows, default=None)

    @property
    def before(self) -> JobId | None:
        """All wanted jobs have ids that come before this."""
        highs = [first_id_at(self.until + SKEW)] if self.until is not None else []
        return min([*highs, max(_bound(one, "f") for one in self.ids)] if self.ids else highs, default=None)

    @property
    def stored(self) -> dict[str, Any]:
        """What to ask the store for, as `find` takes it: that is all that is wanted, and perhaps more."""
        return {**self._exact, "states": self.states, "after": self.after}

    @property
    def _exact(self) -> dict[str, str]:
        given = {"queue": self.queues, "task": self.tasks, "key": self.keys, "root": self.roots}
        return {name: values[0] for name, values in given.items() if len(values) == 1 and not values[0].endswith("*")}

    @property
    def is_stored(self) -> bool:
        """Whether the store finds exactly what is wanted."""
        only = Filter(states=self.states, queues=self.queues, tasks=self.tasks, keys=self.keys, roots=self.roots)
        return self == only and len(self._exact) == len(self.queues + self.tasks + self.keys + self.roots)

    def wants(self, job: Job) -> bool:
        """Whether this is one of the wanted jobs."""
        error, made = job.error, job.created_at.timestamp()
        return (
            (not self.states or job.state in self.states)
            and (not self.queues or job.queue in self.queues)
            and (not self.tasks or any(_like(task, job.task) for task in self.tasks))
            and (not self.keys or job.key in self.keys)
            and (not self.ids or job.id.startswith(self.ids))
            and (not self.roots or job.root in self.roots or (WHOLE in self.roots and job.root == job.id))
            and (not self.workers or any(_like(worker, job.worker or "") for worker in self.workers))
            and (not self.errors or (error is not None and error.type in self.errors))
            and (self.since is None or made >= self.since)
            and (self.until is None or made < self.until)
            and (not self.words or self._says(job))
            and (not self.faults or fingerprint(job) in self.faults)
            and (not self.about or self._is_about(job))
        )

    def _says(self, job: Job) -> bool:
        text = f"{job.task}\n{job.error.message if job.error else ''}".lower()
        return all(word.lower() in text for word in self.words)

    def _is_about(self, job: Job) -> bool:
        try:
            envelope = unpack(job.body)
            return all(_value(envelope, name) in values for name, values in self.about.items())
        except Undecodable:
            return False


def fingerprint(job: Job) -> str | None:
    """The fingerprint of a job's latest failure; None when it has none."""
    return sighted(job.task, job.id, job.error, final=False).fingerprint if job.error else None


def _bound(start: str, digit: str) -> JobId:
    """The id just before ("0") or after ("f") all that begin so."""
    number = int(start.replace("-", "")[:32].ljust(32, digit), 16) + (1 if digit == "f" else -1)
    return str(UUID(int=min(max(number, 0), (1 << 128) - 1)))


def _like(pattern: str, text: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def _value(envelope: Envelope, name: str) -> str | None:
    """A tag, or an argument ("arg.user.id": a part of it), as one writes it; None when there is none. Raises `Undecodable`."""
    kind, _, path = name.partition(".")
    if kind == "meta":
        return envelope.meta.get(path)
    value: Any = envelope.shown()
    for part in [path] if path in value else path.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def parse(q: str, now: float) -> Filter:
    """The filter that `q` says. Raises `InvalidArguments`, which names what there is."""
    given: dict[str, list[str]] = {}
    for name, value in tokens(q):
        given.setdefault(name, []).append(value)
    about = {name: tuple(given.pop(name)) for name in list(given) if name.startswith(("meta.", "arg."))}
    if unknown := given.keys() - {"", *NAMES}:
        known = ", ".join([f"{name}:" for name in NAMES] + ["meta.NAME:", "arg.NAME="])
        raise InvalidArguments(
            f"there is no filter {', '.join(f'{name}:' for name in sorted(unknown))}; there are {known}"
        )
    texts = {f"{name}s": tuple(values) for name, values in given.items() if name in ("queue", "task", "key", "error")}
    states = tuple(_state(value) for value in dict.fromkeys(given.get("state", ())))
    if not states and given.keys() & {"error", "fault"}:
        states = _WITH_ERROR  # where errors stay. Every store finds these among a million others; what runs again must be asked for
    return Filter(
        **texts,
        workers=tuple(given.get("worker", ())),
        faults=tuple(given.get("fault", ())),
        words=tuple(given.get("", ())),
        about=about,
        states=states,
        ids=tuple(_id(value) for value in given.get("id", ())),
        roots=tuple(value if value == WHOLE else check_id(value) for value in given.get("root", ())),
        since=max((_moment("since", value, now) for value in given.get("since", ())), default=None),
        until=min((_moment("until", value, now) for value in given.get("until", ())), default=None),
    )


def _state(text: str) -> State:
    try:
        return State(text)
    except ValueError:
        raise InvalidArguments(f"there is no state {text!r}; there are {', '.join(State)}") from None


def _id(text: str) -> str:
    if not _ID.fullmatch(text.lower()):
        raise InvalidArguments(f"id:{text} is no job id, nor the beginning of one")
    return text.lower()


def _moment(name: str, text: str, now: float) -> float:
    """A time ("2026-11-21T18:00Z"; UTC without a zone), or how long ago ("24h")."""
    try:
        return now - seconds(text)
    except ConfigurationError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise InvalidArguments(
            f"{name}:{text} is no time; write {name}:15m, {name}:24h or {name}:2026-01-31T12:00Z"
        ) from None
