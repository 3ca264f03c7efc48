"""Windlass in a FastAPI app: `jobs_router` (status, result, events, cancel), `dashboard`, `metrics_router`, `Accepted` (202 done
right), `Tasks` (durable BackgroundTasks). One `include_router` is the whole installation.

```python
api = FastAPI()
api.include_router(jobs_router(app), prefix="/jobs")
api.include_router(dashboard(app, auth=Depends(staff)), prefix="/windlass")

@api.post("/upload", status_code=202)
async def upload(video_id: str, accept: Accepted) -> JobAccepted:
    return await accept(process_video.bind(video_id))

@api.post("/signup")
async def signup(user: UserIn, tasks: Tasks) -> User:
    tasks.add_task(send_welcome, user.email)
    return await create(user)
```
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Annotated, Any, ParamSpec

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel

from windlass.app import Windlass
from windlass.core.payload import Undecodable
from windlass.core.state import State
from windlass.errors import BrokerError, JobError, ResultTimeout
from windlass.handle import Handle
from windlass.task import Call, Task
from windlass.web.admin.access import Access, Role
from windlass.web.admin.router import dashboard
from windlass.web.jobs import Links, meta_of
from windlass.web.problems import problems
from windlass.web.repeats import Repeatable, Repeats
from windlass.web.router import Sees, jobs_router, links_to

P = ParamSpec("P")

_PREFER_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])")


class JobAccepted(BaseModel):
    """The body of a 202: the job, and where to follow it (`links` is null when no `jobs_router` serves its app)."""

    id: str
    state: State
    links: Links | None


class Acceptor:
    """Enqueues a call and makes the response a 202: `Location`, `Retry-After`, `Idempotency-Key`. See `Accepted`."""

    def __init__(self, request: Request, response: Response, repeats: Repeats, prefer: str | None) -> None:
        self._request = request
        self._response = response
        self._repeats = repeats
        self._prefer = prefer

    async def __call__(self, call: Call[Any], *, wait: float = 0.0, scope: str = "") -> JobAccepted:
        """Store the call's job, and all that it waits for; on return it is safe.

        An `Idempotency-Key` of the client makes repeats answer the first job, for as long as it is kept; with other arguments
        they are refused (422). scope: whose keys they are (a user's id): the same key in another scope is another job.
        wait: the most seconds that a client may ask for with `Prefer: wait=5`; then the answer is held until the job's end.
        """
        app = call.app
        job = self._repeats.identified(call.job, app.name, call.job.task, scope)
        broker = await app.broker()
        placed, *_ = await broker.enqueue(call.jobs(job.id))
        await self._repeats.found(broker, job, placed)
        handle, state = app.job(placed.id), placed.state
        if asked := _PREFER_WAIT.search(self._prefer or "") if wait > 0 else None:
            state = await _finish(handle, min(float(asked[1]), wait))
            self._response.headers["Preference-Applied"] = f"wait={asked[1]}"
        links = links_to(self._request, app.name, handle.id)
        self._response.status_code = HTTPStatus.ACCEPTED
        if links is not None:
            self._response.headers["Location"] = links.self
        if not state.finished:
            self._response.headers["Retry-After"] = "1"
        return JobAccepted(id=handle.id, state=state, links=links)


async def _finish(handle: Handle[Any], wait: float) -> State:
    """Wait for the job's end, whichever it is; the state after that."""
    try:
        await handle.result(timeout=wait)
    except (JobError, ResultTimeout, Undecodable):
        pass  # the state says it
    return (await handle.info()).state


async def _acceptor(
    request: Request,
    response: Response,
    repeats: Repeatable,
    prefer: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> AsyncGenerator[Acceptor]:
    async with problems(request):
        yield Acceptor(request, response, repeats, prefer)


Accepted = Annotated[Acceptor, Depends(_acceptor, scope="function")]
"""`accept: Accepted`, then `return await accept(task.bind(...))`."""


class TaskBatch:
    """Tasks to be stored together once the handler has succeeded. See `Tasks`.

    handles: one for each task added; their jobs exist once the response leaves.
    """

    def __init__(self) -> None:
        self.handles: list[Handle[Any]] = []
        self._calls: list[Call[Any]] = []

    def add_task(self, task: Task[P, Any, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Enqueue `task` with these arguments when the handler has succeeded. Raises `InvalidArguments` now.

        Delays and the like: `tasks.add_task(send.options(delay="1h"), user.email)`.
        """
        if not isinstance(task, Task):
            raise TypeError(
                f"{task!r} is no task of Windlass; decorate it with @app.task, or use BackgroundTasks for it"
            )
        call = task.bind(*args, **kwargs)
        self._calls.append(call)
        self.handles.append(call.app.job(call.job.id))

    async def store(self) -> None:
        """Store what was added: all or none of each app's."""
        for app in dict.fromkeys(call.app for call in self._calls):
            mine = [number for number, call in enumerate(self._calls) if call.app is app]
            placed = await app.place([self._calls[number].job for number in mine])
            for number, handle in zip(mine, placed, strict=True):
                self.handles[number] = handle


async def _batch(request: Request) -> AsyncGenerator[TaskBatch]:
    async with problems(request):
        batch = TaskBatch()
        yield batch
        await batch.store()


Tasks = Annotated[TaskBatch, Depends(_batch, scope="function")]
"""`tasks: Tasks`, then `tasks.add_task(send_welcome, user.email)`: BackgroundTasks that survive the process.

Stored as one batch after the handler succeeded and before the response leaves: nothing is stored when it raises, and
the client gets a 503 when the store is out of reach.
"""


def metrics_router(app: Windlass) -> APIRouter:
    """`/metrics` for Prometheus: the queues and workers of the app's store, and what a worker inside this process counts.

    Who reaches it reads the names of queues and tasks. Needs `windlass[prometheus]`.
    """
    from windlass.observe.prometheus import Metrics

    metrics, router = Metrics(), APIRouter()
    metrics.subscribe(app.events)

    @router.get("/metrics", include_in_schema=False)
    async def scrape() -> Response:
        try:
            broker = await app.broker()
        except BrokerError:
            broker = None
        return Response(await metrics.scrape(broker), media_type="text/plain; version=0.0.4")

    return router


__all__ = [
    "Accepted",
    "Acceptor",
    "Access",
    "JobAccepted",
    "Role",
    "Sees",
    "TaskBatch",
    "Tasks",
    "dashboard",
    "jobs_router",
    "meta_of",
    "metrics_router",
]
