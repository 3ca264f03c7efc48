"""Login by OpenID Connect, through authlib: who the provider says that somebody is, kept in a signed cookie for a working day.

Nothing that a client sends decides where it is sent after the login, other than the path it asked for.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from http import HTTPStatus
from importlib import import_module
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from windlass.core.plain import plain
from windlass.errors import ConfigurationError
from windlass.web.admin.access import SAFE, Access
from windlass.web.admin.logins import Grants, Way

LASTS = 8 * 3600.0
"""Seconds that a login lasts, whatever is done meanwhile."""
COOKIE = "windlass_session"
_WHERE, _WHO, _UNTIL = "windlass_to", "windlass_who", "windlass_until"

logger = logging.getLogger("windlass.web")


class Provider(Struct, frozen=True):
    """Who vouches. issuer: its address, where /.well-known/openid-configuration is. public: the dashboard's own, as browsers see it.

    claim: what somebody's name is, of what the provider says; "email" only when it says that it has verified it.
    """

    issuer: str
    client_id: str
    client_secret: str
    public: str
    claim: str = "email"


def login(api: FastAPI, provider: Provider, grants: Grants, secret: str) -> Way:
    """Add /login, /callback and /logout to `api`. Raises `ConfigurationError` without authlib. secret: signs the cookies."""
    try:
        authlib: Any = import_module("authlib.integrations.starlette_client")
        sessions: Any = import_module("starlette.middleware.sessions")
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"--auth oidc needs {error.name}: pip install 'windlass[oidc]'") from None
    secure = provider.public.startswith("https://")
    api.add_middleware(
        sessions.SessionMiddleware,
        secret_key=secret,
        session_cookie=COOKIE,
        max_age=int(LASTS),
        same_site="lax",
        https_only=secure,
    )
    client = authlib.OAuth().register(
        "windlass",
        client_id=provider.client_id,
        client_secret=provider.client_secret,
        server_metadata_url=f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid email profile", "code_challenge_method": "S256"},
    )
    _add_steps(api, provider, client)
    return partial(_known, provider, grants)


def _add_steps(api: FastAPI, provider: Provider, client: Any) -> None:
    @api.get("/login")
    async def begin(request: Request, to: str = "/") -> Response:
        request.session.clear()
        request.session[_WHERE] = _own(to)
        try:
            answer: Response = await client.authorize_redirect(request, f"{provider.public}/callback")
        except Exception as error:  # of httpx, of authlib, or of what was answered
            raise _failed(HTTPStatus.SERVICE_UNAVAILABLE, error) from error
        return answer

    @api.get("/callback")
    async def end(request: Request) -> Response:
        to = _own(str(request.session.get(_WHERE, "/")))
        try:
            told = (await client.authorize_access_token(request)).get("userinfo") or {}
        except Exception as error:  # the same, and of joserfc, when the answer is forged
            raise _failed(HTTPStatus.FORBIDDEN, error) from error
        request.session.clear()  # what it held was the stranger's
        request.session.update({_WHO: name_of(told, provider.claim), _UNTIL: time.time() + LASTS})
        return RedirectResponse(provider.public + to, HTTPStatus.SEE_OTHER)

    @api.get("/logout")
    async def leave(request: Request) -> Response:
        request.session.clear()
        return Response("You are logged out of the dashboard.", media_type="text/plain")


def _failed(status: HTTPStatus, error: Exception) -> HTTPException:
    logger.warning("a login to the dashboard did not succeed: %s: %s", type(error).__name__, plain(str(error)))
    return HTTPException(status, "the login did not succeed; the log says why")


def _known(provider: Provider, grants: Grants, request: Request) -> Access | None:
    """Who is logged in. A page, unlike what it fetches, is sent to the login."""
    session = request.session
    if session.get(_UNTIL, 0.0) > time.time():
        return grants.access(session.get(_WHO, ""))
    if request.method in SAFE and request.headers.get("sec-fetch-mode", "navigate") == "navigate":
        raise HTTPException(HTTPStatus.SEE_OTHER, headers={"Location": f"{provider.public}/login?{_query(request)}"})
    return None


def name_of(told: dict[str, Any], claim: str) -> str:
    """Somebody's name, of what the provider says; "" when it says none that can be relied on."""
    name = told.get(claim)
    if not isinstance(name, str) or (claim == "email" and told.get("email_verified") is not True):
        return ""
    return name


def _own(to: str) -> str:
    """A path of ours, to be put behind our own address; "/" for what is none."""
    return to if to.startswith("/") and len(to) < 1000 else "/"


def _query(request: Request) -> str:
    """Where somebody wanted to go, for the way back."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", "").rstrip("/"))
    query = request.scope["query_string"].decode("latin-1")
    return urlencode({"to": f"{path}?{query}" if query else path})
