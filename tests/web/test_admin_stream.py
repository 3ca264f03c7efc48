"""The dashboard's streams: one for a page, told once a second what changed; and one for a job."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import msgspec
import pytest
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Request
from httpx2 import ASGITransport, AsyncClient
from starlette.types import Receive, Scope, Send

from windlass import Windlass
from windlass.broker.memory import MemoryBroker
from windlass.core.ids import new_id
from windlass.core.job import Card, Claim, Entry, LogLine, Progress
from windlass.core.measures import Report, sighted
from windlass.core.outcome import ErrorInfo, Succeeded
from windlass.errors import BrokerUnavailable
from windlass.web.admin import audit, reads, stream
from windlass.web.admin.access import Access, Role, gate
from windlass.web.admin.desk import Desk, Recent
from windlass.web.admin.stream import Browser, job_events, ticks
from windlass.web.router import ProblemRoute
from windlass.web.sse import Message, encode

app = Windlass("memory://", name="stream")
ANN, EVE = Access(Role.VIEWER, "ann"), Access(Role.ADMIN, "eve")


@app.task
async def render(size: int = 1) -> int:
    return size


@pytest.fixture
def store() -> Iterator[MemoryBroker]:
    broker = MemoryBroker()
    with app.store_replaced(broker):
        yield broker


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PACE", 0.01)


class Page:
    """Reads without a gate, and browsers that listen to them; each ask of a read is counted."""

    def __init__(self, show_arguments: bool = False) -> None:
        self.router = APIRouter(route_class=ProblemRoute)
        reads.add(self.router, app, show_arguments)
        audit.add(self.router, app)
        self.desk = Desk(app, show_arguments)
        self.desk.recent = Recent(kept=0.0)
        self.asked = list[str]()

    async def counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        await self.router(scope, receive, send)

    def listen(self, *topics: str, who: Access = ANN) -> AsyncGenerator[Message]:
        scope = {"type": "http", "method": "GET", "headers": [], "windlass.access": who}
        scope["fastapi_middleware_astack"] = AsyncExitStack()  # as FastAPI leaves it in every request
        return ticks(self.desk, self.counted, Browser(scope, who, ""), topics)


async def heard(messages: AsyncGenerator[Message]) -> Any:
    """The next tick, as a browser reads it."""
    async with asyncio.timeout(10):
        message = await anext(messages)
    assert message.event == "tick"
    return json.loads(encode(message).split(b"data: ", 1)[1])


async def test_a_topic_is_told_at_first_and_when_it_changed_and_only_then(store: MemoryBroker) -> None:
    page = Page()
    listening = page.listen("jobs?q=", "queues?range=1h", "failures?state=open")
    first = await heard(listening)
    assert first["topics"].keys() == {"jobs?q=", "queues?range=1h", "failures?state=open"}
    assert first["open_failures"] == 0
    assert first["now"].endswith("Z")
    assert first["topics"]["jobs?q="]["jobs"] == []
    waiting = asyncio.create_task(heard(listening))
    while len(page.asked) < 12:  # noqa: ASYNC110 - three more looks, at what did not change
        await asyncio.sleep(0.005)
    assert not waiting.done()
    job = await render.options(delay="1h").enqueue()
    tick = await waiting
    while "jobs?q=" not in tick["topics"]:  # the queues were asked later
        tick = await heard(listening)
    assert [one["id"] for one in tick["topics"]["jobs?q="]["jobs"]] == [job.id]
    assert "failures?state=open" not in tick["topics"]
    await listening.aclose()


async def test_a_stream_ends_so_that_it_is_asked_again_who_listens(
    store: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LASTS", 0.0)
    assert [message async for message in Page().listen("workers")] == []
    job = await render.options(delay="1h").enqueue()
    assert [message async for message in job_events(Desk(app, False), job.id, 0)] == []


async def test_new_failures_are_told_to_every_page(store: MemoryBroker) -> None:
    listening = Page().listen("workers")
    assert (await heard(listening))["open_failures"] == 0
    error = ErrorInfo("exception", "OSError", "no")
    await store.record("w", 1, Report([], [sighted("t", new_id(), error, True)]))
    tick = await heard(listening)
    assert (tick["open_failures"], tick["topics"]) == (1, {})
    await listening.aclose()


async def test_a_read_without_an_entity_tag_is_told_when_it_changed_too(store: MemoryBroker) -> None:
    listening = Page().listen("audit", "workers", who=EVE)
    assert (await heard(listening))["topics"]["audit"]["entries"] == []
    async with audit.audited(await app.broker(), EVE, "pause", "q"):
        pass
    told = (await heard(listening))["topics"]
    assert [one["action"] for one in told["audit"]["entries"]] == ["pause"]
    assert "workers" not in told
    await listening.aclose()


async def test_browsers_that_show_the_same_are_answered_by_one_look(store: MemoryBroker) -> None:
    page = Page()
    page.desk.recent = Recent(kept=60.0)
    browsers = [page.listen("jobs", "workers") for _ in range(5)]
    answers = await asyncio.gather(*map(heard, browsers))
    assert len({json.dumps(one["topics"]) for one in answers}) == 1
    assert sorted(page.asked) == ["/jobs", "/workers"]
    for one in browsers:
        await one.aclose()


async def test_what_one_may_see_another_is_not_told(store: MemoryBroker) -> None:
    job = await render.enqueue(271828)
    page = Page()
    page.desk.recent = Recent(kept=60.0)
    topics = (f"jobs/{job.id}?reveal=1", f"jobs/{job.id}", "jobs?q=arg.size%3D271828", "audit")
    eve, ann = page.listen(*topics, who=EVE), page.listen(*topics, who=ANN)
    told, less = await heard(eve), await heard(ann)
    assert told["topics"].keys() == {*topics}
    assert told["topics"][topics[0]]["arguments"]["value"] == {"size": 271828}
    assert less["topics"].keys() == {topics[1]}
    assert "271828" not in json.dumps(less)
    await asyncio.gather(eve.aclose(), ann.aclose())


@pytest.mark.parametrize(
    "topic",
    [
        "stream?topic=jobs",
        "jobs/{id}/events",
        "%73tream",
        "jobs/{id}/%65vents",
        "gone",
        "jobs?q=foo:1",
        "",
        "//",
        "jobs/x",
    ],
)
async def test_what_is_no_read_is_left_out(store: MemoryBroker, topic: str) -> None:
    job = await render.enqueue()
    listening = Page().listen("workers", topic.replace("{id}", job.id))
    assert (await heard(listening))["topics"].keys() == {"workers"}
    await listening.aclose()


async def test_the_stream_ends_when_the_store_is_away(store: MemoryBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise BrokerUnavailable("away")

    listening = Page().listen("workers")
    await heard(listening)
    monkeypatch.setattr(await app.broker(), "faults", away)
    with pytest.raises(StopAsyncIteration):
        await heard(listening)


async def test_a_page_listens_over_a_real_connection_and_leaves_nothing_behind(store: MemoryBroker) -> None:
    ended = asyncio.Event()

    async def watched(request: Request) -> AsyncGenerator[Access]:
        yield ANN
        ended.set()

    router = APIRouter(route_class=ProblemRoute)
    reads.add(router, app, False)
    api = FastAPI()
    api.include_router(router, prefix="/w/api/v1", dependencies=[Depends(gate(watched))])
    server = uvicorn.Server(uvicorn.Config(api, port=0, log_level="critical", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - it sets no event
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}/w/api/v1/stream"
    async with (
        AsyncClient() as client,
        client.stream("GET", url, params={"topic": ["overview?range=1h", "jobs?q=&limit=5"]}) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-cache", "no")
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: tick"
        topics = json.loads((await anext(lines)).removeprefix("data: "))["topics"]
        assert topics.keys() == {"overview?range=1h", "jobs?q=&limit=5"}
    async with asyncio.timeout(10):
        await ended.wait()
    server.should_exit = True
    await serving


# --- one job ------------------------------------------------------------------------------------------------


async def running(store: MemoryBroker) -> tuple[str, Claim]:
    job = await render.enqueue()
    await store.beat("w1", Card(host="h", pid=1), 3600.0)
    (claim,) = await store.claim(["default"], {"loop": 1}, "w1")
    return job.id, claim


def entry(kind: str, data: Any, at: float = 0.0) -> Entry:
    return Entry(kind, msgspec.json.encode(data), at, 1)


async def test_a_job_tells_its_log_and_its_end_from_the_beginning(store: MemoryBroker) -> None:
    job, claim = await running(store)
    written = [
        entry("log", LogLine("info", "hi"), 1.5),
        entry("progress", Progress(1, 4)),
        entry("chunk", "part"),
        entry("checkpoint", 1),
    ]
    await store.append([(claim, written)])
    page = Page()
    events = job_events(page.desk, job, 0)
    first = [json.loads(encode(await anext(events)).split(b"data: ", 1)[1]) for _ in range(3)]
    assert first == [
        {"at": "1970-01-01T00:00:01.500000Z", "level": "info", "message": "hi", "attempt": 1},
        {"current": 1.0, "total": 4.0, "message": "", "share": 0.25},
        {"state": "running", "attempt": 1},
    ]
    await store.settle([(claim, Succeeded(b"1"))])
    last = [(message.event, message.data["state"]) async for message in events]
    assert last == [("end", "succeeded")]
    again = [message.event async for message in job_events(page.desk, job, 0)]
    assert again == ["log", "progress", "end"]
    shown = [message.event async for message in job_events(Page(show_arguments=True).desk, job, 0)]
    assert shown == ["log", "progress", "chunk", "end"]
    assert [message.event async for message in job_events(page.desk, job, 3)] == ["end"]


async def test_the_events_of_a_job_are_resumed_by_the_id_that_a_browser_sends(store: MemoryBroker) -> None:
    job, claim = await running(store)
    await store.append([(claim, [entry("log", LogLine("info", str(n))) for n in range(3)])])
    await store.settle([(claim, Succeeded(b"1"))])
    router = APIRouter(route_class=ProblemRoute)
    reads.add(router, app, False)
    api = FastAPI()
    api.include_router(router, dependencies=[Depends(gate(lambda: ANN))])
    async with app.lifespan(), AsyncClient(transport=ASGITransport(api), base_url="http://t") as client:

        async def ids(**headers: str) -> list[str]:
            response: httpx2.Response = await client.get(f"/jobs/{job}/events", headers=headers)
            return [line.removeprefix("id: ") for line in response.text.splitlines() if line.startswith("id: ")]

        assert await ids() == ["1", "2", "3", "4"]
        assert await ids(**{"last-event-id": "2"}) == ["3", "4"]
        assert await ids(**{"last-event-id": "nonsense"}) == ["1", "2", "3", "4"]
