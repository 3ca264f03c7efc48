"""The API and its page: `uvicorn api:api`, and beside it `windlass worker tasks:app`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, HTTPException, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from tasks import Picture, Prompt, app, paint

from windlass import InvalidArguments
from windlass.errors import JobError, JobNotFound, ResultTimeout
from windlass.fastapi import Accepted, JobAccepted, dashboard, jobs_router

PAGE = Path(__file__).resolve().parent / "page"

api = FastAPI(title="Pictures")
api.include_router(jobs_router(app), prefix="/jobs")
api.include_router(dashboard(app), prefix="/windlass")
api.mount("/page", StaticFiles(directory=PAGE))


@api.get("/", include_in_schema=False)
async def index() -> FileResponse:
    """The page."""
    return FileResponse(PAGE / "index.html")


@api.post("/pictures", status_code=202)
async def order(prompt: Prompt, accept: Accepted) -> JobAccepted:
    """Take a prompt; answers at once. Previews come at /jobs/{id}/events, the picture is at /pictures/{id}."""
    return await accept(paint.bind(prompt))


@api.get("/pictures/{job_id}", responses={200: {"content": {"image/png": {}}}})
async def picture(job_id: Annotated[str, InPath(max_length=36)]) -> Response:
    """The picture, once it is there: waits for it up to half a minute."""
    try:
        made: Picture = await app.job(job_id).result(timeout=30)
    except (InvalidArguments, JobNotFound):
        raise HTTPException(404, "there is no such picture") from None
    except ResultTimeout:
        raise HTTPException(503, "it is not painted yet", {"Retry-After": "5"}) from None
    except JobError as error:
        raise HTTPException(410, str(error)) from None
    return Response(made.png, media_type="image/png")
