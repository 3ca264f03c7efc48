"""What a server says instead of an answer: each refusal is an error of ours in one line, or waited for, and over when its cause is."""

from __future__ import annotations

import asyncio

import pytest
from faults import CARD, Connect, Start, despite, insist, said_well, soon, started, until, waiting, works
from redis.exceptions import BusyLoadingError, ResponseError

from servers import RedisServer
from windlass.core.state import State
from windlass.errors import BrokerError, BrokerUnavailable, StoreFull, WindlassError
from windlass.testing.conformance.kit import AGAIN, DONE, entry, job, state

NOBODY = ("127.0.0.1", 1)
"""Where no primary is."""


def refuses(server: RedisServer, word: str) -> bool:
    """Whether the server answers a plain question with this kind of refusal."""
    try:
        server.command("EXISTS", "nothing")
    except BusyLoadingError:
        return word == "LOADING"
    except ResponseError as error:
        return str(error).startswith(word)
    return False


async def test_busy_with_somebodys_script(start: Start, connect: Connect) -> None:
    server = start(busy_reply_threshold=50)
    broker, second = await connect(server.url()), await connect(server.url())
    await broker.beat("w", CARD, 3600.0)
    claiming = await waiting(second.claim(["default"], {"loop": 1}, "w", wait=3600.0))
    endless = asyncio.ensure_future(asyncio.to_thread(server.command, "EVAL", "while true do end", 0))
    await until(lambda: refuses(server, "BUSY"))
    said = await despite(broker.enqueue([job(queue="other")]), lambda: server.command("SCRIPT KILL"))
    assert not said or "BUSY" in said
    with pytest.raises(ResponseError, match="killed"):
        await soon(endless)
    await broker.enqueue([new := job()])
    assert [claim.id for claim in await soon(claiming)] == [new.id]


async def test_a_primary_that_became_a_replica_and_is_promoted_again(start: Start, connect: Connect) -> None:
    """READONLY: our own claims, too, wait for its end."""
    server = start()
    broker, second = await connect(server.url()), await connect(server.url())
    claim = await started(broker)
    claiming = await waiting(second.claim(["default"], {"loop": 1}, "w", wait=3600.0))
    reading = await waiting(second.read(claim.id, wait=3600.0))
    server.command("REPLICAOF", *NOBODY)
    said = await despite(broker.settle([(claim, DONE)]), lambda: server.command("REPLICAOF NO ONE"))
    assert "READONLY" in said or await state(broker, claim.id) is State.SUCCEEDED
    await insist(broker.settle, [(claim, DONE)])
    heard = await soon(reading)
    assert heard is not None
    assert heard.end is not None
    await broker.enqueue([new := job()])
    assert [claim.id for claim in await soon(claiming)] == [new.id]


async def test_a_replica_that_lost_its_primary(start: Start, connect: Connect) -> None:
    """MASTERDOWN: it may not even be read."""
    server = start(replica_serve_stale_data="no")
    broker = await connect(server.url())
    claim = await started(broker)
    server.command("REPLICAOF", *NOBODY)
    said = await despite(broker.get([claim.id]), lambda: server.command("REPLICAOF NO ONE"))
    assert not said or "MASTERDOWN" in said
    await insist(works, broker)


async def test_a_server_that_still_loads_its_data(start: Start, connect: Connect) -> None:
    server = start(key_load_delay=1000, loading_process_events_interval_bytes=1024)
    broker, second = await connect(server.url()), await connect(server.url())
    claim = await started(broker)
    claiming = await waiting(second.claim(["default"], {"loop": 1}, "w", wait=3600.0))
    with server.client() as client:
        client.mset({f"something else {n}": "" for n in range(1000)})
    server.command("SAVE")
    await asyncio.to_thread(server.restart, loaded=False)
    assert refuses(server, "LOADING"), "it is too fast for this test"
    said = await despite(broker.settle([(claim, DONE)]), lambda: None)
    assert not said or "LOADING" in said
    third = await insist(connect, server.url())
    await insist(broker.settle, [(claim, DONE)])
    assert await state(third, claim.id) is State.SUCCEEDED
    await third.enqueue([new := job()])
    assert [claim.id for claim in await soon(claiming)] == [new.id]


async def test_a_full_server_takes_no_new_jobs(start: Start, connect: Connect) -> None:
    """OOM: and says so; none of the call's jobs is there."""
    server = start()
    broker = await connect(server.url())
    server.command("CONFIG SET maxmemory 1")
    for jobs in ([job() for _ in range(100)], [job(key="k")], [job(delay=60.0)]):
        with pytest.raises(StoreFull) as refused:
            await broker.enqueue(jobs)
        assert "maxmemory" in said_well(refused.value)
        assert await broker.get([one.id for one in jobs]) == [None] * len(jobs)
    server.command("CONFIG SET maxmemory 0")
    await works(broker)


FREEING = [
    "beat",
    "append",
    "settle",
    "claim",
    "claim that waits",
    "read that waits",
    "promote",
    "reclaim",
    "cancel",
    "forget",
    "pause",
]
"""What a worker needs to finish its jobs, journals included, and the operator to make room."""


@pytest.mark.parametrize("verb", FREEING)
async def test_a_full_server_lets_its_jobs_be_finished(start: Start, connect: Connect, verb: str) -> None:
    server = start()
    broker, second = await connect(server.url()), await connect(server.url())
    done, again, left = [await started(broker) for _ in range(3)]
    waits, due, late = job(queue="other"), job(delay=60.0), job(delay=3600.0)
    await broker.enqueue([waits, due, late])
    server.command("CONFIG SET maxmemory 1")
    match verb:
        case "beat":
            assert [(await broker.beat(worker, CARD, 60.0)).alive for worker in ("w", "new")] == [True, True]
        case "append":
            entries = [entry(kind) for kind in ("log", "progress", "checkpoint", "progress")]
            assert await broker.append([(done, entries), (left, entries)]) == [True, True]
        case "settle":
            applied, ready = await broker.settle([(done, DONE), (again, AGAIN)])
            assert (applied, [one.id for one in ready]) == ([True, True], [again.id])
        case "claim":
            assert [claim.id for claim in await broker.claim(["other"], {"loop": 5}, "w")] == [waits.id]
        case "claim that waits":
            claiming = await waiting(second.claim(["default"], {"loop": 1}, "w", wait=3600.0))
            await broker.settle([(again, AGAIN)])
            assert [claim.id for claim in await soon(claiming)] == [again.id]
        case "read that waits":
            reading = await waiting(second.read(done.id, wait=3600.0))
            await broker.settle([(done, DONE)])
            heard = await soon(reading)
            assert heard is not None
            assert heard.end is not None
        case "promote":
            assert [ready.id for ready in await broker.promote(now=done.claimed_at + 100.0)] == [due.id]
        case "reclaim":
            await broker.beat("w", CARD, 0.0)
            assert {ready.id for ready in await broker.reclaim()} == {done.id, again.id, left.id}
        case "cancel":
            assert await broker.cancel([done.id, late.id]) == {done.id: State.RUNNING, late.id: State.CANCELLED}
        case "forget":
            assert set(await broker.forget([waits.id, late.id])) == {waits.id, late.id}
        case "pause":
            await broker.pause("other")
            assert await broker.claim(["other"], {"loop": 5}, "w") == []


async def test_a_server_that_cannot_save(start: Start, connect: Connect) -> None:
    """MISCONF: its disk is full, say; here a folder stands where the file is to be."""
    server = start(save="3600 1000000")
    broker = await connect(server.url())
    claim = await started(broker)
    obstacle = server.folder / "dump.rdb"
    obstacle.mkdir()
    (obstacle / "file").touch()
    server.command("BGSAVE")
    await until(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "err")
    with pytest.raises(BrokerError) as refused:
        await soon(broker.settle([(claim, DONE)]))
    assert isinstance(refused.value, BrokerUnavailable | StoreFull)
    assert "MISCONF" in said_well(refused.value)
    (obstacle / "file").unlink()
    obstacle.rmdir()
    server.command("BGSAVE")
    await until(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "ok")
    assert await broker.settle([(claim, DONE)]) == ([True], [])


async def test_too_many_clients(start: Start, connect: Connect) -> None:
    server = start(maxclients=2)
    broker = await connect(server.url())
    with server.client() as other:
        other.ping()
        with pytest.raises(BrokerUnavailable, match="max number of clients"):
            await soon(connect(server.url()))
        await works(broker)
    second = await insist(connect, server.url())
    await works(second)


async def test_rights_that_are_taken_away_and_given_back(start: Start, connect: Connect) -> None:
    """NOPERM: in the middle of the work."""
    server = start()
    server.command("ACL SETUSER windlass on >secret ~* &* +@all")
    broker = await connect(server.url("windlass", "secret"))
    claim = await started(broker)
    server.command("ACL SETUSER windlass -evalsha -eval")
    with pytest.raises(WindlassError) as refused:
        await soon(broker.settle([(claim, DONE)]))
    assert "ACL SETUSER" in said_well(refused.value, "secret")
    server.command("ACL SETUSER windlass +evalsha +eval")
    assert await broker.settle([(claim, DONE)]) == ([True], [])
