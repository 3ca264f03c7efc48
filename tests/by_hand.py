"""What the tests of the front door share: a stand-in for a worker that ends jobs by hand, over any broker."""

from __future__ import annotations

from windlass import Windlass
from windlass.core.job import Card, Claim, Entry
from windlass.core.outcome import Outcome, Succeeded
from windlass.core.payload import unpack

ROOM = {"loop": 100, "thread": 100, "process": 100}
WORKER = "by-hand"


async def take(app: Windlass, count: int = 1, queue: str = "default") -> list[Claim]:
    """Claim jobs as a worker would."""
    broker = await app.broker()
    await broker.beat(WORKER, Card(host="here", pid=1), 3600)
    claims = await broker.claim([queue], dict.fromkeys(ROOM, count), WORKER)
    assert len(claims) == count
    return claims


async def end(app: Windlass, *pairs: tuple[Claim, Outcome]) -> None:
    """Settle what was claimed."""
    applied, _ = await (await app.broker()).settle(pairs)
    assert all(applied)


async def journal(app: Windlass, claim: Claim, *entries: Entry) -> None:
    """Write to a job's journal."""
    assert await (await app.broker()).append([(claim, entries)]) == [True]


async def run_next(app: Windlass, queue: str = "default") -> None:
    """Run the next job for real, here and now, and store its result."""
    (claim,) = await take(app, queue=queue)
    definition = app.definitions[claim.task]
    values = definition.arguments.decode(unpack(claim.body).args)
    args, kwargs = definition.arguments.arrange(values, {})
    result = definition.function(*args, **kwargs)
    result = await result if definition.is_async else result
    await end(app, (claim, Succeeded(definition.result.encode(result, app.settings.max_payload))))
