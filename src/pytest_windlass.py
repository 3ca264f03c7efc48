"""The pytest plugin. Beside the package, because pytest loads it in every run: nothing of Windlass is imported before a test asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from windlass.app import Windlass
    from windlass.testing import Harness

pytest.register_assert_rewrite("windlass.testing.conformance")  # so that a failing assert of the suite explains itself


@pytest.fixture
def windlass_harness() -> Iterator[Callable[..., Harness]]:
    """Makes harnesses, `jobs = windlass_harness(app)` or `windlass_harness(app, inline=True)`, undone after the test."""
    from windlass.testing import Harness

    with ExitStack() as stack:

        def make(app: Windlass, *, inline: bool = False) -> Harness:
            return stack.enter_context(Harness(app, inline=inline))

        yield make
