"""Jobs that somebody wrote into the store by hand (S1, S2, S8, S38): parked with a reason, on every store, and the worker works on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import pytest

from windlass import ConfigurationError, Context, Depends, InvalidArguments, Job, Retry, Windlass, current
from windlass.broker.port import Broker
from windlass.core.ids import new_id
from windlass.core.job import Card, Entry, NewJob
from windlass.core.outcome import Retried
from windlass.core.payload import packer
from windlass.core.state import State
from windlass.errors import ErrorInfo, PayloadTooLarge
from windlass.worker.runner import working

MakeApp = Callable[..., Windlass]
Until = Callable[..., Awaitable[Any]]
SMALL = 100_000
"""max_payload in these tests."""

DEEP = 100_000
BODIES: dict[str, tuple[bytes, str]] = {
    "pickle": (b"\x80\x04\x95\x1d\x00\x00\x00cos\nsystem\n(S'true'\ntR.", "no job envelope"),
    "pickle 0": (b"cos\nsystem\n(S'true'\ntR.", "no job envelope"),
    "nothing": (b"", "no job envelope"),
    "no object": (b"[1,2]", "no job envelope"),
    "no arguments": (b'{"v":1}', "no job envelope"),
    "cut short": (b'{"args":{"x":1},"v"', "no job envelope"),
    "two documents": (b'{"args":{"x":1},"v":1}{"args":{"x":2},"v":1}', "no job envelope"),
    "byte order mark": (b'\xef\xbb\xbf{"args":{"x":1},"v":1}', "no job envelope"),
    "utf-16": ('{"args":{"x":1},"v":1}'.encode("utf-16"), "no job envelope"),
    "invalid utf-8 outside": (b'{"args":{"x":1},"v":1,"meta":{"a":"\xff"}}', "no job envelope"),
    "invalid utf-8 inside": (b'{"args":{"x":"\xff"},"v":1}', "invalid unicode"),
    "half a pair": (rb'{"args":{"x":"\ud800"},"v":1}', ""),
    "not a number": (b'{"args":{"x":NaN},"v":1}', "no job envelope"),
    "infinity": (b'{"args":{"x":-Infinity},"v":1}', "no job envelope"),
    "digits": (b'{"args":{"x":' + b"9" * 5000 + b'},"v":1}', "number out of range"),
    "digits outside": (b'{"args":{"x":1},"v":' + b"9" * 5000 + b"}", "no job envelope"),
    "deep": (b'{"args":{"x":' + b"[" * DEEP + b"]" * DEEP + b'},"v":1}', "no job envelope"),
    "deep outside": (b'{"args":{"x":1},"v":1,"z":' + b"[" * DEEP + b"]" * DEEP + b"}", "no job envelope"),
    "deep enough": (b'{"args":{"x":' + b"[" * 300 + b"]" * 300 + b'},"v":1}', "recursion limit"),
    "a key twice": (b'{"args":{"x":1,"x":2},"v":1}', "a key twice"),
    "a key twice, escaped": (rb'{"args":{"x":1,"\u0078":2},"v":1}', "a key twice"),
    "a key twice, deep": (b'{"args":{"x":[{"y":1,"y":2}]},"v":1}', "a key twice"),
    "arguments twice": (b'{"args":{"x":1},"v":1,"args":{"x":2}}', "a key twice"),
    "many keys": (b'{"args":{"x":{' + b",".join(b'"%d":0' % n for n in range(10**6)) + b'}},"v":1}', "over the limit"),
    "too large": (b'{"args":{"x":"' + b"a" * 2 * SMALL + b'"},"v":1}', "over the limit max_payload = "),
    "too large outside": (b'{"args":{"x":1},"v":1,"meta":{"a":"' + b"a" * 2 * SMALL + b'"}}', "are no arguments"),
    "other arguments": (b'{"args":{"y":1},"v":1}', "x: Field required"),
    "no arguments but a list": (b'{"args":[1],"v":1}', "an object"),
    "a newer version": (b'{"args":{"x":1},"v":2}', "version 2"),
    "a negative limit": (b'{"args":{"x":1},"v":1,"timeout":-1.0}', "no job envelope"),
    "a sealed one": (b"\0\1\3now" + bytes(64), "sealed with the key 'now'"),
}  # fmt: skip
NAMES = {
    "os.system": "os.system",
    "a call": "subprocess:Popen",
    "a builtin": "builtins.eval",
    "an import": "__import__('os')",
    "a module": "antigravity",
    "a path": "../../etc/passwd",
    "nothing": "",
    "long": "x" * 10_000,
    "a homoglyph": "t\u0430ke",
    "lines": "take\r\nERROR forged",
    "a terminal's": "\x1b[2Jtake",
}


@pytest.fixture
def app(make_app: MakeApp) -> Windlass:
    app = make_app(max_payload=SMALL)

    @app.task(name="take")
    async def take(x: Any) -> Any:
        return x

    @app.task(name="take_in_a_thread")
    def take_in_a_thread(x: Any) -> Any:
        return x

    @app.task(name="resume", retry=Retry(attempts=3, first=0.01))
    async def resume(ctx: Context = Depends()) -> Any:
        return ctx.last_checkpoint

    return app


async def parked(raw: Broker, until: Until, jobs: list[str]) -> dict[str, Job]:
    """The jobs, once all of them are parked."""

    async def all_parked() -> dict[str, Job]:
        found = {job.id: job for job in await raw.get(jobs) if job is not None and job.state is State.PARKED}
        return found if len(found) == len(jobs) else {}

    answer: dict[str, Job] = await until(all_parked, 60.0)
    return answer


async def test_a_body_that_makes_no_sense_parks_its_job(app: Windlass, raw: Broker, until: Until) -> None:
    jobs = {
        new_id(): (task, body, said)
        for body, said in BODIES.values()
        for task in ("take", "take_in_a_thread")
    }  # fmt: skip
    for job_id, (task, body, _) in jobs.items():
        lane = app.definitions[task].lane
        await raw.enqueue([NewJob(id=job_id, task=task, body=body, lane=lane)])
    async with working(app):
        found = await parked(raw, until, list(jobs))
        assert await (await app.get_task("take").enqueue(7)).result(timeout=10) == 7, "the worker works on"
    for job_id, job in found.items():
        assert jobs[job_id][2] in (job.reason or ""), jobs[job_id][1][:40]
        assert (job.attempt, job.crashes) == (0, 0)
        assert len(job.reason or "") < 500


async def test_the_library_that_reads_results_takes_what_a_worker_may_have_written(app: Windlass, raw: Broker) -> None:
    """The same bytes as results: whoever asks gets an error of ours, and no other."""
    from windlass.core.outcome import Succeeded
    from windlass.errors import Undecodable

    await raw.beat("w", Card(host="", pid=0), 60.0)
    for data in [body.removeprefix(b'{"args":{"x":').removesuffix(b'},"v":1}') for body, _ in BODIES.values()]:
        handle = await app.get_task("take").enqueue(1)
        (claim,) = await raw.claim(["default"], {"loop": 1}, "w")
        await raw.settle([(claim, Succeeded(data))])
        (answer,) = await asyncio.gather(handle.result(timeout=5), return_exceptions=True)
        assert not isinstance(answer, Exception) or (type(answer) is Undecodable and len(str(answer)) < 500)


async def test_a_checkpoint_that_makes_no_sense_parks_the_job_that_asks_for_it(
    app: Windlass, raw: Broker, until: Until
) -> None:
    bodies = [b"", b"{", b"[" * DEEP, b'"\xff"', b"9" * 5000, b'"%b"' % (b"a" * 2 * SMALL)]
    bodies.append(b'{"windlass":"place","loop":[]}')
    await raw.beat("w", Card(host="", pid=0), 60.0)
    jobs: list[str] = []
    for data in bodies:
        jobs.append((await app.get_task("resume").enqueue()).id)
        (claim,) = await raw.claim(["default"], {"loop": 1}, "w")
        await raw.append([(claim, [Entry("checkpoint", data, 0.0, 1)])])
        await raw.settle([(claim, Retried(0.3, ErrorInfo("exception", "E", "m")))])
    async with working(app):
        found = await parked(raw, until, jobs)
    assert all((job.reason or "").startswith("the checkpoint cannot be read: ") for job in found.values())


async def test_entries_that_make_no_sense_do_not_end_the_following_of_a_job(app: Windlass, raw: Broker) -> None:
    handle = await app.get_task("take").enqueue(1)
    await raw.beat("w", Card(host="", pid=0), 60.0)
    (claim,) = await raw.claim(["default"], {"loop": 1}, "w")
    written = [
        Entry("log", b"{", 0.0, 1),
        Entry("log", b'{"level":1}', 0.0, 1),
        Entry("chunk", b"[" * DEEP, 0.0, 1),
        Entry("chunk", b'"%b"' % (b"a" * 2 * SMALL), 0.0, 1),
        Entry("evil\r\nevent: end", b"{}", 0.0, 1),
        Entry("chunk", b'"good"', 0.0, 1),
    ]
    await raw.append([(claim, written)])
    await raw.settle([(claim, Retried(60.0, ErrorInfo("exception", "E", "m")))])
    await handle.cancel()
    events = [event async for event in handle.events()]
    assert [event.kind for event in events] == ["log"] * 5 + ["chunk", "end"]
    assert [event.id for event in events] == [1, 2, 3, 4, 5, 6, 7]
    assert all("makes no sense" in event.data.message for event in events[:5])
    assert events[4].data.message == r"entry 5 of kind 'evil\r\nevent: end' makes no sense: there is no such kind"
    assert events[5].data == "good"


# --- the same at enqueue ------------------------------------------------------------------------------------


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


HOSTILE_VALUES: dict[str, Callable[[], Any]] = {
    "digits": lambda: 10**5000,
    "deep": lambda: nested(DEEP),
    "deep enough": lambda: nested(300),
    "half a pair": lambda: "\ud800",
    "many keys": lambda: {str(n): 0 for n in range(10**6)},
    "too large": lambda: "a" * 2 * SMALL,
    "not a number": lambda: float("nan"),
    "infinity": lambda: [float("inf")],
    "bytes": lambda: b"\xff\xfe",
    "a function": lambda: print,
    "an open file": lambda: sys.stdin,
}


@pytest.mark.parametrize("url", ["memory"], indirect=True)
@pytest.mark.parametrize("what", HOSTILE_VALUES)
async def test_a_value_that_would_not_arrive_is_refused_where_it_is_sent(app: Windlass, what: str) -> None:
    with pytest.raises(InvalidArguments) as error:
        await app.get_task("take").enqueue(HOSTILE_VALUES[what]())
    assert len(str(error.value)) < 500
    assert await (await app.broker()).tally() == []


@pytest.mark.parametrize("url", ["memory"], indirect=True)
@pytest.mark.parametrize("what", HOSTILE_VALUES)
@pytest.mark.parametrize("way", ["chunk", "checkpoint"])
async def test_and_so_is_what_a_job_writes_to_its_journal(app: Windlass, what: str, way: str) -> None:
    taken = {"not a number", "infinity", "bytes"}  # these have a JSON form, and nobody's annotation says otherwise
    said: list[str] = []

    @app.task
    async def write() -> None:
        try:
            getattr(current(), way)(HOSTILE_VALUES[what]())
        except InvalidArguments as error:
            said.append(str(error))

    async with working(app):
        await (await write.enqueue()).result(timeout=10)
    assert bool(said) is (what not in taken)


def test_options_are_small() -> None:
    with pytest.raises(PayloadTooLarge, match="meta holds small tags, not data"):
        packer(meta={"a": "x" * 100_000})


@pytest.mark.parametrize("queue", ["", "x" * 256, 7, b"default"])
def test_a_queue_has_a_name(queue: Any) -> None:
    app = Windlass("memory://")
    with pytest.raises(ConfigurationError, match="queue must be text of 1 to 255 characters"):
        app.task(queue=queue)(lambda_task)


@pytest.mark.parametrize("queue", ["a\nb", "a\x1b[2J", "a\0b", "a\u202eb"])
def test_a_queue_has_a_name_that_can_be_shown(queue: str) -> None:
    app = Windlass("memory://")
    with pytest.raises(ConfigurationError, match="is shown in many places"):
        app.task(queue=queue)(lambda_task)


def lambda_task() -> None: ...


@pytest.mark.parametrize("name", ["x" * 256, "a\nb", "a\x1b[2J", "a\0b", 7, "a\u202eb"])
def test_a_task_has_a_name_that_can_be_shown(name: Any) -> None:
    app = Windlass("memory://")
    with pytest.raises(ConfigurationError, match="a task's name is 1 to 255 printable characters"):
        app.task(name=name)(lambda_task)


# --- S2: names ----------------------------------------------------------------------------------------------


async def test_a_task_that_is_not_registered_is_parked(app: Windlass, raw: Broker, until: Until) -> None:
    jobs = {new_id(): name for name in NAMES.values()}
    await raw.enqueue([NewJob(id=job_id, task=name, body=b'{"args":{},"v":1}') for job_id, name in jobs.items()])
    async with working(app):
        found = await parked(raw, until, list(jobs))
    for job in found.values():
        assert (job.reason or "").startswith("no task ")
        assert (job.reason or "").endswith("is registered in this worker")
        assert (job.reason or "").isprintable()
        assert (job.reason or "").isascii(), "what looks like another letter is seen to be one"
        assert len(job.reason or "") < 300


AUDITED = """
import asyncio, sys

from windlass import Windlass
from windlass.broker.url import make_broker
from windlass.core.ids import new_id
from windlass.core.job import NewJob
from windlass.core.state import State
from windlass.worker.runner import working

NAMES = {names!r}
app = Windlass("memory://audited", beat=0.05, upkeep=0.05, lease=2, processes=0)
events, watching = [], False

def hook(event, arguments):
    if watching and event in ("import", "exec", "compile", "os.system", "subprocess.Popen", "pickle.find_class", "open"):
        events.append((event, str(arguments[0])))

@app.task(name="fine")
async def fine() -> int:
    return 1

async def main():
    global watching
    raw = make_broker(app.url, "windlass")
    bodies = [b'{{"args":{{}},"v":1}}', b"cos\\nsystem\\n(S'true'\\ntR.", b'{{"args":{{"__class__":"os.system"}},"v":1}}',
              b'{{"args":{{}},"v":1,"retry":{{"on":["os.system","antigravity"]}}}}']
    async with working(app):
        assert await (await fine.enqueue()).result(timeout=10) == 1  # all that is imported lazily is there now
        watching = True
        jobs = [NewJob(id=new_id(), task=name, body=body) for name in [*NAMES, "fine"] for body in bodies]
        await raw.enqueue(jobs)
        while any(job.state in (State.READY, State.RUNNING) for job in await raw.get([job.id for job in jobs])):
            await asyncio.sleep(0.01)
        watching = False

sys.addaudithook(hook)
asyncio.run(main())
print(events)
"""


def test_nothing_is_imported_opened_or_run_for_a_hostile_job() -> None:
    code = textwrap.dedent(AUDITED).format(names=list(NAMES.values()))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[]\n", done.stderr


# --- S9, S38 ------------------------------------------------------------------------------------------------


async def test_an_error_is_text_whatever_class_it_names(app: Windlass, raw: Broker) -> None:
    """S9: nobody rebuilds an exception from its name."""
    from windlass import JobFailed
    from windlass.core.outcome import Failed

    await raw.beat("w", Card(host="", pid=0), 60.0)
    for name in ("os.system", "antigravity.Error", "builtins.SystemExit", "__import__('os')"):
        handle = await app.get_task("take").enqueue(1)
        (claim,) = await raw.claim(["default"], {"loop": 1}, "w")
        await raw.settle([(claim, Failed(ErrorInfo("exception", name, "m")))])
        with pytest.raises(JobFailed, match="failed: ") as error:
            await handle.result(timeout=5)
        assert type(error.value) is JobFailed
        assert error.value.error is not None
        assert error.value.error.type == name
    assert "antigravity" not in sys.modules


async def test_a_path_in_arguments_and_results_is_a_name_and_no_more(make_app: MakeApp, tmp_path: Path) -> None:
    """S38: nothing is read, opened, or even looked at because a payload names it."""
    app, secret = make_app(), tmp_path / "secret"
    secret.write_text("not for you")

    @app.task
    async def same(where: Path, marked: Annotated[str, "file://"]) -> dict[str, Any]:
        return {"where": where, "marked": marked, "$ref": str(where)}

    async with working(app):
        handle = await same.enqueue(secret, f"file://{secret}")
        answer = await handle.result(timeout=10)
    assert answer == {"where": str(secret), "marked": f"file://{secret}", "$ref": str(secret)}
    assert b"not for you" not in ((await handle.info()).result or b"")
