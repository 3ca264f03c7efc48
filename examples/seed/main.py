"""Where this project began: an upload that must not wait for ten minutes of work.

uvicorn main:api
windlass worker main:app
"""

import os
import time

from fastapi import FastAPI

from windlass import Windlass
from windlass.fastapi import jobs_router

app = Windlass()
api = FastAPI()
api.include_router(jobs_router(app), prefix="/jobs")


@app.task(lane="process")
def process_video_heavy(video_id: str) -> str:
    time.sleep(1)  # ten minutes, with a real video
    return f"{video_id} was processed by process {os.getpid()}"


@api.post("/upload", status_code=202)
async def upload_video(video_id: str) -> dict[str, str]:
    job = process_video_heavy.delay(video_id)
    return {"status": "accepted", "job": job.id}
