"""What the tests of the command share: how it is run, and a job taken by hand."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from windlass.broker.port import Broker
from windlass.core.job import Card, Claim

TASKS = """
import asyncio
from windlass import Context, Depends, Retry, Windlass

app = Windlass()

@app.task
async def resize(number: int, width: int = 100) -> int:
    return number * width

@app.task(queue="mail")
def greet(name: str, *, loud: bool = False, tags: list[str] | None = None) -> str:
    return f"hello {name}{'!' * loud}"

@app.task(retry=Retry(attempts=1))
def boom() -> None:
    raise ValueError("boom")

@app.task
async def slow(seconds: float = 60.0, ctx: Context = Depends()) -> str:
    ctx.progress(1, 4, "begun")
    await asyncio.sleep(seconds)
    return "done"
"""


class Ran(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """stdout as tab-separated rows."""
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        """stdout as one JSON document."""
        return msgspec.json.decode(self.out)


Windlass = Callable[..., Ran]


def environment(**more: str) -> dict[str, str]:
    """What a command started by a test sees of the environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WINDLASS_", "COV_"))}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


def shell(*arguments: object, **more: str) -> Ran:
    """The command as a process of its own, in the current folder."""
    command = [sys.executable, "-m", "windlass.cli.main", *map(str, arguments)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env=environment(**more),
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


class Background:
    """A command that goes on running: `with Background("worker") as worker: worker.until("started")`."""

    def __init__(self, *arguments: object, **more: str) -> None:
        command = [sys.executable, "-m", "windlass.cli.main", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment(**more),
        )  # fmt: skip
        self.err = ""
        self._ended = False
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            with self._grown:
                self.err += text
                self._grown.notify_all()
        with self._grown:
            self._ended = True
            self._grown.notify_all()

    def until(self, said: str, times: int = 1) -> None:
        """Wait until stderr holds `said` so many times."""
        with self._grown:
            self._grown.wait_for(lambda: self.err.count(said) >= times or self._ended, timeout=30)
            assert self.err.count(said) >= times, self.err

    def end(self) -> Ran:
        """Wait for its end."""
        code = self.process.wait(timeout=60)
        self._reader.join()
        assert self.process.stdout is not None
        return Ran(code, self.process.stdout.read(), self.err)

    def __enter__(self) -> Background:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()


async def claim(broker: Broker, queue: str = "default") -> Claim:
    """The next job of a queue, taken by a worker that lives for a minute."""
    card = Card(host="here", pid=7, queues=(queue,), slots={"loop": 2}, version="0.1.0", rss=90 << 20)
    await broker.beat("w1", card, 60.0)
    (claimed,) = await broker.claim([queue], {"loop": 1, "thread": 1}, "w1")
    return claimed
