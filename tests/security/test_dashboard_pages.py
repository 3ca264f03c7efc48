"""The pages of the dashboard: what their HTML says, which files are served, and what no path, header or name can do to them."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import AsyncIterator, Callable
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient, Response

from windlass import Windlass, __version__
from windlass.core.ids import new_id
from windlass.core.job import NewJob
from windlass.fastapi import Access, Role, dashboard
from windlass.web.admin import page

_numbers = count()
FRONTEND = Path(__file__).parents[2] / "frontend"
INDEX = """<!doctype html>
<html lang="en">
  <head>
    <base href="/">
    <script type="application/json" id="windlass">{}</script>
    <script type="module" crossorigin src="./assets/index-1a2b3c.js"></script>
  </head>
  <body><div id="page"></div></body>
</html>
"""
SCRIPT = b"export const page = 1;\n" * 100
XSS = [
    "</script><script>alert(1)</script>",
    "</SCRIPT ><svg/onload=alert(1)>",
    "<!--<script>",
    "-->",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "{{constructor.constructor('alert(1)')()}}",
    "javascript:alert(1)//",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;",
    "\u2028alert(1)\u2029",
    "\x00<script>\x1b[31m",
    "＜script＞",
    "\\u003cscript\\u003e",
    "]]><script>alert(1)</script>",
    "{}",
    '<base href="/">',
]


@pytest.fixture
def static(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A built front end, and beside it what must not be served."""
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(INDEX)
    (folder / "mark.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "assets" / "index-1a2b3c.js").write_bytes(SCRIPT)
    (tmp_path / "secret.txt").write_text("geheim")
    (tmp_path / "static-secret.txt").write_text("geheim")
    monkeypatch.setattr(page, "STATIC", folder)
    return folder


@pytest.fixture
async def app() -> AsyncIterator[Windlass]:
    app = Windlass(f"memory://pages-{next(_numbers)}", name="shop")
    async with app.lifespan():
        yield app


@pytest.fixture
def serve(app: Windlass) -> Callable[..., AsyncClient]:
    def make(access: Any = "viewer", *, prefix: str = "/windlass", root_path: str = "", **given: Any) -> AsyncClient:
        api = FastAPI()
        api.include_router(dashboard(app, auth=lambda: access, **given), prefix=prefix)
        return AsyncClient(transport=ASGITransport(app=api, root_path=root_path), base_url="http://shop.example")

    return make


class Seen(HTMLParser):
    """The elements of a page as a browser's parser finds them, and the text in its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.base = ""
        self.boot = ""
        self._in_boot = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.tags.append(tag)
        if tag == "base":
            self.base = told["href"] or ""
        self._in_boot = told.get("id") == "windlass"

    def handle_data(self, data: str) -> None:
        if self._in_boot:
            self.boot += data


TAGS = ["html", "head", "base", "script", "script", "body", "div"]


# --- the pages ----------------------------------------------------------------------------------------------


async def test_every_page_begins_with_the_index(serve: Callable[..., AsyncClient], static: Path) -> None:
    async with serve(Access(Role.OPERATOR, "ann"), environment="production") as client:
        for path in ("", "jobs", "jobs/0199", "queues/a%2Fb", "queues/a.js", "nothing/here", "apiary", "/evil.example"):
            response = await client.get(f"/windlass/{path}")
            seen = Seen(response.text)
            assert (response.status_code, seen.tags, seen.base) == (200, TAGS, "/windlass/"), path
            assert json.loads(seen.boot) == {
                "prefix": "/windlass",
                "app": "shop",
                "role": "operator",
                "name": "ann",
                "environment": "production",
                "version": __version__,
            }


@pytest.mark.parametrize(
    ("prefix", "root_path", "asked", "base"),
    [
        ("", "", "/jobs", "/"),
        ("", "", "/", "/"),
        ("/a/b", "", "/a/b/jobs", "/a/b/"),
        ("/windlass", "/proxy", "/windlass/jobs", "/proxy/windlass/"),
        ("/windlass", "/proxy", "/proxy/windlass/jobs", "/proxy/windlass/"),
        ("", "/proxy/", "/jobs", "/proxy/"),
        ("/x y<&", "", "/x%20y%3C%26/jobs", "/x%20y%3C%26/"),
    ],
)
async def test_it_knows_where_it_is_mounted(
    serve: Callable[..., AsyncClient], static: Path, prefix: str, root_path: str, asked: str, base: str
) -> None:
    async with serve(prefix=prefix, root_path=root_path) as client:
        response = await client.get(asked)
    assert Seen(response.text).base == base
    assert json.loads(Seen(response.text).boot)["prefix"] == unquote(base).rstrip("/")


async def test_no_header_changes_a_page(serve: Callable[..., AsyncClient], static: Path) -> None:
    async with serve() as client:
        plain = await client.get("/windlass/jobs")
        for headers in (
            {"Host": "evil.example"},
            {"Host": "evil.example/x"},
            {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "javascript"},
            {"X-Forwarded-Prefix": "//evil.example", "X-Script-Name": "//evil.example"},
            {"X-Original-URL": "/evil", "X-Rewrite-URL": "/evil"},
            {"Forwarded": "host=evil.example"},
        ):
            tricked = await client.get("/windlass/jobs", headers=headers)
            assert (tricked.text, tricked.headers.raw) == (plain.text, plain.headers.raw), headers


def assert_guarded(response: Response) -> None:
    policy = dict(one.split(" ", 1) for one in response.headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'self'", "base-uri": "'self'", "form-action": "'self'", "object-src": "'none'",
        "frame-ancestors": "'none'", "require-trusted-types-for": "'script'",
    }  # fmt: skip
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "same-origin"
    assert "access-control-allow-origin" not in response.headers


async def test_every_answer_carries_the_headers(serve: Callable[..., AsyncClient], static: Path) -> None:
    async with serve() as client:
        for path, status, kept in [
            ("/", 200, "private, no-cache"),
            ("/mark.svg", 200, "private, no-cache"),
            ("/assets/index-1a2b3c.js", 200, "private, max-age=31536000, immutable"),
            ("/assets/gone.js", 404, "no-store"),
            ("/api/v1/queues", 200, "no-cache"),
            ("/api/v1/openapi.json", 200, "no-store"),
            ("/api/v1/audit", 403, "no-store"),
            ("/api/v1/jobs?q=colour:red", 422, "no-store"),
            ("/api/v1/nothing", 404, "no-store"),
        ]:
            response = await client.get(f"/windlass{path}")
            assert (response.status_code, response.headers["cache-control"]) == (status, kept), path
            assert_guarded(response)


async def test_a_front_end_that_is_not_built_says_so(
    serve: Callable[..., AsyncClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "STATIC", tmp_path / "none")
    async with serve() as client:
        response = await client.get("/windlass/jobs")
    assert response.status_code == 503
    assert "make frontend" in response.text


@pytest.mark.parametrize("source", [FRONTEND / "index.html", page.STATIC / "index.html"], ids=["source", "built"])
def test_the_front_end_has_the_places_that_are_filled(source: Path) -> None:
    if not source.exists():
        pytest.skip("the front end is not built here")
    text = source.read_text()
    assert text.count(page._BASE) == text.count(page._BOOT) == 1
    assert text.index(page._BASE) < text.index(page._BOOT)


# --- the files ----------------------------------------------------------------------------------------------


async def test_files(serve: Callable[..., AsyncClient], static: Path) -> None:
    path = "/windlass/assets/index-1a2b3c.js"
    async with serve() as client:
        plain = await client.get(path, headers={"Accept-Encoding": "identity"})
        packed = await client.get(path, headers={"Accept-Encoding": "br, gzip"})
        again = await client.get(path, headers={"If-None-Match": plain.headers["etag"]})
        head = await client.head(path)
    assert plain.content == packed.content == SCRIPT
    assert (plain.headers["content-type"].partition(";")[0], plain.headers["vary"]) == (
        "text/javascript",
        "Accept-Encoding",
    )
    assert (packed.headers["content-encoding"], int(packed.headers["content-length"])) == (
        "gzip",
        len(gzip.compress(SCRIPT)),
    )
    assert (again.status_code, again.content) == (304, b"")
    assert head.status_code == 200


TRICKS = [
    "/../secret.txt",
    "/..%2fsecret.txt",
    "/%2e%2e/secret.txt",
    "/%2e%2e%2fsecret.txt",
    "/%252e%252e%252fsecret.txt",
    "/..%5csecret.txt",
    "/assets/../../secret.txt",
    "/assets/..%2f..%2fsecret.txt",
    "/assets/%2e%2e/%2e%2e/secret.txt",
    "/....//secret.txt",
    "/..;/secret.txt",
    "/%c0%ae%c0%ae/secret.txt",
    "/%00../secret.txt",
    "/assets/index-1a2b3c.js%00.html",
    "/assets/index-1a2b3c.js/",
    "/assets//index-1a2b3c.js",
    "/./assets/index-1a2b3c.js",
    "/ASSETS/INDEX-1A2B3C.JS",
    "/../static-secret.txt",
    "/link.txt",
    "/folder/secret.txt",
    "/index.html",
    "/assets",
    "/assets/",
    "/%2fetc%2fpasswd",
    "//etc/passwd",
    "/file:///etc/passwd",
    "/C:%5cwindows%5cwin.ini",
]


async def get_raw(api: FastAPI, path: str) -> tuple[int, bytes]:
    """Status and body for a path as it comes over the wire, which a client would tidy up before sending."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "root_path": "",
        "path": unquote(path), "raw_path": path.encode(), "query_string": b"", "headers": [(b"host", b"shop.example")],
        "client": ("203.0.113.9", 1), "server": ("shop.example", 80),
    }  # fmt: skip
    await api(scope, receive, send)
    return sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:])


async def test_no_path_leads_out_of_the_front_end(app: Windlass, static: Path) -> None:
    api = FastAPI()
    api.include_router(dashboard(app, auth=lambda: "viewer"), prefix="/windlass")
    for path in TRICKS:
        status, body = await get_raw(api, f"/windlass{path}")
        assert not any(secret in body for secret in (b"geheim", b"root:", SCRIPT)), path
        assert status == 404 or Seen(body.decode()).tags == TAGS, path


def test_what_a_link_leads_to_outside_is_no_part_of_the_front_end(static: Path) -> None:
    os.symlink(static.parent / "secret.txt", static / "link.txt")
    os.symlink(static.parent, static / "folder")
    assert set(page.files()) == {"index.html", "mark.svg", "assets/index-1a2b3c.js"}


def test_a_new_build_is_served_without_a_restart(static: Path) -> None:
    assert "assets/index-1a2b3c.js" in page.files()
    (static / "assets" / "index-1a2b3c.js").rename(static / "assets" / "index-4d5e6f.js")
    os.utime(static / "index.html", ns=(1, 1))
    assert "assets/index-4d5e6f.js" in page.files()


# --- text from anywhere -------------------------------------------------------------------------------------


async def test_no_text_becomes_markup(app: Windlass, static: Path) -> None:
    names = list(XSS)
    api = FastAPI()
    api.include_router(dashboard(app, auth=lambda: Access(Role.VIEWER, names[0]), environment="".join(XSS)))
    async with AsyncClient(transport=ASGITransport(app=api), base_url="http://shop.example") as client:
        while names:
            response = await client.get("/jobs")
            seen = Seen(response.text)
            assert (seen.tags, seen.base) == (TAGS, "/")
            told = json.loads(seen.boot)
            assert (told["name"], told["environment"]) == (names.pop(0), "".join(XSS))
            (inside,) = re.findall(r'id="windlass">(.*?)</script', response.text)
            assert not re.search("[<>&]", inside)


@pytest.mark.parametrize("text", XSS)
def test_an_address_with_markup_in_it_stays_an_address(text: str) -> None:
    seen = Seen(page._index(INDEX, f"/{text}/", {}))
    assert seen.tags == TAGS
    assert unquote(seen.base) == f"/{text}/"
    assert not re.search("[\"'<>\\s]", seen.base)


async def test_what_jobs_say_leaves_as_json_only(
    serve: Callable[..., AsyncClient], app: Windlass, static: Path
) -> None:
    broker, ids = await app.broker(), [new_id() for _ in XSS]
    for job, text in zip(ids, XSS, strict=True):
        said = json.dumps(text).encode()
        body = b'{"args":{"a":%b},"v":1,"meta":{"note":%b}}' % (said, said)
        await broker.enqueue([NewJob(id=job, task=text, body=body, queue=text, key=text)])
    reads = ["jobs", "queues", "tasks", "overview", "jobs?q=%3Cscript%3E:1", *(f"jobs/{job}" for job in ids)]
    async with serve("admin", show_arguments=True) as client:
        for path in reads:
            response = await client.get(f"/windlass/api/v1/{path}")
            assert re.fullmatch(r"application/(problem\+)?json", response.headers["content-type"]), path
            assert_guarded(response)
