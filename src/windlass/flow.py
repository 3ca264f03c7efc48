"""`Flow`: code that goes on where it was, after days and after any crash.

Each thing that it asks for is a step, numbered in the order in which the code asks. What a step gave is remembered in the job's journal
(as an entry of kind "step", or as the letter of the job that it ran), and the next run, on any worker, goes through the code again and is
answered from there. While a flow waits, its run is over: it holds no slot and no memory.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, cast, overload

import msgspec
from msgspec import Raw, Struct

from windlass.broker.port import Broker
from windlass.core import letters
from windlass.core.codecs import Result
from windlass.core.durations import Duration, seconds
from windlass.core.gates import uses_of
from windlass.core.ids import derived
from windlass.core.job import Claim, Entry, JobId, NewJob
from windlass.core.outcome import Ending, ErrorInfo, Interrupted, Suspended, Unknown
from windlass.core.payload import read_json
from windlass.errors import (
    BrokerUnavailable,
    ConfigurationError,
    FlowInterrupted,
    JobError,
    JobSignal,
    StepFailed,
    Undecodable,
)

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
PAUSE = 0.5
"""Seconds before a store that is away is asked again."""


class Runs(Protocol[T_co]):
    """What `Flow.run` takes: a call, or a whole workflow that ends in one."""

    @property
    def name(self) -> str: ...
    def jobs(self, job: JobId | None = None, to: JobId | None = None) -> list[NewJob]: ...
    def decode(self, data: bytes) -> T_co: ...


class Record(Struct, frozen=True, omit_defaults=True):
    """The data of a "step" entry. until: when its wait is over. value: what it gave. error: what it raised, and the flow has caught."""

    number: int
    name: str
    until: float | None = None
    value: Raw = Raw(b"null")
    error: ErrorInfo | None = None


class Step(Generic[T]):
    """Something that a flow asks for: await it, or give it to `Flow.gather`.

    jobs: those that do it. letter: the name of the one that answers it. wait: seconds that it takes, or takes at most.
    work: what is to be done here; it gives JSON.
    """

    def __init__(self, flow: Flow, name: str, decode: Callable[[bytes], T], wait: float | None = None) -> None:
        self.number, self.name, self.decode, self.wait = flow.next_number(name), name, decode, wait
        self.jobs: list[NewJob] = []
        self.letter: str | None = None
        self.work: Callable[[], Awaitable[bytes]] | None = None
        self._flow = flow

    def __await__(self) -> Generator[Any, None, T]:
        return self._one().__await__()

    async def _one(self) -> T:
        (answer,) = await self._flow.gather(self)
        return answer


class Flow:
    """What the code of a flow asks for what is to be remembered: a parameter `flow: Flow = Depends()`.

    Between its steps the code must do the same in each run: no clock, no chance, no reading of what may change, but by a step.
    """

    def __init__(
        self, claim: Claim, entries: Sequence[Entry], broker: Callable[[], Awaitable[Broker]], max_payload: int
    ) -> None:
        self._claim, self._broker, self._limit = claim, broker, max_payload
        self._letters, self._records = dict[str, letters.Letter](), dict[int, Record]()
        self._count, self._started = 0, time.monotonic()
        self._caught: list[Record] = []
        self.ending: Ending | None = None
        try:
            self._letters = letters.found(entries)
            records = [read_json("a step", one.data, Record) for one in entries if one.kind == "step"]
            self._records = {record.number: record for record in records}
        except Undecodable as error:
            self.ending = Unknown(str(error))

    # --- steps

    def run(self, call: Runs[T]) -> Step[T]:
        """Run a job, or a workflow, and give its result: `await flow.run(encode.bind(video))`. Raises `JobFailed` or `JobCancelled`."""
        step = Step(self, f"run {call.name}", call.decode)
        step.letter = derived(self._claim.id, step.number)
        if step.letter not in self._letters:
            step.jobs = call.jobs(step.letter, self._claim.id)
        return step

    def sleep(self, duration: Duration) -> Step[None]:
        """Go on after this time: `await flow.sleep("3d")`."""
        return Step(self, "sleep", lambda _: None, seconds(duration))

    def event(self, name: str, timeout: Duration | None = None) -> Step[Any]:
        """Wait for `app.signal(job_id, name, data)`, and give its data. The first of a name counts. Raises `TimeoutError`."""
        step = Step(
            self,
            f"event {name}",
            lambda data: read_json("the event", data),
            None if timeout is None else seconds(timeout),
        )
        step.letter = name
        return step

    def step(
        self, function: Callable[P, Awaitable[T]] | Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Step[T]:
        """Call a function, in a thread if it is a plain one, and remember what it returned: it is not called again. Raises `StepFailed`."""
        name = getattr(function, "__qualname__", repr(function)).replace("<locals>.", "")
        hint = getattr(function, "__annotations__", {}).get("return", Any)
        codec = Result(f"the step {name}", Any if isinstance(hint, str) else type(None) if hint is None else hint)

        async def work() -> bytes:
            if inspect.iscoroutinefunction(function):
                value = await function(*args, **kwargs)
            else:
                value = await asyncio.to_thread(cast("Callable[P, T]", function), *args, **kwargs)
            return codec.encode(value, self._limit)

        step = Step[T](self, f"step {name}", codec.decode)
        step.work = work
        return step

    def now(self) -> Step[datetime]:
        """The time, which is the same one in each run."""
        return self.step(self._date)

    def random(self) -> Step[float]:
        """A number in [0, 1), which is the same one in each run."""
        return self.step(random.random)

    @overload
    async def gather(self, *steps: Step[T], collect: Literal[False] = False) -> list[T]: ...
    @overload
    async def gather(self, *steps: Step[T], collect: Literal[True]) -> list[T | Exception]: ...
    async def gather(self, *steps: Step[Any], collect: bool = False) -> list[Any]:
        """The answers of steps that go on side by side, in order, once all are there. Raises the first of their errors.

        collect: errors (`JobError`, `StepFailed`, `TimeoutError`) are in the list instead, each in the place of its step.
        """
        self._pass()
        await self._begin(steps)
        worked = await asyncio.gather(*(self._work(one) for one in steps if self._to_do(one)), return_exceptions=True)
        for error in worked:
            if isinstance(error, BaseException) and not (collect and isinstance(error, StepFailed)):
                raise error
        if collect:
            failed, self._caught = self._caught, []
            await self._remember(failed)
        late = [one for one in steps if self._is_late(one)]
        await self._remember([self._record(one, error=_late(one)) for one in late])
        if pending := [one for one in steps if not self._is_done(one)]:
            self._suspend(pending)
        return [self._answer_or_error(one) if collect else self._answer(one) for one in steps]

    def _time(self) -> float:
        """The time by the store's clock, which ends our waits."""
        return self._claim.claimed_at + time.monotonic() - self._started

    def _date(self) -> datetime:
        return datetime.fromtimestamp(self._time(), UTC)

    # --- how a run ends

    def next_number(self, name: str) -> int:
        """The number of the step that the code asks for now. Parks the job when another one had that number before."""
        self._pass()
        self._count += 1
        known = self._records.get(self._count)
        if known is not None and known.name != name:
            self._park(f"step {self._count} was {known.name!r}, and now is {name!r}")
        return self._count

    def close(self) -> None:
        """The code has returned. Parks the job when it left steps out that it came to before."""
        if self.ending is None and (left := [one for one in self._records.values() if one.number > self._count]):
            first = min(left, key=lambda one: one.number)
            self.ending = _changed(f"it returned before step {first.number}, {first.name!r}, which was done already")

    def _park(self, why: str) -> None:
        self.ending = _changed(why)
        raise FlowInterrupted

    def _pass(self) -> None:
        """Go on, unless this run is over, and the code has only not let that pass."""
        if self.ending is not None:
            raise FlowInterrupted

    def _suspend(self, pending: Sequence[Step[Any]]) -> None:
        """End the run until they may all be done: so many letters have come, or the first of their times."""
        ends = [until for one in pending if (until := self._records[one.number].until) is not None]
        missing = sum(one.letter is not None for one in pending)
        delay = max(0.0, min(ends) - self._time()) if ends else None
        self.ending = Suspended(len(self._letters) + max(1, missing), delay)
        raise FlowInterrupted

    # --- what is remembered

    async def _begin(self, steps: Sequence[Step[Any]]) -> None:
        """Note the steps before anything is done for them, so that other code cannot take their jobs for its own; then start the jobs."""
        jobs = [job for one in steps for job in one.jobs]
        await self._check_order(jobs)
        caught, self._caught = self._caught, []
        new = [self._record(one) for one in steps if one.work is None and one.number not in self._records]
        await self._remember([*caught, *new])
        if jobs:
            await self._insist(lambda broker: broker.enqueue(jobs))
            (mine,) = await self._insist(lambda broker: broker.get([self._claim.id]))
            # Who cancelled it may have looked for its jobs before they came.
            if mine is None or mine.cancelling or mine.state.finished:
                await self._insist(lambda broker: broker.cancel([job.id for job in jobs]))

    async def _check_order(self, jobs: Sequence[NewJob]) -> None:
        """Raise `ConfigurationError` for a job that would stand behind this flow, which waits for it, and keeps its turn meanwhile."""
        ordered = {use.gate: job for job in jobs for use in uses_of(job.terms) if use.ordered}
        if not ordered:
            return
        (mine,) = await self._insist(lambda broker: broker.get([self._claim.id]))
        for use in uses_of(mine.terms) if mine else ():
            if use.ordered and use.gate in ordered:
                turn = f"{self._claim.task} has the turn of the ordered limit {use.limit!r} under the key {use.key!r}"
                raise ConfigurationError(
                    f"{turn}, and {ordered[use.gate].task} would wait for its end there, for ever: give one of the two another key or limit"
                )

    def _record(self, step: Step[Any], **fields: Any) -> Record:
        known = self._records.get(step.number)
        until = known.until if known else None if step.wait is None else self._time() + step.wait
        return Record(step.number, step.name, until, **fields)

    async def _work(self, step: Step[Any]) -> None:
        assert step.work is not None
        try:
            value = await step.work()
        except JobSignal:
            raise
        except Exception as error:
            told = ErrorInfo("exception", type(error).__qualname__, str(error))
            self._caught.append(self._record(step, error=told))
            raise _failed(step, told) from error
        await self._remember([self._record(step, value=Raw(value))])

    async def _remember(self, records: Sequence[Record]) -> None:
        if not records:
            return
        claim = self._claim
        entries = [Entry("step", msgspec.json.encode(one), time.time(), claim.attempt) for one in records]
        if await self._insist(lambda broker: broker.append([(claim, entries)])) != [True]:
            self.ending = Interrupted("lost")
            raise FlowInterrupted
        self._records |= {record.number: record for record in records}

    async def _insist(self, ask: Callable[[Broker], Awaitable[Any]]) -> Any:
        """What the store says, once it can be reached: that it is away is no failure of the flow. A repeat does no harm."""
        while True:
            try:
                return await ask(await self._broker())
            except BrokerUnavailable:
                await asyncio.sleep(PAUSE)

    def _to_do(self, step: Step[Any]) -> bool:
        return step.work is not None and step.number not in self._records

    def _is_late(self, step: Step[Any]) -> bool:
        """Whether it has waited for a letter as long as it would."""
        record = self._records[step.number]
        waits = step.letter is not None and step.letter not in self._letters and record.error is None
        return waits and record.until is not None and record.until <= self._time()

    def _is_done(self, step: Step[Any]) -> bool:
        record = self._records[step.number]
        if step.letter is not None:
            return record.error is not None or step.letter in self._letters
        return step.work is not None or record.until is None or record.until <= self._time()

    def _answer(self, step: Step[T]) -> T:
        record = self._records[step.number]
        if record.error is not None:
            if record.error.kind == "timeout":
                raise TimeoutError(record.error.message)
            raise _failed(step, record.error)
        if step.letter is None:
            return step.decode(bytes(record.value))
        found = letters.answer(self._letters[step.letter], step.decode)
        if isinstance(found, JobError):
            raise found
        return cast(T, found)

    def _answer_or_error(self, step: Step[Any]) -> Any:
        try:
            return self._answer(step)
        except (JobError, StepFailed, TimeoutError) as error:
            return error


def _changed(why: str) -> Unknown:
    return Unknown(
        f"the code of this flow was changed while it ran: {why}; deploy the code that it began with, or cancel it"
    )


def _failed(step: Step[Any], error: ErrorInfo) -> StepFailed:
    return StepFailed(f"{step.name} failed: {error.type}: {error.message}", error)


def _late(step: Step[Any]) -> ErrorInfo:
    return ErrorInfo("timeout", "TimeoutError", f"{step.name} did not come within {step.wait:g} s")
