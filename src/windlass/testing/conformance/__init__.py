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

from windlass.testing.conformance.book import Bookkeeping
from windlass.testing.conformance.claim import Claiming
from windlass.testing.conformance.enqueue import Enqueueing
from windlass.testing.conformance.inspect import Looking, Steering
from windlass.testing.conformance.journal import Journalling
from windlass.testing.conformance.keys import Keeping, Replacing
from windlass.testing.conformance.letters import Writing
from windlass.testing.conformance.limits import Limiting
from windlass.testing.conformance.measures import Listing, Measuring, Speaking
from windlass.testing.conformance.meeting import Meeting
from windlass.testing.conformance.order import Ageing, Sharing
from windlass.testing.conformance.parts import Parting
from windlass.testing.conformance.presence import Beating
from windlass.testing.conformance.settle import Settling
from windlass.testing.conformance.upkeep import Promoting, Pruning, Reclaiming
from windlass.testing.conformance.waiting import Crowding, Waiting


class Conformance(
    Enqueueing,
    Keeping,
    Replacing,
    Claiming,
    Sharing,
    Ageing,
    Settling,
    Beating,
    Journalling,
    Writing,
    Parting,
    Promoting,
    Reclaiming,
    Pruning,
    Looking,
    Steering,
    Measuring,
    Speaking,
    Listing,
    Limiting,
    Meeting,
    Bookkeeping,
    Waiting,
    Crowding,
):
    """Every chapter."""


__all__ = ["Conformance"]
