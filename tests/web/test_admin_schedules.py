"""Schedules over the dashboard's API: answers as docs/design/api.md has them, roles, the audit log, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from typing import Annotated, Any

import pytest
from contract import Contract
from fastapi import Depends, FastAPI, Header
from httpx2 import ASGITransport, AsyncClient

from windlass import Cron, Every, Schedule, Secret, Windlass
from windlass.core import schedule as core
from windlass.fastapi import Access, Role, dashboard
from windlass.timetable import SHELF
from windlass.worker.ticker import Ticker

CONTRACT = Contract()
_numbers = count()
NINE = {"kind": "cron", "line": "0 9 * * mon-fri", "tz": "Europe/Berlin"}


def somebody(x_role: Annotated[str, Header()] = "admin") -> Access:
    return Access(Role[x_role.upper()], "ann")


@pytest.fixture
async def app() -> AsyncIterator[Windlass]:
    app = Windlass(f"memory://schedules-{next(_numbers)}")

    @app.task(name="report")
    async def report(region: str, token: Annotated[str, Secret] = "") -> None: ...

    async with app.lifespan():
        yield app


def serve(app: Windlass, **given: Any) -> AsyncClient:
    api = FastAPI()
    api.include_router(dashboard(app, auth=Depends(somebody), **given), prefix="/w")
    headers = {"Sec-Fetch-Site": "same-origin"}
    return AsyncClient(transport=ASGITransport(app=api), base_url="http://testserver/w/api/v1", headers=headers)


@pytest.fixture
async def client(app: Windlass) -> AsyncIterator[AsyncClient]:
    async with serve(app, show_arguments=True) as client:
        yield client


async def get(client: AsyncClient, path: str, shape: str = "") -> Any:
    response = await client.get(path)
    assert response.status_code == 200, response.text
    value = response.json()
    assert CONTRACT.check(value, CONTRACT.reads[shape or path], path) == []
    return value


async def post(client: AsyncClient, name: str, body: Any, status: int = 200, **headers: str) -> Any:
    response = await client.post(f"schedules/{name}", json=body, headers=headers)
    assert response.status_code == status, response.text
    return response.json()


async def add(client: AsyncClient, name: str = "nine", **fields: Any) -> None:
    body = {"action": "add", "task": "report", "when": NINE, "args": {"region": "eu"}, **fields}
    assert await post(client, name, body) == {"affected": 1, "skipped": 0, "more": False, "until_id": None}


async def test_one_is_added_and_shown(client: AsyncClient) -> None:
    assert await get(client, "schedules") == {"schedules": []}
    await add(client, jitter="5m", args={"region": "eu", "token": "hush-hush"})
    (one,) = (await get(client, "schedules"))["schedules"]
    assert one == await get(client, "schedules/nine", "schedules/{name}")
    assert (one["when"], one["said"], one["jitter"]) == (
        NINE,
        "At 09:00 on Monday through Friday (Europe/Berlin)",
        300.0,
    )
    assert one["arguments"]["value"] == {"region": "eu", "token": "[secret]"}
    assert len(one["next"]) == 5
    assert len(one["day"]) <= 2


async def test_a_secret_that_comes_back_as_it_was_shown_keeps_its_value(app: Windlass, client: AsyncClient) -> None:
    await add(client, args={"region": "eu", "token": "hush-hush"})
    await post(client, "nine", {"action": "edit", "args": {"region": "us", "token": "[secret]"}})
    assert (await app.schedules.get("nine")).args == {"region": "us", "token": "hush-hush"}
    await post(client, "nine", {"action": "edit", "args": {"region": "us", "token": "other"}})
    assert (await app.schedules.get("nine")).args["token"] == "other"


async def test_what_fires_often_is_told_as_a_band(client: AsyncClient) -> None:
    await add(client, "often", when={"kind": "every", "seconds": 60})
    await add(client, "hourly", when={"kind": "every", "seconds": 3600})
    hourly, often = (await get(client, "schedules"))["schedules"]
    assert (often["day"], len(hourly["day"])) == (None, 24)


async def test_what_it_carries_is_hidden_where_arguments_are(app: Windlass) -> None:
    async with serve(app, show_arguments=False) as client:
        await add(client)
        (one,) = (await get(client, "schedules"))["schedules"]
        assert one["arguments"] == {"hidden": True, "size": 15, "value": None, "cut": False}
        assert "eu" not in str(one["arguments"])


async def test_it_is_edited_paused_resumed_run_and_removed(app: Windlass, client: AsyncClient) -> None:
    await add(client)
    await post(client, "nine", {"action": "edit", "when": {"kind": "every", "seconds": 900}, "overlap": "skip"})
    await post(client, "nine", {"action": "pause"})
    one = await get(client, "schedules/nine", "schedules/{name}")
    assert (one["said"], one["overlap"], one["paused"], one["next"], one["day"]) == (
        "Every 15 minutes",
        "skip",
        True,
        [],
        [],
    )
    await post(client, "nine", {"action": "resume"})
    job = (await post(client, "nine/run", {}, 201))["id"]
    (found,) = await (await app.broker()).get([job])
    assert found is not None
    assert found.task == "report"
    assert "key" in (await post(client, "nine/run", {}, 409))["title"]
    await post(client, "nine", {"action": "remove"})
    assert await get(client, "schedules") == {"schedules": []}
    entries = (await client.get("audit")).json()["entries"]
    assert [(one["action"], one["target"]) for one in entries] == [
        ("remove schedule", "nine"),
        ("run schedule", "nine"),
        ("run schedule", "nine"),
        ("resume schedule", "nine"),
        ("pause schedule", "nine"),
        ("edit schedule", "nine"),
        ("add schedule", "nine"),
    ]
    assert (entries[5]["detail"], "eu" in str(entries)) == ("when, overlap", False)


async def test_a_repeat_of_run_is_the_same_job(client: AsyncClient) -> None:
    await add(client)
    first = await post(client, "nine/run", {}, 201, **{"Idempotency-Key": "a"})
    assert await post(client, "nine/run", {}, 201, **{"Idempotency-Key": "a"}) == first
    assert await post(client, "nine/run", {}, 201, **{"Idempotency-Key": "b"}) != first


async def test_roles(client: AsyncClient) -> None:
    await add(client)
    for body in ({"action": "pause"}, {"action": "edit", "jitter": 5}):
        await post(client, "nine", body, 403, **{"X-Role": "viewer"})
        await post(client, "nine", body, 200, **{"X-Role": "operator"})
    await post(client, "nine", {"action": "remove"}, 403, **{"X-Role": "operator"})
    await post(client, "nine/run", {}, 403, **{"X-Role": "viewer"})


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"action": "add", "task": "report"}, 422, "needs a task, and when"),
        ({"action": "add", "task": "report", "when": NINE}, 422, "region"),
        ({"action": "add", "task": "nothing", "when": NINE}, 404, "does not know it"),
        ({"action": "add", "task": "report", "when": NINE, "args": {"region": "eu"}}, 422, "already"),
        ({"action": "edit", "when": {"kind": "cron", "line": "x"}}, 422, "no cron line"),
        ({"action": "edit", "when": {"kind": "cron", "line": "0 9 * * *", "tz": "Mars"}}, 422, "no time zone"),
        ({"action": "edit", "when": {"kind": "moon"}}, 422, "when: "),
        ({"action": "edit", "args": {"region": "eu", "x": 1}}, 422, "x"),
        ({"action": "edit", "options": {"at": 1}}, 422, "no option at"),
        ({"action": "edit", "overlap": "x"}, 422, "overlap"),
        ({"action": "edit", "window": "x"}, 422, "no duration"),
        ({"action": "dance"}, 422, "action"),
    ],
)
async def test_what_is_refused(client: AsyncClient, body: Any, status: int, said: str) -> None:
    await add(client)
    before = await get(client, "schedules")
    assert said in (await post(client, "nine", body, status))["detail"]
    assert await get(client, "schedules") == before


async def test_what_there_is_not(client: AsyncClient) -> None:
    for name, body in (("x", {"action": "pause"}), ("x/run", {}), ("x", {"action": "remove"})):
        assert (await post(client, name, body, 404))["type"] == "/problems/schedule-not-found"
    assert (await client.get("schedules/x")).status_code == 404


async def test_one_in_the_code_says_so_and_what_was_edited(app: Windlass, client: AsyncClient) -> None:
    @app.task(name="nightly", schedule=Cron("0 3 * * *"))
    async def nightly() -> None: ...

    await Ticker(await app.broker(), app).declare()
    await post(client, "nightly", {"action": "edit", "jitter": 60})
    one = await get(client, "schedules/nightly", "schedules/{name}")
    assert (one["origin"], one["edited"]) == ("code", ["jitter"])
    assert "in the code" in (await post(client, "nightly", {"action": "remove"}, 422))["detail"]


async def test_the_same_answer_is_not_sent_twice(client: AsyncClient) -> None:
    await add(client)
    tag = (await client.get("schedules")).headers["ETag"]
    assert (await client.get("schedules", headers={"If-None-Match": tag})).status_code == 304
    await post(client, "nine", {"action": "pause"})
    assert (await client.get("schedules", headers={"If-None-Match": tag})).status_code == 200


async def test_names_may_hold_anything(client: AsyncClient) -> None:
    await add(client, "a%2Fb%20%3Cscript%3E")
    (one,) = (await get(client, "schedules"))["schedules"]
    assert one["name"] == "a/b <script>"
    await post(client, "a%2Fb%20%3Cscript%3E", {"action": "pause"})
    await post(client, "a%2Fb%20%3Cscript%3E/run", {}, 201)


async def test_of_a_task_that_is_not_here_it_can_be_seen_and_paused(app: Windlass, client: AsyncClient) -> None:
    one = Schedule(Every("1h"), name="far", task="far.away")
    await (await app.broker()).put(SHELF, "far", core.write(one))
    await post(client, "far", {"action": "pause"})
    assert (await post(client, "far/run", {}, 404))["type"] == "/problems/task-not-found"
    assert (await get(client, "schedules"))["schedules"][0]["paused"]
