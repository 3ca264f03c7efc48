"""Loading the user's program in a process of its own, and saying in one line why that failed."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import cast

from windlass import targets
from windlass.definition import Program
from windlass.errors import ConfigurationError
from windlass.worker.link import Orders


def load(orders: Orders) -> Program:
    """The program that the orders name. Raises `ConfigurationError`, in one line, whatever its code does."""
    sys.path[:] = orders.path or sys.path
    try:
        program = cast(Program, targets.load(orders.target))
        for module in orders.modules:
            targets.load(f"{module}:__name__")
        return program
    except ConfigurationError:
        raise
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        file, line = (error.filename, error.lineno) if isinstance(error, SyntaxError) else frames[-1][:2]
        cause = f"{type(error).__name__}: {error} ({file}, line {line})"
        raise ConfigurationError(f"{orders.target!r} cannot be imported: {cause}") from None


def orders_for(program: Program) -> Orders:
    """How a child process finds `program`. Raises `ConfigurationError` when it is no global of any module."""
    modules = {definition.function.__module__ for definition in program.definitions.values()}
    # Where the tasks are, the app is likely to be; __main__ last, since it must be imported once more, by its file.
    for name in sorted(sys.modules, key=lambda name: (name == "__main__", name not in modules, name)):
        for attribute, value in list(vars(sys.modules[name]).items()):
            if value is program:
                path = [entry for entry in sys.path if entry]
                return Orders(f"{_importable(name)}:{attribute}", sorted(map(_importable, modules)), path)
    raise ConfigurationError(
        'lane "process" needs the app as a global of a module, so that a child process can import it; '
        "it cannot be made inside of a function"
    )


def _importable(name: str) -> str:
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if name != "__main__" or not (spec or file):
        return name
    return str(spec.name if spec else Path(str(file)).resolve())
