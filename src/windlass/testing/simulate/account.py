"""What became of one simulation, and its trace for people to read."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from windlass.core.job import Card, Claim, Entry, NewJob, Placed, Pulse, Reading, Ready
from windlass.core.outcome import ErrorInfo, Failed, Retried
from windlass.testing.simulate.plan import job_name
from windlass.testing.simulate.process import Process

Line = tuple[float, Process, str, tuple[Any, ...], Any]
"""When, who, what, with what, and the answer."""

_UNIQUE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-([0-9a-f]{12})")


@dataclass(slots=True)
class Account:
    """What became of a seed. times: how often each thing happened. seconds: of the virtual clock. failure: None when all is well."""

    seed: int
    steps: int
    seconds: float
    times: Counter[str]
    lines: list[Line]
    failure: BaseException | None

    def digest(self) -> str:
        """A hash of everything that happened, in order."""
        whole = hashlib.sha256()
        for at, process, what, given, answer in self.lines:
            whole.update(repr((at, process.name, what, given, answer)).encode())
        return whole.hexdigest()

    def trace(self) -> Iterator[str]:
        """Everything that happened, a line each."""
        for at, process, what, given, answer in self.lines:
            text = ", ".join(map(short, given))
            yield f"{at:9.4f}  {process.name:<9} {what:<11} {text}{'' if answer is None else f' -> {short(answer)}'}"


def short(thing: Any) -> str:
    """A value in few words."""
    match thing:
        case NewJob(id=job) | Placed(id=job) | Ready(id=job):
            return job_name(job)
        case Claim():
            return f"{job_name(thing.id)} #{thing.token}"
        case Entry():
            return f"{thing.kind} {thing.data.decode()}"
        case Card():
            return thing.state
        case Pulse():
            return "alive" if thing.alive else "dead"
        case Reading():
            return f"{len(thing.entries)} entries"
        case ErrorInfo():
            return thing.message
        case Retried() | Failed():
            return f"{type(thing).__name__}({short(thing.error)}{', crash' if thing.crash else ''})"
        case float():
            return f"{thing:.3g}"
        case list() | tuple():
            return f"[{', '.join(map(short, thing))}]"
        case dict():
            return f"{{{', '.join(f'{short(key)}: {short(value)}' for key, value in thing.items())}}}"
        case str():
            return _UNIQUE.sub(
                lambda match: job_name(match[0]) if match[0].startswith("0000") else match[1][-4:], thing
            )
        case _:
            return repr(thing)
