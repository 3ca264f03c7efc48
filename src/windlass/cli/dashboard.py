"""`windlass dashboard`: the dashboard on its own, open to this machine, or behind a login."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Sequence
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from windlass import Windlass
from windlass.cli.find import App, Name, Target, Url, find, find_store, refuse_memory, refuse_missing
from windlass.cli.output import talk
from windlass.core.urls import masked
from windlass.errors import AppNotFound, ConfigurationError

if TYPE_CHECKING:
    from fastapi import FastAPI

Method = StrEnum("Method", ["password", "token", "oidc", "proxy"])
RoleName = StrEnum("RoleName", ["viewer", "operator", "admin"])
Methods = Annotated[
    list[Method] | None,
    typer.Option(
        "--auth", help="password, token ($WINDLASS_DASHBOARD_PASSWORD, _TOKEN), oidc, proxy; of several, one is enough."
    ),
]
OneRole = Annotated[RoleName, typer.Option("--role", help="Of who knows the password or the token.")]
Granted = Annotated[
    list[str] | None,
    typer.Option("--grant", metavar="NAME=ROLE", help="For oidc and proxy, who may do what: '*@example.com=viewer'."),
]
Trusted = Annotated[
    list[str] | None, typer.Option("--trust", metavar="ADDRESS", help="Of the proxy that says who asks.")
]
Header = Annotated[str, typer.Option("--header", help="In which that proxy says it.")]
Public = Annotated[
    str | None, typer.Option("--public", metavar="URL", help="For oidc: where browsers find this dashboard.")
]
RootPath = Annotated[str, typer.Option("--root-path", help="The path below which a proxy serves it.")]
Shown = Annotated[bool, typer.Option("--show-arguments", help="Show what jobs carry to all who may look.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Let in everybody who reaches it, as admin.")]
VARIABLE = "WINDLASS_DASHBOARD_"
"""How the variables begin that hold what is not for a command line."""
SERVED: dict[str, Any] = {
    "server_header": False,
    "access_log": False,
    "ws": "none",
    "log_level": "warning",
    "timeout_graceful_shutdown": 3,  # so long open streams keep a server that is to stop
}


class Door(NamedTuple):
    """Who is let in, as the command line says it."""

    methods: Sequence[str] = ()
    role: str = "admin"
    grants: Sequence[str] = ()
    trusted: Sequence[str] = ()
    header: str = "X-Forwarded-User"
    public: str | None = None
    insecure: bool = False


def dashboard(
    target: Target = None,
    host: Annotated[
        str, typer.Option(help="Where to listen; for more than this machine, --auth is needed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8765,
    auth: Methods = None,
    role: OneRole = RoleName.admin,
    grant: Granted = None,
    trust: Trusted = None,
    header: Header = "X-Forwarded-User",
    public: Public = None,
    root_path: RootPath = "",
    show_arguments: Shown = False,
    insecure: Insecure = False,
    leash: Annotated[int | None, typer.Option(hidden=True, help="Die with whoever holds the other end.")] = None,
    app: App = None,
    url: Url = None,
    name: Name = None,
) -> None:
    """Serve the dashboard: open to this machine, or to others behind a login."""
    try:
        import uvicorn
    except ModuleNotFoundError:
        raise ConfigurationError("windlass dashboard needs uvicorn: pip install 'windlass[dashboard]'") from None
    if leash is not None:
        from windlass.worker.link import put_on_leash

        put_on_leash(leash)
    door = Door(tuple(map(str, auth or ())), role, grant or (), trust or (), header, public, insecure)
    check(door, host)
    store = _store(target or app, url, name)
    api = build(store, door, show_arguments or None)
    with _listening(host, port) as place:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{place.getsockname()[1]}{root_path}/"
        talk(f"the dashboard of {store.name!r} ({masked(store.url)}) is at {address}")
        # Who a proxy says that it is, is asked for with --trust, and not otherwise believed.
        uvicorn.Server(uvicorn.Config(api, root_path=root_path, proxy_headers=False, **SERVED)).run([place])


def check(door: Door, host: str) -> None:
    """Raise `ConfigurationError` for a dashboard that would be open to more than this machine, unless that is meant."""
    if not (door.methods or door.insecure or _loopback(host)):
        raise ConfigurationError(
            f"on {host} others can reach this dashboard, and it has no login: add --auth password (with {VARIABLE}PASSWORD set; or token,"
            " oidc, proxy), or listen on 127.0.0.1, or let everybody do everything with --insecure"
        )
    if door.methods and door.insecure:
        raise ConfigurationError("--auth asks for a login and --insecure for none; leave one out")


def build(app: Windlass, door: Door, show_arguments: bool | None = None) -> FastAPI:
    """The server of an app's dashboard. Raises `ConfigurationError` for a login that lacks something."""
    try:
        from fastapi import FastAPI
    except ModuleNotFoundError:
        raise ConfigurationError("windlass dashboard needs FastAPI: pip install 'windlass[dashboard]'") from None
    from windlass.web.admin.access import Access, Role, local
    from windlass.web.admin.router import dashboard as router

    api = FastAPI(title="Windlass", docs_url=None, redoc_url=None, openapi_url=None)
    auth: Any = _login(api, door) if door.methods else local
    if door.insecure:
        auth = lambda: Access(Role.ADMIN, "anybody")  # noqa: E731 # the shortest dependency there is
    api.include_router(router(app, auth=auth, show_arguments=show_arguments))
    return api


def _login(api: FastAPI, door: Door) -> Any:
    from windlass.web.admin import logins, oidc
    from windlass.web.admin.access import Role

    role, tries, ways = Role[door.role.upper()], logins.Tries(), list[logins.Way]()
    grants = logins.Grants(door.grants)
    if {"oidc", "proxy"} & {*door.methods} and not door.grants:
        raise ConfigurationError(
            "--auth oidc and proxy say who asks; say who may do what: --grant '*@example.com=viewer'"
        )
    for method in door.methods:
        if method == "proxy":
            if not door.trusted:
                raise ConfigurationError("--auth proxy believes a header; say of which addresses: --trust 10.0.0.7")
            ways.append(logins.proxy(door.header, logins.networks(door.trusted), grants))
        elif method == "oidc":
            secret = os.environ.get(f"{VARIABLE}SECRET") or secrets.token_urlsafe(32)
            ways.append(oidc.login(api, _provider(door), grants, secret))
        else:
            way = logins.password if method == "password" else logins.token
            ways.append(way(_variable(method.upper()), role, tries))
    challenge = 'Basic realm="Windlass", charset="UTF-8"' if "password" in door.methods else 'Bearer realm="Windlass"'
    return logins.auth(ways, challenge)


def _provider(door: Door) -> Any:
    from windlass.web.admin.oidc import Provider

    if not door.public:
        raise ConfigurationError(
            "--auth oidc sends browsers away and back; say where to: --public https://jobs.example.com"
        )
    issuer, client, secret = (_variable(name) for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET"))
    return Provider(issuer, client, secret, door.public.rstrip("/"), os.environ.get(f"{VARIABLE}CLAIM") or "email")


def _variable(name: str) -> str:
    value = os.environ.get(VARIABLE + name)
    if not value:
        raise ConfigurationError(f"set ${VARIABLE}{name}: it is not for a command line, which others can read")
    return value


def _store(target: str | None, url: str | None, name: str | None) -> Windlass:
    """The app, so that its tasks can be run; without one, the store alone."""
    store: Windlass | None = None
    if url is None and name is None:
        try:
            store = find(target).object
        except AppNotFound:
            pass
    if store is None:
        store = find_store(url, target, name)
        refuse_missing(store)
    refuse_memory(store.url)
    return store


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigurationError(f"{host}:{port}: {error.strerror or error}; take another --port or --host") from None
