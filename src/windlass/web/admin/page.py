"""The pages of the dashboard: the built front end, out of the package, and what its HTML must know."""

from __future__ import annotations

import gzip
import json
import mimetypes
from functools import lru_cache
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header, Request, Response
from msgspec import Struct

from windlass import __version__
from windlass.app import Windlass
from windlass.web.admin.access import Viewer
from windlass.web.jobs import etag, matches
from windlass.web.problems import Problem

STATIC = Path(__file__).parents[2] / "dashboard" / "static"
"""Where the build of `frontend/` is put."""
INDEX = "index.html"
_BASE, _BOOT = '<base href="/">', '<script type="application/json" id="windlass">{}</script>'
_MARKUP = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
"""JSON stays the same JSON, and cannot end the element that it stands in."""
_MISSING = """<!doctype html><title>Windlass</title>
<h1>The front end is not built</h1>
<p>Run <code>make frontend</code> in the checkout of Windlass, then load this page again. A released wheel brings it along.</p>
"""


class File(Struct, frozen=True):
    """A file of the front end."""

    media_type: str
    data: bytes
    packed: bytes
    tag: str


@lru_cache(1)
def _files(folder: Path, _built: int) -> dict[str, File]:
    """Every file of a build by its path. What is asked for is looked up here, and never on the disk."""
    found: dict[str, File] = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            found[path.relative_to(folder).as_posix()] = File(kind, data, gzip.compress(data, mtime=0), etag(data))
    return found


def files() -> dict[str, File]:
    """The front end as it is built now; empty when it is not."""
    try:
        return _files(STATIC, (STATIC / INDEX).stat().st_mtime_ns)
    except FileNotFoundError:
        return {}


def add(router: APIRouter, app: Windlass, environment: str) -> None:
    """Add the pages: every path that is no file of the front end is one of its own pages, and begins with its index."""

    @router.api_route("/{path:path}", methods=["GET", "HEAD"])
    async def page(
        request: Request,
        path: str,
        access: Viewer,
        accept_encoding: Annotated[str, Header()] = "",
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        known = files()
        if (file := known.get(path)) is not None and path != INDEX:
            return _answer(file, path, "gzip" in accept_encoding, if_none_match)
        if path.partition("/")[0] in ("api", "assets"):
            raise Problem(HTTPStatus.NOT_FOUND, "not-found", "there is nothing here")
        if INDEX not in known:
            return Response(_MISSING, HTTPStatus.SERVICE_UNAVAILABLE, media_type="text/html")
        base = _base(request, path)
        boot = {
            "prefix": base.rstrip("/"),
            "app": app.name,
            "role": access.role.name.lower(),
            "name": access.name,
            "environment": environment,
            "version": __version__,
        }
        return Response(_index(known[INDEX].data.decode(), base, boot), headers=NO_CACHE, media_type="text/html")


NO_CACHE = {"Cache-Control": "private, no-cache"}
KEEP = {"Cache-Control": "private, max-age=31536000, immutable"}
"""Of what has a hash of its content in its name."""


def _answer(file: File, path: str, packed: bool, if_none_match: str | None) -> Response:
    headers = {**(KEEP if path.startswith("assets/") else NO_CACHE), "ETag": file.tag, "Vary": "Accept-Encoding"}
    if matches(if_none_match, file.tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(file.packed if packed else file.data, headers=headers, media_type=file.media_type)


def _base(request: Request, path: str) -> str:
    """Where the dashboard is mounted, as the browser sees it, with a slash at its end."""
    root, whole = request.scope.get("root_path", "").rstrip("/"), request.scope["path"]
    mounted = whole.removeprefix(root) if whole.startswith(f"{root}/") else whole
    return f"{root}{mounted.removesuffix(path).rstrip('/')}/"


def _index(template: str, base: str, boot: dict[str, str]) -> str:
    """The front end's HTML with its address and what it must know in it."""
    start, _, rest = template.partition(_BASE)
    middle, _, end = rest.partition(_BOOT)
    told = json.dumps(boot).translate(_MARKUP)
    href = escape(quote(base))
    return f'{start}<base href="{href}">{middle}{_BOOT.replace("{}", told)}{end}'
