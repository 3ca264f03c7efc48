"""Workflows, flows, limits and keys over the API: what is read of them, how much of it, and the cancel of a whole workflow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from contract import Contract
from fastapi import Depends, FastAPI
from httpx2 import ASGITransport, AsyncClient

from windlass import Batch, Flow, Limit, Retry, State, Windlass, group
from windlass import Depends as Given
from windlass.core import letters
from windlass.core.ids import derived, new_id
from windlass.core.job import Entry, NewJob
from windlass.core.outcome import ErrorInfo
from windlass.core.terms import Terms
from windlass.fastapi import Access, Role, dashboard
from windlass.flow import Record
from windlass.testing import Harness
from windlass.web.admin import workflows
from windlass.web.admin.steps import Steps

CONTRACT = Contract()
app = Windlass("memory://", name="album", retry=Retry(attempts=1))


@app.task(name="fetch")
async def fetch(photo: str) -> int:
    if photo == "broken":
        raise OSError("no such photo")
    return len(photo)


@app.task(name="resize")
async def resize(size: int) -> int:
    return size


@app.task(name="album")
async def album(sizes: list[int]) -> int:
    return sum(sizes)


async def mend(what: str) -> str:
    return what


@app.flow(name="publish")
async def publish(photo: str, flow: Flow = Given()) -> str:
    await flow.step(mend, photo)
    await flow.run(fetch.options(queue="cold").bind(photo))
    try:
        await flow.event("seen", timeout="5m")
    except TimeoutError:
        await flow.sleep("1h")
    await flow.event("approved")
    return photo


@app.task(name="ask", limits=[Limit("openai", running=1, key=lambda who: who), Limit("mail", rate="1/m")])
async def ask_model(who: str) -> None: ...


@app.task(name="book", limits=[Limit("account", ordered=True, key=lambda account: account)])
async def book(account: str) -> None: ...


@app.task(name="caption", batch=Batch(size=8), needs={"gpu": 1}, limits=[Limit("gpu", running=2)])
async def caption(photos: list[str]) -> list[str]:
    return photos


@pytest.fixture
async def jobs() -> AsyncIterator[Harness]:
    async with Harness(app) as harness:
        yield harness


class Api:
    """The dashboard's API, as an operator sees it."""

    def __init__(self) -> None:
        api = FastAPI()
        api.include_router(dashboard(app, auth=Depends(lambda: Access(Role.OPERATOR, "ann"))), prefix="/w")
        self.http = AsyncClient(
            transport=ASGITransport(api),
            base_url="http://test/w/api/v1/",
            headers={"Sec-Fetch-Site": "same-origin"},
        )

    async def __call__(self, read: str, shape: str) -> Any:
        response = await self.http.get(read)
        assert response.status_code == 200, response.text
        assert CONTRACT.check(response.json(), CONTRACT.reads[shape], read) == []
        return response.json()

    async def workflow(self, root: str) -> Any:
        return await self(f"workflows/{root}", "workflows/{id}")

    async def why(self, job: str) -> str:
        return " ".join((await self(f"jobs/{job}", "jobs/{id}"))["why"])


@pytest.fixture
async def api(jobs: Harness) -> AsyncIterator[Api]:
    one = Api()
    async with one.http:
        yield one


# --- workflows ----------------------------------------------------------------------------------------------


async def test_a_workflow_is_told_with_all_its_parts(jobs: Harness, api: Api) -> None:
    whole = await group(fetch.bind(one).then(resize) for one in ("a", "bb")).then(album).enqueue()
    told = await api.workflow(whole.id)
    parts = {one["id"]: one for one in told["parts"]}
    assert (len(parts), told["cut"], told["job"]["awaited"]) == (5, False, 2)
    resizes = [one for one in told["parts"] if one["task"] == "resize"]
    assert {to for one in resizes for to in one["to"]} == {whole.id}
    assert {to for one in told["parts"] if one["task"] == "fetch" for to in one["to"]} == {one["id"] for one in resizes}
    for part in parts:
        assert (await api(f"jobs/{part}", "jobs/{id}"))["root"] == whole.id
    await jobs.drain()
    told = await api.workflow(whole.id)
    assert {one["state"] for one in told["parts"]} == {"succeeded"}
    assert (told["job"]["letters"], told["steps"]) == (2, [])


@pytest.mark.usefixtures("jobs")
async def test_of_a_large_workflow_what_tells_something_is_read_and_no_more(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflows, "LOOK", 20)
    parts = group((fetch.bind(str(n)).then(resize) for n in range(100)), collect=True)
    whole = await parts.then(album).enqueue()
    broker = await app.broker()
    ready = (await broker.find(states=[State.READY], root=whole.id, limit=200)).jobs
    await broker.cancel([one.id for one in ready[-3:]])
    told = await api.workflow(whole.id)
    states = [one["state"] for one in told["parts"]]
    assert (told["cut"], told["exact"], states.count("cancelled")) == (True, True, 3)
    known = {one["id"] for one in told["parts"]}
    assert all(to in known for one in told["parts"] for to in one["to"])
    assert len(states) <= 20 // 2 * (4 + workflows.DEEP)
    monkeypatch.setattr(workflows, "LOOK", 2)
    assert not (await api.workflow(whole.id))["exact"]


@pytest.mark.usefixtures("jobs")
async def test_what_is_no_workflow_is_not_found_and_a_lost_head_is_said(api: Api) -> None:
    assert (await api.http.get(f"workflows/{new_id()}")).status_code == 404
    assert (await api.http.get("workflows/none")).status_code == 422
    alone = await fetch.enqueue("a")
    assert [one["id"] for one in (await api.workflow(alone.id))["parts"]] == [alone.id]
    root = new_id()
    orphan = NewJob(id=new_id(), task="fetch", body=b'{"args":{}}', terms=Terms(root=root, to=(root,)))
    await app.place([orphan])
    told = await api.workflow(root)
    assert (told["job"], [one["id"] for one in told["parts"]]) == (None, [orphan.id])


@pytest.mark.usefixtures("jobs")
async def test_all_of_it_is_cancelled_by_one_action_that_is_noted(api: Api) -> None:
    whole = await group(fetch.bind(one) for one in ("a", "bb")).then(album).enqueue()
    assert (await api.http.post(f"workflows/{whole.id}", json={"action": "cancel"})).json()["affected"] == 1
    assert {one["state"] for one in (await api.workflow(whole.id))["parts"]} == {"cancelled"}
    entry = (await api.http.get("audit")).json()["entries"][0]
    assert (entry["action"], entry["target"], entry["who"]) == ("cancel workflow", whole.id, "ann")
    assert (await api.http.post(f"workflows/{new_id()}", json={"action": "cancel"})).status_code == 404
    assert (await api.http.post(f"workflows/{whole.id}", json={"action": "burn"})).status_code == 422


async def test_workflows_are_found_by_their_heads(jobs: Harness, api: Api) -> None:
    whole = await group(fetch.bind(one) for one in ("a", "bb")).then(album).enqueue()
    flow = await publish.enqueue("a")
    await fetch.enqueue("alone")
    await jobs.drain()
    heads = (await api("jobs?q=root%3A%2A", "jobs"))["jobs"]
    assert {one["id"] for one in heads} == {whole.id, flow.id}
    assert len((await api(f"jobs?q=root%3A{whole.id}", "jobs"))["jobs"]) == 3
    assert [one["task"] for one in (await api(f"jobs?q=root%3A{flow.id}", "jobs"))["jobs"]] == ["fetch"]
    assert (await api.http.get("jobs?q=root%3Anone")).status_code == 422


# --- flows --------------------------------------------------------------------------------------------------


async def test_a_flow_is_told_by_its_steps_and_what_it_waits_for(jobs: Harness, api: Api) -> None:
    broker = await app.broker()
    await broker.pause("cold")
    job = await publish.enqueue("beach")
    assert (await api.workflow(job.id))["steps"] == []
    await jobs.drain()
    child = derived(job.id, 2)
    assert await api.why(job.id) == f"It waits for the job {child} (fetch)."
    await broker.pause("cold", False)
    await jobs.drain()
    steps = (await api.workflow(job.id))["steps"]
    assert [(one["kind"], one["outcome"]) for one in steps] == [
        ("call", "succeeded"),
        ("run", "succeeded"),
        ("event", "waiting"),
    ]
    assert (steps[1]["job"], steps[2]["event"]) == (child, "seen")
    assert (await job.info()).state is State.SCHEDULED
    assert 'It waits for the event "seen", for another 5 minutes at most' in await api.why(job.id)
    jobs.travel("6m")
    await jobs.drain()
    assert (await api.why(job.id)).startswith("It sleeps for another ")
    jobs.travel("1h")
    await jobs.drain()
    told = await api.workflow(job.id)
    assert [one["outcome"] for one in told["steps"]] == ["succeeded", "succeeded", "late", "succeeded", "waiting"]
    assert (await job.info()).state is State.WAITING
    assert await api.why(job.id) == 'It waits for the event "approved": app.signal(...) tells it.'
    await app.signal(job.id, "approved")
    await jobs.drain()
    told = await api.workflow(job.id)
    assert (told["job"]["state"], told["steps"][-1]["outcome"]) == ("succeeded", "succeeded")


def test_steps_are_read_as_far_as_they_can_be() -> None:
    job, steps = new_id(), Steps(new_id())
    steps = Steps(job)

    def step(at: float, number: int, name: str, **more: Any) -> Entry:
        return Entry("step", msgspec.json.encode(Record(number, name, **more)), at)

    def letter(at: float, name: str, said: letters.Said) -> Entry:
        return Entry("letter", letters.write(letters.Letter(name, said, "t", b"1")), at)

    error = ErrorInfo("exception", "OSError", "full")
    steps.add(
        [
            step(1, 1, "run encode"),
            Entry("step", b"{damaged", 2),
            letter(3, derived(job, 1), "failed"),
            letter(4, derived(job, 9), "succeeded"),  # of nobody that a step knows
            Entry("letter", b"damaged", 4),
            step(5, 2, "tell", error=error),
            letter(6, "early", "event"),
            letter(7, "early", "event"),  # the first one counts
            step(8, 3, "event early", until=90.0),
            step(9, 4, "sleep", until=50.0),
            Entry("log", b"{}", 9),
        ]
    )
    told = steps.told(40.0)
    ends = [(one.outcome, one.ended and one.ended.timestamp()) for one in told]
    assert ends == [("failed", 3), ("failed", 5), ("succeeded", 6), ("waiting", None)]
    assert [one.outcome for one in steps.told(50.0)][-1] == "succeeded"


@pytest.mark.usefixtures("jobs")
async def test_who_waits_for_parts_says_for_how_many_and_for_which(api: Api) -> None:
    whole = await fetch.bind("a").then(resize).enqueue()
    words = await api.why(whole.id)
    assert words.startswith("It waits for 1 job. The job ")
    assert words.endswith(f"{derived(whole.id, 0)} (fetch) is ready.")


# --- limits and keys ----------------------------------------------------------------------------------------


async def test_a_limit_says_who_is_inside_who_waits_and_when_the_next_may_pass(jobs: Harness, api: Api) -> None:
    first, second, third = [await ask_model.enqueue("ann") for _ in range(3)]
    broker = await app.broker()
    rows = {one["limit"]: one for one in (await api("limits", "limits"))["limits"]}
    assert [one["id"] for one in rows["openai"]["line"]] == [second.id, third.id]
    assert (rows["openai"]["opens"], rows["openai"]["inside"], rows["openai"]["ordered"]) == (None, [], False)
    assert "The limit openai under the key ann admits 1 units at once" in await api.why(second.id)
    await jobs.drain()
    assert (await first.info()).state is State.SUCCEEDED
    rows = {one["limit"]: one for one in (await api("limits", "limits"))["limits"]}
    assert [one["id"] for one in rows["mail"]["line"]] == [second.id, third.id]
    assert rows["mail"]["opens"] is not None
    jobs.travel("1m")
    await broker.promote()
    assert [one.state for one in await broker.get([second.id, third.id]) if one] == [State.READY, State.WAITING]


async def test_an_ordered_key_names_whose_turn_it_is(jobs: Harness, api: Api) -> None:
    first, second = [await book.enqueue("a") for _ in range(2)]
    (row,) = (await api("limits", "limits"))["limits"]
    assert (row["turn"], row["ordered"], row["opens"]) == (first.id, True, None)
    assert f"it is the turn of {first.id}" in await api.why(second.id)
    await jobs.drain()
    assert (await api("limits", "limits"))["limits"] == []


async def test_who_holds_a_key_is_told_with_every_job_that_had_it(jobs: Harness, api: Api) -> None:
    keyed = fetch.options(key="photo")
    first = await keyed.enqueue("broken")
    assert (await api(f"jobs/{first.id}", "jobs/{id}"))["holder"] == first.id
    await jobs.drain(raising=False)
    assert (await api(f"jobs/{first.id}", "jobs/{id}"))["holder"] is None
    second = await keyed.enqueue("b")
    assert (await api(f"jobs/{first.id}", "jobs/{id}"))["holder"] == second.id
    plain = await fetch.enqueue("c")
    assert (await api(f"jobs/{plain.id}", "jobs/{id}"))["holder"] is None


# --- once more ----------------------------------------------------------------------------------------------


async def again(api: Api, job: str, body: Any = None, status: int = 201) -> Any:
    response = await api.http.post(f"jobs/{job}/again", json=body or {})
    assert response.status_code == status, response.text
    return response.json()


async def test_a_copy_stands_at_the_same_limits_as_the_program_says_them_now(jobs: Harness, api: Api) -> None:
    first = await ask_model.enqueue("ann")
    old = (await first.info()).terms
    assert old is not None
    stale = msgspec.structs.replace(
        old, uses=(msgspec.structs.replace(old.uses[0], running=9.0),), root=new_id(), to=(first.id,)
    )
    copied = NewJob(id=new_id(), task="ask", body=(await first.info()).body, terms=stale)
    await app.place([copied])
    (made,) = await (await app.broker()).get([(await again(api, copied.id))["id"]])
    assert made is not None
    assert made.terms == old
    (made,) = await (await app.broker()).get([(await again(api, copied.id, {"arguments": {"who": "bob"}}))["id"]])
    assert made is not None
    assert made.terms is not None
    assert [use.key for use in made.terms.uses] == ["bob", ""]
    unknown = NewJob(id=new_id(), task="gone", body=b'{"args":{}}', terms=stale)
    await app.place([unknown])
    (made,) = await (await app.broker()).get([(await again(api, unknown.id))["id"]])
    assert made is not None
    assert made.terms == Terms(uses=stale.uses)


@pytest.mark.usefixtures("jobs")
async def test_a_copy_of_one_of_a_batch_needs_what_that_needed(api: Api) -> None:
    first = await (await caption.enqueue("beach")).info()
    (made,) = await (await app.broker()).get([(await again(api, first.id))["id"]])
    assert made is not None
    assert (made.lane, made.terms, made.state) == ("loop+gpu=1:caption", first.terms, first.state)


async def test_a_copy_of_a_flow_goes_its_own_way_to_its_end(jobs: Harness, api: Api) -> None:
    first = await publish.enqueue("beach")
    await first.cancel()
    copy = (await again(api, first.id))["id"]
    await jobs.drain()
    for name in ("seen", "approved"):
        assert await app.signal(copy, name)
    await jobs.drain()
    assert await app.job(copy).result() == "beach"


async def test_a_copy_of_a_join_asks_for_what_other_jobs_gave(jobs: Harness, api: Api) -> None:
    whole = await group(fetch.bind(one) for one in ("a", "bb")).then(album).enqueue()
    await jobs.drain()
    assert "other jobs gave sizes" in (await again(api, whole.id, status=422))["detail"]
    copy = (await again(api, whole.id, {"arguments": {"sizes": [7]}}))["id"]
    (made,) = await (await app.broker()).get([copy])
    assert made is not None
    assert (made.terms, made.state) == (None, State.READY)
    await jobs.drain()
    assert await app.job(copy).result() == 7
