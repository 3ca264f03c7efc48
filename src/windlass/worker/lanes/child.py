"""A child of lane "process": `python -m windlass.worker.lanes.child SOCKET LEASH STACKS`. Runs one job at a time, in its main thread.

SIGTERM means something only while we have been told to interrupt a job: then it raises `JobInterrupted` in a sync function, and
cancels an async one. Otherwise it is ignored: a service manager that signals every process at once must not break off
what the worker is about to drain.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from windlass.context import Context
from windlass.core.batch import joined, parted, together
from windlass.core.job import Claim, Entry
from windlass.core.outcome import UNKNOWN_TASK, Ending, Raised, Unknown
from windlass.core.payload import Envelope, Undecodable, unpack
from windlass.definition import Definition, Program
from windlass.errors import ConfigurationError, JobInterrupted
from windlass.worker import capture, signals
from windlass.worker.call import Caller, describe
from windlass.worker.link import Done, Note, Orders, Parent, Ready, Start, Stop, die_together
from windlass.worker.loading import load


class Child:
    """The one job of this process, and who may end it."""

    def __init__(self, parent: Parent, program: Program) -> None:
        self._parent = parent
        self._program = program
        self._caller = Caller(program, program.settings.max_payload)
        self._inbox: asyncio.Queue[Start | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._context: Context | None = None
        self._task: asyncio.Task[Ending] | None = None
        self._interrupting = self._inside = False

    async def serve(self) -> None:
        """Run what comes, until we are told to quit."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        threading.Thread(target=self._listen, name="windlass-link", daemon=True).start()
        async with self._caller.worker:
            self._parent.send(Ready())
            while (start := await self._inbox.get()) is not None:
                assert self._context is not None
                ending = await self._run(start, self._context)
                capture.finish(self._context)
                self._context = None
                self._parent.send(Done(ending))

    def _listen(self) -> None:
        limit = self._program.settings.max_payload
        while (message := self._parent.receive()) is not None:
            if isinstance(message, Start):
                # Here, not in the loop: a Stop may follow before the loop turns.
                self._context = Context(
                    message.claim,
                    self._note,
                    meta={},
                    last_checkpoint=message.checkpoint,
                    max_payload=limit,
                    devices=message.devices,
                )
                self._interrupting = False
                self._loop.call_soon_threadsafe(self._inbox.put_nowait, message)
            elif isinstance(message, Stop) and message.why == "quit":
                self._loop.call_soon_threadsafe(self._inbox.put_nowait, None)
            elif isinstance(message, Stop) and (context := self._context) is not None:
                context.stop(message.why)
                if message.interrupt:
                    self._interrupting = True
                    os.killpg(os.getpgrp(), signal.SIGTERM)
        die_together()

    def _note(self, entry: Entry) -> None:
        self._parent.send(Note(entry))

    async def _run(self, start: Start, context: Context) -> Ending:
        definition = self._program.definitions.get(start.claim.task)
        if definition is None:
            return Unknown(f"{UNKNOWN_TASK}{start.claim.task!r} is registered in a child of this worker")
        jobs = [_opened(definition, claim) for claim in (start.claim, *start.more)]
        if not (sound := [job for job in jobs if not isinstance(job, Unknown)]):
            return joined([job for job in jobs if isinstance(job, Unknown)])
        context.meta = sound[0][0].meta
        ending = await self._perform(definition, context, together([values for _, values in sound]))
        parts = iter(parted(ending, len(sound)))
        return joined([job if isinstance(job, Unknown) else next(parts) for job in jobs])

    async def _perform(self, definition: Definition, context: Context, values: dict[str, Any]) -> Ending:
        invoke = () if definition.is_async else (self._call_here,)
        self._task = self._loop.create_task(self._caller.perform(definition, lambda: context, values, *invoke))
        if self._interrupting:
            self._task.cancel()
        try:
            return await self._task
        except asyncio.CancelledError as error:  # before its first step
            return Raised(describe(error), ())
        finally:
            self._task = None

    async def _call_here(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a sync function in the main thread, where signals arrive. The loop stands still meanwhile; nobody needs it."""
        self._inside = True
        try:
            if self._interrupting:
                raise JobInterrupted
            return function(*args, **kwargs)
        finally:
            self._inside = False

    def _on_sigterm(self, _number: int, _frame: object) -> None:
        if not self._interrupting:
            return
        if self._inside:
            self._inside = False  # once is enough: what cleans up is not interrupted again
            raise JobInterrupted
        if self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)


def _opened(definition: Definition, claim: Claim) -> tuple[Envelope, dict[str, Any]] | Unknown:
    """The envelope and the arguments of a job."""
    try:
        envelope = unpack(claim.body)
        return envelope, definition.decode(envelope.args)
    except (Undecodable, ConfigurationError) as error:
        return Unknown(str(error))


async def _serve(parent: Parent, program: Program) -> None:
    await Child(parent, program).serve()


def main(*fds: str) -> None:
    """Load the program, and serve."""
    signals.ignore()
    parent = Parent(*map(int, fds))
    if not isinstance(orders := parent.receive(), Orders):
        return
    try:
        program: Program = load(orders).object
    except ConfigurationError as error:
        parent.send(Ready(refusal=f"a child process could not load the program: {error}"))
        return
    capture.install()
    asyncio.run(_serve(parent, program))


if __name__ == "__main__":
    main(*sys.argv[1:])
