"""`ctx.iterate` and `ctx.resumed_from`, without a worker: where a run goes on, and what it writes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from windlass import ConfigurationError, Context, InvalidArguments, Snooze
from windlass import context as context_module
from windlass.core.job import Claim, Entry
from windlass.errors import PayloadTooLarge, UnreadableCheckpoint

CLAIM = Claim("j", 7, "t", "default", "loop", b"", 2, 1, 3, 0.0, 0.0)


class Job:
    """A job over its runs: each gets what the last one has left."""

    def __init__(self, left: bytes | None = None) -> None:
        self.journal: list[Entry] = []
        self.left = left

    def run(self, **more: Any) -> Context:
        if self.journal:
            self.left = self.journal[-1].data
        return Context(CLAIM, self.journal.append, meta={}, last_checkpoint=self.left, **more)


@pytest.fixture
def job() -> Job:
    return Job()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [0.0]
    monkeypatch.setattr(context_module.time, "monotonic", lambda: now[0])

    def tick(seconds: float) -> None:
        now[0] += seconds

    return tick


def rows(after: int | None) -> Iterator[tuple[int, str]]:
    """A source that goes on from any place without walking there."""
    for number in range((after or 0) + 1, 6):
        yield number, f"row {number}"


async def letters(text: str = "abcde") -> AsyncIterator[str]:
    for letter in text:
        yield letter


async def pages(after: str | None) -> AsyncIterator[tuple[str, str]]:
    for number in range(int(after or "0") + 1, 6):
        yield str(number), f"page {number}"


def die(ctx: Context, source: Any, at: Any) -> list[Any]:
    """The items that a run has had when its process dies with one in hand: nothing is closed, nothing more is said."""
    seen = []
    for item in ctx.iterate(source, every=0):
        seen.append(item)
        if item == at:
            break
    return seen


# --- where it goes on


def test_a_first_run_has_nothing_to_resume_from(job: Job) -> None:
    ctx = job.run()
    assert ctx.resumed_from is None
    ctx.checkpoint({"epoch": 1})
    assert ctx.resumed_from is None
    assert ctx.last_checkpoint == {"epoch": 1}
    again = job.run()
    again.checkpoint({"epoch": 2})
    assert again.resumed_from == {"epoch": 1}
    assert again.last_checkpoint == {"epoch": 2}


def test_an_iterable_is_counted(job: Job) -> None:
    assert die(job.run(), "abcde", "c") == ["a", "b", "c"]
    assert die(job.run(), "abcde", "d") == ["c", "d"]
    assert list(job.run().iterate("abcde")) == ["d", "e"]
    assert list(job.run().iterate("abcde")) == [], "it was at its end"


def test_a_function_begins_at_the_place(job: Job) -> None:
    asked: list[int | None] = []

    def source(after: int | None) -> Iterator[tuple[int, str]]:
        asked.append(after)
        return rows(after)

    assert die(job.run(), source, "row 3") == ["row 1", "row 2", "row 3"]
    assert list(job.run().iterate(source)) == ["row 3", "row 4", "row 5"]
    assert list(job.run().iterate(source)) == []
    assert asked == [None, 2], "what is over is not asked for again"


async def test_async_sources(job: Job) -> None:
    ctx = job.run()
    async for letter in ctx.iterate(letters(), every=0):
        if letter == "c":
            break
    assert [letter async for letter in job.run().iterate(letters())] == ["c", "d", "e"]
    assert [letter async for letter in job.run().iterate(letters())] == []
    other = Job()
    async for page in other.run().iterate(pages, every=0):
        if page == "page 4":
            break
    assert [page async for page in other.run().iterate(pages)] == ["page 4", "page 5"]
    assert [page async for page in other.run().iterate(pages)] == []


def test_several_loops_one_after_the_other(job: Job) -> None:
    def work(ctx: Context, until: str) -> list[str]:
        seen = []
        for source in ("abc", "def"):
            for item in ctx.iterate(source, every=0):
                seen.append(item)
                if item == until:
                    return seen
        return seen

    assert work(job.run(), "b") == ["a", "b"]
    assert work(job.run(), "e") == ["b", "c", "d", "e"]
    assert work(job.run(), "") == ["e", "f"]
    assert work(job.run(), "") == []


def test_a_loop_that_was_left_is_not_over(job: Job) -> None:
    ctx = job.run()
    for _ in ctx.iterate("abc", every=0):
        break
    assert list(ctx.iterate("def")) == ["d", "e", "f"]


def test_one_loop_inside_of_another_is_refused(job: Job) -> None:
    ctx = job.run()

    def nested() -> None:
        for _ in ctx.iterate("abc"):
            list(ctx.iterate("def"))

    with pytest.raises(ConfigurationError, match="inside of another"):
        nested()


# --- what is written, and when


def test_the_place_is_written_every_so_often_and_at_the_end(job: Job, clock: Callable[[float], None]) -> None:
    written = []
    for _ in job.run().iterate("abcdef", every="10s"):
        written.append(len(job.journal))
        clock(4)
    assert written == [0, 0, 0, 1, 1, 1]
    assert [entry.kind for entry in job.journal] == ["checkpoint"] * 3, "after c, after f, at the end"


def test_the_place_is_written_at_once_when_the_worker_stops_and_the_job_goes_on_elsewhere(job: Job) -> None:
    ctx, seen = job.run(), []

    def work() -> None:
        for item in ctx.iterate("abcde"):
            seen.append(item)
            if item == "c":
                ctx.stop("shutdown")

    with pytest.raises(Snooze) as caught:
        work()
    assert caught.value.delay == 0
    assert list(job.run().iterate("abcde")) == ["d", "e"]
    assert seen == ["a", "b", "c"]


def test_a_run_that_is_to_stop_before_it_begins_takes_no_item(job: Job) -> None:
    ctx = job.run()
    ctx.stop("shutdown")
    with pytest.raises(Snooze):
        next(ctx.iterate("abc"))
    assert list(job.run().iterate("abc")) == ["a", "b", "c"]


def test_what_came_while_the_worker_was_told_to_stop_is_left_for_the_next_run(job: Job) -> None:
    ctx = job.run()

    def source() -> Iterator[str]:
        yield "a"
        ctx.stop("shutdown")
        yield "b"

    steps = ctx.iterate(source())
    assert next(steps) == "a"
    with pytest.raises(Snooze):
        next(steps)
    assert list(job.run().iterate("ab")) == ["b"]


def test_an_item_that_failed_is_not_done(job: Job) -> None:
    def work(ctx: Context) -> None:
        for item in ctx.iterate("abc", every=0):
            if item == "b":
                raise ValueError(item)

    for _ in range(2):
        with pytest.raises(ValueError, match="b"):
            work(job.run())
    assert list(job.run().iterate("abc")) == ["b", "c"]


# --- together with the job's own checkpoint


def test_what_is_remembered_in_the_loop_is_stored_with_the_place(job: Job, clock: Callable[[float], None]) -> None:
    """A sum over all items is right, wherever the run is broken off."""

    def total(ctx: Context, moments: list[bytes | None]) -> int:
        sum_so_far: int = ctx.resumed_from or 0
        for number in ctx.iterate(range(10), every="1h"):
            sum_so_far += number
            ctx.checkpoint(sum_so_far)
            moments.append(job.journal[-1].data if job.journal else None)
        return sum_so_far

    moments: list[bytes | None] = []
    assert total(job.run(), moments) == 45
    assert len({*moments}) == 10, "each is stored as soon as its item is done"
    for moment in moments:
        assert total(Job(moment).run(), []) == 45


def test_outside_of_the_loop_the_place_stays(job: Job) -> None:
    ctx = job.run()
    ctx.checkpoint("before")
    assert job.journal[-1].data == b'"before"', "a job that does not iterate stores its value alone"
    for letter in ctx.iterate("abc", every=0):
        if letter == "c":
            break
    ctx.checkpoint("after")
    again = job.run()
    assert again.resumed_from == "after"
    again.checkpoint("between")
    last = job.run()
    assert (last.resumed_from, last.last_checkpoint) == ("between", "between")
    assert list(last.iterate("abc")) == ["c"]


async def test_a_loop_that_was_left_holds_nothing_back(job: Job) -> None:
    ctx = job.run()
    async for _ in ctx.iterate(letters()):
        ctx.checkpoint("in hand")
        break
    assert job.journal == []
    ctx.checkpoint("left")
    assert job.run().resumed_from == "left"


# --- what does not fit


def test_a_place_of_other_code_is_refused(job: Job) -> None:
    die(job.run(), lambda _after: [("x", 1), ("y", 2)], 2)
    with pytest.raises(UnreadableCheckpoint, match="'x', which is no number of items"):
        job.run().iterate("abc")


@pytest.mark.parametrize(
    "left", [b'{"windlass":"place","loop":"x"}', b'{"windlass":"place",', b'{"windlass":"place","loop":1,"place":-']
)
def test_a_damaged_place_is_unreadable(left: bytes) -> None:
    ctx = Job(left).run()
    for ask in (lambda: ctx.iterate("abc"), lambda: ctx.last_checkpoint, lambda: ctx.resumed_from):
        with pytest.raises(UnreadableCheckpoint):
            ask()


def test_what_a_job_has_called_so_itself_is_its_own(job: Job) -> None:
    job.run().checkpoint({"windlass": "mine"})
    assert job.run().resumed_from == {"windlass": "mine"}


def test_a_function_that_answers_no_pairs_is_told_so(job: Job) -> None:
    with pytest.raises(ConfigurationError, match="answers pairs"):
        next(job.run().iterate(lambda _after: [1, 2]))


def test_a_place_that_cannot_be_stored_is_refused(job: Job) -> None:
    steps = job.run().iterate(lambda _after: [(object(), 1), (object(), 2)], every=0)
    next(steps)
    with pytest.raises(InvalidArguments, match="cannot be stored as JSON"):
        next(steps)


def test_place_and_value_together_are_within_the_limit(job: Job) -> None:
    ctx = job.run(max_payload=100)
    steps = ctx.iterate("abc", every=0)
    next(steps)
    ctx.checkpoint("x" * 90)
    with pytest.raises(PayloadTooLarge, match="the checkpoint takes"):
        next(steps)
    assert job.journal == []
