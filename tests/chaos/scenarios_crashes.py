"""A: jobs whose process dies, by their own fault or another's."""

from __future__ import annotations

import signal
from typing import Any

from offenders import DEATHS, LARGE
from program import CHILDREN
from scenario import scenario
from stage import Stage, alive, until

from windlass import Handle, State


@scenario(
    "A6a",
    'A child of lane "process" is killed while its job runs',
    "The job runs again a second later, in another child; its neighbours notice nothing.",
)
async def child_killed(stage: Stage) -> None:
    stage.worker()
    victims = await stage.enqueue("nap_process", 1, 0.5)
    others = await stage.enqueue("nap_process", 3, 0.5) + await stage.enqueue("nap", 5, 0.5)
    stage.kill((await stage.run_of(victims[0])).start.pid)
    assert [job.crashes for job in await stage.ended(victims)] == [1]
    assert not any(job.crashes for job in await stage.ended(others))


@scenario(
    "A6b",
    "A runner is killed when it has just started a child",
    "The child dies with it; the job runs, once.",
)
async def after_spawn(stage: Stage) -> None:
    stage.worker(failpoints="process.after_spawn=kill9")
    await stage.enqueue("nap_process", 4, 0.05)
    pid = await stage.failed_at("process.after_spawn")
    await stage.ended()
    assert not any(pid in run.start.above for runs in stage.history.runs().values() for run in runs)


@scenario(
    "A7",
    "Jobs end their own process: a segmentation fault, abort(), os._exit(0), SIGKILL to themselves, rubbish sent to the runner",
    "Each counts as a crash, never as a success; the evidence says what it died of. A neighbour notices nothing.",
)
async def own_death(stage: Stage) -> None:
    stage.worker("--processes=4")
    doomed = {how: (await stage.enqueue("die_at_last", 1, how))[0] for how in DEATHS}
    stage.expect(doomed.values(), State.FAILED)
    saved = [(await stage.enqueue("die_once", 1, how))[0] for how in ("segfault", "half", "nonsense")]
    others = await stage.enqueue("quick_process", 10 * stage.scale) + await stage.enqueue("quick", 10 * stage.scale)
    for how, job in doomed.items():
        struck(stage, how, (await stage.run_of(job)).start.pid)
    for job in saved:
        struck(stage, "died", (await stage.run_of(job)).start.pid)
    for job in await stage.ended(doomed.values()):
        assert job.crashes == 1
        assert job.error is not None
        assert job.error.kind == "quarantined", job.error
    errors = {how: (await job.info()).error for how, job in doomed.items()}
    assert "SIGSEGV" in errors["segfault"].message
    assert errors["segfault"].evidence["signal"] == signal.SIGSEGV
    assert errors["exit 0"].evidence["exit_code"] == 0
    assert [job.crashes for job in await stage.ended(saved)] == [1] * 3
    assert not any(job.crashes for job in await stage.ended(others))


def struck(stage: Stage, what: str, pid: int) -> None:
    """Note that this process has died by its own hand."""
    stage.harm(what, {pid})


@scenario(
    "A8a",
    "A job takes more memory than its limit",
    "Its child is killed, and the evidence says why; its neighbours go on.",
)
async def out_of_memory(stage: Stage) -> None:
    stage.worker()
    (eater,) = await stage.enqueue("eat", 1)
    stage.expect([eater], State.FAILED)
    others = await stage.enqueue("nap_process", 3, 0.3) + await stage.enqueue("nap", 3, 0.3)
    struck(stage, "out of memory", (await stage.run_of(eater)).start.pid)
    (job,) = await stage.ended([eater])
    assert job.error is not None
    assert "over its memory limit" in job.error.message, job.error
    assert not any(one.crashes for one in await stage.ended(others))


@scenario(
    "A8b",
    "A job takes more memory than its limit, and its task says on which queue to try it again",
    "Its child is killed; its next run is on that queue, where the limit does not hold, and succeeds.",
)
async def out_of_memory_elsewhere(stage: Stage) -> None:
    stage.worker()
    (eater,) = await stage.enqueue("eat_in_peace", 1)
    struck(stage, "out of memory", (await stage.run_of(eater)).start.pid)
    await until(lambda: moved(eater))
    large = stage.worker("--queue", LARGE)
    (job,) = await stage.ended([eater])
    assert (job.queue, job.crashes, job.attempt) == (LARGE, 1, 1)
    assert large.pid in stage.runs(eater)[1].start.above


async def moved(job: Handle[Any]) -> bool:
    return (await job.info()).queue == LARGE


@scenario(
    "A10",
    'A job of lane "process" kills its process whenever it runs',
    "After three crashes it is quarantined, with the evidence; all others run as if it were not there.",
)
async def poison_in_child(stage: Stage) -> None:
    stage.worker()
    (poison,) = await stage.enqueue("die", 1, "kill")
    stage.expect([poison], State.FAILED)
    others = await stage.enqueue("quick_process", 40 * stage.scale) + await stage.enqueue("quick", 40 * stage.scale)
    for number in (1, 2, 3):
        struck(stage, "died", (await stage.run_of(poison, number)).start.pid)
    await quarantined(stage, poison)
    assert not any(job.crashes for job in await stage.ended(others))


async def quarantined(stage: Stage, poison: Handle[Any]) -> None:
    (job,) = await stage.ended([poison])
    assert (job.crashes, len(stage.runs(poison))) == (3, 3)
    assert job.error is not None
    assert job.error.kind == "quarantined", job.error


@scenario(
    "A11a",
    "An async job kills its runner whenever it runs, with fifty neighbours in it",
    "It is found out in a child of its own and quarantined; no neighbour is: all of them succeed.",
)
async def poison_in_loop(stage: Stage) -> None:
    await poisoned(stage, "die_in_loop")


@scenario(
    "A11b",
    "A job in a thread crashes its runner whenever it runs, with fifty neighbours in it",
    "It is found out in a child of its own and quarantined; no neighbour is: all of them succeed.",
)
async def poison_in_thread(stage: Stage) -> None:
    await poisoned(stage, "die_in_thread")


async def poisoned(stage: Stage, task: str) -> None:
    (poison,) = await stage.enqueue(task, 1)
    stage.expect([poison], State.FAILED)
    others = await stage.enqueue("gated", 45, stage.gate("open"))
    others += await stage.enqueue("gated_thread", 5, stage.gate("open"))
    stage.open("open", CHILDREN)  # where all suspects come at last
    stage.worker()
    for number in (1, 2, 3):
        pid = (await stage.run_of(poison, number)).start.pid
        struck(stage, "died", pid)
        await until(lambda pid=pid: not alive(pid))
    stage.open("open")
    await quarantined(stage, poison)
    crashes = [job.crashes for job in await stage.ended(others)]
    assert max(crashes) == 2, "no neighbour was hit as often as it may be"
