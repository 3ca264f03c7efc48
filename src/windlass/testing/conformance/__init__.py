"""The conformance suite: the port's sentences as tests, for any broker.

```python
import pytest
from windlass.testing.conformance import Conformance
from windlass.testing.conformance.machine import check_against_model

@pytest.fixture
async def broker(): ...     # an open, empty broker; closed afterwards

@pytest.fixture
async def second(broker): ...   # another open connection to the same store

class TestMine(Conformance): ...

def test_mine_agrees_with_the_model(tmp_path_factory):
    check_against_model(lambda: MyBroker(...))   # a fresh, empty store with each call
```

The chapters need pytest and pytest-asyncio, the machine Hypothesis too. What the port leaves open (ties) no test asks for.
"""

import pytest

pytest.register_assert_rewrite(__name__)

from windlass.testing.conformance.claim import Claiming  # noqa: E402 - registered first, so that a failing assert explains itself
from windlass.testing.conformance.enqueue import Enqueueing  # noqa: E402
from windlass.testing.conformance.inspect import Looking, Steering  # noqa: E402
from windlass.testing.conformance.journal import Journalling  # noqa: E402
from windlass.testing.conformance.presence import Beating  # noqa: E402
from windlass.testing.conformance.settle import Settling  # noqa: E402
from windlass.testing.conformance.upkeep import Promoting, Pruning, Reclaiming  # noqa: E402
from windlass.testing.conformance.waiting import Crowding, Waiting  # noqa: E402


class Conformance(
    Enqueueing,
    Claiming,
    Settling,
    Beating,
    Journalling,
    Promoting,
    Reclaiming,
    Pruning,
    Looking,
    Steering,
    Waiting,
    Crowding,
):
    """Every chapter."""


__all__ = ["Conformance"]
