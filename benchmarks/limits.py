"""What limits cost: enqueueing, claiming and settling jobs of 10,000 keys, each a limit of its own, against plain jobs.

`python benchmarks/limits.py sqlite:////path/to/a/new.db redis://localhost:6379/0` (each store must be empty; it is not emptied afterwards).
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import TypeVar

from windlass.broker.port import Broker
from windlass.broker.url import make_broker
from windlass.core.ids import new_id
from windlass.core.job import Card, Claim, NewJob
from windlass.core.outcome import Succeeded
from windlass.core.terms import Terms, Use

T = TypeVar("T")
BATCH = 100
"""Jobs in one call."""
KINDS: dict[str, Callable[[int], Terms | None]] = {
    "plain": lambda _: None,
    "running": lambda n: Terms(uses=(Use("tenant", str(n), running=1),)),
    "rate": lambda n: Terms(uses=(Use("tenant", str(n), rate=1.0, burst=10),)),
}


async def measure(broker: Broker, kind: str, keys: int) -> dict[str, float]:
    """Seconds of each verb, for all jobs of one kind together."""
    jobs = [NewJob(id=new_id(), task="b", body=b"{}", queue=kind, terms=KINDS[kind](n)) for n in range(keys)]
    took, claims = dict.fromkeys(("enqueue", "claim", "settle"), 0.0), list[Claim]()

    def done(verb: str, began: float) -> None:
        took[verb] += time.perf_counter() - began

    for some in _batches(jobs):
        began = time.perf_counter()
        await broker.enqueue(some)
        done("enqueue", began)
    await broker.beat("bench", Card(host="here", pid=1), 600.0)
    while len(claims) < keys:
        began = time.perf_counter()
        claims += await broker.claim([kind], {"loop": BATCH}, "bench")
        done("claim", began)
    for ended in _batches(claims):
        began = time.perf_counter()
        await broker.settle([(claim, Succeeded(b"1")) for claim in ended])
        done("settle", began)
    return took


def _batches(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[at : at + BATCH] for at in range(0, len(items), BATCH)]


async def compare(url: str, keys: int, rounds: int) -> None:
    """Print a line for each verb: microseconds a job, and how many times that of a plain one."""
    broker = make_broker(url, "bench")
    await broker.open()
    try:
        found = [{kind: await measure(broker, kind, keys) for kind in KINDS} for _ in range(rounds)]
    finally:
        await broker.close()
    print(f"{url.partition(':')[0]}: {keys:,} keys, {BATCH} jobs a call, the median of {rounds}")
    for verb in found[0]["plain"]:
        each = {kind: median(one[kind][verb] for one in found) / keys * 1e6 for kind in KINDS}
        times = "  ".join(f"{kind} {value:6.1f} us ({value / each['plain']:.2f}x)" for kind, value in each.items())
        print(f"  {verb:8} {times}")


def main() -> None:
    """Measure each store that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    for url in given.urls:
        asyncio.run(compare(url, given.keys, given.rounds))


if __name__ == "__main__":
    main()
