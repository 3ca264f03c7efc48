from __future__ import annotations

from typing import Any

import pytest

from windlass import Batch, ConfigurationError, Windlass
from windlass.core.batch import joined, parted, together
from windlass.core.outcome import ErrorInfo, Raised, Rejected, Said, Succeeded, Unknown
from windlass.core.secret import Values
from windlass.errors import InvalidArguments, TaskDefinitionError


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": 0}, "size=...) is a whole number, at least 1, not 0"),
        ({"size": 2.5}, "size=...) is a whole number"),
        ({"size": 2, "runs": 0}, "runs=...) is a whole number"),
        ({"size": 2, "wait": "soon"}, "soon"),
        ({"size": 2, "by": "name"}, "by=...) is a function of an item, not 'name'"),
    ],
)
def test_a_batch_that_makes_no_sense_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Batch(**wrong)
    assert said in str(caught.value)


def test_what_can_be_no_batch_is_refused() -> None:
    app = Windlass("memory://")
    batch = Batch(size=2)

    async def two(a: list[int], b: list[int]) -> list[int]:
        return a + b

    async def none() -> list[int]:
        return []

    async def many(*items: list[int]) -> list[int]:
        return [*map(len, items)]

    async def one(item: int) -> list[int]:
        return [item]

    async def bare(items: list) -> list[int]:  # type: ignore[type-arg]  # that is the test
        return items

    async def sole(items: list[int]) -> int:
        return len(items)

    for function, said in (
        (two, "takes one parameter, a list of items"),
        (none, "takes one parameter"),
        (many, "takes one parameter"),
        (one, "its parameter 'item' is annotated as list"),
        (bare, "its parameter 'items' is annotated as list"),
        (sole, "its result is annotated as list"),
    ):
        with pytest.raises(TaskDefinitionError, match=said):
            app.task(batch=batch)(function)
    with pytest.raises(TaskDefinitionError, match=r"batch=... takes a Batch\(size=...\), not 8"):
        app.task(batch=8)(sole)  # type: ignore[call-overload]  # that is the test


async def test_an_item_is_checked_as_any_argument() -> None:
    app = Windlass("memory://")

    @app.task(batch=Batch(size=2))
    async def double(numbers: list[int]) -> list[int]:
        return [2 * number for number in numbers]

    with pytest.raises(InvalidArguments, match="numbers"):
        await double.enqueue("seven")  # type: ignore[arg-type]  # that is the test
    with pytest.raises(InvalidArguments):
        await double.enqueue([7])  # type: ignore[arg-type]  # that is the test
    assert (await (await double.enqueue(7)).info()).lane == f"loop:{double.name}"
    assert await double([1, 2]) == [2, 4]


def test_the_endings_of_jobs_are_told_in_one_and_taken_apart_again() -> None:
    endings = [
        Succeeded(b"\xff"),
        Raised(ErrorInfo("exception", "E", "m"), ("a.B",)),
        Said("snooze", 3.0),
        Unknown("why"),
    ]
    assert parted(joined(endings), 4) == endings
    assert joined(endings[:1]) is endings[0]
    assert parted(endings[0], 1) == endings[:1]
    rejected = Rejected(ErrorInfo("result", "E", "m"))
    assert parted(rejected, 3) == [rejected] * 3


def test_what_is_secret_in_one_job_is_so_in_the_run() -> None:
    jobs = [Values({"items": [name]}, {"items"}, [name]) for name in ("first", "second")]
    found = together(list(jobs))
    assert isinstance(found, Values)
    assert (dict(found), found.secrets, found.shown()) == (
        {"items": ["first", "second"]},
        ["first", "second"],
        {"items": "[secret]"},
    )
