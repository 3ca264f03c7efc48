"""Each photo has its thumbnail, in the order of the photos; one that is none is in nobody's way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

THUMBNAILS = Path(__file__).resolve().parents[2] / "examples" / "thumbnails"


def test_every_photo_has_its_thumbnail(tmp_path: Path) -> None:
    environment = os.environ | {"WINDLASS_URL": f"sqlite:///{tmp_path}/thumbnails.db"}
    command = [sys.executable, "run.py", "--photos=130", "--chunk=7"]
    said = subprocess.run(
        command, cwd=THUMBNAILS, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert "130 photos in 19 jobs" in said.stdout
    assert "000007.jpg: cannot identify image file" in said.stdout
    assert "129 thumbnails, 1 photos that are none" in said.stdout
