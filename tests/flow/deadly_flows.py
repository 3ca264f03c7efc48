"""The program of the tests about deaths: flows and joins that write down each call of a step. Imported by them and run as a worker."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from windlass import Depends, Flow, Retry, Windlass, group

app = Windlass(
    os.environ.get("DEADLY_URL", "memory://"), lease=1.5, beat=0.3, upkeep=0.2, concurrency=8, retry=Retry(attempts=1)
)


def called(what: str) -> None:
    """Write down that a step begins, in one write."""
    line = f"{what} {time.time():.6f}\n".encode()
    file = os.open(os.environ["DEADLY_CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line)
    os.close(file)


async def step(name: str, value: int) -> int:
    called(name)
    await asyncio.sleep(0.01)
    return value + 1


@app.task(crash_limit=1000)
async def part(value: int) -> int:
    await asyncio.sleep(0.01)
    return value


@app.task(crash_limit=1000)
async def total(values: list[int]) -> int:
    return sum(values)


@app.flow(crash_limit=1000)
async def publish(name: str, flow: Flow = Depends()) -> int:
    one = await flow.step(step, f"{name}:1", 0)
    two = await flow.run(part.bind(one))
    await flow.sleep(0.1)
    three, four = await flow.gather(
        flow.step(step, f"{name}:4", two), flow.run(group(part.bind(n) for n in range(4)).then(total))
    )
    return await flow.step(step, f"{name}:6", three + four)


if __name__ == "__main__":
    sys.modules["deadly_flows"] = sys.modules["__main__"]
    asyncio.run(app.run_worker())
