"""The dashboard's API, asked at random what its own description allows, and a little beyond: nothing is the server's fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings

from windlass import Windlass
from windlass.fastapi import dashboard
from windlass.web.admin.router import _api

PROBLEMS = ("application/json", "application/problem+json")


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = Windlass("memory://dashboard-fuzz", name="shop", max_payload=2000)

    @app.task(name="send", queue="send")
    async def send(to: str, copies: int = 1) -> None: ...

    api = FastAPI()
    api.include_router(dashboard(app, auth=lambda: "admin"))
    headers = {"Sec-Fetch-Site": "same-origin"}
    with TestClient(api, headers=headers, raise_server_exceptions=False) as client:
        yield client


def operations() -> list[tuple[str, str]]:
    """Everything in the description that ends by itself."""
    described = _api(Windlass("memory://dashboard-described"), True)
    paths = get_openapi(title="", version="1", routes=described.routes)["paths"]
    endless = ("/stream", "/jobs/{job_id}/events")
    return [(method, path) for path, methods in paths.items() if path not in endless for method in methods]


@pytest.mark.parametrize(("method", "path"), operations())
def test_nothing_that_is_asked_is_the_servers_fault(client: TestClient, method: str, path: str) -> None:
    described = client.get("/api/v1/openapi.json").json()
    operation = schemathesis.openapi.from_dict(described)[path][method.upper()]
    added = client.post(
        "/api/v1/tasks/send/run", json={"arguments": {"to": "ann"}}
    )  # what was there may have been deleted
    assert added.status_code == 201
    known = {"name": "send", "job_id": client.get("/api/v1/jobs").json()["jobs"][0]["id"]}

    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        for name, value in (case.path_parameters or {}).items():
            if len(value) % 2:
                case.path_parameters[name] = known.get(name, value)
        given = case.as_transport_kwargs(base_url="http://testserver/api/v1")
        response = client.request(
            given["method"], given["url"], params=given.get("params"), json=given.get("json"), content=given.get("data")
        )
        assert response.status_code < 500 or response.status_code == 501, response.text
        assert response.status_code == 304 or response.headers["content-type"] in PROBLEMS

    check()
