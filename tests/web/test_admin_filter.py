"""The filter language: how `q` is read, which jobs are wanted, and how they are found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis.strategies import sampled_from, text

from windlass.broker.memory import MemoryBroker
from windlass.core.ids import new_id
from windlass.core.job import Card, Job, NewJob
from windlass.core.measures import sighted
from windlass.core.outcome import ErrorInfo, Failed, Succeeded
from windlass.core.state import State
from windlass.errors import InvalidArguments, WindlassError
from windlass.web.admin import matching as matching_module
from windlass.web.admin.filter import Filter, parse, tokens
from windlass.web.admin.matching import made_at, matching

ID, OTHER = "0199f5c0-8d2e-7b11-8000-000000000001", "0199f5c0-8d2e-7b11-8000-000000000002"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
ERROR = ErrorInfo("exception", "OSError", "No space left", 'File "/srv/shop/a.py", line 1, in save\n')


def job(**given: Any) -> Job:
    at = datetime.fromtimestamp(NOW, UTC)
    plain = {
        "id": ID,
        "task": "shop.resize",
        "queue": "media",
        "lane": "loop",
        "state": State.READY,
        "priority": 5,
    }
    return Job(**{**plain, "attempt": 0, "crashes": 0, "created_at": at, "run_at": at, **given})


def body(secret: tuple[str, ...] = (), meta: dict[str, str] | None = None, **arguments: Any) -> bytes:
    return msgspec.json.encode({"args": arguments, "v": 1, "secret": secret, "meta": meta or {}})


# --- reading ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("", []),
        ("state:failed", [("state", "failed")]),
        ("state:failed queue:media", [("state", "failed"), ("queue", "media")]),
        ('"no space left"', [("", "no space left")]),
        ('queue:"two words" x', [("queue", "two words"), ("", "x")]),
        (r'key:"a \"b\" c"', [("key", 'a "b" c')]),
        ("meta.tenant:acme", [("meta.tenant", "acme")]),
        ("arg.video_id=7", [("arg.video_id", "7")]),
        ("arg.a:b=1", [("arg.a:b", "1")]),
        ("task:media.*", [("task", "media.*")]),
        ("since:2026-11-21T10:00:00Z", [("since", "2026-11-21T10:00:00Z")]),
        ("OSError: no", [("", "OSError:"), ("", "no")]),
        ('"state:failed"', [("", "state:failed")]),
        ('"unclosed and more', [("", "unclosed and more")]),
        ("state:", [("state", "")]),
    ],
)
def test_a_filter_is_read(q: str, found: list[tuple[str, str]]) -> None:
    assert tokens(q) == found


@pytest.mark.parametrize(
    ("q", "named"),
    [
        ("foo:1", "there is no filter foo:; there are state:, queue:, task:"),
        ("state:broken", "there is no state 'broken'; there are scheduled, waiting, ready"),
        ("state:", "there is no state ''"),
        ("since:yesterday", "since:yesterday is no time; write since:15m"),
        ("until:9", "until:9 is no time"),
        ("id:x", "id:x is no job id"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(q: str, named: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        parse(q, NOW)
    assert named in str(caught.value)


@given(text(sampled_from('stae:ugidrc.=*"\\ 7m-éf'), max_size=40))
def test_any_text_is_a_filter_or_is_refused(q: str) -> None:
    try:
        found = parse(q, NOW)
    except WindlassError:
        return
    assert found.wants(job()) in (True, False)
    assert found.stored


def test_times_are_lengths_or_moments() -> None:
    assert parse("since:24h until:2h", NOW) == Filter(since=NOW - 86_400, until=NOW - 7_200)
    assert parse("since:2026-11-21T11:00:00Z", NOW).since == NOW - 3600
    assert parse("since:2026-11-21T11:00", NOW).since == NOW - 3600
    assert parse("since:2026-11-21T12:00+01:00", NOW).since == NOW - 3600
    assert parse("since:24h since:1h", NOW).since == NOW - 3600


def test_errors_are_looked_for_where_they_stay() -> None:
    stay = {State.SCHEDULED, State.PARKED, State.FAILED, State.CANCELLED}
    assert set(parse("error:OSError", NOW).states) == set(parse("fault:f", NOW).states) == stay
    assert parse("error:OSError state:running", NOW).states == (State.RUNNING,)
    assert parse("task:x", NOW).states == ()


# --- judging ------------------------------------------------------------------------------------------------

FAULT = sighted("shop.resize", "", ERROR, final=True).fingerprint
JOB = job(
    state=State.FAILED,
    key="video:7",
    worker="web-1@v2:01",
    error=ERROR,
    body=body(
        meta={"tenant": "acme"}, secret=("token",), video_id=7, name="cat", user={"id": 3}, token="hunter2", on=True
    ),
)


@pytest.mark.parametrize(
    "q",
    [
        "",
        "state:failed",
        "state:failed state:ready",
        "queue:media queue:other",
        "task:shop.resize",
        "task:shop.*",
        "task:x task:shop.*",
        "key:video:7",
        "error:OSError",
        f"fault:{FAULT}",
        "worker:web-1@v2:01",
        "worker:web-1*",
        "meta.tenant:acme",
        "meta.tenant:other meta.tenant:acme",
        "arg.video_id=7",
        "arg.name=cat",
        "arg.user.id=3",
        "arg.on=true",
        f"id:{JOB.id}",
        f"id:{JOB.id[:9].upper()}",
        '"no SPACE"',
        "resize space",
        "since:1m",
        "until:2026-11-21T12:00:01Z",
    ],
)
def test_a_job_is_wanted(q: str) -> None:
    assert parse(q, NOW).wants(JOB)


@pytest.mark.parametrize(
    "q",
    [
        "state:ready",
        "queue:medi",
        "task:shop",
        "task:hop.*",
        "key:video",
        "error:ValueError",
        "fault:0123456789abcdef",
        "worker:web-1",
        "meta.tenant:acm",
        "meta.other:acme",
        "arg.video_id=07",
        "arg.other=7",
        "arg.user.name=3",
        "arg.name.first=cat",
        "arg.token=hunter2",
        f"id:{OTHER}",
        "space resize nothing",
        "since:2026-11-21T12:00:01Z",
        "until:2026-11-21T12:00:00Z",
        "state:failed queue:other",
    ],
)
def test_a_job_is_not_wanted(q: str) -> None:
    assert not parse(q, NOW).wants(JOB)


def test_a_body_that_cannot_be_read_matches_nothing_about_it() -> None:
    assert not parse("meta.tenant:acme", NOW).wants(job(body=b"\0x"))


def test_ids_by_their_beginnings_bound_the_search() -> None:
    low, high = "01900000-0000-7000-8000-000000000000", "01900000-0000-7fff-bfff-ffffffffffff"
    wanted = parse("id:01900000-0000-7", NOW)
    assert wanted.after is not None
    assert wanted.before is not None
    assert wanted.after < low < high < wanted.before
    exact = parse(f"id:{low} id:{high}", NOW)
    assert exact.after is not None
    assert exact.before is not None
    assert exact.after < low < high < exact.before
    assert parse("id:f", NOW).before == "ffffffff-ffff-ffff-ffff-ffffffffffff"
    assert parse("id:0", NOW).after == "00000000-0000-0000-0000-000000000000"


# --- finding ------------------------------------------------------------------------------------------------


async def filled(count: int) -> tuple[MemoryBroker, list[str]]:
    """Jobs of two tasks in turn: the first three have failed, the next three succeeded; the ids, the newest first."""
    broker = MemoryBroker()
    await broker.open()
    jobs = [NewJob(id=new_id(), task=f"shop.{'ab'[n % 2]}", body=body(n=n), queue="media") for n in range(count)]
    await broker.enqueue(jobs)
    await broker.beat("w", Card(host="h", pid=1), 3600.0)
    claims = await broker.claim(["media"], {"loop": 6}, "w")
    await broker.settle([(claim, Failed(ERROR) if n < 3 else Succeeded(b"1")) for n, claim in enumerate(claims)])
    return broker, [one.id for one in reversed(jobs)]


async def walked(broker: MemoryBroker, q: str, limit: int) -> list[str]:
    """The ids on all pages, each page but those that were stopped being full or the last."""
    wanted, found, before = parse(q, NOW), list[str](), None
    while True:
        page = await matching(broker, wanted, before=before, limit=limit)
        assert len(page.jobs) <= limit
        assert page.stopped or page.next is None or len(page.jobs) == limit
        found += [one.id for one in page.jobs]
        if page.next is None:
            return found
        assert before is None or page.next < before
        before = page.next


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_pages_hold_every_wanted_job_once_in_order(limit: int) -> None:
    broker, ids = await filled(20)
    assert await walked(broker, "", limit) == ids
    assert await walked(broker, "task:shop.a", limit) == ids[1::2]
    assert await walked(broker, "task:shop.*", limit) == ids
    assert await walked(broker, "state:failed", limit) == ids[17:]
    assert await walked(broker, "state:failed state:ready", limit) == [*ids[:14], *ids[17:]]
    assert await walked(broker, "error:OSError", limit) == ids[17:]
    assert await walked(broker, f"id:{ids[4]} id:{ids[9]}", limit) == [ids[4], ids[9]]
    assert await walked(broker, "arg.n=3", limit) == [ids[16]]
    assert await walked(broker, "queue:nowhere", limit) == []
    assert await walked(broker, "since:2030-01-01", limit) == []


async def test_a_search_stops_after_so_many_jobs_and_says_where_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching_module, "SCAN", 10)
    monkeypatch.setattr(matching_module, "BATCH", 5)
    broker, ids = await filled(30)
    first = await matching(broker, parse("error:OSError state:succeeded state:failed state:ready", NOW))
    assert (first.jobs, first.next, first.stopped) == ([], ids[9], True)
    assert await walked(broker, "error:OSError state:succeeded state:failed state:ready", 50) == ids[27:]


async def test_a_page_that_the_store_finds_asks_it_once() -> None:
    broker, _ = await filled(300)
    asked = list[Any]()
    real = broker.find

    async def find(**given: Any) -> list[Job]:
        asked.append(given)
        return await real(**given)

    broker.find = find  # type: ignore[method-assign]  # to count
    await matching(broker, parse("queue:media", NOW), limit=50)
    assert [one["limit"] for one in asked] == [50]


def test_an_id_tells_when_it_was_made() -> None:
    assert abs((made_at(new_id()) - datetime.now(UTC)).total_seconds()) < 60
    assert made_at("ffffffff-ffff-ffff-ffff-ffffffffffff").year == 9999
