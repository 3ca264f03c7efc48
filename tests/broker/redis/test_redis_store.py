"""What is in the store, and what it is said to survive."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from faults import CARD, Connect, Start, started, until, works

from servers import RedisServer
from windlass.broker.redis.broker import RedisBroker
from windlass.core.outcome import Cancelled, Failed, Parked, Released, Retried, Snoozed
from windlass.core.state import State
from windlass.core.terms import Terms
from windlass.errors import WindlassError
from windlass.testing.conformance.kit import DONE, ERROR, entry, job

KINDS = ("log", "progress", "checkpoint", "chunk")


@pytest.mark.parametrize(
    ("options", "survives", "remark"),
    [
        ({}, (), "appendonly is no"),
        ({"appendonly": "yes"}, ("process crash",), "appendfsync is everysec"),
        ({"appendonly": "yes", "appendfsync": "no"}, ("process crash",), "appendfsync is no"),
        ({"appendonly": "yes", "appendfsync": "always"}, ("process crash", "power cut"), None),
        (
            {"appendonly": "yes", "appendfsync": "always", "no_appendfsync_on_rewrite": "yes"},
            ("process crash",),
            "no-appendfsync-on-rewrite is yes",
        ),
    ],
)
async def test_what_an_accepted_job_survives(
    start: Start, connect: Connect, options: dict[str, str], survives: tuple[str, ...], remark: str | None
) -> None:
    info = await (await connect(start(**options).url())).describe()
    assert info.survives == survives
    assert [one for one in info.remarks if remark is None or remark not in one] == []
    assert bool(info.remarks) == bool(remark)


async def test_what_it_is(shared: RedisServer, broker: RedisBroker) -> None:
    info, told = await broker.describe(), shared.info("server")
    assert info.kind == ("valkey" if "valkey_version" in told else "redis")
    assert info.version == told.get("valkey_version", told["redis_version"])
    assert info.place == shared.url()


async def test_what_should_be_set_otherwise(start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start(maxmemory="100mb", maxmemory_policy="allkeys-lru", appendonly="yes", appendfsync="always")
    broker = await connect(server.url())
    info = await broker.describe()
    (remark,) = info.remarks
    assert remark.startswith("DANGER: maxmemory-policy is allkeys-lru")
    assert "CONFIG SET maxmemory-policy noeviction" in remark
    assert (info.details["maxmemory_policy"], info.details["maxmemory"]) == ("allkeys-lru", 100 << 20)
    for harmless in ("noeviction", "volatile-lru"):  # ours never expire by themselves
        server.command("CONFIG SET maxmemory-policy", harmless)
        assert (await broker.describe()).remarks == ()
    later = float(server.command("TIME")[0]) + 100.0
    monkeypatch.setattr("windlass.broker.redis.looks.time", SimpleNamespace(time=lambda: later))
    (remark,) = (await broker.describe()).remarks
    assert "clock" in remark


async def test_it_is_described_without_a_right_to_its_settings(start: Start, connect: Connect) -> None:
    server = start(appendonly="yes", user="windlass on >secret ~* &* +@all -config")
    info = await (await connect(server.url("windlass", "secret"))).describe()
    assert info.survives == ("process crash",)
    assert info.details["appendfsync"] == "?"
    assert any("may not be read" in remark for remark in info.remarks)


async def test_a_replica_is_remarked(start: Start, connect: Connect) -> None:
    server = start(appendonly="yes", appendfsync="always")
    replica = start(replicaof=f"127.0.0.1 {server.port}")
    await until(lambda: replica.info("replication").get("master_link_status") == "up")
    info = await (await connect(server.url())).describe()
    assert info.survives == ("process crash", "power cut"), "not the loss of a node: it replicates asynchronously"
    assert info.details["replicas"] == 1
    (remark,) = info.remarks
    assert "failover" in remark


async def test_jobs_that_are_lost_are_remarked(shared: RedisServer, broker: RedisBroker) -> None:
    """Whatever took their keys away; and nothing is, whatever the jobs are doing."""
    await broker.beat("w", CARD, 3600.0)
    claims = [await started(broker) for _ in range(3)]
    await broker.enqueue([job(expires=0.0), job(expires=60.0, delay=60.0), job(), job(queue="q")])
    assert len(await broker.claim(["default"], {"loop": 1}, "w")) == 1, "the expired one has left its line"
    await broker.settle([(claims[0], DONE), (claims[1], Parked("?"))])
    assert [remark for remark in (await broker.describe()).remarks if "DANGER" in remark] == []
    keys = ["ready:q\0loop", "running", "ended:5", "parked", "scheduled", "jobs"]
    for number, key in enumerate(keys):
        shared.command("DEL", "{windlass}:" + key)
        (remark,) = [remark for remark in (await broker.describe()).remarks if "DANGER" in remark]
        assert ("0 stored" in remark) == (key == "jobs")
        assert f"{(await broker.describe()).details['jobs_listed']} stand where" in remark, number


async def test_nothing_is_left_of_a_job_that_was_forgotten(shared: RedisServer, broker: RedisBroker) -> None:
    """Nor is anything outside of the app's keys."""
    outcomes = [
        DONE, Failed(ERROR), Failed(ERROR, crash=True), Cancelled("enough"), Retried(0.0, ERROR), Retried(60.0, ERROR, crash=True),
        Snoozed(60.0), Released(), Parked("unknown"),
    ]  # fmt: skip
    await broker.beat("w", CARD, 60.0)
    for number, outcome in enumerate(outcomes):
        terms = Terms(group=f"group {number}", weight=number + 0.7, unique_for=90.0, replaces=True)
        for _ in range(3):
            await broker.enqueue([job(queue="work", key=f"key {number}", expires=60.0, priority=number, terms=terms)])
        (claim,) = await broker.claim(["work"], {"loop": 1}, "w")
        await broker.append([(claim, [entry(kind, b'{"current":1}') for kind in KINDS])])
        await broker.read(claim.id, after=9, wait=0.01)
        await broker.settle([(claim, outcome)])
        await broker.cancel([claim.id])
    await started(broker)
    await broker.enqueue(
        [job(), job(delay=60.0), job(expires=0.0), job(key="k", delay=60.0), job(terms=Terms(ageing=9.0))]
    )
    await broker.promote()
    await broker.beat("w", CARD, 0.0)
    await broker.reclaim()
    stored = [one.id for one in (await broker.find(limit=1000)).jobs]
    await broker.cancel(stored)
    later = float(shared.command("TIME")[0]) + 100 * 86400.0
    assert await broker.prune(now=later) == len(stored) == len(outcomes) + 6
    with shared.client() as client:
        left = {key: client.type(key) for key in client.keys("*")}
        assert [key for key in left if not key.startswith("{windlass}:")] == []
        sizes = {
            "hash": client.hlen,
            "zset": client.zcard,
            "set": client.scard,
            "string": lambda _: 1,
            "list": client.llen,
        }
        held = {key.removeprefix("{windlass}:"): sizes[kind](key) for key, kind in left.items()}
    print(held)
    assert sum(held.values()) < 10
    assert (await broker.find()).jobs == await broker.tally() == await broker.workers() == []


async def test_a_broker_must_be_opened(url: str) -> None:
    with pytest.raises(WindlassError, match="open"):
        await RedisBroker(url).tally()


async def test_a_closed_broker_can_be_opened_again(broker: RedisBroker) -> None:
    await works(broker)
    await broker.close()
    await broker.open()
    await works(broker)
    assert (await broker.tally())[0].counts == {State.SUCCEEDED: 2}
