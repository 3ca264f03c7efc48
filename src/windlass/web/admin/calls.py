"""Jobs that are made by hand: one again, perhaps with other arguments, or one of a task. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Raw

from windlass.app import Windlass
from windlass.core.ids import new_id
from windlass.core.job import DEFAULT_CRASH_LIMIT, Job, NewJob
from windlass.core.payload import Envelope, Undecodable, check_size, read_json, unpack
from windlass.core.secret import SHOWN
from windlass.core.terms import Terms
from windlass.definition import Definition
from windlass.errors import ConfigurationError, InvalidArguments
from windlass.options import Options
from windlass.web.problems import Problem

_HIDDEN = msgspec.json.encode(SHOWN)


def again(app: Windlass, job: Job, arguments: bytes, given: dict[str, Any]) -> NewJob:
    """A new job like this one, with other `arguments` (JSON) unless these are empty, and with the `given` options.

    An argument that was shown as a secret, and comes back so, keeps its value. Arguments are validated if the task is known here.
    Raises `InvalidArguments`, or `Problem` when the job's own arguments cannot be read.
    """
    try:
        envelope = unpack(job.body)
    except Undecodable as error:
        raise Problem(HTTPStatus.CONFLICT, "arguments-unreadable", str(error), id=job.id) from None
    data, options, definition = bytes(envelope.args), checked_options(given), app.definitions.get(job.task)
    if arguments:
        data = _with_secrets(arguments, data, envelope.secret)
    _check_filled(job, envelope, data)
    secret, settings, keep = envelope.secret, app.settings, None
    terms, queue = job.terms, options.queue or job.queue
    if definition is not None:
        data = definition.arguments.encode(*_call(definition, data), settings.max_payload)
        secret, keep = tuple(sorted(definition.arguments.secret)), definition.options.keep
        terms = _as_defined(app, definition, terms, queue, data)
    check_size("the arguments take", data, settings.max_payload)
    return NewJob(
        id=new_id(),
        task=job.task,
        body=msgspec.json.encode(msgspec.structs.replace(envelope, args=Raw(data), secret=secret, fill=None)),
        queue=queue,
        lane=definition.slot if definition else job.lane,
        priority=job.priority if options.priority is None else options.priority,
        delay=options.delay or 0.0,
        key=job.key,
        crash_limit=definition.crash_limit if definition else DEFAULT_CRASH_LIMIT,
        keep=settings.keep if keep is None else keep,
        keep_failed=settings.keep_failed if keep is None else keep,
        terms=_again(terms, is_flow=definition.is_flow if definition else not envelope.fill),
    )


def _check_filled(job: Job, envelope: Envelope, data: bytes) -> None:
    """Raise `InvalidArguments` for a copy of what other jobs gave an argument to, unless somebody gives it."""
    if (fill := envelope.fill) is None:
        return
    try:
        given = read_json("the arguments", data, dict[str, Raw])
    except Undecodable as error:
        raise InvalidArguments(str(error)) from None
    if fill.parameter not in given:
        raise InvalidArguments(
            f"other jobs gave {fill.parameter} to the job {job.id}, and give it to no copy: say it, or retry the job itself"
        )


def _as_defined(app: Windlass, definition: Definition, terms: Terms | None, queue: str, data: bytes) -> Terms:
    """The terms with the limits that the program says now: what an old job says would count for all who wait. Raises `InvalidArguments`."""
    try:
        now = app.get_task(definition.name).options(queue=queue).pack(data).terms
    except ConfigurationError as error:
        raise InvalidArguments(str(error)) from None
    return msgspec.structs.replace(terms or Terms(), uses=now.uses if now else (), collects=definition.is_flow)


def _again(terms: Terms | None, is_flow: bool) -> Terms | None:
    """What asks for a place in the line stays; what is about other jobs, or about the time at which the first one came, does not.

    A flow goes on collecting the letters of its own jobs.
    """
    if terms is None:
        return None
    kept = Terms(
        group=terms.group,
        weight=terms.weight,
        ageing=terms.ageing,
        unique=terms.unique,
        uses=terms.uses,
        collects=terms.collects and is_flow,
    )
    return None if kept == Terms() else kept


def run(app: Windlass, task: str, arguments: bytes, given: dict[str, Any]) -> NewJob:
    """A job of a task, with these arguments (JSON) and options. Raises `InvalidArguments`, or `Problem` for a task that is not here."""
    definition = app.definitions.get(task)
    if definition is None:
        detail = f"no task {task!r} is registered in this process" + (
            "" if app.definitions else ", which has none at all"
        )
        raise Problem(HTTPStatus.NOT_FOUND, "task-not-found", detail)
    args, kwargs = _call(definition, arguments)
    checked_options(given := _with_moment(given))
    return app.get_task(task).options(**given).bind(*args, **kwargs).job


def _call(definition: Definition, data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and keyword arguments that JSON holds. Raises `InvalidArguments`."""
    try:
        return definition.arguments.arrange(definition.arguments.decode(data), {})
    except Undecodable as error:
        raise InvalidArguments(str(error)) from None


def _with_secrets(given: bytes, kept: bytes, secret: Collection[str]) -> bytes:
    """The given arguments; those of them that are `SHOWN` instead of a secret, as they were kept."""
    try:
        told, known = (read_json("the arguments", data, dict[str, Raw]) for data in (given, kept))
    except Undecodable as error:
        raise InvalidArguments(str(error)) from None
    back = {name: known[name] for name in told.keys() & known.keys() & {*secret} if bytes(told[name]) == _HIDDEN}
    return msgspec.json.encode(told | back)


def _with_moment(given: dict[str, Any]) -> dict[str, Any]:
    """The options, `at` as a time. Raises `InvalidArguments`."""
    if given.get("at") is None:
        return given
    try:
        return given | {"at": msgspec.convert(given["at"], datetime)}
    except msgspec.ValidationError as error:
        raise InvalidArguments(f"at: {error}") from None


def checked_options(given: dict[str, Any]) -> Options:
    """The options. Raises `InvalidArguments`."""
    try:
        return Options.parse(**given)
    except ConfigurationError as error:
        raise InvalidArguments(str(error)) from None
