"""Sites are crawled though workers are killed: every page is visited, few twice, none that robots.txt forbids, and none too soon."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

SCRAPER = Path(__file__).resolve().parents[2] / "examples" / "scraper"


def test_every_page_is_visited_though_workers_are_killed(tmp_path: Path) -> None:
    environment = os.environ | {"WINDLASS_URL": f"sqlite:///{tmp_path}/scraper.db", "WINDLASS_LEASE": "2s"}
    command = [sys.executable, "run.py", "--sites=2", "--pages=60", "--kills=2"]
    said = subprocess.run(
        command, cwd=SCRAPER, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert "120 of 120 pages in the file after 2 kills" in said.stdout
    assert said.stdout.count("another one takes over") == 2
    told = re.findall(r"60 of 60 pages, (\d+) asked for again, 0 private ones, (\d+) ms between", said.stdout)
    assert len(told) == 2
    for again, gap in told:
        assert 1 <= int(again) <= 1 + 2  # the one that was refused at first, and one in hand for each kill
        assert int(gap) >= 20
