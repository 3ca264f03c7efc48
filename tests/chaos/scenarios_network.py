"""D: the line to the store is slow, cut, silent or gone."""

from __future__ import annotations

import asyncio

from evidence import now
from scenario import scenario
from stage import LEASE, Stage, family, until

from servers import Proxy
from windlass.broker.redis.scripts import load

SCRIPTS = load()
VERBS = ("claim", "settle", "beat", "reclaim")
"""What a worker asks for all the time."""


def line_of(stage: Stage) -> Proxy:
    """The line of the workers, to a server that knows all our scripts: a request is not answered with "never heard of it"."""
    assert stage.proxy is not None
    assert stage.server is not None
    for script in SCRIPTS.values():
        stage.server.command("SCRIPT LOAD", script.text)
    return stage.proxy


async def struck(stage: Stage, proxy: Proxy, what: str) -> None:
    """Until the line has done what it was told to do; nobody is hurt by it."""
    before = len([one for one in stage.history.faults if one.what == what])
    await until(lambda: proxy.lost > before)
    stage.harm(what)


async def each_verb(stage: Stage, what: str, *, answer: bool, after: int, reset: bool) -> None:
    """While jobs run, cut what a worker asks, or what it is answered, once for each verb."""
    proxy = line_of(stage)
    stage.worker()
    for _ in range(stage.scale):
        for verb in VERBS:
            await stage.enqueue("nap", 10, 0.05)
            if answer:
                proxy.cut_answer(SCRIPTS[verb].sha, after, reset=reset)
            else:
                proxy.cut_request(SCRIPTS[verb].sha, after)
            await struck(stage, proxy, what)


@scenario(
    "D12a",
    "Connections to Redis are reset in the middle of a request",
    "The call is made again on a new connection; no job is lost, none runs twice.",
    proxied=True,
)
async def reset_in_a_request(stage: Stage) -> None:
    await each_verb(stage, "request cut", answer=False, after=70, reset=True)


@scenario(
    "D12b",
    "Connections to Redis are reset in the middle of an answer",
    "What was asked had happened: nothing of it happens a second time, and no job is lost.",
    proxied=True,
)
async def reset_in_an_answer(stage: Stage) -> None:
    await each_verb(stage, "answer cut", answer=True, after=2, reset=True)


@scenario(
    "D12c",
    "Answers of Redis are cut short, and the connection is closed in order",
    "Half an answer is never taken for a whole one; no job is lost, none runs twice.",
    proxied=True,
)
async def truncated_answer(stage: Stage) -> None:
    await each_verb(stage, "answer truncated", answer=True, after=3, reset=False)


@scenario(
    "D12d",
    "The answer to `enqueue` is lost, and the producer repeats the call",
    "Every job is there once, and runs once.",
    proxied=True,
)
async def lost_answer_of_enqueue(stage: Stage) -> None:
    proxy = line_of(stage)
    stage.worker()
    await stage.move(stage.url_of_workers)
    for _ in range(10 * stage.scale):
        calls = stage.bind("quick", 10)
        proxy.lose_answer(SCRIPTS["enqueue"].sha)
        assert await stage.submit(calls) == []
        await struck(stage, proxy, "answer lost")
        assert len(await stage.submit(calls)) == 10


@scenario(
    "D14",
    "The answer to a claim is lost: the store thinks that the worker has the jobs, and the worker does not know",
    "The worker gives up the name under which it asked; the jobs are handed out again, and run once.",
    proxied=True,
)
async def lost_answer_of_claim(stage: Stage) -> None:
    proxy = line_of(stage)
    stage.worker()
    await stage.enqueue("quick", 1)
    await stage.wait_started(1)
    lost = 0
    while lost < 2 * stage.scale:
        proxy.lose_answer(SCRIPTS["claim"].sha)
        jobs = await stage.enqueue("quick", 20)
        await struck(stage, proxy, "answer lost")
        # Or it was the answer to a claim that found nothing.
        lost += any(job.run_at > job.created_at for job in await stage.ended(jobs))


@scenario(
    "D12e",
    "The answer to a worker that stored results is lost",
    "The results stand; nothing runs a second time.",
    proxied=True,
)
async def lost_answer_of_settle(stage: Stage) -> None:
    proxy = line_of(stage)
    stage.worker()
    for _ in range(5 * stage.scale):
        proxy.lose_answer(SCRIPTS["settle"].sha)
        await stage.enqueue("nap", 10, 0.05)
        await struck(stage, proxy, "answer lost")


@scenario(
    "D12f",
    "The answers to heartbeats are lost",
    "The worker beats again; what it runs stays its own.",
    proxied=True,
)
async def lost_answer_of_beat(stage: Stage) -> None:
    proxy = line_of(stage)
    stage.worker()
    await stage.enqueue("nap", 10, 1.5 * LEASE)
    await stage.wait_started(10)
    for _ in range(5 * stage.scale):
        proxy.lose_answer(SCRIPTS["beat"].sha)
        await struck(stage, proxy, "answer lost")


@scenario(
    "D13a",
    "The network between a worker and Redis is a black hole for longer than the lease; there is no other worker",
    "When it is over, the worker still has its jobs, and goes on; nothing runs twice.",
    proxied=True,
)
async def black_hole(stage: Stage) -> None:
    proxy = line_of(stage)
    stage.worker()
    await stage.enqueue("gated", 10, stage.gate("gate"))
    await stage.wait_started(10)
    for line in proxy.lines:
        line.clog()
    stage.harm("black hole")
    await asyncio.sleep(1.5 * LEASE)
    for line in proxy.lines:
        line.unclog()
    await asyncio.sleep(LEASE / 2)
    stage.open("gate")
    await stage.enqueue("quick", 10)


@scenario(
    "D13b",
    "The network between a worker and Redis is a black hole for longer than the lease, and another worker takes its jobs over",
    "What the first one had to say of them arrives late, and is refused: the outcome is that of the later run.",
    proxied=True,
)
async def black_hole_and_takeover(stage: Stage) -> None:
    proxy = line_of(stage)
    first = stage.worker()
    await stage.enqueue("gated", 10, stage.gate("gate"))
    await stage.wait_started(10)
    lines = proxy.lines
    for line in lines:
        line.clog()
    fault = stage.harm("black hole", family(first.pid))
    stage.worker()
    await stage.wait_started(20)
    stage.open("gate")
    await until(lambda: not stage.in_hand())
    for line in lines:
        line.unclog()
    fault.until = now()
    await stage.said("gave the jobs of")


@scenario(
    "D13c",
    "A connection is dead in one direction: requests do not arrive any more, and nobody is told",
    "The worker notices within 20 seconds and connects again; meanwhile another one takes its jobs over.",
    proxied=True,
    quick=False,
)
async def dead_requests(stage: Stage) -> None:
    await half_open(stage, asking=True)


@scenario(
    "D13d",
    "A connection is dead in the other direction: requests arrive, answers do not",
    "The worker notices within 20 seconds and connects again; meanwhile another one takes its jobs over.",
    proxied=True,
    quick=False,
)
async def dead_answers(stage: Stage) -> None:
    await half_open(stage, asking=False)


async def half_open(stage: Stage, *, asking: bool) -> None:
    proxy = line_of(stage)
    first = stage.worker()
    await stage.enqueue("nap", 10, 3 * LEASE)
    await stage.wait_started(10)
    proxy.deaden(asking=asking, answering=not asking)
    dead = proxy.lines
    fault = stage.harm("half-open", family(first.pid))
    await stage.enqueue("quick", 20)
    stage.worker()
    await stage.wait_started(40)
    await until(lambda: not set(dead) & set(proxy.lines), 40.0)
    fault.until = now()


@scenario(
    "D13e",
    "Redis can be connected to and never answers, for half a minute",
    "The worker keeps its jobs and works again within two seconds of the end; nothing runs twice.",
    proxied=True,
    quick=False,
)
async def long_black_hole(stage: Stage) -> None:
    proxy = line_of(stage)
    stage.worker()
    await stage.enqueue("nap", 10, 40.0)
    await stage.wait_started(10)
    proxy.blackhole = True
    proxy.deaden()
    stage.harm("black hole")
    await asyncio.sleep(30.0)
    assert proxy.taken > 2, "nobody tried to connect"
    proxy.blackhole = False
    for line in proxy.lines:
        line.end()
    await stage.enqueue("quick", 10)


@scenario(
    "D18",
    "The line is slow: each answer takes 200 ms longer",
    "Work goes on, more slowly; nothing runs twice.",
    proxied=True,
    quick=False,
)
async def slow_line(stage: Stage) -> None:
    proxy = line_of(stage)
    stage.worker()
    proxy.delay = 0.2
    stage.harm("slow")
    jobs = await stage.enqueue("nap", 50 * stage.scale, 0.05)
    began = now()
    await jobs[-1].result(timeout=60)
    assert now() - began > 2 * proxy.delay


@scenario(
    "D19",
    "Every byte travels alone, in both directions",
    "Requests and answers are put together again; nothing is lost.",
    proxied=True,
)
async def byte_by_byte(stage: Stage) -> None:
    proxy = line_of(stage)
    proxy.sliced = True
    stage.harm("sliced")
    stage.worker()
    await stage.enqueue("quick", 20 * stage.scale)
    await stage.enqueue("talkative", 2, 10)


@scenario(
    "D20",
    "Connections to Redis are refused, for longer than the lease",
    "Jobs go on running; their results are stored when Redis is back. Nothing runs twice.",
    proxied=True,
)
async def refused(stage: Stage) -> None:
    proxy = line_of(stage)
    stage.worker()
    await stage.enqueue("nap", 20, LEASE)
    await stage.wait_started(20)
    await proxy.refuse()
    stage.harm("refused")
    await asyncio.sleep(1.5 * LEASE)
    taken = proxy.taken
    await proxy.admit()
    await stage.enqueue("quick", 20)
    await until(lambda: proxy.taken > taken)


@scenario(
    "K1",
    "The connections of two workers are clogged one by one, and freed in another order",
    "Whoever was silent for too long loses its jobs; whatever arrives late is refused; every job ends once.",
    proxied=True,
)
async def swizzle(stage: Stage) -> None:
    proxy = line_of(stage)
    stage.worker()
    stage.worker()
    for _ in range(stage.scale):
        before = stage.started()
        await stage.enqueue("nap", 100, 0.1)
        await stage.wait_started(before + 20)
        fault = stage.harm("swizzle", stage.everyone())
        await proxy.swizzle(proxy.lines, 2 * LEASE, stage.random)
        fault.until = now()
