"""The studio over HTTP, with its worker: what it takes, what it refuses, and how it is followed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from studio_server import FOLDER, SAMPLE, Studio, make_clip, parent, running_studio, until

pytestmark = pytest.mark.xdist_group("studio")


@pytest.fixture
async def client(studio: Studio) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=studio.address, timeout=60) as client:
        yield client


async def events(client: httpx.AsyncClient, path: str, last: str | None = None) -> AsyncGenerator[tuple[str, str, Any]]:
    """Name, id and data of each event, to the end of the stream."""
    async with client.stream("GET", path, headers={"Last-Event-ID": last} if last else {}) as response:
        response.raise_for_status()
        fields: dict[str, str] = {}
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
            elif "event" in fields:
                yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
                fields = {}


async def followed(client: httpx.AsyncClient, video_id: str) -> dict[str, Any]:
    """What was said last of each piece of a video, at the end of it all."""
    stream = events(client, f"/videos/{video_id}/events")
    return {data["piece"]: data async for kind, _, data in stream if kind == "job"}


def test_once_makes_and_verifies_everything() -> None:
    """Show 1."""
    done = subprocess.run(
        [sys.executable, "run.py", "--once"], cwd=FOLDER, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    for said in ("854x480", "640x360", "426x240", "1320x572", "all verified"):
        assert said in done.stdout


async def test_an_upload_is_answered_before_it_is_worked_on_and_leads_to_its_files(
    client: httpx.AsyncClient, studio: Studio
) -> None:
    accepted = await client.post("/videos", params={"name": "Bunny"}, content=SAMPLE.read_bytes())
    assert accepted.status_code == 202
    entry = accepted.json()
    assert [piece["title"] for piece in entry["pieces"]] == ["Probe", "480p", "360p", "240p", "Contact sheet"]
    assert (await client.get(accepted.headers["Location"])).json() == entry

    jobs = await followed(client, entry["id"])
    assert {title: job["state"] for title, job in jobs.items()} == {
        piece["title"]: "succeeded" for piece in entry["pieces"]
    }

    part = await client.get(f"/videos/{entry['id']}/files/240p.mp4", headers={"Range": "bytes=0-99"})
    assert (part.status_code, part.headers["Content-Type"], len(part.content)) == (206, "video/mp4", 100)
    facts = (await client.get(f"/jobs/{jobs['Probe']['id']}/result")).json()
    assert (facts["frames"], facts["codec"]) == (132, "h264")
    assert studio.parts() == []


async def test_a_killed_worker_costs_the_rendition_in_hand_and_no_finished_one(
    client: httpx.AsyncClient, studio: Studio, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 180, 3)
    entry = (await client.post("/videos", content=clip.read_bytes())).json()
    folder = studio.data / "videos" / entry["id"]
    (encoder,) = await asyncio.to_thread(until, lambda: studio.encoders("144p.mp4"), "144p is being encoded")
    os.kill(encoder, signal.SIGSTOP)  # so that it is the one that has not finished
    async with aclosing(events(client, f"/videos/{entry['id']}/events")) as stream:
        async for kind, _, data in stream:
            if kind == "job" and (data["piece"], data["state"]) == ("96p", "succeeded"):
                break
    made = (folder / "96p.mp4").stat().st_mtime_ns
    os.kill(parent(parent(encoder)), signal.SIGKILL)

    jobs = await followed(client, entry["id"])
    told = {title: (job["state"], job["attempt"], job["crashes"]) for title, job in jobs.items()}
    assert told.pop("144p") == ("succeeded", 1, 1)
    assert told.pop("Contact sheet")[0] == "succeeded"
    assert told == {"Probe": ("succeeded", 1, 0), "96p": ("succeeded", 1, 0)}
    assert (folder / "96p.mp4").stat().st_mtime_ns == made
    published = (await client.get(f"/jobs/{entry['job']}/result")).json()
    assert [one["file"] for one in published] == ["144p.mp4", "96p.mp4", "contact-sheet.jpg"]


async def test_what_was_running_goes_on_after_a_restart(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 180, 3)
    with running_studio(tmp_path / "data", WINDLASS_SHUTDOWN_TIMEOUT="1s") as studio:
        async with httpx.AsyncClient(base_url=studio.address, timeout=60) as client:
            entry = (await client.post("/videos", content=clip.read_bytes())).json()
        (encoder,) = await asyncio.to_thread(until, lambda: studio.encoders("144p.mp4"), "144p is being encoded")
        os.kill(encoder, signal.SIGSTOP)  # so that it does not finish before the stop
    assert not (tmp_path / "data" / "videos" / entry["id"] / "144p.mp4").exists()
    with running_studio(tmp_path / "data") as studio:
        async with httpx.AsyncClient(base_url=studio.address, timeout=60) as client:
            jobs = await followed(client, entry["id"])
            assert {job["state"] for job in jobs.values()} == {"succeeded"}
            assert len((await client.get(f"/jobs/{entry['job']}/result")).json()) == 3


async def test_what_a_flow_never_came_to_is_told_as_cancelled(client: httpx.AsyncClient, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 180, 1)
    entry = (await client.post("/videos", content=clip.read_bytes())).json()
    await client.post(f"/videos/{entry['id']}/cancel")
    jobs = await followed(client, entry["id"])
    assert list(jobs) != []
    assert {job["state"] for job in jobs.values()} <= {"cancelled", "succeeded"}
    assert jobs.keys() == {piece["title"] for piece in entry["pieces"]}


async def test_a_stream_that_broke_off_goes_on_where_it_was(client: httpx.AsyncClient, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 180, 2)
    entry = (await client.post("/videos", content=clip.read_bytes())).json()
    path = f"/videos/{entry['id']}/events"
    whole = [(kind, where, data) async for kind, where, data in events(client, path)]
    logs = [(data["piece"], data["line"]) for kind, _, data in whole if kind == "log"]
    at = next(number for number, (kind, _, _) in enumerate(whole) if kind == "log")
    rest = [(kind, data) async for kind, _, data in events(client, path, last=whole[at][1])]
    again = [(data["piece"], data["line"]) for kind, data in rest if kind == "log"]
    assert logs[0] not in again
    assert sorted([logs[0], *again]) == sorted(logs)
    assert rest[-1][0] == "end"


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"not a video, whatever its name says", 422, "“clip.mp4” cannot be used: this is not a video"),
        (b"", 422, "empty"),
        (bytes(3_000_001), 413, "at most 3 MB"),
    ],
    ids=["no video", "empty", "too large"],
)
async def test_what_cannot_be_used_is_refused_and_leaves_nothing_behind(
    client: httpx.AsyncClient, studio: Studio, content: bytes, status: int, said: str
) -> None:
    before = set(studio.data.glob("videos/*"))
    refused = await client.post("/videos", params={"name": "clip.mp4"}, content=content)
    assert refused.status_code == status
    assert said in refused.json()["detail"]
    assert list(studio.data.glob("uploads/*")) == []
    assert set(studio.data.glob("videos/*")) == before


async def test_an_upload_that_does_not_tell_its_size_is_limited_too(client: httpx.AsyncClient, studio: Studio) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(31):
            yield bytes(100_000)

    refused = await client.post("/videos", content=chunks())
    assert refused.status_code == 413
    assert list(studio.data.glob("uploads/*")) == []


@pytest.mark.parametrize(
    "path",
    [
        "/videos/0123456789abcdef",
        "/videos/..%2F..%2Fwindlass/files/source",
        "/videos/0123456789abcdef/events",
        "/v/..%2F..%2Fetc",
    ],
)
async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_only_what_was_made_can_be_downloaded(client: httpx.AsyncClient, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 180, 1)
    entry = (await client.post("/videos", content=clip.read_bytes())).json()
    for name in ("source", "video.json", "..%2F..%2Fwindlass.db"):
        assert (await client.get(f"/videos/{entry['id']}/files/{name}")).status_code == 404
    assert (await client.post(f"/videos/{entry['id']}/cancel")).status_code == 202


async def test_the_page_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "Big Buck Bunny" in page.text
    assert "Blender Foundation" in page.text
    for file in ("style.css", "studio.js", "icon.svg"):
        found = await client.get(f"/page/{file}")
        assert found.status_code == 200
        assert "http://" not in found.text.replace("http://www.w3.org/", "")
        assert "https://" not in found.text
