"""What can be done over the dashboard's API, what it leaves alone, and what the audit log says of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from fastapi import Depends, FastAPI, Header
from httpx2 import ASGITransport, AsyncClient

from servers import BINARIES, MISSING, RedisServer
from windlass import Debounce, Job, Retry, Secret, State, Windlass
from windlass.broker.port import Broker
from windlass.core.ids import derived, new_id
from windlass.core.job import Card, Claim, NewJob, Wish
from windlass.core.measures import Report, Sighting
from windlass.core.outcome import ErrorInfo, Failed, Outcome, Succeeded
from windlass.core.payload import unpack
from windlass.core.terms import Terms
from windlass.errors import BrokerUnavailable
from windlass.fastapi import Access, Role, dashboard
from windlass.web.admin import actions

FAILED = Failed(ErrorInfo("exception", "OSError", "disk full"))
_numbers = count()


def somebody(x_role: Annotated[str, Header()] = "admin") -> Access:
    return Access(Role[x_role.upper()], "ann")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    if not BINARIES:
        pytest.skip(MISSING)
    with RedisServer() as server:
        yield server


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store: in memory, unless a test asks for others by their names."""
    kind = getattr(request, "param", "memory")
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.command("FLUSHALL")
        return server.url()
    return f"memory://actions-{next(_numbers)}"


@pytest.fixture
async def app(url: str) -> AsyncIterator[Windlass]:
    app = Windlass(url, name="shop", max_payload=2000)

    @app.task(name="send", queue="mail")
    async def send(to: str, copies: int = 1) -> None: ...

    @app.task(name="charge", retry=Retry(attempts=1))
    async def charge(card: Annotated[str, Secret], amount: int) -> None: ...

    async with app.lifespan():
        yield app


@pytest.fixture
async def broker(app: Windlass) -> Broker:
    return await app.broker()


@pytest.fixture
async def client(app: Windlass) -> AsyncIterator[AsyncClient]:
    api = FastAPI()
    api.include_router(dashboard(app, auth=Depends(somebody)), prefix="/windlass")
    headers = {"Sec-Fetch-Site": "same-origin"}
    async with AsyncClient(
        transport=ASGITransport(app=api), base_url="http://testserver/windlass/api/v1", headers=headers
    ) as client:
        yield client


@pytest.fixture
def send(app: Windlass) -> Any:
    return app.get_task("send")


async def post(client: AsyncClient, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
    response = await client.post(path, json={} if body is None else body, headers=headers)
    assert response.status_code == status, response.text
    return response.json()


async def job_of(broker: Broker, job_id: str) -> Job:
    (job,) = await broker.get([job_id])
    assert job is not None
    return job


async def states(broker: Broker, ids: list[str]) -> list[State | None]:
    return [job and job.state for job in await broker.get(ids)]


async def start(broker: Broker, number: int = 1, queue: str = "mail") -> list[Claim]:
    await broker.beat("w", Card(host="h", pid=1), 60.0)
    claims = await broker.claim([queue], {"loop": number}, "w")
    assert len(claims) == number
    return claims


async def end(broker: Broker, claims: list[Claim], outcome: Outcome) -> None:
    assert all((await broker.settle([(claim, outcome) for claim in claims]))[0])


async def audit(client: AsyncClient) -> list[dict[str, Any]]:
    response = await client.get("/audit")
    assert response.status_code == 200
    entries: list[dict[str, Any]] = response.json()["entries"]
    return entries


async def many(send: Any, number: int) -> list[str]:
    handles = await send.app.enqueue_many([send.bind(f"{n}@example.com") for n in range(number)])
    return [handle.id for handle in handles]


# --- many jobs ----------------------------------------------------------------------------------------------


async def test_jobs_by_their_ids(client: AsyncClient, broker: Broker, send: Any) -> None:
    failed, running, waiting = await many(send, 3)
    first, _ = await start(broker, 2)
    assert first.id == failed
    await end(broker, [first], FAILED)
    all_of_them = [failed, running, waiting, new_id()]
    assert await post(client, "/jobs/actions", {"action": "retry", "ids": all_of_them}) == {
        "affected": 1, "skipped": 3, "more": False, "until_id": None,
    }  # fmt: skip
    assert (await post(client, "/jobs/actions", {"action": "cancel", "ids": all_of_them}))["affected"] == 3
    assert await states(broker, all_of_them) == [State.CANCELLED, State.RUNNING, State.CANCELLED, None]
    assert (await job_of(broker, running)).cancelling
    assert (await post(client, "/jobs/actions", {"action": "delete", "ids": all_of_them}))["affected"] == 2
    assert await states(broker, all_of_them) == [None, State.RUNNING, None, None]


async def test_a_join_goes_and_comes_back_with_its_parts(client: AsyncClient, broker: Broker) -> None:
    join = NewJob(id=new_id(), task="send", body=b"{}", terms=Terms(letters=2))
    parts = [derived(join.id, n) for n in range(2)]
    await broker.enqueue(
        [join, *(NewJob(id=one, task="send", body=b"{}", terms=Terms(to=(join.id,))) for one in parts)]
    )
    body = {"ids": [join.id]}
    assert (await post(client, "/jobs/actions", body | {"action": "cancel"}))["affected"] == 1
    assert await states(broker, [join.id, *parts]) == [State.CANCELLED] * 3
    done = await post(client, "/jobs/actions", body | {"action": "retry"})
    assert (done["affected"], done["skipped"]) == (1, 0)
    assert await states(broker, [join.id, *parts]) == [State.WAITING, State.READY, State.READY]


@pytest.mark.parametrize("action", ["retry", "cancel", "delete"])
async def test_what_two_people_do_at_once_is_done_once(
    client: AsyncClient, broker: Broker, send: Any, action: str
) -> None:
    ids = await many(send, 20)
    if action == "retry":
        await end(broker, await start(broker, 20), FAILED)
    body = {"action": action, "ids": ids}
    first, second = await asyncio.gather(*(post(client, "/jobs/actions", body) for _ in "ab"))
    assert first["affected"] + second["affected"] == 20
    assert (await post(client, "/jobs/actions", body))["affected"] == 0


async def test_all_that_match_and_nothing_else(client: AsyncClient, broker: Broker, send: Any) -> None:
    mine = await many(send, 3)
    other = (await send.options(queue="other").enqueue("x")).id
    body = {"action": "cancel", "q": "queue:mail"}
    assert (await post(client, "/jobs/actions", body | {"dry_run": True}))["affected"] == 3
    assert await states(broker, mine) == [State.READY] * 3
    assert (await post(client, "/jobs/actions", body))["affected"] == 3
    assert await states(broker, [*mine, other]) == [State.CANCELLED] * 3 + [State.READY]
    assert await post(client, "/jobs/actions", body) == {"affected": 0, "skipped": 0, "more": False, "until_id": None}


@pytest.mark.parametrize("url", ["memory", "sqlite", "redis"], indirect=True)
async def test_a_day_at_the_desk(client: AsyncClient, broker: Broker, send: Any) -> None:
    """Every action on every kind of store."""
    ids = await many(send, 30)
    await post(client, "/queues/mail", {"action": "pause"})
    assert [queue.paused for queue in await broker.tally()] == [True]
    await post(client, "/queues/mail", {"action": "resume"})
    await end(broker, await start(broker, 10), FAILED)
    body = {"action": "retry", "q": "error:OSError disk", "until_id": ids[6]}
    assert (await post(client, "/jobs/actions", body | {"dry_run": True}))["affected"] == 7
    assert (await post(client, "/jobs/actions", body))["affected"] == 7
    (claim,) = await start(broker)
    await post(client, f"/jobs/{claim.id}/kill", status=202)
    made = (await post(client, f"/jobs/{ids[8]}/again", {"arguments": {"to": "bob"}}, 201))["id"]
    await post(client, "/tasks/send/run", {"arguments": {"to": "eve"}, "options": {"delay": "1h"}}, 201)
    assert (await post(client, "/queues/mail", {"action": "purge"}))["affected"] == 28
    assert (await post(client, "/jobs/actions", {"action": "delete", "q": "state:failed state:cancelled"}))[
        "affected"
    ] == 31
    left = {job: state for job, state in zip([made, *ids], await states(broker, [made, *ids]), strict=True) if state}
    assert left == {claim.id: State.RUNNING}
    assert [one["action"] for one in reversed(await audit(client))] == [
        "pause", "resume", "retry", "kill", "run again", "run", "purge", "delete",
    ]  # fmt: skip


async def test_what_was_made_after_the_click_is_left_alone(client: AsyncClient, broker: Broker, send: Any) -> None:
    before = await many(send, 3)
    after = await many(send, 2)
    body = {"action": "cancel", "q": "", "until_id": before[-1]}
    assert (await post(client, "/jobs/actions", body))["affected"] == 3
    assert await states(broker, before + after) == [State.CANCELLED] * 3 + [State.READY] * 2


async def test_one_call_does_a_thousand_and_says_where_to_go_on(client: AsyncClient, broker: Broker, send: Any) -> None:
    ids = await many(send, 1200)
    body = {"action": "cancel", "q": "state:ready"}
    counted = await post(client, "/jobs/actions", body | {"dry_run": True})
    assert (counted["affected"], counted["more"]) == (1000, True)
    first = await post(client, "/jobs/actions", body)
    assert (first["affected"], first["more"]) == (1000, True)
    second = await post(client, "/jobs/actions", body | {"until_id": first["until_id"]})
    assert (second["affected"], second["more"]) == (200, False)
    assert set(await states(broker, ids)) == {State.CANCELLED}


async def test_a_call_without_patience_left_says_so(
    client: AsyncClient, broker: Broker, send: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await many(send, 3)
    monkeypatch.setattr(actions, "PATIENCE", -1.0)
    done = await post(client, "/jobs/actions", {"action": "cancel", "q": "", "until_id": ids[-1]})
    assert (done["affected"], done["more"], done["until_id"]) == (0, True, ids[-1])


@pytest.mark.parametrize(
    "body",
    [
        {"action": "retry"},
        {"action": "retry", "ids": [], "q": ""},
        {"action": "explode", "ids": []},
        {"action": "retry", "ids": ["../etc"]},
        {"action": "retry", "ids": [new_id()] * 1001},
        {"action": "retry", "q": "colour:red"},
        {"action": "retry", "q": "", "until_id": "now"},
        {"action": "retry", "ids": [], "force": True},
        {"action": "retry", "ids": "all"},
        ["retry"],
        "retry",
        None,
    ],
)
async def test_what_makes_no_sense_is_a_422(client: AsyncClient, body: Any) -> None:
    response = await client.post(
        "/jobs/actions", content=msgspec.json.encode(body), headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert await audit(client) == []


async def test_only_an_admin_chooses_jobs_by_arguments_that_are_hidden(client: AsyncClient, send: Any) -> None:
    await many(send, 1)
    body = {"action": "cancel", "q": "arg.to=0@example.com", "dry_run": True}
    await post(client, "/jobs/actions", body, 403, **{"X-Role": "operator"})
    assert (await post(client, "/jobs/actions", body))["affected"] == 1


# --- one job ------------------------------------------------------------------------------------------------


async def test_again_makes_the_same_job(client: AsyncClient, broker: Broker, send: Any) -> None:
    options = {"priority": 8, "timeout": 60, "meta": {"tenant": "a"}, "retry": Retry(attempts=7)}
    job = await send.options(**options).enqueue("ann", copies=2)
    made = await job_of(broker, (await post(client, f"/jobs/{job.id}/again", status=201))["id"])
    first = await job.info()
    assert made.id != first.id
    assert (made.task, made.queue, made.lane, made.priority) == ("send", "mail", "loop", 8)
    told, was = unpack(made.body), unpack(first.body)
    assert (bytes(told.args), told.timeout, told.meta, told.retry) == (bytes(was.args), 60, {"tenant": "a"}, was.retry)


async def test_again_takes_its_turn_as_the_first_did_and_replaces_nobody(
    client: AsyncClient, broker: Broker, send: Any
) -> None:
    options = {"fair_by": "ann", "weight": 2.0, "ageing": "1m", "key": "k", "debounce": Debounce("1m")}
    job = await send.options(**options).enqueue("ann")
    await job.cancel()
    made = await job_of(broker, (await post(client, f"/jobs/{job.id}/again", status=201))["id"])
    assert (made.key, made.terms) == ("k", Terms(group="ann", weight=2.0, ageing=60.0, unique="started"))
    await post(client, f"/jobs/{job.id}/again", status=409)


async def test_again_with_other_arguments(client: AsyncClient, broker: Broker, send: Any) -> None:
    job = await send.enqueue("ann")
    body = {"arguments": {"to": "bob", "copies": "3"}, "queue": "slow", "priority": 0, "delay": "5m"}
    made = await job_of(broker, (await post(client, f"/jobs/{job.id}/again", body, 201))["id"])
    assert unpack(made.body).shown() == {"to": "bob", "copies": 3}
    assert (made.queue, made.priority, made.state) == ("slow", 0, State.SCHEDULED)


@pytest.mark.parametrize(
    "body",
    [
        {"arguments": {"copies": 1}},
        {"arguments": {"to": "bob", "copies": "many"}},
        {"arguments": {"to": "bob", "bcc": "eve"}},
        {"arguments": ["bob"]},
        {"arguments": None},
        {"arguments": {"to": "x" * 3000}},
        {"priority": 10},
        {"queue": ""},
        {"queue": "a\nb"},
        {"delay": "soon"},
        {"delay": -1},
        {"delay": 1e300},
        {"key": "mine"},
    ],
)
async def test_again_refuses_what_would_not_run(client: AsyncClient, broker: Broker, send: Any, body: Any) -> None:
    job = await send.enqueue("ann")
    response = await client.post(
        f"/jobs/{job.id}/again", content=msgspec.json.encode(body), headers={"Content-Type": "application/json"}
    )
    assert response.status_code in (413, 422), response.text
    (queue,) = await broker.tally()
    assert queue.counts == {State.READY: 1}


async def test_a_secret_that_was_not_shown_is_kept(client: AsyncClient, app: Windlass, broker: Broker) -> None:
    job = await app.get_task("charge").enqueue("4111 1111", 5)
    body = {"arguments": {"card": "[secret]", "amount": 7}}
    made = await job_of(broker, (await post(client, f"/jobs/{job.id}/again", body, 201))["id"])
    envelope = unpack(made.body)
    assert msgspec.json.decode(envelope.args) == {"card": "4111 1111", "amount": 7}
    assert envelope.shown()["card"] == "[secret]"


async def test_a_task_that_is_not_known_here_is_made_again_as_it_was(client: AsyncClient, broker: Broker) -> None:
    body = b'{"args":{"n":12345678901234567890,"token":"geheim"},"v":1,"secret":["token"]}'
    (placed,) = await broker.enqueue([NewJob(id=new_id(), task="elsewhere", body=body, lane="process", priority=1)])
    made = await job_of(broker, (await post(client, f"/jobs/{placed.id}/again", status=201))["id"])
    assert (made.task, made.lane, made.priority) == ("elsewhere", "process", 1)
    assert bytes(unpack(made.body).args) == b'{"n":12345678901234567890,"token":"geheim"}'
    edited = {"arguments": {"n": 98765432109876543210, "token": "[secret]"}}
    made = await job_of(broker, (await post(client, f"/jobs/{placed.id}/again", edited, 201))["id"])
    assert msgspec.json.decode(unpack(made.body).args) == {"n": 98765432109876543210, "token": "geheim"}


async def test_what_cannot_be_read_is_not_made_again(client: AsyncClient, broker: Broker) -> None:
    (placed,) = await broker.enqueue([NewJob(id=new_id(), task="send", body=b"\xff")])
    await post(client, f"/jobs/{placed.id}/again", status=409)
    await post(client, f"/jobs/{new_id()}/again", status=404)
    await post(client, "/jobs/none/again", status=404)


async def test_a_key_still_admits_one_unfinished_job(client: AsyncClient, broker: Broker, send: Any) -> None:
    job = await send.options(key="k").enqueue("ann")
    assert (await post(client, f"/jobs/{job.id}/again", status=409))["id"] == job.id
    await job.cancel()
    made = await post(client, f"/jobs/{job.id}/again", status=201)
    assert (await job_of(broker, made["id"])).key == "k"


async def test_run_a_task(client: AsyncClient, broker: Broker) -> None:
    at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    body = {"arguments": {"to": "ann"}, "options": {"priority": 9, "at": at, "key": "k", "meta": {"why": "by hand"}}}
    made = await job_of(broker, (await post(client, "/tasks/send/run", body, 201))["id"])
    assert (made.queue, made.priority, made.key, made.state) == ("mail", 9, "k", State.SCHEDULED)
    assert unpack(made.body).meta == {"why": "by hand"}
    assert (await post(client, "/tasks/send/run", body, 409))["id"] == made.id


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"arguments": {"to": 5}},
        {"arguments": {"to": "ann"}, "options": {"colour": "red"}},
        {"arguments": {"to": "ann"}, "options": {"at": "tomorrow"}},
        {"arguments": {"to": "ann"}, "options": {"at": "2030-01-01T00:00:00"}},
        {"arguments": {"to": "ann"}, "options": {"at": "9999-12-31T23:59:59-12:00"}},
        {"arguments": {"to": "ann"}, "options": {"retry": {"attempts": 99}}},
        {"arguments": {"to": "ann"}, "options": {"meta": {"a": 1}}},
        {"arguments": {"to": "ann"}, "options": {"delay": [1]}},
        {"arguments": {"to": "ann"}, "options": {"delay": 1e300}},
        {"arguments": {"to": "ann"}, "options": {"delay": 10**300}},
        {"arguments": {"to": "ann"}, "options": {"expires": "40000d"}},
        {"arguments": {"to": "ann"}, "options": {"keep": 1e18}},
        {"arguments": {"to": "ann"}, "options": {"timeout": 1e300}},
        {"arguments": {"to": "ann"}, "options": {"timeout": 0}},
    ],
)
async def test_run_refuses_what_would_not_run(client: AsyncClient, broker: Broker, body: Any) -> None:
    await post(client, "/tasks/send/run", body, 422)
    assert await broker.tally() == []


@pytest.mark.parametrize("url", ["memory", "sqlite", "redis"], indirect=True)
async def test_a_repeat_under_the_same_key_makes_no_second_job(client: AsyncClient, broker: Broker, send: Any) -> None:
    old, key = await send.enqueue("ann"), {"Idempotency-Key": "k"}
    for path in ("/tasks/send/run", f"/jobs/{old.id}/again"):
        body = {"arguments": {"to": "bob"}}
        answers = await asyncio.gather(*(client.post(path, json=body, headers=key) for _ in range(3)))
        assert [one.status_code for one in answers] == [201] * 3
        assert len({one.json()["id"] for one in answers}) == 1
        assert sorted(one.headers.get("idempotent-replayed", "") for one in answers) == ["", "true", "true"]
        other = await post(client, path, {"arguments": {"to": "eve"}}, 422, **key)
        assert other["type"] == "/problems/idempotency-key-reused"
    (queue,) = await broker.tally()
    assert queue.counts == {State.READY: 3}
    assert [one["detail"].rpartition("; ")[0] for one in await audit(client) if one["action"] == "run"].count(
        "a repeat"
    ) == 2


async def test_a_key_is_of_one_person_and_one_action(app: Windlass, send: Any) -> None:
    def named(x_name: Annotated[str, Header()]) -> Access:
        return Access(Role.ADMIN, x_name)

    api = FastAPI()
    api.include_router(dashboard(app, auth=named))
    first, second = await many(send, 2)
    body, key = {"arguments": {"to": "bob"}}, {"Idempotency-Key": "k", "Sec-Fetch-Site": "same-origin"}
    paths = ("/tasks/send/run", f"/jobs/{first}/again", f"/jobs/{second}/again")
    async with AsyncClient(transport=ASGITransport(app=api), base_url="http://here/api/v1", headers=key) as client:
        made = [await post(client, path, body, 201, **{"X-Name": name}) for path in paths for name in ("ann", "bob")]
        assert len({one["id"] for one in made}) == 6
        await post(client, paths[0], body, 422, **{"X-Name": "ann", "Idempotency-Key": "k" * 256})


async def test_a_task_that_is_not_here_cannot_be_run(client: AsyncClient) -> None:
    assert (await post(client, "/tasks/os.system/run", {"arguments": {}}, 404))["type"] == "/problems/task-not-found"


async def test_kill(client: AsyncClient, broker: Broker, send: Any) -> None:
    running, waiting = await many(send, 2)
    (claim,) = await start(broker)
    await post(client, f"/jobs/{running}/kill", status=202)
    await post(client, f"/jobs/{running}/kill", status=202)
    await post(client, f"/jobs/{waiting}/kill", status=202)
    assert (await job_of(broker, running)).cancelling
    assert (await job_of(broker, waiting)).state is State.CANCELLED
    await end(broker, [claim], Succeeded(b"null"))
    await post(client, f"/jobs/{running}/kill", status=409)
    await post(client, f"/jobs/{new_id()}/kill", status=404)


# --- failures, queues, workers ------------------------------------------------------------------------------


async def test_failures(client: AsyncClient, broker: Broker) -> None:
    await broker.record(
        "w", 1, Report([], [Sighting("f1", "send", "OSError", "a.py in f", 3, 1, new_id(), "disk full")])
    )
    assert (await post(client, "/failures/f1", {"action": "resolve"}))["state"] == "resolved"
    assert [fault.state for fault in await broker.faults()] == ["resolved"]
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    row = await post(client, "/failures/f1", {"action": "snooze", "until": tomorrow.isoformat()})
    assert (row["state"], row["count"], row["ended"]) == ("snoozed", 3, 1)
    assert datetime.fromisoformat(row["until"]) == tomorrow
    assert (await post(client, "/failures/f1", {"action": "open"}))["state"] == "open"
    await post(client, "/failures/f1", {"action": "snooze"}, 422)
    await post(client, "/failures/f1", {"action": "snooze", "until": "2020-01-01T00:00:00Z"}, 422)
    await post(client, "/failures/f1", {"action": "snooze", "until": "2090-01-01T00:00:00"}, 422)
    await post(client, "/failures/f2", {"action": "resolve"}, 404)


async def test_pause_and_resume(client: AsyncClient, broker: Broker, send: Any) -> None:
    await many(send, 1)
    assert [(await post(client, "/queues/mail", {"action": "pause"}))["affected"] for _ in range(2)] == [1, 0]
    assert (await broker.tally())[0].paused
    assert [(await post(client, "/queues/mail", {"action": "resume"}))["affected"] for _ in range(2)] == [1, 0]
    assert not (await broker.tally())[0].paused


async def test_a_queue_may_be_called_what_it_likes(client: AsyncClient, broker: Broker) -> None:
    await post(client, "/queues/a%2Fb%3Fc%20%25d", {"action": "pause"})
    assert [queue.name for queue in await broker.tally()] == ["a/b?c %d"]
    await post(client, "/queues/a%E2%80%AEb", {"action": "pause"}, 422)
    await post(client, f"/queues/{'a' * 256}", {"action": "pause"}, 422)
    assert len(await broker.tally()) == 1


async def test_purge_cancels_what_waits(client: AsyncClient, broker: Broker, send: Any) -> None:
    ids = await many(send, 1500)
    (running,) = await start(broker)
    later = (await send.options(delay="1h").enqueue("x")).id
    other = (await send.options(queue="other").enqueue("x")).id
    done = await post(client, "/queues/mail", {"action": "purge"})
    assert (done["affected"], done["more"]) == (1500, False)
    assert set(await states(broker, [later, *ids[1:]])) == {State.CANCELLED}
    assert (await job_of(broker, running.id)).state is State.RUNNING
    assert not (await job_of(broker, running.id)).cancelling
    assert (await job_of(broker, other)).state is State.READY


async def test_workers(client: AsyncClient, broker: Broker) -> None:
    await broker.beat("w", Card(host="h", pid=1), 60.0)
    await post(client, "/workers/gone", {"action": "quiet"}, 404)
    await post(client, "/workers/w", {"action": "explode"}, 422)
    for action, state in {"quiet": "quiet", "work": "working", "stop": "stopped"}.items():
        await post(client, "/workers/w", {"action": action}, 202)
        (worker,) = await broker.workers()
        assert worker.wish == Wish(state)
    stacks = set[float]()
    for _ in range(2):
        await post(client, "/workers/w", {"action": "dump"}, 202)
        (worker,) = await broker.workers()
        assert worker.wish.state == "stopped"
        stacks.add(worker.wish.stacks)
    assert len(stacks) == 2, "each asks anew"


# --- the audit log ------------------------------------------------------------------------------------------


async def test_who_did_what(client: AsyncClient, app: Windlass, send: Any) -> None:
    job = await app.get_task("charge").enqueue("4111 1111", 5)
    await post(client, "/queues/mail", {"action": "pause"})
    await post(
        client, f"/jobs/{job.id}/again", {"arguments": {"card": "4242", "amount": 7}}, 201, **{"X-Role": "operator"}
    )
    await post(client, "/jobs/actions", {"action": "cancel", "q": 'task:charge arg.card="4111 1111" disk'})
    entries = await audit(client)
    assert [(one["who"], one["role"], one["action"], one["target"]) for one in entries] == [
        ("ann", "admin", "cancel", "all that match"),
        ("ann", "operator", "run again", job.id),
        ("ann", "admin", "pause", "mail"),
    ]
    assert entries[0]["detail"] == "task:charge arg.card=… disk; done to 0, 0 left alone"
    assert entries[1]["detail"].startswith("with edited arguments; job ")
    assert not any(secret in str(entries) for secret in ("4111", "4242"))
    assert all(abs(datetime.fromisoformat(one["at"]) - datetime.now(UTC)) < timedelta(minutes=1) for one in entries)


async def test_the_log_has_pages(client: AsyncClient) -> None:
    for n in range(60):
        await post(client, f"/queues/q{n}", {"action": "pause"})
    first = (await client.get("/audit")).json()
    second = (await client.get("/audit", params={"before": first["next"]})).json()
    targets = [one["target"] for one in first["entries"] + second["entries"]]
    assert (targets, second["next"]) == ([f"q{n}" for n in reversed(range(60))], None)


async def test_what_is_refused_is_noted(client: AsyncClient, send: Any) -> None:
    job = await send.options(key="k").enqueue("ann")
    await post(client, f"/jobs/{job.id}/again", status=409)
    assert [one["detail"] for one in await audit(client)] == ["refused"]


async def test_long_texts_are_cut_and_damaged_entries_left_out(client: AsyncClient, broker: Broker) -> None:
    ids = [new_id() for _ in range(100)]
    await post(client, "/jobs/actions", {"action": "retry", "ids": ids})
    await broker.put("audit", "0", b"nonsense")
    await broker.put("audit", "zzz", b'{"who":"x","role":"admin","action":"a","target":"t"}')
    (entry,) = await audit(client)
    assert entry["target"] == "100 jobs"
    assert entry["detail"].startswith(f"{ids[0]}, {ids[1]}")
    assert len(entry["detail"]) < 600


class _Deaf:
    """A broker that hears so many calls of `put`, and then no more."""

    def __init__(self, broker: Broker, puts: int) -> None:
        self._broker = broker
        self._puts = puts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def put(self, shelf: str, name: str, data: bytes, most: int | None = None) -> None:
        if self._puts == 0:
            raise BrokerUnavailable("it is gone")
        self._puts -= 1
        await self._broker.put(shelf, name, data, most)


@pytest.fixture
def deaf(app: Windlass, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def make(puts: int) -> None:
        async def get() -> Any:
            return _Deaf(broker, puts)

        monkeypatch.setattr(app, "broker", get)

    return make


async def test_nothing_is_done_that_cannot_be_noted(
    client: AsyncClient, broker: Broker, deaf: Callable[[int], None]
) -> None:
    deaf(0)
    await post(client, "/queues/mail", {"action": "pause"}, 503)
    assert await broker.tally() == []


async def test_an_action_that_was_cut_short_stands_in_the_log(
    client: AsyncClient, broker: Broker, deaf: Callable[[int], None], send: Any
) -> None:
    (job,) = await many(send, 1)
    deaf(1)
    assert (await post(client, "/jobs/actions", {"action": "cancel", "ids": [job]}))["affected"] == 1
    assert [(one["action"], one["target"], one["detail"]) for one in await audit(client)] == [("cancel", job, "")]
