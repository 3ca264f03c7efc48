"""What goes to stdout: tables on a terminal, tab-separated text elsewhere, JSON when asked for. Talk goes to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from windlass.core.job import Job
from windlass.core.payload import Undecodable, read_json, unpack
from windlass.core.plain import plain

if TYPE_CHECKING:
    from rich.table import Table

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]

_COLOURS = {
    "ready": "cyan",
    "running": "blue",
    "succeeded": "green",
    "failed": "red",
    "parked": "magenta",
    "paused": "yellow",
}

_LONG = ("", "task", "said", "queues", "slots")
"""Columns that share what room is left, and wrap."""


def talk(text: str) -> None:
    """Something for the person at the terminal: to stderr."""
    print(f"windlass: {plain(text)}", file=sys.stderr)


def line(*cells: object) -> None:
    """One line of data: cells, separated by tabs."""
    print("\t".join(map(clean, cells)), flush=True)


def document(value: Any) -> None:
    """One JSON document, indented where a person reads it."""
    data = msgspec.json.encode(value)
    print(plain((msgspec.json.format(data) if sys.stdout.isatty() else data).decode()), flush=True)


def table(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Rows of data: a table on a terminal, else tab-separated lines without a header."""
    if not sys.stdout.isatty():
        for row in rows:
            line(*row)
        return
    from rich.console import Console

    Console(highlight=False).print(grid(columns, rows))


def grid(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> Table:
    """Rows of data, as a table for a terminal."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        grid.add_column(name, no_wrap=name not in _LONG, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(text, style=_COLOURS.get(text, "")) for text in map(clean, row)))
    return grid


def clean(value: object) -> str:
    """A value in one line, without what would move a terminal's cursor or break a column."""
    if isinstance(value, datetime):
        return moment(value)
    text = "" if value is None else str(value)
    return text if text.isprintable() else "".join(one if one.isprintable() else " " for one in text)


def moment(at: datetime) -> str:
    """A time: how far away on a terminal, to the millisecond in UTC elsewhere."""
    if not sys.stdout.isatty():
        return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    ago = (datetime.now(UTC) - at).total_seconds()
    return f"{span(ago)} ago" if ago >= 0 else f"in {span(-ago)}"


def length(seconds: float) -> str:
    """A length of time: in its largest unit on a terminal, in seconds elsewhere."""
    return span(seconds) if sys.stdout.isatty() else f"{seconds:.3f}"


def span(seconds: float) -> str:
    """A length of time in its largest unit."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def memory(held: int) -> str:
    """Bytes: in MiB on a terminal; "" when nobody knows how many."""
    return "" if not held else f"{held >> 20:,} MiB" if sys.stdout.isatty() else str(held)


def describe(job: Job, *, whole: bool = False) -> dict[str, Any]:
    """A job for JSON, under the field names of `Job`; `whole` adds its arguments and its result.

    `windlass.web.jobs.view` has the same names for a client of the API, who is shown less: no worker, key, evidence, arguments.
    """
    told = {name: getattr(job, name) for name in job.__struct_fields__ if name not in ("body", "result")}
    return told | _inside(job) if whole else told


def _inside(job: Job) -> dict[str, Any]:
    """The arguments and the result; "unreadable" says why they are missing."""
    told: dict[str, Any] = {"arguments": None, "result": None}
    try:
        told["result"] = None if job.result is None else read_json("the result", job.result)
    except Undecodable as error:
        told["unreadable"] = str(error)
    try:
        envelope = unpack(job.body)
        told |= {"arguments": envelope.shown(), "timeout": envelope.timeout, "meta": envelope.meta}
    except Undecodable as error:
        told["unreadable"] = str(error)
    return told
