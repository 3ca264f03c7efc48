"""The front door is typed: mypy and pyright accept every good call, and report every bad one at its line, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GOOD, BAD = "tests/typing/good.py", "tests/typing/bad.py"
Reported = dict[str, set[int]]
"""The lines reported, by file."""


def run(*command: str) -> str:
    """What a checker prints; its exit code says only that it found something."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def mypy() -> Reported:
    """`mypy --strict` over both files."""
    messages = [json.loads(line) for line in run("mypy", "--output=json", GOOD, BAD).splitlines() if line[:1] == "{"]
    return {
        file: {one["line"] for one in messages if one["file"].endswith(file) and one["severity"] == "error"}
        for file in (GOOD, BAD)
    }


def pyright() -> Reported:
    """pyright over both files, with the project's strict settings."""
    found = json.loads(run("pyright", "--outputjson", GOOD, BAD))
    assert found["summary"]["filesAnalyzed"] == 2, found["summary"]
    messages = found["generalDiagnostics"]
    return {
        file: {one["range"]["start"]["line"] + 1 for one in messages if one["file"].endswith(file)}
        for file in (GOOD, BAD)
    }


@pytest.fixture(scope="session", params=[mypy, pyright], ids=["mypy", "pyright"])
def reported(request: pytest.FixtureRequest) -> Reported:
    """The findings of one checker; each runs once."""
    found: Reported = request.param()
    return found


def marked(file: str) -> set[int]:
    """The lines of a file that are marked `# error`."""
    lines = (ROOT / file).read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# error")}


@pytest.mark.xdist_group("typing")
def test_good_calls_pass(reported: Reported) -> None:
    assert reported[GOOD] == set()


@pytest.mark.xdist_group("typing")
def test_each_bad_call_is_reported_at_its_line_and_nothing_else_is(reported: Reported) -> None:
    expected = marked(BAD)
    assert len(expected) > 40
    assert expected - reported[BAD] == set(), "not reported"
    assert reported[BAD] - expected == set(), "reported without need"
