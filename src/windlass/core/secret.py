"""Secret arguments: marked in an annotation, known by value while a job runs, and taken out of every text that it gives."""

from __future__ import annotations

import json
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import to_jsonable_python
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

SHOWN = "[secret]"
"""What is shown instead of a secret."""
SHORTEST = 4
"""Characters of the shortest text that is taken out: a shorter one would tear up other words."""

_noted: ContextVar[list[Any] | None] = ContextVar("windlass_secrets", default=None)


def _note(value: Any) -> Any:
    if (noted := _noted.get()) is not None:
        noted.append(value)
    return value


class Secret:
    """Marks what must not be shown, a parameter or a field of a model or dataclass: `token: Annotated[str, Secret]`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(_note, handler(source))


class Values(dict[str, Any]):
    """Arguments by name, of which those in `hidden` are shown to nobody. secrets: the marked values in them."""

    def __init__(self, values: Mapping[str, Any], hidden: Collection[str], secrets: Sequence[Any] = ()) -> None:
        super().__init__(values)
        self.hidden = hidden
        self.secrets = secrets

    def __repr__(self) -> str:
        return repr(self.shown())

    def shown(self) -> dict[str, Any]:
        """The arguments, as everybody may see them."""
        return {name: SHOWN if name in self.hidden else value for name, value in self.items()}


@contextmanager
def noting() -> Generator[list[Any]]:
    """The values of what is marked, as they are validated within the block."""
    noted: list[Any] = []
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def marked(schema: Any, definitions: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> bool:
    """Whether a pydantic core schema has a mark in it. definitions: the schemas that it refers to, by their names."""
    if isinstance(schema, (list, tuple)):
        return any(marked(part, definitions, seen) for part in schema)
    if not isinstance(schema, Mapping):
        return schema is _note
    if (name := schema.get("schema_ref")) is not None:
        return name not in seen and marked(definitions.get(name), definitions, seen | {name})
    return any(marked(part, definitions, seen) for key, part in schema.items() if key not in ("metadata", "cls"))


def texts(values: Iterable[Any]) -> set[str]:
    """The texts in which secret values may show: as they are, line by line, and as Python and JSON write them."""
    found: set[str] = set()
    for value in values:
        if isinstance(value, bytes):
            found |= texts([repr(value)[2:-1], value.decode(errors="replace")])
        if isinstance(value, Mapping):
            found |= texts(value.values())
        elif isinstance(value, (list, tuple, set, frozenset)):
            found |= texts(value)
        elif isinstance(value, str):
            for text in (value, value.strip(), *map(str.strip, value.splitlines())):
                quoted = repr(text), json.dumps(text), json.dumps(text, ensure_ascii=False)
                found |= {text, *(one[1:-1] for one in quoted), quoted[0][1:-1].replace("\\'", "'")}
        elif value is not None and not isinstance(value, bool):
            plain = to_jsonable_python(value, bytes_mode="base64", inf_nan_mode="strings", fallback=str)
            found |= {str(value)} if isinstance(plain, (int, float)) else texts([plain])
    return {text for text in found if len(text) >= SHORTEST}
