"""The HTTP face, as a client of a FastAPI app sees it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
import pytest
import schemathesis
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request
from fastapi.testclient import TestClient
from httpx2 import ASGITransport, AsyncClient
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import booleans
from pydantic import BaseModel
from schemathesis.checks import CHECKS

from windlass import ConfigurationError, InvalidArguments, Job, Retry, State, Windlass
from windlass.broker.memory import MemoryBroker
from windlass.core.ids import new_id
from windlass.core.job import Card, Claim, Entry, NewJob, Placed, Progress
from windlass.core.outcome import ErrorInfo, Failed, Outcome, Succeeded
from windlass.errors import BrokerUnavailable, StoreFull
from windlass.fastapi import Accepted, JobAccepted, Sees, TaskBatch, Tasks, jobs_router, meta_of
from windlass.testing import Harness

app = Windlass("memory://", name="shop", max_payload=2000)
other = Windlass("memory://", name="office")

PROBLEM = "application/problem+json"


class Report(BaseModel):
    path: str
    seconds: float


@app.task
async def transcode(path: str, preset: int = 1) -> Report:
    return Report(path=path, seconds=1.5)


@app.task
async def send(to: str) -> None: ...


@app.task(retry=Retry(attempts=1))
async def broken() -> None:
    raise OSError("disk full")


@app.task
async def announce(report: Report) -> str:
    return f"{report.path} is ready"


@other.task
async def print_out(pages: int) -> int:
    return pages


class Worker:
    """A worker's hands, for jobs that are to stand in a certain way."""

    def __init__(self, app: Windlass = app) -> None:
        self.app = app
        self.claims: dict[str, Claim] = {}

    def _run(self, verb: str, *args: Any) -> Any:
        async def call() -> Any:
            return await getattr(await self.app.broker(), verb)(*args)

        return self.app.run_blocking(call())

    def start(self, job_id: str) -> None:
        self._run("beat", "w", Card(host="h", pid=1), 3600.0)
        for claim in self._run("claim", ["default"], {"loop": 100}, "w"):
            self.claims[claim.id] = claim
        assert job_id in self.claims

    def write(self, job_id: str, kind: str, data: Any) -> None:
        assert self._run("append", [(self.claims[job_id], [Entry(kind, msgspec.json.encode(data), 0.0)])]) == [True]

    def end(self, job_id: str, outcome: Outcome) -> None:
        assert self._run("settle", [(self.claims[job_id], outcome)])[0] == [True]

    def finish(self, job_id: str, outcome: Outcome) -> str:
        self.start(job_id)
        self.end(job_id, outcome)
        return job_id

    def job(self, job_id: str) -> Job:
        (job,) = self._run("get", [job_id])
        return job


FAILED = Failed(ErrorInfo("exception", "OSError", "disk full", "Traceback: a secret path"))
DONE = Succeeded(b'{"path":"a.mp4","seconds":1.5}')


@pytest.fixture
def jobs() -> Iterator[Harness]:
    with Harness(app) as harness:
        yield harness


@pytest.fixture
def worker(jobs: Harness) -> Worker:
    return Worker()


def make_api(**options: Any) -> FastAPI:
    api = FastAPI()
    api.include_router(jobs_router(app, **options), prefix="/jobs")

    @api.post("/transcode", status_code=202)
    async def start(accept: Accepted, path: str = "a.mp4", preset: int = 1, key: str | None = None) -> JobAccepted:
        return await accept(transcode.options(key=key).bind(path, preset))

    @api.post("/transcode-and-announce", status_code=202)
    async def both(accept: Accepted) -> JobAccepted:
        return await accept(transcode.bind("a.mp4").then(announce))

    @api.post("/patient", status_code=202)
    async def patient(accept: Accepted) -> JobAccepted:
        return await accept(transcode.bind("a.mp4"), wait=2)

    @api.post("/signup")
    async def signup(tasks: Tasks, to: str = "ann", fail: str = "") -> dict[str, Any]:
        tasks.add_task(send, to)
        tasks.add_task(transcode, f"{to}.mp4", preset=2)
        if fail == "http":
            raise HTTPException(418, "I am a teapot")
        if fail == "error":
            raise RuntimeError("a bug")
        if fail == "arguments":
            tasks.add_task(send, object())  # type: ignore[arg-type]  # the wrong argument is the test
        if fail == "large":
            tasks.add_task(send, "x" * 3000)
        return {"ids": [handle.id for handle in tasks.handles]}

    return api


@pytest.fixture
def client(jobs: Harness) -> Iterator[TestClient]:
    with TestClient(make_api()) as client:
        yield client


def problem(response: Any, status: int, kind: str) -> dict[str, Any]:
    """The problem in a response, its form checked."""
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM), response.text
    body: dict[str, Any] = response.json()
    assert (body["type"], body["status"]) == (f"/problems/{kind}", status)
    assert body["title"]
    assert body["detail"]
    return body


# --- status ---------------------------------------------------------------------------------------------------


def test_a_job_is_shown_with_its_state_times_and_links(client: TestClient) -> None:
    job = transcode.options(priority=7, expires="1h").delay("a.mp4")
    response = client.get(f"/jobs/{job.id}")
    body = response.json()
    assert (response.status_code, response.headers["retry-after"]) == (200, "1")
    assert {name: body[name] for name in ("id", "task", "queue", "state", "priority", "attempt", "crashes")} == {
        "id": job.id, "task": transcode.name, "queue": "default", "state": "ready", "priority": 7, "attempt": 0, "crashes": 0,
    }  # fmt: skip
    assert datetime.fromisoformat(body["created_at"]).tzinfo is not None
    assert (body["started_at"], body["finished_at"], body["progress"], body["error"]) == (None,) * 4
    waits = datetime.fromisoformat(body["expires_at"]) - datetime.fromisoformat(body["created_at"])
    assert waits.total_seconds() == pytest.approx(3600, abs=1)
    assert body["links"] == {
        "self": f"/jobs/{job.id}",
        "result": f"/jobs/{job.id}/result",
        "events": f"/jobs/{job.id}/events",
        "cancel": f"/jobs/{job.id}/cancel",
    }
    assert "body" not in body
    assert "a.mp4" not in response.text


def test_progress_is_shown(client: TestClient, worker: Worker) -> None:
    job = transcode.delay("a.mp4")
    worker.start(job.id)
    worker.write(job.id, "progress", Progress(1, 4, "encoding"))
    body = client.get(f"/jobs/{job.id}").json()
    assert (body["state"], body["attempt"]) == ("running", 1)
    assert body["progress"] == {"current": 1.0, "total": 4.0, "message": "encoding", "share": 0.25}


def test_a_finished_job_is_not_to_be_asked_for_again(client: TestClient, worker: Worker) -> None:
    job = worker.finish(transcode.delay("a.mp4").id, DONE)
    response = client.get(f"/jobs/{job}")
    assert response.json()["state"] == "succeeded"
    assert response.json()["finished_at"]
    assert "retry-after" not in response.headers


def test_a_scheduled_job_says_when_to_come_again(client: TestClient) -> None:
    soon, late = transcode.options(delay=10).delay("a"), transcode.options(delay="1h").delay("a")
    assert 8 <= int(client.get(f"/jobs/{soon.id}").headers["retry-after"]) <= 10
    assert client.get(f"/jobs/{late.id}").headers["retry-after"] == "30"


def test_an_unchanged_job_is_304_and_a_changed_one_is_not(client: TestClient, worker: Worker) -> None:
    url = f"/jobs/{transcode.delay('a.mp4').id}"
    tag = client.get(url).headers["etag"]
    assert tag.startswith('"')
    for header in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        same = client.get(url, headers={"If-None-Match": header})
        assert (same.status_code, same.content, same.headers["etag"], same.headers["retry-after"]) == (
            304,
            b"",
            tag,
            "1",
        )
    assert client.get(url, headers={"If-None-Match": '"x"'}).status_code == 200
    worker.start(url[6:])
    changed = client.get(url, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["state"]) == (200, "running")
    assert changed.headers["etag"] != tag


def test_the_etag_follows_progress(client: TestClient, worker: Worker) -> None:
    job = transcode.delay("a.mp4").id
    worker.start(job)
    tags = set()
    for step in range(3):
        worker.write(job, "progress", Progress(step, 3))
        tags.add(client.get(f"/jobs/{job}").headers["etag"])
    assert len(tags) == 3


UNKNOWN = ["0e8a637b-7546-4cbe-acaf-a89ad9977506", "01a1fdd2-41bf-7b3d-985b-54345c001e22"]


@pytest.mark.parametrize("job_id", ["nonsense", "%00", "..%2f", "🦄", "0" * 5000, "{}", *UNKNOWN])
def test_an_id_that_is_no_jobs_is_404(client: TestClient, job_id: str) -> None:
    for method, path in (("GET", ""), ("GET", "/result"), ("GET", "/events"), ("POST", "/cancel")):
        response = client.request(method, f"/jobs/{job_id}{path}")
        assert response.status_code == 404
        if job_id != "..%2f":
            problem(response, 404, "job-not-found")


def test_an_id_in_another_spelling_is_the_same_job(client: TestClient) -> None:
    job = transcode.delay("a.mp4")
    assert client.get(f"/jobs/{job.id.upper()}").json()["id"] == job.id


@pytest.mark.parametrize("query", ["wait=-1", "wait=soon", "wait=nan"])
def test_a_bad_query_is_a_problem(client: TestClient, query: str) -> None:
    body = problem(client.get(f"/jobs/{transcode.delay('a').id}?{query}"), 422, "invalid-request")
    assert "wait" in body["detail"]


# --- long poll ------------------------------------------------------------------------------------------------


async def polled(path: str, then: Callable[[], Any]) -> Any:
    """The response to a waiting GET, during which `then` happens."""
    broker, waits = await app.broker(), asyncio.Event()
    read = broker.read

    async def watched(*args: Any, **options: Any) -> Any:
        waits.set()
        return await read(*args, **options)

    broker.read = watched  # type: ignore[method-assign]  # the harness throws this broker away
    async with AsyncClient(transport=ASGITransport(make_api()), base_url="http://test") as client:
        asking = asyncio.create_task(client.get(path))
        await asyncio.wait_for(waits.wait(), 10)
        await asyncio.to_thread(then)
        return await asyncio.wait_for(asking, 10)


async def test_a_long_poll_answers_when_the_state_changes(worker: Worker) -> None:
    job = (await transcode.enqueue("a.mp4")).id
    response = await polled(f"/jobs/{job}?wait=20", lambda: worker.start(job))
    assert (response.status_code, response.json()["state"]) == (200, "running")


async def test_a_long_poll_answers_when_progress_comes(worker: Worker) -> None:
    job = (await transcode.enqueue("a.mp4")).id
    await asyncio.to_thread(worker.start, job)
    response = await polled(f"/jobs/{job}?wait=20", lambda: worker.write(job, "progress", Progress(1, 2)))
    assert response.json()["progress"]["share"] == 0.5


async def test_a_long_poll_answers_when_the_job_ends_or_is_deleted(worker: Worker) -> None:
    job = (await transcode.enqueue("a.mp4")).id
    await asyncio.to_thread(worker.start, job)
    assert (await polled(f"/jobs/{job}?wait=1e300", lambda: worker.end(job, DONE))).json()["state"] == "succeeded"
    gone = (await transcode.enqueue("a.mp4")).id
    problem(await polled(f"/jobs/{gone}?wait=20", lambda: worker._run("forget", [gone])), 404, "job-not-found")


def test_a_long_poll_ends_with_its_time(client: TestClient) -> None:
    url = f"/jobs/{transcode.delay('a.mp4').id}"
    tag = client.get(url).headers["etag"]
    assert client.get(url + "?wait=0.05").json()["state"] == "ready"
    assert client.get(url + "?wait=0.05", headers={"If-None-Match": tag}).status_code == 304


def test_a_long_poll_with_an_outdated_etag_is_answered_at_once(client: TestClient, worker: Worker) -> None:
    job = transcode.delay("a.mp4").id
    tag = client.get(f"/jobs/{job}").headers["etag"]
    worker.start(job)
    response = client.get(f"/jobs/{job}?wait=30", headers={"If-None-Match": tag})
    assert (response.status_code, response.json()["state"]) == (200, "running")


# --- result and cancel ----------------------------------------------------------------------------------------


def test_the_result_is_the_json_of_the_tasks_annotation(client: TestClient, worker: Worker) -> None:
    job = transcode.delay("a.mp4").id
    early = client.get(f"/jobs/{job}/result")
    assert (early.status_code, early.headers["retry-after"], early.json()["state"]) == (202, "1", "ready")
    worker.finish(job, DONE)
    late = client.get(f"/jobs/{job}/result")
    assert (late.status_code, late.json()) == (200, {"path": "a.mp4", "seconds": 1.5})
    assert late.headers["content-type"] == "application/json"


def test_a_failed_job_has_a_problem_for_a_result_without_its_traceback(client: TestClient, worker: Worker) -> None:
    job = worker.finish(broken.delay().id, FAILED)
    body = problem(client.get(f"/jobs/{job}/result"), 409, "job-failed")
    assert body["detail"] == "OSError: disk full"
    assert body["error"] == {"kind": "exception", "type": "OSError", "message": "disk full"}
    status = client.get(f"/jobs/{job}")
    assert status.json()["error"]["message"] == "disk full"
    assert "secret" not in status.text


def test_the_traceback_can_be_shown(jobs: Harness, worker: Worker) -> None:
    job = worker.finish(broken.delay().id, FAILED)
    client = TestClient(make_api(expose_traceback=True))
    assert "secret" in client.get(f"/jobs/{job}/result").json()["error"]["traceback"]
    assert "secret" in client.get(f"/jobs/{job}").json()["error"]["traceback"]


def test_a_job_that_has_not_started_is_cancelled_at_once(client: TestClient) -> None:
    job = transcode.delay("a.mp4").id
    response = client.post(f"/jobs/{job}/cancel")
    assert (response.status_code, response.json()["state"]) == (202, "cancelled")
    assert "cancelled" in problem(client.get(f"/jobs/{job}/result"), 409, "job-cancelled")["detail"]


def test_a_running_job_is_being_cancelled(client: TestClient, worker: Worker) -> None:
    job = transcode.delay("a.mp4").id
    worker.start(job)
    for _ in range(2):
        response = client.post(f"/jobs/{job}/cancel")
        assert (response.status_code, response.json()["state"], response.json()["cancelling"]) == (202, "running", True)


@pytest.mark.parametrize("outcome", [DONE, FAILED])
def test_a_finished_job_cannot_be_cancelled(client: TestClient, worker: Worker, outcome: Outcome) -> None:
    job = worker.finish(transcode.delay("a.mp4").id, outcome)
    problem(client.post(f"/jobs/{job}/cancel"), 409, "job-finished")


# --- who may see what -----------------------------------------------------------------------------------------


def user(authorization: Annotated[str, Header()] = "") -> str:
    if not authorization:
        raise HTTPException(401, "who are you?", {"WWW-Authenticate": "Basic"})
    return authorization


def mine(name: Annotated[str, Depends(user)]) -> Sees:
    return lambda job: meta_of(job).get("owner") == name


def test_jobs_of_others_do_not_exist(jobs: Harness) -> None:
    client = TestClient(make_api(visible=mine))
    url = f"/jobs/{transcode.options(meta={'owner': 'ann'}).delay('a').id}"
    for method, path in (("GET", ""), ("GET", "/result"), ("POST", "/cancel")):
        problem(client.request(method, url + path, headers={"Authorization": "bob"}), 404, "job-not-found")
    assert client.get(f"{url}/events", headers={"Authorization": "bob"}).status_code == 404
    assert client.get(url, headers={"Authorization": "ann"}).json()["state"] == "ready"
    refused = client.get(url)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (
        401,
        "Basic",
    )  # the program's own errors are its own


def whose(name: Nobody | None = None) -> Sees:  # type: ignore[name-defined]  # noqa: F821 # that is the test
    return lambda job: meta_of(job).get("owner") == name


def test_a_predicate_that_cannot_be_read_is_refused() -> None:
    """FastAPI would take the owner's name from the query: of whoever asks for it."""
    with pytest.raises(ConfigurationError, match=r"visible= of jobs_router: name: Nobody \| None of whose names what"):
        make_api(visible=whose)


# --- Accepted -------------------------------------------------------------------------------------------------


def test_an_accepted_job_is_stored_and_says_where_to_follow_it(client: TestClient, jobs: Harness) -> None:
    response = client.post("/transcode")
    body = response.json()
    assert (response.status_code, body["state"]) == (202, "ready")
    assert (response.headers["location"], response.headers["retry-after"]) == (f"/jobs/{body['id']}", "1")
    assert body["links"]["events"] == f"/jobs/{body['id']}/events"
    assert jobs.assert_enqueued(transcode, path="a.mp4", preset=1).id == body["id"]
    assert client.get(response.headers["location"]).json()["id"] == body["id"]
    assert "idempotent-replayed" not in response.headers


def test_the_status_is_202_also_when_the_route_forgot_to_say_so(jobs: Harness) -> None:
    api = FastAPI()

    @api.post("/")
    async def start(accept: Accepted) -> JobAccepted:
        return await accept(transcode.options(delay=60).bind("a"))

    response = TestClient(api).post("/")
    assert (response.status_code, response.json()["state"]) == (202, "scheduled")
    assert (response.json()["links"], "location" in response.headers) == (None, False)  # no jobs_router


def test_a_repeat_with_the_same_idempotency_key_answers_the_first_job(
    client: TestClient, jobs: Harness, worker: Worker
) -> None:
    headers = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
    first = client.post("/transcode", headers=headers)
    again = client.post("/transcode", headers=headers)
    assert again.json() == first.json()
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert "idempotent-replayed" not in first.headers
    worker.finish(first.json()["id"], DONE)
    assert client.post("/transcode", headers=headers).json()["state"] == "succeeded"
    assert len(jobs.enqueued()) == 1


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_a_workflow_is_accepted_with_all_of_its_jobs(
    client: TestClient, jobs: Harness, headers: dict[str, str]
) -> None:
    first, again = (client.post("/transcode-and-announce", headers=headers).json()["id"] for _ in range(2))
    assert (first == again) is bool(headers)
    jobs.drain_blocking()
    assert app.job(first).get() == "a.mp4 is ready"
    assert len(jobs.enqueued()) == (2 if headers else 4)


def test_an_idempotency_key_with_other_arguments_is_refused(client: TestClient, jobs: Harness) -> None:
    headers = {"Idempotency-Key": "k"}
    client.post("/transcode?path=a", headers=headers)
    problem(client.post("/transcode?path=b", headers=headers), 422, "idempotency-key-reused")
    assert len(jobs.enqueued()) == 1
    assert client.post("/transcode?path=b", headers={"Idempotency-Key": "l"}).status_code == 202


@pytest.mark.parametrize("key", ["", '""', " ", "k" * 256])
def test_an_idempotency_key_has_a_length(client: TestClient, key: str) -> None:
    problem(client.post("/transcode", headers={"Idempotency-Key": key}), 422, "invalid-idempotency-key")


def test_the_same_key_for_another_task_app_or_scope_is_another_job(jobs: Harness) -> None:
    api = FastAPI()

    @api.post("/{task}")
    async def start(task: str, accept: Accepted, request: Request) -> JobAccepted:
        calls = {"send": send.bind("ann"), "broken": broken.bind(), "print": print_out.bind(1)}
        return await accept(calls[task], scope=request.headers.get("user", ""))

    client = TestClient(api)
    asked = [("send", ""), ("broken", ""), ("print", ""), ("send", "ann"), ("send", "bob")]
    ids = [client.post(f"/{task}", headers={"Idempotency-Key": "k", "User": who}).json()["id"] for task, who in asked]
    assert len(set(ids)) == 5


def test_a_taken_unique_key_answers_the_job_that_has_it(client: TestClient) -> None:
    first, second = (client.post(f"/transcode?key=video&path={path}", headers=headers)
                     for path, headers in (("a", {}), ("b", {"Idempotency-Key": "k"})))  # fmt: skip
    assert (second.status_code, second.json()["id"]) == (202, first.json()["id"])
    assert "idempotent-replayed" not in second.headers


def test_arguments_that_do_not_fit_are_422_and_too_large_ones_413(client: TestClient, jobs: Harness) -> None:
    problem(client.post(f"/transcode?path={'x' * 3000}"), 413, "payload-too-large")
    api = FastAPI()

    @api.post("/")
    async def start(accept: Accepted) -> JobAccepted:
        return await accept(transcode.bind(path=3, preset="x"))  # type: ignore[arg-type]  # the wrong argument is the test

    assert "preset" in problem(TestClient(api).post("/"), 422, "invalid-arguments")["detail"]
    assert jobs.enqueued() == []


async def test_a_client_may_wait_where_the_route_allows_it(jobs: Harness, worker: Worker) -> None:
    async with AsyncClient(transport=ASGITransport(make_api()), base_url="http://test") as client:
        waiting = asyncio.create_task(client.post("/patient", headers={"Prefer": "respond-async, wait=60"}))
        async with asyncio.timeout(10):
            while not jobs.enqueued():  # noqa: ASYNC110 - the harness is asked, it does not tell
                await asyncio.sleep(0.01)
        await asyncio.to_thread(worker.finish, jobs.enqueued()[0].id, FAILED)
        response = await waiting
        assert (response.status_code, response.json()["state"]) == (202, "failed")
        assert response.headers["preference-applied"] == "wait=60"
        assert "retry-after" not in response.headers
        late = await client.post("/patient", headers={"Prefer": "wait=0"})
        assert (late.json()["state"], late.headers["retry-after"]) == ("ready", "1")
        assert "preference-applied" not in (await client.post("/patient")).headers
        assert "preference-applied" not in (await client.post("/transcode", headers={"Prefer": "wait=9"})).headers


# --- Tasks ----------------------------------------------------------------------------------------------------


def test_tasks_are_stored_when_the_handler_succeeded(client: TestClient, jobs: Harness) -> None:
    response = client.post("/signup")
    assert response.status_code == 200
    assert [job.task for job in jobs.enqueued()] == [send.name, transcode.name]
    assert [job.id for job in jobs.enqueued()] == response.json()["ids"]
    assert jobs.assert_enqueued(transcode, path="ann.mp4", preset=2)


def test_nothing_is_stored_when_the_handler_raises(client: TestClient, jobs: Harness) -> None:
    assert client.post("/signup?fail=http").json() == {"detail": "I am a teapot"}
    with pytest.raises(RuntimeError, match="a bug"):
        client.post("/signup?fail=error")
    problem(client.post("/signup?fail=arguments"), 422, "invalid-arguments")
    problem(client.post("/signup?fail=large"), 413, "payload-too-large")
    assert jobs.enqueued() == []


def test_nothing_is_stored_when_the_response_cannot_be_made_or_a_dependency_fails(jobs: Harness) -> None:
    api = FastAPI()

    def guard(tasks: Tasks) -> None:
        tasks.add_task(send, "from a dependency")
        raise HTTPException(403)

    @api.post("/response")
    async def bad_response(tasks: Tasks) -> Report:
        tasks.add_task(send, "ann")
        return "nonsense"  # type: ignore[return-value]

    @api.post("/dependency", dependencies=[Depends(guard)])
    async def guarded() -> None: ...

    client = TestClient(api, raise_server_exceptions=False)
    assert (client.post("/response").status_code, client.post("/dependency").status_code) == (500, 403)
    assert jobs.enqueued() == []


def test_a_batch_is_one_enqueue_and_before_the_response(jobs: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    place = app.place

    async def watched(batch: Sequence[NewJob]) -> Any:
        seen.append(f"{len(batch)} stored")
        return await place(batch)

    monkeypatch.setattr(app, "place", watched)
    inner = make_api()

    async def api(scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            seen.append(message["type"])
            await send(message)

        await inner(scope, receive, sending)

    TestClient(api).post("/signup")
    assert seen == ["2 stored", "http.response.start", "http.response.body"]


def test_sync_handlers_options_and_helpers_share_the_batch(jobs: Harness) -> None:
    api = FastAPI()
    batches: list[TaskBatch] = []

    def greeter(tasks: Tasks) -> Callable[[str], None]:
        return lambda to: tasks.add_task(send.options(delay="1h"), to)

    @api.post("/")
    def sync(tasks: Tasks, greet: Callable[[str], None] = Depends(greeter)) -> None:
        greet("ann")
        tasks.add_task(send.options(key="once"), "bob")
        tasks.add_task(print_out, 3)
        batches.append(tasks)

    with Harness(other) as office:
        client = TestClient(api)
        client.post("/")
        assert client.post("/").status_code == 200
        assert [one.arguments for one in office.enqueued(print_out)] == [{"pages": 3}] * 2
    assert [(job.arguments["to"], job.delay) for job in jobs.enqueued()] == [("ann", 3600), ("bob", 0), ("ann", 3600)]
    assert batches[0].handles[1] == batches[1].handles[1]  # the key was taken: it is the first job's handle
    assert (batches[0].handles[1].fresh, batches[1].handles[1].fresh) == (True, False)


def test_what_is_no_task_is_refused_in_words(jobs: Harness) -> None:
    with pytest.raises(TypeError, match=r"is no task of Windlass; decorate it with @app\.task"):
        TaskBatch().add_task(print, "x")  # type: ignore[arg-type]  # the wrong argument is the test


def test_a_handler_may_catch_invalid_arguments_itself(jobs: Harness) -> None:
    api = FastAPI()

    @api.post("/")
    async def careful(tasks: Tasks) -> str:
        try:
            tasks.add_task(send, object())  # type: ignore[arg-type]  # the wrong argument is the test
        except InvalidArguments:
            return "caught"
        return "not raised"

    assert TestClient(api).post("/").json() == "caught"


# --- the store is out of reach --------------------------------------------------------------------------------


class Unreachable(MemoryBroker):
    """A store that is gone, and whose errors name things that are no client's business."""

    error: Exception = BrokerUnavailable("cannot reach redis://:secret@10.0.0.1")

    def sibling(self) -> Unreachable:
        return self

    async def enqueue(self, jobs: Sequence[NewJob], *, now: float | None = None) -> list[Placed]:
        raise self.error

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        raise self.error


@pytest.mark.parametrize("error", [BrokerUnavailable("redis://:secret@host"), StoreFull("/var/secret is full")])
def test_without_a_store_the_answer_is_503_and_come_again(error: Exception) -> None:
    broker = Unreachable()
    broker.error = error
    with app.store_replaced(broker):
        client = TestClient(make_api())
        asked = [
            ("POST", "/transcode"),
            ("POST", "/signup"),
            ("GET", f"/jobs/{new_id()}"),
            ("POST", f"/jobs/{new_id()}/cancel"),
        ]
        for method, path in asked:
            response = client.request(method, path)
            problem(response, 503, "store-unavailable")
            assert response.headers["retry-after"] == "5"
            assert "secret" not in response.text


def test_an_api_starts_without_its_store_and_works_once_it_is_back() -> None:
    class Away(MemoryBroker):
        back = False

        def sibling(self) -> Away:
            return self

        async def open(self) -> None:
            if not self.back:
                raise BrokerUnavailable("database is locked")

    store = Away()
    with app.store_replaced(store), TestClient(make_api()) as client:
        for method, path in (("POST", "/transcode"), ("POST", "/signup"), ("GET", f"/jobs/{new_id()}")):
            response = client.request(method, path)
            problem(response, 503, "store-unavailable")
            assert response.headers["retry-after"] == "5"
        store.back = True
        job = client.post("/transcode")
        assert job.status_code == 202
        assert client.get(job.headers["location"]).json()["state"] == "ready"


def test_a_program_may_handle_problems_its_own_way(jobs: Harness) -> None:
    from fastapi.responses import PlainTextResponse

    from windlass.web.problems import Problem

    api = make_api()

    @api.exception_handler(Problem)
    async def mine(request: Request, error: Problem) -> PlainTextResponse:
        return PlainTextResponse(f"sorry: {error.kind}", error.status_code)

    response = TestClient(api).post(f"/transcode?path={'x' * 3000}")
    assert (response.status_code, response.text) == (413, "sorry: payload-too-large")


# --- installation ---------------------------------------------------------------------------------------------


def test_the_router_opens_and_closes_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    class Watched(MemoryBroker):
        def sibling(self) -> Watched:
            return Watched()

        async def open(self) -> None:
            happened.append("open")

        async def close(self) -> None:
            happened.append("close")

    api = FastAPI()
    outer = APIRouter(prefix="/v1")
    outer.include_router(jobs_router(app), prefix="/jobs")
    api.include_router(outer)
    with app.store_replaced(Watched()):
        with TestClient(api):
            assert happened == ["open"]
        assert happened == ["open", "close"]


@pytest.mark.parametrize("root", ["", "/proxy"])
def test_locations_are_right_at_any_depth_and_behind_a_proxy(jobs: Harness, root: str) -> None:
    api = FastAPI()
    inner, outer = APIRouter(prefix="/inner"), APIRouter(prefix="/outer")
    inner.include_router(jobs_router(app), prefix="/jobs")
    outer.include_router(inner)
    api.include_router(outer, prefix="/v1")

    @api.post("/start")
    async def start(accept: Accepted) -> JobAccepted:
        return await accept(transcode.bind("a"))

    client = TestClient(api, root_path=root)
    location = client.post("/start").headers["location"]
    assert location.startswith(f"{root}/v1/outer/inner/jobs/")
    shown = client.get(location.removeprefix(root)).json()
    assert (shown["state"], shown["links"]["self"]) == ("ready", location)


def test_a_mounted_api_has_its_own_locations(jobs: Harness) -> None:
    api = FastAPI()
    api.mount("/sub", make_api())
    client = TestClient(api)
    location = client.post("/sub/transcode").headers["location"]
    assert location.startswith("/sub/jobs/")
    assert client.get(location).status_code == 200


def test_two_apps_in_one_api_are_told_apart(jobs: Harness) -> None:
    with Harness(other):
        api = make_api()
        api.include_router(jobs_router(other), prefix="/office")

        @api.post("/print", status_code=202)
        async def start(accept: Accepted) -> JobAccepted:
            return await accept(print_out.bind(3))

        with TestClient(api) as client:
            mine, theirs = client.post("/transcode").headers["location"], client.post("/print").headers["location"]
            assert (mine.startswith("/jobs/"), theirs.startswith("/office/")) == (True, True)
            assert client.get(mine).json()["task"] == transcode.name
            assert client.get(theirs).json()["task"] == print_out.name
            problem(client.get(theirs.replace("office", "jobs")), 404, "job-not-found")
            paths = client.get("/openapi.json").json()["paths"]
            operations = [one["operationId"] for path in paths.values() for one in path.values()]
            assert len(operations) == len(set(operations)) == 2 * 4 + 5


def test_two_apps_of_one_name_in_one_api_are_refused_at_the_start() -> None:
    api = FastAPI()
    for number in range(2):
        api.include_router(jobs_router(Windlass("memory://", name="twin")), prefix=f"/{number}")
    with pytest.raises(ConfigurationError, match="this API serves two apps called 'twin'"), TestClient(api):
        pass


def test_one_app_may_be_served_twice(jobs: Harness) -> None:
    api = make_api()
    api.include_router(jobs_router(app), prefix="/again")
    with TestClient(api) as client:
        location = client.post("/transcode").headers["location"]
        assert client.get(location).json()["id"] == client.get(location.replace("jobs", "again")).json()["id"]


def test_a_worker_can_run_inside_the_api(caplog: pytest.LogCaptureFixture) -> None:
    queue = Windlass("memory://", name="embedded")

    @queue.task(name="embedded.double")
    def double(number: int) -> int:
        return number * 2

    api = FastAPI()
    api.include_router(jobs_router(queue, worker=True), prefix="/jobs")

    @api.post("/double", status_code=202)
    async def start(accept: Accepted) -> JobAccepted:
        return await accept(double.bind(4), wait=20)

    with caplog.at_level(logging.INFO), TestClient(api) as client:
        response = client.post("/double", headers={"Prefer": "wait=20"})
        assert response.json()["state"] == "succeeded"
        assert client.get(response.headers["location"] + "/result").json() == 8
    assert len([record for record in caplog.records if "inside this API process" in record.getMessage()]) == 1


# --- OpenAPI --------------------------------------------------------------------------------------------------


def test_the_documentation_names_every_answer() -> None:
    paths = make_api().openapi()["paths"]
    answers = {path: set(next(iter(paths[path].values()))["responses"]) for path in paths if path.startswith("/jobs")}
    common = {"404", "422", "503"}
    assert answers == {
        "/jobs/{job_id}": common | {"200", "304"},
        "/jobs/{job_id}/result": common | {"200", "202", "409", "500"},
        "/jobs/{job_id}/events": common | {"200", "204"},
        "/jobs/{job_id}/cancel": common | {"202", "409"},
    }
    missing = paths["/jobs/{job_id}"]["get"]["responses"]["404"]["content"]
    assert set(missing) == {PROBLEM}
    assert set(paths["/jobs/{job_id}/events"]["get"]["responses"]["200"]["content"]) == {"text/event-stream"}


@pytest.mark.parametrize("state", [State.READY, State.SUCCEEDED, State.FAILED])
@pytest.mark.parametrize("path", ["", "/result", "/events", "/cancel"])
def test_nothing_that_the_schema_allows_ends_in_a_5xx_or_an_undocumented_answer(
    jobs: Harness, worker: Worker, state: State, path: str
) -> None:
    job = transcode.delay("a.mp4").id
    if state.finished:
        worker.finish(job, DONE if state is State.SUCCEEDED else FAILED)
    api = FastAPI()
    api.include_router(jobs_router(app), prefix="/jobs")
    method = "POST" if path == "/cancel" else "GET"
    operation = schemathesis.openapi.from_asgi("/openapi.json", api)[f"/jobs/{{job_id}}{path}"][method]
    CHECKS.get_all() or schemathesis.checks.load_all_checks()
    names = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")

    @settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(), known=booleans())
    def check(case: Any, known: bool) -> None:
        if isinstance((case.query or {}).get("wait"), int | float):
            case.query["wait"] = min(case.query["wait"], 0.01)
        if known and (state.finished or path != "/events"):  # else it would be followed for ever
            case.path_parameters["job_id"] = job
        case.call_and_validate(checks=CHECKS.get_by_names(names))

    check()
