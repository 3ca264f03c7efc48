"""Runs jobs here and now, one at a time: the worker's own way to call a task, without a worker's lanes and time limits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, get_args

from windlass.app import Windlass
from windlass.broker.port import Broker
from windlass.context import Context
from windlass.core.job import Card, Claim, Entry, Job
from windlass.core.outcome import Died, Ending, Raised, Rejected, Released, Unknown, decide
from windlass.core.payload import Envelope, Undecodable, policy_of, unpack
from windlass.definition import BUILT_IN, Definition, Lane
from windlass.errors import ErrorInfo, JobError, JobFailed
from windlass.worker.call import Caller, fill

WORKER = "harness"
_LEASE = 100 * 365 * 86_400.0  # no travel in time makes this worker look dead
_CHANCE = 0.5  # of the jitter: the same in every run


class Execution:
    """A worker without lanes. `caller.worker` keeps its Depends(scope="worker"): enter it around the steps."""

    def __init__(self, app: Windlass) -> None:
        self._app = app
        self.caller = Caller(app, app.settings.max_payload)
        self._error: BaseException | None = None

    async def step(self, ran: list[Job], raising: bool) -> bool:
        """Run what is ready now, at most one job of each lane, and note the jobs in `ran`; False when nothing was ready.

        raising: raise a task's error, once its outcome is stored.
        """
        broker = await self._app.broker()
        await broker.promote()
        await broker.beat(WORKER, Card(host="harness", pid=os.getpid()), _LEASE)
        lanes = {*get_args(Lane), *(one.slot for one in self._app.definitions.values())}
        claims = await broker.claim([queue.name for queue in await broker.tally()], dict.fromkeys(lanes, 1), WORKER)
        found = bool(claims)
        try:
            while claims:
                ending = await self._run(broker, claim := claims.pop(0))
                ran += [job for job in await broker.get([claim.id]) if job is not None]
                if raising and isinstance(ending, Raised | Rejected | Died):
                    said = f"{claim.task}: {ending.error.type}: {ending.error.message}"
                    raise self._error or JobFailed(claim.id, said, ending.error)
        finally:
            await broker.settle([(claim, Released()) for claim in claims])
        return found

    async def _run(self, broker: Broker, claim: Claim) -> Ending:
        """One run, from its claim to its stored outcome."""
        entries: list[Entry] = []
        definition = self._app.definitions.get(claim.task) or BUILT_IN.get(claim.task)
        retry, self._error = self._app.settings.retry, None
        try:
            if definition is None:
                raise Undecodable(f"no task {claim.task!r} is known here")
            envelope = unpack(claim.body)
            retry = policy_of(envelope, definition.options.retry or retry)
            reading = await broker.read(claim.id)
            written = reading.entries if reading else []
            if envelope.fill is not None:
                envelope = unpack(fill(claim, envelope, written).body)
            values = definition.decode(envelope.args)
            context = self._context(claim, envelope, written, entries)
            context.devices = {name: tuple(range(amount)) for name, amount in definition.resources.items()}
            ending = await self.caller.perform(definition, lambda: context, values, self._invoke(definition))
        except Undecodable as error:
            ending = Unknown(str(error))
        except JobError as error:
            ending = Rejected(error.error or ErrorInfo("reason", type(error).__name__, str(error)))
        outcome = decide(
            attempt=claim.attempt,
            crashes=claim.crashes,
            crash_limit=claim.crash_limit,
            ending=ending,
            retry=retry,
            chance=_CHANCE,
            on_oom=definition.on_oom if definition else None,
        )
        assert outcome is not None
        await broker.append([(claim, entries)])
        await broker.settle([(claim, outcome)])
        return ending

    def _context(self, claim: Claim, envelope: Envelope, written: list[Entry], entries: list[Entry]) -> Context:
        checkpoint = next((entry.data for entry in written if entry.kind == "checkpoint"), None)
        return Context(
            claim,
            entries.append,
            meta=envelope.meta,
            last_checkpoint=checkpoint,
            max_payload=self._app.settings.max_payload,
            entries=written,
        )

    def _invoke(self, definition: Definition) -> Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]:
        async def invoke(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            try:
                if definition.is_async:
                    return await function(*args, **kwargs)
                return await asyncio.to_thread(function, *args, **kwargs)
            except BaseException as error:
                self._error = error  # the caller turns it into a value; a test wants the error itself
                raise

        return invoke
