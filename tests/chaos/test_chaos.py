"""The catalogue of failures in its short form, judged by the invariants: each scenario on one of its stores, in turn.

`make chaos` sets CHAOS_LONG: then each on all of its stores.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.register_assert_rewrite(*(path.stem for path in Path(__file__).parent.glob("scenarios_*.py")))

from catalogue import CATALOGUE  # noqa: E402 # not before their asserts are told to say what they saw
from scenario import play  # noqa: E402 # the same
from stage import STORES  # noqa: E402 # the same

LONG = "CHAOS_LONG" in os.environ
QUICK = [
    (one.number, store)
    for turn, one in enumerate(one for one in CATALOGUE.values() if one.quick)
    for store in (one.stores if LONG else [one.stores[turn % len(one.stores)]])
]


@pytest.mark.parametrize(("number", "store"), QUICK, ids=[f"{number}-{store}" for number, store in QUICK])
async def test_the_promises_hold(number: str, store: str) -> None:
    if store not in STORES:
        pytest.skip(f"no server for {store} is installed: make packages")
    outcome = await play(CATALOGUE[number], store)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    print(*outcome.notes, sep="\n")
    print(f"{outcome.faults} faults, {outcome.jobs} jobs, {outcome.doubled} ran again, recovery {outcome.recovery} s")
    assert outcome.violations == []
