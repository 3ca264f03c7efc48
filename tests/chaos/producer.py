"""A process that enqueues, and writes down what it asks for before each call, and what it was told after it.

`python -m producer FILE FIRST_NUMBER MODE TIMES`: mode "many" enqueues a batch in each call, "keys" one job with one of a few unique keys.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import msgspec
from program import app

BATCH, KEYS = 100, 5


class Asked(msgspec.Struct, tag=True):
    """A call that is going to be made: the number of its first job, and what goes to the store."""

    number: int
    ids: list[str]
    bodies: list[bytes]
    key: str | None = None


class Answered(msgspec.Struct, tag=True):
    """What it was told: which job has each place, and whether it is a new one."""

    ids: list[str]
    fresh: list[bool]


_decode = msgspec.json.Decoder(Asked | Answered).decode


def read(file: Path) -> list[Asked | Answered]:
    """What a producer has written so far."""
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    return [_decode(line) for line in lines if line.endswith(b"\n")]


async def produce(file: Path, number: int, mode: str, times: int) -> None:
    quick, broker = app.get_task("quick"), await app.broker()
    with file.open("ab", buffering=0) as out:
        for _ in range(times):
            key = f"key-{random.randrange(KEYS)}" if mode == "keys" else None
            count = 1 if key else BATCH
            jobs = [quick.options(key=key).bind(number + n).job for n in range(count)]
            asked = Asked(number, [job.id for job in jobs], [job.body for job in jobs], key)
            out.write(msgspec.json.encode(asked) + b"\n")
            placed = await broker.enqueue(jobs)
            answered = Answered([one.id for one in placed], [one.fresh for one in placed])
            out.write(msgspec.json.encode(answered) + b"\n")
            number += count
    await app.close()


if __name__ == "__main__":
    asyncio.run(produce(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
