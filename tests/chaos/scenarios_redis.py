"""D: Redis dies, hangs, forgets, refuses, or is not the one that it was."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from evidence import now
from scenario import REDIS, scenario
from stage import BEAT, LEASE, Stage, until

from servers import Proxy, RedisServer
from windlass.errors import StoreFull

on_redis = partial(scenario, stores=(REDIS,))


def server_of(stage: Stage) -> RedisServer:
    assert stage.server is not None
    return stage.server


async def away(work: Callable[[], Any]) -> Any:
    """What a server does in its own time."""
    return await asyncio.to_thread(work)


async def busy(stage: Stage, jobs: int = 200) -> None:
    """A worker with some jobs done, some in hand, and some to come."""
    stage.worker()
    await stage.enqueue("nap", 10, LEASE)
    await stage.enqueue("nap", jobs * stage.scale, 0.05)
    await stage.wait_started(20)


@on_redis(
    "D1",
    "Redis is restarted in order (append-only file on) while jobs run",
    "Workers connect again by themselves; nothing is lost, nothing runs twice.",
    quick=False,
)
async def restart(stage: Stage) -> None:
    server = server_of(stage)
    await busy(stage)
    for _ in range(2 * stage.scale):
        stage.harm("restart")
        await away(server.stop)
        await away(server.start)
        await progress(stage)


@on_redis(
    "D2",
    "Redis is killed (`kill -9`, append-only file on) and started again while jobs run",
    "Workers connect again by themselves; nothing is lost, nothing runs twice.",
)
async def killed(stage: Stage) -> None:
    server = server_of(stage)
    await busy(stage)
    for _ in range(2 * stage.scale):
        stage.harm("server killed")
        await away(server.restart)
        await progress(stage)


async def progress(stage: Stage) -> None:
    """Until runs begin again."""
    await stage.enqueue("nap", 5, 0.05)
    before = stage.started()
    await until(lambda: stage.started() > before)


@on_redis(
    "D4a",
    "Redis hangs for less than the lease",
    "Calls wait; nothing runs twice.",
    quick=False,
)
async def short_hang(stage: Stage) -> None:
    await hang(stage, LEASE * 0.7)


@on_redis(
    "D4b",
    "Redis hangs for longer than the lease: when it wakes, every lease is over although all workers live",
    "The workers get time to speak up before their jobs would be given to others; nothing runs twice.",
)
async def long_hang(stage: Stage) -> None:
    await hang(stage, LEASE * 1.5)


async def hang(stage: Stage, seconds: float) -> None:
    """For two workers, each of which would take the other's jobs."""
    server = server_of(stage)
    stage.worker()
    await stage.enqueue("nap", 50, seconds + 1.5 * LEASE)
    stage.worker()
    await stage.said("started", 4)
    await stage.wait_started(50)
    await asyncio.sleep(stage.random.uniform(2 * BEAT, 3 * BEAT))  # whatever each of them does, some do it first
    stage.harm("hang")
    server.freeze()
    await asyncio.sleep(seconds)
    server.thaw()
    await stage.enqueue("quick", 10)


@on_redis(
    "D4c",
    "Redis takes no writes for longer than the lease (`CLIENT PAUSE ... WRITE`)",
    "Calls wait; the workers get time to speak up afterwards; nothing runs twice.",
    quick=False,
)
async def paused(stage: Stage) -> None:
    server = server_of(stage)
    stage.worker()
    await stage.enqueue("nap", 50, 2.5 * LEASE)
    stage.worker()
    await stage.wait_started(50)
    stage.harm("writes paused")
    server.command("CLIENT PAUSE", int(LEASE * 1500), "WRITE")
    began = now()
    await stage.enqueue("quick", 10)
    assert now() - began > LEASE


@on_redis(
    "D5",
    "An operator empties Redis (`FLUSHALL`) while jobs run",
    "What was stored is lost, and cannot be otherwise. The workers live on, and run what is enqueued from then on.",
)
async def flushed(stage: Stage) -> None:
    server = server_of(stage)
    await busy(stage)
    server.command("FLUSHALL")
    stage.forgive(stage.history.told)
    stage.harm("flushed", stage.everyone()).until = now()
    await stage.enqueue("quick", 50)


@on_redis(
    "D6",
    "Redis fails over to a replica that lags behind",
    "What the replica had not received is lost, and cannot be otherwise. Nothing else is, and the workers go on by themselves.",
    proxied=True,
    quick=False,
)
async def failover(stage: Stage) -> None:
    server, line = server_of(stage), stage.proxy
    assert line is not None
    async with Proxy(server.port) as replication:
        link = f"127.0.0.1 {replication.port}"
        replica = stage.keep(RedisServer(appendonly="yes", appendfsync="always", replicaof=link))
        await until(lambda: replica.info("replication")["master_link_status"] == "up")
        await busy(stage)
        assert await away(partial(server.command, "WAIT", 1, 5000)) == 1
        replication.deaden()
        certain = set(stage.history.told)
        await stage.enqueue("quick", 20)
        await stage.enqueue("nap", 20, 0.05, delay=1)
        lag = set(stage.history.told) - certain
        stage.forgive(lag)
        fault = stage.harm("failover", stage.everyone())
        server.kill()
    replica.command("REPLICAOF NO ONE")
    line.upstream = replica.port
    line.reset()
    await stage.move(replica.url())
    fault.until = now()
    await stage.enqueue("quick", 20)
    await stage.ended()
    lost = sum(job is None for job in (await stage.look()).values())
    assert 0 < lost <= len(lag), f"{lost} jobs were lost, and {len(lag)} were accepted during the lag"
    stage.notes.append(f"lost: {lost} of the {len(lag)} jobs that were accepted during the lag")


@on_redis(
    "D7",
    "Redis becomes a read-only replica for longer than the lease, and then takes writes again",
    "Calls are refused and made again, without haste; nothing is lost, nothing runs twice.",
)
async def read_only(stage: Stage) -> None:
    server = server_of(stage)
    with RedisServer() as other:
        stage.worker()
        await stage.enqueue("nap", 20, LEASE)
        await stage.wait_started(20)
        server.command("CONFIG SET", "replica-read-only", "yes")
        stage.harm("read-only")
        # Of a primary that does not let it in: it keeps its data, and takes no writes.
        server.command("CONFIG SET", "masterauth", "wrong")
        other.command("CONFIG SET", "requirepass", "secret")
        server.command("REPLICAOF", "127.0.0.1", other.port)
        assert await stage.submit(stage.bind("quick", 5)) == []
        await asyncio.sleep(1.5 * LEASE)
        server.command("REPLICAOF NO ONE")
        await stage.enqueue("quick", 20)


@on_redis(
    "D8",
    "Redis is full (`maxmemory`, no eviction)",
    "`enqueue` raises `StoreFull` at once and stores nothing; what is there already runs, and its results are stored.",
)
async def full(stage: Stage) -> None:
    server = server_of(stage)
    stage.worker()
    await stage.enqueue("talkative", 10, 20)
    await stage.enqueue("flaky", 10, 1)
    await stage.enqueue("nap", 100 * stage.scale, 0.05)
    await stage.wait_started(10)
    server.command("CONFIG SET maxmemory 1")
    stage.harm("full")
    began, refused = now(), stage.bind("quick", 5)
    try:
        await stage.submit(refused)
    except StoreFull:
        assert now() - began < LEASE
    else:
        raise AssertionError("it was not full")
    await stage.ended()
    ids = [call.job.id for call in refused]
    assert not any((await stage.look(ids)).values())
    server.command("CONFIG SET maxmemory 0")
    await stage.submit(refused)


@on_redis(
    "D10",
    "Redis forgets the scripts (`SCRIPT FLUSH`), again and again",
    "They are sent again; nobody notices.",
)
async def scripts_flushed(stage: Stage) -> None:
    server = server_of(stage)
    stage.worker()
    await stage.enqueue("nap", 200 * stage.scale, 0.02)
    for share in range(1, 10):
        await stage.wait_started(20 * stage.scale * share)
        server.command("SCRIPT FLUSH")
        stage.harm("scripts flushed")


@on_redis(
    "D11a",
    "Redis was restarted and is still loading its data for longer than the lease",
    "Calls are refused and made again; nothing is lost, nothing runs twice.",
    quick=False,
)
async def loading(stage: Stage) -> None:
    server = server_of(stage)
    await busy(stage)
    # Ten microseconds for each command of its file, and what it does besides.
    server.command("EVAL", "for i = 1, 60000 do redis.call('SET', 'filler', i) end", 0)
    server.options["key-load-delay"] = 10
    stage.harm("loading")
    await away(partial(server.restart, loaded=False))
    assert server.info("persistence")["loading"]
    await asyncio.sleep(LEASE)
    assert server.info("persistence")["loading"], "it was ready too soon"
    await progress(stage)


@on_redis(
    "D11b",
    "Somebody's script holds Redis for longer than the lease (`BUSY`)",
    "Calls are refused and made again; nothing is lost, nothing runs twice.",
    quick=False,
)
async def script_that_holds(stage: Stage) -> None:
    server = server_of(stage)
    server.command("CONFIG SET", "busy-reply-threshold", 100)
    stage.worker()
    await stage.enqueue("nap", 20, 2.5 * LEASE)
    stage.worker()
    await stage.said("started", 4)
    await stage.wait_started(20)
    stage.harm("busy")
    holder = threading.Thread(target=_hold, args=(server,))
    holder.start()
    await until(lambda: refusal(server).startswith("BUSY"))
    await asyncio.sleep(1.5 * LEASE)
    server.command("SCRIPT KILL")
    await away(holder.join)
    await stage.enqueue("quick", 20)


def _hold(server: RedisServer) -> None:
    refusal(server, "EVAL", "while true do end", 0)


def refusal(server: RedisServer, *words: object) -> str:
    """What the server says instead of an answer."""
    try:
        server.command(*(words or ("PING",)))
    except Exception as error:
        return str(error) if "busy" not in str(error).lower() else f"BUSY {error}"
    return ""


@on_redis(
    "D11c",
    "Redis has no room for more connections (`maxclients`), and closes those that there are",
    "The workers come back when there is room; nothing is lost, nothing runs twice.",
    quick=False,
)
async def too_many_clients(stage: Stage) -> None:
    server = server_of(stage)
    await busy(stage)
    stage.harm("maxclients")
    with server.client() as operator:
        operator.execute_command("CONFIG SET", "maxclients", 1)
        for kind in ("normal", "pubsub"):
            operator.execute_command("CLIENT KILL TYPE", kind, "SKIPME", "yes")
        assert "max number of clients" in refusal(server)
        await asyncio.sleep(LEASE)
        operator.execute_command("CONFIG SET", "maxclients", 1000)
    await progress(stage)


@on_redis(
    "D11d",
    "All connections are killed, again and again (`CLIENT KILL`)",
    "Each call is made again on a new connection; nothing is lost, nothing runs twice.",
)
async def killed_connections(stage: Stage) -> None:
    server = server_of(stage)
    stage.worker()
    stage.worker()
    jobs = 300 * stage.scale
    await stage.enqueue("nap", jobs, 0.03)
    while stage.started() < jobs * 0.8:
        before = stage.started()
        stage.harm("connections killed")
        await until(lambda: sum(server.command("CLIENT KILL TYPE", kind) for kind in ("normal", "pubsub")))
        await until(lambda before=before: stage.started() > before + 20)
