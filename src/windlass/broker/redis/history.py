"""The verbs of the history and of the book: each one script, called again for what one answer cannot hold."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from math import inf
from typing import Any, cast

import msgspec

from windlass.broker.damaged import decoder
from windlass.broker.redis.client import Client
from windlass.broker.redis.records import batched
from windlass.core.measures import STEPS, Fault, Histogram, Mark, Report, Rollup
from windlass.errors import StoreCorrupt

_counts = msgspec.msgpack.Decoder(tuple[int, list[int], list[int]])
_fault = decoder(msgspec.msgpack.Decoder(Fault).decode)
KEPT = tuple(chain.from_iterable(STEPS.items()))
"""Steps and how long their spans are kept, as `prune.lua` takes them."""


class History:
    """What a broker over `_client` can do beside jobs."""

    _client: Client

    async def record(self, writer: str, number: int, report: Report, *, now: float | None = None) -> bool:
        told = msgspec.msgpack.encode(report)
        return bool(await self._client.call("record", b"" if now is None else now, writer, number, told))

    async def series(
        self, step: int, since: float, until: float, *, queue: str | None = None, task: str | None = None
    ) -> list[Rollup]:
        found, more = list[Rollup](), cast(Any, since)
        filters = "" if queue is None else f"{queue}\0", "" if task is None else f"\0{task}\0"
        while more is not None:
            more, *spans = await self._client.call("series", step, more, until, *filters)
            for at, counted in batched(spans, 2):
                rollups = list[Rollup]()
                for field, stored in batched(counted, 2):
                    with suppress(StoreCorrupt):
                        rollups.append(_rollup(field, stored, int(at), step))
                found += sorted(rollups, key=lambda one: one.key)
        return found

    async def faults(self, limit: int = 50, *, before: tuple[float, str] | None = None) -> list[Fault]:
        found, left = list[Fault](), limit
        last: Any = before or (inf, "")
        while left > 0 and (page := list(batched(await self._client.call("faults", left, *last), 3))):
            for *_, stored in page:
                with suppress(StoreCorrupt):
                    found.append(_fault(stored))
            left, last = left - len(page), page[-1][:2]
        return found

    async def mark(self, fingerprints: Sequence[str], state: Mark, until: float = 0.0) -> list[str]:
        if not fingerprints:
            return []
        return list(map(bytes.decode, await self._client.call("mark", state, until, *dict.fromkeys(fingerprints))))

    async def put(self, shelf: str, name: str, data: bytes, most: int | None = None) -> None:
        await self._client.call("put", shelf, name, data, "" if most is None else most)

    async def leaf(self, shelf: str, name: str) -> bytes | None:
        found: bytes | None = await self._client.call("leaf", shelf, name)
        return found

    async def leaves(
        self, shelf: str, *, after: str | None = None, limit: int = 50, newest_first: bool = False
    ) -> list[tuple[str, bytes]]:
        found = list[tuple[str, bytes]]()
        command, start, end = ("ZREVRANGEBYLEX", b"+", b"-") if newest_first else ("ZRANGEBYLEX", b"-", b"+")
        if after is not None:
            start = b"(" + after.encode()
        while page := await self._client.call("leaves", shelf, command, start, end, limit - len(found)):
            found += [(name.decode(errors="replace"), data) for name, data in batched(page, 2) if data is not None]
            start = b"(" + page[-2]
        return found

    async def remove(self, shelf: str, name: str) -> bool:
        return bool(await self._client.call("remove", shelf, name))


@decoder
def _rollup(field: bytes, stored: bytes, at: int, step: int) -> Rollup:
    """A rollup of an answer of `series.lua`. Raises `StoreCorrupt`."""
    queue, task, outcome = field.decode().rsplit("\0", 2)
    count, wait, run = _counts.decode(stored)
    return Rollup(queue, task, outcome, count, _histogram(wait), _histogram(run), at, step)


def _histogram(counts: Sequence[int]) -> Histogram:
    return {bucket: count for bucket, count in enumerate(counts) if count}
