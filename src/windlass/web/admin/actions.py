"""What can be done over the JSON API. Each action is harmless when it is repeated, or done by two people at once: the store does to each
job only what its state allows, and answers what it did. The exceptions make a new job each time: `again` and `run`, unless the client
repeats itself under an `Idempotency-Key`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from math import inf
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, cast
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Request
from msgspec import Meta, Raw, Struct, field
from msgspec.structs import replace

from windlass.app import Windlass
from windlass.broker import whole
from windlass.broker.port import Broker
from windlass.core.ids import check_id
from windlass.core.job import Duty, Job, JobId, NewJob
from windlass.core.measures import FAULTS, Mark
from windlass.core.payload import Undecodable, read_json
from windlass.core.state import LIVE, State
from windlass.errors import InvalidArguments
from windlass.web.admin import calls, faults
from windlass.web.admin.access import Access, Operator, Role
from windlass.web.admin.audit import audited
from windlass.web.admin.filter import Filter, parse, tokens
from windlass.web.admin.matching import matching
from windlass.web.admin.shapes import FaultRow, Shape
from windlass.web.problems import Problem, not_found
from windlass.web.repeats import Repeatable, Repeats

T = TypeVar("T", bound=Struct)

MOST = 1000
"""Jobs that one call may concern."""
BATCH = 500
PATIENCE = 5.0
"""Seconds after which a call that has more to do says so instead of doing it."""
ENVELOPE = 1 << 16
"""Bytes of a body beside the arguments in it."""


# --- what is asked, what is answered ------------------------------------------------------------------------


class JobsAction(Struct, forbid_unknown_fields=True):
    """On these ids, or on every job that matches `q` and is not younger than `until_id`. dry_run: only count."""

    action: Literal["retry", "cancel", "delete"]
    ids: Annotated[list[str], Meta(max_length=MOST)] | None = None
    q: str | None = None
    until_id: str | None = None
    dry_run: bool = False


class Again(Struct, forbid_unknown_fields=True):
    """The same job once more; what is given is different. arguments: all of them, by name. delay: seconds, or "5m"."""

    arguments: Raw = field(default_factory=Raw)
    queue: str | None = None
    priority: int | None = None
    delay: float | str | None = None


class FaultAction(Struct, forbid_unknown_fields=True):
    """until: when a snoozed one is to come back."""

    action: Literal["resolve", "snooze", "open"]
    until: datetime | None = None


class QueueAction(Struct, forbid_unknown_fields=True):
    """purge: cancel what waits in it."""

    action: Literal["pause", "resume", "purge"]


class WorkerAction(Struct, forbid_unknown_fields=True):
    """quiet: take no new job, until it is to "work" again. stop: it, and all under its supervisor. dump: tell its stacks."""

    action: Literal["quiet", "work", "stop", "dump"]


class Run(Struct, forbid_unknown_fields=True):
    """A job of the task. options: as `Task.options` takes them; `at` as ISO 8601."""

    arguments: Raw = field(default_factory=lambda: Raw(b"{}"))
    options: dict[str, Any] = {}


class Nothing(Struct, forbid_unknown_fields=True):
    """No more is to be said."""


class Affected(Shape):
    """To how many jobs it was done, and how many that were meant were left alone.

    more: there may be more of them; call again, with this `until_id` to go on where this call stopped.
    """

    affected: int
    skipped: int = 0
    more: bool = False
    until_id: str | None = None


class Created(Shape):
    """The new job."""

    id: str


# --- on many jobs -------------------------------------------------------------------------------------------


class Verb(NamedTuple):
    """What is done to jobs: how many of these it was done to. fits: the states in which it can be done; `least`: by whom."""

    act: Callable[[Broker, Sequence[JobId]], Awaitable[int]]
    fits: frozenset[State]
    least: Role


async def _retry(broker: Broker, ids: Sequence[JobId]) -> int:
    ready = {one.id for one in await broker.revive(ids)}  # with them their parts, and not those that wait again
    return sum(job is not None and (job.id in ready or job.state is State.WAITING) for job in await broker.get(ids))


async def _cancel(broker: Broker, ids: Sequence[JobId]) -> int:
    states = await whole.cancel(broker, ids)
    return sum(state in (State.CANCELLED, State.RUNNING) for state in states.values())


async def _delete(broker: Broker, ids: Sequence[JobId]) -> int:
    return len(await broker.forget(ids))


_RETRIED = frozenset({State.FAILED, State.CANCELLED, State.PARKED, State.SCHEDULED})
VERBS = {
    "retry": Verb(_retry, _RETRIED, Role.OPERATOR),
    "cancel": Verb(_cancel, LIVE, Role.OPERATOR),
    "delete": Verb(_delete, frozenset(State) - {State.RUNNING}, Role.ADMIN),
}
DUTIES: dict[str, Duty] = {"quiet": "quiet", "work": "working", "stop": "stopped"}
_MARKS: dict[str, Mark] = {"resolve": "resolved", "snooze": "snoozed", "open": "open"}
_WAITING = (State.READY, State.SCHEDULED, State.WAITING)


async def _on_some(broker: Broker, verb: Verb, ids: Sequence[JobId], dry_run: bool) -> Affected:
    jobs = await broker.get(list(dict.fromkeys(ids)))
    affected = await _do(broker, verb, [job for job in jobs if job], dry_run)
    return Affected(affected=affected, skipped=len(ids) - affected)


async def _on_all(
    broker: Broker, verb: Verb, wanted: Filter, dry_run: bool, until_id: JobId | None, most: float = MOST
) -> Affected:
    """To all that match, the newest first, as long as there is patience. What is made meanwhile comes before them, and is not met."""
    wanted = replace(wanted, states=tuple(verb.fits.intersection(wanted.states or verb.fits)))
    before, affected, met = until_id and _beside(until_id, +1), 0, 0
    end = asyncio.get_running_loop().time() + PATIENCE
    while wanted.states and affected < most and asyncio.get_running_loop().time() < end:
        found = await matching(broker, wanted, before=before, limit=int(min(BATCH, most - affected)))
        affected += await _do(broker, verb, found.jobs, dry_run)
        met += len(found.jobs)
        if found.next is None:
            return Affected(affected=affected, skipped=met - affected)
        before = found.next
    return Affected(
        affected=affected, skipped=met - affected, more=bool(wanted.states), until_id=before and _beside(before, -1)
    )


async def _do(broker: Broker, verb: Verb, jobs: Sequence[Job], dry_run: bool) -> int:
    ids = [job.id for job in jobs if job.state in verb.fits and not job.cancelling]
    if dry_run or not ids:
        return len(ids)
    return await verb.act(broker, ids)


def _beside(job_id: JobId, step: int) -> JobId:
    """The next id, or the one before."""
    return str(UUID(int=max(0, min(UUID(job_id).int + step, (1 << 128) - 1))))


# --- the endpoints ------------------------------------------------------------------------------------------


def add(router: APIRouter, app: Windlass, show_arguments: bool) -> None:
    """Add all actions. show_arguments: everybody may see what jobs carry, and so may choose jobs by it."""
    _add_jobs(router, app, show_arguments)
    for part in (_add_job, _add_queues, _add_others):
        part(router, app)


def body_of(app: Windlass, kind: type[T]) -> Any:
    """The dependency that reads a body. It stands behind the role: of who has none, nothing is read."""
    limit = app.settings.max_payload + ENVELOPE

    async def read(request: Request) -> T:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            detail = "the body is JSON, and says so: Content-Type: application/json"
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "no-json", detail)
        data = bytearray()
        async for part in request.stream():
            if len(data) + len(part) > limit:
                raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", f"a body has at most {limit:,} bytes")
            data += part
        try:
            return cast(T, read_json("the body", bytes(data), kind))
        except Undecodable as error:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", str(error)) from None

    return Depends(read)


def documented_body(kind: type[Struct]) -> dict[str, Any]:
    """`openapi_extra=` for a body."""
    (_,), schemas = msgspec.json.schema_components([kind])
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schemas[kind.__name__]}}}}


async def _find(broker: Broker, job_id: str) -> Job:
    """Raises `Problem` when there is no such job."""
    try:
        (job,) = await broker.get([check_id(job_id)])
    except InvalidArguments:
        job = None
    if job is None:
        raise not_found()
    return job


def _add_jobs(router: APIRouter, app: Windlass, show_arguments: bool) -> None:
    @router.post("/jobs/actions", openapi_extra=documented_body(JobsAction))
    async def act(access: Operator, asked: JobsAction = body_of(app, JobsAction)) -> Affected:
        """Retry, cancel or delete many jobs: at most 1,000 in one call."""
        verb = VERBS[asked.action]
        access.check(verb.least)
        if (asked.ids is None) == (asked.q is None):
            raise InvalidArguments("name either ids or q; q is a filter, and an empty one means all jobs")
        broker = await app.broker()
        wanted = parse(asked.q or "", time.time())
        if wanted.asks_arguments and not show_arguments:
            access.check(Role.ADMIN)
        work, target, detail = _meant(asked, wanted)
        if asked.dry_run:
            return await work(broker, verb)
        async with audited(broker, access, asked.action, target, detail) as entry:
            done = await work(broker, verb)
            entry.add(f"done to {done.affected}, {done.skipped} left alone")
        return done


def _meant(asked: JobsAction, wanted: Filter) -> tuple[Callable[[Broker, Verb], Awaitable[Affected]], str, str]:
    """What does it, and target and detail for the audit log. Raises `InvalidArguments`."""
    if asked.ids is not None:
        ids = [check_id(one) for one in asked.ids]
        target = ids[0] if len(ids) == 1 else f"{len(ids)} jobs"
        return partial(_on_some, ids=ids, dry_run=asked.dry_run), target, ", ".join(ids[1:] and ids)
    until_id = None if asked.until_id is None else check_id(asked.until_id)
    work = partial(_on_all, wanted=wanted, dry_run=asked.dry_run, until_id=until_id)
    return work, "all that match", _without_values(asked.q or "")


def _without_values(q: str) -> str:
    """A filter, without the values of arguments in it."""
    return " ".join(
        f"{name}=…" if name.startswith("arg.") else f"{name}:{value}".lstrip(":") for name, value in tokens(q)
    )


def _add_job(router: APIRouter, app: Windlass) -> None:
    @router.post("/jobs/{job_id}/again", status_code=HTTPStatus.CREATED, openapi_extra=documented_body(Again))
    async def again(job_id: str, access: Operator, repeats: Repeatable, asked: Again = body_of(app, Again)) -> Created:
        """Make the same job once more, perhaps with other arguments."""
        broker = await app.broker()
        job = await _find(broker, job_id)
        given = {"queue": asked.queue, "priority": asked.priority, "delay": asked.delay}
        new = calls.again(app, job, bytes(asked.arguments), given)
        new = repeats.identified(new, app.name, "again", job.id, access.name)
        said = "with edited arguments" if bytes(asked.arguments) else ""
        return await make(broker, access, "run again", job.id, new, repeats, said)

    @router.post("/tasks/{name:path}/run", status_code=HTTPStatus.CREATED, openapi_extra=documented_body(Run))
    async def run(name: str, access: Operator, repeats: Repeatable, asked: Run = body_of(app, Run)) -> Created:
        """Make a job of a task that is registered in this process."""
        new = calls.run(app, name, bytes(asked.arguments), asked.options)
        new = repeats.identified(new, app.name, "run", name, access.name)
        return await make(await app.broker(), access, "run", name, new, repeats)

    @router.post("/jobs/{job_id}/kill", status_code=HTTPStatus.ACCEPTED, openapi_extra=documented_body(Nothing))
    async def kill(job_id: str, access: Operator, _: Nothing = body_of(app, Nothing)) -> Affected:
        """Cancel it; when it runs and does not listen, it is forced after `kill_after`."""
        broker = await app.broker()
        job = await _find(broker, job_id)
        async with audited(broker, access, "kill", job.id):
            state = (await whole.cancel(broker, [job.id])).get(job.id)
            if job.state.finished or state in (State.SUCCEEDED, State.FAILED):
                raise Problem(HTTPStatus.CONFLICT, "job-finished", f"the job has finished already: {state}", id=job.id)
        return Affected(affected=1)


async def make(
    broker: Broker, access: Access, action: str, target: str, job: NewJob, repeats: Repeats, detail: str = ""
) -> Created:
    """Store a new job, unless this is a repeat. Raises `Problem` when its key is taken."""
    async with audited(broker, access, action, target, detail) as entry:
        (placed,) = await broker.enqueue([job])
        if await repeats.found(broker, job, placed):
            entry.add("a repeat")
        elif not placed.fresh and not placed.replaced:
            detail = f"the job {placed.id} has its key: nothing was stored"
            raise Problem(HTTPStatus.CONFLICT, "key-taken", detail, id=placed.id)
        entry.add(f"job {placed.id}")
    return Created(id=placed.id)


def _add_queues(router: APIRouter, app: Windlass) -> None:
    @router.post("/queues/{name:path}", openapi_extra=documented_body(QueueAction))
    async def queue(name: str, access: Operator, asked: QueueAction = body_of(app, QueueAction)) -> Affected:
        """Pause it, resume it, or cancel what waits in it; what runs goes on. A queue may be paused before it holds anything."""
        calls.checked_options({"queue": name})
        broker = await app.broker()
        if asked.action == "purge":
            access.check(Role.ADMIN)
            waiting = Filter(states=_WAITING, queues=(name,))
            async with audited(broker, access, "purge", name) as entry:
                done = await _on_all(broker, VERBS["cancel"], waiting, dry_run=False, until_id=None, most=inf)
                entry.add(f"{done.affected} cancelled")
            return done
        paused = asked.action == "pause"
        was = any(one.paused for one in await broker.tally() if one.name == name)
        async with audited(broker, access, asked.action, name):
            await broker.pause(name, paused)
        return Affected(affected=int(paused is not was))


def _add_others(router: APIRouter, app: Windlass) -> None:
    @router.post("/failures/{fingerprint}", openapi_extra=documented_body(FaultAction))
    async def fault(fingerprint: str, access: Operator, asked: FaultAction = body_of(app, FaultAction)) -> FaultRow:
        """Say of failures that look alike that they are dealt with, to be shown later, or open after all."""
        broker, until, said = await app.broker(), 0.0, ""
        if asked.action == "snooze":
            until, said = _later(asked.until), f"until {asked.until}"
        found = next((one for one in await broker.faults(FAULTS) if one.fingerprint == fingerprint), None)
        if found is None:
            raise Problem(HTTPStatus.NOT_FOUND, "failure-not-found", "there are no such failures, or none any more")
        mark = _MARKS[asked.action]
        async with audited(broker, access, asked.action, fingerprint, said):
            await broker.mark([fingerprint], mark, until)
        (shown,) = await faults.rows(broker, [replace(found, state=mark, until=until)], time.time())
        return shown

    @router.post(
        "/workers/{worker_id:path}", status_code=HTTPStatus.ACCEPTED, openapi_extra=documented_body(WorkerAction)
    )
    async def worker(worker_id: str, access: Operator, asked: WorkerAction = body_of(app, WorkerAction)) -> Affected:
        """Ask a worker for something; it hears of it with its next beat."""
        if asked.action == "stop":
            access.check(Role.ADMIN)
        broker = await app.broker()
        async with audited(broker, access, asked.action, worker_id):
            stacks = time.time() if asked.action == "dump" else None
            if not await broker.wish(worker_id, DUTIES.get(asked.action), stacks):
                raise Problem(HTTPStatus.NOT_FOUND, "worker-not-found", "no living worker has this id")
        return Affected(affected=1)


def _later(until: datetime | None) -> float:
    """A time to come, as Unix time. Raises `InvalidArguments`."""
    if until is None or until.tzinfo is None or until <= datetime.now(UTC):
        raise InvalidArguments("snooze until when? until= is a time to come, with its zone: 2030-01-31T12:00Z")
    return until.timestamp()
