"""Tasks that do harm: to their process, to their neighbours, to the worker, to the store."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evidence import LOOK, now, witnessed

from windlass import Retry, Windlass, current

ONCE = Retry(attempts=1)
LARGE = "large"
"""The queue of the large machines."""


# --- to their own process


def _send_rubbish(rubbish: bytes) -> None:
    os.write(int(sys.argv[1]), rubbish)  # the socket to the runner, of which no job should know


def _half_an_answer() -> None:
    _send_rubbish((1000).to_bytes(4, "big") + b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)


def _nonsense() -> None:
    _send_rubbish((4).to_bytes(4, "big") + b"\xff\xff\xff\xff")
    time.sleep(60)


DEATHS: dict[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "exit 0": lambda: os._exit(0),
    "exit 3": lambda: os._exit(3),
    "sys.exit": lambda: sys.exit(0),
    "half": _half_an_answer,
    "nonsense": _nonsense,
}


def die(number: int, how: str) -> None:
    """Never comes back."""
    with witnessed():
        DEATHS[how]()


def die_once(number: int, how: str) -> list[int]:
    with witnessed() as ctx:
        if not ctx.crashes:
            DEATHS[how]()
        return [number, ctx.token]


async def die_in_loop(number: int) -> None:
    with witnessed():
        await asyncio.sleep(0.3)  # until its neighbours run, too
        DEATHS["kill"]()


def die_in_thread(number: int) -> None:
    with witnessed():
        time.sleep(0.3)
        DEATHS["segfault"]()


def eat(number: int) -> None:
    """Takes more memory than it may have."""
    with witnessed():
        eaten = b"x" * (200 << 20)
        time.sleep(30)
        del eaten


def eat_in_peace(number: int) -> list[int]:
    """The same, and it is enough for it."""
    with witnessed() as ctx:
        eaten = b"x" * (200 << 20)
        time.sleep(0.5)  # longer than its memory is not looked at
        del eaten
        return [number, ctx.token]


_leaked: list[bytes] = []


def leak(number: int, size: int) -> list[int]:
    with witnessed() as ctx:
        _leaked.append(b"x" * size)
        return [number, ctx.token]


# --- to their neighbours


async def block(number: int, seconds: float) -> list[int]:
    """Stops the event loop."""
    with witnessed() as ctx:
        time.sleep(seconds)  # noqa: ASYNC251 # that is the fault
        return [number, ctx.token]


def _hog() -> None:
    re.match(r"(a+)+$", "a" * 64 + "b")


async def hog_loop(number: int) -> None:
    """Holds the interpreter's lock, for years."""
    with witnessed():
        _hog()


def hog_thread(number: int) -> None:
    with witnessed():
        _hog()


# --- to who wants to stop them


def deaf_thread(number: int) -> None:
    """Goes on whatever it is told, in any lane."""
    with witnessed():
        end = now() + 60
        while now() < end:
            try:
                time.sleep(LOOK)
            except BaseException:
                pass


async def deaf_loop(number: int) -> None:
    with witnessed():
        end = now() + 60
        while now() < end:
            try:
                await asyncio.sleep(LOOK)
            except BaseException:
                pass


def deaf_until(number: int, gate: str) -> list[int]:
    """The same, until the gate is open."""
    with witnessed() as ctx:
        while not Path(gate).exists():
            try:
                time.sleep(LOOK)
            except BaseException:
                pass
        return [number, ctx.token]


def never_back(number: int) -> None:
    with witnessed():
        threading.Event().wait()


def at_odds(number: int, mark: str) -> None:
    """Takes the signals of its process for itself, and starts a process that shall outlive it."""
    with witnessed():
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(one, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        child = subprocess.Popen(["sleep", "60"])
        Path(mark).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(60)


# --- with what they give back


class Unspeakable:
    """Nothing can be said of it."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


class NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class NotMade(Exception):
    """Cannot be made from its arguments, so not be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("text")


def _deep() -> list[Any]:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


def _round() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


RESULTS: dict[str, Callable[[], Any]] = {
    "huge": lambda: "x" * (8 << 20),
    "object": object,
    "unspeakable": Unspeakable,
    "surrogate": lambda: "\ud800",
    "long": lambda: 10**5000,
    "deep": _deep,
    "round": _round,
    "lock": threading.Lock,
}
"""What cannot be stored."""


def give(number: int, what: str) -> Any:
    with witnessed():
        return RESULTS[what]()


def _cyclic() -> Exception:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def _recursion() -> Exception:
    def again() -> None:
        again()

    try:
        again()
    except RecursionError as error:
        return error
    raise AssertionError


ERRORS: dict[str, Callable[[], BaseException]] = {
    "no text": NoText,
    "not made": lambda: NotMade(1, 2),
    "cyclic": _cyclic,
    "huge": lambda: ValueError("x" * (1 << 20)),
    "surrogate": lambda: ValueError("\ud800"),
    "recursion": _recursion,
    "group": lambda: ExceptionGroup("group", [ValueError(1), ExceptionGroup("inner", [_cyclic()])]),
    "generator exit": GeneratorExit,
    "keyboard": KeyboardInterrupt,
}


def fail(number: int, what: str) -> None:
    with witnessed():
        raise ERRORS[what]()


async def fail_in_loop(number: int, what: str) -> None:
    with witnessed():
        raise ERRORS[what]()


def flood(number: int, lines: int) -> list[int]:
    """Prints more than anybody wants to read."""
    with witnessed() as ctx:
        for line in range(lines):
            print(f"{line} {'x' * 200}", file=sys.stderr if line % 2 else sys.stdout)
        return [number, ctx.token]


def enlist(app: Windlass) -> None:
    """Make tasks of them."""

    async def impatient(number: int, rounds: int) -> list[int]:
        """Breaks off calls to the store half way, and asks again at once."""
        with witnessed() as ctx:
            for n in range(rounds):
                try:
                    async with asyncio.timeout(n % 7 * 0.0002):
                        await app.job(ctx.job_id).info()
                except TimeoutError:
                    pass
                told = (await app.job(ctx.job_id).info()).id
                if told != current().job_id:
                    raise AssertionError(f"the store was asked for {ctx.job_id}, and answered {told}")
            return [number, ctx.token]

    for function in (die_in_loop, die_in_thread, block, flood):
        app.task(name=function.__name__)(function)
    for in_child in (die, die_once, leak, deaf_until):
        app.task(name=in_child.__name__, lane="process")(in_child)
    app.task(name="die_at_last", lane="process", crash_limit=1)(die)
    app.task(name="eat", lane="process", memory="120MB", crash_limit=1)(eat)
    app.task(name="eat_in_peace", lane="process", memory="120MB", on_oom=LARGE)(eat_in_peace)
    app.task(name="impatient", retry=ONCE)(impatient)
    app.task(name="give", retry=Retry(attempts=3, first=0))(give)
    app.task(name="give_process", lane="process", retry=Retry(attempts=3, first=0))(give)
    for failing in (fail, fail_in_loop):
        app.task(name=failing.__name__, retry=ONCE)(failing)
    app.task(name="fail_process", lane="process", retry=ONCE)(fail)
    for limited in (hog_loop, hog_thread, deaf_thread, deaf_loop, never_back):
        app.task(name=limited.__name__, timeout=0.5, retry=ONCE)(limited)
    for in_process in (deaf_thread, never_back):
        app.task(name=f"{in_process.__name__}_process", lane="process", timeout=0.5, retry=ONCE)(in_process)
    app.task(name="at_odds", lane="process", timeout=0.5, retry=ONCE)(at_odds)
