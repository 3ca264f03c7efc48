"""Chapter: small records by name."""

from __future__ import annotations

import asyncio

from windlass.broker.port import Broker
from windlass.testing.conformance.kit import Chapter

NAMES = ["", "a", "a\0b", "a b", "b", "z", "é", "日本", "\U0001f600"]
"""By code point."""


class Bookkeeping(Chapter):
    """`put`, `leaf`, `leaves`, `remove`."""

    async def test_put_and_leaf(self, broker: Broker, second: Broker) -> None:
        """Keep data under this name, in the place of what was there; None when there is nothing."""
        assert await second.leaf("s", "a") is None
        await broker.put("s", "a", b"1")
        await broker.put("s", "b", b"")
        assert (await second.leaf("s", "a"), await second.leaf("s", "b")) == (b"1", b"")
        await second.put("s", "a", bytes(range(256)))
        assert await broker.leaf("s", "a") == bytes(range(256))
        assert await broker.leaves("s") == [("a", bytes(range(256))), ("b", b"")]

    async def test_no_more_than_so_many(self, broker: Broker) -> None:
        """Then, with `most`, no more than so many names are on the shelf: the smallest go first, also the one just put."""
        for name in ("b", "d", "c", "e"):
            await broker.put("s", name, name.encode())
            await broker.put("t", name, b"")
        await broker.put("s", "f", b"f", most=3)
        assert await broker.leaves("s") == [("d", b"d"), ("e", b"e"), ("f", b"f")]
        await broker.put("s", "e", b"2", most=3)
        await broker.put("s", "a", b"a", most=3)
        assert await broker.leaves("s") == [("d", b"d"), ("e", b"2"), ("f", b"f")]
        assert await broker.leaf("s", "a") is None
        await broker.put("s", "g", b"g")
        assert len(await broker.leaves("s")) == len(await broker.leaves("t")) == 4
        await broker.put("s", "h", b"h", most=0)
        assert await broker.leaves("s") == []

    async def test_shelves_are_apart(self, broker: Broker) -> None:
        """Names of one shelf."""
        await broker.put("s", "a", b"1")
        await broker.put("t", "a", b"2")
        await broker.put("", "a", b"3")
        assert await broker.remove("s", "a")
        assert [await broker.leaf(shelf, "a") for shelf in ("s", "t", "")] == [None, b"2", b"3"]
        assert [await broker.leaves(shelf) for shelf in ("s", "t")] == [[], [("a", b"2")]]

    async def test_leaves_by_name(self, broker: Broker) -> None:
        """By name; with `newest_first` by descending name."""
        for name in (*NAMES[::2], *NAMES[1::2]):
            await broker.put("s", name, name.encode())
        leaves = [(name, name.encode()) for name in NAMES]
        assert await broker.leaves("s") == leaves
        assert await broker.leaves("s", newest_first=True) == leaves[::-1]

    async def test_leaves_in_pages(self, broker: Broker) -> None:
        """At most `limit`. `after` continues a listing: only names that come after it, in that order, itself there or not."""
        for name in NAMES:
            await broker.put("s", name, b"1")
        for newest_first, right in ((False, NAMES), (True, NAMES[::-1])):
            pages: list[str] = []
            while page := await broker.leaves(
                "s", after=pages[-1] if pages else None, limit=2, newest_first=newest_first
            ):
                assert len(page) <= 2
                pages += [name for name, _ in page]
            assert pages == right
        assert [name for name, _ in await broker.leaves("s", after="c", limit=1)] == ["z"]
        assert [name for name, _ in await broker.leaves("s", after="c", limit=1, newest_first=True)] == ["b"]

    async def test_many_and_large_leaves(self, broker: Broker) -> None:
        """At most `limit`, and no fewer while there are more, whatever one answer of the store can hold."""
        large = [(f"{n:02}", bytes([n]) * 300_000) for n in range(12)]
        await asyncio.gather(*(broker.put("s", *leaf) for leaf in large))
        assert await broker.leaves("s", limit=11) == large[:11]
        assert await broker.leaves("s", limit=11, newest_first=True) == large[:0:-1]

    async def test_remove(self, broker: Broker, second: Broker) -> None:
        """Keep this no longer; answers whether it was there."""
        await broker.put("s", "a", b"1")
        await broker.put("s", "b", b"2")
        assert await second.remove("s", "a")
        assert not await broker.remove("s", "a")
        assert not await broker.remove("nothing", "a")
        assert await broker.leaf("s", "a") is None
        assert await broker.leaves("s") == [("b", b"2")]
