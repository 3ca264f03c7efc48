"""The reads of the dashboard's API, over each store: real jobs, and every answer held against docs/design/api.md."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import pytest
from contract import Contract
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from httpx2 import ASGITransport, AsyncClient, Response

from servers import BINARIES, MISSING, RedisServer
from windlass import Retry, State, Windlass
from windlass.broker.memory import MemoryBroker
from windlass.core.ids import new_id
from windlass.core.job import Card, Claim, Entry, NewJob, Tried
from windlass.core.outcome import ErrorInfo, Succeeded
from windlass.core.secret import Secret
from windlass.errors import BrokerUnavailable
from windlass.web.admin import audit, reads
from windlass.web.admin.access import Access, Role, gate
from windlass.web.router import ProblemRoute
from windlass.worker import past, recorder
from windlass.worker.runner import working

STORES = ["memory", "sqlite", pytest.param("redis", marks=pytest.mark.skipif(not BINARIES, reason=MISSING))]
CONTRACT = Contract()
NOBODY = "0199f5c0-8d2e-7b11-8000-000000000001"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis")
        server.command("FLUSHALL")
        return server.url()
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'jobs.db'}"


def who(request: Request) -> Access:
    """A person is whoever the request says."""
    role, _, name = request.headers.get("x-who", "viewer:ann").partition(":")
    return Access(Role[role.upper()], name)


def api_of(app: Windlass, show_arguments: bool = False) -> FastAPI:
    router = APIRouter(route_class=ProblemRoute)
    reads.add(router, app, show_arguments)
    audit.add(router, app)
    api = FastAPI()
    api.include_router(router, prefix="/w/api/v1", dependencies=[Depends(gate(who))])
    return api


Ask = Callable[..., Awaitable[Any]]


class Client:
    """Asks for reads, by their names."""

    def __init__(self, api: FastAPI, who: str = "viewer:ann") -> None:
        headers = {"x-who": who}
        self.http = AsyncClient(transport=ASGITransport(api), base_url="http://test/w/api/v1/", headers=headers)

    async def get(self, read: str, **headers: str) -> Response:
        return await self.http.get(read, headers=headers)

    async def __call__(self, read: str, shape: str = "") -> Any:
        """A read that is answered; its value, held against the contract: as the read of that path, or as `shape`."""
        response = await self.get(read)
        assert response.status_code == 200, (read, response.text)
        assert response.headers["content-type"] == "application/json"
        value = response.json()
        assert CONTRACT.check(value, CONTRACT.reads[shape or read.partition("?")[0]], read) == []
        return value

    async def problem(self, read: str, status: int) -> str:
        """A read that is refused; why."""
        response = await self.get(read)
        assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), (
            response.text
        )
        return str(response.json()["detail"])


@asynccontextmanager
async def client_of(app: Windlass, who: str = "viewer:ann", show_arguments: bool = False) -> AsyncIterator[Client]:
    client = Client(api_of(app, show_arguments), who)
    async with app.lifespan(), client.http:
        yield client


async def until(true: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(30):
        while not await true():  # noqa: ASYNC110 - a store is asked, which sets no event
            await asyncio.sleep(0.02)


# --- all of it ----------------------------------------------------------------------------------------------


def shop_of(url: str) -> tuple[Windlass, asyncio.Event]:
    """An app whose tasks end in every way; the slow one when the event is set."""
    app, go = Windlass(url, name="shop", version="v42", retry=Retry(attempts=2, first=0.01)), asyncio.Event()

    @app.task(name="shop/add")
    async def add(a: int, b: int = 2) -> int:
        """Adds.

        Both of them."""
        return a + b

    @app.task(name="shop.bad", queue="media/big")
    async def bad(why: str) -> None:
        raise OSError(f"no {why}")

    @app.task(name="shop.slow")
    async def slow() -> None:
        await go.wait()

    return app, go


async def put_jobs(app: Windlass) -> dict[str, str]:
    """Ids by what they are."""
    add, bad, slow = (app.get_task(name) for name in ("shop/add", "shop.bad", "shop.slow"))
    ids = {f"added {n}": (await add.enqueue(n)).id for n in range(5)}
    ids["failed"] = (await bad.enqueue("space")).id
    ids["running"] = (await slow.enqueue()).id
    ids["scheduled"] = (await add.options(delay="1h", meta={"tenant": "acme"}, key="k").enqueue(2**70)).id
    ids["paused"] = (await add.options(queue="paused").enqueue(1)).id
    parked = NewJob(id=new_id(), task="shop.gone", body=b'{"args":{},"v":1}')
    ids["parked"] = (await app.place([parked]))[0].id
    return ids


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that tell what they did at once."""
    monkeypatch.setattr(recorder, "PERIOD", 0.02)
    monkeypatch.setattr(past, "MINUTE", 0.02)


@pytest.mark.usefixtures("hasty")
async def test_every_read_of_a_working_app_is_as_the_contract_says_and_agrees_with_the_store(url: str) -> None:
    app, go = shop_of(url)
    async with client_of(app, show_arguments=True) as ask, working(app, queues=["default", "media/big"]):
        broker = await app.broker()
        await broker.pause("paused")
        ids = await put_jobs(app)
        ends = {
            "succeeded": 5,
            "failed": 1,
            "running": 1,
            "scheduled": 1,
            "ready": 1,
            "parked": 1,
            "waiting": 0,
            "cancelled": 0,
        }

        async def settled() -> bool:
            series = (await ask("overview?range=15m"))["series"]["outcomes"]
            told = {name: sum(counts) for name, counts in series.items()}
            return told == {"succeeded": 5, "failed": 1, "retried": 1, "parked": 1}

        await until(settled)
        page = await ask("overview?range=15m")
        tally = Counter[State]()
        for queue in await broker.tally():
            tally.update(queue.counts)
        assert page["totals"] == ends == {state.value: tally[state] for state in State}
        assert (page["failed_share"], page["workers"]) == (1 / 6, 1)
        assert page["oldest"] > 0
        assert {one["kind"] for one in page["attention"]} == {"failure", "stalled", "parked"}
        assert [one["version"] for one in page["deploys"]] == ["v42"]

        jobs = await ask("jobs?q=&limit=50")
        assert {one["id"] for one in jobs["jobs"]} == set(ids.values())
        assert jobs["counts"] == ends
        assert [one["id"] for one in (await ask("jobs?q=" + quote("fault:" + await _fault(ask))))["jobs"]] == [
            ids["failed"]
        ]
        assert (await ask("jobs?q=queue:paused"))["counts"] == dict.fromkeys(State, 0) | {"ready": 1}
        details = {name: await ask(f"jobs/{job}", "jobs/{id}") for name, job in ids.items()}
        assert {name: [one["kind"] for one in job["timeline"]][-1] for name, job in details.items()} == {
            **dict.fromkeys((f"added {n}" for n in range(5)), "succeeded"),
            "failed": "failed",
            "running": "running",
            "scheduled": "scheduled",
            "paused": "ready",
            "parked": details["parked"]["timeline"][-1]["kind"],
        }
        assert {name for name, job in details.items() if job["why"]} == {"scheduled", "paused", "parked"}
        assert "paused" in details["paused"]["why"][0]

        queues = {one["name"]: one for one in (await ask("queues?range=15m"))["queues"]}
        assert queues.keys() == {"default", "media/big", "paused"}
        for queue in await broker.tally():
            assert queues[queue.name]["counts"] == queue.counts
        queue = await ask("queues/media%2Fbig?range=15m", "queues/{name}")
        assert (queue["queue"]["name"], queue["queue"]["failed_share"]) == ("media/big", 1.0)
        assert [(one["name"], one["count"]) for one in queue["tasks"]] == [("shop.bad", 1)]
        assert sum(queue["series"]["outcomes"]["retried"]) == 1
        scale = await ask("queues/paused/scale", "queues/{name}/scale")
        assert (scale["ready"], scale["running"], scale["wanted_workers"]) == (1, 0, 0)
        assert scale["oldest"] > 0

        (worker,) = (await ask("workers"))["workers"]
        assert [one["id"] for one in worker["jobs"]] == [ids["running"]]
        assert (worker["state"], worker["code"]) == ("working", "v42")

        async def beaten() -> bool:
            (worker,) = (await ask("workers"))["workers"]
            return bool(worker["rss"]) and worker["past"]["busy"][-1:] == [1] and worker["past"]["mib"][-1] > 0

        await until(beaten)
        assert (await ask(f"workers/{quote(worker['id'])}", "workers/{id}"))["stacks"] == ""

        tasks = {one["name"]: one for one in (await ask("tasks?range=24h"))["tasks"]}
        assert {name: one["count"] for name, one in tasks.items()} == {
            "shop/add": 5,
            "shop.bad": 1,
            "shop.slow": 0,
            "shop.gone": 0,
        }
        assert tasks["shop/add"]["schema"]["properties"]["b"]["default"] == 2
        task = await ask("tasks/shop%2Fadd?range=24h", "tasks/{name}")
        assert task["task"]["doc"] == "Adds.\n\nBoth of them."
        assert sum(task["series"]["outcomes"]["succeeded"]) == 5

        (group,) = (await ask("failures?state=open"))["groups"]
        assert (group["count"], group["ended"], sum(group["spark"]), group["sample"]) == (2, 1, 2, ids["failed"])
        assert (await ask("failures?state=resolved"))["groups"] == []
        system = await ask("system")
        assert system["versions"] == [{"version": worker["version"], "code": "v42", "workers": 1}]
        go.set()


async def _fault(ask: Client) -> str:
    return str((await ask("failures"))["groups"][0]["fingerprint"])


async def test_every_read_of_an_empty_store_is_as_the_contract_says(url: str) -> None:
    async with client_of(Windlass(url, name="empty")) as ask:
        page = await ask("overview?range=90d")
        assert (page["queues"], page["series"]["outcomes"], page["oldest"]) == ([], {}, None)
        assert len(page["series"]["run"]["p50"]) == 240
        assert await ask("jobs") == {"jobs": [], "next": None, "searched_to": None, "counts": dict.fromkeys(State, 0)}
        for read, key in (("failures", "groups"), ("queues", "queues"), ("workers", "workers"), ("tasks", "tasks")):
            assert (await ask(read))[key] == []
        await ask("system")


# --- one job ------------------------------------------------------------------------------------------------

app = Windlass("memory://", name="reads")


@app.task
async def send(to: str, token: Annotated[str, Secret] = "") -> str:
    return to


@pytest.fixture
def store() -> Iterator[MemoryBroker]:
    broker = MemoryBroker()
    with app.store_replaced(broker):
        yield broker


async def claimed(store: MemoryBroker) -> Claim:
    await store.beat("w1", Card(host="h", pid=1), 3600.0)
    (claim,) = await store.claim(["default"], {"loop": 1}, "w1")
    return claim


async def test_what_a_job_carries_is_hidden_until_an_admin_asks_and_that_is_noted_once(store: MemoryBroker) -> None:
    job = await send.enqueue("bob@example.org", token="hunter2")
    await store.settle([(await claimed(store), Succeeded(b'"bob"'))])
    read = f"jobs/{job.id}"
    async with client_of(app) as ann:
        hidden = await ann.get(read)
        assert "bob" not in hidden.text
        value = await ann(read, "jobs/{id}")
        assert (value["arguments"]["hidden"], value["result"]) == (
            True,
            {"hidden": True, "size": 5, "value": None, "cut": False},
        )
        assert value["arguments"]["size"] > 20
        for role in ("viewer", "operator"):
            response = await ann.get(f"{read}?reveal=1", **{"x-who": f"{role}:eve"})
            assert response.status_code == 403
            assert "bob" not in response.text
        eve = {"x-who": "admin:eve"}
        for _ in range(3):
            shown = (await ann.get(f"{read}?reveal=1", **eve)).json()
            assert shown["arguments"]["value"] == {"to": "bob@example.org", "token": "[secret]"}
            assert shown["result"]["value"] == "bob"
            assert "bob@example.org" in shown["code"]["python"]
        assert "bob" not in (await ann.get(read, **eve)).text
        await ann.get(f"{read}?reveal=1", **{"x-who": "admin:mia"})
        log = (await ann.get("audit", **eve)).json()["entries"]
        assert [(one["who"], one["action"], one["target"]) for one in log] == [
            ("mia", "reveal", job.id),
            ("eve", "reveal", job.id),
        ]


async def test_nobody_can_guess_hidden_arguments_by_filters(store: MemoryBroker) -> None:
    job = await send.enqueue("bob", token="hunter2")
    async with client_of(app) as ann, client_of(app, "admin:eve") as eve:
        assert "admin" in await ann.problem("jobs?q=arg.to=bob", 403)
        assert [one["id"] for one in (await eve("jobs?q=arg.to=bob"))["jobs"]] == [job.id]
        assert (await eve("jobs?q=arg.token=hunter2"))["jobs"] == []


async def test_integers_keep_all_their_digits(store: MemoryBroker) -> None:
    @app.task(name="big")
    async def big(n: int) -> int: ...

    try:
        job = await big.enqueue(2**70)
        async with client_of(app, show_arguments=True) as ask:
            assert f'"value":{{"n":{2**70}}}' in (await ask.get(f"jobs/{job.id}")).text
    finally:
        del app.definitions["big"]


@pytest.mark.parametrize(("body", "size"), [(b"\0damaged", 8), (b'{"args":[1],"v":1}', 3), (b"", 0)])
async def test_a_body_that_cannot_be_read_is_shown_as_what_it_is(store: MemoryBroker, body: bytes, size: int) -> None:
    await app.place([NewJob(id=(job := new_id()), task="x", body=body)])
    await store.settle([(await claimed(store), Succeeded(b"{damaged"))])
    async with client_of(app, show_arguments=True) as ask:
        value = await ask(f"jobs/{job}", "jobs/{id}")
        assert value["arguments"] == {"hidden": False, "size": size, "value": None, "cut": False}
        assert value["result"] == {"hidden": False, "size": 8, "value": None, "cut": False}
        assert "..." in value["code"]["python"]
        await ask("jobs?q=meta.x:1")


async def test_the_timeline_tells_every_run_of_the_journal_that_can_be_read(store: MemoryBroker) -> None:
    job = await send.enqueue("bob")
    claim = await claimed(store)
    made = (await job.info()).created_at.timestamp()
    tries = [
        Entry(
            "attempt",
            msgspec.json.encode(Tried("retried", made - 3, "w0", ErrorInfo("exception", "OSError", "full"))),
            made - 2,
            1,
        ),
        Entry("attempt", b"{damaged", made - 1, 2),
        Entry("log", b'{"level":"info","message":"hi"}', made - 1, 2),
    ]
    assert await store.append([(claim, tries)]) == [True]
    async with client_of(app) as ask:
        spans = (await ask(f"jobs/{job.id}", "jobs/{id}"))["timeline"]
    assert [(one["kind"], one["worker"]) for one in spans if one["worker"]] == [("retried", "w0"), ("running", "w1")]


# --- how it is asked ----------------------------------------------------------------------------------------


async def test_what_has_not_changed_is_not_sent_again(store: MemoryBroker) -> None:
    job = await send.enqueue("bob")
    await store.beat("w1", Card(host="h", pid=1), 3600.0)
    async with client_of(app) as ask:
        for read in (f"jobs/{job.id}", "jobs", "queues?range=15m", "failures", "tasks", "workers", "system"):
            first = await ask.get(read)
            if read.startswith("queues"):
                continue  # how long the oldest waits is different each time
            assert (first.headers["cache-control"], first.headers["etag"][:3]) == ("no-cache", 'W/"')
            again = await ask.get(read, **{"if-none-match": first.headers["etag"]})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"]), read
        await job.cancel()
        changed = await ask.get("jobs", **{"if-none-match": (await ask.get("failures")).headers["etag"]})
        assert changed.json()["jobs"][0]["state"] == "cancelled"


async def test_the_time_of_asking_makes_no_other_overview(store: MemoryBroker) -> None:
    async with client_of(app) as ask:
        one, two = await ask.get("overview"), await ask.get("overview")
        assert one.json()["now"] < two.json()["now"]
        assert (
            one.json()["series"]["start"] != two.json()["series"]["start"] or one.headers["etag"] == two.headers["etag"]
        )


@pytest.mark.parametrize(
    ("read", "status", "said"),
    [
        ("jobs?q=foo:1", 422, "there is no filter foo:; there are state:"),
        ("jobs?q=state:broken", 422, "there is no state"),
        ("jobs?before=x", 422, "no job id"),
        ("jobs?limit=0", 422, "limit"),
        ("jobs?limit=501", 422, "limit"),
        ("jobs?q=" + "x" * 2001, 422, "q"),
        ("overview?range=soon", 422, "range"),
        ("failures?state=gone", 422, "state"),
        ("failures?before=x:y", 422, "no cursor"),
        ("failures?before=nan", 200, ""),
        ("jobs/nonsense", 404, "no such job"),
        (f"jobs/{NOBODY}", 404, "no such job"),
        ("queues/nowhere", 404, "there is no queue 'nowhere'"),
        ("queues/nowhere/scale", 404, "there is no queue"),
        ("workers/gone", 404, "there is no worker"),
        ("tasks/gone", 404, "there is no task"),
        ("stream", 422, "topic"),
        ("stream?" + "&".join(f"topic={n}" for n in range(21)), 422, "topic"),
        (f"jobs/{NOBODY}/events", 404, "no such job"),
    ],
)
async def test_what_is_asked_in_vain(store: MemoryBroker, read: str, status: int, said: str) -> None:
    async with client_of(app) as ask:
        if status == 200:
            assert (await ask.get(read)).status_code == 200
        else:
            assert said in await ask.problem(read, status)


@pytest.mark.parametrize("name", ["a/b", "a b", "a/scale", "%", "#1", "ü", "..", '<img src="x">'])
async def test_a_name_may_hold_anything(store: MemoryBroker, name: str) -> None:
    await app.place([NewJob(id=new_id(), task=name, queue=name, body=b'{"args":{},"v":1}')])
    async with client_of(app) as ask:
        encoded = quote(name, safe="").replace(".", "%2E")
        if name != "a/scale":  # whose page is taken for the scale of the queue "a"
            assert (await ask(f"queues/{encoded}", "queues/{name}"))["queue"]["name"] == name
        assert (await ask(f"queues/{encoded}/scale", "queues/{name}/scale"))["ready"] == 1


async def test_a_store_that_is_away_is_a_503(store: MemoryBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise BrokerUnavailable("redis://secret:6379 is away")

    async with client_of(app) as ask:
        broker = await app.broker()
        for verb in ("tally", "get", "faults", "workers", "describe", "series", "find"):
            monkeypatch.setattr(broker, verb, away)
        for read in (
            "overview",
            "jobs",
            f"jobs/{new_id()}",
            "failures",
            "queues",
            "workers",
            "tasks",
            "system",
            "queues/q/scale",
        ):
            response = await ask.get(read)
            assert (response.status_code, response.headers["retry-after"]) == (503, "5"), read
            assert "secret" not in response.text


async def test_pages_of_failures_hold_each_once(store: MemoryBroker) -> None:
    from windlass.core.measures import Report, sighted

    errors = [ErrorInfo("exception", f"Error{n}", "no") for n in range(120)]
    for number, error in enumerate(errors):
        await store.record("w", number + 1, Report([], [sighted("t", new_id(), error, False)]), now=1e9 + number // 7)
    seen, before = list[str](), ""
    async with client_of(app) as ask:
        while before is not None:
            page = await ask(f"failures?state=open&before={quote(before)}")
            seen += [one["type"] for one in page["groups"]]
            before = page["next"]
    assert sorted(seen) == sorted(error.type for error in errors)


def test_every_read_is_described_in_openapi() -> None:
    router = APIRouter()
    reads.add(router, app, False)
    paths = get_openapi(title="x", version="1", routes=router.routes)["paths"]
    described = {path.strip("/").replace("{job_id}", "{id}").replace("{worker_id}", "{id}") for path in paths}
    assert described == CONTRACT.reads.keys() - {"audit"} | {"stream", "jobs/{id}/events"}
    for path, verbs in paths.items():
        assert verbs["get"]["summary"], path
        assert json.dumps(verbs["get"]["responses"]["200"]) != "{}"
