"""The logins of a dashboard that stands alone: passwords, tokens, proxies, OpenID Connect."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import pytest
from httpx2 import ASGITransport, AsyncClient, Response

from windlass import ConfigurationError, Windlass
from windlass.cli.dashboard import Door, build, check
from windlass.web.admin import logins

_numbers = count()
PASSWORD = "correct horse battery"
TOKEN = "t0ken-t0ken-t0ken"
OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def app() -> AsyncIterator[Windlass]:
    app = Windlass(f"memory://logins-{next(_numbers)}", name="shop")
    async with app.lifespan():
        yield app


@pytest.fixture
def serve(app: Windlass, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AsyncClient]:
    """A client of the stand-alone dashboard, as somebody at `peer`."""
    monkeypatch.setenv("WINDLASS_DASHBOARD_PASSWORD", PASSWORD)
    monkeypatch.setenv("WINDLASS_DASHBOARD_TOKEN", TOKEN)

    def make(*methods: str, peer: str = "203.0.113.9", host: str = "jobs.example", **given: Any) -> AsyncClient:
        api = build(app, Door(methods, **given))
        return AsyncClient(transport=ASGITransport(app=api, client=(peer, 5000)), base_url=f"http://{host}")

    return make


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def who(client: AsyncClient, headers: dict[str, str]) -> tuple[str, str]:
    """Name and role, as the audit log has them of what was just done."""
    response = await client.post("/api/v1/queues/q", json={"action": "pause"}, headers=headers | OWN)
    assert response.status_code == 200, response.text
    (entry, *_) = (await client.get("/api/v1/audit", headers=headers)).json()["entries"]
    return entry["who"], entry["role"]


# --- who may serve it to whom -------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_this_machine_needs_no_login(host: str) -> None:
    check(Door(), host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.5", "jobs.example", "", "localhost.example", "127.1", "0"]
)
def test_others_do(host: str) -> None:
    with pytest.raises(ConfigurationError, match="--auth password") as caught:
        check(Door(), host)
    assert "--insecure" in str(caught.value)
    check(Door(("password",)), host)
    check(Door(insecure=True), host)


@pytest.mark.parametrize(
    ("door", "fix"),
    [
        (Door(("password",)), "PASSWORD"),
        (Door(("token",)), "TOKEN"),
        (Door(("proxy",), trusted=["10.0.0.1"]), "--grant"),
        (Door(("proxy",), grants=["*=viewer"]), "--trust"),
        (Door(("proxy",), grants=["*=viewer"], trusted=["proxy.example"]), "10.0.0.7"),
        (Door(("proxy",), grants=["*=root"], trusted=["10.0.0.1"]), "NAME=ROLE"),
        (Door(("proxy",), grants=["admin"], trusted=["10.0.0.1"]), "NAME=ROLE"),
        (Door(("oidc",), grants=["*=viewer"]), "--public"),
        (Door(("oidc",), grants=["*=viewer"], public="https://jobs.example"), "ISSUER"),
    ],
)
def test_what_lacks_something_does_not_start(app: Windlass, door: Door, fix: str) -> None:
    with pytest.raises(ConfigurationError, match=fix.replace("*", r"\*")):
        build(app, door)


def test_a_password_that_can_be_guessed_is_refused(app: Windlass, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDLASS_DASHBOARD_PASSWORD", "hunter2")
    with pytest.raises(ConfigurationError, match="12 characters"):
        build(app, Door(("password",)))


def test_a_login_and_none_contradict_each_other() -> None:
    with pytest.raises(ConfigurationError):
        check(Door(("password",), insecure=True), "127.0.0.1")


async def test_without_a_login_it_is_its_machines_alone(serve: Callable[..., AsyncClient]) -> None:
    async with serve(peer="127.0.0.1", host="localhost:8765") as client:
        assert await who(client, {}) == ("local", "admin")
        rebound = await client.get("/api/v1/queues", headers={"Host": "evil.example:8765"})
        assert rebound.status_code == 403
    async with serve() as client:
        assert (await client.get("/")).status_code == 403


async def test_insecure_means_it(serve: Callable[..., AsyncClient]) -> None:
    async with serve(insecure=True) as client:
        assert await who(client, {}) == ("anybody", "admin")
        cross = await client.post(
            "/api/v1/queues/q", json={"action": "pause"}, headers={"Sec-Fetch-Site": "cross-site"}
        )
        assert cross.status_code == 403


async def test_there_is_nothing_beside_the_dashboard(serve: Callable[..., AsyncClient]) -> None:
    async with serve("password") as client:
        for path in ("/docs", "/redoc", "/openapi.json", "/login", "/callback", "/jobs", "/assets/x.js"):
            assert (await client.get(path)).status_code == 401, path


# --- passwords and tokens -----------------------------------------------------------------------------------


async def test_a_password(serve: Callable[..., AsyncClient]) -> None:
    async with serve("password") as client:
        response = await client.get("/")
        assert (response.status_code, response.headers["www-authenticate"]) == (
            401,
            'Basic realm="Windlass", charset="UTF-8"',
        )
        assert "shop" not in response.text
        assert await who(client, basic("ann", PASSWORD)) == ("ann", "admin")
        assert await who(
            client, {"Authorization": basic("änn", PASSWORD)["Authorization"].replace("Basic", "bAsIc")}
        ) == ("änn", "admin")


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_a_password_for_less(serve: Callable[..., AsyncClient], role: str) -> None:
    async with serve("password", role=role) as client:
        headers = basic("ann", PASSWORD) | OWN
        assert (await client.get("/api/v1/queues", headers=headers)).status_code == 200
        response = await client.post("/api/v1/queues/q", json={"action": "purge"}, headers=headers)
        assert response.status_code == 403


async def test_a_token(serve: Callable[..., AsyncClient]) -> None:
    async with serve("token") as client:
        response = await client.get("/")
        assert (response.status_code, response.headers["www-authenticate"]) == (401, 'Bearer realm="Windlass"')
        assert await who(client, bearer(TOKEN)) == ("token", "admin")
        program = await client.post("/api/v1/queues/q", json={"action": "pause"}, headers=bearer(TOKEN))
        assert program.status_code == 200


async def test_of_several_logins_one_is_enough_and_each_keeps_to_its_own_secret(
    serve: Callable[..., AsyncClient],
) -> None:
    async with serve("password", "token") as client:
        assert await who(client, basic("ann", PASSWORD)) == ("ann", "admin")
        assert await who(client, bearer(TOKEN)) == ("token", "admin")
        for headers in (basic("ann", TOKEN), bearer(PASSWORD)):
            assert (await client.get("/", headers=headers)).status_code == 401


WRONG = [
    basic("ann", ""),
    basic("", ""),
    basic("ann", PASSWORD[:-1]),
    basic("ann", PASSWORD + " "),
    basic(f"ann:{PASSWORD}", ""),
    {"Authorization": "Basic"},
    {"Authorization": "Basic ####"},
    {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:" + PASSWORD.encode()).decode()},
    {"Authorization": "Basic " + base64.b64encode(PASSWORD.encode()).decode()},
    {"Authorization": PASSWORD},
    {"Authorization": f"Digest {PASSWORD}"},
    bearer(PASSWORD),
    bearer(""),
    {"Cookie": f"password={PASSWORD}; session=admin"},
    {"X-Forwarded-User": "ann", "X-Remote-User": "ann"},
]


async def test_no_other_secret_lets_in(serve: Callable[..., AsyncClient], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "TRIES", 1000)
    async with serve("password", "token") as client:
        for headers in WRONG:
            assert (await client.get("/api/v1/queues", headers=headers)).status_code == 401, headers
        assert (await client.get(f"/api/v1/queues?token={TOKEN}&password={PASSWORD}")).status_code == 401


async def test_who_guesses_is_not_listened_to(
    serve: Callable[..., AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(logins.Tries.__init__, "__defaults__", (lambda: now,))
    async with serve("password", "token") as client:
        for n in range(logins.TRIES):
            headers = basic("ann", f"guess {n}") if n % 2 else bearer(f"guess {n}")
            assert (await client.get("/", headers=headers)).status_code == 401
        for headers in (basic("ann", PASSWORD), bearer(TOKEN), basic("bob", "x")):
            response = await client.get("/", headers=headers | {"X-Forwarded-For": "10.1.1.1"})
            assert (response.status_code, response.headers["retry-after"]) == (429, "60")
        assert (await client.get("/")).status_code == 401
        now = logins.SPAN
        assert await who(client, basic("ann", PASSWORD)) == ("ann", "admin")


def test_tries_are_counted_by_network_and_remember_no_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked:
        def __init__(self, host: str) -> None:
            self.client = type("Client", (), {"host": host})

    monkeypatch.setattr(logins, "ADDRESSES", 5)
    tries: Any = logins.Tries(lambda: 0.0)
    for n in range(logins.TRIES):
        tries.check(Asked(f"2001:db8::{n:x}"))
        tries.wrong(Asked(f"2001:db8::{n:x}"))
    with pytest.raises(logins.Problem):
        tries.check(Asked("2001:db8::ffff"))
    tries.check(Asked("2001:db8:0:1::1"))
    for n in range(6):
        tries.wrong(Asked(f"10.0.0.{n}"))
    tries.check(Asked("2001:db8::ffff"))
    assert len(tries._wrong) == 0


# --- a proxy ------------------------------------------------------------------------------------------------

GRANTS = ["*@example.com=viewer", "ann@example.com=admin", "bob=operator"]


async def test_a_proxy_says_who_asks(serve: Callable[..., AsyncClient]) -> None:
    async with serve("proxy", grants=GRANTS, trusted=["10.0.0.0/24"], peer="10.0.0.7") as client:
        assert await who(client, {"X-Forwarded-User": "ann@example.com"}) == ("ann@example.com", "admin")
        assert await who(client, {"x-forwarded-user": " bob "}) == ("bob", "operator")
        viewer = {"X-Forwarded-User": "eve@example.com"}
        assert (await client.get("/api/v1/queues", headers=viewer)).status_code == 200
        assert (await client.get("/api/v1/audit", headers=viewer)).status_code == 403
        for name in (
            "eve@evil.example",
            "eve@example.com.evil.example",
            "",
            "*@example.com.",
            "BOB",
            "bob,ann@example.com",
        ):
            assert (await client.get("/api/v1/queues", headers={"X-Forwarded-User": name})).status_code == 401, name
        assert (await client.get("/api/v1/queues")).status_code == 401
        twice = [("X-Forwarded-User", "ann@example.com"), ("X-Forwarded-User", "eve")]
        assert (await client.get("/api/v1/queues", headers=twice)).status_code == 401


@pytest.mark.parametrize("peer", ["203.0.113.9", "127.0.0.1", "10.0.1.7", "::ffff:10.0.0.7", "testclient", ""])
async def test_of_anybody_else_the_header_is_not_believed(serve: Callable[..., AsyncClient], peer: str) -> None:
    async with serve("proxy", grants=GRANTS, trusted=["10.0.0.0/24"], peer=peer) as client:
        headers = {"X-Forwarded-User": "ann@example.com", "X-Forwarded-For": "10.0.0.7", "X-Real-IP": "10.0.0.7"}
        assert (await client.get("/api/v1/queues", headers=headers)).status_code == 401


# --- OpenID Connect -----------------------------------------------------------------------------------------


@pytest.fixture
def oidc(serve: Callable[..., AsyncClient], monkeypatch: pytest.MonkeyPatch) -> Callable[..., AsyncClient]:
    """A client of a dashboard behind a provider that is never asked: what it would answer is `told`."""
    pytest.importorskip("authlib.integrations.starlette_client")
    variables = {"ISSUER": "https://id.example", "CLIENT_ID": "windlass", "CLIENT_SECRET": "s", "SECRET": "k" * 40}
    for name, value in variables.items():
        monkeypatch.setenv(f"WINDLASS_DASHBOARD_{name}", value)

    def make(told: dict[str, Any] | None = None, public: str = "https://jobs.example") -> AsyncClient:
        from authlib.integrations.starlette_client import OAuthError, StarletteOAuth2App
        from starlette.responses import RedirectResponse

        async def redirect(self: Any, request: Any, uri: str) -> Response:
            request.session["_state"] = "of authlib"
            return RedirectResponse(f"https://id.example/authorize?redirect_uri={uri}")  # type: ignore[return-value]  # starlette's

        async def token(self: Any, request: Any) -> dict[str, Any]:
            if told is None or request.session.get("_state") != "of authlib":
                raise OAuthError("mismatching_state")
            return {"userinfo": told}

        monkeypatch.setattr(StarletteOAuth2App, "authorize_redirect", redirect)
        monkeypatch.setattr(StarletteOAuth2App, "authorize_access_token", token)
        client = serve("oidc", grants=GRANTS, public=public)
        client.base_url = public
        return client

    return make


ANN = {"sub": "1", "email": "ann@example.com", "email_verified": True}


async def login(client: AsyncClient, to: str = "/jobs") -> Response:
    """The whole way; answers the last step."""
    first = await client.get(to)
    assert first.status_code == 303
    assert (await client.get(first.headers["location"])).headers["location"].startswith("https://id.example/")
    return await client.get("/callback")


async def test_log_in_with_a_provider(oidc: Callable[..., AsyncClient]) -> None:
    async with oidc(ANN) as client:
        end = await login(client, "/jobs?q=state%3Afailed&x=%2F")
        assert (end.status_code, end.headers["location"]) == (303, "https://jobs.example/jobs?q=state%3Afailed&x=%2F")
        cookie = end.headers["set-cookie"].lower()
        assert all(word in cookie for word in ("windlass_session=", "httponly", "samesite=lax", "secure", "path=/"))
        assert await who(client, {}) == ("ann@example.com", "admin")
        await client.get("/logout")
        assert (await client.get("/api/v1/queues", headers={"Sec-Fetch-Mode": "cors"})).status_code == 401


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"sub": "ann@example.com"},
        {"email": "ann@example.com"},
        {"email": "ann@example.com", "email_verified": False},
        {"email": "ann@example.com", "email_verified": "false"},
        {"email": "eve@evil.example", "email_verified": True},
        {"email": ["ann@example.com"], "email_verified": True},
    ],
)
async def test_nobody_else_is_let_in(oidc: Callable[..., AsyncClient], told: dict[str, Any] | None) -> None:
    async with oidc(told) as client:
        end = await login(client)
        assert end.status_code == (403 if told is None else 303)
        assert (await client.get("/api/v1/queues", headers={"Sec-Fetch-Mode": "cors"})).status_code == 401


async def test_a_callback_that_nobody_asked_for_logs_nobody_in(oidc: Callable[..., AsyncClient]) -> None:
    async with oidc(ANN) as client:
        assert (await client.get("/callback?code=x&state=y")).status_code == 403
        assert (await client.get("/api/v1/queues", headers={"Sec-Fetch-Mode": "cors"})).status_code == 401


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example/",
        "//evil.example/",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "@evil.example",
        ".evil.example",
        ":80@evil.example",
        "javascript:alert(1)",
        "/%0d%0aSet-Cookie:x=1",
        "/\r\nSet-Cookie: x=1",
        "/\t/evil.example",
        "",
        "/" + "a" * 5000,
    ],
)
async def test_the_way_back_leads_here(oidc: Callable[..., AsyncClient], to: str) -> None:
    async with oidc(ANN) as client:
        await client.get("/login", params={"to": to})
        end = await client.get("/callback")
        location = end.headers["location"]
        assert (end.status_code, location[:21]) == (303, "https://jobs.example/")
        assert not any(mark in location for mark in "\r\n\t\\")
        assert "x" not in client.cookies


async def test_a_cookie_that_is_forged_or_old_is_none(
    oidc: Callable[..., AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    from itsdangerous import TimestampSigner

    said = {"windlass_who": "ann@example.com", "windlass_until": time.time() + 1000}

    def cookie(secret: str, told: dict[str, Any], age: float = 0) -> str:
        signer = TimestampSigner(secret)
        monkeypatch.setattr(signer, "get_timestamp", lambda: int(time.time() - age))
        return signer.sign(base64.b64encode(json.dumps(told).encode())).decode()

    good = cookie("k" * 40, said)
    forged = [
        cookie("another key", said),
        cookie("", said),
        cookie("k" * 40, said | {"windlass_until": time.time() - 1}),
        cookie("k" * 40, said, age=9 * 3600),
        cookie("k" * 40, {"windlass_who": "ann@example.com"}),
        cookie("k" * 40, said | {"windlass_who": "eve"}),
        good[:-1],
        good.rpartition(".")[0],
        good.replace(good[:8], "eyJhIjox", 1),
        base64.b64encode(json.dumps(said).encode()).decode(),
        "",
        "." * 100,
    ]
    async with oidc(ANN) as client:
        headers = {"Sec-Fetch-Mode": "cors"}
        assert (
            await client.get("/api/v1/queues", headers=headers | {"Cookie": f"windlass_session={good}"})
        ).status_code == 200
        for one in forged:
            response = await client.get("/api/v1/queues", headers=headers | {"Cookie": f"windlass_session={one}"})
            assert response.status_code == 401, one


async def test_only_a_page_is_sent_to_the_login(oidc: Callable[..., AsyncClient]) -> None:
    """What a page fetches gets a 401, which the page understands."""
    async with oidc(ANN) as client:
        navigated = await client.get("/jobs", headers={"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"})
        assert navigated.headers["location"] == "https://jobs.example/login?to=%2Fjobs"
        assert (await client.get("/api/v1/queues", headers={"Sec-Fetch-Mode": "cors"} | OWN)).status_code == 401
        assert (await client.post("/api/v1/queues/q", json={}, headers=OWN)).status_code == 401


def test_without_authlib_it_says_what_to_install(app: Windlass, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.setenv(f"WINDLASS_DASHBOARD_{name}", "x")
    monkeypatch.setitem(sys.modules, "authlib.integrations.starlette_client", None)
    with pytest.raises(ConfigurationError, match=r"windlass\[oidc\]"):
        build(app, Door(("oidc",), grants=["*=viewer"], public="https://jobs.example"))
