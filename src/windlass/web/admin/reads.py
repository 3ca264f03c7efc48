"""The reads of the JSON API (`docs/design/api.md`): what each is called, who may ask, and what it answers."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from windlass.app import Windlass
from windlass.core.ids import check_id
from windlass.core.job import Job
from windlass.core.measures import FAULTS, Mark
from windlass.errors import InvalidArguments
from windlass.web.admin import charts, faults, jobs, limits, queues, schedules, stream, tasks, workers, workflows
from windlass.web.admin.access import Access, Role, Viewer
from windlass.web.admin.audit import audited
from windlass.web.admin.desk import Desk, Length, answer, axis_of, missing
from windlass.web.admin.filter import parse
from windlass.web.admin.limits import LimitsPage
from windlass.web.admin.overview import overview
from windlass.web.admin.shapes import (
    FaultsPage,
    JobDetail,
    JobsPage,
    Overview,
    QueueDetail,
    QueueList,
    Scale,
    WorkerDetail,
    WorkerList,
)
from windlass.web.admin.system import System, system
from windlass.web.admin.tasks import TaskDetail, TaskList
from windlass.web.problems import documented, not_found
from windlass.web.sse import EventStream

REVEALS = Role.ADMIN
"""Who may see what jobs carry where it is not shown to all."""
STACKS = "stacks"
"""The shelf of the book on which workers leave their stacks, by their ids."""
REMEMBERED = 10_000
"""Revelations that are remembered: whoever looks at one job again and again is noted once."""

Before = Annotated[str, Query(max_length=100, description="where the page before this one ended: its `next`")]


def add(router: APIRouter, app: Windlass, show_arguments: bool) -> None:
    """Add all reads. show_arguments: what jobs carry is shown to all who may look."""
    desk = Desk(app, show_arguments)
    parts = (
        _add_overview,
        _add_jobs,
        _add_queues,
        _add_limits,
        _add_workers,
        _add_tasks,
        schedules.add_reads,
        workflows.add_reads,
        _add_streams,
    )
    for part in parts:
        part(router, desk)


def _add_overview(router: APIRouter, desk: Desk) -> None:
    @router.get("/overview", response_model=Overview)
    async def get_overview(request: Request, _: Viewer, length: Length = "1h") -> Response:
        """All of it at a glance."""
        now = time.time()
        scene = await queues.scene(desk, axis_of(length, now), now)
        seen = await (await desk.broker()).faults(FAULTS)
        return answer(request, overview(desk, scene, seen, await desk.store()))

    @router.get("/failures", response_model=FaultsPage)
    async def get_failures(request: Request, _: Viewer, state: Mark | None = None, before: Before = "") -> Response:
        """Failures that look alike, the one seen latest first."""
        return answer(request, await faults.page(desk, state, before, time.time()))

    @router.get("/system", response_model=System)
    async def get_system(request: Request, _: Viewer) -> Response:
        """What everything runs on."""
        return answer(request, await system(desk))


def _add_jobs(router: APIRouter, desk: Desk) -> None:
    @router.get("/jobs", response_model=JobsPage)
    async def get_jobs(
        request: Request,
        access: Viewer,
        q: Annotated[str, Query(max_length=2000, description='a filter: `state:failed queue:media "no space"`')] = "",
        before: Before = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> Response:
        """Jobs that match a filter, the newest first."""
        wanted = parse(q, time.time())
        if wanted.asks_arguments and not desk.show_arguments:
            access.check(REVEALS)
        return answer(request, await jobs.page(desk, wanted, check_id(before) if before else None, limit))

    @router.get("/jobs/{job_id}", response_model=JobDetail, responses=documented(_404="No such job"))
    async def get_job(request: Request, access: Viewer, job_id: str, reveal: bool = False) -> Response:
        """All of one job. reveal: with what it carries, for an admin; that is noted in the audit log."""
        job = await _find(desk, job_id)
        if reveal and not desk.show_arguments:
            await _reveal(desk, access, job)
        return answer(request, await jobs.detail(desk, job, reveal or desk.show_arguments, _root(request)))


async def _find(desk: Desk, job_id: str) -> Job:
    """Raises `Problem` when there is no such job."""
    try:
        (job,) = await (await desk.broker()).get([check_id(job_id)])
    except InvalidArguments:
        job = None
    if job is None:
        raise not_found()
    return job


async def _reveal(desk: Desk, access: Access, job: Job) -> None:
    """Note that somebody looks at what a job carries. Raises `Problem` when that is not for this role."""
    access.check(REVEALS)
    if (access, job.id) in desk.revealed:
        return
    async with audited(await desk.broker(), access, "reveal", job.id):
        if len(desk.revealed) >= REMEMBERED:
            desk.revealed.clear()
        desk.revealed.add((access, job.id))


def _root(request: Request) -> str:
    """Where the dashboard is, as the client sees it."""
    return str(request.url.replace(query="")).partition("/api/v1/")[0]


def _add_queues(router: APIRouter, desk: Desk) -> None:
    @router.get("/queues", response_model=QueueList)
    async def get_queues(request: Request, _: Viewer, length: Length = "1h") -> Response:
        """All queues."""
        now = time.time()
        return answer(request, QueueList(queues=queues.rows(desk, await queues.scene(desk, axis_of(length, now), now))))

    no_queue = documented(_404="No such queue")

    @router.get("/queues/{name:path}/scale", response_model=Scale, responses=no_queue)
    async def get_scale(request: Request, _: Viewer, name: str) -> Response:
        """What an autoscaler goes by: KEDA's `metrics-api` reads one of these numbers."""
        if (found := await queues.scale(desk, name)) is None:
            raise missing("queue", name)
        return answer(request, found)

    @router.get("/queues/{name:path}", response_model=QueueDetail, responses=no_queue)
    async def get_queue(request: Request, _: Viewer, name: str, length: Length = "1h") -> Response:
        """One queue."""
        now = time.time()
        scene = await queues.scene(desk, axis_of(length, now), now, name)
        if not scene.queues:
            raise missing("queue", name)
        serving = [one for one in scene.workers if name in one.card.queues]
        value = QueueDetail(
            queue=queues.rows(desk, scene)[0],
            series=charts.series(scene.cells, scene.axis),
            tasks=queues.tasks(scene.cells),
            workers=await workers.rows(await desk.broker(), serving),
        )
        return answer(request, value)


def _add_limits(router: APIRouter, desk: Desk) -> None:
    @router.get("/limits", response_model=LimitsPage)
    async def get_limits(
        request: Request,
        _: Viewer,
        after: Annotated[
            str, Query(max_length=600, description="where the page before this one ended: its `next`")
        ] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> Response:
        """Keys of limits that somebody needs: what is taken, and how many jobs wait."""
        name, key = (*after.split("\x1f", 1), "")[:2]
        return answer(request, await limits.page(await desk.broker(), (name, key) if after else None, limit))


def _add_workers(router: APIRouter, desk: Desk) -> None:
    @router.get("/workers", response_model=WorkerList)
    async def get_workers(request: Request, _: Viewer) -> Response:
        """All living workers."""
        broker = await desk.broker()
        return answer(request, WorkerList(workers=await workers.rows(broker, await broker.workers())))

    @router.get("/workers/{worker_id:path}", response_model=WorkerDetail, responses=documented(_404="No such worker"))
    async def get_worker(request: Request, _: Viewer, worker_id: str) -> Response:
        """One living worker, with its stacks if they were asked for."""
        broker = await desk.broker()
        found = [one for one in await broker.workers() if one.id == worker_id]
        if not found:
            raise missing("worker", worker_id)
        (row,) = await workers.rows(broker, found)
        stacks = await broker.leaf(STACKS, worker_id) or b""
        return answer(request, WorkerDetail(**row.model_dump(), stacks=stacks.decode(errors="replace")))


def _add_tasks(router: APIRouter, desk: Desk) -> None:
    @router.get("/tasks", response_model=TaskList)
    async def get_tasks(request: Request, _: Viewer, length: Length = "24h") -> Response:
        """All tasks: those of this program, and those that ran."""
        now = time.time()
        return answer(request, TaskList(tasks=tasks.rows(desk, await desk.history.cells(axis_of(length, now), now))))

    @router.get("/tasks/{name:path}", response_model=TaskDetail, responses=documented(_404="No such task"))
    async def get_task(request: Request, _: Viewer, name: str, length: Length = "24h") -> Response:
        """One task."""
        now = time.time()
        axis = axis_of(length, now)
        cells = await desk.history.cells(axis, now, task=name)
        if name not in desk.app.definitions and not any(one.tasks for one in cells):
            raise missing("task", name)
        return answer(request, TaskDetail(task=tasks.row(desk, name, cells), series=charts.series(cells, axis)))


def _add_streams(router: APIRouter, desk: Desk) -> None:
    @router.get("/stream", status_code=HTTPStatus.OK, response_class=EventStream)
    async def get_stream(
        request: Request,
        access: Viewer,
        topic: Annotated[
            list[str], Query(max_length=stream.TOPICS, description="a read with its query, percent-encoded")
        ],
    ) -> Response:
        """Server-sent events: a `tick` with what changed of these reads, once a second at most."""
        browser = stream.Browser(request.scope, access, _root(request))
        return EventStream(stream.ticks(desk, router, browser, list(dict.fromkeys(topic))))

    @router.get(
        "/jobs/{job_id}/events",
        status_code=HTTPStatus.OK,
        response_class=EventStream,
        responses=documented(_404="No such job"),
    )
    async def get_events(
        _: Viewer,
        job_id: str,
        after: Annotated[int, Query(ge=0, lt=1 << 53, description="the id of the last event seen")] = 0,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Server-sent events of one job: `state`, `progress`, `log`, `chunk`, `end`. Resumable by `Last-Event-ID`."""
        job = await _find(desk, job_id)
        if last_event_id and last_event_id.isdecimal() and len(last_event_id) < 16:
            after = int(last_event_id)
        return EventStream(stream.job_events(desk, job.id, after))
