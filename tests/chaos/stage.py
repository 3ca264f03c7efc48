"""The stage of a scenario: a store, the program's workers as real processes, and the means to hurt them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, suppress
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import program
import sabotage
from evidence import now
from history import Fault, History, Run, Told
from processes import PATIENCE, alive, family, having, holding, send, stopped, until

from servers import BINARIES, Proxy, RedisServer
from servers.redis import BOUND
from windlass import Call, Handle, State, Windlass
from windlass.core.job import Job
from windlass.errors import BrokerUnavailable

__all__ = ["BEAT", "HERE", "LEASE", "PATIENCE", "STORES", "Stage", "alive", "family", "until"]

T = TypeVar("T")

HERE = Path(__file__).parent
LEASE, BEAT = 2.0, 0.4
DYING = 1.0
"""Seconds after which a process that came to a failpoint is dead, if that killed it."""
BATCH = 1000
"""Jobs that are looked at in one call."""
STORES = ["sqlite", *(["redis"] if BINARIES else [])]


class Stopped(NamedTuple):
    """Processes that were stopped, and the fault that this is."""

    pids: frozenset[int]
    fault: Fault


class Stage:
    """One play: `async with Stage("sqlite", folder) as stage: ...`; afterwards `stage.history` holds what happened.

    scale: how many times as many jobs and faults as in the short form. server: of the store "redis".
    proxy: between the workers and that server, with `proxied`. mutant: what is broken on purpose, here and in the workers.
    random: all that is left to chance, from `seed`. notes: what was measured beside the history. stayed: workers that would not leave.
    """

    def __init__(
        self, store: str, folder: Path, *, scale: int = 1, proxied: bool = False, mutant: str = "", seed: int = 0
    ) -> None:
        self.store, self.folder, self.scale = store, folder, scale
        self.random = random.Random(seed)
        self.history = History()
        self.server: RedisServer | None = None
        self.proxy: Proxy | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self.notes: list[str] = []
        self.stayed: list[int] = []
        self.url = f"sqlite:///{folder}/jobs.db"
        self._proxied, self.mutant = proxied, mutant
        self._numbers = 0
        self._marks = dict[Path, int]()
        self._burials = list[asyncio.Task[None]]()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Stage:
        if self.store == "redis":
            self.server = self._stack.enter_context(RedisServer(appendonly="yes", appendfsync="always"))
            self.url = self.server.url()
        self.url_of_workers = self.url
        if self._proxied:
            assert self.server is not None, "only a server has a line that can be cut"
            self.proxy = await self._stack.enter_async_context(Proxy(self.server.port))
            self.url_of_workers = self.url.replace(str(self.server.port), str(self.proxy.port))
        self._stack.enter_context(sabotage.mutated(self.mutant))
        self.app = program.build(self.url)
        self._stack.push_async_callback(self.app.close)
        (self.folder / "once").mkdir()
        await self.app.broker()
        return self

    def keep(self, thing: AbstractContextManager[T]) -> T:
        """Hold this open for as long as the stage stands."""
        return self._stack.enter_context(thing)

    async def __aexit__(self, *_: object) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                send(signal.SIGCONT, family(worker.pid))
                worker.kill()
            worker.wait()
        send(signal.SIGKILL, self.left_over())
        await self._stack.aclose()

    # --- jobs

    async def enqueue(self, task: str, count: int, *args: Any, **options: Any) -> list[Handle[Any]]:
        """`count` jobs in one call, each with a number of its own before `args`; they are expected to succeed."""
        return await self.submit(self.bind(task, count, *args, **options))

    def bind(
        self, task: str, count: int, *args: Any, by: Windlass | None = None, **options: Any
    ) -> list[Call[..., Any]]:
        """The same, not yet enqueued; as another program `by` its own rules would do it, if need be."""
        made = (by or self.app).get_task(task).options(**options)
        calls = [made.bind(self._numbers + n, *args) for n in range(count)]
        for call in calls:
            self.history.told[call.job.id] = Told(self._numbers, certain=False, key=call.job.key)
            self._numbers += 1
        return calls

    async def submit(self, calls: Sequence[Call[..., Any]]) -> list[Handle[Any]]:
        """Enqueue them, all in one call; answers none when the store did not answer."""
        try:
            handles = await calls[0].app.place([call.job for call in calls])
        except BrokerUnavailable:
            return []
        for handle in handles:
            self.history.told[handle.id].certain = True
        return handles

    def expect(self, jobs: Iterable[Handle[Any]], *states: State, never: bool = False) -> None:
        """These jobs shall end in one of `states`; never: without having run."""
        for job in jobs:
            self.history.told[job.id].expected, self.history.told[job.id].never = states, never

    async def cancel(self, jobs: Collection[Handle[Any]]) -> dict[str, State]:
        """Cancel these; they may end as cancelled, and must when the store says that they are. Answers what it says."""
        told = await (await self.app.broker()).cancel([job.id for job in jobs])
        at = now()
        for job, state in told.items():
            self.history.told[job].expected += (State.CANCELLED,)
            if state is State.CANCELLED:
                self.history.told[job].cancelled = at
        return told

    def forgive(self, jobs: Iterable[str]) -> None:
        """The store has lost what it promised, and these jobs may be gone."""
        for job in jobs:
            self.history.told[job].certain = False

    async def move(self, url: str) -> None:
        """The store is elsewhere from now on, for us and for workers to come."""
        await self.app.close()
        self.app, self.url_of_workers = program.build(url), url

    async def look(self, ids: Sequence[str] | None = None) -> dict[str, Job | None]:
        """How these jobs stand now; by default all."""
        broker, ids, found = (
            await self.app.broker(),
            list(self.history.told if ids is None else ids),
            dict[str, Job | None](),
        )
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            found |= zip(batch, await broker.get(batch), strict=True)
        return found

    async def ended(self, jobs: Iterable[Handle[Any]] | None = None, within: float | None = None) -> list[Job]:
        """These jobs, by default all, once they have finished. Raises `TimeoutError`."""
        ids = list(self.history.told) if jobs is None else [job.id for job in jobs]
        await until(partial(self._ended, ids), within, every=0.05)
        self.history.read(self.evidence)
        return [self.history.seen[job] for job in ids if job in self.history.seen]

    async def _ended(self, ids: Sequence[str]) -> bool:
        seen = self.history.seen
        left = [job for job in ids if job not in seen]
        for start in range(0, len(left), BATCH):
            found = await self.look(left[start : start + BATCH])
            seen |= {job: it for job, it in found.items() if it is not None and it.state.finished}
            if not all(it is None or it.state.finished for it in found.values()):
                return False
        return True

    def gate(self, name: str) -> str:
        """What a job of a "gated" task waits for; see `open`."""
        return str(self.folder / name)

    def open(self, name: str, only: int | str = "") -> None:
        """Let all go that wait at this gate; only: those in one process, or in `program.CHILDREN`."""
        (self.folder / (f"{name}.{only}" if only else name)).touch()

    # --- workers

    def worker(
        self,
        *options: str,
        target: str = "program:app",
        failpoints: str = "",
        environment: Mapping[str, str] | None = None,
        **settings: object,
    ) -> subprocess.Popen[bytes]:
        """Start `windlass worker`; settings as WINDLASS_* (short times by default). Each failpoint fails in one process only."""
        given: dict[str, object] = {
            "lease": LEASE,
            "beat": BEAT,
            "upkeep": 0.1,
            "kill_after": 1,
            "shutdown_timeout": 10,
        }
        variables = {
            **os.environ,
            "WINDLASS_URL": self.url_of_workers,
            "WINDLASS_FAILPOINTS": failpoints,
            "WINDLASS_FAILPOINTS_ONCE": str(self.folder / "once"),
            "CHAOS_EVIDENCE": str(self.evidence),
            "CHAOS_MUTANT": self.mutant,
            "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
            **{f"WINDLASS_{name.upper()}": str(value) for name, value in (given | settings).items()},
            **(environment or {}),
        }
        broken = variables["CHAOS_MUTANT"] or "CHAOS_ARM" in variables
        command = [sys.executable, "-m", "sabotage" if broken else "windlass.cli.main", "worker", target]
        with (self.folder / "log").open("ab") as log:
            worker = subprocess.Popen(
                [*BOUND, *command, "--processes=2", *options],
                cwd=HERE, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.workers.append(worker)
        return worker

    @property
    def evidence(self) -> Path:
        return self.folder / "evidence"

    @property
    def log(self) -> str:
        """All that the workers have said."""
        return (self.folder / "log").read_text(errors="replace")

    async def said(self, words: str, times: int = 1) -> None:
        """Until the workers have said this so often."""
        await until(lambda: self.log.count(words) >= times)

    def started(self) -> int:
        """How many runs have begun so far."""
        self.history.read(self.evidence)
        return self.history.starts

    async def wait_started(self, count: int) -> None:
        """Until so many runs have begun."""
        await until(lambda: self.started() >= count)

    def runs(self, job: Handle[Any]) -> list[Run]:
        """The runs of a job so far."""
        self.history.read(self.evidence)
        return self.history.runs_of(job.id)

    def run_by(self, pids: Collection[int]) -> list[str]:
        """The jobs that one of these processes has begun to run so far."""
        self.history.read(self.evidence)
        return [job for job, runs in self.history.runs().items() if any(run.start.pid in pids for run in runs)]

    async def run_of(self, job: Handle[Any], number: int = 1) -> Run:
        """The first run of a job, or another, once it has begun."""
        await until(lambda: len(self.runs(job)) >= number)
        return self.runs(job)[number - 1]

    def in_hand(self) -> dict[str, int]:
        """What runs now, as far as the jobs' own code knows: job -> pid."""
        self.history.read(self.evidence)
        return {job: run.start.pid for job, run in self.history.in_hand().items()}

    # --- faults

    def harm(self, what: str, pids: Iterable[int] = ()) -> Fault:
        """Note that a fault strikes these processes from now on: what they have in hand may run again. It is over at its `until`."""
        return self.history.strike(now(), what, pids, until=inf)

    def kill(self, pid: int, what: str = "process killed") -> None:
        """SIGKILL one process; what it had in hand and its children had may run again."""
        pids = family(pid)
        fault = self.harm(what, pids)
        os.kill(pid, signal.SIGKILL)
        self._burials.append(asyncio.create_task(self._bury(fault, pids)))

    async def _bury(self, fault: Fault, pids: Collection[int], within: float | None = None) -> None:
        """The fault is over once all that it killed are dead. What hangs on somebody dies after him: when the machine is busy, or if it
        was stopped while it began, that is later. Who lives on (`within` seconds) was not killed, or outlives his worker, which is told."""
        with suppress(TimeoutError):
            await until(lambda: not any(map(alive, pids)), within)
            fault.until = now()

    def kill_tree(self, worker: subprocess.Popen[bytes]) -> None:
        """SIGKILL a supervisor: everything below it dies with it."""
        self.kill(worker.pid, "worker killed")
        worker.wait()

    def freeze(self, worker: subprocess.Popen[bytes], *, excused: bool = True) -> Stopped:
        """SIGSTOP a worker's whole tree."""
        return self.stop(family(worker.pid), excused=excused)

    async def stop_idle(self, pids: Collection[int], *, excused: bool = True) -> Stopped:
        """SIGSTOP these processes in a moment in which others can write."""
        held = self.stop(pids, excused=excused)
        while await self.writing(held):
            send(signal.SIGCONT, held.pids)
            held.fault.at = now()
            send(signal.SIGSTOP, held.pids)
        return held

    async def writing(self, held: Stopped) -> bool:
        """Whether one of the processes that were stopped is in a transaction of SQLite: then everybody waits for it."""
        await until(lambda: all(map(stopped, held.pids)))
        return holding(self.folder / "jobs.chaos.db-lock", held.pids)

    def rearm(self, name: str) -> None:
        """Let a process fail once more at this failpoint, one that is started from now on."""
        for mark in [mark for mark in self._marks if mark.name == name]:
            mark.unlink()
            del self._marks[mark]

    def stop(self, pids: Collection[int], *, excused: bool = True) -> Stopped:
        """SIGSTOP these processes, until `go`. excused: what they have in hand may run again."""
        fault = self.harm("stopped", pids if excused else ())
        send(signal.SIGSTOP, pids)
        return Stopped(frozenset(pids), fault)

    def go(self, stopped: Stopped) -> None:
        """SIGCONT to them."""
        send(signal.SIGCONT, stopped.pids)
        stopped.fault.until = now()

    def terminate(self, worker: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
        """Ask a worker to leave. That is no excuse for anything."""
        worker.send_signal(number)
        self.history.strike(now(), signal.Signals(number).name)

    def everyone(self) -> set[int]:
        """All processes of all workers."""
        return {pid for worker in self.workers for pid in family(worker.pid)}

    def left_over(self) -> set[int]:
        """Processes of the program that have outlived their workers."""
        return {pid for pid in having("CHAOS_EVIDENCE", str(self.evidence)) - self.everyone() if alive(pid)}

    async def failed_at(self, name: str) -> int:
        """The pid of the process that came to this failpoint, once one has; the fault struck it in that moment."""
        return await until(lambda: self.take_marks().get(name))

    def take_marks(self) -> dict[str, int]:
        """The failpoints at which a process has failed so far, and its pid: that moment counts as a fault, which struck it."""
        for mark in self.folder.glob("once*/*"):
            if mark not in self._marks and (pid := mark.read_text()):
                self._marks[mark] = int(pid)
                fault = self.history.strike(now() - (time.time() - mark.stat().st_mtime), mark.name, {int(pid)})
                self._burials.append(asyncio.create_task(self._bury(fault, fault.pids, DYING)))
        return {mark.name: pid for mark, pid in self._marks.items()}

    # --- the end

    async def finish(self, within: float | None = None) -> None:
        """Wait until every job has ended, and stop the workers as an operator would; then the history is complete."""
        try:
            await self.ended(within=within)
        except TimeoutError:
            pass  # the history tells which
        send(signal.SIGCONT, self.everyone())
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            try:
                await asyncio.to_thread(worker.wait, PATIENCE)
            except subprocess.TimeoutExpired:
                self.stayed.append(worker.pid)
                self.kill_tree(worker)
        self.take_marks()
        await asyncio.gather(*self._burials)
        self.history.read(self.evidence)
        self.history.jobs = await self.look()
