"""The index of ids, which is ours: against a plain sorted list, over many runs."""

from __future__ import annotations

import random
from uuid import UUID

import pytest

from windlass.broker.redis.broker import RedisBroker
from windlass.core.job import NewJob
from windlass.core.state import State
from windlass.errors import InvalidArguments


def _id(number: int) -> str:
    return str(UUID(int=number << 90 | 7 << 76 | 2 << 62))


async def test_ids_in_any_order_are_listed_in_theirs(broker: RedisBroker) -> None:
    """Appended, inserted one by one and many at once, at the front and in between, and deleted again."""
    chance = random.Random(7)
    numbers = chance.sample(range(1_000_000), 3000)
    there = set[str]()
    at = 0
    while at < len(numbers):
        size = chance.choice([1, 1, 1, 2, 40, 700])
        some = numbers[at : at + size]
        ids = [_id(number) for number in (sorted(some) if chance.random() < 0.5 else some)]
        await broker.enqueue([NewJob(id=job, task="t", body=b"{}") for job in ids])
        there.update(ids)
        if chance.random() < 0.5:
            gone = chance.sample(sorted(there), min(len(there), 30))
            await broker.forget(gone)
            there.difference_update(gone)
        at += size
    listed = [job.id for job in (await broker.find(limit=5000, scan=5000)).jobs]
    assert listed == sorted(there, reverse=True)
    middle = listed[len(listed) // 2]
    assert [job.id for job in (await broker.find(before=middle, limit=300)).jobs] == listed[len(listed) // 2 + 1 :][
        :300
    ]
    await broker.forget(listed)
    assert (await broker.find()).jobs == []


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "0190A1B2-0000-7000-8000-000000000001", "0190a1b20000-7000-8000-0000-00000000001", "é" * 36],
)
async def test_what_is_no_id_belongs_to_no_job(broker: RedisBroker, text: str) -> None:
    with pytest.raises(InvalidArguments, match="is no job id"):
        await broker.enqueue([NewJob(id=text, task="t", body=b"{}")])
    assert await broker.get([text]) == [None]
    assert await broker.read(text) is None
    assert await broker.cancel([text]) == {}
    assert await broker.forget([text]) == []
    assert await broker.tally() == []


async def test_jobs_are_found_however_few_are_looked_at_at_once(
    broker: RedisBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In portions that grow; and who continues a listing misses none, and meets none twice."""
    monkeypatch.setattr("windlass.broker.redis.looks.FIRST", 3)
    ids = [_id(number) for number in range(300)]
    tasks = {job: "rare" if n % 37 == 5 else "often" for n, job in enumerate(ids)}
    await broker.enqueue([NewJob(id=job, task=tasks[job], body=b"{}") for job in ids])
    await broker.cancel(ids[::3])
    for states, task in (([], "rare"), ([State.CANCELLED], None), ([State.READY, State.CANCELLED], "often")):
        wanted = [job for n, job in enumerate(ids) if tasks[job] == (task or tasks[job])]
        wanted = [job for job in wanted if states != [State.CANCELLED] or job in set(ids[::3])]
        found, before = list[str](), None
        while True:
            jobs, before = await broker.find(states=states, task=task, before=before, limit=7, scan=60)
            found += [job.id for job in jobs]
            if before is None:
                break
        assert found == sorted(wanted, reverse=True)
