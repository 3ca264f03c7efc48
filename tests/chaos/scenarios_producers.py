"""J: what producers, and workers without work, see of a store that is away."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
from evidence import now
from history import Told
from scenario import REDIS, scenario
from scenarios_network import SCRIPTS, line_of, struck
from stage import HERE, LEASE, Stage, family, until

from servers import Proxy
from servers.redis import BOUND

TICKS = os.sysconf("SC_CLK_TCK")
USUAL = {"lease": 7, "beat": 1, "upkeep": 0.5}
"""The times of a worker that nobody has set."""
MOST_LINES, MOST_CPU = 10, 3.0
"""Lines of log in a minute, and percent of one core, of a worker that is cut off."""


# --- an API, a batch


@asynccontextmanager
async def api(stage: Stage) -> AsyncIterator[httpx2.AsyncClient]:
    """The API as a process of its own."""
    socket = stage.folder / "api"
    process = start_api(stage, socket)
    try:
        await until(socket.exists)
        transport = httpx2.AsyncHTTPTransport(uds=str(socket))
        async with httpx2.AsyncClient(transport=transport, base_url="http://api", timeout=30) as client:
            yield client
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)


def start_api(stage: Stage, socket: Path) -> subprocess.Popen[bytes]:
    command = [*BOUND, sys.executable, "-m", "uvicorn", "api:api", f"--uds={socket}", "--log-level=warning"]
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    variables = {**os.environ, "WINDLASS_URL": stage.url_of_workers, "PYTHONPATH": path}
    with (stage.folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=HERE, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


@scenario(
    "J4",
    "Redis is refused to an API process, or its answer is lost",
    "The client gets a 503 at once, and nothing was stored by halves; a repeat with the same Idempotency-Key makes one job.",
    proxied=True,
)
async def api_without_store(stage: Stage) -> None:
    proxy = line_of(stage)
    stage.worker()
    async with api(stage) as client:

        async def post(path: str, *numbers: int, **headers: str) -> int:
            answer = await client.post(path, headers=headers)
            if answer.status_code == 202:
                ids = answer.json() if path.startswith("/many") else [answer.json()["id"]]
                stage.history.told |= {job: Told(number) for job, number in zip(ids, numbers, strict=True)}
            return int(answer.status_code)

        assert await post("/one/1", 1) == 202
        await proxy.refuse()
        stage.harm("refused")
        began = now()
        assert await post("/one/2", 2) == 503
        assert await post("/many/10/20") == 503
        assert now() - began < LEASE
        await proxy.admit()
        for path, numbers in (("/one/3", [3]), ("/many/40/20", range(40, 60))):
            proxy.lose_answer(SCRIPTS["enqueue"].sha)
            key = {} if path.startswith("/many") else {"Idempotency-Key": "three"}
            assert await post(path, *numbers, **key) == 503
            await struck(stage, proxy, "answer lost")
            if key:
                assert await post(path, *numbers, **key) == 202
        assert await post("/many/100/20", *range(100, 120)) == 202
    found = (await (await stage.app.broker()).find(limit=1000)).jobs
    unknown = [job.id for job in found if job.id not in stage.history.told]
    assert len(unknown) == 20, "the batch of which the answer was lost is there, all of it"
    stage.history.told |= {job: Told(number) for job, number in zip(sorted(unknown), range(40, 60), strict=True)}


@scenario(
    "J9",
    "The connection of a producer is reset in the middle of a batch",
    "All jobs of the batch are there, or none; when it repeats the call, all, once.",
    proxied=True,
)
async def all_or_none(stage: Stage) -> None:
    proxy = line_of(stage)
    stage.worker()
    await stage.move(stage.url_of_workers)
    for _ in range(10 * stage.scale):
        calls = stage.bind("quick", 100)
        proxy.cut_request(SCRIPTS["enqueue"].sha, stage.random.randrange(20_000))
        assert await stage.submit(calls) == []
        await struck(stage, proxy, "request cut")
        there = sum(job is not None for job in (await stage.look([call.job.id for call in calls])).values())
        assert there in (0, len(calls))
        assert len(await stage.submit(calls)) == len(calls)


# --- workers that are cut off


@scenario(
    "I-12",
    "Redis is away for some seconds under many workers, and comes back",
    "They try again with growing, jittered pauses and not all at once; soon after its return all of them work.",
    proxied=True,
    quick=False,
)
async def reconnect(stage: Stage) -> None:
    proxy = line_of(stage)
    for _ in range(3):
        stage.worker(**USUAL)
    await stage.said("started", 6)
    before, upstream = proxy.taken, proxy.upstream
    proxy.upstream = 1  # nobody is there: whoever connects is turned away at once
    proxy.reset()
    stage.harm("away")
    await asyncio.sleep(1.5 * LEASE)
    tries = (proxy.taken - before) / 3 / (1.5 * LEASE)
    stage.notes.append(f"each worker tried to connect {tries:.1f} times a second")
    assert 0 < tries < 10
    proxy.upstream = upstream
    jobs = await stage.enqueue("gated", 250, stage.gate("open"))  # two of them have 200 slots
    await stage.wait_started(250)
    assert len({stage.runs(job)[0].start.pid for job in jobs}) == 3
    stage.open("open")
    await stage.ended(jobs)


@scenario(
    "D21a",
    "Redis is down, and a worker has nothing to do",
    "It tries again without haste: less than 3 % of one core, less than ten lines of log in a minute.",
    stores=(REDIS,),
)
async def idle_without_server(stage: Stage) -> None:
    server = stage.server
    assert server is not None

    async def down() -> None:
        await asyncio.to_thread(server.kill)

    async def up() -> None:
        await asyncio.to_thread(server.start)

    await idle(stage, down, up)


@scenario(
    "D21b",
    "Redis can be connected to and never answers, and a worker has nothing to do",
    "It tries again without haste: less than 3 % of one core, less than ten lines of log in a minute.",
    proxied=True,
    quick=False,
)
async def idle_before_a_black_hole(stage: Stage) -> None:
    proxy = line_of(stage)

    async def down() -> None:
        proxy.blackhole = True
        proxy.deaden()

    await idle(stage, down, lambda: back(proxy))


@scenario(
    "D21c",
    "Whoever connects to Redis is turned away, and a worker has nothing to do",
    "It tries again without haste: less than 3 % of one core, less than ten lines of log in a minute.",
    proxied=True,
    quick=False,
)
async def idle_and_turned_away(stage: Stage) -> None:
    proxy = line_of(stage)
    upstream = proxy.upstream

    async def down() -> None:
        proxy.upstream = 1
        proxy.reset()

    async def up() -> None:
        proxy.upstream = upstream

    await idle(stage, down, up)


async def back(proxy: Proxy) -> None:
    proxy.blackhole = False
    proxy.reset()


async def idle(stage: Stage, down: Callable[[], Awaitable[None]], up: Callable[[], Awaitable[None]]) -> None:
    """A worker without work loses its store for so long that it notices (in the long form for a minute), and gets it back."""
    worker, seconds = stage.worker(**USUAL), 60.0 if stage.scale > 1 else 10.0
    await stage.said("started", 2)
    await stage.ended(await stage.enqueue("quick", 10))
    pids = family(worker.pid)
    lines, used = stage.log.count("\n"), cpu(pids)
    stage.harm("store away")
    began = now()
    await down()
    await asyncio.sleep(seconds)
    await until(
        lambda: stage.log.count("\n") > lines
    )  # a line that swallows everything is noticed within twenty seconds
    seconds = now() - began
    share, said = 100 * (cpu(pids) - used) / seconds, stage.log.count("\n") - lines
    stage.notes.append(f"cut off for {seconds:.0f} s: {share:.1f} % of one core, {said} lines of log")
    await up()
    assert 0 < said < MOST_LINES
    assert share < MOST_CPU or stage.scale == 1, f"{share:.1f} % of a core"
    await stage.ended(await stage.enqueue("quick", 10))


def cpu(pids: Iterable[int]) -> float:
    """Seconds of CPU that these processes have used."""
    used = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += int(fields[11]) + int(fields[12])
    return used / TICKS
