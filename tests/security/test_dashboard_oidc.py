"""The login by OpenID Connect with a provider that is really asked, honest or not."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from httpx2 import ASGITransport, AsyncClient

from windlass import Windlass
from windlass.cli.dashboard import Door, build

pytest.importorskip("authlib.integrations.starlette_client")
PUBLIC = "https://jobs.example"


class Provider:
    """An identity provider. lie: what it says wrong: a claim by its name, "signature", "alg", or "refuse"."""

    def __init__(self) -> None:
        from joserfc.jwk import RSAKey

        self.lie: tuple[str, Any] | None = None
        self.asked: dict[str, str] = {}
        self.issuer = ""
        self._key = RSAKey.generate_key(2048, {"kid": "1"})
        self._other = RSAKey.generate_key(2048, {"kid": "1"})

    def app(self) -> FastAPI:
        api = FastAPI()

        @api.get("/.well-known/openid-configuration")
        def described() -> dict[str, Any]:
            paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            told = {name: f"{self.issuer}/{path}" for name, path in paths.items()}
            return {"issuer": self.issuer, "id_token_signing_alg_values_supported": ["RS256"], **told}

        @api.get("/authorize")
        def authorize(request: Request) -> Response:
            self.asked = dict(request.query_params)
            answer = {"error": "access_denied"} if self.lie == ("refuse", True) else {"code": "c0de"}
            back = urlencode(answer | {"state": self.asked["state"]})
            return RedirectResponse(f"{self.asked['redirect_uri']}?{back}")

        @api.post("/token")
        async def token(request: Request) -> Response:
            given = {name: value for name, (value,) in parse_qs((await request.body()).decode()).items()}
            digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
            proof = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            if (given["code"], proof) != ("c0de", self.asked["code_challenge"]):
                return JSONResponse({"error": "invalid_grant"}, 400)
            return JSONResponse({"access_token": "a", "token_type": "Bearer", "id_token": self._id_token()})

        @api.get("/keys")
        def keys() -> dict[str, Any]:
            return {"keys": [self._key.as_dict(private=False)]}

        return api

    def _id_token(self) -> str:
        from joserfc import jwt

        now = int(time.time())
        told = {
            "iss": self.issuer,
            "aud": "windlass",
            "sub": "1",
            "iat": now,
            "exp": now + 60,
            "nonce": self.asked["nonce"],
        }
        told |= {"email": "ann@example.com", "email_verified": True}
        what, value = self.lie or ("", None)
        if what in told:
            told[what] = value
        if what == "alg":
            head, body = (
                base64.urlsafe_b64encode(part).decode().rstrip("=")
                for part in (b'{"alg":"none"}', str(told).replace("'", '"').replace("True", "true").encode())
            )
            return f"{head}.{body}."
        return jwt.encode({"alg": "RS256", "kid": "1"}, told, self._other if what == "signature" else self._key)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    listening = socket.create_server(("127.0.0.1", 0))
    provider.issuer = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(provider.app(), log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield provider
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture
async def browser(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncClient]:
    """A browser before the dashboard, which follows no redirect by itself."""
    given = {"ISSUER": provider.issuer, "CLIENT_ID": "windlass", "CLIENT_SECRET": "s", "SECRET": "k" * 40}
    for name, value in given.items():
        monkeypatch.setenv(f"WINDLASS_DASHBOARD_{name}", value)
    app = Windlass("memory://dashboard-oidc", name="shop")
    api = build(app, Door(("oidc",), grants=["*@example.com=viewer"], public=PUBLIC))
    async with app.lifespan(), AsyncClient(transport=ASGITransport(app=api), base_url=PUBLIC) as client:
        yield client


async def walk(browser: AsyncClient, provider: Provider, lie: tuple[str, Any] | None = None) -> Any:
    """To the provider and back; the dashboard's answer."""
    provider.lie = lie
    first = await browser.get("/jobs?q=x")
    to_provider = (await browser.get(first.headers["location"])).headers["location"]
    async with AsyncClient() as elsewhere:
        back = (await elsewhere.get(to_provider)).headers["location"]
    assert back.startswith(f"{PUBLIC}/callback?")
    return await browser.get(back)


async def status(browser: AsyncClient) -> int:
    return (await browser.get("/api/v1/queues", headers={"Sec-Fetch-Mode": "cors"})).status_code


async def test_an_honest_provider(browser: AsyncClient, provider: Provider) -> None:
    assert await status(browser) == 401
    end = await walk(browser, provider)
    assert (end.status_code, end.headers["location"]) == (303, f"{PUBLIC}/jobs?q=x")
    assert await status(browser) == 200
    assert {"state", "nonce", "code_challenge"} <= provider.asked.keys()
    assert provider.asked["code_challenge_method"] == "S256"
    assert provider.asked["redirect_uri"] == f"{PUBLIC}/callback"


@pytest.mark.parametrize(
    "lie",
    [
        ("refuse", True),
        ("signature", True),
        ("alg", "none"),
        ("iss", "http://evil.example"),
        ("aud", "another"),
        ("nonce", "of another login"),
        ("exp", 1_000_000_000),
        ("email_verified", False),
        ("email", "ann@example.com.evil.example"),
    ],
)
async def test_a_lie_lets_nobody_in(browser: AsyncClient, provider: Provider, lie: tuple[str, Any]) -> None:
    end = await walk(browser, provider, lie)
    assert end.status_code in (303, 403)
    assert await status(browser) == 401


async def test_an_answer_counts_once_and_for_its_own_browser(browser: AsyncClient, provider: Provider) -> None:
    first = await browser.get("/jobs")
    to_provider = (await browser.get(first.headers["location"])).headers["location"]
    async with AsyncClient() as elsewhere:
        back = (await elsewhere.get(to_provider)).headers["location"]
    mine = dict(browser.cookies)
    browser.cookies.clear()
    assert (await browser.get(back)).status_code == 403  # a victim who was sent there logs in as nobody
    assert await status(browser) == 401
    browser.cookies.update(mine)
    changed = back.replace(parse_qs(urlsplit(back).query)["state"][0], "guessed")
    assert (await browser.get(changed)).status_code == 403


async def test_a_provider_that_is_away(
    browser: AsyncClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("WINDLASS_DASHBOARD_ISSUER", f"http://127.0.0.1:{port}")
    api = build(Windlass("memory://dashboard-oidc", name="shop"), Door(("oidc",), grants=["*=viewer"], public=PUBLIC))
    async with AsyncClient(transport=ASGITransport(app=api, raise_app_exceptions=False), base_url=PUBLIC) as client:
        assert (await client.get("/login")).status_code == 503
