"""Windlass: background work for Python web apps. Durable, typed, sync and async, native to FastAPI.

Each public name is imported when it is first asked for: a probe, a producer and `windlass --help` need few of them.
"""

TYPE_CHECKING = False  # checkers take it for true; `typing` itself would cost `windlass health` a third of its time

__version__ = "0.1.0"

if TYPE_CHECKING:
    from windlass.app import Windlass as Windlass
    from windlass.context import Context as Context
    from windlass.context import current as current
    from windlass.core.batch import Batch as Batch
    from windlass.core.job import Job as Job
    from windlass.core.job import Progress as Progress
    from windlass.core.keys import Debounce as Debounce
    from windlass.core.keys import Throttle as Throttle
    from windlass.core.retry import Retry as Retry
    from windlass.core.schedule import Cron as Cron
    from windlass.core.schedule import Every as Every
    from windlass.core.schedule import Schedule as Schedule
    from windlass.core.seal import Seal as Seal
    from windlass.core.secret import Secret as Secret
    from windlass.core.state import State as State
    from windlass.depends import Depends as Depends
    from windlass.errors import Cancel as Cancel
    from windlass.errors import ConfigurationError as ConfigurationError
    from windlass.errors import Fail as Fail
    from windlass.errors import InvalidArguments as InvalidArguments
    from windlass.errors import JobCancelled as JobCancelled
    from windlass.errors import JobExists as JobExists
    from windlass.errors import JobFailed as JobFailed
    from windlass.errors import JobNotFound as JobNotFound
    from windlass.errors import ResultTimeout as ResultTimeout
    from windlass.errors import RetryAfter as RetryAfter
    from windlass.errors import Snooze as Snooze
    from windlass.errors import StepFailed as StepFailed
    from windlass.errors import WindlassError as WindlassError
    from windlass.flow import Flow as Flow
    from windlass.handle import Handle as Handle
    from windlass.handle import JobEvent as JobEvent
    from windlass.limit import Limit as Limit
    from windlass.middleware import CallNext as CallNext
    from windlass.task import BatchTask as BatchTask
    from windlass.task import Task as Task
    from windlass.workflow import Call as Call
    from windlass.workflow import Gathering as Gathering
    from windlass.workflow import Group as Group
    from windlass.workflow import chain as chain
    from windlass.workflow import group as group
else:
    _HOMES = {
        "Batch": "windlass.core.batch",
        "BatchTask": "windlass.task",
        "Call": "windlass.workflow",
        "CallNext": "windlass.middleware",
        "Cancel": "windlass.errors",
        "ConfigurationError": "windlass.errors",
        "Context": "windlass.context",
        "Cron": "windlass.core.schedule",
        "Debounce": "windlass.core.keys",
        "Depends": "windlass.depends",
        "Every": "windlass.core.schedule",
        "Fail": "windlass.errors",
        "Flow": "windlass.flow",
        "Gathering": "windlass.workflow",
        "Group": "windlass.workflow",
        "Handle": "windlass.handle",
        "InvalidArguments": "windlass.errors",
        "Job": "windlass.core.job",
        "JobCancelled": "windlass.errors",
        "JobEvent": "windlass.handle",
        "JobExists": "windlass.errors",
        "JobFailed": "windlass.errors",
        "JobNotFound": "windlass.errors",
        "Limit": "windlass.limit",
        "Progress": "windlass.core.job",
        "ResultTimeout": "windlass.errors",
        "Retry": "windlass.core.retry",
        "RetryAfter": "windlass.errors",
        "Schedule": "windlass.core.schedule",
        "Seal": "windlass.core.seal",
        "Secret": "windlass.core.secret",
        "Snooze": "windlass.errors",
        "State": "windlass.core.state",
        "StepFailed": "windlass.errors",
        "Task": "windlass.task",
        "Throttle": "windlass.core.keys",
        "Windlass": "windlass.app",
        "WindlassError": "windlass.errors",
        "chain": "windlass.workflow",
        "current": "windlass.context",
        "group": "windlass.workflow",
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
