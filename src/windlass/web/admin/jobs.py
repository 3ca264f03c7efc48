"""Jobs as the API shows them: a row, all of one, and what it carries."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec
from pydantic_core import to_json

from windlass.broker.port import Broker
from windlass.core.gates import uses_of
from windlass.core.job import Job, QueueInfo
from windlass.core.keys import holds
from windlass.core.payload import Envelope, Undecodable, read_json, unpack
from windlass.core.state import State
from windlass.definition import Definition, stable_name
from windlass.web.admin.desk import Desk
from windlass.web.admin.filter import Filter, fingerprint
from windlass.web.admin.matching import made_at, matching, parts_of
from windlass.web.admin.shapes import Code, JobDetail, JobRow, JobsPage, Payload
from windlass.web.admin.timeline import timeline
from windlass.web.admin.why import why

ROOM = 50_000
"""Characters of a value that are shown."""
NEAR = 200
"""Ready jobs of a queue that are looked at to tell how many are before one."""


async def page(desk: Desk, wanted: Filter, before: str | None, limit: int) -> JobsPage:
    """A page of the jobs that are wanted. The counts are those of the queues that it is about."""
    broker = await desk.broker()
    found = await matching(broker, wanted, before=before, limit=limit)
    counts = dict.fromkeys(State, 0)
    for queue in await broker.tally():
        if not wanted.queues or queue.name in wanted.queues:
            for state, number in queue.counts.items():
                counts[state] += number
    searched_to = made_at(found.next) if found.stopped and found.next else None
    rows = [JobRow.model_validate(job) for job in found.jobs]
    return JobsPage(jobs=rows, next=found.next, searched_to=searched_to, counts=counts)


async def detail(desk: Desk, job: Job, shown: bool, root: str) -> JobDetail:
    """All of a job. shown: with what it carries. root: where the dashboard is."""
    broker = await desk.broker()
    now = await broker.now()
    try:
        envelope = unpack(job.body)
    except Undecodable:
        envelope = None
    definition = desk.app.definitions.get(job.task)
    timeout = definition.options.timeout if definition else None
    arguments = _arguments(job, envelope, shown)
    error = job.error
    return JobDetail(
        **JobRow.model_validate(job).model_dump(),
        lane=job.lane,
        expires_at=job.expires_at,
        timeout=(envelope.timeout if envelope else None) or timeout,
        meta=envelope.meta if envelope else {},
        version=job.version,
        holder=await _holder(broker, job, now),
        arguments=arguments,
        result=None if job.result is None else _result(job.result, shown),
        traceback=error.traceback if error else "",
        evidence=error.evidence if error else {},
        fingerprint=fingerprint(job),
        timeline=timeline(job, await desk.tries.of(broker, job)),
        why=await _why(desk, job, now),
        code=code(job, None if arguments.hidden or arguments.cut else arguments.value, definition, root),
    )


# --- what it carries ----------------------------------------------------------------------------------------


def _arguments(job: Job, envelope: Envelope | None, shown: bool) -> Payload:
    if envelope is None:
        return Payload(hidden=not shown, size=len(job.body))
    return _readable(len(bytes(envelope.args)), envelope.shown, shown)


def _result(data: bytes, shown: bool) -> Payload:
    return _readable(len(data), partial(read_json, "the result", data), shown)


def _readable(size: int, read: Callable[[], Any], shown: bool) -> Payload:
    """What `read` gives, as far as it is shown; nothing when it cannot be read."""
    try:
        return payload(size, read() if shown else None, shown)
    except Undecodable:
        return Payload(hidden=not shown, size=size)


def payload(size: int, value: Any, shown: bool) -> Payload:
    """A value of so many bytes, cut when it is a large one."""
    if not shown or size <= ROOM:
        return Payload(hidden=not shown, size=size, value=value)
    return Payload(hidden=False, size=size, value=_Cut(ROOM).of(value), cut=True)


class _Cut:
    """Values, as long as there is room."""

    def __init__(self, room: int) -> None:
        self._room = room

    def of(self, value: Any) -> Any:
        """As much of the value as there is room for."""
        if isinstance(value, str):
            value = value[: max(0, self._room)]
        if isinstance(value, dict):
            return {self.of(name): self.of(one) for name, one in value.items() if self._room > 0}
        if isinstance(value, list):
            return [self.of(one) for one in value if self._room > 0]
        self._room -= len(value) + 4 if isinstance(value, str) else 20
        return value


# --- what became of it --------------------------------------------------------------------------------------


async def _why(desk: Desk, job: Job, now: float) -> list[str]:
    if job.state.finished or job.state is State.RUNNING:
        return []
    broker = await desk.broker()
    queues = {queue.name: queue for queue in await broker.tally()}
    queue = queues.get(job.queue) or QueueInfo(job.queue, {})
    ahead = await _ahead(broker, job, queue) if job.state is State.READY else 0
    names = [(use.limit, use.key) for use in uses_of(job.terms)] if job.state is State.WAITING else []
    limits = await broker.limits(names) if names else []
    parts, steps = await parts_of(broker, job), await desk.tries.steps(broker, job, now)
    return why(job, queue, await broker.workers(), ahead, now, limits, parts, steps)


async def _holder(broker: Broker, job: Job, now: float) -> str | None:
    """The job that has this one's key now."""
    if job.key is None:
        return None
    for one in (await broker.find(key=job.key)).jobs:
        started = one.started_at is not None
        if holds(one.terms, one.created_at.timestamp(), started, one.state.finished, now):
            return one.id
    return None


async def _ahead(broker: Broker, job: Job, queue: QueueInfo) -> int | None:
    """How many jobs of its queue and lane are before it; None when there are too many to tell."""
    if queue.counts.get(State.READY, 0) > NEAR:
        return None
    others = (await matching(broker, Filter(states=(State.READY,), queues=(queue.name,)), limit=NEAR)).jobs
    place = -job.priority, job.run_at
    return sum(one.lane == job.lane and (-one.priority, one.run_at) < place for one in others)


# --- the call that made it ----------------------------------------------------------------------------------


def code(job: Job, arguments: Mapping[str, Any] | None, definition: Definition | None, root: str) -> Code:
    """The call, to be copied. arguments: None when they are not shown, or not all of them."""
    module, _, function = (stable_name(definition.function) if definition else job.task).rpartition(".")
    known = all(part.isidentifier() for part in [*module.split("."), function])
    task = function if known else f"app.get_task({job.task!r})"
    options = f".options(queue={job.queue!r})" if definition and definition.queue != job.queue else ""
    given, words, body = "...", ["..."], '{"arguments": {...}}'
    if arguments is not None:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        words = [shlex.quote(f"--{name}={_word(value)}") for name, value in arguments.items()]
        body = to_json({"arguments": arguments}).decode()
    path = quote(job.task, safe="")
    return Code(
        python=(f"from {module} import {function}\n\n" if known else "") + f"await {task}{options}.enqueue({given})",
        cli=" ".join(["windlass enqueue", shlex.quote(job.task), "--queue", shlex.quote(job.queue), "--", *words]),
        curl=f"curl {shlex.quote(f'{root}/api/v1/tasks/{path}/run')} \\\n"
        '  -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(body)}",
    )


def _word(value: Any) -> str:
    """A value as `windlass enqueue` reads it: JSON, but text as it is unless that were JSON, too."""
    if isinstance(value, str):
        try:
            msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
    return to_json(value).decode()
