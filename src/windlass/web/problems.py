"""Problems over HTTP: RFC 9457, `application/problem+json`, and which error of Windlass is which problem."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

from windlass.errors import BrokerError, InvalidArguments, JobNotFound, PayloadTooLarge, WindlassError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "5"
"""Seconds, sent when the store is out of reach."""

_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {name: {"type": "string"} for name in ("type", "title", "detail")} | {"status": {"type": "integer"}},
}

logger = logging.getLogger("windlass.web")


class Problem(HTTPException):
    """An error answer. Where nobody knows this class it is still an HTTPException with the right status and headers.

    kind: "job-failed"; the problem's type is "/problems/job-failed". more: further members of the body.
    """

    def __init__(self, status: HTTPStatus, kind: str, detail: str, **more: Any) -> None:
        super().__init__(status, detail)
        self.kind = kind
        self.more = more


def not_found() -> Problem:
    """No such job, or none that this client may see."""
    detail = "there is no such job; it never existed, or its time to be kept is over"
    return Problem(HTTPStatus.NOT_FOUND, "job-not-found", detail)


def problem_of(error: WindlassError) -> Problem | None:
    """The problem that an error is for a client; None when it is the server's own fault or the handler's business."""
    match error:
        case PayloadTooLarge():
            return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "payload-too-large", str(error))
        case InvalidArguments():
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-arguments", str(error))
        case JobNotFound():
            return not_found()
        case BrokerError():
            logger.warning("the job store did not do what was asked: %s", error)  # its address is no client's business
            detail = "the job store cannot be reached; try again later"
            problem = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "store-unavailable", detail)
            problem.headers = {"Retry-After": RETRY_AFTER}
            return problem
        case _:
            return None


@asynccontextmanager
async def problems(connection: HTTPConnection) -> AsyncGenerator[None]:
    """What Windlass raises inside leaves as a `Problem`, and that as problem+json, unless the program has its own handler."""
    if handlers := connection.scope.get("starlette.exception_handlers"):
        handlers[0].setdefault(Problem, _respond)
    try:
        yield
    except WindlassError as error:
        if (problem := problem_of(error)) is None:
            raise
        raise problem from error


async def _respond(_: HTTPConnection, problem: Problem) -> Response:
    title, status = problem.kind.replace("-", " "), problem.status_code
    body = {"type": f"/problems/{problem.kind}", "title": title, "status": status, "detail": problem.detail}
    return JSONResponse(body | problem.more, status, problem.headers, MEDIA_TYPE)


def documented(**descriptions: str) -> dict[int | str, dict[str, Any]]:
    """`responses=` for OpenAPI: `documented(_404="no such job")`."""
    content = {MEDIA_TYPE: {"schema": _SCHEMA}}
    return {int(status[1:]): {"description": text, "content": content} for status, text in descriptions.items()}
