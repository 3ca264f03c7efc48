"""The front door as a type checker sees it: all of this is right. Never run; read by mypy and pyright (`tests/test_typing.py`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, assert_type

from windlass import (
    Batch,
    BatchTask,
    Call,
    CallNext,
    Context,
    Cron,
    Debounce,
    Depends,
    Every,
    Flow,
    Gathering,
    Handle,
    Job,
    JobEvent,
    Progress,
    Retry,
    Schedule,
    State,
    Task,
    Throttle,
    Windlass,
    chain,
    current,
    group,
)
from windlass.errors import JobError

app = Windlass("memory://", name="shop", concurrency=20)
Windlass()


@dataclass
class Report:
    frames: int


class Session:
    pass


async def get_session() -> AsyncIterator[Session]:
    yield Session()


@app.task
async def send_email(to: str, subject: str = "hello") -> None: ...


@app.task(lane="process", timeout="2h", retry=Retry(attempts=5, on=(OSError,)), queue="video", priority=5, memory="1GB")
def transcode(video: Path, height: int, ctx: Context = Depends()) -> Report:
    ctx.progress(40, 100, "encoding")
    return Report(height)


@app.task(schedule=Cron("0 9 * * mon-fri", tz="Europe/Berlin"))
async def wake_up() -> None: ...


@app.task(
    schedule=[Every("15m"), Every(timedelta(hours=1)), Schedule(Every(60), args={"n": 1}, window=timedelta(hours=1))]
)
def tick(n: int = 0) -> None: ...


async def schedules() -> None:
    one = await app.schedules.add(tick, Schedule(Cron("* * * * *"), name="often", overlap="skip", jitter="5s"))
    assert_type(one, Schedule)
    assert_type(await app.schedules.add("tick", Every("1h")), Schedule)
    assert_type((await app.schedules.list())[0].ticks[0].job, Job | None)
    assert_type(await app.schedules.run("often"), Handle[Any])


@app.task(name="count", keep=timedelta(days=1), meta={"team": "media"})
async def count(*words: str, session: Session = Depends(get_session), **sizes: int) -> dict[str, int]:
    return {word: len(word) for word in words} | sizes


@app.task
def add(a: int, b: int) -> int:
    return a + b


def pair(a: int, b: int) -> str:
    return str(a + b)


@app.task(key=pair, fair_by=pair, weight=0.5, throttle=Throttle("1m"))
def add_once(a: int, b: int) -> int:
    return a + b


@app.middleware
async def timed(ctx: Context, call_next: CallNext) -> Any:
    return await call_next()


async def enqueueing() -> None:
    assert_type(await send_email.enqueue("a@example.com"), Handle[None])
    assert_type(await send_email.enqueue("a@example.com", subject="hi"), Handle[None])
    assert_type(await transcode.enqueue(Path("a.mp4"), 720), Handle[Report])
    assert_type(await transcode.enqueue(video=Path("a.mp4"), height=720), Handle[Report])
    assert_type(await count.enqueue("a", "b", c=1), Handle[dict[str, int]])
    assert_type(await count.enqueue(), Handle[dict[str, int]])
    assert_type(add.delay(1, 2), Handle[int])
    assert_type(send_email.delay("a@example.com"), Handle[None])


async def results() -> None:
    job = await add.enqueue(1, 2)
    assert_type(await job, int)
    assert_type(await job.result(timeout=30), int)
    assert_type(await job.result("30s"), int)
    assert_type(job.get(timeout=timedelta(seconds=3)), int)
    assert_type(await add.delay(1, 2), int)
    assert_type(await job.info(), Job)
    assert_type((await job.info()).state, State)
    assert_type((await job.info()).progress, Progress | None)
    assert_type(await job.cancel(), State)
    assert_type(job.id, str)
    assert_type(job.fresh, bool)
    async for event in job.events(after=3):
        assert_type(event, JobEvent)
    async for report in job.stream(Report, after=3):
        assert_type(report, Report)
    stream = job.stream(list[str])
    async for words in stream:
        assert_type(words, list[str])
    async for anything in job.stream(after=stream.last):
        assert_type(anything, Any)
    assert_type(app.job(job.id), Handle[Any])
    await (await send_email.enqueue("a@example.com"))


async def binding() -> None:
    assert_type(add.bind(1, b=2), Call[int])
    assert_type(transcode.bind(Path("a.mp4"), 480), Call[Report])
    assert_type(await app.enqueue_many([add.bind(i, i) for i in range(3)]), list[Handle[int]])
    calls: list[Call[int] | Call[None]] = [add.bind(1, 2), send_email.bind("a@example.com")]
    assert_type(await app.enqueue_many(calls), list[Handle[int | None]])
    await app.enqueue_many([add.bind(1, 2), send_email.bind("a@example.com")])
    for job in await app.enqueue_many(add.bind(i, i) for i in range(3)):
        assert_type(await job, int)


@app.task
async def total(numbers: list[int], more: int = 0) -> str:
    return str(sum(numbers) + more)


@app.task
async def doubled(numbers: list[int]) -> list[int]:
    return numbers


@app.task
async def described(results: list[int | JobError]) -> str:
    return str(results)


@app.flow
async def publish(video: Path, flow: Flow = Depends()) -> list[str]:
    assert_type(await flow.run(add.bind(1, 2)), int)
    assert_type(await flow.gather(flow.run(add.bind(1, 2)), flow.step(len, "a")), list[int])
    assert_type(await flow.gather(flow.run(add.bind(1, 2)), collect=True), list[int | Exception])
    assert_type(await flow.sleep("3d"), None)
    assert_type(await flow.now(), datetime)
    await flow.event("approved", timeout="1h")
    return await flow.gather(flow.run(add.bind(1, 2).then(add, b=1).then(add, 2).then(as_text)))


@app.flow(queue="slow", timeout="1m")
async def quick(flow: Flow = Depends()) -> int:
    return await flow.step(add_here, 1, b=2)


async def add_here(a: int, *, b: int) -> int:
    return a + b


@app.task
def as_text(number: int) -> str:
    return str(number)


async def workflows() -> None:
    assert_type(add.bind(1, 2).then(as_text), Call[str])
    assert_type(add.bind(1, 2).then(add, 3).then(add, b=3), Call[int])
    assert_type(await add.bind(1, 2).then(as_text).enqueue(), Handle[str])
    assert_type(add.bind(1, 2).then(as_text).delay(), Handle[str])
    assert_type(group(add.bind(n, n) for n in range(3)).then(total, more=3), Call[str])
    assert_type(group([add.bind(1, 2)], collect=True).then(described), Call[str])
    gathering = await as_text.map([1, 2]).enqueue()
    assert_type(gathering, Gathering[str])
    assert_type(await gathering, list[str])
    assert_type([one async for one in gathering], list[str])
    assert_type(await gathering.progress(), Progress)
    assert_type(await doubled.map([1, 2], chunk=2).enqueue(), Gathering[int])
    assert_type(await as_text.map([1], collect=True).enqueue(), Gathering[str | JobError])
    assert_type(await publish.enqueue(Path("a.mp4")), Handle[list[str]])
    assert_type(await quick.enqueue(), Handle[int])
    assert_type(chain(add.bind(1, 2), as_text), Call[Any])
    assert_type(await app.signal("id", "approved", {"by": "me"}), bool)


async def options() -> None:
    job = await transcode.options(delay="10m", priority=9, key="video:42").enqueue(Path("a.mp4"), 720)
    assert_type(job, Handle[Report])
    later = add.options(
        at=datetime.now(UTC), expires=60, timeout=1.5, retry=Retry(), keep="7d", queue="q", meta={"a": "b"}
    )
    assert_type(later.delay(1, 2), Handle[int])
    once = add.options(key=pair, unique="started", on_conflict="raise", fair_by="alice", weight=2, ageing="10m")
    assert_type(await once.enqueue(1, 2), Handle[int])
    assert_type(add.options(key="sum", debounce=Debounce("30s", longest="5m")).bind(1, 2), Call[int])
    assert_type(add.options(key="sum", throttle=Throttle(timedelta(minutes=1))).bind(1, 2), Call[int])
    assert_type(later.bind(1, 2), Call[int])
    assert_type(later(1, 2), int)


async def calling_here() -> None:
    assert_type(add(1, 2), int)
    assert_type(transcode(Path("a.mp4"), 720), Report)
    assert_type(await send_email("a@example.com"), None)
    coroutine: Coroutine[Any, Any, dict[str, int]] = count("a")
    assert_type(await coroutine, dict[str, int])
    assert_type(current(), Context)
    assert_type(add.name, str)


def rows(after: int | None) -> Iterator[tuple[int, Report]]:
    yield 1, Report(after or 0)


async def pages(after: str | None) -> AsyncIterator[tuple[str, Report]]:
    yield "next", Report(1)


async def resuming(ctx: Context) -> None:
    for number in ctx.iterate(range(10)):
        assert_type(number, int)
    for row in ctx.iterate(rows, every="5s"):
        assert_type(row, Report)
    async for page in ctx.iterate(pages):
        assert_type(page, Report)
    async for session in ctx.iterate(get_session()):
        assert_type(session, Session)
    assert_type(ctx.resumed_from, Any)


@app.task(batch=Batch(size=8, wait="50ms", by=len), lane="process", timeout=60, needs={"gpu": 1})
def draw(prompts: list[str], ctx: Context = Depends()) -> list[Report]:
    return [Report(len(prompt)) for prompt in prompts]


@app.task(batch=Batch(size=8))
async def judge(reports: list[Report], session: Session = Depends(get_session)) -> list[int | Exception]:
    return [report.frames or ValueError("empty") for report in reports]


async def batches() -> None:
    assert_type(draw, BatchTask[str, Report, list[Report]])
    assert_type(await draw.enqueue("a horse"), Handle[Report])
    assert_type(await (await draw.enqueue("a horse")), Report)
    assert_type(draw.options(priority=9).delay("a horse"), Handle[Report])
    assert_type(await app.enqueue_many([draw.bind("a"), draw.bind("b")]), list[Handle[Report]])
    assert_type(draw(["a horse", "a cow"]), list[Report])
    assert_type(await judge.enqueue(Report(1)), Handle[int])
    await judge([Report(1)], Session())


def passing_on(task: Task[[int, int], int], handle: Handle[int]) -> int:
    """Tasks and handles can be named in annotations, and a handle of a narrower result is one of a wider."""
    wider: Handle[int | str] = handle
    return (wider.get() and task(1, 2)) or passing_on(add, task.delay(1, 2))
