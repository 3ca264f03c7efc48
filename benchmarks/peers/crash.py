"""Scenario H: processes are killed with jobs in flight."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from itertools import count

from peers.bench import Bench, Failed, Figures
from peers.jobs import END, START, Record
from peers.processes import Worker, kill, tree

SECONDS = 1.5
"""How long each job lasts."""


async def kill_worker(bench: Bench) -> Figures:
    """All processes of the worker at once; a new worker starts right away."""
    worker = await with_jobs_in_flight(bench)
    worker.kill()
    killed, before = time.monotonic(), bench.records.read()
    heir = bench.start()
    try:
        return await recovery(bench, heir, killed, before)
    finally:
        heir.kill()


async def kill_runner(bench: Bench) -> Figures:
    """Only the processes that run jobs, when there are others."""
    worker = await with_jobs_in_flight(bench)
    try:
        runners = {one.pid for one in in_flight(bench.records.read())}
        roots = {root.pid for root in worker.roots}
        if roots & runners:
            raise Failed("does not apply: the worker is one process")
        kill(tree(runners))
        killed, before = time.monotonic(), bench.records.read()
        return await recovery(bench, worker, killed, before)
    finally:
        worker.kill()


def in_flight(records: Sequence[Record]) -> list[Record]:
    """The jobs that began and did not end."""
    ended = {one.number for one in records if one.kind == END}
    return [one for one in records if one.kind == START and one.number not in ended]


async def with_jobs_in_flight(bench: Bench) -> Worker:
    """A worker that has begun as many jobs as it takes at once, less than a second ago."""
    jobs = int(bench.options["jobs"])
    await bench.client.enqueue("noop", -1)
    worker = bench.start()
    try:
        await bench.ran(1, worker)
        await asyncio.sleep(1.5)
        bench.records.clear()
        await bench.client.enqueue_many("sleep", [(number, SECONDS) for number in range(jobs)])
        await bench.ran(1, worker)
        await bench.until(lambda: bench.records.count() >= jobs, worker, patience=SECONDS / 2)
    except BaseException:
        worker.kill()
        raise
    return worker


async def trickle(bench: Bench) -> None:
    """A no-op a second: some libraries look for dead workers only when something new arrives, and on a queue that is used it does."""
    for number in count(start=-2, step=-1):
        await bench.client.enqueue("noop", number)
        await asyncio.sleep(1)


async def recovery(bench: Bench, worker: Worker, killed: float, before: Sequence[Record]) -> Figures:
    """Wait for every job to be done, and a little longer for those that are done twice."""
    numbers = set(range(int(bench.options["jobs"])))
    taken = {one.number for one in in_flight(before)}

    def done() -> bool:
        return {one.number for one in bench.records.read() if one.kind == END} >= numbers

    trickling = asyncio.create_task(trickle(bench))
    try:
        if finished := await bench.until(done, worker, bench.options["patience"]):
            lasted = time.monotonic() - killed
            await asyncio.sleep(3)
    finally:
        trickling.cancel()
    records = bench.records.read()
    ends = Counter(one.number for one in records if one.kind == END)
    again = [one for one in records if one.kind == START and one.when > killed and one.number in taken]
    reruns = {one.number: one.when - killed for one in reversed(again)}  # the earliest of each
    figures: Figures = {
        "in_flight": len(taken),
        "unfinished": len(numbers - ends.keys()),
        "doubled": sum(times - 1 for number, times in ends.items() if number in numbers),
    }
    if reruns:
        figures["first"] = min(reruns.values())
        if reruns.keys() == taken:
            figures["last"] = max(reruns.values())
    if finished:
        figures["finished"] = lasted
    return figures
