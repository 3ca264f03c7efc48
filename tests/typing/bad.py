"""Mistakes at the front door. Each line marked `# error`, and no other, is reported by mypy and by pyright (`tests/test_typing.py`)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from windlass import Batch, Call, Context, Cron, Depends, Every, Flow, Handle, Retry, Schedule, Task, Windlass, group

app = Windlass("memory://")


@app.task
async def send_email(to: str, subject: str = "hello") -> None: ...


@app.task(lane="process")
def transcode(video: Path, height: int, ctx: Context = Depends()) -> list[int]:
    return [height]


@app.task
def add(a: int, b: int) -> int:
    return a + b


app.task(schedule="0 9 * * *")  # error
Schedule(Cron("0 9 * * *"), overlap="never")  # error
Every([])  # error


async def arguments() -> None:
    await send_email.enqueue(1)  # error
    await send_email.enqueue()  # error
    await send_email.enqueue("a@example.com", "hi", "more")  # error
    await send_email.enqueue("a@example.com", subjekt="hi")  # error
    await transcode.enqueue("a.mp4", 720)  # error
    await transcode.enqueue(Path("a.mp4"))  # error
    await transcode.enqueue(Path("a.mp4"), height="720")  # error
    add.delay(1)  # error
    add.delay(1, "2")  # error
    add.delay(1, 2, 3)  # error
    add.bind(1)  # error
    add.bind(a=1, c=2)  # error
    add.options(priority=9).delay("1", 2)  # error
    add(1)  # error
    await send_email(to=1)  # error


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


async def workflows() -> None:
    add.bind(1, 2).then(send_email)  # error
    add.bind(1, 2).then(add)  # error
    add.bind(1, 2).then(add, "3")  # error
    add.bind(1, 2).then(add, c=3)  # error
    group([add.bind(1, 2)]).then(add, 1)  # error
    group([send_email.bind("a")]).then(total)  # error
    group([transcode.bind(Path("a.mp4"), 1)]).then(total)  # error


async def choices() -> None:
    add.options(prio=9)  # error
    add.options(priority="high")  # error
    add.options(delay=datetime.now())  # error
    add.options(at="tomorrow")  # error
    add.options(retry=3)  # error
    add.options(meta={"a": 1})  # error
    Retry(attempts="3")  # error
    Windlass("memory://", "shop")  # error


@app.task(lane="gpu")  # error
def wrong_lane() -> None: ...


@app.task(retries=3)  # error
def wrong_option() -> None: ...


@app.flow(lane="process")  # error
async def wrong_flow(flow: Flow = Depends()) -> None:
    (size,) = await flow.gather(flow.step(len, "a"), collect=True)
    size += 1  # error


@app.task(timeout=None, retry="often")  # error
def wrong_policy() -> None: ...


async def results() -> None:
    job = await add.enqueue(1, 2)
    text: str = await job  # error
    text = await job.result()  # error
    text = job.get()  # error
    (await job).upper()  # error
    job.result(timeout=[1])  # error
    wrong: Handle[str] = await add.enqueue(1, 2)  # error
    narrower: Handle[bool] = job  # error
    calls: list[Call[str]] = [add.bind(1, 2)]  # error
    handles: list[Handle[str]] = await app.enqueue_many([add.bind(1, 2)])  # error
    await app.enqueue_many([add(1, 2)])  # error
    await app.enqueue_many(add.bind(1, 2))  # error
    app.job(42)  # error
    print(text, wrong, narrower, calls, handles)


async def async_and_sync() -> None:
    handle = add.enqueue(1, 2)
    print(handle.id)  # error
    handle.get()  # error
    number: int = add.delay(1, 2)  # error
    number = await add(1, 2)  # error
    await add.bind(1, 2)  # error
    await add.delay(1, 2).get()  # error
    state: str = add.delay(1, 2).cancel()  # error
    for event in add.delay(1, 2).events():  # error
        print(event)
    with app.lifespan():  # error
        pass
    print(number, state, await handle)


def sync_code() -> int:
    number: int = send_email("a@example.com")  # error
    task: Task[[int, int], str] = add  # error
    print(task)
    return number


@app.task(batch=Batch(size=8))
async def draw(prompts: list[str]) -> list[int]:
    return [len(prompt) for prompt in prompts]


async def batches() -> None:
    await draw.enqueue(["a horse"])  # error
    await draw.enqueue("a horse", "a cow")  # error
    await draw.enqueue(1)  # error
    await draw("a horse")  # error
    text: str = await (await draw.enqueue("a horse"))  # error
    print(text)


@app.task(batch=Batch(size=8))  # error
async def no_list(prompt: str) -> list[int]:
    return [len(prompt)]


@app.task(batch=8)  # error
async def no_batch(prompts: list[str]) -> list[int]:
    return [len(prompts)]


def names_that_the_package_does_not_have() -> None:
    from windlass import Workflow  # error

    print(Workflow)
