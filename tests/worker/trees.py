"""Supervisors and all below them, as processes of their own that a test can hurt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from test_process_lane import gone

from windlass import Windlass

HERE = Path(__file__).parent
SCRIPT = """
import asyncio, sys
from windlass.worker.link import Orders
from windlass.worker.supervisor import Supervisor
async def supervise():
    supervisor = Supervisor(Orders(sys.argv[1], settings=eval(sys.argv[2]), burst="burst" in sys.argv))
    supervisor.events.subscribe(lambda event: print(event, file=sys.stderr, flush=True))
    return await supervisor.run()
sys.exit(asyncio.run(supervise()))
"""


def producer(program: Windlass, folder: Path) -> Windlass:
    """The tasks of a program with a store in `folder`."""
    app = Windlass(f"sqlite:///{folder}/jobs.db")
    for name, one in program.definitions.items():
        options = one.options
        app.task(name=name, lane=one.lane, timeout=options.timeout, retry=options.retry)(one.function)
    return app


class Tree:
    """A supervisor and what is below it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        """All that it has said so far."""
        return self._log.read_text(errors="replace")

    @property
    def runners(self) -> list[int]:
        """Its children, the oldest first."""
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return []
        return [pid for pid in sorted(map(int, children.split())) if not gone(pid)]

    def signal(self, number: int) -> None:
        """Signal the supervisor and the runners, one right after the other."""
        for pid in (self.process.pid, *self.runners):
            os.kill(pid, number)


@contextmanager
def tree(
    app: Windlass,
    log: Path,
    target: str = "worker_tasks:app",
    *args: str,
    environment: dict[str, str] | None = None,
    **settings: Any,
) -> Generator[Tree]:
    """A worker for the store of `app`; `log` is where it writes what happens."""
    given = {
        "WINDLASS_URL": app.url,
        "PYTHONPATH": os.pathsep.join([str(log.parent), str(HERE)]),
        **(environment or {}),
    }
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, target, repr(settings), *args],
            env={**os.environ, **given},
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stderr=stderr,
        )
    made = Tree(process, log)
    try:
        yield made
    finally:
        if process.poll() is None:
            made.signal(signal.SIGCONT)
            process.kill()
        process.wait()
        print(made.said)
