"""The studio without a browser: upload the sample over HTTP, follow its jobs, and verify everything that comes out."""

from __future__ import annotations

import http.client
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import video
from PIL import Image

SAMPLE = Path(__file__).resolve().parent / "media" / "bigbuckbunny.mp4"
SILENCE = 120.0
"""Seconds in which nothing happens to any job, after which we give up."""


class Wrong(Exception):
    """Something is not as it should be."""


def once(address: str, check_all_live: Callable[[], None]) -> int:
    """Do it; 0 when all is right, else 1 and the reason on stderr. `check_all_live` raises when a process has ended."""
    host, began = address.removeprefix("http://"), time.monotonic()
    try:
        entry = _upload(host)
        print(f"uploaded {SAMPLE.name} ({SAMPLE.stat().st_size:,} bytes)")
        jobs = _follow(host, entry, check_all_live)
        with tempfile.TemporaryDirectory() as folder:
            rows = [_verify(host, entry, piece, jobs[piece["title"]], Path(folder)) for piece in entry["pieces"]]
    except (Wrong, OSError, http.client.HTTPException, video.NotAVideo, video.FfmpegFailed) as error:
        print(f"studio: {error}", file=sys.stderr)
        return 1
    print(f"\n{'':16}{'size':>12}{'length':>9}{'bytes':>12}{'took':>9}")
    for title, size, length, count, took in rows:
        print(f"{title:16}{size:>12}{length:>9}{count:>12,}{took:>7.1f} s")
    print(f"\nall verified, {time.monotonic() - began:.1f} s from upload to result")
    return 0


def _answer(host: str, method: str, path: str, body: Any = None) -> bytes:
    connection = http.client.HTTPConnection(host, timeout=SILENCE)
    try:
        headers = {"Content-Length": str(SAMPLE.stat().st_size)} if body else {}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        data = response.read()
    finally:
        connection.close()
    if response.status not in (200, 202):
        raise Wrong(f"{method} {path} answered {response.status}: {data.decode(errors='replace')[:300]}")
    return data


def _upload(host: str) -> dict[str, Any]:
    with SAMPLE.open("rb") as file:
        return dict(json.loads(_answer(host, "POST", f"/videos?name={quote(SAMPLE.name)}", file)))


def _follow(host: str, entry: dict[str, Any], check_all_live: Callable[[], None]) -> dict[str, dict[str, Any]]:
    """Read the event stream to its end, and say what happens; the last that was said of each piece."""
    jobs: dict[str, dict[str, Any]] = {}
    connection = http.client.HTTPConnection(host, timeout=SILENCE)
    try:
        connection.request("GET", f"/videos/{entry['id']}/events")
        for kind, data in _events(connection.getresponse(), check_all_live):
            if kind == "end":
                break
            if kind != "job":
                continue
            if data["state"] != jobs.get(data["piece"], {}).get("state"):
                print(f"  {data['piece']:14} {data['state']}", flush=True)
            jobs[data["piece"]] = data
        else:
            raise Wrong("the event stream broke off")
    finally:
        connection.close()
    return jobs


def _events(lines: http.client.HTTPResponse, check_all_live: Callable[[], None]) -> Iterator[tuple[str, Any]]:
    kind, heard = "", time.monotonic()
    for line in lines:  # in silence, a comment every few seconds
        check_all_live()
        if time.monotonic() - heard > SILENCE:
            raise Wrong(f"nothing has happened for {SILENCE:.0f} s")
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            heard = time.monotonic()
            yield kind, json.loads(value)


Row = tuple[str, str, str, int, float]


def _verify(host: str, entry: dict[str, Any], piece: dict[str, Any], job: dict[str, Any], folder: Path) -> Row:
    title = piece["title"]
    if job["state"] != "succeeded":
        raise Wrong(f"{title} {job['state']}: {job.get('error') or job.get('reason')}")
    took = job["finished"] - job["started"]
    source = video.probe(SAMPLE)
    if piece["file"] is None:
        facts = json.loads(_answer(host, "GET", f"/jobs/{job['id']}/result"))
        _expect(title, (facts["width"], facts["height"]), (source.width, source.height))
        return title, f"{source.width}x{source.height}", f"{facts['duration']:.2f} s", facts["size"], took
    path = folder / piece["file"]
    path.write_bytes(_answer(host, "GET", f"/videos/{entry['id']}/files/{piece['file']}"))
    if piece["kind"] == "sheet":
        with Image.open(path) as image:
            image.load()
            _expect(title, image.size, video.sheet_size(source))
        return title, f"{image.width}x{image.height}", "", path.stat().st_size, took
    made = video.probe(path)
    video.check(path)
    _expect(title, (made.width, made.height), (piece["width"], piece["height"]))
    if abs((made.duration or 0) - (source.duration or 0)) > video.TOLERANCE:
        raise Wrong(f"{title} is {made.duration} s long, and its source {source.duration} s")
    return title, f"{made.width}x{made.height}", f"{made.duration:.2f} s", path.stat().st_size, took


def _expect(title: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    if size != expected:
        raise Wrong(f"{title} is {size[0]}x{size[1]}, not {expected[0]}x{expected[1]}")
