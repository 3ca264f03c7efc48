"""Following one job to its end: a progress bar on a terminal, a line per event elsewhere, NDJSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import IO, Any, cast

import msgspec

from windlass import Job
from windlass.cli.output import clean, describe, line
from windlass.core.job import LogLine, Progress
from windlass.core.plain import plain
from windlass.core.state import State
from windlass.handle import Handle, JobEvent, outcome_of

Show = Callable[[JobEvent], None]


async def follow(handle: Handle[Any], *, as_json: bool = False, quiet: bool = False) -> Job:
    """Show what happens to a job until its end and give it; `quiet`: only a bar, on stderr if that is a terminal.

    Raises `JobFailed` or `JobCancelled` when it did not succeed.
    """
    stream = sys.stderr if quiet else sys.stdout
    bar = _bar(stream) if stream.isatty() and not as_json else None
    show: Show = _json_line if as_json else _Bar(bar) if bar else (lambda _: None) if quiet else _text_line
    with bar or nullcontext():
        async for event in handle.events():
            show(event)
            if event.kind == "end":
                outcome_of(event.data, lambda _, data: bytes(data))
                return cast(Job, event.data)
    raise AssertionError("events() ends with the end")


def _json_line(event: JobEvent) -> None:
    data = describe(event.data, whole=True) if event.kind == "end" else event.data
    told = {"event": event.kind, "id": event.id, "attempt": event.attempt, "data": data}
    print(plain(msgspec.json.encode(told).decode()), flush=True)


def _text_line(event: JobEvent) -> None:
    match event.data:
        case Progress() as progress:
            line("progress", amount(progress), progress.message)
        case LogLine(level, message):
            line("log", level, message)
        case Job() as job:
            line("end", job.state)
        case State() as state:
            line("state", state)
        case value:
            line(event.kind, msgspec.json.encode(value).decode())


def amount(progress: Progress) -> str:
    """How far: "40 of 100 (40 %)", or only the number when there is no total."""
    if progress.share is None:
        return f"{progress.current:g}"
    return f"{progress.current:g} of {progress.total:g} ({progress.share * 100:.0f} %)"


def _bar(stream: IO[str]) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), text, BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(file=stream))


class _Bar:
    """Events as one live line; log lines scroll by above it."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar
        self.row = bar.add_task("", total=None)

    def __call__(self, event: JobEvent) -> None:
        match event.data:
            case Progress() as progress:
                self.bar.update(
                    self.row, completed=progress.current, total=progress.total, description=clean(progress.message)
                )
            case LogLine(level, message):
                self.bar.print(f"{level:7} {clean(message)}", markup=False, highlight=False)
            case Job() as job:
                whole = job.state is State.SUCCEEDED
                self.bar.update(self.row, description=str(job.state), **({"completed": 1, "total": 1} if whole else {}))
            case State() as state:
                self.bar.update(
                    self.row, description=f"{state}, attempt {event.attempt}" if event.attempt else str(state)
                )
            case _:
                pass
