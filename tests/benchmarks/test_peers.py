"""The parts of `benchmarks/peers` that decide what the report says. What is measured is no test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from peers.catalogue import BY_ID, SCENARIOS, Figure
from peers.contenders import BY_NAME, CONTENDERS, OURS, PROBE
from peers.environments import Interpreter, Unavailable, environment, without_places
from peers.jobs import END, RECORD, START, Record, Records
from peers.processes import MARK, marked, sweep, tree
from peers.report import BEGIN, HEADLINES, PLOTS, drawable, headlines, into_page, others_win, render, times
from peers.summary import Results, Spread, advantage

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "benchmarks" / "peers"


def results(scenarios: dict[str, dict[str, list[dict[str, float] | None]]], **more: Any) -> Results:
    """A run of two rounds with these figures."""
    names = dict.fromkeys(name for rows in scenarios.values() for name in rows)
    about = {
        "date": "2026-01-02",
        "machine": "2 x CPU",
        "python": "3.13.0",
        "redis": "7.0.15",
        "rounds": 2,
        "load": 0.1,
    }
    return Results(
        {
            "about": {**about, "quick": False, "partial": True, "minutes": 3.0, "command": "python run.py"},
            "contenders": {name: {"packages": {name: "1.2"}} for name in names} | more,
            "scenarios": {
                id: {name: {"rounds": rounds, "failures": [], "setting": "500"} for name, rounds in rows.items()}
                for id, rows in scenarios.items()
            },
        }
    )


def rates(*values: float) -> list[dict[str, float] | None]:
    return [{"rate": value} for value in values]


# --- statistics -------------------------------------------------------------------------------------------------------


def test_a_spread_is_the_median_and_the_ends_of_what_is_known() -> None:
    assert Spread.of([3, None, 1, 8]) == Spread(3, 1, 8)
    assert Spread.of([None]) is None


def test_ratios_are_taken_round_by_round() -> None:
    """Both are twice as slow in the second round; the ratio is the same."""
    assert advantage([100, 50], [10, 5], lower=False) == Spread(10, 10, 10)


def test_less_is_better_turns_the_ratio_around() -> None:
    assert advantage([2.0], [6.0], lower=True) == Spread(3, 3, 3)


def test_a_round_that_one_of_them_lost_does_not_count() -> None:
    assert advantage([100, None, 90], [None, 5, 9], lower=False) == Spread(10, 10, 10)
    assert advantage([100], [0], lower=False) is None


def test_who_is_better_only_sometimes_does_not_win() -> None:
    found = results({"A": {OURS: rates(100, 100), "ardiq": rates(110, 90), "arq": rates(120, 130)}})
    assert found.winners(BY_ID["A"], BY_ID["A"].figures[0]) == ["arq"]


def test_ranking_puts_those_without_the_figure_last() -> None:
    found = results({"A": {"celery": [None, None], "arq": rates(5, 6), OURS: rates(50, 60)}})
    assert found.ranked(BY_ID["A"], BY_ID["A"].figures[0]) == [OURS, "arq", "celery"]
    less = Figure("rate", "", "", lower=True)
    assert found.ranked(BY_ID["A"], less) == ["arq", OURS, "celery"]


# --- the report -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spread", "text"),
    [
        (Spread(3.52, 3.4, 3.6), "3.5x (3.4 to 3.6)"),
        (Spread(0.71, 0.71, 0.71), "0.71x"),
        (Spread(101, 99, 120), "101x (99 to 120)"),
        (None, "–"),
    ],
)
def test_ratios_are_written_with_the_digits_that_mean_something(spread: Spread | None, text: str) -> None:
    assert times(spread) == text


def test_a_headline_names_the_best_peer_and_never_the_probe() -> None:
    found = results(
        {"A": {OURS: rates(700, 720), "ardiq": rates(200, 180), PROBE: rates(1500, 1500), "celery": rates(9, 9)}}
    )
    (row,) = [line for line in headlines(found).splitlines() if line.startswith("| A |")]
    assert row == "| A | drain, one worker process | 710 jobs/s | ardiq 190 jobs/s | 3.8x (3.5 to 4.0) | 1,500 jobs/s |"


def test_where_others_win_names_all_who_do_and_who_keeps_no_results() -> None:
    found = results({"A": {OURS: rates(10, 10), "repid": rates(30, 30), "ardiq": rates(20, 20), "rq": rates(1, 1)}})
    assert others_win(found).splitlines()[0] == "* A, jobs/s: repid ¹ 30 jobs/s, ardiq 20 jobs/s; Windlass 10 jobs/s"


def test_a_report_shows_every_scenario_contender_and_failure() -> None:
    found = results(
        {
            "A": {OURS: rates(10, 10), "arq": [None, {"rate": 3}]},
            "C": {OURS: [{"trip50": 0.4}], "arq": [{"trip50": 9}]},
        },
        ardiq={"failure": "needs Python 3.12"},
    )
    found.data["scenarios"]["A"]["arq"]["failures"].append("the worker ended by itself with 1")
    text = render(found, plots=False)
    assert "* arq: the worker ended by itself with 1" in text
    assert "* ardiq: needs Python 3.12" in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Where others win", f"## A. {BY_ID['A'].title}", f"## C. {BY_ID['C'].title}", "## Who took part"
    ]  # fmt: skip
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith(" |") for line in tables)
    assert "A part of a run" in text


def test_runs_of_different_scenarios_make_one_report() -> None:
    one = results({"A": {OURS: rates(2, 3), "arq": rates(1, 1)}})
    two = results({"B": {OURS: rates(5), "arq": rates(1)}})
    both = Results.of([one.data, {**two.data, "about": {**two.about, "rounds": 1, "minutes": 4.0, "load": 0.5}}])
    assert [scenario.id for scenario in both.scenarios] == ["A", "B"]
    told = render(both, plots=False)
    assert "A part of a run of 7 minutes" in told
    assert "median of 2 or 1 interleaved rounds" in told
    assert "Load before it began: 0.50" in told


def test_only_plots_that_there_is_data_for_are_shown() -> None:
    found = results({"A": {OURS: rates(1)}, "C": {OURS: [{"trip50": 1.0}]}})
    assert list(drawable(found)) == ["drain"]
    assert re.findall(r"\]\((.*)\)", "\n".join(re.findall(r"^!.*$", render(found, plots=True), re.M))) == [
        "peers-drain.png"
    ]


def test_the_page_of_the_docs_takes_new_figures_and_keeps_its_words() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    first = into_page(page, results({"A": {OURS: rates(10), "arq": rates(1)}}), plots=False)
    second = into_page(first, results({"A": {OURS: rates(77), "arq": rates(1)}}), plots=False)
    assert "10 jobs/s" in first
    assert "10 jobs/s" not in second
    assert "77 jobs/s" in second
    assert second.partition(BEGIN)[0] == page.partition(BEGIN)[0]
    assert "## How to read them" in second
    with pytest.raises(ValueError, match="has no"):
        into_page("no place", results({}), plots=False)


def test_what_processes_say_is_shown_without_places() -> None:
    said = "/home/me/.cache/x/bin/python: see https://host/path and redis://127.0.0.1:1/0, 3/4 done"
    assert without_places(said) == "python: see (an address) and redis://127.0.0.1:1/0, 3/4 done"


# --- the tables -------------------------------------------------------------------------------------------------------


def test_everybody_is_in_the_table() -> None:
    peers = {"celery", "arq", "taskiq", "dramatiq", "rq", "huey", "saq", "streaq", "docket", "repid", "ardiq"}
    assert set(BY_NAME) == peers | {OURS, PROBE}
    assert {path.stem for path in (PEERS / "adapters").glob("*.py")} - {"__init__"} == peers | {OURS}


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda one: one.name)
def test_a_contender_is_complete(contender: Any) -> None:
    """Pinned, written down and with settings for everything; what needs a flag finds it in the adapter."""
    assert all("==" in requirement or contender.name == OURS for requirement in contender.packages)
    source = (PEERS.parent / (contender.adapter.replace(".", "/") + ".py")).read_text()
    assert re.search(r"^SYNC = (True|False)$", source, re.M)
    assert re.search(r"^def commands\(processes: int\) -> list\[list\[str\]\]:$", source, re.M)
    for scenario in SCENARIOS:
        setting = contender.setting(scenario.id)
        assert setting.concurrency > 0
        assert all(f'"{flag}"' in source for flag in setting.flags), setting.flags
    assert contender.skips <= {scenario.id for scenario in SCENARIOS}


def test_every_scenario_has_its_measurement() -> None:
    sources = "".join((PEERS / name).read_text() for name in ("measure.py", "crash.py"))
    for scenario in SCENARIOS:
        assert f"async def {scenario.measure}(bench: Bench) -> Figures:" in sources
        assert scenario.quick.keys() <= scenario.full.keys()


def test_headlines_and_plots_are_of_figures_that_exist() -> None:
    for id, key, _ in HEADLINES:
        assert key in {figure.key for figure in BY_ID[id].figures}
    assert all(BY_ID.keys() >= set(needed) for _, needed in PLOTS.values())


def test_a_contender_that_needs_a_newer_python_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"ardiq needs Python 3\.12, this run has 3\.11\.7"):
        environment(BY_NAME["ardiq"], Interpreter(sys.executable, (3, 11, 7)), tmp_path)


# --- what is measured with ---------------------------------------------------------------------------------------------


def test_records_are_read_whole(tmp_path: Path) -> None:
    records = Records(tmp_path / "records")
    records.path.write_bytes(RECORD.pack(7, START, 11, 1.5) + RECORD.pack(7, END, 11, 2.5) + b"half")
    assert records.count() == 2
    assert records.read() == [Record(7, START, 11, 1.5), Record(7, END, 11, 2.5)]
    records.clear()
    assert records.read() == []


def test_a_sweep_ends_what_carries_the_mark_and_nothing_else() -> None:
    """A grandchild, too, whose parent has gone."""
    waits = [sys.executable, "-c", "import time; time.sleep(60)"]
    orphaning = [sys.executable, "-c", f"import subprocess; subprocess.Popen({waits!r})"]
    mine, other = f"{id(waits)}-mine.", f"{id(waits)}-other."
    subprocess.run(orphaning, env={MARK: mine}, check=True)
    with subprocess.Popen(waits, env={MARK: other}) as spared:
        try:
            assert len(marked(mine)) == 1
            sweep(mine)
            assert marked(mine) == []
            assert tree([spared.pid]) == [spared.pid]
            assert spared.poll() is None
        finally:
            spared.kill()
