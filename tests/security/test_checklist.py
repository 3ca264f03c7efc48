"""The checklist names every attack, and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
ROWS = re.findall(r"^\| (S\d.*?) \| (.*) \|$", (HERE / "README.md").read_text(), re.MULTILINE)


def test_every_attack_has_a_row() -> None:
    numbers: list[int] = []
    for attacks, _ in ROWS:
        first, *last = [int(number) for number in re.findall(r"S(\d+)", attacks)]
        numbers += range(first, (last or [first])[0] + 1)
    assert numbers == list(range(1, 43))


def test_every_row_names_tests_that_exist_or_says_why_there_are_none() -> None:
    for attacks, row in ROWS:
        *_, happens, tests = row.split(" | ") if not row.endswith(" |") else (*row.removesuffix(" |").split(" | "), "")
        named = re.findall(r"`([\w./]+\.py)(?:::(\w+))?`", tests)
        assert bool(named) is not happens.startswith("not applicable: "), attacks
        for file, test in named:
            text = (HERE / file).read_text()
            assert (
                re.search(rf"^(?:async )?(?:def|class) {test}\b", text, re.MULTILINE) if test else "def test_" in text
            ), (file, test)
