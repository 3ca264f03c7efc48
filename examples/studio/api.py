"""The studio's API: takes a video, stores the flow that publishes it, shows how it goes. `python api.py FD` serves on an open socket."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import sys
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Annotated, Any

import anyio
import library
import msgspec
import tasks
import uvicorn
import video
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles
from library import Entry, Piece
from starlette.requests import ClientDisconnect

from windlass import Job, JobEvent, JobNotFound
from windlass.fastapi import Tasks, dashboard, jobs_router, meta_of

if os.environ.get("STUDIO_BUSY"):
    import busy  # noqa: F401  # registers its tasks, so that the dashboard knows them

LIMIT = int(os.environ.get("STUDIO_UPLOAD_LIMIT") or 200_000_000)
"""Bytes of the largest upload."""

PAGE = library.HERE / "page"
SAMPLE = library.HERE / "media" / "bigbuckbunny.mp4"
HEADERS = {"Content-Security-Policy": "default-src 'self'; img-src 'self' data:", "X-Content-Type-Options": "nosniff"}

api = FastAPI(title="Studio")
api.include_router(jobs_router(tasks.app), prefix="/jobs")
api.include_router(dashboard(tasks.app), prefix="/windlass")
api.mount("/page", StaticFiles(directory=PAGE))
closing = asyncio.Event()
FLOW = ""
"""In the place of a piece: the flow itself."""


# --- the page -------------------------------------------------------------------------------------------------


@api.get("/", include_in_schema=False)
@api.get("/v/{video_id}", include_in_schema=False)
async def index() -> FileResponse:
    """The page; which video it shows it reads from its own address."""
    return FileResponse(PAGE / "index.html", headers={**HEADERS, "Cache-Control": "no-cache"})


@api.get("/sample.mp4", include_in_schema=False)
async def sample() -> FileResponse:
    """The clip that comes with the studio."""
    return FileResponse(SAMPLE)


@api.get("/limits")
async def limits() -> dict[str, int]:
    """What may be uploaded."""
    return {"upload_bytes": LIMIT}


# --- taking a video -------------------------------------------------------------------------------------------


@api.post("/videos", status_code=202)
async def upload(
    request: Request, response: Response, jobs: Tasks, name: Annotated[str, Query(max_length=200)] = "video"
) -> Entry:
    """Take a video (the body of the request), and have it published. Answers before that has begun.

    413: too large. 422: not a video.
    """
    video_id = uuid.uuid4().hex
    incoming = library.UPLOADS / video_id
    incoming.mkdir(parents=True)
    try:
        size = await _receive(request, incoming / "source")
        found = await asyncio.to_thread(video.probe, incoming / "source")
        library.VIDEOS.mkdir(parents=True, exist_ok=True)
        incoming.rename(library.folder(video_id))
    except video.NotAVideo as error:
        raise HTTPException(422, f"“{name}” cannot be used: {error}") from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise HTTPException(507, "there is no room left for the video on the server") from None
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    # The id is known before the job is stored: `Tasks` does that once this function has returned.
    jobs.add_task(tasks.publish, video_id)
    entry = Entry(
        id=video_id,
        job=jobs.handles[0].id,
        name=name,
        size=size,
        width=found.width,
        height=found.height,
        duration=found.duration,
        pieces=_pieces(found),
    )
    entry.save()
    response.headers["Location"] = api.url_path_for("show", video_id=video_id)
    return entry


async def _receive(request: Request, path: Path) -> int:
    """Write the body of a request to a file as it comes in, and count it."""
    too_large = HTTPException(413, f"the video is too large: at most {LIMIT // 1_000_000} MB can be uploaded")
    if int(request.headers.get("Content-Length") or 0) > LIMIT:
        raise too_large
    size = 0
    async with await anyio.open_file(path, "wb") as file:
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > LIMIT:
                    raise too_large
                await file.write(chunk)
        except ClientDisconnect:
            raise HTTPException(400, "the upload was broken off") from None
    if size == 0:
        raise HTTPException(422, "the upload is empty")
    return size


def _pieces(found: video.Video) -> list[Piece]:
    pieces = [Piece(kind="probe", title="Probe")]
    for short in found.renditions():
        width, height = found.scaled(short)
        file = tasks.rendition_name(width, height)
        pieces.append(Piece(kind="rendition", title=f"{short}p", file=file, width=width, height=height))
    width, height = video.sheet_size(found)
    return [*pieces, Piece(kind="sheet", title="Contact sheet", file=tasks.SHEET, width=width, height=height)]


# --- showing it -----------------------------------------------------------------------------------------------


async def _find(video_id: str) -> Entry:
    entry = library.find(video_id) if video_id.isalnum() else None
    if entry is None:
        raise HTTPException(404, "there is no such video")
    return entry


Found = Annotated[Entry, Depends(_find)]


@api.get("/videos/{video_id}")
async def show(entry: Found) -> Entry:
    """A video, and what becomes of it."""
    return entry


@api.get("/videos/{video_id}/files/{file}")
async def download(entry: Found, file: str) -> FileResponse:
    """Something that was made of the video."""
    path = library.folder(entry.id) / file
    if file not in {piece.file for piece in entry.pieces} or not path.exists():
        raise HTTPException(404, "there is no such file (yet)")
    return FileResponse(path, headers={"X-Content-Type-Options": "nosniff"})


@api.post("/videos/{video_id}/cancel", status_code=202)
async def cancel_all(entry: Found) -> None:
    """Cancel what has not finished."""
    with suppress(JobNotFound):  # finished so long ago that it is not kept any more
        await tasks.app.job(entry.job).cancel()


@api.get("/videos/{video_id}/events", response_class=EventSourceResponse)
async def follow(
    entry: Found,
    after: Annotated[str, Query(description="the id of the last event seen")] = "",
    last_event_id: Annotated[str | None, Header()] = None,
) -> AsyncIterable[ServerSentEvent]:
    """All jobs of a video in one stream: `job` when something about one changed, `log`, and `end` when all have ended.

    `/jobs/{id}/events` follows a single job; but a browser opens six connections to a host, and the players need theirs.
    An event's id holds how far each job was seen, so that a client that comes again misses nothing.
    """
    pieces = [FLOW, *[piece.title for piece in entry.pieces]]
    seen, begun = dict(zip(pieces, _positions(last_event_id or after, len(pieces)), strict=True)), {FLOW}
    async with aclosing(_merged(entry.job, seen)) as events:
        async for piece, job_id, event in events:
            seen[piece] = event.id or seen[piece]
            begun.add(piece)
            where = ".".join(map(str, seen.values()))
            if piece == FLOW:
                continue  # that it goes on is seen by its jobs
            if event.kind == "log":
                yield ServerSentEvent(event="log", id=where, data={"piece": piece, "line": event.data.message})
            else:
                yield ServerSentEvent(event="job", id=where, data={"piece": piece, **await _look(job_id)})
    if not closing.is_set():
        kept = (await _look(entry.job))["state"] != "gone"
        for piece in pieces:
            if piece not in begun:  # the flow ended before it came to this
                yield ServerSentEvent(
                    event="job", data={"piece": piece, "id": None, "state": "cancelled" if kept else "gone"}
                )
        yield ServerSentEvent(event="end", data={})


def _positions(text: str, count: int) -> list[int]:
    parts = text.split(".")
    return [int(part) for part in parts] if len(parts) == count and all(map(str.isdecimal, parts)) else [0] * count


async def _merged(flow: str, after: Mapping[str, int]) -> AsyncGenerator[tuple[str, str, JobEvent]]:
    """The events of a flow and of the jobs that it runs, each with its piece and its job, until all have ended or the server closes."""
    queue: asyncio.Queue[tuple[str, str, JobEvent | None]] = asyncio.Queue()
    watched, over = dict[str, asyncio.Task[None]](), set[str]()

    async def watch(piece: str, job_id: str) -> None:
        try:
            async for event in tasks.app.job(job_id).events(after=after[piece]):
                await queue.put((piece, job_id, event))
        except JobNotFound:
            await queue.put((piece, job_id, JobEvent("end", None, None, 0)))
        await queue.put((piece, job_id, None))

    async def close() -> None:
        await closing.wait()
        await queue.put((FLOW, flow, None))

    closer = asyncio.create_task(close())
    watched[flow] = asyncio.create_task(watch(FLOW, flow))
    try:
        while len(over) < len(watched) and not closing.is_set():
            piece, job_id, event = await queue.get()
            if event is None:
                over.add(job_id)
                continue
            if job_id == flow:
                async for job in tasks.app.job(flow).parts():
                    if job.id not in watched:
                        watched[job.id] = asyncio.create_task(watch(meta_of(job)["piece"], job.id))
            yield piece, job_id, event
    finally:
        for task in (closer, *watched.values()):
            task.cancel()
        await asyncio.gather(closer, *watched.values(), return_exceptions=True)


async def _look(job_id: str) -> dict[str, Any]:
    """A job as it is now, as the page shows it: an event only says that it is time to look again."""
    try:
        job: Job = await tasks.app.job(job_id).info()
    except JobNotFound:
        return {"id": job_id, "state": "gone"}
    return {
        "id": job.id,
        "state": job.state,
        "attempt": job.attempt,
        "crashes": job.crashes,
        "cancelling": job.cancelling,
        "share": job.progress.share if job.progress else None,
        "message": job.progress.message if job.progress else "",
        "error": job.error.message if job.error else None,
        "reason": job.reason,
        "started": job.started_at and job.started_at.timestamp(),
        "finished": job.finished_at and job.finished_at.timestamp(),
        "result": msgspec.json.decode(job.result) if job.result else None,
    }


# --- serving --------------------------------------------------------------------------------------------------


class Server(uvicorn.Server):
    """Tells the open event streams that it closes; uvicorn by itself would wait for them."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        closing.set()
        super().handle_exit(sig, frame)


if __name__ == "__main__":
    config = uvicorn.Config(api, log_level="warning", timeout_graceful_shutdown=5)
    Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
