"""Server-sent events: the encoder by itself, then over a real server and a real socket."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx2
import msgspec
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.requests import ClientDisconnect

from servers.proxy import Proxy
from windlass import State, Windlass
from windlass.core.job import Card, Claim, Entry, LogLine, Progress
from windlass.core.outcome import Outcome, Succeeded
from windlass.errors import BrokerUnavailable
from windlass.fastapi import jobs_router
from windlass.testing import Harness
from windlass.web.sse import EventStream, Message, encode, stream

app = Windlass("memory://", name="sse")

DONE = Succeeded(b"42")


@app.task
async def render() -> int:
    return 42


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - conditions of every kind, with a deadline
            await asyncio.sleep(0.005)


# --- the encoder ----------------------------------------------------------------------------------------------


def test_a_message_is_lines_and_an_empty_line() -> None:
    assert encode(Message("log", {"message": "hi"}, 7)) == b'id: 7\nevent: log\ndata: {"message":"hi"}\n\n'
    assert encode(Message("state", "ready")) == b'event: state\ndata: "ready"\n\n'


@pytest.mark.parametrize("text", ["two\nlines", "cr\rlf\r\n", "\u2028 \u0085", "data: x\n\nevent: end", "\0", "🦄"])
def test_no_text_can_break_out_of_its_event(text: str) -> None:
    wire = encode(Message("chunk", text, 1))
    assert wire.count(b"\n") == 4
    assert b"\r" not in wire
    assert json.loads(wire.split(b"data: ", 1)[1]) == text


def test_what_json_cannot_say_is_null() -> None:
    assert encode(Message("chunk", float("nan"))).endswith(b"data: null\n\n")


async def test_silence_is_filled_with_pings_and_nothing_is_lost() -> None:
    go = asyncio.Event()

    async def slow() -> AsyncIterator[Message]:
        await go.wait()
        yield Message("log", 1)

    seen: list[bytes] = []
    async with aclosing(stream(slow(), ping=0.01)) as wire:
        async for part in wire:
            seen.append(part)
            if len(seen) == 3:
                go.set()
    assert seen[:3] == [b": ping\n\n"] * 3
    assert seen[-1] == encode(Message("log", 1))


async def test_closing_the_stream_closes_the_messages_wherever_they_stand() -> None:
    for started in (False, True):
        closed: list[str] = []

        async def messages(closed: list[str] = closed) -> AsyncIterator[Message]:
            try:
                yield Message("log", 1)
                await asyncio.Event().wait()
            finally:
                closed.append("closed")

        wire = stream(messages(), ping=0.01)
        await anext(wire)
        if started:
            assert await anext(wire) == b": ping\n\n"
        await wire.aclose()
        assert closed == ["closed"]


async def test_a_client_that_goes_closes_the_messages_before_the_response_is_over() -> None:
    """As a server without `send` errors tells it: a disconnect message, upon which Starlette cancels."""
    closed, sent = asyncio.Event(), asyncio.Event()

    async def messages() -> AsyncIterator[Message]:
        try:
            yield Message("log", 1)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # a clean-up that awaits is not cut off
            closed.set()

    async def receive() -> dict[str, Any]:
        await sent.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body"):
            sent.set()

    await EventStream(messages())({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
    assert closed.is_set()


async def test_a_send_that_fails_closes_the_messages_too() -> None:
    closed: list[str] = []

    async def messages() -> AsyncIterator[Message]:
        try:
            while True:
                yield Message("log", 1)
        finally:
            closed.append("closed")

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError("broken pipe")

    async def receive() -> dict[str, Any]:
        raise AssertionError("not asked")

    with pytest.raises(ClientDisconnect):
        await EventStream(messages())({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
    assert closed == ["closed"]


# --- over a socket --------------------------------------------------------------------------------------------


class Site:
    """A served API, and a worker's hands behind it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx2.AsyncClient(base_url=url, timeout=10)
        self.claims: dict[str, Claim] = {}

    async def start(self, job_id: str) -> None:
        broker = await app.broker()
        await broker.beat("w", Card(host="h", pid=1), 3600)
        self.claims |= {claim.id: claim for claim in await broker.claim(["default"], {"loop": 9}, "w")}

    async def write(self, job_id: str, kind: str, data: Any) -> None:
        entry = Entry(kind, msgspec.json.encode(data), 0.0)
        assert await (await app.broker()).append([(self.claims[job_id], [entry])]) == [True]

    async def end(self, job_id: str, outcome: Outcome = DONE) -> None:
        await (await app.broker()).settle([(self.claims[job_id], outcome)])

    async def done(self) -> str:
        """A job with three entries (1 log, 2 chunk, 3 progress) that succeeded: its end is 4."""
        job = (await render.enqueue()).id
        await self.start(job)
        await self.write(job, "log", LogLine("info", "one"))
        await self.write(job, "chunk", "two")
        await self.write(job, "progress", Progress(3, 4, "three"))
        await self.end(job)
        return job

    async def events(self, job: str, query: str = "", **headers: str) -> list[tuple[str | None, str, Any]]:
        """All events until the end, as (id, event, data)."""
        async with self.client.stream("GET", f"/jobs/{job}/events{query}", headers=headers) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            return [event async for event in parsed(response.aiter_lines())]


async def parsed(lines: AsyncIterator[str]) -> AsyncGenerator[tuple[str | None, str, Any]]:
    """Events from lines."""
    fields: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield fields.get("id"), fields["event"], json.loads(fields["data"])
            fields = {}


@asynccontextmanager
async def served(api: FastAPI) -> AsyncIterator[str]:
    """The API on a free port of this machine."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(api, log_level="error", timeout_graceful_shutdown=5))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await until(lambda: server.started or serving.done())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listener.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    api = FastAPI()
    api.include_router(jobs_router(app), prefix="/jobs")
    async with Harness(app), served(api) as url:
        site = Site(url)
        async with site.client:
            yield site


async def test_a_job_is_followed_from_its_start_to_its_end(site: Site) -> None:
    job = (await render.enqueue()).id
    async with site.client.stream("GET", f"/jobs/{job}/events") as response:
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        events = parsed(response.aiter_lines())
        assert await anext(events) == (None, "state", {"state": "ready", "attempt": 0})
        await site.start(job)
        assert await anext(events) == (None, "state", {"state": "running", "attempt": 1})
        await site.write(job, "progress", Progress(1, 4, "first"))
        assert await anext(events) == ("1", "progress", {"current": 1, "total": 4, "message": "first", "share": 0.25})
        await site.write(job, "checkpoint", {"secret": 1})
        await site.write(job, "log", LogLine("warning", "careful"))
        assert await anext(events) == ("3", "log", {"level": "warning", "message": "careful"})
        await site.write(job, "chunk", ["any", {"json": None}])
        assert await anext(events) == ("4", "chunk", ["any", {"json": None}])
        await site.end(job)
        number, kind, data = await anext(events)
        assert (number, kind, data["state"], data["id"]) == ("5", "end", "succeeded", job)
        assert data["links"]["result"] == f"/jobs/{job}/result"
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_a_client_that_comes_again_gets_what_it_has_not_seen(site: Site) -> None:
    job = await site.done()
    assert [event[:2] for event in await site.events(job)] == [
        ("1", "log"),
        ("2", "chunk"),
        ("3", "progress"),
        ("4", "end"),
    ]
    for seen in range(4):
        resumed = await site.events(job, **{"Last-Event-ID": str(seen)})
        assert [event[0] for event in resumed] == [str(number) for number in range(seen + 1, 5)]
        assert await site.events(job, query=f"?after={seen}") == resumed


async def test_the_header_of_a_reconnecting_browser_beats_the_query_of_its_url(site: Site) -> None:
    job = await site.done()
    assert [event[0] for event in await site.events(job, "?after=1", **{"Last-Event-ID": "3"})] == ["4"]


async def test_whoever_saw_the_end_is_told_not_to_come_again(site: Site) -> None:
    job = await site.done()
    for last in ("4", "5", "999999"):
        response = await site.client.get(f"/jobs/{job}/events", headers={"Last-Event-ID": last})
        assert (response.status_code, response.content) == (204, b"")
    silent = (await render.enqueue()).id
    await site.start(silent)
    await site.end(silent)
    assert [event[:2] for event in await site.events(silent)] == [("1", "end")]
    assert (await site.client.get(f"/jobs/{silent}/events?after=1")).status_code == 204


async def test_the_end_is_known_also_when_older_entries_were_replaced(site: Site) -> None:
    job = (await render.enqueue()).id
    await site.start(job)
    for step in range(3):
        await site.write(job, "progress", Progress(step, 3))
    await site.write(job, "checkpoint", {})
    await site.end(job)
    assert [event[:2] for event in await site.events(job, "?after=4")] == [("5", "end")]
    assert [event[:2] for event in await site.events(job, "?after=1")] == [("3", "progress"), ("5", "end")]
    assert (await site.client.get(f"/jobs/{job}/events?after=5")).status_code == 204


async def whole_events(url: str, last: str) -> AsyncIterator[tuple[str, Any]]:
    """The number and data of each chunk that arrives whole on one connection, and of the end, however it is broken off."""
    rest = b""
    async with httpx2.AsyncClient(timeout=5) as client:
        try:
            async with client.stream("GET", url, headers={"Last-Event-ID": last}) as response:
                async for part in response.aiter_bytes():
                    *events, rest = (rest + part).split(b"\n\n")
                    for event in events:
                        fields = dict(line.split(": ", 1) for line in event.decode().split("\n"))
                        if "id" in fields:
                            yield fields["id"], fields["event"] == "end" or json.loads(fields["data"])
        except httpx2.TransportError:
            pass


@pytest.mark.parametrize("reset", [False, True])
async def test_connections_that_break_anywhere_neither_lose_nor_repeat_a_chunk(site: Site, reset: bool) -> None:
    job, total = (await render.enqueue()).id, 60
    await site.start(job)

    async def write() -> None:
        for number in range(total):
            await site.write(job, "chunk", number)
            await asyncio.sleep(0.002)
        await site.end(job)

    chance, seen, last, cuts = random.Random(), list[Any](), "", 0
    async with Proxy(int(site.url.rpartition(":")[2])) as proxy:
        writing = asyncio.create_task(write())
        while True not in seen[-1:]:
            if cuts < 40:
                proxy.cut_answer(b"/events", chance.randrange(1500), reset=reset)
                cuts += 1
            async with aclosing(whole_events(f"http://127.0.0.1:{proxy.port}/jobs/{job}/events", last)) as events:
                async for number, data in events:
                    last = number
                    seen.append(data)
        await writing
        assert proxy.lost > 5, "it was broken off often"
    assert seen == [*range(total), True]


@pytest.mark.parametrize("header", ["", "nonsense", "-1", "1.5", "9" * 400, "²"])
async def test_a_last_event_id_of_somebody_else_means_from_the_start(site: Site, header: str) -> None:
    job = await site.done()
    assert len(await site.events(job, **{"Last-Event-ID": header.encode("latin-1")})) == 4  # type: ignore[arg-type]  # raw bytes in a header


async def test_a_query_that_is_no_number_is_a_problem(site: Site) -> None:
    for after in ("x", "-1", "99999999999999999999"):
        response = await site.client.get(f"/jobs/{await site.done()}/events?after={after}")
        assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")


async def test_when_the_client_goes_the_following_of_the_job_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    following: list[str] = []
    job = await render.enqueue()
    events = type(job).events

    async def watched(self: Any, after: int | None = None) -> AsyncIterator[Any]:
        following.append("open")
        try:
            async for event in events(self, after):
                yield event
        finally:
            following.append("closed")

    monkeypatch.setattr(type(job), "events", watched)
    async with site.client.stream("GET", f"/jobs/{job.id}/events") as response:
        await anext(parsed(response.aiter_lines()))
        assert following == ["open"]
    await until(lambda: following == ["open", "closed"])


async def test_a_store_that_goes_away_ends_the_stream_in_order(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    job = (await render.enqueue()).id
    broker = await app.broker()
    read = broker.read

    async def failing(job: str, *, after: int = 0, wait: float = 0.0, seen: tuple[State, int] | None = None) -> Any:
        if seen is not None:
            raise BrokerUnavailable("gone")
        return await read(job, after=after, wait=wait)

    monkeypatch.setattr(broker, "read", failing)
    assert [event[1] for event in await site.events(job)] == ["state"]
