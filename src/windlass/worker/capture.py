"""`print` and `logging` inside a job land in its journal, line by line, without what is secret; code outside of jobs is left alone.

stdout and stderr are wrapped and pass everything on. Log records are seen where they are made, by the record factory: a handler
on the root logger would switch off `logging.basicConfig` and the last resort for everybody else in the process.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from windlass.context import LOG_LINE_LIMIT, Context, current_or_none

_lock = threading.Lock()
_users = 0
_before: tuple[Any, Any, Any] = (None, None, None)
_partial: WeakKeyDictionary[Context, dict[str, str]] = WeakKeyDictionary()
_LEVELS = {"stdout": "info", "stderr": "warning"}


class Tee:
    """A text stream that passes everything on, and notes whole lines in the journal of the job that wrote them."""

    def __init__(self, stream: Any, name: str) -> None:
        self._stream = stream
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, and note. What `logging` writes here has been noted as a record already."""
        context = current_or_none()
        text = text if context is None else context.scrub(text)
        if context is not None and sys._getframe(1).f_globals.get("__name__") != "logging":
            *lines, rest = (_partial.get(context, {}).get(self._name, "") + text).split("\n")
            for line in lines:
                context.log(line, _LEVELS[self._name])
            if rest or context in _partial:
                # A line without an end must not grow for ever.
                _partial.setdefault(context, {})[self._name] = context.scrub(rest)[: LOG_LINE_LIMIT + 1]
        return int(self._stream.write(text))

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)


def finish(context: Context) -> None:
    """Note what a job that is over has written without an end of line."""
    if _partial:
        for name, rest in (_partial.pop(context, None) or {}).items():
            if rest:
                context.log(rest, _LEVELS[name])


def _noting(make: Any) -> Any:
    def make_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = make(*args, **kwargs)
        context = current_or_none()
        if context is not None:
            try:
                context.log(_told(record, context.scrub), record.levelname.lower())
            except Exception:
                pass  # a record whose arguments do not fit: `logging` itself complains about it
        return record

    return make_record


def _told(record: logging.LogRecord, scrub: Callable[[str], str]) -> str:
    """What a record says, without what is secret; the record's handlers get no more to see."""
    said = record.getMessage()
    if (text := scrub(said)) != said:
        record.msg, record.args = text, ()
    if record.exc_info and record.exc_info[0]:
        told = logging.Formatter().formatException(record.exc_info)
        if (traceback := scrub(told)) != told:
            record.exc_text = traceback
        text += f"\n{traceback}"
    return text


def install() -> None:
    """Begin to capture in this process; each call wants an `uninstall`."""
    global _users, _before
    with _lock:
        _users += 1
        if _users == 1:
            _before = (sys.stdout, sys.stderr, logging.getLogRecordFactory())
            sys.stdout, sys.stderr = Tee(sys.stdout, "stdout"), Tee(sys.stderr, "stderr")
            logging.setLogRecordFactory(_noting(_before[2]))


def uninstall() -> None:
    """Stop capturing, when nobody else wants it. What others have put in our place meanwhile stays."""
    global _users
    with _lock:
        _users -= 1
        if not _users:
            if isinstance(sys.stdout, Tee):
                sys.stdout = _before[0]
            if isinstance(sys.stderr, Tee):
                sys.stderr = _before[1]
            logging.setLogRecordFactory(_before[2])
