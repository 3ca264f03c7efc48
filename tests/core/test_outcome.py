from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.outcome import (
    CRASH_DELAY,
    Cancelled,
    Died,
    Ending,
    ErrorInfo,
    Failed,
    Interrupted,
    Outcome,
    Parked,
    Raised,
    Rejected,
    Released,
    Retried,
    Said,
    Snoozed,
    Succeeded,
    TimedOut,
    Unknown,
    bounded,
    decide,
    lost,
    quarantined,
)
from windlass.core.retry import Retry

ERROR = ErrorInfo("exception", "builtins.OSError", "the disk is gone", evidence={"signal": 9})
LINEAGE = ("builtins.OSError", "builtins.Exception", "builtins.BaseException")

endings = st.one_of(
    st.builds(Succeeded, st.binary(max_size=8)),
    st.builds(Raised, st.just(ERROR), st.sampled_from([LINEAGE, ("builtins.SystemExit", "builtins.BaseException")])),
    st.builds(Said, st.sampled_from(["snooze", "retry", "fail", "cancel"]), st.floats(0, 1e6), st.text(max_size=5)),
    st.builds(Rejected, st.just(ERROR)),
    st.builds(TimedOut, st.floats(0, 1e6), st.just(ERROR)),
    st.builds(Died, st.just(ERROR)),
    st.builds(Interrupted, st.sampled_from(["cancel", "shutdown", "lost"])),
    st.builds(Unknown, st.text(max_size=5)),
)
policies = st.builds(
    Retry,
    attempts=st.integers(1, 6),
    first=st.floats(0, 100),
    factor=st.floats(1, 10),
    most=st.floats(0, 1000),
    jitter=st.floats(0, 1),
    on=st.sampled_from(["builtins.Exception", "builtins.OSError", "builtins.KeyError"]),
    unless=st.sampled_from([(), "builtins.OSError"]),
)
chances = st.floats(0, 1, exclude_max=True)


def ended(
    ending: Ending, *, attempt: int = 1, crashes: int = 0, retry: Retry | None = None, on_oom: str | None = None
) -> Outcome | None:
    retry = retry or Retry(jitter=0)
    return decide(
        attempt=attempt, crashes=crashes, crash_limit=3, ending=ending, retry=retry, chance=0.5, on_oom=on_oom
    )


@given(endings, policies, st.integers(1, 10), st.integers(0, 5), st.integers(1, 5), chances)
def test_decision_is_total(
    ending: Ending, retry: Retry, attempt: int, crashes: int, crash_limit: int, chance: float
) -> None:
    outcome = decide(
        attempt=attempt, crashes=crashes, crash_limit=crash_limit, ending=ending, retry=retry, chance=chance
    )
    if outcome is None:
        assert ending == Interrupted("lost")
    else:
        assert isinstance(outcome, get_args(Outcome))


@given(st.lists(endings, min_size=1, max_size=40), policies, chances)
def test_attempts_never_exceed_the_policy_nor_crashes_their_limit(
    story: list[Ending], retry: Retry, chance: float
) -> None:
    spent, crashes, crash_limit = 0, 0, 3
    for ending in story:
        spent += 1
        outcome = decide(
            attempt=spent, crashes=crashes, crash_limit=crash_limit, ending=ending, retry=retry, chance=chance
        )
        if isinstance(outcome, Snoozed | Released | Parked):
            spent -= 1
        elif isinstance(outcome, Retried) and outcome.crash:
            spent, crashes = spent - 1, crashes + 1
        elif not isinstance(outcome, Retried):
            break
        assert spent < retry.attempts
        assert crashes < crash_limit


@given(endings, policies, st.integers(1, 10_000), chances)
def test_delays_are_bounded(ending: Ending, retry: Retry, attempt: int, chance: float) -> None:
    outcome = decide(attempt=attempt, crashes=0, crash_limit=3, ending=ending, retry=retry, chance=chance)
    if isinstance(outcome, Retried) and not isinstance(ending, Said):
        assert 0 <= outcome.delay <= max(float(retry.most), CRASH_DELAY)  # type: ignore[arg-type]  # seconds by now


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Succeeded(b"1"), Succeeded(b"1")),
        (Raised(ERROR, LINEAGE), Retried(1.0, ERROR)),
        (TimedOut(5.0, ERROR), Retried(1.0, ERROR)),
        (Rejected(ERROR), Failed(ERROR)),
        (Died(ERROR), Retried(CRASH_DELAY, ERROR, crash=True)),
        (Interrupted("cancel"), Cancelled("cancelled while running")),
        (Interrupted("shutdown"), Released()),
        (Interrupted("lost"), None),
        (Unknown("no such task"), Parked("no such task")),
        (Said("snooze", 5.0), Snoozed(5.0)),
        (Said("cancel", reason="enough"), Cancelled("enough")),
        (Said("fail", reason="bad"), Failed(ErrorInfo("reason", "Fail", "bad"))),
        (Said("retry", 7.0, "busy"), Retried(7.0, ErrorInfo("reason", "RetryAfter", "busy"))),
    ],
)
def test_first_attempt(ending: Ending, expected: Outcome | None) -> None:
    assert ended(ending) == expected


@pytest.mark.parametrize("ending", [Raised(ERROR, LINEAGE), TimedOut(5.0, ERROR), Said("retry", 7.0, "busy")])
def test_last_attempt_fails(ending: Ending) -> None:
    assert isinstance(ended(ending, attempt=2), Retried)
    assert isinstance(ended(ending, attempt=3), Failed)


def test_an_error_that_is_not_worth_it_is_not_tried_again() -> None:
    assert ended(Raised(ERROR, LINEAGE), retry=Retry(on=(KeyError,))) == Failed(ERROR)
    assert ended(Raised(ERROR, LINEAGE), retry=Retry(unless=(OSError,))) == Failed(ERROR)
    assert ended(TimedOut(5.0, ERROR), retry=Retry(unless=(TimeoutError,))) == Failed(ERROR)
    assert isinstance(ended(TimedOut(5.0, ERROR), retry=Retry(on=(TimeoutError,))), Retried)


def test_the_last_crash_quarantines_with_the_evidence() -> None:
    outcome = ended(Died(ERROR), crashes=2)
    assert outcome == Failed(quarantined(ERROR, 3), crash=True)
    assert isinstance(outcome, Failed)
    assert (outcome.error.kind, outcome.error.evidence) == ("quarantined", {"signal": 9})
    assert "3 times" in outcome.error.message
    assert ERROR.message in outcome.error.message


def test_crashes_spend_no_attempt_of_the_policy() -> None:
    assert isinstance(ended(Died(ERROR), attempt=1, retry=Retry(attempts=1)), Retried)


OVER = ErrorInfo("crash", "MemoryLimitExceeded", "over its memory limit")
CHOSEN = ErrorInfo("crash", "ProcessDied", "killed by signal 9", evidence={"signal": 9, "oom_kill": 1})
NO_MEMORY = Raised(ERROR, ("builtins.MemoryError", "builtins.Exception"))


@pytest.mark.parametrize("ending", [Died(OVER), Died(CHOSEN), NO_MEMORY])
def test_want_of_memory_moves_the_next_run_and_only_that(ending: Ending) -> None:
    moved, stays = ended(ending, on_oom="big"), ended(ending)
    assert isinstance(moved, Retried)
    assert isinstance(stays, Retried)
    assert (moved.queue, stays.queue) == ("big", None)
    assert moved.crash is isinstance(ending, Died), "counted all the same"
    assert isinstance(ended(ending, crashes=2, attempt=3, on_oom="big"), Failed)


@given(endings.filter(lambda ending: ending not in (Died(OVER), Died(CHOSEN), NO_MEMORY)), policies)
def test_no_other_end_moves_a_job(ending: Ending, retry: Retry) -> None:
    outcome = ended(ending, retry=retry, on_oom="big")
    assert not isinstance(outcome, Retried) or outcome.queue is None


def test_a_lost_worker_is_named() -> None:
    assert lost("w7").kind == "crash"
    assert "w7" in lost("w7").message


@given(st.text(st.characters(), max_size=300), st.integers(2, 100))
def test_bounded_keeps_head_and_tail_and_encodes(text: str, limit: int) -> None:
    short = bounded(text, limit)
    short.encode()
    if len(text) <= limit:
        assert short == text.encode("utf-8", "backslashreplace").decode()
    else:
        half = limit // 2
        assert f"{len(text) - 2 * half} characters left out" in short
        assert short.startswith(bounded(text[:half]))
        assert short.endswith(bounded(text[-half:]))


def test_bounded_survives_lone_surrogates() -> None:
    assert bounded("a\ud800b") == "a\\ud800b"
