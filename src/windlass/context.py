"""The running job, as its own code sees it: `current()`, or a parameter `ctx: Context = Depends()`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import cached_property
from itertools import islice
from math import inf, isfinite
from typing import Any, Generic, TypeVar, overload
from weakref import ref

import msgspec

from windlass.core.durations import Duration, seconds
from windlass.core.job import Claim, Entry, LogLine, Progress
from windlass.core.outcome import bounded
from windlass.core.payload import Undecodable, check_size, read_json, write_json
from windlass.core.resources import Devices
from windlass.core.secret import SHOWN, texts
from windlass.core.terms import Meter
from windlass.errors import ConfigurationError, InvalidArguments, Snooze, UnreadableCheckpoint, WindlassError

T = TypeVar("T")
Sink = Callable[[Entry], None]
"""Takes one journal entry; returns at once, from any thread."""

LOG_LINE_LIMIT = 4000
"""Characters kept of one log line."""


class Kept(msgspec.Struct, tag_field="windlass", tag="place"):
    """What a job remembers between its runs: the latest `value` given to `checkpoint`, and where its `iterate` is.

    loop: which `iterate` of a run, from 1; 0: none, and then the value alone is stored. over: it has come to its end.
    """

    loop: int = 0
    place: msgspec.Raw = msgspec.Raw(b"null")
    over: bool = False
    value: msgspec.Raw = msgspec.Raw(b"null")

    @classmethod
    def read(cls, stored: bytes | None, limit: float = inf) -> Kept:
        """From the latest checkpoint. Raises `UnreadableCheckpoint` when its place makes no sense; the value is not looked at."""
        if stored is None or not stored.startswith(b'{"windlass":"place",'):
            return cls(value=msgspec.Raw(b"null" if stored is None else stored))
        try:
            kept: Kept = read_json("the checkpoint", stored, cls, limit)
            return kept
        except Undecodable as error:
            raise UnreadableCheckpoint(str(error)) from None

    def said(self, limit: float) -> Any:
        """The value. Raises `UnreadableCheckpoint`."""
        try:
            return read_json("the checkpoint", bytes(self.value), limit=limit)
        except Undecodable as error:
            raise UnreadableCheckpoint(str(error)) from None


class Context:
    """A run of a job. All methods are sync, cheap, and may be called from any thread of the job.

    job_id: stable over all attempts, so fit as an idempotency key for side effects. token: grows with every run; the fence.
    attempt: from 1. crashes: how often a process died under this job before. meta: the tags given at enqueue.
    enqueued_at, due_at: when it was enqueued, and since when it was due (Unix time).
    max_payload: the bytes of a chunk or checkpoint at most. devices: the indexes of what it has of each resource that it needs.
    """

    def __init__(
        self,
        claim: Claim,
        sink: Sink,
        *,
        meta: Mapping[str, str],
        last_checkpoint: bytes | None = None,
        max_payload: float = inf,
        entries: Sequence[Entry] = (),
        devices: Devices | None = None,
    ) -> None:
        self.claim = claim  # for a Flow
        self.entries = entries
        self.job_id = claim.id
        self.task = claim.task
        self.queue = claim.queue
        self.attempt = claim.attempt
        self.crashes = claim.crashes
        self.token = claim.token
        self.enqueued_at = claim.enqueued_at
        self.due_at = claim.due_at
        self.meta = meta
        self.devices: Devices = devices or {}
        self._sink = sink
        self._found = last_checkpoint
        self._loops = 0
        self._steps: Callable[[], Steps[Any] | None] = lambda: None
        self._max_payload = max_payload
        self._stopping: str | None = None
        self._hidden: list[str] = []

    def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Say how far the job is: `current` of `total`, and a word about it. Only the latest is kept."""
        if not all(isfinite(number) for number in (current, total or 0.0)):
            raise InvalidArguments(f"progress is told in finite numbers, not {current!r} of {total!r}")
        total = None if total is None else float(total)
        data = Progress(float(current), total, bounded(self.scrub(message), LOG_LINE_LIMIT))
        self._append("progress", msgspec.json.encode(data))

    def log(self, message: object, level: str = "info") -> None:
        """Write a line to the job's journal. `print` and `logging` inside a job land there too."""
        self._append("log", msgspec.json.encode(LogLine(level, bounded(self.scrub(str(message)), LOG_LINE_LIMIT))))

    def chunk(self, value: Any) -> None:
        """Publish a partial result (a token, a row, a preview's URL) to who follows the job: JSON of at most `max_payload`."""
        self._append("chunk", write_json("the chunk", value, self._max_payload))

    def checkpoint(self, value: Any) -> None:
        """Remember `value` (JSON of at most `max_payload`), so that a later run of this job finds it in `resumed_from`.

        It is stored before the outcome is. In a loop over `iterate` it is stored together with the loop's place, once the item in
        hand is done: a later run finds both as they were at one moment. Like `chunk`, raises `InvalidArguments` or `PayloadTooLarge`.
        """
        self._kept.value = msgspec.Raw(write_json("the checkpoint", value, self._max_payload))
        steps = self._steps()
        if steps is None or not steps.hold():
            self._keep()

    @overload
    def iterate(
        self, source: AsyncIterable[T] | Callable[[Any], AsyncIterable[tuple[Any, T]]], *, every: Duration = 1.0
    ) -> AsyncIterator[T]: ...
    @overload
    def iterate(
        self, source: Iterable[T] | Callable[[Any], Iterable[tuple[Any, T]]], *, every: Duration = 1.0
    ) -> Iterator[T]: ...
    def iterate(self, source: Any, *, every: Duration = 1.0) -> Any:
        """The items of `source`, one after the other; a later run of this job goes on behind those that were done.

        source: an iterable, whose items are counted, and those that were done skipped; or a function that is given a place (None at
        first) and answers an iterable of pairs from there on: the place (any JSON) behind an item, and the item.
        The place is remembered every so often, at the end, and when the worker stops: then `Snooze(0)` is raised between two items.
        An item is done when the next one is asked for. After a crash those since the last time (`every`) are done again.

        One after the other, not one inside of another: a job has one place. Raises `ConfigurationError` for that, and
        `UnreadableCheckpoint` when the place that an earlier run left does not fit.
        """
        self._loops += 1
        steps = Steps[Any](self, source, self._loops, seconds(every))
        self._steps = ref(steps)
        return steps

    @property
    def last_checkpoint(self) -> Any:
        """The latest checkpoint of this job, of this run or an earlier one; None without one. Raises `UnreadableCheckpoint`."""
        return self._kept.said(self._max_payload)

    @property
    def resumed_from(self) -> Any:
        """The latest checkpoint of an earlier run of this job; None in a first run. Raises `UnreadableCheckpoint`."""
        return Kept.read(self._found, self._max_payload).said(self._max_payload)

    @cached_property
    def _kept(self) -> Kept:
        return Kept.read(self._found, self._max_payload)

    def _keep(self, **place: Any) -> None:
        """Write a checkpoint, of this place if it is given. Raises `PayloadTooLarge`."""
        kept = msgspec.structs.replace(self._kept, **place)
        data = msgspec.json.encode(kept) if kept.loop else bytes(kept.value)
        check_size("the checkpoint takes", data, self._max_payload)
        self._kept = kept
        self._append("checkpoint", data)

    def used(self, limit: str, units: float) -> None:
        """Say how many units of a limit's rate this run really took; it counts, in the place of what was estimated, when the run ends."""
        if not (isfinite(units) and units >= 0):
            raise InvalidArguments(f"units of a limit are a finite number from 0 on, not {units!r}")
        self._append("meter", msgspec.json.encode(Meter(limit, used=units)))

    def pause_limit(self, limit: str, delay: Duration) -> None:
        """When this run ends, let nobody pass this limit under this job's key for so long: the other side said that it is enough."""
        self._append("meter", msgspec.json.encode(Meter(limit, pause=seconds(delay))))

    def hide(self, *values: Any) -> None:
        """Treat these values as secret from now on: what this job logs, or says in an error, shows "[secret]" in their place.

        Arguments marked with `Secret` are hidden already. Texts of fewer than four characters are not.
        """
        self._hidden = sorted({*self._hidden, *texts(values)}, key=len, reverse=True)

    def scrub(self, text: str) -> str:
        """`text` without what is hidden."""
        for hidden in self._hidden:
            text = text.replace(hidden, SHOWN)
        return text

    @property
    def cancelled(self) -> bool:
        """Whether this run is to stop because of a cancel, its time limit or a lost lease. Poll it in long loops."""
        return self._stopping is not None and self._stopping != "shutdown"

    @property
    def shutting_down(self) -> bool:
        """Whether the worker is stopping: save a checkpoint and return or raise Snooze(0) soon, or be handed back."""
        return self._stopping == "shutdown"

    def stop(self, why: str) -> None:
        """Used by the worker: say why this run should end ("cancel", "limit", "lost", "shutdown")."""
        self._stopping = why

    def _append(self, kind: str, data: bytes) -> None:
        self._sink(Entry(kind, data, time.time(), self.attempt))


class Steps(Generic[T]):
    """What `iterate` answers: an iterator over a sync source, an async one over an async source."""

    def __init__(self, context: Context, source: Any, loop: int, every: float) -> None:
        self._context, self._loop, self._every = context, loop, every
        kept = context._kept
        self._over = kept.loop > loop or (kept.loop == loop and kept.over)
        self._place = read_json("the place", bytes(kept.place)) if kept.loop == loop else None
        items = () if self._over else self._behind(source)
        self._pairs: Any = aiter(items) if isinstance(items, AsyncIterable) else iter(items)
        self._next: Any = None
        self._out = self._held = self._moved = False
        self._saved = time.monotonic()

    def _behind(self, source: Any) -> Any:
        """The pairs of place and item that are still to come."""
        if not isinstance(source, Iterable | AsyncIterable):
            return source(self._place)
        done = self._place or 0
        if type(done) is not int:
            raise UnreadableCheckpoint(f"the job was at {done!r:.80}, which is no number of items that were done")
        return _later(source, done) if isinstance(source, AsyncIterable) else islice(enumerate(source, 1), done, None)

    def __iter__(self) -> Steps[T]:
        return self

    def __aiter__(self) -> Steps[T]:
        return self

    def __next__(self) -> T:
        self._done()
        try:
            return self._hand_out(next(self._pairs))
        except StopIteration:
            self._end()
            raise

    async def __anext__(self) -> T:
        self._done()
        try:
            if self._over:
                raise StopAsyncIteration
            return self._hand_out(await anext(self._pairs))
        except StopAsyncIteration:
            self._end()
            raise

    def hold(self) -> bool:
        """Whether an item is in hand, with whose place what the job remembers will be stored."""
        self._held = self._out
        return self._out

    def _hand_out(self, pair: tuple[Any, T]) -> T:
        self._look()
        try:
            self._next, item = pair
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"the function given to iterate(...) answers pairs, the place behind an item and the item, not {pair!r:.80}"
            ) from None
        self._out = True
        return item

    def _done(self) -> None:
        if self._out:
            self._place, self._out, self._moved = self._next, False, True
        self._look()

    def _look(self) -> None:
        """Remember the place when it is time to, and end the run when the worker stops."""
        if self._context._loops != self._loop:
            raise ConfigurationError(
                "a loop over iterate(...) began inside of another; a job has one place: keep the inner one with checkpoint(...)"
            )
        stops = self._context.shutting_down
        if self._moved and (stops or self._held or time.monotonic() - self._saved >= self._every):
            self._save()
        if stops:
            raise Snooze(0)

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._save()

    def _save(self) -> None:
        place = msgspec.Raw(write_json("the place", self._place))
        self._context._keep(loop=self._loop, place=place, over=self._over)
        self._held = self._moved = False
        self._saved = time.monotonic()


async def _later(source: AsyncIterable[T], done: int) -> AsyncIterator[tuple[int, T]]:
    """The items past the first `done`, each with its number."""
    number = 0
    async for item in source:
        number += 1
        if number > done:
            yield number, item


Open = Callable[[], Context]
"""Gives the context of one run, which is made when it is first asked for: most jobs never do."""

_current: ContextVar[Open] = ContextVar("windlass_job")


def current() -> Context:
    """The context of the job this code runs in. Raises `WindlassError` outside of a job."""
    try:
        opened = _current.get()
    except LookupError:
        raise WindlassError("current() was called outside of a job; call it in a task that a worker runs") from None
    return opened()


def current_or_none() -> Context | None:
    """The context of the job this code runs in, None outside."""
    opened = _current.get(None)
    return None if opened is None else opened()


def enter(opened: Open) -> None:
    """Used by the worker: what `opened` gives is the current context from now on, in this thread or task."""
    _current.set(opened)
