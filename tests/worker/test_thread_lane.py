"""Threads of lane "thread": an interruption strikes in the work or not at all."""

from __future__ import annotations

import threading
import time
from typing import Any

from windlass.errors import JobInterrupted
from windlass.worker.lanes.thread import Worker


def ask(worker: Worker, work: Any) -> tuple[list[Any], threading.Event]:
    answers: list[Any] = []
    answered = threading.Event()
    worker.put(work, lambda answer: (answers.append(answer), answered.set()))
    return answers, answered


def spin() -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        pass


def test_work_is_interrupted_wherever_it_is_and_the_thread_survives() -> None:
    worker = Worker(0)
    for number in range(300):
        answers, answered = ask(worker, spin)
        if number % 3:
            time.sleep(0.0001 * (number % 7))
        worker.interrupt()
        assert answered.wait(20)
        assert isinstance(answers[0], JobInterrupted)
        answers, answered = ask(worker, lambda: "next")
        assert answered.wait(20)
        assert answers == ["next"]
    worker.quit()


def test_work_that_ends_as_it_is_interrupted_answers_one_way_or_the_other() -> None:
    worker = Worker(0)
    seen = set()
    for number in range(2000):
        answers, answered = ask(worker, lambda: "done")
        for _ in range(number % 50):
            pass
        worker.interrupt()
        assert answered.wait(20)
        seen.add("done" if answers == ["done"] else type(answers[0]))
        assert len(answers) == 1
    assert seen <= {"done", JobInterrupted}
    worker.quit()


def test_each_work_has_contextvars_of_its_own() -> None:
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable", default="fresh")
    worker = Worker(0)

    def work() -> str:
        before = variable.get()
        variable.set("used")
        return before

    for _ in range(2):
        answers, answered = ask(worker, work)
        assert answered.wait(20)
        assert answers == ["fresh"]
    worker.quit()
