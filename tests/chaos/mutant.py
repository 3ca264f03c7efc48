"""What a mutant is, and the means to make one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sabotage import Patch

from windlass.broker.redis import client
from windlass.broker.redis.scripts import Script, _script
from windlass.broker.sqlite import schema, verbs, writer

SQLITE, REDIS = "sqlite", "redis"


@dataclass(frozen=True)
class Mutant:
    """what: is broken. found: which scenario turns red, and a word of what it then says. stores: where. quick: part of `make test`."""

    name: str
    what: str
    apply: Callable[[Patch], None]
    found: Mapping[str, str]
    stores: Sequence[str]
    quick: bool


MUTANTS: dict[str, Mutant] = {}


def mutant(
    what: str, found: Mapping[str, str], stores: Sequence[str] = (SQLITE, REDIS), *, quick: bool = False
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Enter a way to break the product."""

    def enter(apply: Callable[[Patch], None]) -> Callable[[Patch], None]:
        name = apply.__name__.replace("_", "-")
        MUTANTS[name] = Mutant(name, what, apply, found, stores, quick)
        return apply

    return enter


def here(module: Any) -> Any:
    """That module as it runs in this process, should it be the main one."""
    main = sys.modules["__main__"]
    return main if getattr(main.__spec__, "name", "") == module.__name__ else module


def statement(patch: Patch, name: str, old: str, new: str) -> None:
    """Change a statement of SQLite."""
    text = writer.sql(name)
    assert old in text, f"the statement {name} has changed; so must this mutant"
    for module in (writer, verbs):
        before = module.sql
        patch.set(
            module,
            "sql",
            lambda wanted, before=before, **slots: (
                text.replace(old, new) if wanted == name else before(wanted, **slots)
            ),
        )


def statement_of_rows(patch: Patch, name: str, old: str, new: str) -> None:
    """Change a statement of SQLite that is for many rows."""
    assert old in schema.sql(name, rows="{rows}"), f"the statement {name} has changed; so must this mutant"
    before = schema.sql_rows
    patch.set(schema, "sql_rows", lambda *args: before(*args).replace(old, new))


def script(patch: Patch, changes: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Change scripts of Redis: for each verb, texts and what stands there instead."""
    load = client.load

    def broken() -> dict[str, Script]:
        scripts = load()
        for verb, pairs in changes.items():
            text = scripts[verb].text.decode()
            for old, new in pairs:
                assert old in text, f"the script {verb} has changed; so must this mutant"
                text = text.replace(old, new)
            scripts[verb] = _script(verb, text, "")
        return scripts

    patch.set(client, "load", broken)
