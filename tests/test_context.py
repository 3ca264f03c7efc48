"""The running job as its own code sees it."""

from __future__ import annotations

import contextvars
import math
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from windlass import Context, InvalidArguments, Progress, WindlassError, current
from windlass.context import LOG_LINE_LIMIT, current_or_none, enter
from windlass.core.job import Claim, Entry, LogLine
from windlass.errors import PayloadTooLarge


@pytest.fixture
def journal() -> list[Entry]:
    return []


@pytest.fixture
def ctx(journal: list[Entry]) -> Context:
    return Context(
        Claim("j", 7, "t", "default", "loop", b"", 2, 1, 3, 0.0, 0.0),
        journal.append,
        meta={"a": "b"},
        last_checkpoint=b'{"page":3}',
        max_payload=1000,
    )


def test_progress_says_how_far(ctx: Context, journal: list[Entry]) -> None:
    ctx.progress(40, 100, "encoding")
    ctx.progress(3)
    assert [(entry.kind, entry.attempt) for entry in journal] == [("progress", 2), ("progress", 2)]
    first, second = (msgspec.json.decode(entry.data, type=Progress) for entry in journal)
    assert (first, first.share) == (Progress(40, 100, "encoding"), 0.4)
    assert (second, second.share) == (Progress(3), None)


@pytest.mark.parametrize(("current", "total"), [(math.nan, None), (math.inf, 1), (1, math.nan)])
def test_progress_takes_no_number_that_could_not_be_read_back(
    ctx: Context, current: float, total: float | None
) -> None:
    with pytest.raises(InvalidArguments, match="finite"):
        ctx.progress(current, total)


def test_a_share_stays_between_nothing_and_all() -> None:
    assert [Progress(5, 4).share, Progress(-1, 4).share, Progress(1, 0).share] == [1.0, 0.0, None]


def test_log_lines_are_bounded_and_always_storable(ctx: Context, journal: list[Entry]) -> None:
    ctx.log("hello")
    ctx.log("x" * 100_000, "warning")
    ctx.log("\ud800 half a pair")
    ctx.progress(1, message="\ud800")
    lines = [msgspec.json.decode(entry.data, type=LogLine) for entry in journal[:3]]
    assert lines[0] == LogLine("info", "hello")
    assert lines[1].level == "warning"
    assert len(lines[1].message) < LOG_LINE_LIMIT + 100
    assert lines[2].message == "\\ud800 half a pair"


def test_chunks_are_any_json(ctx: Context, journal: list[Entry]) -> None:
    for value in ({"a": [1, None]}, "token", math.inf, b"\xff"):
        ctx.chunk(value)
    assert [msgspec.json.decode(entry.data) for entry in journal] == [{"a": [1, None]}, "token", "Infinity", "_w=="]


@pytest.mark.parametrize("verb", ["chunk", "checkpoint"])
@pytest.mark.parametrize("value", [object(), lambda: 1, "\ud800"])
def test_what_is_no_json_is_refused_and_not_written(ctx: Context, journal: list[Entry], verb: str, value: Any) -> None:
    with pytest.raises(InvalidArguments, match="cannot be stored as JSON"):
        getattr(ctx, verb)(value)
    assert journal == []
    assert ctx.last_checkpoint == {"page": 3}


@pytest.mark.parametrize("verb", ["chunk", "checkpoint"])
def test_what_is_too_large_is_refused_with_the_limit_and_not_written(
    ctx: Context, journal: list[Entry], verb: str
) -> None:
    getattr(ctx, verb)("x" * 998)
    with pytest.raises(PayloadTooLarge, match=rf"the {verb} takes 1,001 bytes, over the limit max_payload = 1,000;"):
        getattr(ctx, verb)("x" * 999)
    assert [(entry.kind, len(entry.data)) for entry in journal] == [(verb, 1000)]
    assert ctx.last_checkpoint == ({"page": 3} if verb == "chunk" else "x" * 998)


def test_a_checkpoint_is_seen_at_once(ctx: Context, journal: list[Entry]) -> None:
    assert ctx.last_checkpoint == {"page": 3}
    ctx.checkpoint({"page": 4})
    assert ctx.last_checkpoint == {"page": 4}
    assert [entry.kind for entry in journal] == ["checkpoint"]


@pytest.mark.parametrize(
    ("why", "cancelled", "shutting_down"),
    [("cancel", True, False), ("limit", True, False), ("lost", True, False), ("shutdown", False, True)],
)
def test_a_run_is_told_why_to_stop(ctx: Context, why: str, cancelled: bool, shutting_down: bool) -> None:
    assert (ctx.cancelled, ctx.shutting_down) == (False, False)
    ctx.stop(why)
    assert (ctx.cancelled, ctx.shutting_down) == (cancelled, shutting_down)


def test_there_is_no_current_job_outside_of_one() -> None:
    with pytest.raises(WindlassError, match="outside of a job"):
        contextvars.Context().run(current)
    assert contextvars.Context().run(current_or_none) is None


def test_the_current_job_is_known_where_it_runs_and_nowhere_else(ctx: Context) -> None:
    def job() -> Iterator[Context | None]:
        enter(lambda: ctx)
        yield current()
        yield contextvars.copy_context().run(current)
        elsewhere: list[Context | None] = []
        thread = threading.Thread(target=lambda: elsewhere.append(current_or_none()))
        thread.start()
        thread.join()
        yield elsewhere[0]

    inside, copied, other_thread = contextvars.Context().run(lambda: list(job()))
    assert inside is copied is ctx
    assert other_thread is None
    assert current_or_none() is None
