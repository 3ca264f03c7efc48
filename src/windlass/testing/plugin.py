"""The pytest plugin: loaded by pytest itself, so it imports nothing of Windlass before a test asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from windlass.app import Windlass
    from windlass.testing.harness import Harness


@pytest.fixture
def windlass_harness() -> Iterator[Callable[..., Harness]]:
    """Makes harnesses, `jobs = windlass_harness(app)` or `windlass_harness(app, inline=True)`, undone after the test."""
    from windlass.testing.harness import Harness

    with ExitStack() as stack:

        def make(app: Windlass, *, inline: bool = False) -> Harness:
            return stack.enter_context(Harness(app, inline=inline))

        yield make
