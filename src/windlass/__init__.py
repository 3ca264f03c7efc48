"""Windlass: background work for Python web apps. Durable, typed, sync and async, native to FastAPI."""

from windlass.app import Windlass
from windlass.context import Context, current
from windlass.core.job import Job, Progress
from windlass.core.retry import Retry
from windlass.core.state import State
from windlass.depends import Depends
from windlass.errors import (
    Cancel,
    ConfigurationError,
    Fail,
    InvalidArguments,
    JobCancelled,
    JobFailed,
    JobNotFound,
    ResultTimeout,
    RetryAfter,
    Snooze,
    WindlassError,
)
from windlass.handle import Handle, JobEvent
from windlass.middleware import CallNext
from windlass.task import Call, Task

__version__ = "0.1.0"

__all__ = [
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
