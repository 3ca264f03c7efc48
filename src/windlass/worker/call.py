"""Where a job's function is really called: its context, dependencies, middleware, and what its end means.

The runner does this for the lanes "loop" and "thread", each child process for the lane "process".
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from windlass import errors
from windlass.context import Context, Open, enter
from windlass.core import letters
from windlass.core.batch import joined
from windlass.core.durations import seconds
from windlass.core.job import Claim, Entry
from windlass.core.outcome import Died, Ending, ErrorInfo, Raised, Rejected, Said, Succeeded, Unknown, bounded
from windlass.core.payload import Envelope
from windlass.core.retry import error_name
from windlass.core.secret import Values
from windlass.definition import Definition, Program
from windlass.depends import Resolver
from windlass.errors import (
    Cancel,
    DependencyError,
    Fail,
    InvalidArguments,
    JobError,
    JobSignal,
    RetryAfter,
    Snooze,
    StepFailed,
    UnreadableCheckpoint,
)
from windlass.flow import Flow
from windlass.middleware import wrap

Scrub = Callable[[str], str]
Invoke = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Awaitable[Any]]
_OURS = os.path.dirname(errors.__file__) + os.sep
_FRAMES = 60
EXIT = "SystemExit"
"""The type of the error of a job that called `sys.exit`: a crash, though its process may go on."""
_NOTHING: Mapping[str, Any] = {}


def fill(claim: Claim, envelope: Envelope, entries: Sequence[Entry]) -> Claim:
    """The claim with what the letters in its journal give in its body. Raises `JobError` or `Undecodable`."""
    assert envelope.fill is not None
    args = letters.filled(claim.id, bytes(envelope.args), envelope.fill, letters.found(entries))
    return replace(claim, body=msgspec.json.encode(replace(envelope, args=Raw(args), fill=None)))


def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
    result: Awaitable[Any] = function(*args, **kwargs)
    return result


class Caller:
    """Calls functions for jobs. `worker` keeps what lives as long as this process: Depends(scope="worker")."""

    def __init__(self, program: Program, max_payload: int) -> None:
        self._program = program
        self._max_payload = max_payload
        self.worker = Resolver({}, program.dependency_overrides)

    def plain(self, definition: Definition) -> bool:
        """Whether nothing stands around the function: no dependency, no middleware."""
        return not (definition.needs or self._program.middlewares)

    async def perform(
        self, definition: Definition, opened: Open, values: dict[str, Any], invoke: Invoke = _call
    ) -> Ending:
        """Run the function with everything around it. Never raises; an interruption is told as Raised like any error.

        opened: gives the context of the run, to whoever asks for it.
        """
        flow: Flow | None = None
        try:
            opened, items = _enter(opened, values), definition.items(values) if definition.batch else 0
            if self.plain(definition):
                args, kwargs = definition.arguments.arrange(values, _NOTHING)
                return self._ended(definition, opened, items, await invoke(definition.function, args, kwargs))
            context = opened()
            given: dict[type, Any] = {Context: context}
            if definition.is_flow:
                flow = given[Flow] = Flow(context.claim, context.entries, self._program.broker, self._max_payload)
            async with Resolver(given, self._program.dependency_overrides, self.worker) as resolver:
                args, kwargs = definition.arguments.arrange(values, await resolver.resolve(definition.needs))
                call = wrap(self._program.middlewares, context, lambda: invoke(definition.function, args, kwargs))
                # Encoded before the dependencies close: a result may need its session to be read.
                value = await call()
                if flow is not None:
                    flow.close()
                if flow is None or flow.ending is None:
                    return self._ended(definition, opened, items, value)
        except BaseException as error:
            if flow is None or flow.ending is None:
                # What a job of a flow said, it says in each run.
                final = flow is not None and isinstance(error, JobError)
                return Rejected(describe(error, scrub=opened().scrub)) if final else ending_of(error, opened)
        return flow.ending

    def perform_here(self, definition: Definition, opened: Open, values: dict[str, Any]) -> Ending:
        """The same for a plain, sync function, in the calling thread. `JobInterrupted` may pass through."""
        try:
            opened, items = _enter(opened, values), definition.items(values) if definition.batch else 0
            args, kwargs = definition.arguments.arrange(values, _NOTHING)
            return self._ended(definition, opened, items, definition.function(*args, **kwargs))
        except BaseException as error:
            return ending_of(error, opened)

    def _ended(self, definition: Definition, opened: Open, items: int, value: Any) -> Ending:
        """The ending of a run that returned. items: of a batch, each of which has an ending of its own; 0: it is none."""
        if items:
            return self._each(definition, opened, items, value)
        try:
            return Succeeded(definition.result.encode(value, self._max_payload))
        except InvalidArguments as error:
            return Rejected(ErrorInfo("result", type(error).__name__, bounded(opened().scrub(str(error)))))
        except Exception as error:
            # A serializer of the user's own may raise anything; the work is done all the same.
            return Rejected(describe(error, "result", opened().scrub))

    def _each(self, definition: Definition, opened: Open, items: int, value: Any) -> Ending:
        if not isinstance(value, list) or len(value) != items:
            found = f"{len(value)} results" if isinstance(value, list) else f"a {type(value).__name__}"
            said = f"a batch of {items} items gave {found}; it returns a list with one result for each, in their order"
            return Rejected(ErrorInfo("result", "UnevenBatch", said))
        return joined(
            [
                ending_of(one, opened) if isinstance(one, BaseException) else self._ended(definition, opened, 0, one)
                for one in value
            ]
        )


def _enter(opened: Open, values: dict[str, Any]) -> Open:
    """Make the context of a run the current one; it hides what is secret in the arguments."""
    if isinstance(values, Values):
        opened = partial(_hiding, opened, values.secrets)
    enter(opened)
    return opened


def _hiding(opened: Open, secrets: Sequence[Any]) -> Context:
    context = opened()
    context.hide(*secrets)  # each time: a run that was given up gets a new context when it asks once more
    return context


def ending_of(error: BaseException, opened: Open | None = None) -> Ending:
    """What an error out of a job's code means, without what the job's context hides. Never raises."""
    scrub: Scrub = str
    try:
        if opened is not None:
            scrub = opened().scrub
        if isinstance(error, JobSignal):
            if isinstance(error, RetryAfter) and error.limit is not None and opened is not None:
                opened().pause_limit(error.limit, error.delay)
            return _said(error, scrub)
        if isinstance(error, UnreadableCheckpoint):
            return Unknown(str(error))
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
            message = f"asked to leave: sys.exit({scrub(repr(error.code)):.80})"
            return Died(ErrorInfo("crash", EXIT, message, _traceback(error, scrub), {"exit_code": code}))
        lineage = _lineage(error)
        if isinstance(error, DependencyError | StepFailed) and error.__cause__ is not None:
            lineage += _lineage(error.__cause__)
        return Raised(describe(error, scrub=scrub), lineage)
    except Exception as trouble:
        return Raised(describe(trouble, scrub=scrub), _lineage(trouble))


def _said(error: JobSignal, scrub: Scrub) -> Ending:
    match error:
        case Snooze():
            return Said("snooze", seconds(error.delay))
        case RetryAfter():
            return Said("retry", seconds(error.delay), bounded(scrub(str(error))))
        case Fail():
            return Said("fail", reason=bounded(scrub(str(error.reason))))
        case Cancel():
            return Said("cancel", reason=bounded(scrub(str(error.reason))))
        case _:
            return Raised(describe(error, scrub=scrub), _lineage(error))


def _lineage(error: BaseException) -> tuple[str, ...]:
    return tuple(error_name(cls) for cls in type(error).__mro__ if cls is not object)


def describe(error: BaseException, kind: str = "exception", scrub: Scrub = str) -> ErrorInfo:
    """An error as a value, whatever its own code does when asked for its text. scrub: what is done to each text before it is cut."""
    cls = type(error)
    name = cls.__qualname__ if cls.__module__ == "builtins" else error_name(cls)
    try:
        message = scrub(str(error))
    except BaseException as trouble:
        message = f"<its str() raised {type(trouble).__name__}>"
    return ErrorInfo(kind, name, bounded(message), _traceback(error, scrub))


def _traceback(error: BaseException, scrub: Scrub) -> str:
    """The traceback without our own frames: how the job was called is of no interest to its author."""
    try:
        told = traceback.TracebackException(type(error), error, error.__traceback__, limit=-_FRAMES)
        told.stack[:] = [frame for frame in told.stack if not frame.filename.startswith(_OURS)]
        return bounded(scrub("".join(told.format())))
    except Exception as trouble:
        return f"<no traceback: {type(trouble).__name__}>"
