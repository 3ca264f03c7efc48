"""Pictures are painted together, each prompt has its own, and previews stream."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

IMAGEGEN = Path(__file__).resolve().parents[2] / "examples" / "imagegen"


def test_pictures_are_painted_together(tmp_path: Path) -> None:
    environment = os.environ | {"WINDLASS_URL": f"sqlite:///{tmp_path}/imagegen.db"}
    said = subprocess.run(
        [sys.executable, "run.py", "--once"],
        cwd=IMAGEGEN,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.count("256x256") == 6
    assert "12 previews of 'a quiet lake at dawn'" in said.stdout
