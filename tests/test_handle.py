"""A handle on a job: its result, what it is now, its end on request, and its story."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from by_hand import end, journal, run_next, take
from windlass import (
    InvalidArguments,
    JobCancelled,
    JobEvent,
    JobFailed,
    JobNotFound,
    Progress,
    ResultTimeout,
    State,
    Windlass,
)
from windlass.core.ids import new_id
from windlass.core.job import Entry, LogLine
from windlass.core.outcome import Cancelled, ErrorInfo, Failed, Retried, Succeeded
from windlass.errors import Undecodable
from windlass.handle import Stream


@pytest.fixture
def app() -> Windlass:
    return Windlass("memory://")


@dataclass
class Report:
    frames: int


def work(number: int) -> Report:
    return Report(number)


def entry(kind: str, value: Any) -> Entry:
    return Entry(kind, msgspec.json.encode(value), 0.0, 1)


# --- results ------------------------------------------------------------------------------------------------


async def test_the_result_has_the_type_of_the_annotation(app: Windlass) -> None:
    job = await app.task(work).enqueue(3)
    await run_next(app)
    assert await job == Report(3)
    assert await job.result(timeout=1) == Report(3)
    assert job.get(timeout=1) == Report(3)


async def test_who_waits_is_woken_by_the_end(app: Windlass) -> None:
    job = await app.task(work).enqueue(3)
    waiting = [asyncio.create_task(job.result()), asyncio.create_task(asyncio.to_thread(job.get))]
    await asyncio.sleep(0)
    await run_next(app)
    assert await asyncio.gather(*waiting) == [Report(3), Report(3)]


async def test_a_timeout_leaves_the_job_as_it_is(app: Windlass) -> None:
    job = await app.task(work).enqueue(3)
    with pytest.raises(
        ResultTimeout, match=rf"job {job.id} is still ready after 0.01; is a worker running\? \(windlass worker\)"
    ):
        await job.result(timeout=0.01)
    with pytest.raises(TimeoutError):
        job.get(timeout="10ms")
    (claim,) = await take(app)
    with pytest.raises(ResultTimeout, match=r"is still running after 0$"):
        await job.result(timeout=0)
    await end(app, (claim, Succeeded(b'{"frames":1}')))
    assert await job.result(timeout=0) == Report(1)


async def test_a_failed_job_raises_with_its_error(app: Windlass) -> None:
    job = await app.task(work).enqueue(3)
    (claim,) = await take(app)
    error = ErrorInfo("exception", "ValueError", "no such video", "Traceback ...")
    await end(app, (claim, Failed(error)))
    with pytest.raises(
        JobFailed, match=rf"job {job.id} \(test_handle.work\) failed: ValueError: no such video"
    ) as failed:
        await job
    assert (failed.value.job_id, failed.value.error) == (job.id, error)
    with pytest.raises(JobFailed):
        job.get()


async def test_a_cancelled_job_raises_with_the_reason(app: Windlass) -> None:
    job = await app.task(work).enqueue(3)
    (claim,) = await take(app)
    await end(app, (claim, Cancelled("not needed any more")))
    with pytest.raises(JobCancelled, match="was cancelled: not needed any more") as cancelled:
        await job
    assert cancelled.value.job_id == job.id


async def test_a_result_that_no_longer_fits_is_an_error_of_its_own(app: Windlass) -> None:
    job = await app.task(work).enqueue(3)
    (claim,) = await take(app)
    await end(app, (claim, Succeeded(b'"from another version"')))
    with pytest.raises(Undecodable, match=r"the stored result does not fit test_handle\.work"):
        await job


async def test_a_task_that_is_not_known_here_gives_plain_json(app: Windlass) -> None:
    with_tasks, without = Windlass("memory://shared-results"), Windlass("memory://shared-results")
    async with with_tasks.lifespan(), without.lifespan():
        job = await with_tasks.task(work).enqueue(3)
        await run_next(with_tasks)
        assert await without.job(job.id) == {"frames": 3}


# --- looking and cancelling ---------------------------------------------------------------------------------


async def test_info_is_the_job_now(app: Windlass) -> None:
    job = await app.task(work).enqueue(3)
    assert (await job.info()).state is State.READY
    (claim,) = await take(app)
    await journal(app, claim, entry("progress", Progress(1, 2, "half")))
    info = await job.info()
    assert (info.state, info.attempt, info.worker, info.progress) == (
        State.RUNNING,
        1,
        "by-hand",
        Progress(1, 2, "half"),
    )
    assert info.created_at.tzinfo is not None
    await end(app, (claim, Succeeded(b"null")))
    assert (await job.info()).state is State.SUCCEEDED


async def test_a_job_that_has_not_started_is_cancelled_at_once(app: Windlass) -> None:
    job = await app.task(work).enqueue(3)
    assert await job.cancel() is State.CANCELLED
    assert await take_nothing(app)
    with pytest.raises(JobCancelled):
        await job


async def test_a_running_job_is_marked_and_a_finished_one_left(app: Windlass) -> None:
    job = await app.task(work).enqueue(3)
    (claim,) = await take(app)
    assert await job.cancel() is State.RUNNING
    assert (await job.info()).cancelling
    await end(app, (claim, Succeeded(b'{"frames":1}')))
    assert await job.cancel() is State.SUCCEEDED
    assert await job == Report(1)


async def take_nothing(app: Windlass) -> bool:
    return await take(app, 0) == []


@pytest.mark.parametrize("verb", ["result", "info", "cancel"])
async def test_an_unknown_job_is_said_to_be_unknown(app: Windlass, verb: str) -> None:
    with pytest.raises(JobNotFound, match="it never existed, or its time to be kept is over"):
        await getattr(app.job(new_id()), verb)()


async def test_following_an_unknown_job_says_so(app: Windlass) -> None:
    with pytest.raises(JobNotFound):
        await anext(app.job(new_id()).events())


@pytest.mark.parametrize("text", ["", "42", "not-an-id", "' or 1=1 --"])
def test_what_is_no_id_is_refused(app: Windlass, text: str) -> None:
    with pytest.raises(InvalidArguments, match="is no job id; a job id looks like"):
        app.job(text)


def test_an_id_is_taken_in_any_spelling(app: Windlass) -> None:
    job_id = new_id()
    assert app.job(job_id.upper()).id == app.job(f"{{{job_id}}}").id == job_id


# --- the story ----------------------------------------------------------------------------------------------


async def followed(app: Windlass, job_id: str, after: int | None = None) -> list[JobEvent]:
    return [event async for event in app.job(job_id).events(after=after)]


async def test_events_tell_the_story_to_its_end_and_can_be_resumed_anywhere(app: Windlass) -> None:
    job = await app.task(work).enqueue(3)
    story: list[JobEvent] = []
    events = job.events()
    story.append(await anext(events))
    (claim,) = await take(app)
    story.append(await anext(events))
    await journal(app, claim, entry("log", LogLine("info", "hello")), entry("progress", Progress(1, 2)))
    story += [await anext(events), await anext(events)]
    await journal(app, claim, entry("chunk", {"token": "a"}), entry("checkpoint", {"page": 1}))
    await end(app, (claim, Succeeded(b'{"frames":1}')))
    story += [event async for event in events]

    assert [(event.kind, event.data, event.id) for event in story[:-1]] == [
        ("state", State.READY, None),
        ("state", State.RUNNING, None),
        ("log", LogLine("info", "hello"), 1),
        ("progress", Progress(1, 2), 2),
        ("chunk", {"token": "a"}, 3),
        ("checkpoint", {"page": 1}, 4),
    ]
    last = story[-1]
    assert (last.kind, last.data.state, last.data.id, last.id) == ("end", State.SUCCEEDED, job.id, 5)
    for number in range(1, 6):
        rest = await followed(app, job.id, after=number)
        assert [event.id for event in rest] == [*range(number + 1, 5), 5]  # the end keeps its number
        assert rest[-1].kind == "end"


async def test_events_tell_of_every_attempt(app: Windlass) -> None:
    job = await app.task(work).enqueue(3)
    events = job.events()
    seen = [await anext(events)]
    (claim,) = await take(app)
    seen.append(await anext(events))
    await end(app, (claim, Retried(0.0, ErrorInfo("exception", "OSError", "again"))))
    seen.append(await anext(events))
    (claim,) = await take(app)
    seen.append(await anext(events))
    await end(app, (claim, Failed(ErrorInfo("exception", "OSError", "enough"))))
    seen.append(await anext(events))
    assert [(event.kind, event.attempt) for event in seen] == [
        ("state", 0),
        ("state", 1),
        ("state", 1),
        ("state", 2),
        ("end", 2),
    ]
    assert seen[-1].data.error.message == "enough"


async def test_a_follower_may_leave(app: Windlass) -> None:
    job = await app.task(work).enqueue(3)
    async for event in job.events():
        assert event.kind == "state"
        break
    waiting = asyncio.create_task(followed(app, job.id))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await run_next(app)
    assert (await followed(app, job.id))[-1].kind == "end"


# --- partial results ----------------------------------------------------------------------------------------


async def written(app: Windlass, *chunks: Any) -> tuple[Any, Any]:
    """A job that runs and has published these, among other things; and its claim."""
    job = await app.task(work).enqueue(3)
    (claim,) = await take(app)
    for chunk in chunks:
        await journal(app, claim, entry("log", {"level": "info", "message": "no chunk"}), entry("chunk", chunk))
    return job, claim


async def collect(stream: Stream[Any], seen: list[Any]) -> None:
    async for value in stream:
        seen.append(value)


async def test_a_stream_gives_the_values_and_ends_with_the_job(app: Windlass) -> None:
    job, claim = await written(app, "a", {"b": 1})
    await end(app, (claim, Succeeded(b'{"frames":1}')))
    stream = job.stream()
    assert [value async for value in stream] == ["a", {"b": 1}]
    assert [value async for value in job.stream(after=stream.last)] == []


async def test_a_stream_gives_each_value_as_it_comes(app: Windlass) -> None:
    job, claim = await written(app)
    values = aiter(job.stream())
    for value in ("first", "second"):
        coming = asyncio.ensure_future(anext(values))
        await asyncio.sleep(0)
        await journal(app, claim, entry("chunk", value))
        assert await asyncio.wait_for(coming, 5) == value
    await end(app, (claim, Succeeded(b'{"frames":1}')))
    with pytest.raises(StopAsyncIteration):
        await anext(values)


async def test_a_stream_gives_what_it_was_asked_for(app: Windlass) -> None:
    job, claim = await written(app, {"frames": 1}, {"frames": "2"}, {"pictures": 3})
    await end(app, (claim, Succeeded(b'{"frames":1}')))
    stream, seen = job.stream(Report), list[Any]()
    with pytest.raises(
        Undecodable, match=rf"a chunk of job {job.id} does not fit what stream\(...\) was asked for: frames"
    ):
        await collect(stream, seen)
    assert seen == [Report(1), Report(2)]
    assert stream.last == 4, "what could not be read was not seen"


@pytest.mark.parametrize(
    ("outcome", "error"),
    [(Failed(ErrorInfo("exception", "E", "no disk")), JobFailed), (Cancelled("enough"), JobCancelled)],
)
async def test_at_its_end_a_stream_says_when_the_job_did_not_succeed(
    app: Windlass, outcome: Any, error: type[Exception]
) -> None:
    job, claim = await written(app, "a", "b")
    await end(app, (claim, outcome))
    seen: list[Any] = []
    with pytest.raises(error):
        await collect(job.stream(), seen)
    assert seen == ["a", "b"]


async def test_a_stream_that_was_broken_off_anywhere_goes_on_behind_it(app: Windlass) -> None:
    chunks = list(range(6))
    job, claim = await written(app, *chunks)
    await end(app, (claim, Succeeded(b'{"frames":1}')))
    for first in range(6):
        seen, last = [], 0
        while True:
            stream = job.stream(int, after=last)
            async for value in stream:
                seen.append(value)
                if len(seen) % (first + 1) == 0:
                    break
            else:
                break
            last = stream.last
        assert seen == chunks


async def test_a_stream_of_no_job(app: Windlass) -> None:
    with pytest.raises(JobNotFound):
        await anext(aiter(app.job(new_id()).stream()))
