"""`jobs_router`: status, result, events and cancel of an app's jobs, as a FastAPI router."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.routing import NoMatchFound

from windlass.app import Windlass
from windlass.core.ids import check_id
from windlass.core.job import Job, Progress
from windlass.core.state import State
from windlass.errors import BrokerError, ConfigurationError, InvalidArguments, JobNotFound
from windlass.web.jobs import JobView, Links, ProgressView, changed, etag, matches, result_of, retry_after, view
from windlass.web.problems import Problem, documented, not_found, problems
from windlass.web.readable import check_readable
from windlass.web.sse import EventStream, Message
from windlass.worker.runner import working

Sees = Callable[[Job], bool]
"""Decides whether a request may see a job; when not, the job does not exist for it."""

LONGEST_WAIT = 30.0
"""Seconds that one request may wait for a change."""

_EVENT = {
    "id": {"type": "string"},
    "event": {"enum": ["state", "progress", "log", "chunk", "end"]},
    "data": {"type": "string", "contentMediaType": "application/json"},
}

logger = logging.getLogger("windlass.web")


def everyone() -> Sees:
    """The dependency that lets every request see every job."""
    return lambda job: True


def jobs_router(
    app: Windlass,
    *,
    worker: bool = False,
    visible: Callable[..., Sees | Coroutine[Any, Any, Sees]] = everyone,
    expose_traceback: bool = False,
) -> APIRouter:
    """Status, result, events (SSE) and cancel of the app's jobs. The router's lifespan opens and closes the app.

    worker: run a worker inside the API process (development, small deployments); it needs the store at the start.
    visible: a FastAPI dependency that gives a predicate, for example
    `def mine(user: User = Depends(current_user)): return lambda job: meta_of(job).get("owner") == user.id`.
    expose_traceback: show clients the traceback of a failed job.
    Raises `ConfigurationError` when FastAPI cannot read an annotation of `visible`.
    """
    router = APIRouter(
        lifespan=opening(app, worker),
        route_class=ProblemRoute,
        tags=["jobs"],
        responses=documented(_404="No such job", _422="Invalid request", _503="The job store cannot be reached"),
    )
    desk = _Desk(app, visible, expose_traceback)
    for add in (_add_status, _add_result, _add_events, _add_cancel):
        add(router, desk)
    return router


def opening(app: Windlass, worker: bool = False) -> Callable[[Any], Any]:
    """The lifespan of a router of the app: opens and closes it, with a worker inside if that is asked for."""

    @asynccontextmanager
    async def lifespan(api: Any) -> AsyncGenerator[None]:
        served = api.state.__dict__.setdefault("windlass", {})
        if served.setdefault(app.name, app) is not app:
            raise ConfigurationError(f"this API serves two apps called {app.name!r}; give one another name=...")
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(app.lifespan())
            if worker:
                logger.warning("%r: a worker runs inside this API process; in production use `windlass worker`", app)
                await stack.enter_async_context(working(app))
            yield

    return lifespan


def links_to(request: Request, app: str, job_id: str) -> Links | None:
    """The paths of a job of the app called `app`; None when no router of that app serves this API."""
    try:
        return Links(**{what: request.url_for(_route(app, what), job_id=job_id).path for what in Links.model_fields})
    except NoMatchFound:
        return None


def _route(app: str, what: str) -> str:
    return f"windlass-{app}-{what}"


class ProblemRoute(APIRoute):
    """A route whose errors are problems, also those that FastAPI finds itself."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            async with problems(request):
                try:
                    return await handle(request)
                except RequestValidationError as error:
                    said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
                    raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", said) from None

        return handler


class _Desk:
    """What the endpoints of one router share."""

    def __init__(self, app: Windlass, visible: Callable[..., Any], traceback: bool) -> None:
        check_readable(visible, "visible= of jobs_router")
        self.app = app
        self.found: Any = Depends(self._finder(visible))
        self._traceback = traceback

    def _finder(self, visible: Callable[..., Any]) -> Callable[..., Any]:
        async def found(job_id: str, sees: Sees = Depends(visible)) -> Job:
            try:
                (job,) = await (await self.app.broker()).get([check_id(job_id)])
            except InvalidArguments:
                raise not_found() from None
            if job is None or not sees(job):
                raise not_found()
            return job

        return found

    def view(self, request: Request, job: Job) -> JobView:
        """The job for this client."""
        return view(job, links_to(request, self.app.name, job.id), traceback=self._traceback)

    def answer(self, request: Request, job: Job, status: int = HTTPStatus.OK) -> Response:
        """The job as a response, with what tells a client when to come again."""
        body = self.view(request, job).model_dump_json().encode()
        headers = {"ETag": etag(body), "Cache-Control": "no-cache"}
        if not job.state.finished:
            headers["Retry-After"] = retry_after(job)
        return Response(body, status, headers, "application/json")


def _add_status(router: APIRouter, desk: _Desk) -> None:
    @router.get(
        "/{job_id}",
        name=_route(desk.app.name, "self"),
        summary="Where a job stands",
        response_model=JobView,
        responses={304: {"description": "Not changed since the given ETag"}},
    )
    async def status(
        request: Request,
        job: Job = desk.found,
        wait: Annotated[float, Query(ge=0, description="seconds to wait for a change, at most 30")] = 0.0,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """With `wait`, answers once the job is different: from what `If-None-Match` names, or from what it was when asked."""
        response = desk.answer(request, job)
        if wait > 0 and (if_none_match is None or matches(if_none_match, response.headers["ETag"])):
            later = await changed(await desk.app.broker(), job, min(wait, LONGEST_WAIT))
            if later is None:
                raise not_found()
            response = desk.answer(request, later)
        if matches(if_none_match, response.headers["ETag"]):
            headers = {name: text for name, text in response.headers.items() if not name.startswith("content-")}
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return response


def _add_result(router: APIRouter, desk: _Desk) -> None:
    @router.get(
        "/{job_id}/result",
        name=_route(desk.app.name, "result"),
        summary="What a job returned",
        response_model=Any,
        responses={
            202: {"description": "Not finished; see Retry-After", "model": JobView},
            **documented(_409="It failed or was cancelled", _500="What is stored is no result"),
        },
    )
    async def result(request: Request, job: Job = desk.found) -> Response:
        if job.state is State.SUCCEEDED:
            return Response(result_of(job), media_type="application/json")
        if not job.state.finished:
            return desk.answer(request, job, HTTPStatus.ACCEPTED)
        if job.state is State.CANCELLED:
            detail = f"the job was cancelled: {job.reason or 'no reason given'}"
            raise Problem(HTTPStatus.CONFLICT, "job-cancelled", detail, id=job.id)
        detail = f"{job.error.type}: {job.error.message}" if job.error else "no reason recorded"
        shown = desk.view(request, job).model_dump(mode="json", include={"error"}, exclude_none=True)
        raise Problem(HTTPStatus.CONFLICT, "job-failed", detail, id=job.id, **shown)


def _add_events(router: APIRouter, desk: _Desk) -> None:
    event = {"content": {EventStream.media_type: {"schema": {"type": "object", "properties": _EVENT}}}}

    @router.get(
        "/{job_id}/events",
        name=_route(desk.app.name, "events"),
        summary="Follow a job",
        status_code=HTTPStatus.OK,
        response_class=EventStream,
        responses={200: event, 204: {"description": "The end was seen; do not come again"}},
    )
    async def events(
        request: Request,
        job: Job = desk.found,
        after: Annotated[int, Query(ge=0, lt=1 << 53, description="the id of the last event seen")] = 0,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Server-sent events: `state`, `progress`, `log`, `chunk`, and `end` with the finished job. Resumable by `Last-Event-ID`."""
        if last_event_id and last_event_id.isdecimal() and len(last_event_id) < 16:
            after = int(last_event_id)
        if job.state.finished and after and await _end_was_seen(desk.app, job, after):
            return Response(status_code=HTTPStatus.NO_CONTENT)
        return EventStream(_messages(desk, request, job.id, after))


async def _end_was_seen(app: Windlass, job: Job, after: int) -> bool:
    """The end is numbered after the last entry, which is always kept: so it was seen when no entry has the number `after` or more."""
    reading = await (await app.broker()).read(job.id, after=after - 1)
    return reading is not None and reading.end is not None and not reading.entries


async def _messages(desk: _Desk, request: Request, job_id: str, after: int) -> AsyncGenerator[Message]:
    try:
        async with aclosing(desk.app.job(job_id).events(after=after)) as events:
            async for event in events:
                data = event.data
                if isinstance(data, State):
                    data = {"state": data, "attempt": event.attempt}
                elif isinstance(data, Progress):
                    data = ProgressView.model_validate(data)
                elif isinstance(data, Job):
                    data = desk.view(request, data)
                if event.kind != "checkpoint":
                    yield Message(event.kind, data, event.id)
    except (BrokerError, JobNotFound):
        return  # the client comes again, resumes, and is told what is wrong


def _add_cancel(router: APIRouter, desk: _Desk) -> None:
    @router.post(
        "/{job_id}/cancel",
        name=_route(desk.app.name, "cancel"),
        summary="Cancel a job",
        status_code=HTTPStatus.ACCEPTED,
        response_model=JobView,
        responses=documented(_409="It has finished already"),
    )
    async def cancel(request: Request, job: Job = desk.found) -> Response:
        """At once when it has not started; what runs is told within a second and cleans up first."""
        handle = desk.app.job(job.id)
        state = job.state if job.state.finished else await handle.cancel()
        if job.state.finished or state in (State.SUCCEEDED, State.FAILED):
            raise Problem(HTTPStatus.CONFLICT, "job-finished", f"the job has finished already: {state}", id=job.id)
        return desk.answer(request, await handle.info(), HTTPStatus.ACCEPTED)
