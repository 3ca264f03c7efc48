"""`Limit` as a program says it, and what a run says of its limits."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from windlass import ConfigurationError, Context, Depends, InvalidArguments, Limit, Retry, RetryAfter, Windlass
from windlass.core.gates import uses_of
from windlass.core.state import State
from windlass.core.terms import Terms, Use
from windlass.errors import TaskDefinitionError
from windlass.limit import LONGEST_KEY
from windlass.worker.runner import working


@pytest.fixture
def app() -> Windlass:
    return Windlass("memory://")


TOKENS = Limit("tokens", rate="600/m", burst=100, key=lambda owner: owner, units=lambda prompt: 1.0 * len(prompt))


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        ("60/m", (1.0, 60)),
        ("10/s", (10.0, 10)),
        ("1.5 / h", (1.5 / 3600, 1.5)),
        ("5/10s", (0.5, 5)),
        ("1/100ms", (10, 1)),
    ],
)
def test_a_rate_is_written_as_people_say_it(rate: str, expected: tuple[float, float]) -> None:
    limit = Limit("a", rate=rate)
    assert (limit.rate, limit.burst) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "limits nothing"),
        ({"rate": "fast"}, "is no rate"),
        ({"rate": "0/s"}, "is no rate"),
        ({"rate": "5/0s"}, "is no rate"),
        ({"rate": 60}, "is no rate"),
        ({"burst": 5, "running": 1}, "needs a rate"),
        ({"running": 0}, "more than 0"),
        ({"running": "two"}, "more than 0"),
        ({"rate": "1/s", "burst": -1}, "more than 0"),
        ({"rate": "1/s", "burst": 5, "units": 6}, "can never pass burst=5"),
        ({"running": 2, "units": 2.5}, "can never pass running=2"),
        ({"running": 2, "units": -1}, "from 0 on"),
        ({"running": 2, "units": nan}, "from 0 on"),
    ],
)
def test_what_cannot_be_is_said_at_once(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Limit("a", **given)


@pytest.mark.parametrize("name", ["", "a\x1fb", "x" * (LONGEST_KEY + 1)])
def test_a_name_is_printable(name: str) -> None:
    with pytest.raises(ConfigurationError, match="printable"):
        Limit(name, running=1)


def test_a_task_is_checked_where_it_is_defined(app: Windlass) -> None:
    def task(owner: str) -> None: ...

    with pytest.raises(TaskDefinitionError, match="asks for prompt"):
        app.task(limits=[TOKENS])(task)
    with pytest.raises(TaskDefinitionError, match="twice"):
        app.task(limits=[Limit("a", running=1), Limit("a", rate="1/s")])(task)
    with pytest.raises(TaskDefinitionError, match="two ordered"):
        app.task(limits=[Limit("a", ordered=True), Limit("b", ordered=True)])(task)
    with pytest.raises(TaskDefinitionError, match="holds Limit"):
        app.task(limits=["a"])(task)  # type: ignore[list-item]  # as somebody without a checker would


def test_key_and_units_come_from_the_arguments(app: Windlass) -> None:
    @app.task(limits=[TOKENS, Limit("all", running=3)])
    async def generate(prompt: str, owner: str = "nobody") -> None: ...

    job = generate.bind("four", owner="alice").job
    expected = Use("tokens", "alice", 4.0, inf, 10.0, 100), Use("all", "", 1.0, 3)
    assert job.terms == Terms(uses=expected)
    assert uses_of(generate.bind("x").job.terms)[0].key == "nobody"
    with pytest.raises(InvalidArguments, match="can never pass burst=100"):
        generate.bind("x" * 101)
    with pytest.raises(InvalidArguments, match="a key is text"):
        generate.bind("x", owner="a\nb")


def test_a_queue_has_a_limit(app: Windlass) -> None:
    app.queue_limits["mail"] = [Limit("mail", rate="10/m", running=2), Limit("to", running=1, key=lambda to: to)]

    @app.task
    async def send(to: str) -> None: ...

    @app.task(queue="mail")
    async def ping() -> None: ...

    with pytest.raises(ConfigurationError, match="asks for to, and the task has no arguments"):
        ping.bind()
    assert send.bind("a").job.terms is None
    assert send.options(queue="mail").bind("a").job.terms == Terms(
        uses=(Use("mail", "", 1.0, 2, 10 / 60, 10), Use("to", "a", running=1))
    )


async def test_what_a_run_says_counts_with_its_outcome(app: Windlass) -> None:
    @app.task(limits=[TOKENS])
    async def generate(prompt: str, owner: str, context: Context = Depends()) -> None:
        context.used("tokens", 1)
        context.used("tokens", 150)
        with pytest.raises(InvalidArguments):
            context.used("tokens", -1)

    async with working(app):
        job = await generate.enqueue("x" * 50, "alice")
        await job.result(timeout=10)
        (found,) = await (await app.broker()).limits([("tokens", "alice")])
    assert found.level is not None
    assert -50 <= found.level < 50


@pytest.mark.parametrize("lane", ["loop", "thread"])
async def test_retry_after_closes_the_gate(app: Windlass, lane: str) -> None:
    limit = Limit("openai", running=5, key=lambda owner: owner)

    def ask(owner: str) -> None:
        raise RetryAfter("1h", limit="openai")

    async def ask_async(owner: str) -> None:
        ask(owner)

    task = app.task(limits=[limit], retry=Retry(attempts=2))(ask_async if lane == "loop" else ask)  # type: ignore[arg-type]  # either
    async with working(app):
        job = await task.enqueue("alice")
        async for event in job.events():
            if event.kind == "state" and event.data is State.SCHEDULED:
                break
        (found,) = await (await app.broker()).limits([("openai", "alice")])
        assert found.closed_until is not None
        waits = await task.enqueue("alice")
        assert (await waits.info()).state is State.WAITING
        other = await task.enqueue("bob")
        assert (await other.info()).state is not State.WAITING
