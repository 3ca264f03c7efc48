"""What a worker's card tells of its memory and of its last hour: of the pure `Past`, of a tree of processes, of an application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any

import blocking_tasks
import msgspec
import pytest
import worker_tasks
from hypothesis import given
from hypothesis import strategies as st
from trees import producer, tree

from windlass.broker.port import Broker
from windlass.core.job import Card
from windlass.worker import past
from windlass.worker.evidence import resident
from windlass.worker.past import MINUTES, Past
from windlass.worker.runner import working

Until = Callable[..., Any]
MB = 1 << 20
CARD = Card(host="here", pid=1)


def told(beats: Iterable[tuple[float, int, int]]) -> Card:
    """The last card of a process that was so at its beats: seconds, busy slots, MiB."""
    hour, card = Past(), CARD
    for at, busy, held in beats:
        card = hour.told(Card(host="here", pid=1, busy={"loop": busy}), held * MB, 1000.0 + at)
    return card


# --- the decision -------------------------------------------------------------------------------------------


def test_a_minute_is_told_once_it_is_over() -> None:
    first = [(0, 2, 90), (30, 3, 140), (59.9, 3, 100)]
    assert (told(first).rss, told(first).past) == (100 * MB, ())
    assert told([*first, (60, 9, 80)]).past == ((2.7, 140),)
    assert told([*first, (60, 9, 80)]).rss == 80 * MB
    assert told([*first, (60, 9, 80), (119, 0, 80), (120, 5, 5)]).past == ((2.7, 140), (4.5, 80))


def test_the_first_minute_begins_with_the_first_beat() -> None:
    assert told([(7, 1, 1), (66.9, 1, 1)]).past == ()
    assert len(told([(7, 1, 1), (67, 1, 1)]).past) == 1


def test_minutes_without_a_beat_were_like_the_one_before() -> None:
    assert told([(0, 2, 50), (200, 7, 70), (240, 0, 0)]).past == ((2.0, 50),) * 3 + ((7.0, 70),)
    assert told([(0, 2, 50), (1e9, 7, 70)]).past == ((2.0, 50),) * MINUTES


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 99), st.integers(0, 9999)), min_size=1, max_size=90))
def test_it_is_as_long_as_the_process_has_beaten_and_an_hour_at_most(steps: list[tuple[int, int, int]]) -> None:
    times = list(accumulate(pause for pause, _, _ in steps))
    card = told((at, busy, held) for at, (_, busy, held) in zip(times, steps, strict=True))
    assert len(card.past) == min((times[-1] - times[0]) // 60, MINUTES)
    lows, highs = zip(*((min(values), max(values)) for values in list(zip(*steps, strict=True))[1:]), strict=True)
    assert all(low <= value <= high for one in card.past for low, value, high in zip(lows, one, highs, strict=True))


# --- the card -----------------------------------------------------------------------------------------------


def test_a_card_stays_small() -> None:
    slots = {"loop": 1000, "thread": 1000, "process": 1000}
    full = told((60.0 * minute, 999 + minute % 2, 65_000) for minute in range(200))
    card = msgspec.structs.replace(
        full, slots=slots, busy=slots, queues=("default", "media"), version="1.2.3", rss=1 << 36
    )
    assert len(card.past) == MINUTES
    assert len(msgspec.json.encode(card)) < 1500


def test_a_card_of_before_is_still_read() -> None:
    old = b'{"host":"here","pid":1,"queues":["a"],"slots":{"loop":1},"busy":{},"started_at":0.0,"version":"0.4.0","state":"working"}'
    card = msgspec.json.decode(old, type=Card)
    assert (card.rss, card.past) == (0, ())


# --- real ones ----------------------------------------------------------------------------------------------


async def card_of(broker: Broker, pid: int) -> Card | None:
    return next((one.card for one in await broker.workers() if one.card.pid == pid), None)


async def test_the_memory_of_a_runner_that_stands_still_is_told(tmp_path: Path, until: Until) -> None:
    """Its supervisor looks: it needs no word of the runner. A tree of processes counts as one."""
    store = producer(blocking_tasks.app, tmp_path)
    broker = await store.broker()
    with tree(store, tmp_path / "log", "blocking_tasks:app", beat=0.1) as worker:
        job = await store.get_task("blocking_tasks.for_ever").enqueue(str(tmp_path / "go"))
        await until(lambda: "stuck" in worker.said)
        seen = set[int]()

        async def told_anew() -> bool:
            card = await card_of(broker, worker.runners[0])
            assert card is not None
            if card.state == "stuck":
                seen.add(card.rss)
            return bool(seen)

        await until(told_anew)
        assert seen.pop() == pytest.approx(resident(worker.runners[0]), rel=0.2)
        (tmp_path / "go").touch()
        await job.result(timeout=20)
    await store.close()


async def test_what_the_children_hold_counts(tmp_path: Path, until: Until) -> None:
    store = worker_tasks.build(f"sqlite:///{tmp_path}/jobs.db")
    broker = await store.broker()
    with tree(store, tmp_path / "log") as worker:
        await (await store.get_task("worker_tasks.pid_in_process").enqueue()).result(timeout=20)
        before = resident(worker.runners[0])
        await store.get_task("worker_tasks.eat").enqueue(32 * MB)

        async def grown() -> bool:
            card = await card_of(broker, worker.runners[0])
            return card is not None and card.rss > before + 24 * MB

        await until(grown)
    await store.close()


async def test_an_application_tells_of_its_slots(make_app: Any, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "MINUTE", 0.2)
    app, go = make_app(concurrency=7), asyncio.Event()

    @app.task
    async def wait() -> None:
        await go.wait()

    broker = await app.broker()
    async with working(app):
        for _ in range(3):
            await wait.enqueue()

        async def busy() -> bool:
            (worker,) = await broker.workers()
            return any(slots == 3.0 and held > 10 for slots, held in worker.card.past)

        await until(busy)
        go.set()

        async def idle() -> bool:
            (worker,) = await broker.workers()
            return bool(worker.card.past[-1][0] == 0.0)

        await until(idle)
