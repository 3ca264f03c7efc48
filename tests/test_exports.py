"""The public surface, pinned: a name comes or goes here first, and in the changelog."""

from __future__ import annotations

from types import ModuleType

import windlass

PUBLIC = [
    "Call",
    "CallNext",
    "Cancel",
    "ConfigurationError",
    "Context",
    "Depends",
    "Fail",
    "Handle",
    "InvalidArguments",
    "Job",
    "JobCancelled",
    "JobEvent",
    "JobFailed",
    "JobNotFound",
    "Progress",
    "ResultTimeout",
    "Retry",
    "RetryAfter",
    "Snooze",
    "State",
    "Task",
    "Windlass",
    "WindlassError",
    "__version__",
    "current",
]


def test_the_public_names_are_these_and_sorted() -> None:
    assert windlass.__all__ == PUBLIC == sorted(PUBLIC)


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in PUBLIC if not hasattr(windlass, name)] == []


def test_nothing_else_is_public() -> None:
    names = {name for name, value in vars(windlass).items() if not isinstance(value, ModuleType)}
    assert {name for name in names if not name.startswith("_")} == set(PUBLIC) - {"__version__"}


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert windlass.__version__ == version("windlass")


def test_what_users_catch_has_one_root() -> None:
    errors = [
        value for name in PUBLIC if isinstance(value := getattr(windlass, name), type) and issubclass(value, Exception)
    ]
    signals = {windlass.Cancel, windlass.Fail, windlass.RetryAfter, windlass.Snooze}
    assert {error for error in errors if not issubclass(error, windlass.WindlassError)} == signals
