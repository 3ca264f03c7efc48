"""Where a job's function is really called: its context, dependencies, middleware, and what its end means.

The runner does this for the lanes "loop" and "thread", each child process for the lane "process".
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from windlass import errors
from windlass.context import Context, Open, enter
from windlass.core.durations import seconds
from windlass.core.outcome import Ending, ErrorInfo, Raised, Rejected, Said, Succeeded, bounded
from windlass.core.retry import error_name
from windlass.definition import Definition, Program
from windlass.depends import Resolver
from windlass.errors import Cancel, DependencyError, Fail, InvalidArguments, JobSignal, RetryAfter, Snooze
from windlass.middleware import wrap

Invoke = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Awaitable[Any]]
_OURS = os.path.dirname(errors.__file__) + os.sep
_FRAMES = 60
_NOTHING: Mapping[str, Any] = {}


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
        try:
            enter(opened)
            if self.plain(definition):
                args, kwargs = definition.arguments.arrange(values, _NOTHING)
                return self._encoded(definition, await invoke(definition.function, args, kwargs))
            context = opened()
            async with Resolver({Context: context}, self._program.dependency_overrides, self.worker) as resolver:
                args, kwargs = definition.arguments.arrange(values, await resolver.resolve(definition.needs))
                call = wrap(self._program.middlewares, context, lambda: invoke(definition.function, args, kwargs))
                # Encoded before the dependencies close: a result may need its session to be read.
                return self._encoded(definition, await call())
        except BaseException as error:
            return ending_of(error)

    def perform_here(self, definition: Definition, opened: Open, values: dict[str, Any]) -> Ending:
        """The same for a plain, sync function, in the calling thread. `JobInterrupted` may pass through."""
        try:
            enter(opened)
            args, kwargs = definition.arguments.arrange(values, _NOTHING)
            return self._encoded(definition, definition.function(*args, **kwargs))
        except BaseException as error:
            return ending_of(error)

    def _encoded(self, definition: Definition, value: Any) -> Ending:
        try:
            return Succeeded(definition.result.encode(value, self._max_payload))
        except InvalidArguments as error:
            return Rejected(ErrorInfo("result", type(error).__name__, bounded(str(error))))
        except Exception as error:
            # A serializer of the user's own may raise anything; the work is done all the same.
            return Rejected(describe(error, "result"))


def ending_of(error: BaseException) -> Ending:
    """What an error out of a job's code means. Never raises."""
    try:
        if isinstance(error, JobSignal):
            return _said(error)
        lineage = _lineage(error)
        if isinstance(error, DependencyError) and error.__cause__ is not None:
            lineage += _lineage(error.__cause__)
        return Raised(describe(error), lineage)
    except Exception as trouble:
        return Raised(describe(trouble), _lineage(trouble))


def _said(error: JobSignal) -> Ending:
    match error:
        case Snooze():
            return Said("snooze", seconds(error.delay))
        case RetryAfter():
            return Said("retry", seconds(error.delay), bounded(str(error)))
        case Fail():
            return Said("fail", reason=bounded(str(error.reason)))
        case Cancel():
            return Said("cancel", reason=bounded(str(error.reason)))
        case _:
            return Raised(describe(error), _lineage(error))


def _lineage(error: BaseException) -> tuple[str, ...]:
    return tuple(error_name(cls) for cls in type(error).__mro__ if cls is not object)


def describe(error: BaseException, kind: str = "exception") -> ErrorInfo:
    """An error as a value, whatever its own code does when asked for its text."""
    cls = type(error)
    name = cls.__qualname__ if cls.__module__ == "builtins" else error_name(cls)
    try:
        message = str(error)
    except BaseException as trouble:
        message = f"<its str() raised {type(trouble).__name__}>"
    return ErrorInfo(kind, name, bounded(message), bounded(_traceback(error)))


def _traceback(error: BaseException) -> str:
    """The traceback without our own frames: how the job was called is of no interest to its author."""
    try:
        told = traceback.TracebackException(type(error), error, error.__traceback__, limit=-_FRAMES)
        told.stack[:] = [frame for frame in told.stack if not frame.filename.startswith(_OURS)]
        return "".join(told.format())
    except Exception as trouble:
        return f"<no traceback: {type(trouble).__name__}>"
