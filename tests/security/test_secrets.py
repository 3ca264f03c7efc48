"""Marked arguments (S26, S27): a canary is planted, told in every way a job has, and looked for in every place that shows something."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import httpx2 as httpx
import pytest
import vault
from fastapi import FastAPI
from pydantic import AfterValidator, BaseModel

from servers import RedisServer
from windlass import Context, InvalidArguments, Job, Secret, Windlass
from windlass.context import Context as RunContext
from windlass.core.codecs import Arguments
from windlass.core.ids import new_id
from windlass.core.job import Claim, Entry, NewJob
from windlass.core.payload import unpack
from windlass.core.secret import texts
from windlass.core.state import LIVE, State
from windlass.depends import hints_of
from windlass.errors import Undecodable
from windlass.events import JobEnded
from windlass.fastapi import jobs_router
from windlass.testing import Harness
from windlass.worker.runner import working

CANARY = 'CANARY \u00e9 "quoted" it\'s \\ back\nCANARY line two\tEND'
"""Whatever is left of it after scrubbing would show the word."""
HERE = Path(__file__).parent
WAYS = ("tell", "raise", "chain", "fail", "cancel", "again", "exit", "reject", "nothing")
LANES = ("loop", "thread", "needing", "process")
PARKED = ("wrong", "broken", "wrong process", "broken process")


# --- in whole processes -------------------------------------------------------------------------------------


def run(*arguments: object, url: str, **more: str) -> str:
    """The command in a process of its own: all that it said, on both streams."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WINDLASS_")}
    done = subprocess.run(
        [sys.executable, "-m", "windlass.cli.main", *map(str, arguments)],
        capture_output=True, text=True, timeout=100, check=False, cwd=HERE,
        env={**kept, "WINDLASS_URL": url, "PYTHONDONTWRITEBYTECODE": "1", **more},
    )  # fmt: skip
    return done.stdout + done.stderr


def leaks(said: dict[str, str | bytes]) -> dict[str, str]:
    """Where the canary shows, with what stands around it."""
    found: dict[str, str] = {}
    for place, text in said.items():
        data = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
        for form in (b"CANARY", b64encode(CANARY.encode())[:30]):
            if (at := data.find(form)) >= 0:
                found[place] = repr(data[max(0, at - 200) : at + 100])
    return found


async def plant(app: Windlass) -> dict[str, str]:
    """A job for each lane and way: ids by what they do."""
    calls = {f"{lane} {way}": app.get_task(lane).bind(way, CANARY) for lane in LANES for way in WAYS}
    quick = {lane: app.get_task(lane).options(timeout="300ms") for lane in ("loop", "thread", "process")}
    calls |= {f"{lane} hang": task.bind("hang", CANARY) for lane, task in quick.items()}
    calls["process crash"] = app.get_task("process").bind("crash", CANARY)
    card, login = vault.Card(holder="somebody", number=CANARY, pins=[81726354]), vault.Login("user", CANARY.encode())
    calls["nested"] = app.get_task("nested").bind([card], login, "a note")
    calls["derived"] = app.get_task("derived").bind(CANARY.lower())
    handles = await app.enqueue_many(calls.values())
    return dict(zip(calls, [handle.id for handle in handles], strict=True))


async def by_hand(app: Windlass) -> dict[str, str]:
    """Jobs that cannot be enqueued: their arguments fail a check that quotes them."""
    found: dict[str, str] = {}
    for word in ("wrong", "broken"):
        arguments = {"how": "nothing", "token": f"{CANARY} {word}"}
        body = json.dumps({"args": arguments, "v": 1, "secret": ["token"]}).encode()
        found[word] = new_id()
        await app.place([NewJob(id=found[word], task="loop", body=body, lane="loop")])
        found[f"{word} process"] = new_id()
        await app.place([NewJob(id=found[f"{word} process"], task="process", body=body, lane="process")])
    return found


async def over_http(app: Windlass, jobs: dict[str, str]) -> dict[str, str | bytes]:
    """All that the API says of these jobs."""
    api, said = FastAPI(), dict[str, str | bytes]()
    api.include_router(jobs_router(app, expose_traceback=True), prefix="/jobs")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://api") as client:
        for what, job_id in jobs.items():
            for path in ("", "/result") if what in PARKED else ("", "/result", "/events"):
                said[f"{what}: GET{path}"] = (await client.get(f"/jobs/{job_id}{path}")).text
    return said


def over_the_command(url: str, jobs: dict[str, str], **keys: str) -> dict[str, str | bytes]:
    said: dict[str, str | bytes] = {
        f"list {more}": run("job", "list", "--limit", "1000", *more, url=url, **keys) for more in ((), ("--json",))
    }
    for what in ("loop chain", "process crash", "nested", "wrong"):
        for verb in (("show",), ("show", "--json")):
            said[f"{what}: {verb}"] = run("job", *verb, jobs[what], url=url, **keys)
    for what in ("derived", "thread tell"):
        for verb in (("logs",), ("logs", "--json")):
            said[f"{what}: {verb}"] = run("job", *verb, jobs[what], url=url, **keys)
    said["watch"] = run("job", "watch", "--json", jobs["loop chain"], url=url, **keys)
    said["doctor"] = run("doctor", url=url, **keys)
    return said


async def in_python(app: Windlass) -> dict[str, str | bytes]:
    """The reprs of what a program sees."""
    jobs = (await (await app.broker()).find(limit=1000)).jobs
    said: dict[str, str | bytes] = {job.id: f"{job!r} {job.error!r} {job.reason!r} {app.job(job.id)!r}" for job in jobs}
    call = app.get_task("loop").bind("raise", CANARY)
    said["call"] = f"{call!r} {call.job!r}"
    return said


async def settled(app: Windlass, jobs: dict[str, str]) -> dict[str, Job]:
    found = await (await app.broker()).get(list(jobs.values()))
    return {what: job for what, job in zip(jobs, found, strict=True) if job is not None}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("url", "encrypted"), [("sqlite", False), ("sqlite", True), ("redis", True)], indirect=["url"])
async def test_a_canary_shows_nowhere(
    url: str, encrypted: bool, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    keys = {"WINDLASS_ENCRYPTION_KEYS": "now:" + b64encode(b"k" * 32).decode()} if encrypted else {}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    app = vault.build(url)
    jobs = await plant(app) | await by_hand(app)
    forms = {f"worker {form}": ("worker", "vault:app", "--burst", "--log-format", form) for form in ("plain", "json")}
    said: dict[str, str | bytes] = {}
    for form, command in forms.items():
        said[form] = await asyncio.to_thread(run, *command, "--log-level", "debug", url=url, **keys)
        if form == "worker plain":
            jobs |= {f"again {what}": job_id for what, job_id in (await plant(app)).items()}
    broker = await app.broker()
    for n in count():  # a burst does not wait for what is to be tried again later
        (queue,) = await broker.tally()
        if not queue.counts.keys() & LIVE - {State.PARKED}:
            break
        said[f"worker, once more: {n}"] = await asyncio.to_thread(run, *forms["worker plain"], url=url, **keys)
    said |= await asyncio.to_thread(over_the_command, url, jobs, **keys)
    said |= await over_http(app, jobs)
    said |= await in_python(app)
    ended = await settled(app, jobs)
    await app.close()
    assert leaks(said) == {}
    assert "81726354" not in "".join(text if isinstance(text, str) else "" for text in said.values())
    if encrypted:
        assert leaks({"the store": contents(url, request)}) == {}
    expected(ended, said)


def expected(ended: dict[str, Job], said: dict[str, str | bytes]) -> None:
    """Everything was really told: with "[secret]" where the canary was."""
    for what, job in ended.items():
        assert job.state in (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.PARKED), (what, job.state)
    for lane in LANES:
        assert ended[f"{lane} nothing"].state is State.SUCCEEDED
        for way in ("raise", "chain", "fail", "again", "exit", "reject"):
            error = ended[f"{lane} {way}"].error
            assert error is not None
            assert "[secret]" in error.message, (lane, way, error)
        assert ended[f"{lane} cancel"].reason == "because [secret]"
        logs = str(said[f"{lane} tell: GET/events"])
        for line in ("printed [secret]", "no end [secret]", "written [secret]", "logged [secret] and", "at [secret]"):
            assert line in logs, (lane, line)
    quarantined = ended["process crash"].error
    assert quarantined is not None
    assert (quarantined.kind, quarantined.evidence["last_log"]) == ("quarantined", "crashing [secret]")
    for word in PARKED:
        assert "the arguments do not fit" in (ended[word].reason or "")
    nested = ended["nested"].error
    assert nested is not None
    assert nested.message.count("[secret]") >= 5
    assert "somebody" in nested.message, "what is not marked is left alone"
    assert "printed [secret]" in str(said["worker plain"])
    assert '"token":"[secret]"' in str(said["loop chain: ('show', '--json')"])
    assert "derived [secret]" in str(said["derived: ('logs',)"])


def contents(url: str, request: pytest.FixtureRequest) -> bytes:
    """Every byte that the store has written."""
    if url.startswith("sqlite"):
        files = Path(url.removeprefix("sqlite:///")).parent.rglob("*")
        return b"".join(path.read_bytes() for path in files if path.is_file())
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("CONFIG", "SET", "rdbcompression", "no")
    server.command("SAVE")
    return (server.folder / "dump.rdb").read_bytes()


# --- one by one ---------------------------------------------------------------------------------------------


class Inner(BaseModel):
    hidden: Annotated[str, Secret]
    shown: str
    friends: list[Inner] = []


@dataclass
class Plain:
    hidden: Annotated[str, Secret]
    shown: str


def arguments(function: Callable[..., Any]) -> Arguments:
    return Arguments("t", function, hints_of(function), frozenset())


def test_what_is_marked_anywhere_in_a_parameter_makes_it_secret() -> None:
    def function(
        a: Annotated[str, Secret],
        b: str,
        c: list[Annotated[int, Secret]] | None,
        d: Inner,
        e: dict[str, Plain],
        f: Annotated[Annotated[str, "other"], AfterValidator(str), Secret],
        g: list[str],
        *rest: Annotated[str, Secret],
        **more: Annotated[str, Secret],
    ) -> None: ...

    assert arguments(function).secret == {"a", "c", "d", "e", "f", "rest", "more"}


def test_the_values_are_known_when_they_are_decoded_and_arrive_as_they_were_sent() -> None:
    def function(
        a: Annotated[str, Secret], inner: Inner, plain: Plain, numbers: list[Annotated[int, Secret]]
    ) -> None: ...

    codec = arguments(function)
    inner = Inner(hidden="two", shown="x", friends=[Inner(hidden="three", shown="y")])
    values = codec.decode(codec.encode(("one", inner, Plain("four", "z"), [5, 6]), {}, 10_000))
    assert dict(values) == {"a": "one", "inner": inner, "plain": Plain("four", "z"), "numbers": [5, 6]}
    assert sorted(map(str, values.secrets)) == ["5", "6", "four", "one", "three", "two"]  # type: ignore[attr-defined]  # Values
    assert repr(values) == "{'a': '[secret]', 'inner': '[secret]', 'plain': '[secret]', 'numbers': '[secret]'}"


def test_a_task_without_secrets_pays_nothing() -> None:
    def function(a: str, inner: dict[str, int]) -> None: ...

    codec = arguments(function)
    assert codec.secret == frozenset()
    assert codec._faithful
    assert type(codec.decode(b'{"a":"x","inner":{}}')) is dict


async def test_the_envelope_says_what_is_secret_so_that_readers_without_the_app_know() -> None:
    app = Windlass("memory://")
    app.task(name="t")(in_the_open)
    job = app.get_task("t").bind("one", token="two").job
    assert unpack(job.body).shown() == {"plain": "one", "token": "[secret]"}
    assert job.body.endswith(b',"v":1,"secret":["token"]}')


def in_the_open(plain: str, token: Annotated[str, Secret]) -> None: ...


def test_a_check_that_quotes_the_value_is_not_quoted_to_the_caller() -> None:
    def function(token: vault.Token) -> None: ...

    with pytest.raises(InvalidArguments) as refused:
        arguments(function).encode((f"{CANARY} wrong",), {}, 10_000)
    assert str(refused.value) == "t: token: value_error"
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    for word, said in {"wrong": "token: value_error", "broken": "a validator raised RuntimeError"}.items():
        with pytest.raises(Undecodable) as undecodable:
            arguments(function).decode(json.dumps({"token": f"{CANARY} {word}"}).encode())
        assert str(undecodable.value).endswith(said)
        assert "CANARY" not in str(undecodable.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["abcd"], "x [secret] y abc efgh"),
        (["abc"], "x abcd y abc efgh"),
        ([None, True, 12], "x abcd y abc efgh"),
        ([["efgh", {"k": "abcd"}]], "x [secret] y abc [secret]"),
        (["abcd", "abcd y abc"], "x [secret] efgh"),
        ([b"abcd"], "x [secret] y abc efgh"),
    ],
)
def test_which_texts_are_taken_out(values: list[Any], said: str) -> None:
    context = _context([])
    context.hide(*values)
    assert context.scrub("x abcd y abc efgh") == said


@pytest.mark.parametrize(
    "value",
    [1234.5, 98765, "p\u00e4ss w\u00f6rd", "with \"both\" 'quotes'", "two\nlines of it", b"\xff\x00raw!", "\\d+\\w"],
)
def test_the_forms_of_a_value(value: Any) -> None:
    context = _context([])
    context.hide(value)
    plain = value if isinstance(value, str) else str(value)
    for form in (plain, repr(value), json.dumps(plain), repr([value]), f"{value!r}"):
        assert "[secret]" in context.scrub(f"a {form} b")
    if isinstance(value, str):
        assert [line for line in value.splitlines() if line in context.scrub(json.dumps({"a": value}) + value)] == []


def test_texts_of_nothing() -> None:
    assert texts([None, "", b"", [], {}, 0, False]) == set()


def test_a_line_is_scrubbed_before_it_is_cut() -> None:
    lines: list[Entry] = []
    context = _context(lines)
    context.hide("S" * 3000)
    context.log("x" * 1500 + "S" * 3000 + "y" * 1500)
    context.progress(1, 2, "S" * 3000)
    assert b"S" not in b"".join(line.data for line in lines)


def _context(lines: list[Entry]) -> RunContext:
    return RunContext(Claim("j", 7, "t", "default", "loop", b"", 2, 1, 3, 0.0, 0.0), lines.append, meta={})


async def test_another_jobs_secret_is_none_here() -> None:
    """What is hidden is hidden in one job's texts only."""
    app, seen = Windlass("memory://secrets", beat=0.05, upkeep=0.05, lease=2), list[str]()

    @app.task
    async def speak(token: Annotated[str, Secret], said: str, ctx: Context = vault.Depends()) -> None:
        ctx.log(said)

    async with working(app):
        one, two = await app.enqueue_many([speak.bind("alpha", "beta alpha"), speak.bind("beta", "beta alpha")])
        for handle in (one, two):
            await handle.result(timeout=10)
            seen += [event.data.message async for event in handle.events() if event.kind == "log"]
    await app.close()
    assert seen == ["beta [secret]", "[secret] alpha"]


async def test_events_of_the_worker_carry_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    app, seen = Windlass("memory://secret-events", beat=0.05, upkeep=0.05, lease=2), list[Any]()
    app.events.subscribe(seen.append, JobEnded)

    @app.task(retry=vault.TWICE)
    async def fail(token: Annotated[str, Secret]) -> None:
        logging.getLogger("user").error("%s", token)
        raise ValueError(token)

    async with working(app):
        with pytest.raises(Exception, match=r"\[secret\]"):
            await (await fail.enqueue(CANARY)).result(timeout=10)
    await app.close()
    assert len(seen) == 2
    assert "CANARY" not in repr(seen)
    assert "CANARY" not in caplog.text, "other handlers see what we see"
    assert "[secret]" in caplog.text


async def test_listings_of_a_harness_hide_what_assertions_can_ask_for() -> None:
    app = Windlass("memory://")
    app.task(name="t")(in_the_open)
    with Harness(app) as jobs:
        await app.get_task("t").enqueue("one", CANARY)
        (enqueued,) = jobs.enqueued()
        assert enqueued.arguments["token"] == CANARY
        assert jobs.assert_enqueued("t", token=CANARY)
        assert "CANARY" not in f"{enqueued} {enqueued!r}"
        with pytest.raises(AssertionError) as missing:
            jobs.assert_enqueued("t", token=f"another {CANARY}", plain="one")
        assert str(missing.value) == (
            "t with token='[secret]', plain='one' was not enqueued. Enqueued:\n  t(plain='one', token='[secret]')"
        )
