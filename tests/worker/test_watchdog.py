"""The watchdog: a blocked loop is pitied, a job beyond its limit that blocks it is not, and a job that only waits is never blamed."""

from __future__ import annotations

from typing import Any

import pytest

from windlass.core.job import Claim
from windlass.core.outcome import ErrorInfo, Failed
from windlass.worker.link import Limited
from windlass.worker.watchdog import busy, culprits, in_the_way, over, sentence, timed_out

STACKS = """Current thread 0x01 (most recent call first):
  File "shop.py", line 3 in busy
  File "loop.py", line 30 in job of-the-loop

Thread 0x02 (most recent call first):
  File "shop.py", line 9 in count
  File "call.py", line 86 in job of-a-thread"""


def limited(job: str, deadline: float = 100.0, thread: int = 0) -> Limited:
    claim = Claim(job, 1, "task", "default", "loop", b"", 1, 0, 3, 0.0, 0.0)
    return Limited(
        claim, 10.0, deadline, Failed(ErrorInfo("timeout", "TimeLimitExceeded", "over its time limit")), thread
    )


IN_LOOP, IN_THREAD, WAITING = limited("of-the-loop"), limited("of-a-thread", thread=77), limited("somewhere-else")
ALL = [IN_LOOP, IN_THREAD, WAITING]


def test_only_what_had_its_time_to_stop_is_over() -> None:
    assert over(ALL, 104.9, kill_after=5) == []
    assert over(ALL, 105.0, kill_after=5) == ALL
    assert over([limited("a", 90), limited("b", 200)], 105, kill_after=5) == [limited("a", 90)]


@pytest.mark.parametrize(
    ("using", "blamed"),
    [
        ({0}, [IN_LOOP]),
        ({77}, [IN_THREAD]),
        ({5}, []),
        (set[int](), []),
    ],
    ids=["the main thread", "a job's thread", "some other thread", "nobody's"],
)
def test_who_uses_the_cpu_holds_the_interpreter(using: set[int], blamed: list[Limited]) -> None:
    assert in_the_way(ALL, STACKS, using) == blamed


def test_a_thread_that_waits_for_the_interpreter_is_not_busy() -> None:
    """It wakes up two hundred times a second to see whether it is free, and on a busy machine even the holder gets little."""
    before = {0: 1.0, **dict.fromkeys(range(1, 16), 0.5)}
    waiting = {thread: spent + 0.001 for thread, spent in before.items()}
    assert busy(before, waiting) == set()
    assert busy(before, {**waiting, 7: 0.53}) == {7}
    assert busy(before, {**waiting, 99: 0.4}) == {99}, "it has just begun"
    assert busy({}, {}) == set()


def test_who_is_on_the_stack_of_the_loop_holds_up_the_loop() -> None:
    assert in_the_way(ALL, STACKS, None) == [IN_LOOP], "a thread does not"
    assert in_the_way(ALL, "", None) == []


@pytest.mark.parametrize(
    ("late", "blocking", "blamed"),
    [
        ([], [], []),
        ([], [IN_LOOP], []),
        ([WAITING], [IN_LOOP], []),
        ([WAITING, IN_LOOP], [IN_LOOP], [IN_LOOP]),
        ([WAITING], [], None),
    ],
    ids=["all is well", "within its limit", "within its limit, others not", "beyond it", "nobody knows"],
)
def test_who_is_to_blame(late: list[Limited], blocking: list[Limited], blamed: Any) -> None:
    assert culprits(late, blocking) == blamed


def test_the_verdict_names_the_job_and_its_stack() -> None:
    words = sentence([limited("the-job", 90)], 100, STACKS)
    assert "job the-job was over its time limit by 10.0 s" in words.message
    assert words.traceback == STACKS
    outcome = timed_out(IN_THREAD, STACKS)
    assert isinstance(outcome, Failed)
    assert outcome.error.message.startswith("over its time limit; it held up all other jobs")
    assert outcome.error.traceback.startswith("Thread 0x02")
    assert timed_out(WAITING, STACKS).error.traceback == STACKS
