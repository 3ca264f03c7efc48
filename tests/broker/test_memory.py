from __future__ import annotations

from windlass.broker.memory import MemoryBroker
from windlass.testing.conformance import Conformance
from windlass.testing.conformance.machine import check_against_model


class TestMemory(Conformance):
    """The model obeys its own port."""


def test_model_makes_only_legal_moves() -> None:
    check_against_model(MemoryBroker)
