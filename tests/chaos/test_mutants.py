"""The proof that the suite tests something: it turns red when the product is broken on purpose, in each way that is known to us.

In its short form some of the mutants, each on one of its stores, in turn. `make chaos` sets CHAOS_LONG: then all on all of their stores.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.register_assert_rewrite(*(path.stem for path in Path(__file__).parent.glob("scenarios_*.py")))

from catalogue import CATALOGUE  # noqa: E402 # not before their asserts are told to say what they saw
from mutants import MUTANTS  # noqa: E402 # the same
from scenario import play  # noqa: E402 # the same
from stage import STORES  # noqa: E402 # the same

PATIENCE = 8.0
"""Seconds for what will not happen."""
LONG = "CHAOS_LONG" in os.environ
KNOWN = [
    (one.name, number, [store for store in one.stores if store in CATALOGUE[number].stores])
    for one in MUTANTS.values()
    if one.quick or LONG
    for number in one.found
]
WHICH = [
    (name, number, store)
    for turn, (name, number, stores) in enumerate(KNOWN)
    for store in (stores if LONG else [stores[turn % len(stores)]])
]


@pytest.mark.parametrize(("name", "number", "store"), WHICH, ids=map("-".join, WHICH))
async def test_what_is_broken_is_found(name: str, number: str, store: str) -> None:
    if store not in STORES:
        pytest.skip(f"no server for {store} is installed: make packages")
    outcome = await play(CATALOGUE[number], store, mutant=name, patience=PATIENCE)
    print(*outcome.violations[:3], sep="\n")
    word = MUTANTS[name].found[number]
    assert any(word in violation for violation in outcome.violations), f"{name} survived: {MUTANTS[name].what}"
