"""Limits, looked at."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec

from windlass.broker.redis.client import Client
from windlass.broker.redis.records import batched, fence, short
from windlass.core.gates import Gate, LimitInfo, shown
from windlass.core.job import Claim
from windlass.core.terms import gate_name

PAGE = 200
_gate = msgspec.msgpack.Decoder(Gate).decode


class Limits:
    """The verbs of limits, of a broker over `_client`."""

    _client: Client

    async def limits(
        self,
        names: Sequence[tuple[str, str]] | None = None,
        *,
        after: tuple[str, str] | None = None,
        limit: int = 50,
        now: float | None = None,
    ) -> list[LimitInfo]:
        found, last = list[LimitInfo](), gate_name(*after) if after else ""
        wanted = [gate_name(*one) for one in names or ()]
        while len(found) < limit and (wanted or names is None):
            some, wanted = wanted[:PAGE], wanted[PAGE:]
            at, *rows = await self._client.call("limits", b"" if now is None else now, PAGE, last, *some)
            for name, data in batched(rows, 2):
                last = name.decode()
                if data and (one := _shown(last, data, float(at))):
                    found.append(one)
            if names is None and len(rows) < 2 * PAGE:
                break
        return found[:limit]


def _shown(name: str, data: bytes, now: float) -> LimitInfo | None:
    """A gate; None when it cannot be read."""
    try:
        return shown(name, _gate(data), now)
    except (msgspec.DecodeError, ValueError):
        return None


def metered(pairs: Sequence[tuple[Claim, object]]) -> tuple[Any, ...]:
    """What runs say of their limits, as `settle.lua` takes it."""
    said = [(short(claim.id), fence(claim), msgspec.msgpack.encode(claim.meters)) for claim, _ in pairs if claim.meters]
    return len(said), *chain.from_iterable(said)
