"""The training goes on where a killed worker was, and comes to the same model."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

TRAINING = Path(__file__).resolve().parents[2] / "examples" / "training"
EPOCHS = 20


def test_no_epoch_is_trained_twice_though_workers_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = os.environ | {"WINDLASS_URL": f"sqlite:///{tmp_path}/training.db", "WINDLASS_LEASE": "2s"}
    command = [sys.executable, "run.py", f"--epochs={EPOCHS}", "--kills=2"]
    said = subprocess.run(
        command, cwd=TRAINING, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr
    runs = [(int(first), int(last)) for first, last in re.findall(r"trained the epochs (\d+) to (\d+)", said.stdout)]
    assert len(runs) == 3
    assert [epoch for first, last in runs for epoch in range(first, last + 1)] == list(range(1, EPOCHS + 1))

    monkeypatch.syspath_prepend(TRAINING)
    import digits

    weights = digits.blank()
    for epoch in range(EPOCHS):
        digits.learn(weights, list(digits.pictures(1000, random.Random(f"1 {epoch}"))))
    alone = digits.accuracy(weights, list(digits.pictures(500, random.Random("1 unseen"))))
    assert alone > 0.9
    assert f"the model tells {alone:.1%} of the digits" in said.stdout
