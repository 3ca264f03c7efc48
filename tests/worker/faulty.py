"""A program whose store fails on demand."""

from __future__ import annotations

from collections import Counter
from typing import Any

from windlass import Windlass
from windlass.errors import BrokerUnavailable


class Faults:
    """What goes wrong: `before` a verb is carried out, or after it (`lost`: it happened, the answer is lost)."""

    def __init__(self) -> None:
        self.before: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.raised: Counter[str] = Counter()

    @property
    def down(self) -> bool:
        return self.before["*"] > 0

    @down.setter
    def down(self, down: bool) -> None:
        self.before["*"] = 1 if down else 0


class FaultyBroker:
    def __init__(self, broker: Any, faults: Faults) -> None:
        self._broker = broker
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._broker, name)
        if name in ("open", "close", "wake"):
            return verb

        async def call(*args: Any, **kwargs: Any) -> Any:
            faults = self._faults
            if faults.down or faults.before[name] > 0:
                faults.before[name] -= 1
                faults.raised[name] += 1
                raise BrokerUnavailable(f"no store for {name}")
            answer = await verb(*args, **kwargs)
            if answer and faults.lost[name] > 0:
                faults.lost[name] -= 1
                faults.raised[name] += 1
                raise BrokerUnavailable(f"no answer to {name}")
            return answer

        return call


class FaultyProgram:
    """`app`, as a worker sees it, over a store with faults."""

    def __init__(self, app: Windlass) -> None:
        self.app = app
        self.faults = Faults()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)

    def make_broker(self) -> Any:
        return FaultyBroker(self.app.make_broker(), self.faults)
