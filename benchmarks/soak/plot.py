"""The lines of a soak, by matplotlib, in an environment of its own: `python plot.py SOAK.json PICTURE.png`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

mpl.use("agg")
INK, QUIET, FAINT, STRONG, ALARM = "#1f2933", "#66737f", "#dfe5ea", "#0b7a75", "#b4453f"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "xtick.color": QUIET, "ytick.color": QUIET,
    "axes.edgecolor": FAINT, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": FAINT,
    "axes.grid.axis": "y", "savefig.facecolor": "white",
}  # fmt: skip
PANELS = {
    "memory": "the untouched worker's memory, MiB (supervisor and runner)",
    "descriptors": "its open descriptors",
    "store": "the store, MiB",
    "open": "jobs waiting, delayed or running",
    "p50": "latency of a small job, ms: median, and the longest in every two seconds",
}


def main(source: Path, picture: Path) -> None:
    """One panel a line, all from zero, so that flat looks flat."""
    found = json.loads(source.read_text())
    samples = found["samples"]
    with mpl.rc_context(STYLE):
        canvas, every = pyplot.subplots(len(PANELS), 1, figsize=(8.0, 1.45 * len(PANELS) + 1.1), sharex=True)
        for axes, (key, title) in zip(every, PANELS.items(), strict=True):
            for line, colour in ((key, STRONG), *((("most", ALARM),) if key == "p50" else ())):
                drawn = [(sample["at"] / 60, sample[line]) for sample in samples if line in sample]
                axes.plot(*zip(*drawn, strict=True), color=colour, linewidth=1.3 if line == key else 0.6)
            if key == "p50":
                axes.set_yscale("log")
            else:
                axes.set_ylim(0, 1.2 * max(sample[key] for sample in samples))
            axes.set_title(title, fontsize=9, loc="left", color=INK)
        every[-1].set_xlabel("minutes", color=QUIET)
        canvas.suptitle(
            f"{found['minutes']:g} minutes on {found['store']}: {found['jobs']:,} jobs, {found['runners_killed']} runners and "
            f"{found['workers_killed']} workers killed, {found['lost']} lost", x=0.02, ha="left", fontsize=12, fontweight="bold",
        )  # fmt: skip
        canvas.text(
            0.02,
            0.008,
            f"{found['cores']} cores · Python {found['python']} · {found['date']}",
            fontsize=7.5,
            color=QUIET,
        )
        canvas.tight_layout(rect=(0, 0.02, 1, 0.985))
        canvas.savefig(picture, dpi=130)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
