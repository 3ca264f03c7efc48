"""Windlass: background work for Python web apps. Durable, typed, sync and async, native to FastAPI.

Each public name is imported when it is first asked for: a probe, a producer and `windlass --help` need few of them.
"""

TYPE_CHECKING = False  # checkers take it for true; `typing` itself would cost `windlass health` a third of its time

__version__ = "0.1.0"

if TYPE_CHECKING:
    from windlass.app import Windlass as Windlass
    from windlass.context import Context as Context
    from windlass.context import current as current
    from windlass.core.job import Job as Job
    from windlass.core.job import Progress as Progress
    from windlass.core.retry import Retry as Retry
    from windlass.core.seal import Seal as Seal
    from windlass.core.secret import Secret as Secret
    from windlass.core.state import State as State
    from windlass.depends import Depends as Depends
    from windlass.errors import Cancel as Cancel
    from windlass.errors import ConfigurationError as ConfigurationError
    from windlass.errors import Fail as Fail
    from windlass.errors import InvalidArguments as InvalidArguments
    from windlass.errors import JobCancelled as JobCancelled
    from windlass.errors import JobFailed as JobFailed
    from windlass.errors import JobNotFound as JobNotFound
    from windlass.errors import ResultTimeout as ResultTimeout
    from windlass.errors import RetryAfter as RetryAfter
    from windlass.errors import Snooze as Snooze
    from windlass.errors import WindlassError as WindlassError
    from windlass.handle import Handle as Handle
    from windlass.handle import JobEvent as JobEvent
    from windlass.limit import Limit as Limit
    from windlass.middleware import CallNext as CallNext
    from windlass.task import Call as Call
    from windlass.task import Task as Task
else:
    _HOMES = {
        "Call": "windlass.task",
        "CallNext": "windlass.middleware",
        "Cancel": "windlass.errors",
        "ConfigurationError": "windlass.errors",
        "Context": "windlass.context",
        "Depends": "windlass.depends",
        "Fail": "windlass.errors",
        "Handle": "windlass.handle",
        "InvalidArguments": "windlass.errors",
        "Job": "windlass.core.job",
        "JobCancelled": "windlass.errors",
        "JobEvent": "windlass.handle",
        "JobFailed": "windlass.errors",
        "JobNotFound": "windlass.errors",
        "Limit": "windlass.limit",
        "Progress": "windlass.core.job",
        "ResultTimeout": "windlass.errors",
        "Retry": "windlass.core.retry",
        "RetryAfter": "windlass.errors",
        "Seal": "windlass.core.seal",
        "Secret": "windlass.core.secret",
        "Snooze": "windlass.errors",
        "State": "windlass.core.state",
        "Task": "windlass.task",
        "Windlass": "windlass.app",
        "WindlassError": "windlass.errors",
        "current": "windlass.context",
    }
    __all__ = [*_HOMES, "__version__"]  # noqa: PLE0604 # the keys are strings

    def __getattr__(name):
        from importlib import import_module

        if name not in _HOMES:
            raise AttributeError(f"module 'windlass' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
