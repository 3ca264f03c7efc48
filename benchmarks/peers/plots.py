"""The plots of a report, by matplotlib, in an environment of its own: `python -m peers.plots RESULTS.json FOLDER`.

Made to be read at 800 pixels: one message each, values written where they are, Windlass in the one strong colour.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from peers.catalogue import BY_ID, Figure, Scenario
from peers.contenders import OURS, PROBE
from peers.report import drawable, number
from peers.summary import Results, keeps_results

mpl.use("agg")
INK, QUIET, FAINT = "#1f2933", "#66737f", "#dfe5ea"
STRONG, PEER, LIMIT, ALARM = "#0b7a75", "#a9b8c4", "#ffffff", "#b4453f"
WIDTH, ROW, PIXELS_PER_INCH = 8.0, 0.27, 200

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9.5, "text.color": INK, "axes.labelcolor": QUIET, "xtick.color": QUIET,
    "ytick.color": INK, "axes.edgecolor": FAINT, "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False,
    "axes.spines.bottom": False, "xtick.bottom": False, "ytick.left": False, "axes.grid": False, "savefig.facecolor": "white",
}  # fmt: skip


def figure_of(scenario: Scenario, key: str) -> Figure:
    return next(figure for figure in scenario.figures if figure.key == key)


def named(name: str) -> str:
    """A contender, as it stands at its bar."""
    return {PROBE: "bare probe"}.get(name, name if keeps_results(name) else f"{name} ¹")


def colour(name: str) -> str:
    return {OURS: STRONG, PROBE: LIMIT}.get(name, PEER)


def rows(axes: Axes, names: Sequence[str], places: int) -> None:
    """One row per contender, the first on top, with room for so many; Windlass in bold."""
    axes.set_yticks(range(len(names)), [named(name) for name in names])
    axes.set_ylim(places - 0.4, -0.6)
    for name, text in zip(names, axes.get_yticklabels(), strict=True):
        text.set_fontweight("bold" if name == OURS else "normal")
        text.set_color(STRONG if name == OURS else QUIET if name == PROBE else INK)
    axes.tick_params(axis="y", pad=6)


def bars(axes: Axes, results: Results, scenario: Scenario, key: str, names: Sequence[str], places: int) -> None:
    """Horizontal bars from zero, the value at the end of each."""
    digits = figure_of(scenario, key).digits
    values = []
    for name in names:
        spread = results.spread(scenario, name, key)
        assert spread is not None, "only those that have the figure are drawn"
        values.append(spread.median)
    edges = [QUIET if name == PROBE else "none" for name in names]
    styles = ["--" if name == PROBE else "-" for name in names]
    drawn = axes.barh(range(len(names)), values, height=0.68, color=[colour(name) for name in names])
    for bar, edge, style in zip(drawn, edges, styles, strict=True):
        bar.set(edgecolor=edge, linestyle=style, linewidth=0.8)
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        written(axes, number(value, digits), value, place, name)
    axes.set_xlim(0, max(values) * 1.18)
    axes.set_xticks([])
    rows(axes, names, places)


def written(axes: Axes, text: str, x: float, y: float, name: str, ink: str = INK) -> None:
    """A value, right of where it is."""
    ours = name == OURS and ink == INK
    axes.annotate(
        text, (x, y), xytext=(5, 0), textcoords="offset points", va="center_baseline",
        fontweight="bold" if ours else "normal", color=STRONG if ours else ink,
    )  # fmt: skip


def ranked(results: Results, scenario: Scenario, key: str, *, probe: bool = True) -> list[str]:
    """Who has the figure, best first."""
    names = results.ranked(scenario, figure_of(scenario, key))
    return [name for name in names if results.spread(scenario, name, key) and (probe or name != PROBE)]


def titled(canvas: Canvas, title: str, subtitle: str, results: Results, *, top: float) -> None:
    """What there is to see, what it is, and where it was measured."""
    height = canvas.get_figheight()
    canvas.text(0.02, 1 - 0.18 / height, title, fontsize=13.5, fontweight="bold", va="top")
    canvas.text(0.02, 1 - 0.47 / height, subtitle, color=QUIET, va="top")
    about = results.about
    where = (
        f"{about['machine'].partition(',')[0]} · Redis {about['redis']} · Python {about['python']} · {about['date']}"
    )
    note = "  ·  ¹ keeps no results" if any(not keeps_results(one.name) for one in results.contenders) else ""
    note += "  ·  a quick run: do not quote" if about["quick"] else ""
    canvas.text(0.02, 0.1 / height, where + note, fontsize=7.5, color=QUIET, va="bottom")
    canvas.subplots_adjust(top=1 - top / height, bottom=0.42 / height)


def canvas_for(count: int, panels: int = 1, extra: float = 1.35) -> tuple[Canvas, list[Axes]]:
    """A canvas with so many rows in each of its panels."""
    canvas, found = pyplot.subplots(1, panels, figsize=(WIDTH, count * ROW + extra), squeeze=False)
    return canvas, list(found[0])


# --- the four -----------------------------------------------------------------------------------------------------


def drain(results: Results) -> Canvas:
    """Jobs a second, one worker process."""
    scenario = BY_ID["A"]
    names = ranked(results, scenario, "rate")
    canvas, (axes,) = canvas_for(len(names))
    bars(axes, results, scenario, "rate", names, len(names))
    kept = [name for name in results.peers(scenario, figure_of(scenario, "rate")) if keeps_results(name)]
    ratio = results.advantage(scenario, kept[0], figure_of(scenario, "rate")) if kept else None
    said = "How fast a backlog is drained"
    if ratio and ratio.low > 1:
        said = f"Windlass drains {ratio.median:.1f} times as fast as the next that keeps results"
    titled(
        canvas,
        said,
        "jobs that do nothing, one worker process, results kept; jobs a second, more is better",
        results,
        top=0.85,
    )
    canvas.subplots_adjust(left=0.13, right=0.98)
    return canvas


def latency(results: Results) -> Canvas:
    """p50 and p99, joined; logarithmic, since they are three orders apart."""
    panels = (
        (BY_ID["C"], "trip", "round trip on an idle worker, ms"),
        (BY_ID["F"], "start", "enqueue to start at 500 jobs/s, ms"),
    )
    found = [
        (scenario, key, text, ranked(results, scenario, f"{key}50", probe=False)) for scenario, key, text in panels
    ]
    canvas, both = canvas_for(max(len(names) for *_, names in found), 2, extra=1.85)
    places = max(len(names) for *_, names in found)
    for axes, (scenario, key, text, names) in zip(both, found, strict=True):
        dumbbells(axes, results, scenario, key, names)
        rows(axes, names, places)
        axes.set_title(text, fontsize=9.5, color=INK, loc="left", pad=8)
    titled(
        canvas, "How long a job waits",
        "filled: half of the jobs are faster (p50); open: 99 of 100 are (p99); logarithmic, less is better", results, top=1.15,
    )  # fmt: skip
    canvas.subplots_adjust(left=0.125, right=0.98, bottom=0.68 / canvas.get_figheight(), wspace=0.32)
    return canvas


def milliseconds(value: float) -> str:
    """With as many digits as mean something."""
    return number(value, 2 if value < 10 else 1 if value < 100 else 0)


def dumbbells(axes: Axes, results: Results, scenario: Scenario, key: str, names: Sequence[str]) -> None:
    """p50 and p99 of each, with a line between."""
    for place, name in enumerate(names):
        half, most = (results.spread(scenario, name, f"{key}{share}") for share in (50, 99))
        assert half is not None
        assert most is not None
        shade = STRONG if name == OURS else QUIET
        axes.plot([half.median, most.median], [place, place], color=shade, linewidth=1.6, alpha=0.5, zorder=1)
        axes.scatter([half.median], [place], s=34, color=shade, zorder=3)
        axes.scatter([most.median], [place], s=30, facecolor="white", edgecolor=shade, linewidth=1.3, zorder=3)
        axes.annotate(
            f"{milliseconds(half.median)}  {milliseconds(most.median)}", (most.median, place), xytext=(7, 0),
            textcoords="offset points", va="center_baseline", fontsize=8, color=STRONG if name == OURS else INK,
            fontweight="bold" if name == OURS else "normal",
        )  # fmt: skip
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low * 0.9, high * (high / low) ** 0.38)
    decades = [10.0**power for power in range(-2, 6) if low < 10.0**power < high]
    axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes.set_xticks(decades, [f"{decade:g}" for decade in decades])
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)


def recovery(results: Results) -> Canvas:
    """Until all jobs are done after kill -9, with defaults and with each library's settings for it."""
    scenarios = (BY_ID["H"], BY_ID["H-safe"])
    patience = scenarios[0].options(quick=results.about["quick"])["patience"]

    def seconds(scenario: Scenario, name: str) -> float | None:
        """The median; infinite when jobs were missing at the end of any round; None when nothing was measured."""
        finished, missing = (results.spread(scenario, name, key) for key in ("finished", "unfinished"))
        if missing is None:
            return None
        return inf if finished is None or missing.high else finished.median

    def place_of(name: str) -> tuple[list[float], str]:
        return [inf if (value := seconds(one, name)) is None else value for one in reversed(scenarios)], name

    names = sorted(results.rows(scenarios[0]), key=place_of)
    canvas, both = canvas_for(len(names), 2, extra=1.6)
    titles = ("with the library's own defaults", "with its settings for survival")
    for axes, scenario, title in zip(both, scenarios, titles, strict=True):
        known = []
        for place, name in enumerate(names):
            value = seconds(scenario, name)
            if value is None:
                written(axes, "not measured", 0, place, name, ink=QUIET)
            elif value == inf:
                written(axes, f"jobs missing after {number(patience)} s", 0, place, name, ink=ALARM)
            else:
                known.append(value)
                axes.barh(place, value, height=0.68, color=colour(name))
                written(axes, f"{number(value, 1)} s", value, place, name)
        axes.set_xlim(0, max([*known, 20]) * 1.28)
        axes.set_xticks([])
        axes.set_title(title, fontsize=9.5, loc="left", pad=6)
        rows(axes, names, len(names))
    titled(
        canvas, "A worker is killed with 20 jobs in flight: when are all done?",
        "kill -9 of all its processes, a new worker starts at once; seconds, less is better", results, top=1.1,
    )  # fmt: skip
    canvas.subplots_adjust(left=0.12, right=0.98, wspace=0.3)
    return canvas


def memory(results: Results) -> Canvas:
    """What waiting costs: the worker's memory, and Redis's per job."""
    panels = (
        (BY_ID["C"], "pss", "an idle worker with all its processes, MiB"),
        (BY_ID["P"], "bytes", "a waiting job in Redis, bytes"),
    )
    found = [(scenario, key, text, ranked(results, scenario, key)) for scenario, key, text in panels]
    places = max(len(names) for *_, names in found)
    canvas, both = canvas_for(places, 2, extra=1.6)
    for axes, (scenario, key, text, names) in zip(both, found, strict=True):
        bars(axes, results, scenario, key, names, places)
        axes.set_title(text, fontsize=9.5, color=INK, loc="left", pad=6)
    titled(
        canvas,
        "What waiting costs",
        "memory that processes share is counted once (PSS); less is better",
        results,
        top=1.1,
    )
    canvas.subplots_adjust(left=0.12, right=0.98, wspace=0.3)
    return canvas


DRAW: dict[str, Callable[[Results], Canvas]] = {
    "drain": drain,
    "latency": latency,
    "recovery": recovery,
    "memory": memory,
}


def main(source: Path, folder: Path) -> None:
    """Draw what there is data for."""
    results = Results(json.loads(source.read_text()))
    with mpl.rc_context(STYLE):
        for name in drawable(results):
            canvas = DRAW[name](results)
            canvas.savefig(folder / f"peers-{name}.png", dpi=PIXELS_PER_INCH)
            pyplot.close(canvas)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
