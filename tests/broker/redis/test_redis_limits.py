"""Limits in Redis: what time brings, what nobody needs any more, and records that somebody else wrote."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from servers import BINARIES, MISSING, RedisServer
from windlass.broker.redis import records
from windlass.broker.redis.broker import RedisBroker
from windlass.core.gates import Gate
from windlass.core.job import Card
from windlass.core.state import State
from windlass.core.terms import Use
from windlass.testing.conformance.kit import DONE, NOW, add, end, hire, state, take
from windlass.testing.conformance.limits import ONE, counts, put, states, using

pytestmark = pytest.mark.skipif(not BINARIES, reason=MISSING)
OF_LIMITS = ("gates", "gate_names", "stands", "passed", "opening", "idling", "waiting", "gate:openai\x1falice")


async def test_a_promote_waits_until_the_next_one_may_pass(broker: RedisBroker) -> None:
    """Its wait ends by itself then, also when that was not known when it began."""
    await broker.beat("w", Card(host="here", pid=1), 60.0)
    waiting = asyncio.ensure_future(broker.promote(wait=60.0))
    await asyncio.wait({waiting}, timeout=0.05)
    assert not waiting.done()
    use = Use("openai", rate=10.0)
    first, second = [one.id for one in await broker.enqueue([using(use), using(use)])]
    assert [one.id for one in await broker.claim(["default"], {"loop": 9}, "w")] == [first]
    assert [one.id for one in await asyncio.wait_for(waiting, 20.0)] == [second]


async def test_nothing_is_left_behind(broker: RedisBroker, shared: RedisServer) -> None:
    """When nobody needs a limit any more, no key of it is there."""
    await hire(broker)
    slow = Use("slow", rate=1.0, running=1)
    await put(broker, ONE, slow, many=3)
    await put(broker, Use("order", ordered=True), many=2)
    while claims := await take(broker, now=NOW + 1):
        await broker.settle([(claim, DONE) for claim in claims], now=NOW + 1)
        await broker.promote(now=NOW + 1)
        NOW_ON = NOW + 9
        await broker.promote(now=NOW_ON)
    await broker.prune(now=NOW + 20)
    assert await broker.limits(now=NOW + 20) == []
    assert [key for key in OF_LIMITS if shared.command("EXISTS", f"{{windlass}}:{key}") not in (0, b"0")] == []


async def test_a_gate_that_cannot_be_read_is_an_empty_one(broker: RedisBroker, shared: RedisServer) -> None:
    """Jobs go on; what was held then is not known any more."""
    mine = await put(broker, ONE, many=2)
    shared.command("HSET", "{windlass}:gates", ONE.gate, "nonsense")
    more = await put(broker, ONE)
    assert State.READY in {await state(broker, one) for one in (*mine, *more)}
    await hire(broker)
    for claim in await take(broker):
        assert await end(broker, claim)


async def test_terms_that_cannot_be_read_limit_nothing(broker: RedisBroker, shared: RedisServer) -> None:
    """A job whose terms were damaged is in nobody's way, and leaves the gate where it stood."""
    mine = await put(broker, ONE, many=3)
    shared.command("HSET", "{windlass}:terms", records.short(mine[1]), b"\xc1")
    await hire(broker)
    (claim,) = await take(broker)
    _, ready = await broker.settle([(claim, DONE)], now=NOW)
    assert [one.id for one in ready] == mine[2:]
    assert await broker.cancel(mine[1:2], now=NOW) == {mine[1]: State.CANCELLED}
    assert await states(broker, mine[::2]) == "su re"


async def test_one_that_cannot_be_read_does_not_spoil_the_others(broker: RedisBroker, shared: RedisServer) -> None:
    """What the others of its claim and of its settle hold is counted."""
    mine = await put(broker, Use("openai", "alice", rate=1.0, burst=9), many=3)
    shared.command("HSET", "{windlass}:terms", records.short(mine[0]), b"\xc1")
    await hire(broker)
    claims = await take(broker)
    assert await counts(broker) == (3, 1, 0)
    applied, _ = await broker.settle([(claim, DONE) for claim in claims], now=NOW)
    assert applied == [True] * 3
    assert await counts(broker) == (1, 1, 0)


async def test_somebody_deleted_who_stood_there(broker: RedisBroker, shared: RedisServer) -> None:
    """A gate without its line lets pass who comes next."""
    first, lost = await put(broker, ONE, many=2)
    shared.command("DEL", "{windlass}:gate:openai\x1falice")
    await broker.cancel([first], now=NOW)
    assert await state(broker, await add(broker, terms=using(ONE).terms)) is State.READY
    assert await state(broker, lost) is State.WAITING
    assert await counts(broker) == (1, 0, 0)


def test_a_gate_is_the_same_record_in_python() -> None:
    """The script packs its eleven fields in the order of the class."""
    gate = Gate(1.0, 2.0, 3.0, 4.0, 5.0, 6, 7.0, 8.0, 9.0, "turn", 10.0)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(gate), type=Gate) == gate
    assert len(Gate.__struct_fields__) == 11
