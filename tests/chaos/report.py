"""What the long form has found: as a line while it runs, as a table, as JSON, and as the page "What can go wrong"."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from history import Outcome
from scenario import Scenario

from servers import BINARIES

ROOT = Path(__file__).parent.parent.parent
RESULTS, PAGE = ROOT / "benchmarks/results", ROOT / "docs/what-can-go-wrong.md"
PROCESS, WORKER = "process killed", "worker killed"
"""Faults after which the recovery is told by itself."""
STORM = "A16"
"""Several processes are killed each second, so that all cores are busy with new ones: its recovery stands in its own row."""
KINDS = {
    "A process dies": ("scenarios_death",),
    "Signals, stopped processes, a suspended machine": ("scenarios_signals",),
    "Your code misbehaves": ("scenarios_code", "scenarios_crashes"),
    "Deploys": ("scenarios_deploys",),
    "Redis": ("scenarios_redis",),
    "The network between a worker and Redis": ("scenarios_network",),
    "The file of SQLite": ("scenarios_sqlite",),
    "The power goes": ("power",),
    "Clocks and delays": ("scenarios_time",),
    "Messages, cancels and calls that meet": ("scenarios_messages",),
    "Producers, web applications, idle workers": ("scenarios_producers", "scenarios_web"),
    "Flows and joins": ("scenarios_flow",),
    "Everything at random": ("scenarios_storm",),
}
"""The sections of the page, and the modules whose scenarios are in each."""
BEGIN, END = (f"<!-- made by tests/chaos/run.py: {end} -->\n" for end in ("begin", "end"))
Results = dict[str, Any]
HEAD = ("scenario", "store", "faults", "jobs", "lost", "again", "unexpected", "recovery p50 / max, s", "verdict")
WIDTHS = (8, 6, 6, 7, 5, 6, 10, 20, 0)


def line(cells: Iterable[object]) -> str:
    """One line of the table that is printed."""
    return "  ".join(
        f"{cell:>{width}}" if 4 < width < 8 else f"{cell:{width}}" for cell, width in zip(cells, WIDTHS, strict=True)
    )


def cells(one: Outcome) -> tuple[object, ...]:
    """The figures of one play."""
    if one.skipped:
        return one.scenario, one.store, "", "", "", "", "", "", f"skipped: {one.skipped}"
    verdict = (
        "; ".join(one.notes)
        if not one.violations
        else f"VIOLATED, {len(one.violations)} times: {one.violations[0]:.200}"
    )
    figures = one.faults, one.jobs, one.lost, one.doubled, one.unexpected, one.recovery
    return one.scenario, one.store, *figures, verdict or "kept"


def results(plays: Sequence[Outcome], seconds: float, command: str) -> Results:
    """Everything, as it is stored. Of a machine: what it is, nothing that names it."""
    return {
        "machine": {
            "date": f"{datetime.now(UTC):%Y-%m-%d}", "cores": os.cpu_count(), "processor": _processor(),
            "linux": platform.release(), "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version, "redis": _redis(), "command": command, "minutes": round(seconds / 60, 1),
        },
        "totals": totals(plays),
        "plays": [
            {
                "scenario": one.scenario, "store": one.store, "faults": one.faults, "jobs": one.jobs, "lost": one.lost,
                "again": one.doubled, "unexpected": one.unexpected, "recovery": one.recovery, "notes": one.notes,
                "violations": [words.partition("\n")[0] for words in one.violations],
                "skipped": one.skipped, "seconds": round(one.seconds, 1),
            }
            for one in plays
        ],
    }  # fmt: skip


def totals(plays: Sequence[Outcome]) -> Results:
    """The sums, and how soon jobs of the dead ran again, but in the storm: seconds, median and longest."""
    took: dict[str, list[float]] = {PROCESS: [], WORKER: []}
    for one in plays:
        for what, seconds in one.recovered:
            if what in took and one.scenario != STORM:
                took[what].append(seconds)
    return {
        "scenarios": len({one.scenario for one in plays if not one.skipped}),
        "plays": sum(not one.skipped for one in plays),
        "faults": sum(one.faults for one in plays),
        "jobs": sum(one.jobs for one in plays),
        "lost": sum(one.lost for one in plays),
        "again": sum(one.doubled for one in plays),
        "unexpected": sum(one.unexpected for one in plays),
        "violated": sum(bool(one.violations) for one in plays),
        "recovery": {
            f"{what}, but in the storm,": [round(median(some), 2), round(max(some), 2), len(some)]
            for what, some in took.items()
            if some
        },
    }


def summary(found: Results) -> str:
    """The totals in a sentence."""
    parts = [
        f"{found['plays']} plays of {found['scenarios']} scenarios",
        f"{found['faults']:,} faults",
        f"{found['jobs']:,} jobs",
        f"{found['lost']} lost",
        f"{found['unexpected']} doubled unexpectedly ({found['again']:,} ran again because of a fault)",
    ]
    for what, (middle, longest, count) in found["recovery"].items():
        parts.append(
            f"after a {what} the jobs ran again within {middle:.2f} s (p50; at most {longest:.2f} s; {count:,} times)"
        )
    return ", ".join(parts)


def store(made: Results) -> None:
    """Write chaos.json and chaos.md."""
    (RESULTS / "chaos.json").write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
    rows = ["| " + " | ".join(HEAD) + " |", "|---|---|--:|--:|--:|--:|--:|---|---|"]
    for one in made["plays"]:
        verdict = one["skipped"] or "; ".join(one["violations"][:1]) or "; ".join(one["notes"]) or "kept"
        figures = (
            one[name] for name in ("scenario", "store", "faults", "jobs", "lost", "again", "unexpected", "recovery")
        )
        rows.append("| " + " | ".join([*map(str, figures), _cell(verdict)]) + " |")
    text = f"# chaos\n\n{_made(made)}\n\n{summary(made['totals'])}.\n\n" + "\n".join(rows) + "\n"
    (RESULTS / "chaos.md").write_text(text)


def stored() -> Results:
    """What was stored last; empty when nothing was."""
    path = RESULTS / "chaos.json"
    return dict(msgspec.json.decode(path.read_bytes())) if path.exists() else {"plays": []}


# --- the page


def page(catalogue: Mapping[str, Scenario], made: Results) -> str:
    """The page as it should be: its own words, and between the marks every scenario with its figures."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    figures: dict[str, list[Results]] = {}
    for one in made["plays"]:
        figures.setdefault(one["scenario"], []).append(one)
    made_by = f"{_made(made)}\n\n**{summary(made['totals'])}.**\n\n" if made["plays"] else ""
    parts = [f"## {title}\n\n{_table(some, figures)}\n\n" for title, some in kinds(catalogue)]
    return f"{before}{BEGIN}\n{made_by}{''.join(parts)}{END}{after}"


def kinds(catalogue: Mapping[str, Scenario]) -> Iterator[tuple[str, list[Scenario]]]:
    """The sections, and the scenarios of each by their numbers."""
    left = sorted(catalogue.values(), key=_order)
    for title, modules in KINDS.items():
        if some := [one for one in left if one.play.__module__ in modules]:
            yield title, some
        left = [one for one in left if one not in some]
    assert not left, f"in which section of the page is {left[0].play.__module__}?"


def _table(some: Sequence[Scenario], figures: Mapping[str, Sequence[Results]]) -> str:
    rows = ["| | what happens | what holds | measured |", "|---|---|---|---|"]
    for one in some:
        told = (
            "<br>".join(_figures(found) for found in figures.get(one.number, ()))
            or f"{' and '.join(one.stores)}: not yet"
        )
        rows.append(f"| {one.number} | {_cell(one.fault)} | {_cell(one.promise)} | {told} |")
    return "\n".join(rows)


def _figures(one: Results) -> str:
    if one["skipped"]:
        return f"{one['store']}: skipped ({_cell(one['skipped'])})"
    parts = [f"{one['faults']:,} fault{'s' * (one['faults'] != 1)}, {one['jobs']:,} jobs"]
    parts += [f"{one['again']:,} again"] if one["again"] else []
    parts += [f"recovery {one['recovery']} s"] if one["recovery"] else []
    parts += [f"**violated**: {_cell(one['violations'][0])}"] if one["violations"] else []
    return f"{one['store']}: {', '.join([*parts, *map(_cell, one['notes'])])}"


def _made(made: Results) -> str:
    on = made["machine"]
    versions = f"Linux {on['linux']}, Python {on['python']}, SQLite {on['sqlite']}, Redis {on['redis']}"
    return f"A run of {on['minutes']:g} minutes on {on['date']}: {on['cores']} x {on['processor']}, {versions}. Made by `{on['command']}`."


def _order(one: Scenario) -> tuple[str, int, str]:
    letter, number = one.number.rstrip("abcdefgh"), one.number
    digits = "".join(filter(str.isdigit, letter))
    return letter.rstrip("0123456789"), int(digits or 0), number


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((one.partition(":")[2].strip() for one in lines if "model name" in one), platform.machine())


def _redis() -> str:
    if not BINARIES:
        return "(none)"
    said = subprocess.run([BINARIES[0], "--version"], capture_output=True, text=True, check=True).stdout
    return said.partition("v=")[2].split()[0]
