"""Workflows over the JSON API: the parts of one, and the steps of a flow. What it looks like is drawn by the pages."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request, Response
from msgspec import Struct

from windlass.app import Windlass
from windlass.broker.port import Broker
from windlass.core.ids import check_id
from windlass.core.job import Job, JobId
from windlass.core.state import State
from windlass.web.admin.access import Operator, Viewer
from windlass.web.admin.actions import Affected, body_of, documented_body
from windlass.web.admin.audit import audited
from windlass.web.admin.desk import Desk, answer
from windlass.web.admin.shapes import ErrorShape, JobRow, Shape
from windlass.web.admin.steps import Step
from windlass.web.problems import documented, not_found

LOOK = 150
"""Jobs that are read when they are all; of a larger workflow so many that tell something, half as many that wait, and as many others."""
FAMILY = 20_000
"""Jobs of one workflow among which these are looked for."""
DEEP = 4
"""How often those are asked for that the jobs read write to."""
_TELLING = (State.RUNNING, State.SCHEDULED, State.PARKED, State.FAILED, State.CANCELLED)


class Part(Shape):
    """A job of a workflow. to: the jobs that wait for it. letters: of how many that it waits for (`awaited`) it has heard."""

    id: str
    task: str
    queue: str
    state: State
    to: list[str]
    letters: int
    awaited: int
    collects: bool
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancelling: bool
    error: ErrorShape | None


class Workflow(Shape):
    """A workflow, or a flow with the jobs that it ran. job: the one that stands for it; null: it is not kept any more.

    parts: all jobs, that one among them; with `cut` only some. exact: though they are cut, nothing is missing but what is ready,
    waits, or has succeeded. steps: of a flow, the latest.
    """

    id: str
    job: JobRow | None
    parts: list[Part]
    cut: bool
    exact: bool
    steps: list[Step]


class WorkflowAction(Struct, forbid_unknown_fields=True):
    """cancel: all of it, and the workflows of the flows in it."""

    action: Literal["cancel"]


def add_reads(router: APIRouter, desk: Desk) -> None:
    """Add the reads."""

    @router.get("/workflows/{job_id}", response_model=Workflow, responses=documented(_404="No such workflow"))
    async def get_workflow(request: Request, _: Viewer, job_id: str) -> Response:
        """The jobs of one workflow, named by the job that stands for it: at most a few hundred of them."""
        return answer(request, await workflow(desk, check_id(job_id)))


def add_actions(router: APIRouter, app: Windlass) -> None:
    """Add the actions."""

    @router.post("/workflows/{job_id}", openapi_extra=documented_body(WorkflowAction))
    async def act(job_id: str, access: Operator, _: WorkflowAction = body_of(app, WorkflowAction)) -> Affected:
        """Cancel all of a workflow: what has not started at once, what runs with its worker's next beat."""
        handle = app.job(check_id(job_id))
        async with audited(await app.broker(), access, "cancel workflow", handle.id):
            await handle.cancel()
        return Affected(affected=1)


async def workflow(desk: Desk, root: JobId) -> Workflow:
    """A workflow as far as it is read. Raises `Problem` when there is nothing of it."""
    broker = await desk.broker()
    (job,) = await broker.get([root])
    parts, cut, exact = await _parts(broker, root)
    if job is not None:
        parts[root] = job
    if not parts:
        raise not_found()
    await _add_receivers(broker, parts)
    steps = [] if job is None else await desk.tries.steps(broker, job, await broker.now())
    rows = [_part(parts[one]) for one in sorted(parts)]
    return Workflow(
        id=root, job=None if job is None else JobRow.model_validate(job), parts=rows, cut=cut, exact=exact, steps=steps
    )


async def _parts(broker: Broker, root: JobId) -> tuple[dict[JobId, Job], bool, bool]:
    """Jobs of a workflow; whether they are not all; and whether at least all are there that tell something."""
    whole = await broker.find(root=root, limit=LOOK)
    if whole.next is None:
        return {job.id: job for job in whole.jobs}, False, True
    telling = await broker.find(states=_TELLING, root=root, limit=LOOK, scan=FAMILY)
    waiting = await broker.find(states=[State.WAITING], root=root, limit=LOOK // 2, scan=FAMILY)
    jobs = [*whole.jobs[: LOOK // 2], *waiting.jobs, *telling.jobs]
    return {job.id: job for job in jobs}, True, telling.next is None


async def _add_receivers(broker: Broker, parts: dict[JobId, Job]) -> None:
    """Those that the jobs write to, so that none of them hangs in the air."""
    for _ in range(DEEP):
        asked = {to for job in parts.values() if job.terms for to in job.terms.to} - parts.keys()
        found = [job for job in await broker.get(sorted(asked)[: LOOK // 2]) if job is not None] if asked else []
        if not found:
            return
        parts |= {job.id: job for job in found}


def _part(job: Job) -> Part:
    terms = job.terms
    return Part(
        id=job.id,
        task=job.task,
        queue=job.queue,
        state=job.state,
        to=list(terms.to) if terms else [],
        letters=job.letters,
        awaited=job.awaited,
        collects=terms is not None and terms.collects,
        created_at=job.created_at,
        run_at=job.run_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        cancelling=job.cancelling,
        error=None if job.error is None else ErrorShape.model_validate(job.error),
    )
