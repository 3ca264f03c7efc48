"""Who is woken when work becomes ready: one that really waits."""

from __future__ import annotations

import asyncio

from faults import Connect

from windlass.broker.redis.broker import RedisBroker
from windlass.core.ids import new_id
from windlass.core.job import Card, NewJob

CARD = Card(host="here", pid=1)
SOON = 5.0
"""Much less than the time after which a waiting claim looks by itself."""


def _job(queue: str) -> NewJob:
    return NewJob(id=new_id(), task="t", body=b"{}", queue=queue)


async def test_who_found_work_is_not_woken_in_the_place_of_one_that_waits(
    broker: RedisBroker, second: RedisBroker, url: str, connect: Connect
) -> None:
    """The first waits longest, at two queues; then it has found something, and waits at neither."""
    third = await connect(url)
    for worker, one in (("first", broker), ("second", second)):
        await one.beat(worker, CARD, 60.0)
    full = asyncio.ensure_future(broker.claim(["a", "b"], {"loop": 1}, "first", wait=60.0))
    await asyncio.wait({full}, timeout=0.05)
    idle = asyncio.ensure_future(second.claim(["b"], {"loop": 1}, "second", wait=60.0))
    await asyncio.wait({idle}, timeout=0.05)
    await third.enqueue([_job("a")])
    assert await asyncio.wait_for(full, SOON)
    await third.enqueue([_job("b")])
    assert await asyncio.wait_for(idle, SOON)


async def test_the_dead_are_passed_over(broker: RedisBroker, second: RedisBroker, url: str, connect: Connect) -> None:
    """A broker that is gone has left its channel in the store; the job wakes the next one."""
    await broker.beat("w", CARD, 60.0)
    gone = await connect(url)
    assert await gone.claim(["a"], {"loop": 1}, "w", wait=0.01) == []
    await gone.close()
    waiting = asyncio.ensure_future(broker.claim(["a"], {"loop": 1}, "w", wait=60.0))
    await asyncio.wait({waiting}, timeout=0.05)
    await second.enqueue([_job("a")])
    assert await asyncio.wait_for(waiting, SOON)


async def test_one_job_wakes_one_claim(broker: RedisBroker, second: RedisBroker, url: str, connect: Connect) -> None:
    """The others sleep on, and ask nothing."""
    await broker.beat("w", CARD, 60.0)
    waiting = [asyncio.ensure_future((await connect(url)).claim(["a"], {"loop": 1}, "w", wait=60.0)) for _ in range(8)]
    await asyncio.wait(waiting, timeout=0.1)
    await second._client.send("CONFIG", "RESETSTAT")
    await second.enqueue([_job("a")])
    done, asleep = await asyncio.wait(waiting, timeout=SOON, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    stats = (await second._client.send("INFO", "commandstats")).decode()
    (calls,) = [line.split("calls=")[1].split(",")[0] for line in stats.splitlines() if "cmdstat_evalsha" in line]
    assert int(calls) == 2, "an enqueue and a claim"
    for one in asleep:
        one.cancel()
