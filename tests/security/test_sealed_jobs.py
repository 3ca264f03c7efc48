"""Jobs behind a seal, with real workers on every store: what an attacker who can write to the store cannot do (S3 to S6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2 as httpx
import pytest
from fastapi import FastAPI

from windlass import Context, Depends, Handle, JobCancelled, Retry, Seal, Snooze, Windlass
from windlass.broker.port import Broker
from windlass.core.ids import new_id
from windlass.core.job import Card, Claim, Entry, Job, NewJob
from windlass.core.outcome import Retried, Succeeded
from windlass.core.state import State
from windlass.errors import ErrorInfo, Undecodable
from windlass.events import JobEnded
from windlass.fastapi import jobs_router
from windlass.testing import Harness
from windlass.worker.runner import working

KEY, OLD, STOLEN = (bytes([number]) * 32 for number in (1, 2, 3))
SEALS = {"signing": Seal.signing({"now": KEY}), "encrypting": Seal.encrypting({"now": KEY})}
MakeApp = Callable[..., Windlass]
Until = Callable[..., Awaitable[Any]]

ran: list[tuple[str, int]] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


@pytest.fixture(params=SEALS.values(), ids=SEALS)
def seal(request: pytest.FixtureRequest) -> Seal:
    found: Seal = request.param
    return found


def program(app: Windlass) -> Windlass:
    """The tasks of all these tests."""

    @app.task(name="pay", retry=Retry(attempts=1))
    async def pay(amount: int) -> int:
        ran.append(("pay", amount))
        return amount

    @app.task(name="refund")
    def refund(amount: int) -> int:
        ran.append(("refund", amount))
        return -amount

    @app.task(name="resume")
    async def resume(ctx: Context = Depends()) -> Any:
        if (found := ctx.last_checkpoint) is not None:
            return found
        print("a line")
        ctx.chunk({"part": 1})
        ctx.progress(1, 2, "half")
        ctx.checkpoint({"page": 7})
        raise Snooze(0.2)

    return app


async def pay(app: Windlass, amount: int) -> Handle[Any]:
    handle: Handle[Any] = await app.get_task("pay").enqueue(amount)
    return handle


async def stored(raw: Broker, job_id: str) -> Job:
    (job,) = await raw.get([job_id])
    assert job is not None
    return job


async def put(raw: Broker, job: Job, **changed: Any) -> str:
    """Store a job as it was found, or changed, under a new id unless one is given."""
    fields = {"id": new_id(), "task": job.task, "body": job.body, "lane": job.lane, "queue": job.queue, **changed}
    await raw.enqueue([NewJob(**fields)])
    return str(fields["id"])


async def parked(raw: Broker, until: Until, job_id: str) -> str:
    """Why a job was parked, once it is; it has spent no attempt."""
    job: Job = await until(lambda: _in(raw, job_id, State.PARKED))
    assert job.attempt == 0
    return job.reason or ""


async def _in(raw: Broker, job_id: str, state: State) -> Job | None:
    job = await stored(raw, job_id)
    return job if job.state is state else None


async def taken(raw: Broker) -> Claim:
    """A claim as a worker without a key takes it."""
    await raw.beat("thief", Card(host="", pid=0), 60.0)
    (claim,) = await raw.claim(["default"], {"loop": 1, "thread": 1}, "thief")
    return claim


# --- it works -----------------------------------------------------------------------------------------------


async def test_jobs_run_and_what_they_leave_is_sealed(make_app: MakeApp, raw: Broker, seal: Seal, until: Until) -> None:
    app = program(make_app(seal=seal))
    async with working(app):
        paid, resumed = await pay(app, 41), await app.get_task("resume").enqueue()
        assert await paid.result(timeout=10) == 41
        assert await resumed.result(timeout=10) == {"page": 7}
    events = [(event.kind, event.data) async for event in resumed.events()]
    assert [kind for kind, _ in events] == ["log", "chunk", "progress", "checkpoint", "end"]
    assert events[0][1].message == "a line"
    assert events[1][1] == {"part": 1}
    assert (await resumed.info()).result == b'{"page":7}'
    (listed,) = (await (await app.broker()).find(task="pay")).jobs
    assert b'{"amount":41}' in listed.body
    behind = await raw.read(resumed.id)
    assert behind is not None
    assert {entry.kind: entry.data[:1] == b"\0" for entry in behind.entries} == {
        "log": True, "chunk": True, "progress": False, "checkpoint": True,
    }  # fmt: skip
    job = await stored(raw, paid.id)
    assert job.body[0] == (job.result or b"x")[0] == 0


async def test_encryption_leaves_nothing_to_read(make_app: MakeApp, raw: Broker) -> None:
    app = program(make_app(seal=SEALS["encrypting"]))
    async with working(app):
        handle = await pay(app, 12_345_678)
        assert await handle.result(timeout=10) == 12_345_678
    job = await stored(raw, handle.id)
    assert b"12345678" not in job.body + (job.result or b"")
    assert b"args" not in job.body


async def test_the_keys_may_come_from_the_environment(
    make_app: MakeApp, raw: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINDLASS_SIGNING_KEYS", "now:" + "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")
    app = program(make_app())
    handle = await pay(app, 1)
    assert (await stored(raw, handle.id)).body[0] == 0
    assert SEALS["signing"].open((await stored(raw, handle.id)).body, "body", handle.id, "pay")


async def test_an_app_without_a_seal_seals_nothing(make_app: MakeApp, raw: Broker) -> None:
    handle = await pay(program(make_app()), 1)
    assert (await stored(raw, handle.id)).body == b'{"args":{"amount":1},"v":1}'


async def test_a_harness_needs_no_keys(make_app: MakeApp) -> None:
    app = program(make_app(seal=Seal.signing({"now": KEY})))
    with Harness(app) as jobs:
        handle = await pay(app, 3)
        jobs.assert_enqueued("pay", amount=3)
        await jobs.drain()
        assert await handle.result() == 3
    assert app.seal is not None


# --- S3: no key, no run -------------------------------------------------------------------------------------


async def test_what_is_not_sealed_or_with_a_stolen_idea_of_a_key_is_parked(
    make_app: MakeApp, raw: Broker, seal: Seal, until: Until
) -> None:
    app = program(make_app(seal=seal))
    genuine = await stored(raw, (await pay(app, 1)).id)
    forger = Seal.encrypting({"now": STOLEN}) if b"args" not in genuine.body else Seal.signing({"now": STOLEN})
    clear, forged, unknown = b'{"args":{"amount":666},"v":1}', new_id(), new_id()
    bodies = {
        new_id(): (clear, "it is not sealed"),
        forged: (forger.seal(clear, "body", forged, "pay"), "it was changed, or made for another job"),
        unknown: (Seal.signing({"evil": STOLEN}).seal(clear, "body", unknown, "pay"), "with the key 'evil', which"),
    }
    for job_id, (body, _) in bodies.items():
        await put(raw, genuine, id=job_id, body=body)
    async with working(app):
        for job_id, (_, said) in bodies.items():
            assert said in await parked(raw, until, job_id)
        assert await (await pay(app, 2)).result(timeout=10) == 2, "the worker works on"
    assert sorted(ran) == [("pay", 1), ("pay", 2)]


# --- S4: nothing can be moved, changed, or said twice ---------------------------------------------------------


async def test_a_sealed_body_runs_as_no_other_job_and_no_other_task(
    make_app: MakeApp, raw: Broker, seal: Seal, until: Until
) -> None:
    app = program(make_app(seal=seal))
    first, second = [await stored(raw, (await pay(app, amount)).id) for amount in (1, 2)]
    await raw.forget([first.id, second.id])
    moved = await put(raw, first)
    renamed = await put(raw, first, id=first.id, task="refund")
    swapped = await put(raw, second, id=second.id, body=first.body)
    edited = await put(raw, first, body=first.body.replace(b'"amount":1', b'"amount":9') + b" ")
    async with working(app):
        for job_id in (moved, renamed, swapped, edited):
            assert "it was changed, or made for another job: the key 'now'" in await parked(raw, until, job_id)
    assert ran == []


async def test_a_job_that_takes_anothers_place_opens_there_and_under_no_other_key(
    make_app: MakeApp, raw: Broker, seal: Seal, until: Until
) -> None:
    """Its body is bound to its key; also under the id of the job that it replaced."""
    app = program(make_app(seal=seal))
    last = app.get_task("pay").options(key="k", on_conflict="replace")
    first = await last.enqueue(1)
    assert (await last.enqueue(2)).id == first.id
    job = await stored(raw, first.id)
    others = [await put(raw, job, key="l"), await put(raw, job, key=None)]
    async with working(app):
        for other in others:
            assert "it was changed, or made for another job" in await parked(raw, until, other)
        assert await first.result(30.0) == 2
    assert ran == [("pay", 2)]


async def test_a_replay_of_a_kept_job_changes_nothing(make_app: MakeApp, raw: Broker, seal: Seal) -> None:
    app = program(make_app(seal=seal))
    handle = await pay(app, 1)
    copy = await stored(raw, handle.id)
    async with working(app):
        assert await handle.result(timeout=10) == 1
        await put(raw, copy, id=copy.id)
        assert await (await pay(app, 2)).result(timeout=10) == 2
    assert ran == [("pay", 1), ("pay", 2)]


async def test_queue_priority_and_times_are_the_stores(make_app: MakeApp, raw: Broker, seal: Seal) -> None:
    """They are not sealed: who writes to the store decides when and where a job runs, but not which."""
    app = program(make_app(seal=seal))
    copy = await stored(raw, (await pay(app, 1)).id)
    await raw.forget([copy.id])
    await put(raw, copy, id=copy.id, priority=9, delay=0.1)
    async with working(app):
        assert await app.job(copy.id).result(timeout=10) == 1


async def test_parked_forgeries_are_looked_at_once_and_not_in_a_circle(
    make_app: MakeApp, raw: Broker, seal: Seal, until: Until
) -> None:
    app = program(make_app(seal=seal))
    genuine = await stored(raw, (await pay(app, 1)).id)
    await raw.forget([genuine.id])
    forged, looks = await put(raw, genuine), list[Any]()
    app.events.subscribe(lambda event: looks.append(event) if event.claim.id == forged else None, JobEnded)
    async with working(app):
        await parked(raw, until, forged)
        for _ in range(30):
            assert await (await pay(app, 2)).result(timeout=10) == 2
    assert len(looks) in (1, 2), (
        "once as a new job; once more if it was parked before the worker, at its start, revived what was"
    )
    assert ran == [("pay", 2)] * 30


# --- S5: rotation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Seal.signing, Seal.encrypting], ids=["signing", "encrypting"])
async def test_keys_are_rotated_without_losing_a_job(
    make_app: MakeApp, raw: Broker, until: Until, make: Callable[..., Seal]
) -> None:
    before = program(make_app(seal=make({"old": OLD})))
    between = program(make_app(seal=make({"new": KEY, "old": OLD})))
    after = program(make_app(seal=make({"new": KEY})))
    first, second = await pay(before, 1), await pay(between, 2)
    async with working(between):
        assert await app_result(between, first) == 1
        assert await app_result(after, second) == 2
    late = await pay(before, 3)
    async with working(after):
        assert "sealed with the key 'old', which this app does not have" in await parked(raw, until, late.id)
    async with working(between):  # parked is not lost: who has the key takes it up
        assert await app_result(between, late) == 3


async def app_result(app: Windlass, handle: Handle[Any]) -> Any:
    return await app.job(handle.id).result(timeout=10)


async def test_adoption(make_app: MakeApp, raw: Broker, until: Until) -> None:
    """First all workers accept both, then the producers seal, then nothing unsealed is accepted any more."""
    plain, both = program(make_app()), program(make_app(seal=Seal.signing({"now": KEY}, accept_unsealed=True)))
    strict = program(make_app(seal=SEALS["signing"]))
    old, new = await pay(plain, 1), await pay(both, 2)
    async with working(both):
        assert await app_result(both, old) == 1
        assert await app_result(strict, new) == 2
    sealed_early = await pay(strict, 3)
    async with working(plain):
        assert "it is sealed with the key 'now', and this program has no keys" in await parked(
            raw, until, sealed_early.id
        )
    async with working(strict):
        assert await app_result(strict, sealed_early) == 3


# --- S6: outcomes that nobody with a key wrote -----------------------------------------------------------------


@pytest.fixture
async def forged(make_app: MakeApp, raw: Broker, seal: Seal) -> tuple[Windlass, dict[str, str]]:
    """Jobs whose results were written into the store: by what they hold."""
    app = program(make_app(seal=seal))
    genuine = await pay(app, 1)
    async with working(app):
        await genuine.result(timeout=10)
    sealed_result = (await stored(raw, genuine.id)).result
    assert sealed_result is not None
    found: dict[str, str] = {}
    for what, result in {"clear": b"1000000", "empty": b"", "copied": sealed_result}.items():
        found[what] = (await pay(app, 5)).id
        claim = await taken(raw)
        assert await raw.settle([(claim, Succeeded(result))]) == ([True], [])
    return app, found


async def test_a_forged_result_is_an_error_for_who_asks(forged: tuple[Windlass, dict[str, str]]) -> None:
    app, jobs = forged
    with pytest.raises(Undecodable, match="it is not sealed"):
        await app.job(jobs["clear"]).result(timeout=5)
    with pytest.raises(Undecodable, match="it is not sealed"):
        await app.job(jobs["empty"]).result(timeout=5)
    with pytest.raises(Undecodable, match="it was changed, or made for another job"):
        await app.job(jobs["copied"]).result(timeout=5)


async def test_a_forged_result_is_no_answer_of_the_api_and_spoils_no_listing(
    forged: tuple[Windlass, dict[str, str]],
) -> None:
    app, jobs = forged
    api = FastAPI()
    api.include_router(jobs_router(app), prefix="/jobs")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://api") as client:
        for job_id in jobs.values():
            answer = await client.get(f"/jobs/{job_id}/result")
            assert (answer.status_code, answer.json()["type"]) == (500, "/problems/result-unreadable")
            assert "1000000" not in answer.text
            assert (await client.get(f"/jobs/{job_id}")).json()["state"] == "succeeded"
    listed = {job.id: job for job in (await (await app.broker()).find(states=[State.SUCCEEDED])).jobs}
    assert jobs.items() <= {what: job_id for what, job_id in jobs.items() if job_id in listed}.items()
    assert len(listed) == 4
    assert b"1000000" not in (listed[jobs["clear"]].result or b"")


async def test_forged_entries_are_shown_as_what_they_are(make_app: MakeApp, raw: Broker, seal: Seal) -> None:
    app = program(make_app(seal=seal))
    handle = await pay(app, 1)
    claim = await taken(raw)
    written = [
        Entry("log", b'{"level":"info","message":"all is well"}', 0.0, 1),
        Entry("chunk", b'{"html":"<script>"}', 0.0, 1),
        Entry("checkpoint", b'{"page":99}', 0.0, 1),
        Entry("progress", b'{"current":99.0,"total":100.0}', 0.0, 1),
    ]
    assert await raw.append([(claim, written)]) == [True]
    await raw.settle([(claim, Retried(60.0, ErrorInfo("exception", "E", "m")))])
    await handle.cancel()
    events = [event async for event in handle.events()]
    assert [event.kind for event in events] == ["log", "log", "log", "progress", "end"]
    told = [event.data.message for event in events[:3]]
    kinds = ("log", "chunk", "checkpoint")
    assert told == [f"entry {seq} of kind '{kind}' makes no sense: its data cannot be read: it is not sealed, and this "
                    f"app takes only what is sealed" for seq, kind in enumerate(kinds, 1)]  # fmt: skip


async def test_a_forged_checkpoint_parks_the_job_that_asks_for_it(
    make_app: MakeApp, raw: Broker, seal: Seal, until: Until
) -> None:
    app = program(make_app(seal=seal))
    handle = await app.get_task("resume").enqueue()
    claim = await taken(raw)
    await raw.append([(claim, [Entry("checkpoint", b'{"page":99}', 0.0, 1)])])
    await raw.settle([(claim, Retried(0.0, ErrorInfo("exception", "E", "m")))])
    async with working(app):
        job: Job = await until(lambda: _in(raw, handle.id, State.PARKED))
    assert job.reason == ("the checkpoint cannot be read: it is not sealed, and this app takes only what is sealed")


async def test_an_error_is_not_sealed_and_may_be_forged(make_app: MakeApp, raw: Broker, seal: Seal) -> None:
    """Said in the documentation: whoever writes to the store can make a job look failed or cancelled, not succeeded."""
    app = program(make_app(seal=seal))
    handle = await pay(app, 1)
    await raw.cancel([handle.id])
    with pytest.raises(JobCancelled, match="was cancelled"):
        await handle.result(timeout=5)
