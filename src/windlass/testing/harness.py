"""`Harness`: an app under test. Its jobs go to a store in memory, run when the test says so, and can be looked at."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from windlass.app import Windlass
from windlass.broker.memory import MemoryBroker
from windlass.core.durations import Duration, seconds
from windlass.core.job import Job, NewJob, Placed
from windlass.core.payload import unpack
from windlass.core.secret import Values
from windlass.definition import BUILT_IN
from windlass.task import Task
from windlass.testing.execution import Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """A job that was enqueued under a harness, as it was asked for. Durations in seconds, `at` a Unix time."""

    id: str
    task: str
    arguments: dict[str, Any]
    queue: str
    priority: int
    delay: float
    at: float | None
    expires: float | None
    key: str | None
    timeout: float | None
    meta: dict[str, str]

    def __str__(self) -> str:
        options = [f"queue={self.queue!r}"] if self.queue != "default" else []
        options += [f"{name}={value!r}" for name in ("delay", "at", "key") if (value := getattr(self, name))]
        call = f"{self.task}({_spelled(self.arguments)})"
        return f"{call}  [{', '.join(options)}]" if options else call


class _Store(MemoryBroker):
    """A store in memory that tells the harness what was put in."""

    placed: Callable[[Sequence[NewJob]], Awaitable[None]]

    def sibling(self) -> _Store:
        other = _Store()
        other._space, other.placed = self._space, self.placed
        return other

    async def enqueue(self, jobs: Sequence[NewJob], *, now: float | None = None) -> list[Placed]:
        placed = await super().enqueue(jobs, now=now)
        if fresh := [job for job, where in zip(jobs, placed, strict=True) if where.fresh]:
            await self.placed(fresh)
        return placed


class Harness:
    """Swaps the app's store for a fresh one in memory, for the time of a `with` or `async with` block.

    inline: what is enqueued without a delay runs at once, before `enqueue` returns, and a job's error is raised there.
    Every job runs in this process, one at a time, in the order of a real worker. The store keeps its own time: see `travel`.
    """

    def __init__(self, app: Windlass, *, inline: bool = False) -> None:
        self.app = app
        self.inline = inline
        self._enqueued: list[NewJob] = []
        self._ahead = 0.0
        self._undo = ExitStack()

    def __enter__(self) -> Harness:
        store = _Store(clock=self.now)
        store.placed = self._placed
        self._undo.enter_context(self.app.store_replaced(store))
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    async def __aenter__(self) -> Harness:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        await self.app.close()
        self._undo.close()

    # --- time

    def now(self) -> float:
        """The store's time, a Unix time."""
        return time.time() + self._ahead

    def travel(self, duration: Duration) -> None:
        """Let the store's clock jump ahead: `jobs.travel("10m")`. What is due then runs with the next `drain`."""
        self._ahead += seconds(duration)

    # --- what was enqueued

    def enqueued(self, task: Task[..., Any, Any] | str | None = None) -> list[Enqueued]:
        """What was enqueued so far, of one task or of all, in that order; also what has run meanwhile."""
        name = task.name if isinstance(task, Task) else task
        return [self._told(job) for job in self._enqueued if name in (None, job.task)]

    def assert_enqueued(self, task: Task[..., Any, Any] | str, /, **arguments: Any) -> Enqueued:
        """Assert that `task` was enqueued with these arguments (those not named may be anything); answers the first such job."""
        __tracebackhide__ = True
        if found := self._matching(task, arguments):
            return found[0]
        raise AssertionError(f"{self._asked(task, arguments)} was not enqueued. {_listing(self.enqueued())}")

    def refute_enqueued(self, task: Task[..., Any, Any] | str, /, **arguments: Any) -> None:
        """Assert that `task` was not enqueued with these arguments, or not at all when none are given."""
        __tracebackhide__ = True
        if found := self._matching(task, arguments):
            raise AssertionError(f"{self._asked(task, arguments)} was enqueued after all. {_listing(found)}")

    def _matching(self, task: Task[..., Any, Any] | str, arguments: dict[str, Any]) -> list[Enqueued]:
        absent = object()
        return [
            one
            for one in self.enqueued(task)
            if all(one.arguments.get(name, absent) == value for name, value in arguments.items())
        ]

    def _asked(self, task: Task[..., Any, Any] | str, arguments: Mapping[str, Any]) -> str:
        name = task.name if isinstance(task, Task) else task
        if (known := self.app.definitions.get(name)) is not None:
            arguments = Values(arguments, known.arguments.secret)
        return f"{name} with {_spelled(arguments)}" if arguments else name

    def _told(self, job: NewJob) -> Enqueued:
        envelope = unpack(job.body)
        definition = self.app.definitions.get(job.task) or BUILT_IN[job.task]
        return Enqueued(
            id=job.id,
            task=job.task,
            arguments=(definition.rest[1] if envelope.fill else definition.arguments).decode(envelope.args),
            queue=job.queue,
            priority=job.priority,
            delay=job.delay,
            at=job.at,
            expires=job.expires,
            key=job.key,
            timeout=envelope.timeout,
            meta=envelope.meta,
        )

    # --- running it

    async def drain(self, *, limit: int = 1000, raising: bool = True) -> list[Job]:
        """Run every job that is ready, and what those enqueue, until none is; answers each run's job, as it stood after it.

        Jobs that are due later stay: `travel` first. raising: raise the first error of a task as it is; otherwise it is only
        recorded in the job, whose retries come later. Raises AssertionError when more than `limit` runs do not end it.
        """
        ran: list[Job] = []
        execution = Execution(self.app)
        async with execution.caller.worker:
            while await execution.step(ran, raising):
                if len(ran) > limit:
                    raise AssertionError(f"after {limit} runs there is still work; the last was {ran[-1].task}")
        return ran

    def drain_blocking(self, *, limit: int = 1000, raising: bool = True) -> list[Job]:
        """The sync twin of `drain`."""
        ran: list[Job] = self.app.run_blocking(self.drain(limit=limit, raising=raising))
        return ran

    async def _placed(self, jobs: Iterable[NewJob]) -> None:
        self._enqueued += jobs
        if self.inline:
            await self.drain()


def _spelled(arguments: Mapping[str, Any]) -> str:
    shown = arguments.shown() if isinstance(arguments, Values) else arguments
    return ", ".join(f"{name}={value!r:.200}" for name, value in shown.items())


def _listing(found: Sequence[Enqueued]) -> str:
    return "Enqueued:\n" + "\n".join(f"  {one}" for one in found) if found else "Nothing was enqueued."
