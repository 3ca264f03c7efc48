"""For all tests: which of them are the chaos suite (`make chaos`), named in one place, and in which order they run."""

from __future__ import annotations

from pathlib import Path

import pytest

CHAOS = {
    "worker/test_supervisor.py": ("",),
    "worker/test_supervisor_troubles.py": ("",),
    "worker/test_blockers.py": ("",),
    "worker/test_restarts.py": ("",),
    "worker/test_zombies.py": ("",),
    "worker/test_trouble.py": ("",),
    "worker/test_process_lane.py": ("death", "killed", "limits", "cancel", "stop"),
    "worker/test_redis_faults.py": ("",),
    "broker/redis/test_redis_connections.py": ("",),
    "broker/redis/test_redis_refusals.py": ("",),
    "broker/redis/test_redis_places.py": ("cluster", "sentinels"),
    "broker/redis/test_redis_damage.py": ("",),
    "broker/test_sqlite_faults.py": ("",),
    "worker/test_evidence.py": ("",),
    "worker/test_leash.py": ("",),
    "worker/test_oom.py": ("",),
    "broker/test_sqlite_store.py": ("kill", "full_disk", "damaged", "dead", "takes_over", "after_the_commit", "fork"),
}
"""Files whose tests kill processes or take the store away, and the words in the names of those that do ("": all)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here) if item.path.is_relative_to(here) else item.path
        words = ("",) if place.parts[0] == "chaos" else CHAOS.get(place.as_posix(), ())
        if any(word in item.name for word in words):
            item.add_marker(pytest.mark.chaos)
    items[:] = _mixed(items)


def _mixed(items: list[pytest.Item]) -> list[pytest.Item]:
    """Between the others, one after the other, those that need a browser: it keeps a core busy, while most of the others wait."""
    browsers: dict[Path, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("browser"):
            browsers.setdefault(item.path, []).append(item)
    others = [item for item in items if not item.get_closest_marker("browser")]
    parts, mixed = len(browsers) + 1, list[pytest.Item]()
    for turn, group in enumerate([*browsers.values(), []]):
        mixed += [*group, *others[turn * len(others) // parts : (turn + 1) * len(others) // parts]]
    return mixed
