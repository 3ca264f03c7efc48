"""What is broken on purpose, in every process of a worker: named points armed inside of a verb, and mutants.

`python -m sabotage worker program:app` is `windlass worker program:app`, broken so.
$CHAOS_ARM="settle:sqlite.before_commit=kill9" arms a failpoint in the transaction of a verb. $CHAOS_MUTANT names one of mutants.py.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from windlass import failpoints


class Patch:
    """Attributes replaced, and how to put them back."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Replace an attribute, of a frozen object too."""
        self._before.append((owner, name, getattr(owner, name)))
        _force(owner, name, value)

    def undo(self) -> None:
        while self._before:
            _force(*self._before.pop())


def _force(owner: Any, name: str, value: Any) -> None:
    (type.__setattr__ if isinstance(owner, type) else object.__setattr__)(owner, name, value)


def apply() -> None:
    """Break this process as its environment says."""
    if wish := os.environ.get("CHAOS_ARM"):
        _arm(wish)
    if name := os.environ.get("CHAOS_MUTANT"):
        _mutate(name, Patch())


def break_down() -> None:
    """Let the import of the program fail while the file $CHAOS_BROKEN is there."""
    if os.path.exists(os.environ.get("CHAOS_BROKEN", "")):
        raise RuntimeError("this deploy is broken")


@contextmanager
def mutated(name: str) -> Generator[None]:
    """Break this process for a while; "": not at all."""
    patch = Patch()
    try:
        if name:
            _mutate(name, patch)
        yield
    finally:
        patch.undo()


def _mutate(name: str, patch: Patch) -> None:
    from mutants import MUTANTS  # they reach into everything; most processes need none of it

    MUTANTS[name].apply(patch)


def _arm(wish: str) -> None:
    from windlass.broker.sqlite import putting, verbs

    name, _, point = wish.partition(":")
    verb = getattr(putting if hasattr(putting, name) else verbs, name)
    run = verb.run

    def armed(tx: Any, items: Any) -> Any:
        failpoints.armed.update([point.split("=")])
        return run(tx, items)

    Patch().set(verb, "run", armed)


if __name__ == "__main__":
    apply()

    from windlass.cli.main import main

    main()
