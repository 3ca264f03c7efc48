"""Who gets in, what a role may not do, and what the page of another site cannot make a browser do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from typing import Annotated, Any
from urllib.parse import urlencode

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request
from fastapi.routing import APIRoute
from httpx2 import ASGITransport, AsyncClient, Response

from windlass import ConfigurationError, Windlass
from windlass.core.ids import new_id
from windlass.fastapi import Access, Role, dashboard
from windlass.web.admin import access
from windlass.web.admin.access import admin, operator, viewer

_numbers = count()
ID = new_id()
OWN = {"Sec-Fetch-Site": "same-origin"}

ENDPOINTS: dict[tuple[str, str], Any] = {
    ("GET", "/api/v1/overview"): viewer,
    ("GET", "/api/v1/jobs"): viewer,
    ("GET", "/api/v1/jobs/{job_id}"): viewer,
    ("GET", "/api/v1/jobs/{job_id}/events"): viewer,
    ("GET", "/api/v1/failures"): viewer,
    ("GET", "/api/v1/queues"): viewer,
    ("GET", "/api/v1/queues/{name:path}"): viewer,
    ("GET", "/api/v1/queues/{name:path}/scale"): viewer,
    ("GET", "/api/v1/workers"): viewer,
    ("GET", "/api/v1/workers/{worker_id:path}"): viewer,
    ("GET", "/api/v1/tasks"): viewer,
    ("GET", "/api/v1/tasks/{name:path}"): viewer,
    ("GET", "/api/v1/schedules"): viewer,
    ("GET", "/api/v1/schedules/{name:path}"): viewer,
    ("GET", "/api/v1/limits"): viewer,
    ("GET", "/api/v1/workflows/{job_id}"): viewer,
    ("GET", "/api/v1/system"): viewer,
    ("GET", "/api/v1/stream"): viewer,
    ("GET", "/api/v1/openapi.json"): viewer,
    ("GET", "/api/v1/audit"): operator,
    ("POST", "/api/v1/jobs/actions"): operator,
    ("POST", "/api/v1/jobs/{job_id}/again"): operator,
    ("POST", "/api/v1/jobs/{job_id}/kill"): operator,
    ("POST", "/api/v1/failures/{fingerprint}"): operator,
    ("POST", "/api/v1/queues/{name:path}"): operator,
    ("POST", "/api/v1/workers/{worker_id:path}"): operator,
    ("POST", "/api/v1/tasks/{name:path}/run"): operator,
    ("POST", "/api/v1/schedules/{name:path}"): operator,
    ("POST", "/api/v1/workflows/{job_id}"): operator,
    ("POST", "/api/v1/schedules/{name:path}/run"): operator,
    ("GET", "/{path:path}"): viewer,
    ("HEAD", "/{path:path}"): viewer,
}
"""Every endpoint, and what it asks for. One that is new must be put here, or the tests fail."""
ADMINS: list[tuple[str, str, Any]] = [
    ("POST", "/api/v1/jobs/actions", {"action": "delete", "ids": [ID]}),
    ("POST", "/api/v1/jobs/actions", {"action": "delete", "q": "", "dry_run": True}),
    ("POST", "/api/v1/jobs/actions", {"action": "cancel", "q": "arg.token=x", "dry_run": True}),
    ("POST", "/api/v1/queues/mail", {"action": "purge"}),
    ("POST", "/api/v1/workers/w", {"action": "stop"}),
    ("POST", "/api/v1/schedules/mail", {"action": "remove"}),
    ("GET", "/api/v1/jobs?q=arg.token%3Dx", None),
    ("GET", "/api/v1/jobs/{job}?reveal=1", None),
]
"""What asks for more than its endpoint does."""


def path_of(template: str) -> str:
    """A path that the endpoint takes."""
    names = {"{job_id}": ID, "{fingerprint}": "f", "{worker_id:path}": "w", "{name:path}": "mail"}
    for name, value in names.items():
        template = template.replace(name, value)
    return template.replace("{path:path}", "")


def said(x_role: Annotated[str | None, Header()] = None) -> Access | None:
    return None if x_role is None else Access(Role[x_role.upper()], x_role)


@pytest.fixture
async def app() -> AsyncIterator[Windlass]:
    app = Windlass(f"memory://access-{next(_numbers)}", name="shop")

    @app.task(name="charge")
    async def charge(token: str) -> None: ...

    async with app.lifespan():
        yield app


@pytest.fixture
def serve(app: Windlass) -> Callable[..., AsyncClient]:
    """A client of an API that has the app's dashboard."""

    def make(auth: Any = said, *, host: str = "shop.example", peer: str = "203.0.113.9", **given: Any) -> AsyncClient:
        api = FastAPI()
        api.include_router(dashboard(app, auth=auth, **given), prefix="/windlass")
        return AsyncClient(
            transport=ASGITransport(app=api, raise_app_exceptions=False, client=(peer, 5000)),
            base_url=f"http://{host}/windlass",
        )

    return make


def problem(response: Response) -> tuple[int, str]:
    """Status and kind of a problem."""
    return response.status_code, response.json().get("type", "").removeprefix("/problems/")


# --- roles --------------------------------------------------------------------------------------------------


def routes(router: APIRouter, prefix: str = "") -> Iterator[tuple[str, APIRoute]]:
    """All endpoints of a router with their paths, whether this FastAPI keeps them in a tree or flat."""
    for route in router.routes:
        if (included := getattr(route, "original_router", None)) is not None:
            context: Any = vars(route)["include_context"]
            yield from routes(included, prefix + context.prefix)
        else:
            assert isinstance(route, APIRoute), f"{route} is no endpoint whose role can be told"
            yield prefix + route.path, route


def asked_for(dependant: Any) -> set[Any]:
    """Everything that an endpoint depends on."""
    return {dependant.call}.union(*(asked_for(one) for one in dependant.dependencies))


def test_every_endpoint_asks_for_the_role_that_stands_here(app: Windlass) -> None:
    found: dict[tuple[str, str], Any] = {}
    for path, route in routes(dashboard(app, auth=said)):
        for method in route.methods:
            (found[method, path],) = {viewer, operator, admin} & asked_for(route.dependant) or {None}
    assert found == ENDPOINTS


def requests() -> Iterator[tuple[str, str, Any]]:
    yield from ((method, path_of(path), {} if method == "POST" else None) for method, path in ENDPOINTS)


@pytest.mark.parametrize("auth", [said, None], ids=["nobody", "not here"])
async def test_a_stranger_learns_nothing(serve: Callable[..., AsyncClient], auth: Any) -> None:
    """The same answer whatever is asked for, also where a body is not read and where there is nothing at all."""
    answers = set[tuple[int, str, str]]()
    async with serve(auth) as client:
        for method, path, body in [
            *requests(),
            ("GET", "/api/v1/no", None),
            ("GET", "/assets/x.js", None),
            ("GET", "/.env", None),
        ]:
            response = await client.request(method, path, json=body, headers=OWN)
            if method != "HEAD":
                answers.add((response.status_code, *problem(response)[1:], response.text))
    ((status, kind, text),) = answers
    assert (status, kind) == (403, "forbidden" if auth else "local-only")
    assert not any(word in text for word in ("shop", "charge", "0.1"))


async def test_no_role_does_what_is_for_a_higher_one(serve: Callable[..., AsyncClient], app: Windlass) -> None:
    job = await app.get_task("charge").enqueue("geheim")
    least = {viewer: Role.VIEWER, operator: Role.OPERATOR, admin: Role.ADMIN}
    asked = [(method, path_of(path), {}, least[role]) for (method, path), role in ENDPOINTS.items()]
    asked += [(method, path.replace("{job}", job.id), body, Role.ADMIN) for method, path, body in ADMINS]
    async with serve() as client:
        for method, path, body, role in asked:
            for lower in (one for one in Role if one < role):
                headers = OWN | {"X-Role": lower.name}
                response = await client.request(method, path, json=body if method == "POST" else None, headers=headers)
                assert problem(response) == (403, "forbidden"), (method, path, lower)
            if path.endswith(("/stream", "/events")):
                continue  # it does not end
            headers = OWN | {"X-Role": role.name}
            response = await client.request(method, path, json=body if method == "POST" else None, headers=headers)
            assert response.status_code != 403, (method, path, role)


async def test_hidden_arguments_are_hidden_from_all_but_an_admin_who_asks(
    serve: Callable[..., AsyncClient], app: Windlass
) -> None:
    job = await app.get_task("charge").enqueue("geheim")
    async with serve() as client:
        for role in Role:
            response = await client.get(f"/api/v1/jobs/{job.id}", headers={"X-Role": role.name})
            assert response.json()["arguments"]["hidden"]
            assert "geheim" not in response.text
        response = await client.get(f"/api/v1/jobs/{job.id}?reveal=1", headers={"X-Role": "admin"})
        assert response.json()["arguments"]["value"] == {"token": "geheim"}
        (entry,) = (await client.get("/api/v1/audit", headers={"X-Role": "admin"})).json()["entries"]
        assert (entry["who"], entry["action"], entry["target"]) == ("admin", "reveal", job.id)


def reads_nobody(request: Nobody) -> str:  # type: ignore[name-defined]  # noqa: F821 # that is the test
    return "admin"


def perhaps_nobody(user: Nobody | None = None) -> str:  # type: ignore[name-defined]  # noqa: F821 # as above
    return "admin"


def through_another(role: str = Depends(reads_nobody)) -> str:
    return role


class Staff:
    def __call__(self, user: Annotated[Nobody, Depends(said)]) -> str:  # type: ignore[name-defined]  # noqa: F821 # as above
        return "admin"


def unread_answer(request: Request) -> Nobody:  # type: ignore[name-defined]  # noqa: F821 # as above
    return "admin"


@pytest.mark.parametrize(
    ("auth", "named"),
    [
        (reads_nobody, "request: Nobody of reads_nobody"),
        (Depends(reads_nobody), "request: Nobody of reads_nobody"),
        (through_another, "request: Nobody of reads_nobody"),
        (perhaps_nobody, "user: Nobody | None of perhaps_nobody"),
        (Staff(), "user: Annotated[Nobody, Depends(said)] of Staff"),
    ],
)
def test_an_auth_that_cannot_be_read_is_refused_when_it_is_mounted(app: Windlass, auth: Any, named: str) -> None:
    """FastAPI would take what it cannot read from the query: it would let in nobody, or whoever asks for it."""
    with pytest.raises(ConfigurationError, match="import it outside of TYPE_CHECKING") as refused:
        dashboard(app, auth=auth)
    assert named in str(refused.value)


async def test_what_an_auth_says_that_it_gives_is_not_read(serve: Callable[..., AsyncClient]) -> None:
    async with serve(unread_answer) as client:
        assert (await client.get("/api/v1/queues")).status_code == 200


async def first_tick(api: FastAPI, role: str, topics: list[str]) -> dict[str, Any]:
    """What the stream says first to somebody with this role."""
    said, parts = asyncio.Event(), list[bytes]()

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        parts.append(message.get("body", b""))
        if b"\n\n" in b"".join(parts):
            said.set()

    headers = {b"host": b"shop.example", b"x-role": role.encode()}
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": "/windlass/api/v1/stream", "raw_path": b"/windlass/api/v1/stream", "root_path": "", "headers": list(headers.items()),
        "query_string": urlencode([("topic", topic) for topic in topics]).encode(), "client": ("203.0.113.9", 1),
        "server": ("shop.example", 80),
    }  # fmt: skip
    asked = asyncio.create_task(api(scope, receive, send))
    try:
        await asyncio.wait_for(said.wait(), 20)
    finally:
        asked.cancel()
        await asyncio.wait([asked])
    told: dict[str, Any] = json.loads(b"".join(parts).partition(b"data: ")[2].partition(b"\n")[0])
    return told


async def test_the_stream_tells_nobody_more_than_the_reads_do(app: Windlass) -> None:
    api = FastAPI()
    api.include_router(dashboard(app, auth=said), prefix="/windlass")
    job = await app.get_task("charge").enqueue("geheim")
    seen = ["queues", f"jobs/{job.id}", "jobs?q=state%3Aready"]
    hidden = [
        "audit",
        f"jobs/{job.id}?reveal=1",
        f"jobs/{job.id}?reve%61l=1",
        "jobs?q=arg.token%3Dgeheim",
        "stream?topic=queues",
        f"jobs/{job.id}/events",
        "../../../etc/passwd",
        "//evil.example/",
        "api/v1/audit",
        "",
    ]
    for _ in range(2):
        told = await first_tick(api, "viewer", [*hidden, *seen])
        assert set(told["topics"]) == set(seen)
        assert "geheim" not in json.dumps(told)
        admins = await first_tick(api, "admin", [f"jobs/{job.id}?reve%61l=1", "audit"])
        assert "geheim" in json.dumps(admins)


@pytest.mark.parametrize(
    ("variable", "value", "auth", "hidden"),
    [
        ("WINDLASS_ENVIRONMENT", "production", said, True),
        ("WINDLASS_ENVIRONMENT", "development", said, False),
        ("FASTAPI_ENV", "development", said, False),
        ("WINDLASS_ENVIRONMENT", "production", None, True),
        ("WINDLASS_ENVIRONMENT", "", None, False),
        ("WINDLASS_ENVIRONMENT", "", said, True),
    ],
)
async def test_arguments_are_shown_by_themselves_in_development_only(
    serve: Callable[..., AsyncClient],
    app: Windlass,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    auth: Any,
    hidden: bool,
) -> None:
    monkeypatch.setenv(variable, value)
    job = await app.get_task("charge").enqueue("geheim")
    async with serve(auth, host="localhost", peer="127.0.0.1") as client:
        response = await client.get(f"/api/v1/jobs/{job.id}", headers={"X-Role": "viewer"})
    assert response.json()["arguments"]["hidden"] is hidden


# --- what `auth` may say ------------------------------------------------------------------------------------


@pytest.mark.parametrize("gives", [Role.VIEWER, "viewer", Access(Role.VIEWER, "ann")])
async def test_what_lets_in(serve: Callable[..., AsyncClient], gives: Any) -> None:
    async with serve(lambda: gives) as client:
        assert (await client.get("/api/v1/queues")).status_code == 200
        assert (await client.get("/api/v1/audit")).status_code == 403


@pytest.mark.parametrize(
    ("gives", "status"),
    [
        (None, 403),
        (False, 403),
        (True, 500),
        (3, 500),
        ("root", 500),
        ("ADMIN", 500),
        ("", 500),
        ({"role": "admin"}, 500),
        (object(), 500),
    ],
)
async def test_what_lets_nobody_in(serve: Callable[..., AsyncClient], gives: Any, status: int) -> None:
    """What is no role is the bug of a dependency, and is never taken for one."""
    async with serve(lambda: gives) as client:
        response = await client.get("/api/v1/queues")
    assert response.status_code == status


def current_user(request: Request) -> str:
    if request.headers.get("x-user") is None:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    return request.headers["x-user"]


async def staff(user: Annotated[str, Depends(current_user)]) -> Access | None:
    return Access(Role.OPERATOR, user) if user.endswith("@example.com") else None


def demanding(x_user: Annotated[str, Header()]) -> str:
    return "admin"


async def test_a_login_may_be_any_dependency(serve: Callable[..., AsyncClient]) -> None:
    for auth in (staff, Depends(staff)):
        async with serve(auth) as client:
            assert (await client.get("/api/v1/queues")).status_code == 401
            assert (await client.get("/api/v1/queues", headers={"x-user": "eve"})).status_code == 403
            assert (await client.get("/api/v1/audit", headers={"x-user": "ann@example.com"})).status_code == 200


async def test_a_login_that_lacks_something_lets_nobody_in(serve: Callable[..., AsyncClient]) -> None:
    async with serve(demanding) as client:
        assert (await client.get("/api/v1/queues")).status_code in (403, 422)
        assert (await client.get("/api/v1/queues", headers={"x-user": "ann"})).status_code == 200


async def test_an_endpoint_without_a_gate_is_closed() -> None:
    api = FastAPI()

    @api.get("/")
    async def forgotten(_: access.Viewer) -> str:
        return "secret"

    async with AsyncClient(transport=ASGITransport(app=api), base_url="http://shop.example") as client:
        assert (await client.get("/")).status_code == 403


def test_a_wrong_answer_of_auth_names_what_is_right() -> None:
    with pytest.raises(ConfigurationError, match='"viewer", "operator", "admin"'):
        access._access_of({"name": "ann"})


# --- without a login ----------------------------------------------------------------------------------------


async def test_without_a_login_it_is_open_to_its_machine(serve: Callable[..., AsyncClient]) -> None:
    for peer in ("127.0.0.1", "::1"):
        async with serve(None, host="localhost", peer=peer) as client:
            for host in ("localhost", "localhost:8000", "127.0.0.1:8000", "127.8.9.1", "[::1]:8000"):
                headers = OWN | {"Host": host}
                response = await client.post("/api/v1/queues/q", json={"action": "purge"}, headers=headers)
                assert response.status_code == 200, (peer, host)
            entry = (await client.get("/api/v1/audit")).json()["entries"][0]
            assert (entry["who"], entry["role"]) == ("local", "admin")


NOT_LOCAL: list[dict[str, str]] = [
    {"Host": "evil.example"},  # a name of theirs that leads here: DNS rebinding
    {"Host": "evil.example:8000"},
    {"Host": "localhost.evil.example"},
    {"Host": "localhost@evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "[::1"},
    {"Host": ""},
    {"Host": "0.0.0.0"},
    {"X-Forwarded-For": "203.0.113.9"},  # a proxy on this machine, and who asks is not
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-Host": "localhost"},
    {"X-Real-IP": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1"},
    {"Via": "1.1 proxy"},
]


async def test_without_a_login_nobody_else_gets_in(serve: Callable[..., AsyncClient]) -> None:
    asked: dict[str, list[dict[str, str]]] = {"127.0.0.1": NOT_LOCAL}
    asked |= {peer: [{}, {"X-Forwarded-For": "127.0.0.1"}] for peer in ("203.0.113.9", "testclient", "")}
    for peer, tricks in asked.items():
        async with serve(None, host="localhost", peer=peer) as client:
            for headers in tricks:
                response = await client.get("/api/v1/queues", headers=headers)
                assert problem(response) == (403, "local-only"), (peer, headers)
                assert problem(await client.get("/", headers=headers)) == (403, "local-only")
                assert "auth=Depends(" in response.json()["detail"]


@pytest.mark.parametrize(("changed", "value"), [("http_version", "1.0"), ("client", None)])
async def test_a_proxy_that_does_not_say_so_is_known_by_its_old_http(app: Windlass, changed: str, value: Any) -> None:
    api = FastAPI()
    api.include_router(dashboard(app))

    async def proxied(scope: Any, receive: Any, send: Any) -> None:
        await api(scope | {changed: value}, receive, send)

    async with AsyncClient(transport=ASGITransport(app=proxied), base_url="http://localhost") as client:
        assert problem(await client.get("/api/v1/queues")) == (403, "local-only")


# --- other sites --------------------------------------------------------------------------------------------

FOREIGN: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://shop.example"},
    {"Sec-Fetch-Site": "cross-site", "Authorization": "Bearer x"},
    {"Sec-Fetch-Site": "SAME-ORIGIN"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://shop.example.evil.example"},
    {"Origin": "http://shop.example:81"},
    {"Origin": "http://evil.example@shop.example"},
    {"Origin": "shop.example"},
    {"Origin": "http://[", "Authorization": "Bearer x"},
    {"Origin": "null", "Host": ""},
    {"Origin": "http://evil.example", "X-Forwarded-Host": "evil.example"},
    {"Referer": "http://shop.example/windlass/"},
    {"Cookie": "session=ann"},
    {"Authorization": "Basic YW5uOnNlY3JldA=="},
    {},
]


OURS: list[dict[str, str]] = [
    OWN,
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://shop.example"},
    {"Origin": "https://shop.example"},  # what speaks TLS for us is a proxy
    {"Authorization": "Bearer x"},
]


async def test_the_page_of_another_site_can_do_nothing(serve: Callable[..., AsyncClient]) -> None:
    async with serve() as client:
        for path in (path_of(path) for method, path in ENDPOINTS if method == "POST"):
            for headers in FOREIGN:
                response = await client.post(path, json={}, headers=headers | {"X-Role": "admin"})
                assert problem(response) == (403, "other-site"), (path, headers)


async def test_our_own_pages_and_programs_can(serve: Callable[..., AsyncClient]) -> None:
    async with serve() as client:
        for ours in OURS:
            headers = ours | {"X-Role": "admin"}
            response = await client.post("/api/v1/queues/q", json={"action": "pause"}, headers=headers)
            assert response.status_code == 200, headers


async def test_another_site_cannot_read_but_may_link_here(serve: Callable[..., AsyncClient]) -> None:
    async with serve() as client:
        for site in ("cross-site", "same-site"):
            for path in ("/api/v1/queues", "/api/v1/stream?topic=queues", "/"):
                for mode in ("cors", "no-cors", "same-origin", "websocket", ""):
                    headers = {"X-Role": "admin", "Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
                    assert problem(await client.get(path, headers=headers)) == (403, "other-site")
            headers = {"X-Role": "admin", "Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
            assert (await client.get("/", headers=headers)).status_code in (200, 503)


async def test_a_body_that_a_form_can_send_is_refused(serve: Callable[..., AsyncClient]) -> None:
    kinds = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "text/json", ""]
    async with serve() as client:
        for kind in kinds:
            for body in (b'{"action":"pause"}', b'{"action":"pause","x":"=\r\n"}', b"action=pause"):
                headers = OWN | {"X-Role": "admin", "Content-Type": kind}
                response = await client.post("/api/v1/queues/q", content=body, headers=headers)
                assert problem(response) == (415, "no-json"), (kind, body)


# --- bodies -------------------------------------------------------------------------------------------------

JSON = OWN | {"X-Role": "admin", "Content-Type": "application/json"}


NONSENSE = [
    b"",
    b"{",
    b"\xff\xfe{}",
    b'\xef\xbb\xbf{"action":"pause"}',
    b'{"action":"pause"}{"action":"resume"}',
    b'{"action":"\\ud800"}',
    b"[" * 100_000,
    b'{"arguments":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"arguments":{"token":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}}",
    b'{"action":NaN}',
    b'{"arguments":{"token":1e999999}}',
    b'{"arguments":{"token":' + b"9" * 5000 + b"}}",
]


async def test_a_body_that_makes_no_sense_is_the_clients_fault(serve: Callable[..., AsyncClient]) -> None:
    async with serve() as client:
        for path in ("/api/v1/queues/q", "/api/v1/tasks/charge/run", "/api/v1/jobs/actions"):
            for body in NONSENSE:
                assert problem(await client.post(path, content=body, headers=JSON))[0] == 422, (path, body[:50])


async def test_a_body_too_large_is_not_read_to_its_end(serve: Callable[..., AsyncClient], app: Windlass) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 20
            yield b" " * (1 << 20)

    async with serve() as client:
        assert problem(await client.post("/api/v1/jobs/actions", content=endless(), headers=JSON)) == (413, "too-large")
        assert sent <= app.settings.max_payload + (4 << 20)


async def test_nothing_is_read_of_who_has_no_role(serve: Callable[..., AsyncClient]) -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    async with serve() as client:
        headers = {"Content-Type": "application/json", **OWN}
        for role in ({}, {"X-Role": "viewer"}):
            response = await client.post("/api/v1/jobs/actions", content=unread(), headers=headers | role)
            assert problem(response) == (403, "forbidden")


def test_the_api_is_described_to_viewers_and_not_in_the_apps_own_schema(app: Windlass) -> None:
    api = FastAPI()
    api.include_router(dashboard(app, auth=said), prefix="/windlass")
    assert api.openapi()["paths"] == {}


async def test_the_description_of_the_api(serve: Callable[..., AsyncClient]) -> None:
    async with serve() as client:
        told = (await client.get("/api/v1/openapi.json", headers={"X-Role": "viewer"})).json()
    known = {(method.upper(), path) for path, methods in told["paths"].items() for method in methods}
    hidden = {("GET", "/openapi.json")}
    api = {
        (method, path.removeprefix("/api/v1").replace(":path", "")) for method, path in ENDPOINTS if "/api/v1" in path
    }
    assert known == api - hidden
    body = told["paths"]["/jobs/actions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["action"]
    assert "#/$defs" not in json.dumps(told)
