"""Who may do what on the dashboard, and which requests come from its own pages.

`gate(auth)` stands before every endpoint and finds out who asks; `viewer`, `operator` and `admin` are what an endpoint asks for:
`async def pause(access: Operator) -> ...`. An endpoint that asks for none is a bug, and a test finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from enum import IntEnum
from http import HTTPStatus
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request, params
from msgspec import Struct

from windlass.errors import ConfigurationError
from windlass.web.problems import Problem
from windlass.web.readable import check_readable

SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""
_ACCESS = "windlass.access"
"""Where the gate leaves what it found, in the scope of the request."""


class Role(IntEnum):
    """What somebody may do; each role may do what those before it may."""

    VIEWER = 1  # look
    OPERATOR = 2  # run, retry, cancel, pause
    ADMIN = 3  # delete, purge, stop workers, reveal arguments


class Access(Struct, frozen=True):
    """Who asks, with which role. The name stands in the audit log."""

    role: Role
    name: str = ""

    def check(self, least: Role) -> None:
        """Raise `Problem` (403) unless this role is enough."""
        if self.role < least:
            raise Problem(HTTPStatus.FORBIDDEN, "forbidden", f"this needs the role {least.name.lower()}")


def _least(role: Role) -> Callable[[Request], Access]:
    def allowed(request: Request) -> Access:
        access = request.scope.get(_ACCESS)
        if not isinstance(access, Access):  # no gate stands before this endpoint
            raise _closed()
        access.check(role)
        return access

    return allowed


viewer, operator, admin = map(_least, Role)
Viewer = Annotated[Access, Depends(viewer)]
Operator = Annotated[Access, Depends(operator)]
Admin = Annotated[Access, Depends(admin)]


def gate(auth: Any) -> Callable[..., Coroutine[Any, Any, None]]:
    """The dependency before every endpoint: lets in whom `auth` gives a role, and no request that another site's page has sent.

    auth: a FastAPI dependency (`Depends(user)` or the function alone) that gives a Role, the name of one, an Access, or None for nobody.
    Raises `ConfigurationError` when an annotation of it names what FastAPI does not find.
    """
    decides: Any = auth if isinstance(auth, params.Depends) else Depends(auth)
    check_readable(decides.dependency, "auth= of the dashboard")

    async def enter(request: Request, said: Any = decides) -> None:
        if _foreign(request):
            detail = (
                "a page of another site sent this; outside of a browser, send an Authorization: Bearer header,"
                " or Sec-Fetch-Site: same-origin"
            )
            raise Problem(HTTPStatus.FORBIDDEN, "other-site", detail)
        access = _access_of(said)
        if access is None:
            raise _closed()
        request.scope[_ACCESS] = access

    return enter


def _closed() -> Problem:
    return Problem(HTTPStatus.FORBIDDEN, "forbidden", "you have no role here")


def _access_of(said: Any) -> Access | None:
    """What `auth` meant. Whatever is no role is a bug of its author, and lets nobody in."""
    match said:
        case Access():
            return said
        case None | False:
            return None
        case Role():
            return Access(said)
        case "viewer" | "operator" | "admin":
            return Access(Role[said.upper()])
        case _:
            raise ConfigurationError(
                f"auth= of the dashboard gave a {type(said).__name__}; "
                'it gives a Role, "viewer", "operator", "admin", an Access, or None'
            )


def _foreign(request: Request) -> bool:
    """Whether the page of another site sent this, with the cookies of whoever looks at that page.

    A browser says where a request comes from (`Sec-Fetch-Site`; on plain HTTP only the `Origin` of an unsafe one). What says neither is
    no browser, or an old one: of that one only a bearer token proves that nobody's cookies came along. Links lead here from anywhere.
    """
    headers, safe = request.headers, request.method in SAFE
    if site := headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none") and not (safe and headers.get("sec-fetch-mode") == "navigate")
    if safe:
        return False
    if origin := headers.get("origin"):
        return (origin.partition("://")[2] or None) != headers.get("host")
    return not headers.get("authorization", "").lower().startswith("bearer ")


def local(request: Request) -> Access:
    """The `auth` of a dashboard that was given none: whoever sits at this machine may do everything, and nobody else anything.

    It must be asked for by a name of this machine, so that no other site's name can be made to lead here (DNS rebinding), and directly.
    A proxy beside us is on this machine, too, and its clients are not: most say that they forward, and nginx speaks HTTP/1.0 unless told.
    """
    forwards = any(
        one in ("forwarded", "via", "x-real-ip") or one.startswith("x-forwarded-") for one in request.headers
    )
    near = request.client is not None and _loopback(request.client.host) and _loopback(_hostname(request))
    if not near or forwards or request.scope.get("http_version") == "1.0":
        detail = (
            "this dashboard has no auth=, so it is open on its own machine only, as http://localhost and not through a proxy;"
            ' give it dashboard(app, auth=Depends(...)) with what returns "viewer", "operator" or "admin"'
        )
        raise Problem(HTTPStatus.FORBIDDEN, "local-only", detail)
    return Access(Role.ADMIN, "local")


def _hostname(request: Request) -> str:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:  # brackets that hold no address
        return ""


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
