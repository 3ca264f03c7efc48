"""What can be a task, what its name is, and what its decorator refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from windlass import ConfigurationError, Context, Depends, InvalidArguments, Retry, Windlass
from windlass.errors import DuplicateTask, TaskDefinitionError, UnknownTask
from windlass.options import Options

if TYPE_CHECKING:
    from decimal import Decimal


@pytest.fixture
def app() -> Windlass:
    return Windlass("memory://")


def work(number: int = 1) -> int:
    """Doubles."""
    return number * 2


async def async_work(number: int = 1) -> int:
    return number * 2


# --- names --------------------------------------------------------------------------------------------------


def test_a_task_is_called_as_its_module_and_function(app: Windlass) -> None:
    assert app.task(work).name == "test_definition.work"
    assert list(app.definitions) == ["test_definition.work"]


def test_a_task_can_be_given_a_name(app: Windlass) -> None:
    assert app.task(name="media.work")(work).name == "media.work"


def test_a_nested_function_has_a_name_without_noise(app: Windlass) -> None:
    @app.task
    def inner() -> None: ...

    assert inner.name == "test_definition.test_a_nested_function_has_a_name_without_noise.inner"


@pytest.mark.parametrize(
    ("arguments", "folder"), [(["jobs.py"], "."), (["-m", "pack.jobs"], "."), (["-m", "pack"], ".")]
)
def test_a_script_run_as_main_has_the_name_that_a_worker_gives_it(
    tmp_path: Path, arguments: list[str], folder: str
) -> None:
    """Producer (`python jobs.py`) and worker (`windlass worker jobs`) must agree."""
    program = "from windlass import Windlass\n@Windlass('memory://').task\ndef work(): ...\nprint(work.name)\n"
    (tmp_path / "pack").mkdir()
    for name in ("jobs.py", "pack/jobs.py", "pack/__init__.py", "pack/__main__.py"):
        (tmp_path / name).write_text("" if name.endswith("__init__.py") else program)
    done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = {"jobs.py": "jobs.work", "pack.jobs": "pack.jobs.work", "pack": "pack.work"}[arguments[-1]]
    assert done.stdout.strip() == expected


def test_two_functions_with_one_name_are_refused_with_both_places(app: Windlass) -> None:
    app.task(name="work")(work)
    with pytest.raises(
        DuplicateTask, match=r"two tasks are called 'work': .*test_definition.py:\d+ and .*:\d+; give one a name"
    ):
        app.task(name="work")(async_work)


def test_the_same_function_seen_twice_is_one_task(app: Windlass) -> None:
    """A module that is imported under two names registers its tasks twice."""
    app.task(work)
    app.task(work)
    assert len(app.definitions) == 1


def test_an_unknown_task_is_reported_with_near_misses(app: Windlass) -> None:
    task = app.task(work)
    assert app.get_task("test_definition.work").definition is task.definition
    with pytest.raises(UnknownTask, match=r"no task 'other.work'; did you mean test_definition.work\?"):
        app.get_task("other.work")
    with pytest.raises(UnknownTask, match=r"no task 'nothing'$"):
        app.get_task("nothing")


# --- what is no task ----------------------------------------------------------------------------------------


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


class Callable_:
    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda: 1, "a lambda has no stable name"),
        (generator, "generator yields; a task returns its result"),
        (async_generator, "async_generator yields; a task returns its result"),
        (Callable_, "decorates a function"),
        (Callable_(), "decorates a function"),
        (partial(work, 1), "decorates a function"),
        (len, "decorates a function"),
        (3, "decorates a function"),
    ],
)
def test_what_is_no_task_is_refused(app: Windlass, function: Any, said: str) -> None:
    with pytest.raises(TaskDefinitionError) as refused:
        app.task(function)
    assert said in str(refused.value)
    assert app.definitions == {}


def test_a_lambda_with_a_name_is_a_task(app: Windlass) -> None:
    assert app.task(name="one")(lambda: 1)() == 1


# --- lanes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "given", "lane"),
    [
        (work, None, "thread"),
        (work, "thread", "thread"),
        (work, "process", "process"),
        (async_work, None, "loop"),
        (async_work, "loop", "loop"),
        (async_work, "process", "process"),
    ],
)
def test_the_lane_follows_the_kind_of_function(
    app: Windlass, function: Callable[..., Any], given: Any, lane: str
) -> None:
    task = app.task(lane=given)(function)
    assert task.definition.lane == task.bind().job.lane == lane


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (work, {"lane": "gpu"}, "lane is one of loop, thread, process, not 'gpu'"),
        (work, {"lane": "loop"}, 'plain def and would block lane "loop"; use "thread" or "process"'),
        (async_work, {"lane": "thread"}, 'async def; use lane "loop" or "process"'),
        (work, {"memory": "1GB"}, 'memory=... can only be enforced in lane "process"'),
        (work, {"lane": "process", "memory": "much"}, "'much' is no size"),
        (work, {"crash_limit": 0}, "crash_limit is at least 1"),
        (work, {"on_oom": "big"}, 'on_oom=... needs lane "process"'),
        (work, {"lane": "process", "on_oom": ""}, "text of 1 to 255 characters, not ''"),
        (work, {"lane": "process", "on_oom": "b" * 256}, "text of 1 to 255 characters"),
        (work, {"lane": "process", "on_oom": 7}, "text of 1 to 255 characters, not 7"),
        (work, {"lane": "process", "on_oom": "big", "queue": "big"}, "is its own queue"),
        (work, {"lane": "process", "on_oom": "default"}, "is its own queue"),
    ],
)
def test_a_lane_that_cannot_be_is_refused(app: Windlass, function: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        app.task(**options)(function)
    assert said in str(refused.value)


def test_memory_does_not_hold_in_the_queue_for_what_is_too_big(app: Windlass) -> None:
    definition = app.task(lane="process", memory="1GB", on_oom="big")(work).definition
    assert (definition.on_oom, definition.memory_in("default"), definition.memory_in("big")) == ("big", 1 << 30, None)


def test_memory_is_a_size(app: Windlass) -> None:
    assert app.task(lane="process", memory="1GB")(work).definition.memory == 1 << 30


# --- annotations --------------------------------------------------------------------------------------------


def forward(item: Later) -> Later:
    return item


def imported_for_checkers_only(price: Decimal) -> None: ...


class Holder(BaseModel):
    item: Later | None = None


def forward_inside(holder: Holder) -> None: ...


def unstorable(connection: Callable_) -> None: ...


def unstorable_result() -> Callable_: ...


def test_forward_references_are_looked_up_when_the_task_is_first_used(app: Windlass) -> None:
    global Later
    first, second = app.task(forward), app.task(forward_inside)
    with pytest.raises(
        TaskDefinitionError, match=r"forward: an annotation names 'Later', which its module does not have"
    ):
        first.bind({"size": 1})

    class Later(BaseModel):
        size: int

    assert first.bind({"size": "1"}).job.body == b'{"args":{"item":{"size":1}},"v":1}'
    assert second.bind({"item": {"size": 2}}).job.body == b'{"args":{"holder":{"item":{"size":2}}},"v":1}'


def test_a_name_for_checkers_only_says_what_to_do(app: Windlass) -> None:
    task = app.task(imported_for_checkers_only)
    with pytest.raises(TaskDefinitionError, match=r"names 'Decimal'.*import it outside of TYPE_CHECKING"):
        task.bind(1)


@pytest.mark.parametrize("function", [unstorable, unstorable_result])
def test_a_type_without_a_stored_form_is_refused_at_the_decorator(app: Windlass, function: Callable[..., Any]) -> None:
    with pytest.raises(
        TaskDefinitionError, match=r"Callable_.*use a pydantic model, .* inject live objects with Depends"
    ):
        app.task(function)
    assert app.definitions == {}


def test_an_injected_parameter_may_have_any_type_and_is_not_for_callers(app: Windlass) -> None:
    @app.task
    def task(number: int, connection: Callable_ = Depends(Callable_), ctx: Context = Depends()) -> None: ...

    assert task.bind(1).job.body == b'{"args":{"number":1},"v":1}'
    with pytest.raises(InvalidArguments, match="connection: Extra inputs are not permitted"):
        task.bind(1, connection=Callable_())


# --- options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"priority": 10}, "priority is 0 to 9"),
        ({"priority": -1}, "priority is 0 to 9"),
        ({"priority": "high"}, "priority is 0 to 9"),
        ({"queue": ""}, "queue must be text of 1 to 255"),
        ({"queue": "q" * 256}, "queue must be text of 1 to 255"),
        ({"timeout": 0}, "timeout must be more than 0"),
        ({"timeout": "soon"}, "'soon' is no duration"),
        ({"retry": 3}, "takes a Retry"),
        ({"keep": -1}, "a duration is 0 seconds to 100 years"),
        ({"expires": float("inf")}, "a duration is 0 seconds to 100 years"),
        ({"timeout": 1e300}, "to 100 years, not 1e+300"),
        ({"keep": "40000d"}, "to 100 years, not '40000d'"),
        ({"meta": {"a": 1}}, "meta holds small text tags"),
        ({"meta": "a=b"}, "meta holds small text tags"),
        ({"retries": 3}, "there is no option 'retries'"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_the_decorator(
    app: Windlass, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        app.task(**options)(work)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key": ""}, "key must be text of 1 to 255"),
        ({"key": 42}, "key must be text of 1 to 255"),
        ({"key": "a\0b"}, "not every store can keep"),
        ({"key": "a\ud800"}, "not every store can keep"),
        ({"at": datetime(2030, 1, 1)}, "is no datetime with a time zone"),
        ({"at": "tomorrow"}, "is no datetime with a time zone"),
        ({"delay": "1 fortnight"}, "is no duration"),
        ({"delay": -1}, "0 seconds to 100 years, not -1"),
        ({"delay": 1e300}, "0 seconds to 100 years, not 1e+300"),
        ({"expires": "5300w"}, "0 seconds to 100 years, not '5300w'"),
        ({"at": datetime(2200, 1, 1, tzinfo=UTC)}, "before the year 2200"),
    ],
)
def test_options_of_a_call_that_make_no_sense_are_refused(app: Windlass, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        app.task(work).options(**options)
    assert said in str(refused.value)


def test_the_nearer_option_wins_and_tags_are_joined() -> None:
    wide = Options.parse(
        queue="wide", priority=1, timeout="1m", meta={"a": "wide", "b": "wide"}, retry=Retry(attempts=9)
    )
    near = Options.parse(priority=0, delay=timedelta(seconds=5), meta={"a": "near"})
    assert near.over(wide) == Options(
        queue="wide", priority=0, delay=5.0, timeout=60.0, retry=Retry(attempts=9), meta={"a": "near", "b": "wide"}
    )
