"""Loading the user's program in a process of its own, and telling such a process what to load."""

from __future__ import annotations

import sys
from pathlib import Path

from windlass import targets
from windlass.definition import Program
from windlass.errors import ConfigurationError
from windlass.targets import Found
from windlass.worker.link import Orders


def load(orders: Orders) -> Found:
    """The program that the orders name, as `targets.find` answers it. Raises `ConfigurationError`, in one line, whatever its code does."""
    sys.path[:] = orders.path or sys.path
    found = targets.find(orders.target, targets.load(orders.kind))
    with targets.blaming():
        for module in orders.modules:
            targets.load(f"{module}:__name__")
    if orders.setup is not None:
        targets.load(orders.setup)(found.object)
    return found


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
