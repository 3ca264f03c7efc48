"""What somebody else does to our keys: damaged records, deleted and changed keys, an emptied server. It costs what it hits, no more."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from faults import CARD, SOON, journal, said_well, soon, started, waiting, works
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from servers import RedisServer
from windlass.broker.damaged import UNREADABLE
from windlass.broker.redis import broker as broker_module
from windlass.broker.redis import records
from windlass.broker.redis.broker import RedisBroker
from windlass.core.ids import new_id
from windlass.core.job import JobId
from windlass.core.outcome import Retried
from windlass.core.state import State
from windlass.core.terms import Terms
from windlass.errors import BrokerError, PayloadTooLarge, StoreCorrupt
from windlass.testing.conformance.kit import AGAIN, DONE, ERROR, entry, job, look, state

ROOT = "{windlass}:"
NAN = float("nan")
WRONG: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "zero": lambda _: b"\0",
    "random": lambda _: bytes(range(7, 250, 3)),
    "pickle": lambda _: pickle.dumps({"task": "os.system", "args": ["true"]}),
    "text": lambda _: b"somebody was here " * 20,
    "cut short": lambda right: right[: len(right) // 2],
    "cut at the end": lambda right: right[:-1],
    "head only": lambda right: right[:20],
    "other types": lambda right: msgspec.msgpack.encode(["?"] * len(msgspec.msgpack.decode(right))),
    "no numbers": lambda right: msgspec.msgpack.encode([NAN] * len(msgspec.msgpack.decode(right))),
    "no text": lambda right: right.replace(b"tests.task", b"tests\xfftask").replace(b"\xa1w", b"\xa1\xff"),
    "longer": lambda right: right + right,
}
"""What stands in the place of a record."""


def raw(server: RedisServer, *words: object) -> Any:
    """The answer to one command, in bytes."""
    with server.client(decode_responses=False) as client:
        return client.execute_command(*words)


def damage(server: RedisServer, kind: str, stored: JobId, wrong: Callable[[bytes], bytes]) -> bool:
    """Overwrite one record of a job, if it has one."""
    key, field = f"{ROOT}{kind}", records.short(stored)
    right = raw(server, "HGET", key, field)
    if right is None or wrong(right) == right:
        return False
    raw(server, "HSET", key, field, wrong(right))
    return True


async def test_a_receiver_that_cannot_be_told_is_in_no_other_letters_way(
    shared: RedisServer, broker: RedisBroker
) -> None:
    """What its sender did stays done, and everybody else is told."""
    bad, good = (await broker.enqueue([job(terms=Terms(letters=1)), job(terms=Terms(letters=1))]))[:2]
    raw(shared, "SET", f"{ROOT}mail:".encode() + records.short(bad.id), b"somebody was here")
    claim = await started(broker, terms=Terms(to=(bad.id, good.id)))
    with pytest.raises(BrokerError, match="WRONGTYPE"):
        await broker.settle([(claim, DONE)])
    assert [await state(broker, one) for one in (claim.id, good.id)] == [State.SUCCEEDED, State.READY]


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_terms_that_cannot_be_read_ask_for_nothing(
    shared: RedisServer, broker: RedisBroker, wrong: Callable[[bytes], bytes]
) -> None:
    claim = await started(broker, terms=Terms(to=(new_id(),), root=new_id()))
    damage(shared, "terms", claim.id, wrong)
    assert (await broker.settle([(claim, DONE)]))[0] == [True]
    assert await broker.forget([claim.id]) == [claim.id]
    await works(broker)


damages = pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
records_of_a_job = pytest.mark.parametrize("kind", ["jobs", "states"])


@damages
@records_of_a_job
@pytest.mark.parametrize("room", [1, 10])
async def test_a_job_that_cannot_be_read_is_parked_by_the_claim(
    shared: RedisServer, broker: RedisBroker, second: RedisBroker, kind: str, wrong: Callable[[bytes], bytes], room: int
) -> None:
    """It is answered as what it is, and in nobody's way: neither lost, nor handed out, nor met again."""
    claim = await started(broker)
    await broker.settle([(claim, AGAIN)])
    assert damage(shared, kind, claim.id, wrong)
    good = [job() for _ in range(2)]
    await broker.enqueue(good)
    assert {one.id for one in (await second.find()).jobs} == {claim.id, *(one.id for one in good)}
    taken = [await soon(broker.claim(["default"], {"loop": room}, "w", wait=SOON))]
    while taken[-1]:
        taken.append(await broker.claim(["default"], {"loop": room}, "w"))
    assert [one.id for some in taken for one in some] == [one.id for one in good]
    seen = await look(second, claim.id)
    assert (seen.state, seen.reason) == (State.PARKED, UNREADABLE)
    assert [one.id for one in (await second.find(states=[State.PARKED])).jobs] == [claim.id]
    assert (await broker.tally())[0].counts == {State.RUNNING: 2, State.PARKED: 1}
    assert await broker.forget([claim.id]) == [claim.id]
    assert await broker.get([claim.id]) == [None]
    assert (await broker.tally())[0].counts == {State.RUNNING: 2}


@damages
async def test_a_job_that_was_never_started_and_cannot_be_read_is_parked(
    shared: RedisServer, broker: RedisBroker, wrong: Callable[[bytes], bytes]
) -> None:
    bad, good = job(), job()
    await broker.enqueue([bad, good])
    assert damage(shared, "jobs", bad.id, wrong)
    await broker.beat("w", CARD, 60.0)
    assert [claim.id for claim in await broker.claim(["default"], {"loop": 10}, "w")] == [good.id]
    assert await broker.claim(["default"], {"loop": 10}, "w") == []
    assert await state(broker, bad.id) is State.PARKED
    assert (await broker.tally())[0].counts == {State.RUNNING: 1, State.PARKED: 1}


async def test_a_damaged_stand_forgets_what_happened_and_no_more(shared: RedisServer, broker: RedisBroker) -> None:
    """The job itself can be read: revived, it runs."""
    claim = await started(broker)
    await broker.settle([(claim, AGAIN)])
    damage(shared, "states", claim.id, WRONG["random"])
    await broker.claim(["default"], {"loop": 10}, "w")
    await broker.claim(["default"], {"loop": 10}, "w")
    assert [ready.id for ready in await broker.revive([claim.id])] == [claim.id]
    (again,) = await broker.claim(["default"], {"loop": 10}, "w")
    assert (again.id, again.body) == (claim.id, claim.body)
    assert again.token > claim.token


async def test_what_could_not_be_parked_is_parked_later(
    shared: RedisServer, broker: RedisBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The good ones that came with it are handed out whatever happens."""
    bad, good = job(), job()
    await broker.enqueue([bad, good])
    damage(shared, "jobs", bad.id, WRONG["text"])
    await broker.beat("w", CARD, 60.0)
    assert len(await broker.claim(["default"], {"loop": 10}, "w")) == 1
    assert await broker.tally() != []
    assert broker._unreadable
    with monkeypatch.context() as patch:

        async def unavailable(*_: object, **__: object) -> object:
            raise BrokerError("not now")

        patch.setattr(broker, "settle", unavailable)
        with pytest.raises(BrokerError, match="not now"):
            await broker.claim(["default"], {"loop": 10}, "w")
    assert await broker.claim(["default"], {"loop": 10}, "w") == []
    assert (await look(broker, bad.id)).state is State.PARKED


@damages
@records_of_a_job
async def test_upkeep_goes_on_beside_a_job_that_cannot_be_read(
    shared: RedisServer, broker: RedisBroker, kind: str, wrong: Callable[[bytes], bytes]
) -> None:
    """Promoted, expired, reclaimed, settled, cancelled, revived and pruned: it, and those behind it."""
    claims = [await started(broker, worker=worker) for worker in ("w", "w", "lost", "lost")]
    delayed = [job(delay=10.0 + n) for n in range(2)]
    expiring = [job(delay=100.0, expires=10.0 + n, key=f"k{n}") for n in range(2)]
    ended = [await started(broker, worker="w") for n in range(2)]
    await broker.enqueue([*delayed, *expiring])
    await broker.settle([(claim, DONE) for claim in ended])
    now = claims[0].claimed_at + 3000.0
    for bad in (claims[0], claims[2], delayed[0], expiring[0], ended[0]):
        damage(shared, kind, bad.id, wrong)
    await broker.beat("lost", CARD, 0.0)
    assert {ready.id for ready in await broker.reclaim()} == {claims[2].id, claims[3].id}
    applied, _ = await broker.settle([(claim, Retried(60.0, ERROR, queue="q")) for claim in claims[:2]])
    assert applied[1]
    assert {one.id for one in delayed} <= {ready.id for ready in await broker.promote(now=now)}
    assert await state(broker, expiring[1].id) is State.CANCELLED
    later = now + 30 * 86400.0
    await broker.prune(now=later)
    assert await broker.get([ended[1].id]) == [None]
    for verb in (broker.cancel, broker.revive, broker.forget):
        await verb([one.id for one in (*claims, *delayed, *expiring, *ended)])
    await broker.beat("w", CARD, 0.0)
    await broker.reclaim()
    await broker.forget([one.id for one in (await broker.find()).jobs])
    await broker.promote(now=later)
    await broker.prune(now=later)
    assert (await broker.find()).jobs == []
    await works(broker, "fresh")


async def test_a_journal_that_cannot_be_read_is_its_jobs_trouble_only(shared: RedisServer, broker: RedisBroker) -> None:
    bad, good = await started(broker), await started(broker)
    entries = [entry("progress", b'{"current":1}'), entry(), entry("checkpoint")]
    await broker.append([(bad, entries), (good, entries)])
    for numbers in (b"", b"\xff" * 9, b"\x93\xa1a\xa1b\xa1c", msgspec.msgpack.encode([1, 2])):
        raw(shared, "HSET", f"{ROOT}journals", records.short(bad.id), numbers)
        assert await broker.append([(bad, [entry()]), (good, [entry()])]) == [True, True]
        assert (await look(broker, good.id)).progress is not None
        assert (await look(broker, bad.id)).state is State.RUNNING
    assert [one.seq for one in (await journal(broker, good.id)).entries] == list(range(1, 8))
    assert [one.seq for one in (await journal(broker, bad.id)).entries] == list(range(1, 8)), "numbered on"
    for wrong in (b"", b"nine:", b"9:\xff\xff"):
        raw(shared, "ZADD", f"{ROOT}log:".encode() + records.short(bad.id), 9, wrong)
        with pytest.raises(StoreCorrupt):
            await broker.read(bad.id)
    await broker.settle([(bad, DONE), (good, DONE)])
    assert await state(broker, bad.id) is State.SUCCEEDED
    assert await broker.forget([bad.id, good.id]) == [bad.id, good.id]


async def test_a_progress_that_is_none_is_not_shown(broker: RedisBroker) -> None:
    claim = await started(broker)
    await broker.append([(claim, [entry("progress", b"[1,2")])])
    seen = await look(broker, claim.id)
    assert (seen.state, seen.progress) == (State.RUNNING, None)


async def test_the_end_of_a_job_that_cannot_be_read_is_told_as_an_error(
    shared: RedisServer, broker: RedisBroker, second: RedisBroker
) -> None:
    """Whoever waits for it does not wait for ever."""
    claim = await started(broker)
    damage(shared, "jobs", claim.id, WRONG["text"])
    reading = await waiting(second.read(claim.id, wait=SOON))
    await broker.settle([(claim, DONE)])
    with pytest.raises(StoreCorrupt):
        await soon(reading)


async def test_a_worker_whose_card_cannot_be_read_is_back_with_its_next_beat(
    shared: RedisServer, broker: RedisBroker
) -> None:
    for worker in ("bad", "good"):
        await broker.beat(worker, CARD, 60.0)
    for card in (b"", b"{", b'{"host":1}', b"\xff"):
        raw(shared, "HSET", f"{ROOT}cards", "bad", card)
        assert [worker.id for worker in await broker.workers()] == ["good"]
    await broker.beat("bad", CARD, 60.0)
    assert [worker.id for worker in await broker.workers()] == ["bad", "good"]


@pytest.mark.parametrize("field", ["looked", "trusted"])
async def test_a_look_that_cannot_be_read_is_none(shared: RedisServer, broker: RedisBroker, field: str) -> None:
    """The dead are found all the same."""
    claim = await started(broker)
    for value in (b"", b"never", b"nan"):
        await broker.reclaim()
        raw(shared, "HSET", f"{ROOT}look", field, value)
        assert await broker.reclaim() == []
    await broker.beat("w", CARD, 0.0)
    assert [ready.id for ready in await broker.reclaim()] == [claim.id]


async def test_what_somebody_says_on_our_channel_is_no_answer(shared: RedisServer, broker: RedisBroker) -> None:
    claim = await started(broker)
    reading = await waiting(broker.read(claim.id, wait=SOON))
    topic = b"j\x10" + records.short(claim.id)
    for message in (b"", b"j", b"j\xff", b"r", b"\xff\xfe", topic, topic + b"\0\0\0\x05what?"):
        raw(shared, "PUBLISH", broker._ear.channel, message)
    await works(broker, "other")
    await broker.settle([(claim, DONE)])
    heard = await soon(reading)
    assert heard is not None
    assert heard.end is not None


# --- keys that are deleted, or become something else ----------------------------------------------------------


async def everything(broker: RedisBroker) -> list[JobId]:
    """Something under each of our keys; answers the jobs."""
    await broker.beat("dead", CARD, 60.0)
    await broker.beat("resting", CARD, 60.0)
    lost, done, bad, parked, running = [await started(broker, worker="dead") for _ in range(5)]
    await broker.append([(done, [entry("progress", b'{"current":1}'), entry()])])
    await broker.settle([(done, DONE), (bad, AGAIN)])
    await broker.cancel([bad.id])
    await broker.enqueue([scheduled := job(delay=60.0), keyed := job(key="k", expires=3600.0), ready := job()])
    await broker.pause("paused")
    await broker.reclaim(gap=30.0)
    await broker.cancel([running.id])
    await broker.claim(["empty"], {"loop": 1}, "dead", wait=0.01)
    assert await broker.wish("dead", "working")
    await broker.read(running.id, wait=0.01)
    await broker.read(running.id, wait=0.01, seen=(State.RUNNING, 1))
    return [one.id for one in (lost, done, bad, parked, running, scheduled, keyed, ready)]


KEYS = [
    "jobs", "states", "ids", "ids:new", "ready:default\0loop", "scheduled", "running", "parked", "ended:5", "ended:6", "ended:7",
    "expiring", "cancelling", "keys", "keyed", "counts", "paused", "journals", "leases", "gone", "resting", "cards", "words",
    "wishes", "numbers", "look", "worker_count", "token", "idle:default\0loop", "idle:\0due", "watched", "awaited",
]  # fmt: skip


STRINGS = ("ids:new", "worker_count", "token")


async def every_verb(broker: RedisBroker, ids: list[JobId], now: float) -> list[str]:
    """Call every verb; answers what was refused, each time with a word for people."""
    calls: dict[str, Callable[[], Any]] = {
        "beat": lambda: broker.beat("w", CARD, 60.0),
        "enqueue": lambda: broker.enqueue([job(), job(key="k"), job(delay=1.0)]),
        "claim": lambda: broker.claim(["default", "other"], {"loop": 3, "thread": 1}, "w"),
        "read": lambda: broker.read(ids[0]),
        "promote": lambda: broker.promote(now=now + 100.0),
        "reclaim": lambda: broker.reclaim(gap=30.0, grace=0.0, now=now + 100.0),
        "prune": lambda: broker.prune(now=now + 90000.0),
        "get": lambda: broker.get(ids),
        "find": broker.find,
        "find ready": lambda: broker.find(states=[State.READY]),
        "find some": lambda: broker.find(queue="other", task="tests.task", key="k", limit=1),
        "tally": broker.tally,
        "cancel": lambda: broker.cancel(ids[:1]),
        "revive": lambda: broker.revive(ids),
        "forget": lambda: broker.forget(ids[1:2]),
        "pause": lambda: broker.pause("paused", False),
        "workers": broker.workers,
        "wish": lambda: broker.wish("w", "quiet"),
        "describe": broker.describe,
    }
    refused = list[str]()
    for verb, call in calls.items():
        try:
            await soon(call())
        except BrokerError as error:
            said_well(error)
            refused.append(verb)
    return refused


@pytest.mark.parametrize("key", KEYS)
async def test_a_key_that_is_deleted(shared: RedisServer, broker: RedisBroker, key: str) -> None:
    """By hand, or by an eviction policy: what it held is gone, no verb fails for it, and what comes then goes all its way."""
    ids = await everything(broker)
    shared.command("DEL", ROOT + key)
    now = float(shared.command("TIME")[0])
    assert await every_verb(broker, ids, now) == []
    assert await broker.promote(now=now + 100.0) == [], "it does not find the same for ever"
    assert await broker.reclaim(now=now + 100.0) == []
    for _ in range(2):
        await soon(drained(broker))
    await works(broker, "fresh")


async def drained(broker: RedisBroker) -> None:
    """Claim and end what there is, as a worker would."""
    await broker.beat("w", CARD, 3600.0)
    for _ in range(100):
        if not (claims := await broker.claim(["default"], {"loop": 10}, "w")):
            return
        await broker.settle([(claim, DONE) for claim in claims])
    pytest.fail("it always finds the same")


@pytest.mark.parametrize("key", KEYS)
async def test_a_key_that_is_of_another_type(shared: RedisServer, broker: RedisBroker, key: str) -> None:
    """A plain error that says so; no hang; and when the key is gone all goes on: nothing that was accepted meanwhile is lost."""
    ids, kept = await everything(broker), [job(queue="kept") for _ in range(3)]
    await broker.enqueue(kept)
    await broker.beat("keeper", CARD, 3600.0)
    now = float(shared.command("TIME")[0])
    shared.command("DEL", ROOT + key)
    shared.command(*(("LPUSH", ROOT + key, "x") if key in STRINGS else ("SET", ROOT + key, "something else")))
    tried = [job(queue="fresh") for _ in range(3)]
    answers = await asyncio.gather(*(broker.enqueue([new]) for new in tried), return_exceptions=True)
    accepted = [placed.id for answer in answers if isinstance(answer, list) for placed in answer]
    refusals = [answer for answer in answers if isinstance(answer, BaseException)]
    assert [type(error) for error in refusals if "another type" in said_well(error)] == [StoreCorrupt] * len(refusals)
    (took,) = await asyncio.gather(broker.claim(["kept"], {"loop": 2}, "keeper"), return_exceptions=True)
    await every_verb(broker, ids, now)
    shared.command("DEL", ROOT + key)
    assert await every_verb(broker, ids, now) == []
    await broker.beat("keeper", CARD, 3600.0)
    kept_claims = [*(took if isinstance(took, list) else ()), *await broker.claim(["kept"], {"loop": 9}, "keeper")]
    assert {claim.id for claim in kept_claims} == ({one.id for one in kept} if key != "jobs" else set())
    again = await broker.enqueue(tried)
    assert {one.id for one in again if not one.fresh} == set(accepted)
    await broker.beat("w", CARD, 3600.0)
    claims = await broker.claim(["fresh"], {"loop": 10}, "w")
    assert {claim.id for claim in claims} == {one.id for one in tried}
    assert (await broker.settle([(claim, DONE) for claim in claims]))[0] == [True] * len(tried)


async def test_a_line_of_another_type_holds_up_no_other_queue(shared: RedisServer, broker: RedisBroker) -> None:
    retried, lost = await started(broker, "bad"), await started(broker)
    bad, good = [job(queue="bad"), job(queue="bad", delay=1.0)], [job(delay=2.0), job()]
    await broker.enqueue([*bad, *good])
    shared.command("SET", f"{ROOT}ready:bad\0loop", "something else")
    with pytest.raises(StoreCorrupt, match="another type"):
        await broker.enqueue([job(queue="bad")])
    with pytest.raises(StoreCorrupt):
        await broker.settle([(retried, AGAIN), (lost, Retried(0.0, ERROR))])
    now = lost.claimed_at + 60.0
    with pytest.raises(StoreCorrupt):
        await broker.promote(now=now)
    assert [claim.id for claim in await broker.claim(["default"], {"loop": 9}, "w")]
    assert await state(broker, good[0].id) is State.RUNNING
    assert await state(broker, bad[1].id) is State.SCHEDULED, "not lost"
    assert await state(broker, retried.id) is State.RUNNING, "not lost"
    shared.command("DEL", f"{ROOT}ready:bad\0loop")
    assert [ready.id for ready in await broker.promote(now=now)] == [bad[1].id]
    assert (await broker.settle([(retried, AGAIN)]))[0] == [True]
    claims = await broker.claim(["bad"], {"loop": 9}, "w")
    assert {claim.id for claim in claims} == {retried.id, bad[1].id}


async def test_an_emptied_server_knows_a_worker_again_with_its_next_beat(
    shared: RedisServer, broker: RedisBroker, second: RedisBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLUSHALL under a working worker: what it holds is answered as unknown, and it goes on."""
    monkeypatch.setattr(broker_module, "LOOK_AGAIN", 0.2)
    claim = await started(broker)
    claiming = await waiting(broker.claim(["default"], {"loop": 1}, "w", wait=SOON))
    shared.command("FLUSHALL")
    assert await broker.settle([(claim, DONE)]) == ([False], [])
    assert await broker.append([(claim, [entry()])]) == [False]
    assert await broker.cancel([claim.id]) == {}
    assert (await broker.revive([claim.id]), await broker.forget([claim.id])) == ([], [])
    assert (await broker.get([claim.id]), await broker.read(claim.id), (await broker.find()).jobs) == ([None], None, [])
    assert (await broker.promote(), await broker.reclaim(), await broker.prune()) == ([], [], 0)
    assert (await broker.workers(), await broker.tally()) == ([], [])
    await second.enqueue([new := job()])
    pulse = await broker.beat("w", CARD, 60.0)
    assert (pulse.alive, pulse.cancelling) == (True, [])
    (found,) = await soon(claiming)
    assert (found.id, found.token > claim.token) == (new.id, True)
    assert await broker.settle([(claim, DONE), (found, DONE)]) == ([False, True], [])


@given(
    kind=st.sampled_from(["jobs", "states", "journals", "cards", "words", "numbers", "keys", "keyed", "counts", "watched", "look"]),
    value=st.binary(max_size=60) | st.integers(-9, 9).map(lambda number: b"%d" % number),
)  # fmt: skip
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_raw_write_stops_the_others(url: str, shared: RedisServer, kind: str, value: bytes) -> None:
    shared.command("FLUSHALL")
    broker = RedisBroker(url)
    await broker.open()
    try:
        ids = await everything(broker)
        for field in raw(shared, "HKEYS", f"{ROOT}{kind}"):
            if kind not in ("counts", "numbers"):  # these are read by the others, too
                raw(shared, "HSET", f"{ROOT}{kind}", field, value)
        raw(shared, "HSET", f"{ROOT}{kind}", "a field of its own", value)
        refused = await every_verb(broker, ids, float(shared.command("TIME")[0]))
        assert set(refused) <= {"read", "tally", "find ready", "describe"}
        await soon(drained(broker))
        await works(broker, "fresh")
    finally:
        await broker.close()


# --- answers that are too large for a listener ----------------------------------------------------------------


async def test_large_jobs_are_handed_out_a_few_at_a_time(broker: RedisBroker) -> None:
    """Redis hangs up on a listener that it owes more than 32 MB: such an answer would never arrive."""
    new = [job(body=bytes([n]) * (4 << 20)) for n in range(10)]
    for one in new:
        await broker.enqueue([one])
    ids = [one.id for one in new]
    assert [len(found.body) for found in await broker.get(ids) if found] == [4 << 20] * 10
    assert [found.id for found in (await broker.find(limit=10)).jobs] == ids[::-1]
    await broker.beat("w", CARD, 3600.0)
    claims = list[JobId]()
    while some := await broker.claim(["default"], {"loop": 10}, "w"):
        assert len(some) < 5
        claims += [claim.id for claim in some]
        await broker.settle([(claim, DONE) for claim in some])
    assert claims == ids, "and in their order"
    assert (await broker.tally())[0].counts == {State.SUCCEEDED: 10}


async def test_a_long_journal_is_read_whole(broker: RedisBroker) -> None:
    claim = await started(broker)
    for _ in range(40):
        await broker.append([(claim, [entry(data=b'"%b"' % (b"x" * 1000)) for _ in range(1000)])])
    reading = await journal(broker, claim.id)
    assert ([one.seq for one in reading.entries], reading.last) == (list(range(1, 40_001)), 40_000)
    later = await broker.read(claim.id, after=39_998)
    assert later is not None
    assert [one.seq for one in later.entries] == [39_999, 40_000]
    await broker.settle([(claim, DONE)])
    reading = await journal(broker, claim.id)
    assert len(reading.entries) == 40_000
    assert reading.end is not None


async def test_what_could_never_be_handed_over_is_refused(broker: RedisBroker) -> None:
    with pytest.raises(PayloadTooLarge, match="limit"):
        await broker.enqueue([job(), job(body=bytes(records.LARGEST + 1))])
    assert (await broker.find()).jobs == []
    largest = job(body=bytes(records.LARGEST))
    await broker.enqueue([largest])
    await broker.beat("w", CARD, 3600.0)
    (claim,) = await broker.claim(["default"], {"loop": 1}, "w")
    await broker.settle([(claim, replace(DONE, result=bytes(records.LARGEST)))])
    seen = await look(broker, claim.id)
    assert (len(seen.body), len(seen.result or b"")) == (records.LARGEST, records.LARGEST)
    claim = await started(broker)
    await broker.settle([(claim, replace(DONE, result=bytes(records.LARGEST + 1)))])
    seen = await look(broker, claim.id)
    assert seen.state is State.FAILED
    assert seen.error is not None
    assert (seen.error.kind, seen.error.type) == ("result", "PayloadTooLarge")
