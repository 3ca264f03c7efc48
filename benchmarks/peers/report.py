"""The report in Markdown, made from the data of a run and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from peers.catalogue import BY_ID, Figure, Scenario
from peers.contenders import OURS, PROBE
from peers.summary import Results, Spread, keeps_results

HEADLINES = (
    ("A", "rate", "drain, one worker process"),
    ("A-aof", "rate", "drain, `appendonly everysec`"),
    ("B", "rate", "drain, two worker processes"),
    ("P", "bulk", "enqueue in bulk"),
    ("P", "single", "enqueue one by one"),
    ("C", "trip50", "round trip on an idle worker, p50"),
    ("C", "trip99", "the same, p99"),
    ("F", "start50", "enqueue to start at 500 jobs/s, p50"),
    ("F", "start99", "the same, p99"),
    ("D", "share", "50 ms of sleep, 100 at once, share of the ideal"),
    ("E", "share", "50 ms of CPU, share of two bare processes"),
    ("G", "deep", "drain of a deep backlog"),
    ("H-safe", "finished", "all done after `kill -9` of the worker"),
    ("H-runner", "last", "all run again after `kill -9` of the runner"),
    ("P", "bytes", "Redis memory per waiting job"),
    ("C", "pss", "memory of an idle worker"),
    ("C", "up", "process start to first job"),
)
"""What a reader in a hurry wants to know: scenario, figure, words."""

PLOTS = {
    "drain": ("Drain of no-ops, jobs a second, by library", ("A",)),
    "latency": ("Round trip and enqueue to start, p50 and p99, by library", ("C", "F")),
    "recovery": ("Seconds until all jobs are done after kill -9 of the worker, by library", ("H", "H-safe")),
    "memory": ("Memory of an idle worker and Redis memory per waiting job, by library", ("C", "P")),
}
"""By name: what there is to see, for those who cannot see it, and the scenarios it needs."""

PACKAGES = ("redis", "coredis", "hiredis", "uvloop", "kombu", "billiard", "taskiq-redis", "msgspec")
"""Worth naming beside the library itself."""


def number(value: float, digits: int = 0) -> str:
    """1234.5 -> "1,234" or, with two digits, "1,234.50"."""
    return f"{value:,.{digits}f}"


def shown(spread: Spread | None, figure: Figure) -> str:
    """A median with its unit, or a dash."""
    return f"{number(spread.median, figure.digits)} {figure.unit}".strip() if spread else "–"


def times(spread: Spread | None) -> str:
    """The median and, of several rounds, the lowest and the highest: "3.6x (3.4 to 3.8)"."""
    if spread is None:
        return "–"

    def brief(value: float) -> str:
        return number(value, 0 if value >= 20 else 1 if value >= 3 else 2)

    low, high = brief(spread.low), brief(spread.high)
    return f"{brief(spread.median)}x" + (f" ({low} to {high})" if low != high else "")


def table(head: Iterable[str], rows: Iterable[Iterable[str]], left: int = 1) -> str:
    """A Markdown table; the first columns aligned left, the others right."""
    head = list(head)
    rule = ["---" if column < left else "--:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def peer(results: Results, scenario: Scenario, name: str, figure: Figure) -> str:
    """A peer with its figure."""
    return f"{name}{'' if keeps_results(name) else ' ¹'} {shown(results.spread(scenario, name, figure.key), figure)}"


def noted(text: str) -> str:
    """With the footnote, when something refers to it."""
    return f"{text}\n\n¹ keeps no results" if "¹" in text else text


def label(name: str) -> str:
    """A contender's name, as it stands in tables."""
    return {OURS: "**windlass**", PROBE: "*bare probe*"}.get(name, name)


# --- what it comes to -------------------------------------------------------------------------------------------------


def headlines(results: Results) -> str:
    """One line per figure that matters: Windlass, the best peer, how many times better."""
    rows = []
    for id, key, words in HEADLINES:
        scenario = BY_ID[id]
        figure = next(figure for figure in scenario.figures if figure.key == key)
        ours, best = results.spread(scenario, OURS, key), next(iter(results.peers(scenario, figure)), None)
        if ours or best:
            compared = (
                [peer(results, scenario, best, figure), times(results.advantage(scenario, best, figure))]
                if best
                else ["–", "–"]
            )
            rows.append(
                [id, words, shown(ours, figure), *compared, shown(results.spread(scenario, PROBE, key), figure)]
            )
    return noted(table(["", "figure", "Windlass", "best peer", "Windlass is better by", "bare probe"], rows, left=2))


def others_win(results: Results) -> str:
    """Every figure in which a peer is better than Windlass in all rounds, with all who are."""
    lines = []
    for scenario in results.scenarios:
        for figure in scenario.figures:
            if found := results.winners(scenario, figure):
                who = ", ".join(peer(results, scenario, name, figure) for name in found)
                ours = shown(results.spread(scenario, OURS, figure.key), figure)
                lines.append(f"* {scenario.id}, {figure.title}: {who}; Windlass {ours}")
    return noted("\n".join(lines)) if lines else "In this run: in no figure of the report."


def circumstances(results: Results) -> str:
    """When, where, how long: one paragraph."""
    about = results.about
    kind = f"A {'part of a' if about['partial'] else 'whole'}{' quick' if about['quick'] else ''} run"
    warning = ", too short to quote" if about["quick"] else ""
    return (
        f"{kind} of {about['minutes']:.0f} minutes on {about['date']}{warning}: "
        f"median of {about['rounds']} interleaved rounds after a warm-up. "
        f"{about['machine']}, Redis {about['redis']}, Python {about['python']} for everybody. "
        f"Load before it began: {about['load']:.2f}. Made by `{about['command']}`."
    )


# --- the whole report -------------------------------------------------------------------------------------------------


def scenario_section(results: Results, scenario: Scenario) -> str:
    """Title, text, a table of all who took part, and what went wrong."""
    main, *others = scenario.figures
    head = ["", "setting", column(main), "lowest to highest", "Windlass is better by", *map(column, others)]
    body = [scenario_row(results, scenario, name) for name in results.ranked(scenario, main)]
    parts = [f"## {scenario.id}. {scenario.title}", scenario.text, table(head, body, left=2)]
    rows = results.rows(scenario)
    if failed := [f"* {name}: {reason}" for name in rows for reason in dict.fromkeys(rows[name]["failures"])]:
        parts.append("Rounds without figures:\n\n" + "\n".join(failed))
    return "\n\n".join(parts)


def column(figure: Figure) -> str:
    """A column's title, with the unit when the title does not say it."""
    return figure.title if figure.unit in {"", figure.title} else f"{figure.title}, {figure.unit}"


def scenario_row(results: Results, scenario: Scenario, name: str) -> list[str]:
    """One contender's line: the first figure with its range and ratio, then the others."""
    main = scenario.figures[0]
    spreads = [results.spread(scenario, name, figure.key) for figure in scenario.figures]
    cells = [
        number(spread.median, figure.digits) if spread else "–"
        for figure, spread in zip(scenario.figures, spreads, strict=True)
    ]
    ends = [number(end, main.digits) for end in (spreads[0].low, spreads[0].high)] if spreads[0] else []
    extent = " to ".join(ends) if len(set(ends)) > 1 else ""
    better = "" if name == OURS else times(results.advantage(scenario, name, main))
    return [label(name), str(results.rows(scenario)[name]["setting"]), cells[0], extent, better, *cells[1:]]


def contenders_section(results: Results) -> str:
    """Who took part, with which versions, and who could not."""
    rows = []
    for contender in results.contenders:
        packages = results.data["contenders"][contender.name].get("packages", {})
        own = {name.partition("==")[0].partition("[")[0] for name in contender.packages}
        versions = [f"{name} {packages[name]}" for name in sorted(packages) if name in own | {OURS} | set(PACKAGES)]
        rows.append([label(contender.name), ", ".join(versions) or "not installed", contender.note])
    parts = ["## Who took part", table(["", "versions", "to know"], rows, left=3)]
    if results.missing:
        parts.append(
            "Could not take part:\n\n" + "\n".join(f"* {name}: {why}" for name, why in results.missing.items())
        )
    return "\n\n".join(parts)


def drawable(results: Results) -> dict[str, str]:
    """The plots that there is data for, and their words."""
    measured = {scenario.id for scenario in results.scenarios}
    return {name: words for name, (words, needed) in PLOTS.items() if measured.issuperset(needed)}


def pictures(results: Results, folder: str) -> list[str]:
    return [f"![{words}]({folder}peers-{name}.png)" for name, words in drawable(results).items()]


def render(results: Results, plots: bool) -> str:
    """The report."""
    parts = [
        "# Windlass and its peers",
        circumstances(results),
        "What each scenario does and how to read the tables: [docs/benchmarks.md](../../docs/benchmarks.md).",
        headlines(results),
        "## Where others win",
        others_win(results),
        *(pictures(results, "") if plots else ()),
        *(scenario_section(results, scenario) for scenario in results.scenarios),
        contenders_section(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


# --- the page of the docs ---------------------------------------------------------------------------------------------

BEGIN, END = "<!-- made by benchmarks/peers/run.py: begin -->", "<!-- made by benchmarks/peers/run.py: end -->"


def into_page(page: str, results: Results, plots: bool) -> str:
    """The page with its generated part made new. Raises `ValueError` when the page has no place for it."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    folder = "../benchmarks/results"
    parts = [circumstances(results), headlines(results)]
    if plots:
        parts += pictures(results, f"{folder}/")
    parts += [
        "### Where others win",
        others_win(results),
        f"Every figure of every library: [the whole report]({folder}/peers.md).",
    ]
    return f"{before}{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}{after}"


def line(scenario: Scenario, figures: dict[str, float]) -> str:
    """A measurement in a line, for those who watch the run."""
    known = [figure for figure in scenario.figures if figure.key in figures][:4]
    return "   ".join(
        f"{figure.title} {number(figures[figure.key], figure.digits)} {'' if figure.unit == figure.title else figure.unit}".rstrip()
        for figure in known
    )
