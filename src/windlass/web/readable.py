"""Whether FastAPI can read a dependency that its user gave us."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ForwardRef

from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant

from windlass.errors import ConfigurationError


def check_readable(dependency: Callable[..., Any] | None, option: str) -> None:
    """Raise `ConfigurationError` when an annotation of it, or of what it depends on, names what FastAPI does not find.

    FastAPI would take such a parameter from the query: whoever asks would say himself who he is. option: what it was given as.
    """
    for unread in _unread(get_dependant(path="/", call=dependency)) if dependency else ():
        raise ConfigurationError(
            f"{option}: {unread} names what its module does not have at run time, so FastAPI would take it from the query;"
            " define that at the top of the module, or import it outside of TYPE_CHECKING"
        )


def _unread(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        if isinstance(wanted := field.field_info.annotation, ForwardRef):
            owner = getattr(dependant.call, "__qualname__", type(dependant.call).__qualname__)
            yield f"{field.name}: {wanted.__forward_arg__} of {owner}"
    for one in dependant.dependencies:
        yield from _unread(one)
