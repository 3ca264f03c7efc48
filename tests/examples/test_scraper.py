"""The scraper goes on where a killed worker was: every page is visited, few of them twice, and none that robots.txt forbids."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

SCRAPER = Path(__file__).resolve().parents[2] / "examples" / "scraper"


def test_every_page_is_visited_though_workers_are_killed(tmp_path: Path) -> None:
    environment = os.environ | {"WINDLASS_URL": f"sqlite:///{tmp_path}/scraper.db", "WINDLASS_LEASE": "2s"}
    command = [sys.executable, "run.py", "--pages=240", "--kills=2"]
    said = subprocess.run(
        command, cwd=SCRAPER, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr
    told = re.search(r"240 of 240 pages in the file; (\d+) were asked for again after 2 kills; 0 private", said.stdout)
    assert told is not None
    assert said.stdout.count("another one takes over") == 2
    assert int(told[1]) < 120
