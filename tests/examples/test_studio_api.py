"""The studio over HTTP, with its worker: what it takes, what it refuses, and how it is followed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from studio_server import FOLDER, SAMPLE, Studio, make_clip

pytestmark = pytest.mark.xdist_group("studio")


@pytest.fixture
async def client(studio: Studio) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=studio.address, timeout=60) as client:
        yield client


async def events(client: httpx.AsyncClient, path: str, last: str | None = None) -> AsyncIterator[tuple[str, str, Any]]:
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

    path, states = f"/videos/{entry['id']}/events", dict[str, str]()
    async for kind, _, data in events(client, path):
        if kind == "job":
            states[data["id"]] = data["state"]
    assert states == {piece["job"]: "succeeded" for piece in entry["pieces"]}

    part = await client.get(f"/videos/{entry['id']}/files/240p.mp4", headers={"Range": "bytes=0-99"})
    assert (part.status_code, part.headers["Content-Type"], len(part.content)) == (206, "video/mp4", 100)
    facts = (await client.get(f"/jobs/{entry['pieces'][0]['job']}/result")).json()
    assert (facts["frames"], facts["codec"]) == (132, "h264")
    assert studio.parts() == []


async def test_a_stream_that_broke_off_goes_on_where_it_was(client: httpx.AsyncClient, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 180, 2)
    entry = (await client.post("/videos", content=clip.read_bytes())).json()
    path = f"/videos/{entry['id']}/events"
    whole = [(kind, where, data) async for kind, where, data in events(client, path)]
    logs = [(data["id"], data["line"]) for kind, _, data in whole if kind == "log"]
    at = next(number for number, (kind, _, _) in enumerate(whole) if kind == "log")
    rest = [(kind, data) async for kind, _, data in events(client, path, last=whole[at][1])]
    again = [(data["id"], data["line"]) for kind, data in rest if kind == "log"]
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
