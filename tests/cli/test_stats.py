"""`windlass stats` and `windlass top`: the same numbers as the store's, on and off a terminal; and jobs by the dashboard's filter."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command import Windlass, claim, environment, shell

from windlass.broker.port import Broker
from windlass.core.outcome import ErrorInfo, Failed

Store = Callable[[Callable[[Broker], Any]], Any]
SHOWN = (
    "queue",
    "open",
    "ready",
    "running",
    "scheduled",
    "parked",
    "failed",
    "oldest",
    "in",
    "out",
    "failing",
    "drained",
    "slots",
)


@pytest.fixture
def busy(windlass: Windlass, store: Store) -> None:
    """Two jobs ready in "default", one that runs; one that failed, and one ready, in "mail", which is paused."""
    for number in range(3):
        assert windlass("enqueue", "tasks.resize", number).code == 0
    for name in ("Ann", "Bob"):
        assert windlass("enqueue", "tasks.greet", name).code == 0

    async def work(broker: Broker) -> None:
        await claim(broker)
        failing = await claim(broker, "mail")
        await broker.settle([(failing, Failed(ErrorInfo("exception", "ValueError", "no such mailbox")))])
        await broker.pause("mail")

    store(work)


def by_queue(windlass: Windlass, *arguments: str) -> dict[str, dict[str, str]]:
    """The rows of `stats`, by queue."""
    ran = windlass("stats", *arguments)
    assert ran.code == 0, ran.err
    return {row[0]: dict(zip(SHOWN, row, strict=True)) for row in ran.rows}


# --- once ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("busy")
def test_the_numbers_are_those_of_the_store(windlass: Windlass, store: Store) -> None:
    rows = by_queue(windlass)
    for queue in store(lambda broker: broker.tally()):
        for state in ("ready", "running", "scheduled", "parked", "failed"):
            assert rows[queue.name][state] == str(queue.counts.get(state, 0))
    assert (rows["default"]["open"], rows["mail"]["open"]) == ("open", "paused")
    assert float(rows["default"]["oldest"]) >= 0.0
    assert (rows["default"]["slots"], rows["mail"]["slots"]) == ("0/0", "0/2")  # the worker takes mail alone


@pytest.mark.usefixtures("busy")
def test_some_queues_alone(windlass: Windlass) -> None:
    assert by_queue(windlass, "mail").keys() == {"mail"}
    ran = windlass("stats", "mail", "nothing")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no queue nothing" in ran.err


@pytest.mark.usefixtures("busy")
def test_json_has_the_shapes_of_the_api(windlass: Windlass) -> None:
    told = windlass("stats", "--json").json
    assert told.keys() == {"overview", "workers"}
    (default, mail) = told["overview"]["queues"]
    assert (default["name"], default["counts"]) == ("default", {"ready": 2, "running": 1})
    assert (mail["paused"], told["overview"]["totals"]["failed"]) == (True, 1)
    (worker,) = told["workers"]
    assert (worker["host"], worker["pid"], worker["jobs"][0]["task"]) == ("here", 7, "tasks.resize")


@pytest.mark.usefixtures("busy")
def test_what_needs_attention_is_told_apart_from_the_data(windlass: Windlass) -> None:
    ran = windlass("stats")
    assert "mail is paused" in ran.err
    assert "paused:" not in ran.out


def test_a_store_that_is_not_there_is_not_made(windlass: Windlass, project: Path) -> None:
    for command in ("stats", "top"):
        assert windlass(command).code == 2
    assert not (project / ".windlass").exists()


@pytest.mark.usefixtures("busy")
def test_without_a_terminal_top_prints_once(windlass: Windlass) -> None:
    def counts(command: str) -> list[list[str]]:
        return [row[:7] for row in windlass(command).rows]

    assert counts("top") == counts("stats")


def test_a_range_that_is_none(windlass: Windlass) -> None:
    windlass("enqueue", "tasks.resize", 1)
    ran = windlass("stats", "--range", "yesterday")
    assert ran.code == 2
    assert "yesterday" in ran.err


# --- live ---------------------------------------------------------------------------------------------------


class Terminal:
    """`windlass top` on a terminal."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int, theirs: int) -> None:
        self.process, self.ours, self.theirs = process, ours, theirs
        self.text = ""

    def until(self, pattern: str) -> None:
        """Wait until the screen has said this."""
        while not re.search(pattern, self.text):
            assert select.select([self.ours], [], [], 60)[0], self.text
            self.text += os.read(self.ours, 65536).decode(errors="replace")
            assert self.process.poll() is None, self.text

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def drain(self) -> int:
        """Read what is left, so that the process can end; answers its exit code."""
        while self.process.poll() is None:
            if select.select([self.ours], [], [], 0.05)[0]:
                self.text += os.read(self.ours, 65536).decode(errors="replace")
        while select.select([self.ours], [], [], 0)[0]:
            self.text += os.read(self.ours, 65536).decode(errors="replace")
        return self.process.returncode


@contextmanager
def on_a_terminal(*arguments: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "windlass.cli.main", *arguments]
    env = environment(TERM="xterm", COLUMNS="160", LINES="40")
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    try:
        yield Terminal(process, ours, theirs)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


@pytest.mark.usefixtures("busy")
def test_top_shows_what_changes_until_q() -> None:
    with on_a_terminal("top") as terminal:
        before = termios.tcgetattr(terminal.theirs)
        terminal.until(r"default +open +2 +1 ")
        terminal.until(r"here:7 ")
        terminal.until("mail is paused")
        assert termios.tcgetattr(terminal.theirs) != before  # what is typed is not shown
        shell("enqueue", "tasks.resize", 7)
        terminal.until(r"default +open +3 +1 ")
        terminal.type(b"xq")  # at once, as from somebody impatient
        assert terminal.drain() == 0
        assert termios.tcgetattr(terminal.theirs) == before
    assert "\x1b[?1049h" in terminal.text  # a screen of its own, which goes with it
    assert "\x1b[?1049l" in terminal.text
    assert "Traceback" not in terminal.text


@pytest.mark.usefixtures("busy")
def test_ctrl_c_ends_top_as_q_does() -> None:
    with on_a_terminal("top", "mail") as terminal:
        terminal.until("mail is paused")
        assert not re.search("default +open", terminal.text)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.drain() == 0
    assert "Traceback" not in terminal.text


# --- jobs by the language of the dashboard ------------------------------------------------------------------


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["state:failed"], ["tasks.greet"]),
        (["state:failed", "mailbox"], ["tasks.greet"]),
        (["state:failed error:KeyError"], []),
        (["task:tasks.re*", "state:running"], ["tasks.resize"]),
        (['"such mailbox"'], ["tasks.greet"]),
        (["arg.name=Bob"], ["tasks.greet"]),
        (["since:1h", "queue:default"], ["tasks.resize"] * 3),
        (["until:1h"], []),
        (["state:ready", "--queue", "mail"], ["tasks.greet"]),
    ],
)
def test_jobs_by_filter(windlass: Windlass, words: list[str], found: list[str]) -> None:
    ran = windlass("job", "list", *words)
    assert ran.code == 0, ran.err
    assert [row[2] for row in ran.rows] == found


@pytest.mark.usefixtures("busy")
def test_a_filter_that_is_none_names_those_there_are(windlass: Windlass) -> None:
    ran = windlass("job", "list", "colour:red")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no filter colour:" in ran.err
    assert "state:, queue:, task:" in ran.err


@pytest.mark.usefixtures("project")
def test_a_listing_goes_on_where_it_ended(windlass: Windlass) -> None:
    for number in range(5):
        windlass("enqueue", "tasks.resize", number)
    seen: list[str] = []
    more: list[str] = []
    for _ in range(3):
        ran = windlass("job", "list", "task:tasks.re*", "-n", 2, *more)
        seen += [row[0] for row in ran.rows]
        more = re.findall(r"--before \S+", ran.err)[-1].split() if "--before" in ran.err else []
    assert (len(seen), more) == (5, [])
    assert seen == sorted(seen, reverse=True)
