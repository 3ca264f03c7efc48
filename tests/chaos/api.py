"""An API process that enqueues jobs of the program."""

from __future__ import annotations

from fastapi import FastAPI
from program import app

from windlass.fastapi import Accepted, JobAccepted, Tasks, jobs_router

quick = app.get_task("quick")
api = FastAPI()
api.include_router(jobs_router(app), prefix="/jobs")


@api.post("/one/{number}", status_code=202)
async def one(number: int, accept: Accepted) -> JobAccepted:
    """Enqueue one job."""
    return await accept(quick.bind(number))


@api.post("/many/{first}/{count}", status_code=202)
async def many(first: int, count: int, tasks: Tasks) -> list[str]:
    """Enqueue many, all or none."""
    for number in range(first, first + count):
        tasks.add_task(quick, number)
    return [handle.id for handle in tasks.handles]
