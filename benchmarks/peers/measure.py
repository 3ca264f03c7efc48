"""The measurements A to G and P. Each starts with an empty server and leaves no process behind."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from peers.bench import Bench, Failed, Figures
from peers.jobs import END, START, Record
from peers.processes import Worker, cpu_seconds, pss
from peers.servers import usage

if TYPE_CHECKING:
    from collections.abc import Iterator

PORTION = 20_000
"""Jobs that a producer holds in its hands at once, so that a million need no memory."""
SHALLOW, WINDOW = 3000, 2000
"""A shallow backlog, and how many of its jobs are timed: there is more to fetch until the last of them, as in a deep one."""


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of all lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def started(records: Sequence[Record]) -> list[float]:
    """When each job began, sorted. Raises when one ran twice: its worker was alive all the time."""
    starts = [one for one in records if one.kind == START]
    if doubled := len(starts) - len({one.number for one in starts}):
        raise Failed(f"{doubled} jobs ran twice while their worker lived")
    return sorted(one.when for one in starts)


@contextmanager
def working(bench: Bench, processes: int | None = None) -> Iterator[Worker]:
    """A worker for as long as it is needed."""
    worker = bench.start(processes)
    try:
        yield worker
    finally:
        worker.kill()


async def fill(bench: Bench, jobs: int, task: str = "noop", *rest: float) -> None:
    """Put so many jobs in, in bulk."""
    for start in range(0, jobs, PORTION):
        await bench.client.enqueue_many(
            task, [(number, *rest) for number in range(start, min(start + PORTION, jobs))]
        )  # fmt: skip


# --- A, B, D, E: a backlog, then a worker ----------------------------------------------------------------------------


async def drain(bench: Bench) -> Figures:
    """No-ops. CPU and commands are counted from the first job on: starting up is measured elsewhere."""
    jobs = int(bench.options["jobs"])
    await fill(bench, jobs)
    with working(bench) as worker:
        await bench.until(lambda: bench.records.count() > 0, worker)
        done, worker_before, redis_before = bench.records.count(), cpu_seconds(worker.pids), bench.redis.info()
        times = started(await bench.ran(jobs, worker))
        await asyncio.sleep(0.1)  # the last outcomes are written
        worker_after, redis_after = cpu_seconds(worker.pids), bench.redis.info()
    figures = {"rate": (jobs - 1) / (times[-1] - times[0])}
    if rest := jobs - done:
        (cpu, commands), (cpu_then, commands_then) = usage(redis_after), usage(redis_before)
        figures["worker_us"] = (worker_after - worker_before) / rest * 1e6
        figures["redis_us"] = (cpu - cpu_then) / rest * 1e6
        figures["commands"] = (commands - commands_then) / rest
    return figures


async def sleeps(bench: Bench) -> Figures:
    """50 ms each, 100 at once."""
    jobs = int(bench.options["jobs"])
    await fill(bench, jobs, "sleep", 0.05)
    with working(bench) as worker:
        records = await bench.ran(2 * jobs, worker)
        cpu = cpu_seconds(worker.pids)
    rate = jobs / (max(one.when for one in records) - started(records)[0])
    return {"rate": rate, "share": rate / 2000 * 100, "worker_us": cpu / jobs * 1e6}


def burn_rate(records: Sequence[Record]) -> float:
    """Jobs a second, from the first start to the last end."""
    ends = [one.when for one in records if one.kind == END]
    return len(ends) / (max(ends) - started(records)[0])


async def bare_rate(bench: Bench, jobs: int) -> float:
    """The rate of two processes that burn so many jobs without any queue."""
    bench.records.clear()
    half = jobs // 2
    commands = ([sys.executable, "-m", "peers.jobs", str(first), str(first + half)] for first in (0, half))
    bare = [await asyncio.create_subprocess_exec(*command) for command in commands]
    for process in bare:
        await process.wait()
    return burn_rate(bench.records.read())


async def burns(bench: Bench) -> Figures:
    """50 ms of CPU each, on two processes, between two measurements of the same work without a queue."""
    jobs = int(bench.options["jobs"])
    before = await bare_rate(bench, jobs // 2)
    bench.records.clear()
    await fill(bench, jobs, "burn")
    with working(bench) as worker:
        rate = burn_rate(await bench.ran(2 * jobs, worker))
    after = await bare_rate(bench, jobs // 2)
    return {"rate": rate, "share": rate / statistics.mean((before, after)) * 100}


# --- C, F: a worker, then jobs ---------------------------------------------------------------------------------------


async def idle(bench: Bench) -> Figures:
    """How a worker starts, what it costs to wait, how fast it answers."""
    await bench.client.enqueue("noop", -1)
    with working(bench) as worker:
        (first, *_) = await bench.ran(1, worker)
        await asyncio.sleep(1)  # whatever it does at its start is over
        commands, cpu, began = usage(bench.redis.info())[1], cpu_seconds(worker.pids), time.monotonic()
        await asyncio.sleep(2)
        waited = time.monotonic() - began
        figures = {
            "up": first.when - worker.began,
            "idle_commands": (usage(bench.redis.info())[1] - commands) / waited,
            "idle_cpu": (cpu_seconds(worker.pids) - cpu) / waited * 100,
            "pss": pss(worker.pids),
        }
        whole, begun = await trips(bench, worker)
    figures |= {"start50": percentile(begun, 0.5) * 1e3, "start99": percentile(begun, 0.99) * 1e3}
    if whole:
        figures |= {"trip50": percentile(whole, 0.5) * 1e3, "trip99": percentile(whole, 0.99) * 1e3}
    return figures


async def trips(bench: Bench, worker: Worker) -> tuple[list[float], list[float]]:
    """Enqueue to result (where there are results) and enqueue to start, in seconds, one job at a time, after some to warm up."""
    wanted, deadline = int(bench.options["trips"]), time.monotonic() + bench.options["seconds"]
    warm, least = 20, 20
    whole, sent = [], {}
    bench.records.clear()
    for number in range(warm + wanted):
        if number > warm + least and time.monotonic() > deadline:
            break
        sent[number] = began = time.monotonic()
        if bench.results:
            value = await asyncio.wait_for(bench.client.call("noop", number), 35)
            if value != number:
                raise Failed(f"the result of job {number} is {value!r}")
            whole.append(time.monotonic() - began)
        else:
            await bench.client.enqueue("noop", number)
        while bench.records.count() <= number:
            if worker.ended() is not None or time.monotonic() > began + 35:
                raise Failed(f"job {number} did not start: {bench.last_words()}")
            await asyncio.sleep(0.0005)
        await asyncio.sleep(0.002)
    begun = [one.when - sent[one.number] for one in bench.records.read() if one.number >= warm]
    return whole[warm:], begun


async def open_loop(bench: Bench) -> Figures:
    """Jobs by the clock."""
    rate, jobs = bench.options["rate"], int(bench.options["rate"] * bench.options["seconds"])
    await bench.client.enqueue("noop", -1)
    with working(bench) as worker:
        await bench.ran(1, worker)
        await asyncio.sleep(0.7)
        for number in range(50):  # the producer warms up
            await bench.client.enqueue("noop", -2 - number)
        await bench.ran(51, worker)
        bench.records.clear()
        cpu, began, sent, running = (
            cpu_seconds(worker.pids),
            time.monotonic(),
            [0.0] * jobs,
            set[asyncio.Task[object]](),
        )
        for number in range(jobs):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            sent[number] = time.monotonic()
            if bench.module.SYNC:
                await bench.client.enqueue("noop", number)
            else:
                task = asyncio.ensure_future(bench.client.enqueue("noop", number))
                running.add(task)
                task.add_done_callback(running.discard)
        await asyncio.gather(*running)
        lasted = time.monotonic() - began
        records = await bench.ran(jobs, worker)
        cpu = cpu_seconds(worker.pids) - cpu
    if lasted > jobs / rate * 1.05:
        raise Failed(f"the producer could not keep up: {jobs / lasted:.0f} jobs/s")
    waits = [(one.when - sent[one.number]) * 1e3 for one in records]
    shares = {"start50": 0.5, "start99": 0.99, "start999": 0.999}
    return {"cpu": cpu / lasted * 100, **{key: percentile(waits, share) for key, share in shares.items()}}


# --- G, P: the backlog itself ----------------------------------------------------------------------------------------


async def first_rate(bench: Bench) -> float:
    """The rate of the first jobs of a fresh worker."""
    bench.records.clear()
    with working(bench) as worker:
        records = await bench.ran(WINDOW, worker)
    times = sorted(one.when for one in records)[:WINDOW]
    return (WINDOW - 1) / (times[-1] - times[0])


async def backlog(bench: Bench) -> Figures:
    """Shallow against deep; each the median of some fresh workers."""
    samples, depth = int(bench.options["samples"]), int(bench.options["depth"])
    shallow = []
    for _ in range(samples):
        bench.clear()
        await fill(bench, SHALLOW)
        shallow.append(await first_rate(bench))
    bench.clear()
    await fill(bench, depth)
    deep = [await first_rate(bench) for _ in range(samples)]
    bench.records.clear()
    with working(bench) as worker:
        await bench.ran(WINDOW, worker)
        await asyncio.sleep(bench.options["seconds"])
        times = sorted(one.when for one in bench.records.read())
    if len(times) >= depth / 2:
        raise Failed(f"half of {depth:,} jobs were gone before the rate was taken")
    median = statistics.median(shallow)
    return {
        "shallow": median,
        "first": statistics.median(deep),
        "share": statistics.median(deep) / median * 100,
        "deep": (len(times) - 1) / (times[-1] - times[0]),
        "depth": depth,
    }


async def produce(bench: Bench) -> Figures:
    """One by one, then in bulk, with an eye on the server's memory."""
    seconds, jobs = bench.options["seconds"], int(bench.options["jobs"])
    for number in range(200):
        await bench.client.enqueue("noop", number)
    count, began = 0, time.monotonic()
    while (lasted := time.monotonic() - began) < seconds:
        for number in range(50):
            await bench.client.enqueue("noop", number)
        count += 50
    figures = {"single": count / lasted}
    bench.clear()
    before, done, spent = bench.redis.memory(), 0, 0.0
    while not done or spent < seconds:
        began = time.monotonic()
        await fill(bench, jobs)
        spent += time.monotonic() - began
        done += jobs
        figures.setdefault("bytes", (bench.redis.memory() - before) / jobs)
    return {**figures, "bulk": done / spent}
