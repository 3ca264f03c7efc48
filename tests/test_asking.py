"""What a task asks for beside its turn: keys, shares, ageing, told by options and by functions of the arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from windlass import ConfigurationError, Debounce, JobExists, Throttle, Windlass
from windlass.core.job import NewJob
from windlass.core.state import State
from windlass.core.terms import Terms
from windlass.errors import TaskDefinitionError


@dataclass
class Video:
    id: int
    owner: str | None = None


def of_video(video: Video, size: int) -> str:
    return f"{video.id}:{size}"


def of_film(film: int) -> int:
    return film


def owner(video: Video) -> str | None:
    return video.owner


def share(video: Video) -> float:
    return 2 if video.owner == "paying" else 1


def number(n: int) -> int:
    return n


@pytest.fixture
def app() -> Windlass:
    return Windlass("memory://")


def test_a_plain_job_has_no_terms(app: Windlass) -> None:
    @app.task
    async def plain(video: Video) -> None: ...

    assert plain.bind(Video(1)).job.terms is None
    keyed = plain.options(key="k").bind(Video(1)).job
    assert (keyed.key, keyed.terms) == ("k", None)


def test_a_function_of_the_arguments_makes_the_key(app: Windlass) -> None:
    @app.task(key=of_video)
    async def resize(video: Video, size: int = 100, quality: float = 0.5) -> None: ...

    assert resize.bind(Video(7), quality=1.0).job.key == "7:100"
    assert resize.bind(video={"id": 7}, size=3).job.key == "7:3"  # type: ignore[arg-type] # what JSON gives
    assert resize.options(key="mine").bind(Video(7)).job.key == "mine"


@pytest.mark.parametrize(
    ("value", "key"), [(7, "7"), (UUID(int=5), "00000000-0000-0000-0000-000000000005"), ("ä", "ä"), (None, None)]
)
def test_numbers_and_ids_are_keys_and_none_is_no_key(app: Windlass, value: Any, key: str | None) -> None:
    @app.task(key=lambda: value)
    async def task() -> None: ...

    assert task.bind().job.key == key


@pytest.mark.parametrize("value", ["", 1.5, True, ["k"], "a\0b", "k" * 256])
def test_a_function_that_gives_no_text_is_told(app: Windlass, value: Any) -> None:
    @app.task(fair_by=lambda: value)
    async def task() -> None: ...

    with pytest.raises(ConfigurationError, match="fair_by"):
        task.bind()


def test_a_function_asks_for_arguments_that_there_are(app: Windlass) -> None:
    with pytest.raises(ConfigurationError, match=r"key=\.\.\. asks for film, and .*play takes video, loud"):

        @app.task(key=of_film)
        async def play(video: int, loud: bool = False) -> None: ...

    @app.task
    async def stop(video: int) -> None: ...

    with pytest.raises(ConfigurationError, match=r"fair_by=\.\.\. asks for 'film', which is no argument"):
        stop.options(fair_by=of_film).bind(1)


def test_shares_and_ageing(app: Windlass) -> None:
    @app.task(fair_by=owner, weight=share, ageing="1m")
    async def encode(video: Video) -> None: ...

    assert encode.bind(Video(1, "paying")).job.terms == Terms(group="paying", weight=2.0, ageing=60.0)
    assert encode.bind(Video(1, "other")).job.terms == Terms(group="other", ageing=60.0)
    assert encode.bind(Video(1)).job.terms == Terms(ageing=60.0)
    assert encode.options(fair_by="all", weight=0.5).bind(Video(1)).job.terms == Terms(
        group="all", weight=0.5, ageing=60.0
    )


def test_debounce_and_throttle(app: Windlass) -> None:
    @app.task(key="k", debounce=Debounce("30s", longest="5m"))
    async def last() -> None: ...

    @app.task(key="k", throttle=Throttle("1m"))
    async def first() -> None: ...

    def told(job: NewJob) -> tuple[Any, ...]:
        return job.delay, job.terms

    assert told(last.bind().job) == (30.0, Terms(unique="started", replaces=True, latest=300.0))
    assert told(last.options(debounce=Debounce(5), delay=9).bind().job) == (9.0, Terms(unique="started", replaces=True))
    assert told(first.bind().job) == (0.0, Terms(unique="started", unique_for=60.0))
    assert told(first.options(unique="finished").bind().job) == (0.0, Terms(unique_for=60.0))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"unique": "forever", "key": "k"}, "unique is one of 'finished', 'started', not 'forever'"),
        ({"on_conflict": "fight", "key": "k"}, "on_conflict is one of 'return', 'replace', 'raise'"),
        ({"debounce": "30s", "key": "k"}, 'takes a Debounce("30s", longest="5m")'),
        ({"throttle": 60, "key": "k"}, 'takes a Throttle("1m")'),
        ({"weight": 0, "fair_by": "a"}, "weight is a number from 0.001 to 1000"),
        ({"weight": "2", "fair_by": "a"}, "weight is a number"),
        ({"weight": True, "fair_by": "a"}, "weight is a number"),
        ({"fair_by": ""}, "fair_by must be text of 1 to 255"),
        ({"fair_by": 5}, "fair_by must be text of 1 to 255"),
        ({"ageing": 0}, "ageing must be more than 0"),
        ({"ageing": "soon"}, "is no duration"),
        ({"unique": "started"}, "give a key=..., too"),
        ({"on_conflict": "raise"}, "give a key=..., too"),
        ({"throttle": Throttle(1)}, "give a key=..., too"),
        ({"weight": 2}, "give a fair_by=..., too"),
        ({"throttle": Throttle(1), "debounce": Debounce(1), "key": "k"}, "give one of them"),
    ],
)
def test_what_makes_no_sense_is_told(app: Windlass, options: dict[str, Any], said: str) -> None:
    @app.task
    async def task() -> None: ...

    with pytest.raises(ConfigurationError) as refused:
        task.options(**options).bind()
    assert said in str(refused.value)


def test_nonsense_in_a_decorator_is_told_at_once(app: Windlass) -> None:
    with pytest.raises(ConfigurationError, match="unique is one of"):

        @app.task(unique="forever")  # type: ignore[call-overload, untyped-decorator] # which a type checker would say
        async def task() -> None: ...

    assert not issubclass(JobExists, TaskDefinitionError)


async def test_on_conflict(app: Windlass) -> None:
    @app.task(key="k")
    async def note(text: str) -> None: ...

    first = await note.enqueue("first")
    second = await note.options(on_conflict="return").enqueue("second")
    assert (second.id, first.fresh, second.fresh) == (first.id, True, False)
    with pytest.raises(
        JobExists, match=f"the job {first.id} has the key of this call of .*note; nothing was stored"
    ) as told:
        await note.options(on_conflict="raise").enqueue("third")
    assert told.value.job_id == first.id
    assert note.options(on_conflict="raise", key="other").delay("with another key").fresh
    with pytest.raises(JobExists):
        note.options(on_conflict="raise").delay("the sync twin")
    assert b"first" in (await first.info()).body
    replaced = await note.options(on_conflict="replace").enqueue("last")
    assert (replaced.id, replaced.fresh) == (first.id, False)
    assert b"last" in (await first.info()).body


async def test_of_bound_calls_the_handle_tells(app: Windlass) -> None:
    @app.task(key=number, on_conflict="raise")
    async def task(n: int) -> None: ...

    handles = await app.enqueue_many(task.bind(n % 2) for n in range(4))
    assert [handle.fresh for handle in handles] == [True, True, False, False]
    await task.enqueue(3)


async def test_debounced_by_its_arguments(app: Windlass) -> None:
    @app.task(key=number, debounce=Debounce("30s"))
    async def index(n: int, text: str) -> None: ...

    one, two = await index.enqueue(1, "a"), await index.enqueue(2, "b")
    again = await index.enqueue(1, "c")
    assert (again == one, again == two, again.fresh) == (True, False, False)
    seen = await one.info()
    assert (seen.state, b'"c"' in seen.body) == (State.SCHEDULED, True)
