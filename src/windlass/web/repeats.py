"""`Idempotency-Key`: a request that a client repeats under its key is answered with the job that the first one made."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID, uuid5

import msgspec
from fastapi import Depends, Header, Response

from windlass.broker.port import Broker
from windlass.core.job import NewJob, Placed
from windlass.core.payload import unpack
from windlass.web.problems import Problem, not_found

_NAMESPACE = UUID("6f6b0a1e-2f0c-5d0e-9d53-0f6c1d6f7a11")
_LENGTH = 255


class Repeats:
    """The key of one request, if it has one. See `Repeatable`."""

    def __init__(self, response: Response, key: str | None) -> None:
        self._response = response
        self._key = key

    def identified(self, job: NewJob, *scope: str) -> NewJob:
        """The job under the id that the key stands for in this scope: the store itself sees to it that there is one."""
        if self._key is None:
            return job
        key = self._key.strip().strip('"')
        if not 0 < len(key) <= _LENGTH:
            detail = f"an Idempotency-Key has 1 to {_LENGTH} characters"
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-idempotency-key", detail)
        return msgspec.structs.replace(job, id=str(uuid5(_NAMESPACE, json.dumps([*scope, key]))))

    async def found(self, broker: Broker, job: NewJob, placed: Placed) -> bool:
        """Whether this is a repeat: the answer says so. Raises `Problem` when the first one had other arguments."""
        if self._key is None or placed.id != job.id or placed.fresh:
            return False
        (first,) = await broker.get([job.id])
        if first is None:
            raise not_found()
        if _arguments(first.body) != _arguments(job.body):
            detail = "this Idempotency-Key was used before, with other arguments"
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-reused", detail)
        self._response.headers["Idempotent-Replayed"] = "true"
        return True


def _arguments(body: bytes) -> Any:
    return msgspec.json.decode(unpack(body).args)


async def _repeats(
    response: Response,
    idempotency_key: Annotated[str | None, Header(description="repeats with the same key answer the first job")] = None,
) -> Repeats:
    return Repeats(response, idempotency_key)


Repeatable = Annotated[Repeats, Depends(_repeats)]
"""What an endpoint asks for whose repeats are to be harmless."""
