"""The command `windlass`: which commands there are, and how every error ends: one line on stderr and an exit code.

0 ok, 1 a task or check failed, 2 usage or configuration, 3 not found, 4 the store cannot be reached, 130 and 143 signals.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from windlass.cli import health

FAILED, USAGE, NOT_FOUND, UNREACHABLE = 1, 2, 3, 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (by default those of the process); answers the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        asked = health.parse(words[1:]) if words[:1] == ["health"] else None
        code = _run(words) if asked is None else health.health(*asked)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`); the interpreter must not try to flush the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _run(words: list[str]) -> int:
    try:
        import typer
    except ModuleNotFoundError:
        return _say("the command needs its extra: pip install 'windlass[cli]'", USAGE)
    from windlass.cli.commands import command
    from windlass.errors import WindlassError

    try:
        code = command(args=words, prog_name="windlass", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except WindlassError as error:
        if os.environ.get("WINDLASS_DEBUG"):
            raise
        return _say(str(error), _code(error))
    except typer.Abort:
        return _say("stopped; nothing was done", 128 + signal.SIGINT)
    except Exception as error:
        return _usage(error)


def _code(error: Exception) -> int:
    from windlass.errors import BrokerError, JobError, JobNotFound, ResultTimeout, UnknownSchedule, UnknownTask

    match error:
        case JobError() | ResultTimeout():
            return FAILED
        case JobNotFound() | UnknownTask() | UnknownSchedule():
            return NOT_FOUND
        case BrokerError():
            return UNREACHABLE
        case _:
            return USAGE


def _usage(error: Exception) -> int:
    """Say what is wrong with the command line. typer keeps these errors' class to itself: they are known by a method of theirs."""
    said = getattr(error, "format_message", None)
    if said is None:
        raise error  # a bug of ours: with its traceback
    if (text := str(said())).startswith("Usage:"):  # no command was named
        print(text, file=sys.stderr)
        return USAGE
    context = getattr(error, "ctx", None)
    return _say(f"{text} (see {context.command_path if context else 'windlass'} --help)", USAGE)


def _say(text: str, code: int) -> int:
    from windlass.core.plain import plain

    print(f"windlass: {plain(' '.join(text.split()))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
