"""The public surface, pinned: a name comes or goes here first, and in the changelog."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import windlass

PUBLIC = [
    "Batch",
    "BatchTask",
    "Call",
    "CallNext",
    "Cancel",
    "ConfigurationError",
    "Context",
    "Cron",
    "Debounce",
    "Depends",
    "Every",
    "Fail",
    "Flow",
    "Gathering",
    "Group",
    "Handle",
    "InvalidArguments",
    "Job",
    "JobCancelled",
    "JobEvent",
    "JobExists",
    "JobFailed",
    "JobNotFound",
    "Limit",
    "Progress",
    "ResultTimeout",
    "Retry",
    "RetryAfter",
    "Schedule",
    "Seal",
    "Secret",
    "Snooze",
    "State",
    "StepFailed",
    "Task",
    "Throttle",
    "Windlass",
    "WindlassError",
    "__version__",
    "chain",
    "current",
    "group",
]


def test_the_public_names_are_these() -> None:
    assert sorted(windlass.__all__) == PUBLIC


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in PUBLIC if not hasattr(windlass, name)] == []


def test_nothing_else_is_public() -> None:
    names = {name for name in dir(windlass) if not isinstance(getattr(windlass, name), ModuleType)}
    assert {name for name in names if not name.startswith("_")} == set(PUBLIC) - {"__version__"} | {"TYPE_CHECKING"}


def test_checkers_see_the_same_names_in_the_same_modules() -> None:
    tree = ast.parse(Path(windlass.__file__).read_text())
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("windlass")
        for alias in node.names
    }
    assert seen == vars(windlass)["_HOMES"]


def test_a_name_that_does_not_exist_is_an_error_as_usual() -> None:
    with pytest.raises(AttributeError, match="module 'windlass' has no attribute 'nonsense'"):
        _ = windlass.nonsense
    with pytest.raises(ImportError, match="cannot import name 'nonsense'"):
        exec("from windlass import nonsense")


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_importing_the_package_imports_nothing_of_it() -> None:
    code = (
        "import sys, windlass; print(sorted(name for name in sys.modules if 'windlass.' in name or name == 'typing'))"
    )
    assert fresh(code) == "[]\n"


@pytest.mark.parametrize(
    "code",
    [
        "import windlass; print(windlass.Retry.__module__)",
        "from windlass import Retry; print(Retry.__module__)",
        "from windlass import *; print(Retry.__module__)",
        "from windlass import errors; import windlass; print(windlass.Retry.__module__)",
    ],
)
def test_each_way_to_import_works_in_a_new_interpreter(code: str) -> None:
    assert fresh(code) == "windlass.core.retry\n"


def test_all_names_are_listed_before_any_was_asked_for() -> None:
    assert set(PUBLIC) <= set(fresh("import windlass; print('\\n'.join(dir(windlass)))").split())


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert windlass.__version__ == version("windlass")


def test_what_users_catch_has_one_root() -> None:
    errors = [
        value for name in PUBLIC if isinstance(value := getattr(windlass, name), type) and issubclass(value, Exception)
    ]
    signals = {windlass.Cancel, windlass.Fail, windlass.RetryAfter, windlass.Snooze}
    assert {error for error in errors if not issubclass(error, windlass.WindlassError)} == signals
