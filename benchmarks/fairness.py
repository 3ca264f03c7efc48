"""How long small tenants wait behind a big one: 1 with 100,000 jobs, 99 with 10 each that come after it; starts until they are done.

And what it costs: the CPU time of the client for each job that is enqueued, and for each that is claimed and settled, with groups and
without, in turns. The bar: the 99 are done within the first 2,000 starts.

    python benchmarks/fairness.py [--store memory|sqlite|redis] [--jobs 100000] [--redis URL]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import Counter

from windlass.broker.port import Broker
from windlass.broker.url import make_broker
from windlass.core.ids import new_id
from windlass.core.job import Card, NewJob
from windlass.core.outcome import Succeeded
from windlass.core.terms import Terms

TENANTS, EACH, ROOM, BAR = 99, 10, 50, 2_000
ROUNDS = 5


def jobs(owner: str | None, many: int) -> list[NewJob]:
    """Jobs of one tenant, who is their task."""
    terms = None if owner is None else Terms(group=owner)
    return [
        NewJob(id=new_id(), task=owner or "plain", body=b"{}", queue="shared" if owner else "plain", terms=terms)
        for _ in range(many)
    ]


async def enqueue(broker: Broker, new: list[NewJob]) -> None:
    for start in range(0, len(new), 500):
        await broker.enqueue(new[start : start + 500])


async def start(broker: Broker, queue: str, many: int) -> list[str]:
    """Start and end so many jobs; answers whose they were."""
    owners = list[str]()
    while len(owners) < many and (claims := await broker.claim([queue], {"loop": ROOM}, "w")):
        await broker.settle([(claim, Succeeded(b"null")) for claim in claims])
        owners += (claim.task for claim in claims)
    return owners


async def starts_of_the_small(broker: Broker, big: int) -> int:
    """After how many starts all jobs of the small tenants have started."""
    await enqueue(broker, jobs("big", big))
    for number in range(TENANTS):
        await enqueue(broker, jobs(f"small{number}", EACH))
    owners = await start(broker, "shared", BAR)
    counts = Counter(owner for owner in owners if owner != "big")
    if counts.total() < TENANTS * EACH:
        raise SystemExit(f"after {len(owners)} starts only {counts.total()} jobs of small tenants had started")
    return max(place for place, owner in enumerate(owners, 1) if owner != "big")


async def costs(broker: Broker, sample: int) -> dict[str, list[float]]:
    """Microseconds of CPU for each job, in turns: enqueued, and claimed and settled; without groups, and of a hundred groups."""
    told: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, queue, owners in (
            ("plain", "plain", [None]),
            ("groups", "shared", [f"small{n}" for n in range(TENANTS + 1)]),
        ):
            new = [job for owner in owners for job in jobs(owner, sample // len(owners))]
            times = [time.process_time()]
            await enqueue(broker, new)
            times.append(time.process_time())
            await start(broker, queue, len(new))
            times.append(time.process_time())
            for what, begun, ended in zip(("enqueue", "start"), times, times[1:], strict=False):
                told.setdefault(f"{what}, {name}", []).append((ended - begun) * 1e6 / len(new))
    return told


async def measure(store: str, url: str, big: int) -> None:
    broker = make_broker(url, "fairness")
    await broker.open()
    try:
        await broker.beat("w", Card(host="here", pid=1), 3600.0)
        cost = {name: statistics.median(values) for name, values in (await costs(broker, big // 20)).items()}
        starts = await starts_of_the_small(broker, big)
    finally:
        await broker.close()
    print(f"| {store} | {starts:,} | {' | '.join(f'{value:.1f}' for value in cost.values())} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("memory", "sqlite", "redis"), action="append", help="only this one")
    parser.add_argument("--jobs", type=int, default=100_000, help="of the big tenant")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/15", help="an empty database")
    args = parser.parse_args()
    print(
        "| store | starts until the 99 are done | us: enqueue, plain | start, plain | enqueue, 100 groups | start, 100 groups |"
    )
    print("|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        urls = {"memory": "memory://", "sqlite": f"sqlite:///{folder}/jobs.db", "redis": args.redis}
        for store in args.store or urls:
            asyncio.run(measure(store, urls[store], args.jobs))


if __name__ == "__main__":
    main()
