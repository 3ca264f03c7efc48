"""`dashboard`: the JSON API and the pages of the dashboard, as one FastAPI router behind one gate."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.openapi.utils import get_openapi

from windlass.app import Windlass
from windlass.web.admin import actions, audit, page, reads, schedules, workflows
from windlass.web.admin.access import Viewer, gate, local
from windlass.web.problems import Problem, documented
from windlass.web.router import ProblemRoute, opening

API = "/api/v1"
DEVELOPMENT = "development"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'self'",
            "base-uri 'self'",
            "form-action 'self'",
            "object-src 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        )
    ),
}
"""Of every answer. What an answer does not say otherwise, nobody may keep."""

logger = logging.getLogger("windlass.web")


def dashboard(
    app: Windlass,
    *,
    auth: Any = None,
    show_arguments: bool | None = None,
    environment: str | None = None,
) -> APIRouter:
    """The dashboard of the app and its JSON API: `api.include_router(dashboard(app, auth=Depends(staff)), prefix="/windlass")`.

    The router's lifespan opens and closes the app.
    auth: a FastAPI dependency that gives "viewer", "operator" or "admin" (or a `Role`, or an `Access` with the name for the audit log), or
    None for who may see nothing. Without it, only requests from the same machine are answered.
    environment: shown on every page, "production" for example; by default $WINDLASS_ENVIRONMENT, or $FASTAPI_ENV (which `fastapi dev`
    sets), or "development" without `auth`.
    show_arguments: show what jobs carry and return to everybody who may look; otherwise an admin may reveal them one by one. By default
    only in the environment "development".
    """
    if auth is None:
        logger.warning("%r: the dashboard has no auth=, and is open to its own machine only", app)
    environment = environment or os.environ.get("WINDLASS_ENVIRONMENT") or os.environ.get("FASTAPI_ENV") or ""
    if not environment and auth is None:
        environment = DEVELOPMENT
    shown = environment == DEVELOPMENT if show_arguments is None else show_arguments
    router = APIRouter(
        lifespan=opening(app),
        route_class=_Route,
        dependencies=[Depends(gate(auth or local))],
        include_in_schema=False,
    )
    router.include_router(_api(app, shown), prefix=API)
    page.add(router, app, environment)
    return router


def _api(app: Windlass, show_arguments: bool) -> APIRouter:
    api = APIRouter(
        route_class=_Route,
        tags=["windlass"],
        responses=documented(_403="Not for this role", _422="Invalid request", _503="The job store cannot be reached"),
    )
    reads.add(api, app, show_arguments)
    actions.add(api, app, show_arguments)
    schedules.add_actions(api, app)
    workflows.add_actions(api, app)
    audit.add(api, app)

    @api.get("/openapi.json", include_in_schema=False)
    async def openapi(_: Viewer) -> dict[str, Any]:
        return get_openapi(title="Windlass", version="1", routes=api.routes)

    return api


class _Route(ProblemRoute):
    """A route of the dashboard: its answers carry the `HEADERS`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                response = await handle(request)
            except Problem as problem:
                problem.headers = {**HEADERS, "Cache-Control": "no-store", **(problem.headers or {})}
                raise
            for name, value in {**HEADERS, "Cache-Control": "no-store"}.items():
                response.headers.setdefault(name, value)
            return response

        return handler
