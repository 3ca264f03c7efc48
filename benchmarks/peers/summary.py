"""The results of a run, and what they come to: medians, spreads, ratios. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peers.catalogue import SCENARIOS, Figure, Scenario
from peers.contenders import BY_NAME, CONTENDERS, OURS, PROBE, Contender

Values = Sequence[float | None]
"""One per round; None where the round came to nothing, or the figure does not exist."""


@dataclass(frozen=True)
class Spread:
    """Several rounds in three numbers."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Values) -> Spread | None:
        """None when there is not one value."""
        known = [value for value in values if value is not None]
        return cls(statistics.median(known), min(known), max(known)) if known else None


def advantage(ours: Values, theirs: Values, lower: bool) -> Spread | None:
    """How many times better we are (below 1: they are), round by round, since what shares a round shares the machine's mood.

    None when no round has both, or one of them is zero.
    """
    ratios = []
    for our, their in zip(ours, theirs, strict=False):
        if our and their:
            ratios.append(their / our if lower else our / their)
    return Spread.of(ratios)


class Results:
    """A run, as it is kept in `peers.json`.

    {"about": {...}, "contenders": {name: {"packages": {...}, "failure": str}},
     "scenarios": {id: {name: {"rounds": [figures or null, ...], "failures": [str, ...], "setting": str}}}}
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self.about: Mapping[str, Any] = data["about"]

    @classmethod
    def of(cls, runs: Sequence[Mapping[str, Any]]) -> Results:
        """Runs of different scenarios that were made one after the other, as one."""
        abouts = [run["about"] for run in runs]
        rounds = sorted({about["rounds"] for about in abouts}, key=str, reverse=True)
        scenarios = {id: rows for run in runs for id, rows in run["scenarios"].items()}
        about = {
            **abouts[0],
            "rounds": " or ".join(map(str, rounds)),
            "minutes": sum(about["minutes"] for about in abouts),
            "load": max(about["load"] for about in abouts),
            "command": "`, `".join(about["command"] for about in abouts),
            "partial": any(set(run["contenders"]) != {one.name for one in CONTENDERS} for run in runs)
            or set(scenarios) != {scenario.id for scenario in SCENARIOS},
        }
        return cls({"about": about, "contenders": runs[0]["contenders"], "scenarios": scenarios})

    @property
    def scenarios(self) -> list[Scenario]:
        """Those that were measured, in the catalogue's order."""
        return [scenario for scenario in SCENARIOS if scenario.id in self.data["scenarios"]]

    @property
    def contenders(self) -> list[Contender]:
        """Those that were asked for, in the table's order."""
        return [contender for contender in CONTENDERS if contender.name in self.data["contenders"]]

    @property
    def missing(self) -> dict[str, str]:
        """Who could not take part at all, and why."""
        found = self.data["contenders"].items()
        return {name: entry["failure"] for name, entry in found if "failure" in entry}

    def rows(self, scenario: Scenario) -> Mapping[str, Mapping[str, Any]]:
        """By contender: its rounds, failures and setting."""
        rows: Mapping[str, Mapping[str, Any]] = self.data["scenarios"].get(scenario.id, {})
        return rows

    def values(self, scenario: Scenario, name: str, key: str) -> list[float | None]:
        """A figure, round by round."""
        rounds = self.rows(scenario).get(name, {}).get("rounds", [])
        return [None if figures is None else figures.get(key) for figures in rounds]

    def spread(self, scenario: Scenario, name: str, key: str) -> Spread | None:
        """A figure over all rounds."""
        return Spread.of(self.values(scenario, name, key))

    def advantage(self, scenario: Scenario, name: str, figure: Figure) -> Spread | None:
        """How many times better Windlass is in a figure than this contender."""
        if figure.lower is None:
            return None
        ours = self.values(scenario, OURS, figure.key)
        return advantage(ours, self.values(scenario, name, figure.key), figure.lower)

    def ranked(self, scenario: Scenario, figure: Figure) -> list[str]:
        """Contenders from best to worst; those without the figure last."""

        def place(name: str) -> tuple[bool, float, str]:
            found = self.spread(scenario, name, figure.key)
            value = found.median if found else 0.0
            return found is None, value if figure.lower else -value, name

        return sorted(self.rows(scenario), key=place)

    def peers(self, scenario: Scenario, figure: Figure) -> list[str]:
        """Only the peers that have the figure, from best to worst."""
        return [
            name
            for name in self.ranked(scenario, figure)
            if name not in {OURS, PROBE} and self.spread(scenario, name, figure.key)
        ]

    def winners(self, scenario: Scenario, figure: Figure) -> list[str]:
        """The peers that are better than Windlass in every round, best first."""
        found = ((name, self.advantage(scenario, name, figure)) for name in self.peers(scenario, figure))
        return [name for name, advantage in found if advantage and advantage.high < 1]


def keeps_results(name: str) -> bool:
    return BY_NAME[name].results
