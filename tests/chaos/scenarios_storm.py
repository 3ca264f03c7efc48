"""A16: everything at random, again and again."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable

from scenario import SQLITE, scenario
from stage import LEASE, Stage, Stopped, alive, family, until

SHORT, LONG = 300, 5000
"""Jobs for each unit of scale, in the short form and in the long one."""
MIX = (
    ("storm_nap", 10, 0.2), ("storm_nap", 20, 0.02), ("storm_nap_thread", 6, 0.1), ("storm_nap_process", 2, 0.1),
    ("storm_flaky", 4, 1), ("storm_quick", 18),
)  # fmt: skip
"""The jobs of a wave: task, how many, arguments."""
WAVE = sum(count for _, count, *_ in MIX)
POINTS = (
    "worker.after_claim", "worker.before_start", "task.running", "worker.after_run", "settler.before_settle", "settler.after_settle",
    "process.after_spawn", "supervisor.before_beat", "sqlite.before_commit", "sqlite.after_commit",
)  # fmt: skip
ZOMBIE = ("gave the jobs of", "was given to another worker meanwhile")
"""What those say that come back from the dead."""
Worker = subprocess.Popen[bytes]


class Storm:
    """So many workers, and faults at random; whatever a fault takes away is started anew."""

    def __init__(self, stage: Stage, workers: int) -> None:
        self._stage, self._random, self._count = stage, stage.random, workers
        self._started = 0
        self._workers = list[Worker]()
        self._stopped = list[Stopped]()
        self._faults: dict[Callable[[], Awaitable[None]], int] = {
            self._kill_a_runner: 4, self._kill_a_child: 3, self._kill_a_tree: 2, self._stop_a_tree: 2, self._drain: 2, self._fail: 3,
        }  # fmt: skip
        self.fill()

    def fill(self, failpoints: str = "") -> None:
        """Start what is missing."""
        self._workers = [worker for worker in self._workers if worker.poll() is None]
        while len(self._workers) < self._count:
            self._started += 1
            once = self._stage.folder / f"once-{self._started}"
            once.mkdir()
            environment = {"WINDLASS_FAILPOINTS_ONCE": str(once)}
            self._workers.append(
                self._stage.worker("--runners=2", failpoints=failpoints, environment=environment, shutdown_timeout=1)
            )

    async def strike(self) -> None:
        """One fault."""
        await self._random.choices(list(self._faults), list(self._faults.values()))[0]()
        self.fill()

    async def work_until(self, condition: Callable[[], bool]) -> None:
        """Until this is true; those that fail at a named point end their worker when they are its supervisor, and are replaced."""

        def filled() -> bool:
            self.fill()
            return condition()

        await until(filled)

    async def calm(self) -> None:
        """Until all that was stopped has gone on."""
        await until(lambda: not self._stopped)

    async def _kill_a_runner(self) -> None:
        await self._kill(depth=0)

    async def _kill_a_child(self) -> None:
        await self._kill(depth=1)

    async def _kill(self, depth: int) -> None:
        """Kill a process that runs a job; depth: 0 for runners, 1 for their children."""
        supervisors = {worker.pid for worker in self._workers}
        runs = [run.start for run in self._stage.history.in_hand().values() if len(run.start.above) > depth]
        pids = {run.pid for run in runs if run.above[depth] in supervisors and alive(run.pid)}
        if pids:
            self._stage.kill(self._random.choice(sorted(pids)))
        else:
            await self._kill_a_tree()

    async def _kill_a_tree(self) -> None:
        self._stage.kill_tree(self._random.choice(self._workers))

    async def _stop_a_tree(self) -> None:
        stopped = await self._stage.stop_idle(family(self._random.choice(self._workers).pid))
        self._stopped.append(stopped)
        asyncio.get_running_loop().call_later(LEASE * self._random.uniform(1.5, 4), self._go_on, stopped)

    def _go_on(self, stopped: Stopped) -> None:
        self._stopped.remove(stopped)
        self._stage.go(stopped)

    async def _drain(self) -> None:
        worker = self._workers.pop(self._random.randrange(len(self._workers)))
        self._stage.terminate(worker)

    async def _fail(self) -> None:
        """Exchange a worker for one that fails at a named point."""
        await self._drain()
        self.fill(f"{self._random.choice(POINTS)}=kill9")


@scenario(
    "A16",
    "Runners, children and whole workers are killed, stopped for longer than a lease, drained and exchanged, at random, again and again",
    "Nothing is lost, and nothing that had been stored runs again.",
)
async def storm(stage: Stage) -> None:
    long = stage.scale > 1
    storm, waves = Storm(stage, 3 if long else 2), (LONG if long else SHORT) * stage.scale // WAVE
    for _ in range(waves):
        for task, count, *args in MIX:
            await stage.enqueue(task, count, *args)
        await storm.work_until(lambda: stage.started() >= len(stage.history.told) - 3 * WAVE)
        await storm.strike()
    await storm.calm()
    ended = asyncio.create_task(stage.ended())
    await storm.work_until(ended.done)
    await ended
    # Most of those that are stopped are killed before they go on. On SQLite it may be all of them: B6 to B8 play it there.
    zombies = any(words in stage.log for words in ZOMBIE)
    assert zombies or not long or stage.store == SQLITE, "no zombie came back"
