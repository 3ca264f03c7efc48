"""What the tests of faults share: calls that wait, calls that insist, and what an error must look like."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from servers import RedisServer
from windlass.broker.port import Broker
from windlass.broker.redis.broker import RedisBroker
from windlass.core.job import Card, Claim, JobId, Reading
from windlass.core.terms import Terms
from windlass.errors import BrokerUnavailable
from windlass.testing.conformance.kit import DONE, job

T = TypeVar("T")
Start = Callable[..., RedisServer]
Connect = Callable[..., Awaitable[RedisBroker]]
SOON = 30.0
"""Seconds after which something that should have happened has not."""
A_WHILE = 0.15
"""Seconds that a fault lasts at least, so that it is met."""
CARD = Card(host="here", pid=1)


async def soon(call: Awaitable[T]) -> T:
    """Its answer, which must come."""
    return await asyncio.wait_for(call, SOON)


async def waiting(call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """The call, once it waits at the store."""
    task = asyncio.ensure_future(call)
    done, _ = await asyncio.wait({task}, timeout=A_WHILE)
    assert not done, f"it did not wait, it answered {task.result()}"
    return task


async def insist(call: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Its answer, asked for again for as long as the store is unavailable, as a worker does."""
    async with asyncio.timeout(SOON):
        while True:
            try:
                return await call(*args)
            except BrokerUnavailable as error:
                said_well(error)
                await asyncio.sleep(0.02)


async def until(condition: Callable[[], object]) -> None:
    """Return once it is true."""
    async with asyncio.timeout(SOON):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def despite(call: Coroutine[Any, Any, object], fault_ends: Callable[[], object]) -> str:
    """What a call says that meets a fault which lasts for a while; "" when it waits for the end of it, and succeeds."""
    task = asyncio.ensure_future(call)
    await asyncio.wait({task}, timeout=A_WHILE)
    fault_ends()
    try:
        await soon(task)
    except BrokerUnavailable as error:
        return said_well(error)
    return ""


def said_well(error: BaseException, *secrets: str) -> str:
    """What it says: one line for people, and none of the secrets, neither there nor in what it was raised from."""
    said = str(error)
    assert said
    assert said.isprintable()
    assert " object at 0x" not in said
    assert "<redis." not in said
    told = "".join(traceback.format_exception(error))
    assert not [secret for secret in secrets if secret in told]
    return said


async def works(broker: Broker, queue: str = "default") -> None:
    """A new job goes all its way."""
    claim = await started(broker, queue)
    assert (await broker.settle([(claim, DONE)]))[0] == [True]


async def started(broker: Broker, queue: str = "default", worker: str = "w", terms: Terms | None = None) -> Claim:
    """A new job in a worker's hands."""
    new = job(queue=queue, terms=terms)
    await broker.enqueue([new])
    await broker.beat(worker, CARD, 3600.0)
    claims = await broker.claim([queue], {"loop": 1}, worker)
    assert [claim.id for claim in claims] == [new.id]
    return claims[0]


async def journal(broker: Broker, stored: JobId) -> Reading:
    """The journal of a job that must exist."""
    reading = await broker.read(stored)
    assert reading is not None
    return reading
