"""Every error that Windlass raises, as one tree under `WindlassError`; and, apart from it, what a task raises to say what becomes of
its job (`JobSignal`), and what is raised inside a sync job that must stop (`JobInterrupted`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from msgspec import Struct, convert, field, to_builtins


class ErrorInfo(Struct, frozen=True, omit_defaults=True):
    """Why an attempt did not succeed, as it is stored with the job.

    kind: "exception", "timeout", "crash", "quarantined", "result" (could not be stored), "arguments" or "reason" (said by the task).
    evidence: what is known beside the message: "signal", "exit_code", "peak_rss_bytes", "oom_kill", "rss_bytes",
    "memory_limit_bytes", "last_log", ...
    """

    kind: str
    type: str
    message: str
    traceback: str = ""
    evidence: dict[str, str | int | float] = field(default_factory=dict)


class WindlassError(Exception):
    """The root of all errors raised by Windlass."""


class ConfigurationError(WindlassError):
    """Something in the program or its settings must change before this can work."""


class AppNotFound(ConfigurationError):
    """Nothing says where the app is, and none of the usual files holds one."""


class TaskDefinitionError(ConfigurationError):
    """A task cannot be what its decorator asks; the message names the parameter and the way out."""


class DuplicateTask(TaskDefinitionError):
    """Two different functions were registered under one task name."""


class UnknownScheme(ConfigurationError):
    """No broker speaks the scheme of this URL."""


class StoreRefused(ConfigurationError):
    """The place of the store cannot keep the store's promises (network file system, read-only folder, ...)."""


class DurabilityUnavailable(ConfigurationError):
    """The live store does not keep jobs as safe as the app asks for with `durability=`."""


class StoreTooNew(ConfigurationError):
    """The store was written by a newer Windlass; upgrade this program, the store is left as it is."""


class InvalidArguments(WindlassError):
    """The arguments do not fit the task's annotations; nothing was stored."""


class PayloadTooLarge(InvalidArguments):
    """Encoded arguments (or a result) are larger than the limit."""


class Undecodable(WindlassError):
    """A body, its arguments or a result that this program cannot understand. A job with such a body is parked."""


class NotOpened(Undecodable):
    """What is stored is not sealed with a key of this app, or was changed since, or stands in another job's place."""


class UnreadableCheckpoint(Undecodable):
    """The stored checkpoint of this job cannot be read. Unless its code catches this, the job is parked."""


class UnknownTask(WindlassError):
    """No task of that name is registered in this program."""


class UnknownSchedule(WindlassError):
    """No schedule has this name."""


class JobNotFound(WindlassError):
    """No job has this id: it never existed, or the time to keep it is over."""


class JobExists(WindlassError):
    """The key of a call with `on_conflict="raise"` is taken by the job `job_id`; nothing was stored."""

    def __init__(self, job_id: str, message: str) -> None:
        super().__init__(message)
        self.job_id = job_id


class JobError(WindlassError):
    """How a job ended, told to whoever asked for its result."""

    def __init__(self, job_id: str, message: str, error: ErrorInfo | None = None) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.error = error

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """So that a join which collects failures says what it takes: `results: list[int | JobFailed]`."""
        from pydantic_core import core_schema

        def check(value: Any) -> Any:
            told = value.get("job_error") if isinstance(value, dict) else None
            if isinstance(value, cls):
                return value
            if not isinstance(told, dict) or told.keys() != {"kind", "job_id", "message", "error"}:
                raise ValueError("it tells of no failure")
            kind = JobCancelled if told["kind"] == "JobCancelled" else JobFailed
            if not issubclass(kind, cls):
                raise ValueError(f"it tells of a {kind.__name__}")
            return kind(told["job_id"], told["message"], told["error"] and convert(told["error"], ErrorInfo))

        return core_schema.no_info_plain_validator_function(
            check, serialization=core_schema.plain_serializer_function_ser_schema(lambda error: error.told())
        )

    def told(self) -> dict[str, Any]:
        """The error as it is stored among the results of a join."""
        error = None if self.error is None else to_builtins(self.error)
        return {"job_error": {"kind": type(self).__name__, "job_id": self.job_id, "message": str(self), "error": error}}


class JobFailed(JobError):
    """The job failed for good; `error` holds the type, message, traceback and evidence."""


class JobCancelled(JobError):
    """The job was cancelled before it could succeed."""


class StepFailed(WindlassError):
    """A step of a flow raised; `error` says what. Caught by the flow's code, it is remembered, and raised again in its next runs."""

    def __init__(self, message: str, error: ErrorInfo) -> None:
        super().__init__(message)
        self.error = error


class ResultTimeout(WindlassError, TimeoutError):
    """The wait for a result is over; the job goes on."""


class DependencyError(WindlassError):
    """A `Depends()` could not be resolved; the message names the chain."""


class BrokerError(WindlassError):
    """The store did not do what was asked."""


class BrokerUnavailable(BrokerError):
    """The store could not be reached in time. The call may have happened: repeat it with the same ids."""


class StoreFull(BrokerError):
    """The store has no room left (disk or memory)."""


class StoreCorrupt(BrokerError):
    """The store's file is damaged; the message says what to do with it."""


class JobSignal(Exception):
    """Root of what a task raises to say what becomes of its job. Not an error of Windlass."""


class Snooze(JobSignal):
    """Run this job again after `delay`; no attempt is spent."""

    def __init__(self, delay: float | str | timedelta) -> None:
        super().__init__(f"snoozed for {delay}")
        self.delay = delay


class RetryAfter(JobSignal):
    """This attempt failed; if attempts are left, the next starts after `delay` instead of the policy's time.

    limit: nobody else passes that limit under this job's key until then, either.
    """

    def __init__(self, delay: float | str | timedelta, reason: str = "", *, limit: str | None = None) -> None:
        super().__init__(reason or f"retry after {delay}")
        self.delay = delay
        self.limit = limit


class Fail(JobSignal):
    """The job has failed and no retry can help."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Cancel(JobSignal):
    """The job cancels itself."""

    def __init__(self, reason: str = "cancelled by the task") -> None:
        super().__init__(reason)
        self.reason = reason


class FlowInterrupted(BaseException):
    """Raised inside a flow that ends its run here, to go on later. Let it pass."""


class JobInterrupted(BaseException):
    """Raised inside a running sync job that must stop now. Clean up in `finally`; an async job gets CancelledError."""
