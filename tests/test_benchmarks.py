"""The benchmarks run. What they measure is no test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_the_benchmarks_run(store: str, tmp_path: Path) -> None:
    command = [sys.executable, "run.py", "--store", store, "--rounds", "1", "--quick", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| enqueue awaited one by one |" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_worker_can_be_profiled() -> None:
    command = [sys.executable, "profile_worker.py", "--jobs", "300", "--rounds", "1"]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "us of CPU per job, 500 at once" in done.stdout


def test_fairness_is_measured() -> None:
    """A twentieth of the work; the bar holds for it, too."""
    command = [sys.executable, "fairness.py", "--store", "memory", "--store", "sqlite", "--jobs", "5000"]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    starts = [int(line.split("|")[2].replace(",", "")) for line in done.stdout.splitlines()[2:]]
    assert starts == [1000, 1000]


@pytest.mark.parametrize(
    "words", [("suspended.py", "--flows", "200"), ("workflows.py", "--jobs", "200", "--due", "300", "--rounds", "1")]
)
def test_flows_and_joins_are_measured(words: tuple[str, ...]) -> None:
    """In small. They see for themselves that all ended, and ended right."""
    command = [sys.executable, *words, "--store", "sqlite"]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2].startswith("| sqlite |")
