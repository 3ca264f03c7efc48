"""I, J: messages that nobody can read, calls that race with each other, producers that die."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import count
from typing import Any

import msgspec
import producer
from history import Told
from producer import BATCH, Answered, Asked
from scenario import REDIS, SQLITE, scenario
from stage import HERE, Stage, until

from windlass import Handle, State

HOSTILE = [
    b"",
    b"\x00" * 100,
    os.urandom(1000),
    b"null",
    b"[]",
    b'"args"',
    b"{}",
    b'{"args":',
    b'{"args":{"number":1},"v":1',
    b'\xef\xbb\xbf{"args":{"number":1},"v":1}',
    b'{"args":{"number":1},"v":"1"}',
    b'{"args":{"number":1},"v":99}',
    b'{"args":[1],"v":1}',
    b'{"args":{"numbers":1},"v":1}',
    b'{"args":{"number":"one"},"v":1}',
    b'{"args":{"number":1},"v":1,"timeout":"soon"}',
    b'{"args":' + b"[" * 100_000 + b"]" * 100_000 + b',"v":1}',
    b'{"args":{"number":1' + b"0" * 100_000 + b'},"v":1}',
    b'{"args":{"number":"\\ud800"},"v":1}',
]


@scenario(
    "I-1",
    "Jobs are in the store whose bodies no worker can read: cut short, random bytes, wrong types, bottomless",
    "They are parked with the reason, for a person to look at. They are not tried again and again, and everything else runs.",
)
async def hostile_bodies(stage: Stage) -> None:
    stage.worker()
    calls = [call for task in ("quick", "quick_process") for call in stage.bind(task, len(HOSTILE))]
    jobs = [msgspec.structs.replace(call.job, body=body) for call, body in zip(calls, HOSTILE * 2, strict=True)]
    broker = await stage.app.broker()
    await broker.enqueue(jobs)
    stage.harm("hostile bodies")
    await untouched(stage, await stage.enqueue("quick", 10) + await stage.enqueue("quick_process", 4))
    handles = [stage.app.job(job.id) for job in jobs]

    async def all_parked() -> bool:
        return all(job is not None and job.state is State.PARKED for job in await broker.get([job.id for job in jobs]))

    await until(all_parked)
    for parked in await broker.get([job.id for job in jobs]):
        assert parked is not None
        assert parked.reason
        assert (parked.attempt, parked.crashes) == (0, 0)
    assert set((await stage.cancel(handles)).values()) == {State.CANCELLED}
    stage.expect(handles, State.CANCELLED, never=True)


async def untouched(stage: Stage, jobs: list[Handle[Any]]) -> None:
    """These jobs have succeeded, and nothing was counted against them."""
    for job in await stage.ended(jobs):
        assert (job.state, job.attempt, job.crashes) == (State.SUCCEEDED, 1, 0), job.error


@scenario(
    "I-6",
    "Storing outcomes fails for a moment",
    "It is done again until it is done: no outcome is lost, no job runs again.",
)
async def outcomes_refused(stage: Stage) -> None:
    stage.worker(failpoints="settler.before_settle=raise")
    jobs = await stage.enqueue("quick", 20 * stage.scale)
    await stage.failed_at("settler.before_settle")
    await untouched(stage, jobs)
    assert all(len(stage.runs(job)) == 1 for job in jobs)


@scenario(
    "I-9a",
    "Jobs are cancelled while workers claim them, run them and store their ends",
    "A job that the store called cancelled never starts. Any other is cancelled or done, whichever came first.",
)
async def racing_cancels(stage: Stage) -> None:
    for _ in range(2):
        stage.worker("--concurrency=5")
    jobs = await stage.enqueue("nap", 300 * stage.scale, 0.02)
    await stage.wait_started(5)
    chosen = jobs[::2]
    told = dict[str, State]()
    while chosen:
        told |= await stage.cancel(chosen[:10])
        found = await stage.look([job.id for job in chosen[10:]])
        chosen = [
            job for job in chosen[10:] if (it := found[job.id]) and not it.state.finished
        ]  # those that run, and who comes next
    stage.harm("cancels")
    assert {State.CANCELLED, State.RUNNING} <= set(told.values()), "no cancel came at the right moment"


@scenario(
    "I-9b",
    "Running jobs are cancelled, in every lane",
    "They are interrupted within a beat or two; none of them runs again.",
)
async def cancelled_while_running(stage: Stage) -> None:
    stage.worker()
    jobs = list[Handle[Any]]()
    for task, many in (("gated", 10), ("gated_thread", 3), ("gated_process", 2)):
        jobs += await stage.enqueue(task, many, stage.gate("never"))
    others = await stage.enqueue("nap", 5, 1.0)
    await stage.wait_started(20)
    stage.harm("cancels")
    assert set((await stage.cancel(jobs)).values()) == {State.RUNNING}
    stage.expect(jobs, State.CANCELLED)
    for job in await stage.ended(jobs, within=10):
        assert job.reason == "cancelled while running"
    assert all(len(stage.runs(job)) == 1 for job in jobs)
    await untouched(stage, others)


@scenario(
    "I-9c",
    "Running jobs are cancelled, and their worker is killed before it hears of it",
    "They are cancelled when they are taken back: they do not run again.",
)
async def cancelled_and_killed(stage: Stage) -> None:
    first = stage.worker(beat=1.9)
    jobs = await stage.enqueue("gated", 10, stage.gate("never"))
    await stage.wait_started(10)
    assert set((await stage.cancel(jobs)).values()) == {State.RUNNING}
    stage.kill_tree(first)
    stage.expect(jobs, State.CANCELLED)
    stage.worker()
    await stage.ended(jobs)
    assert all(len(stage.runs(job)) == 1 for job in jobs)
    await untouched(stage, await stage.enqueue("quick", 5))


def produce(stage: Stage, name: str, mode: str, times: int, **environment: str) -> subprocess.Popen[bytes]:
    """Start a producer; it writes into the file `name`."""
    numbers = next(_firsts)
    variables = {**os.environ, "WINDLASS_URL": stage.url, "CHAOS_MUTANT": stage.mutant, **environment}
    variables["WINDLASS_FAILPOINTS_ONCE"] = str(stage.folder / "once")
    command = [sys.executable, "-m", "producer", str(stage.folder / name), str(numbers), mode, str(times)]
    with (stage.folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=HERE, env=variables, stdout=log, stderr=log)


_firsts = count(1_000_000, 1_000_000)


async def written(stage: Stage, names: Sequence[str]) -> list[tuple[Asked, Answered | None]]:
    """Each call of these producers, and what it was told; all that they asked for is told to the history."""
    calls = list[tuple[Asked, Answered | None]]()
    for name in names:
        lines = producer.read(stage.folder / name)
        for line, following in zip(lines, [*lines[1:], None], strict=True):
            if not isinstance(line, Asked):
                continue
            answer = following if isinstance(following, Answered) else None
            for n, job in enumerate(line.ids):
                stored = answer is not None and answer.fresh[n]
                if answer is None or stored:
                    stage.history.told[job] = Told(line.number + n, certain=stored, key=line.key)
            calls.append((line, answer))
    return calls


@scenario(
    "I-10",
    "Many producers, in many processes, enqueue jobs with the same unique keys at the same time",
    "There is never more than one unfinished job with a key; whoever comes second is told the first one's id.",
)
async def racing_keys(stage: Stage) -> None:
    stage.worker()
    rounds = [await race(stage, f"round-{n}") for n in range(2)]
    assert not rounds[0] & rounds[1], "a key was still taken when all jobs had ended"


async def race(stage: Stage, name: str) -> set[str]:
    """Four producers at once, until all their jobs have ended; the ids of those that were new."""
    names = [f"{name}-{n}" for n in range(4)]
    producers = [produce(stage, one, "keys", 30 * stage.scale) for one in names]
    for one in producers:
        assert await asyncio.to_thread(one.wait, 60) == 0
    stage.harm("races")
    answers = [answer for _, answer in await written(stage, names) if answer is not None]
    fresh = {answer.ids[0] for answer in answers if answer.fresh[0]}
    others = {answer.ids[0] for answer in answers if not answer.fresh[0]}
    assert fresh, "no key was free"
    assert others, "no two producers met"
    assert others <= fresh
    await stage.ended()
    return fresh


@scenario(
    "I-13a",
    "A producer is killed while it enqueues many jobs in one call, before the commit",
    "None of them is stored. The same call, made again, stores them all.",
    stores=(SQLITE,),
)
async def producer_killed_before_commit(stage: Stage) -> None:
    await producer_killed(stage, "before", stored=False)


@scenario(
    "I-13b",
    "A producer is killed while it enqueues many jobs in one call, after the commit, before it knows of it",
    "All of them are stored. The same call, made again, changes nothing: each runs once.",
    stores=(SQLITE,),
)
async def producer_killed_after_commit(stage: Stage) -> None:
    await producer_killed(stage, "after", stored=True)


async def producer_killed(stage: Stage, when: str, *, stored: bool) -> None:
    stage.worker()
    one = produce(stage, "one", "many", 3, CHAOS_ARM=f"enqueue:sqlite.{when}_commit=kill9")
    await stage.failed_at(f"sqlite.{when}_commit")
    assert await asyncio.to_thread(one.wait, 10) == -signal.SIGKILL
    ((asked, answer),) = await written(stage, ["one"])
    assert answer is None
    found = await (await stage.app.broker()).get(asked.ids)
    assert [job is not None for job in found] == [stored] * BATCH
    await asked_again(stage, asked)
    await untouched(stage, [stage.app.job(job) for job in asked.ids])


async def asked_again(stage: Stage, asked: Asked) -> None:
    """Make the same call again, and the same jobs are there."""
    (like,) = stage.bind("quick", 1)
    del stage.history.told[like.job.id]
    jobs = [
        msgspec.structs.replace(like.job, id=job, body=body) for job, body in zip(asked.ids, asked.bodies, strict=True)
    ]
    placed = await (await stage.app.broker()).enqueue(jobs)
    assert [one.id for one in placed] == asked.ids
    for job in asked.ids:
        stage.history.told[job].certain = True


@scenario(
    "I-13c",
    "Producers are killed at any moment while they enqueue many jobs in one call",
    "Of each call all jobs are stored or none. What was answered is stored; and any call can be made again, which changes nothing.",
    stores=(REDIS, SQLITE),
)
async def producers_killed(stage: Stage) -> None:
    stage.worker()
    unanswered = 0
    for n in count():
        if unanswered == 3 * stage.scale:
            break
        one, file = produce(stage, f"producer-{n}", "many", 1000), stage.folder / f"producer-{n}"
        await until(lambda file=file: producer.read(file), every=0.0)
        await asyncio.sleep(stage.random.uniform(0, 0.05))  # anywhere in a call, or between two
        one.kill()
        stage.harm("producer killed")
        await asyncio.to_thread(one.wait)
        calls = await written(stage, [file.name])
        for asked, answer in calls:
            found = await (await stage.app.broker()).get(asked.ids)
            assert len({job is None for job in found}) == 1, "a part of a call was stored"
            assert answer is None or found[0] is not None
            unanswered += answer is None
            await asked_again(stage, asked)
    await untouched(stage, [stage.app.job(job) for job in stage.history.told])


@scenario(
    "I-11",
    "Hundreds of jobs fail at the same moment, twice, because what they need is away",
    "Each is tried again after its own pause, and succeeds with its third attempt.",
)
async def retry_storm(stage: Stage) -> None:
    stage.worker()
    stage.harm("failures")
    jobs = await stage.enqueue("flaky", 200 * stage.scale, 2)
    for job in await stage.ended(jobs):
        assert (job.attempt, job.crashes) == (3, 0)
    assert all(len(stage.runs(job)) == 3 for job in jobs)
