"""The history in Redis: what somebody else does to its keys costs what it hits, no more."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import msgspec
import pytest

from servers import RedisServer
from windlass.broker.redis.broker import RedisBroker
from windlass.core.measures import Report, seen, span
from windlass.errors import StoreCorrupt, StoreFull
from windlass.testing.conformance.kit import NOW
from windlass.testing.conformance.measures import counted, dated, failed, rollup, sighting

ROOT = "{windlass}:"
SPAN = f"{ROOT}span:60:{span(NOW, 60)}"
REPORT = Report([rollup(), rollup(task="u")], [sighting(), sighting("g")])
WRONG: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "text": lambda _: b"somebody was here",
    "cut short": lambda right: right[: len(right) // 2],
    "other types": lambda right: msgspec.msgpack.encode(["?"] * len(msgspec.msgpack.decode(right))),
    "lists": lambda right: msgspec.msgpack.encode([[]] * len(msgspec.msgpack.decode(right))),
    "no list": lambda _: b"\x07",
    "half a list": lambda _: b"\x93\x01\x90",
}
"""What stands in the place of a record."""
damages = pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)


def overwrite(server: RedisServer, key: str, field: str, wrong: Callable[[bytes], bytes]) -> None:
    """Put something else in the place of a record that is there."""
    with server.client(decode_responses=False) as client:
        right = client.hget(key, field)
        assert right is not None
        client.hset(key, field, wrong(right))


@damages
async def test_a_damaged_count_is_passed_over_and_begins_anew(
    shared: RedisServer, broker: RedisBroker, wrong: Callable[[bytes], bytes]
) -> None:
    await broker.record("w", 1, REPORT, now=NOW)
    overwrite(shared, SPAN, "q\0t\0succeeded", wrong)
    assert await broker.series(60, 0, inf) == [dated(rollup(task="u"), 60)]
    await broker.record("w", 2, REPORT, now=NOW)
    assert await broker.series(60, 0, inf) == [dated(rollup(), 60), dated(rollup(task="u", count=2), 60)]
    assert [one.count for one in await broker.series(3600, 0, inf)] == [2, 2], "the others have it still"


@damages
async def test_a_damaged_fault_is_passed_over_and_begins_anew(
    shared: RedisServer, broker: RedisBroker, wrong: Callable[[bytes], bytes]
) -> None:
    await broker.record("w", 1, REPORT, now=NOW)
    overwrite(shared, f"{ROOT}faults", "f", wrong)
    right = seen(None, sighting("g"), NOW)
    assert await broker.faults() == [right]
    assert await broker.faults(1) == [right]
    assert await broker.mark(["g"], "open") == ["g"]
    await broker.record("w", 2, failed(sighting()), now=NOW + 1)
    assert await broker.faults() == [seen(None, sighting(), NOW + 1), right]


@pytest.mark.parametrize("key", ["span:60", "spans:600", "faults", "sighted", "told", "writers"])
async def test_a_key_of_another_type_ends_a_report_before_anything_was_written(
    shared: RedisServer, broker: RedisBroker, key: str
) -> None:
    name = SPAN if key == "span:60" else f"{ROOT}{key}"
    with shared.client() as client:
        client.set(name, "somebody's")
        with pytest.raises(StoreCorrupt):
            await broker.record("w", 1, REPORT, now=NOW)
        assert client.keys() == [name]
        client.delete(name)
    assert await broker.record("w", 1, REPORT, now=NOW)
    assert [one.count for one in await broker.series(60, 0, inf)] == [1, 1]
    assert [one.count for one in await broker.faults()] == [1, 1]


async def test_deleted_keys_are_missed_by_nobody(shared: RedisServer, broker: RedisBroker) -> None:
    await broker.record("w", 1, REPORT, now=NOW)
    for name in ("one", "two"):
        await broker.put("s", name, b"1")
    with shared.client() as client:
        client.delete(SPAN, f"{ROOT}faults")
        client.hdel(f"{ROOT}shelf:s", "one")
    assert (await broker.series(60, 0, inf), await broker.faults()) == ([], [])
    assert await broker.leaves("s") == [("two", b"1")]
    await broker.record("w", 2, REPORT, now=NOW)
    assert [one.count for one in await broker.series(60, 0, inf)] == [1, 1]


async def test_a_full_server_takes_no_report_but_forgets(start: Callable[..., RedisServer]) -> None:
    server = start(maxmemory_policy="noeviction")
    broker = RedisBroker(server.url())
    await broker.open()
    try:
        await broker.record("w", 1, counted(rollup()), now=NOW)
        with server.client() as client:
            client.config_set("maxmemory", "1")
            with pytest.raises(StoreFull):
                await broker.record("w", 2, counted(rollup()), now=NOW)
            await broker.prune(now=NOW * 2)
            assert await broker.series(60, 0, inf) == []
            client.config_set("maxmemory", "0")
        assert await broker.record("w", 2, counted(rollup()), now=NOW)
    finally:
        await broker.close()


async def test_nothing_of_the_history_stays_for_ever(shared: RedisServer, broker: RedisBroker) -> None:
    """However many spans and writers there were: what is left is bounded."""
    for n in range(20):
        await broker.record(f"w{n}", 1, REPORT, now=NOW + 4000 * n)
    await broker.prune(now=NOW * 2)
    with shared.client() as client:
        assert sorted(client.keys()) == [f"{ROOT}faults", f"{ROOT}sighted"]
