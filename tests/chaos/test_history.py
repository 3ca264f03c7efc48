"""The checker itself: each violation is found in a history made by hand, and nothing is found in one that is as it should be."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from evidence import Trace
from history import LATE, History, Outcome, Run, Told

from windlass.core.job import Job
from windlass.core.state import State

SUPERVISOR, RUNNER, OTHER, CHILD = 10, 11, 12, 13


class Book:
    """A history in the making, with one job "a" that was told to be number 7."""

    def __init__(self) -> None:
        self.history = History(told={"a": Told(7)})

    def start(self, token: int, at: float, pid: int = RUNNER, job: str = "a") -> Book:
        return self._add("start", token, at, pid, job)

    def end(self, token: int, at: float, what: str = "done", pid: int = RUNNER, job: str = "a") -> Book:
        return self._add(what, token, at, pid, job)

    def _add(self, what: str, token: int, at: float, pid: int, job: str) -> Book:
        above = (RUNNER, SUPERVISOR) if pid == CHILD else (SUPERVISOR, 1)
        self.history.add(Trace(what, job, token, 1, pid, above, at))
        return self

    def fault(self, at: float, *pids: int, until: float | None = None) -> Book:
        self.history.strike(at, "killed", pids, until=until)
        return self

    def stands(self, state: State, result: object = None, name: str = "a", life: tuple[float, float] = (0, 9)) -> Book:
        self.history.jobs[name] = job(name, state, result, life)
        return self

    def found(self) -> list[str]:
        """The violations, without the job's name."""
        return [words.removesuffix(" (job a)") for words in self.history.violations()]


def job(name: str, state: State, result: object, life: tuple[float, float] = (0, 9)) -> Job:
    born, ended = (datetime.fromtimestamp(at, UTC) for at in life)
    return Job(
        id=name, task="t", queue="q", lane="loop", state=state, priority=5, attempt=1, crashes=0, created_at=born, run_at=born,
        finished_at=ended if state.finished else None, result=None if result is None else msgspec.json.encode(result),
    )  # fmt: skip


def done() -> Book:
    """As it should be: one run, from 1.0 to 2.0."""
    return Book().start(1, 1.0).end(1, 2.0).stands(State.SUCCEEDED, [7, 1])


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert done().found() == []


def test_lost_and_stuck_jobs() -> None:
    assert Book().found() == ["I1 lost: the store said yes and does not know it any more"]
    assert Book().stands(State.RUNNING).found() == ["I1 stuck: it is still running"]
    uncertain = Book()
    uncertain.history.told["a"].certain = False
    assert uncertain.found() == []


def test_a_phantom() -> None:
    assert done().start(5, 1.0, job="b").found() == ["I2 phantom: b ran and was never enqueued"]


def test_a_job_that_was_handed_out_twice() -> None:
    assert done().start(1, 1.5).found() == ["I4 two runs with the token 1"]


def test_a_run_that_came_too_early() -> None:
    book = Book().start(2, 1.0).end(2, 2.0).start(1, 3.0).end(1, 4.0).stands(State.SUCCEEDED, [7, 2])
    assert book.found() == ["I4 run 2 began before run 1"]
    # Unless its process was stopped between its claim and its start.
    assert book.fault(0.5, RUNNER, until=2.9).found() == []


def test_the_outcome_of_another_run() -> None:
    book = Book().start(1, 1.0).fault(1.5, RUNNER).start(2, 2.0, OTHER).end(2, 3.0, pid=OTHER)
    assert book.stands(State.SUCCEEDED, [7, 2]).found() == []
    assert book.stands(State.SUCCEEDED, [7, 1]).found() == ["I5 the outcome is that of run 1, and the runs were [1, 2]"]
    assert Book().stands(State.SUCCEEDED, [7, 1]).found() == ["I5 the outcome is that of run 1, and the runs were []"]


def test_the_outcome_of_a_run_that_never_ended() -> None:
    cut = ["I5 run 1 has an outcome, and never came to its end"]
    assert Book().start(1, 1.0).stands(State.SUCCEEDED, [7, 1]).found() == cut
    assert Book().start(1, 1.0).end(1, 2.0, "raised").stands(State.SUCCEEDED, [7, 1]).found() == cut


def test_the_result_of_another_job() -> None:
    assert done().stands(State.SUCCEEDED, [8, 1]).found() == ["I6 it has the result of another: 8, not 7"]


def test_an_outcome_that_changed() -> None:
    book = done()
    book.history.seen["a"] = job("a", State.SUCCEEDED, [7, 0])
    assert book.found() == ["I6 its outcome changed: it was succeeded with b'[7,0]', and is succeeded with b'[7,1]'"]


@pytest.mark.parametrize(
    ("end", "attempt", "wrong"),
    [
        ("raised", 2, False),
        ("limit", 2, False),
        ("interrupted", 1, False),
        ("raised", 1, True),
        ("interrupted", 2, True),
    ],
)
def test_attempts(end: str, attempt: int, wrong: bool) -> None:
    book = twice(end)
    book.history.jobs["a"] = msgspec.structs.replace(job("a", State.SUCCEEDED, [7, 2]), attempt=attempt)
    said = [f"I7 {attempt} attempts are counted, and its runs before the last ended so: ['{end}']"]
    assert book.found() == (said if wrong else [])


def test_another_end_than_expected() -> None:
    assert done().stands(State.FAILED).found() == ["it should have succeeded, and has failed: None"]
    book = done().stands(State.FAILED)
    book.history.told["a"].expected = (State.CANCELLED, State.FAILED)
    assert book.found() == []


def test_cancelled_jobs_do_not_run() -> None:
    book = Book().start(1, 5.0).end(1, 6.0, "interrupted").stands(State.CANCELLED)
    told = book.history.told["a"]
    told.expected, told.cancelled = (State.CANCELLED,), 5.5
    assert book.found() == []  # that run had begun before: the job was tried again, and waited
    told.cancelled = 4.5
    assert book.found() == ["I10 it was cancelled, and 0.500 s later it began to run"]
    told.cancelled, told.never = None, True
    assert book.found() == ["I10 it was cancelled before it ran, and ran all the same"]
    told.never = False
    told.cancelled = 5.5
    told.expected = (State.SUCCEEDED,)
    assert "I10 it was cancelled, and then it has succeeded" in book.stands(State.SUCCEEDED, [7, 1]).found()


@pytest.mark.parametrize(("second", "shared"), [((5.0, 9.0), False), ((4.9, 9.0), True)])
def test_two_jobs_with_one_key(second: tuple[float, float], shared: bool) -> None:
    book = done().stands(State.SUCCEEDED, [7, 1], life=(1.0, 5.0))
    book.start(2, 6.0, job="b").end(2, 7.0, job="b").stands(State.SUCCEEDED, [8, 2], name="b", life=second)
    book.history.told |= {"a": Told(7, key="k"), "b": Told(8, key="k")}
    assert book.found() == (["I11 a and b had the key 'k' at the same time"] if shared else [])


# --- which second runs are excused


def twice(end: str | None = "done", pid: int = RUNNER) -> Book:
    """A run from 1.0 to 2.0 (end: how), and another from 3.0 to 4.0 elsewhere."""
    book = Book().start(1, 1.0, pid)
    if end is not None:
        book.end(1, 2.0, end, pid)
    return book.start(2, 3.0, OTHER).end(2, 4.0, pid=OTHER).stands(State.SUCCEEDED, [7, 2])


DOUBLED = ["doubled: run 1 was cut off by nothing, and run 2 began"]


def without_why(found: list[str]) -> list[str]:
    """Violations without what is known of the processes."""
    return [words.partition(": in process")[0] for words in found]


@pytest.mark.parametrize("end", ["done", "lost", None])
def test_a_second_run_without_a_reason(end: str | None) -> None:
    assert without_why(twice(end).found()) == DOUBLED


def test_a_second_run_without_a_reason_is_told_with_all_that_is_known() -> None:
    (said,) = twice().fault(-9.0, RUNNER, until=-3.0).found()
    assert said.endswith(
        f": in process {RUNNER}, done after 1.00 s; killed from -10.00 to -4.00 s; again after 2.00 s, in process {OTHER}"
    )
    (said,) = twice(None).found()
    assert f"in process {RUNNER}, without an end; again" in said


@pytest.mark.parametrize("end", ["limit", "interrupted"])
def test_a_second_run_after_one_that_was_cut_off(end: str) -> None:
    assert twice(end).found() == []


@pytest.mark.parametrize("end", ["done", "lost", None])
@pytest.mark.parametrize("victim", [RUNNER, SUPERVISOR])
def test_a_second_run_after_a_fault_that_struck_the_first(end: str | None, victim: int) -> None:
    assert twice(end).fault(2.5, victim).found() == []


def test_a_second_run_after_the_death_of_what_a_child_hung_on() -> None:
    assert twice(None, CHILD).fault(1.5, SUPERVISOR).found() == []


@pytest.mark.parametrize(("at", "pid"), [(0.5, RUNNER), (3.5, RUNNER), (2.5, OTHER), (2.5, CHILD)])
def test_faults_at_another_time_or_of_others_excuse_nothing(at: float, pid: int) -> None:
    assert without_why(twice().fault(at, pid).found()) == DOUBLED


def test_a_stop_excuses_what_its_victims_do_until_they_have_learned_of_it() -> None:
    assert twice().fault(-9.0, RUNNER, until=0.9).found() == []
    assert without_why(twice().fault(-9.0, RUNNER, until=0.9 - LATE).found()) == DOUBLED


# --- the figures


def test_recoveries_and_doubles_are_counted() -> None:
    history = twice().fault(2.5, RUNNER).history
    assert (history.recoveries(), history.doubled) == ([], 1)  # it had ended, and nobody knew
    history = twice(None).fault(2.5, RUNNER).history
    assert (history.recoveries(), history.doubled) == ([("killed", 0.5)], 0)


def test_evidence_is_read_on_from_where_it_was_and_half_a_line_is_left_for_later(tmp_path: Path) -> None:
    file, history = tmp_path / "evidence", History()
    history.read(file)
    traces = [Trace("start", "a", 1, 1, RUNNER, (), 1.0), Trace("done", "a", 1, 1, RUNNER, (), 2.0)]
    lines = b"".join(msgspec.json.encode(trace) + b"\n" for trace in traces)
    for size in (10, len(lines) - 10, len(lines)):
        file.write_bytes(lines[:size])
        history.read(file)
    assert history.runs() == {"a": [Run(*traces)]}
    assert history.starts == 1
    assert history.in_hand() == {}


def test_an_outcome_counts_what_was_lost_and_what_ran_too_often() -> None:
    outcome = Outcome(
        "A1", "sqlite", 1, 2, 0, [("killed", 1.0), ("killed", 3.0)], ["I1 lost: x", *DOUBLED, "other"], 1.0
    )
    assert (outcome.lost, outcome.unexpected, outcome.recovery) == (1, 1, "2.00 / 3.00")
