"""The body of a job: what goes in comes out the same, or is refused where it is sent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple, Optional, Union
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr
from typing_extensions import TypedDict

from windlass import Retry
from windlass.core.codecs import Arguments, Result
from windlass.core.payload import packer, policy_of, unpack
from windlass.depends import hints_of
from windlass.errors import InvalidArguments, PayloadTooLarge, TaskDefinitionError, Undecodable

LIMIT = 1 << 20


class Colour(Enum):
    RED = "red"
    GREEN = 2
    HALF = 0.5


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Level(IntEnum):
    LOW = 1
    HIGH = 9


@dataclass
class Point:
    x: float
    y: float
    name: str = ""
    data: bytes = b""


class Preset(BaseModel):
    height: int
    codec: str = "h264"
    colours: list[Colour] = []
    at: datetime | None = None


class Pair(NamedTuple):
    left: int
    right: str


class Options(TypedDict, total=False):
    deep: dict[str, list[int]]


moments = st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=45))]))
text = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.floats(allow_nan=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
points = st.builds(Point, numbers, numbers, text, st.binary())
presets = st.builds(
    Preset, height=st.integers(), codec=text, colours=st.lists(st.sampled_from(Colour)), at=st.none() | moments
)

SUPPORTED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers(-(10**300), 10**300)),
    (float, numbers),
    (str, text),
    (bytes, st.binary()),
    (bool, st.booleans()),
    (None, st.none()),
    (datetime, moments),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, st.timedeltas()),
    (UUID, st.uuids()),
    (Path, st.from_regex(r"[\w./ ]{1,40}", fullmatch=True).map(Path)),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (Colour, st.sampled_from(Colour)),
    (Size, st.sampled_from(Size)),
    (Level, st.sampled_from(Level)),
    (Literal["a", 3, None], st.sampled_from(["a", 3, None])),
    (Point, points),
    (Preset, presets),
    (Pair, st.builds(Pair, st.integers(), text)),
    (Options, st.fixed_dictionaries({}, optional={"deep": st.dictionaries(text, st.lists(st.integers()))})),
    (list[int], st.lists(st.integers())),
    (dict[str, list[Decimal]], st.dictionaries(text, st.lists(st.decimals(allow_nan=False, allow_infinity=False)))),
    (dict[int, bytes], st.dictionaries(st.integers(), st.binary())),
    (dict[Size, Point], st.dictionaries(st.sampled_from(Size), points)),
    (tuple[int, str], st.tuples(st.integers(), text)),
    (tuple[UUID, ...], st.lists(st.uuids()).map(tuple)),
    (set[date], st.sets(st.dates())),
    (frozenset[bytes], st.frozensets(st.binary())),
    (list[tuple[Path, set[int]]], st.lists(st.tuples(st.just(Path("a")), st.sets(st.integers())))),
    (Optional[bytes], st.none() | st.binary()),  # noqa: UP045 # both spellings of an optional are to work
    (Union[int, str], st.integers() | text),  # noqa: UP007 # and both of a union
    (Point | Preset | None, st.none() | points | presets),
    (list[Point] | dict[str, Preset], st.lists(points) | st.dictionaries(text, presets)),
    (Any, json_values),
    (dict, st.dictionaries(text, json_values)),
    (list, st.lists(json_values)),
    (dict[str, Any], st.dictionaries(text, json_values)),
]
each_supported = pytest.mark.parametrize(("hint", "values"), SUPPORTED, ids=[str(hint) for hint, _ in SUPPORTED])


def codec(function: Callable[..., Any], *hidden: str) -> Arguments:
    """The codec of a function's arguments, as a task has it."""
    return Arguments("t", function, hints_of(function), frozenset(hidden))


def one(hint: Any) -> Arguments:
    """The codec of one argument `x`."""

    def function(x: Any) -> None: ...

    return Arguments("t", function, {"x": hint}, frozenset())


# --- round trips --------------------------------------------------------------------------------------------


@each_supported
def test_arguments_arrive_as_they_were_sent(hint: Any, values: st.SearchStrategy[Any]) -> None:
    arguments = one(hint)

    @settings(max_examples=40, deadline=None)
    @given(values)
    def check(value: Any) -> None:
        arrived = arguments.decode(unpack(packer()(arguments.encode((value,), {}, LIMIT))).args)["x"]
        assert arrived == value
        assert type(arrived) is type(value)

    check()


@each_supported
def test_results_arrive_as_they_were_returned(hint: Any, values: st.SearchStrategy[Any]) -> None:
    result = Result("t", hint)

    @settings(max_examples=40, deadline=None)
    @given(values)
    def check(value: Any) -> None:
        arrived = result.decode(result.encode(value, LIMIT))
        assert arrived == value
        assert type(arrived) is type(value)

    check()


@pytest.mark.parametrize("hint", [float, float | None, list[float], dict[str, float], Point])
def test_not_a_number_arrives(hint: Any) -> None:
    value = {float: math.nan, float | None: math.nan, list[float]: [math.nan], dict[str, float]: {"a": math.nan}}.get(
        hint, Point(math.nan, -math.inf)
    )
    arrived = one(hint).decode(one(hint).encode((value,), {}, LIMIT))["x"]
    assert repr(arrived) == repr(value)
    assert repr(Result("t", hint).decode(Result("t", hint).encode(value, LIMIT))) == repr(value)


def test_values_are_converted_by_the_annotations_where_they_are_sent() -> None:
    def function(height: int, at: datetime, video: Path, point: Point) -> None: ...

    arguments = codec(function)
    data = arguments.encode(("720", "2024-05-01T10:00:00Z", "a.mp4", {"x": 1, "y": 2}), {}, LIMIT)
    assert arguments.decode(data) == {
        "height": 720,
        "at": datetime(2024, 5, 1, 10, tzinfo=UTC),
        "video": Path("a.mp4"),
        "point": Point(1, 2),
    }


def test_a_parameter_may_have_any_name() -> None:
    def function(type: int, dict: str, items: list[int]) -> None: ...

    arguments = codec(function)
    assert arguments.decode(arguments.encode((1, "a", [2]), {}, LIMIT)) == {"type": 1, "dict": "a", "items": [2]}


# --- every kind of parameter --------------------------------------------------------------------------------


def called(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], **injected: Any) -> Any:
    """What the function answers when its arguments have travelled."""
    arguments = codec(function, *injected)
    positional, named = arguments.arrange(arguments.decode(arguments.encode(args, kwargs, LIMIT)), injected)
    return function(*positional, **named)


def plain(a: int, b: str = "b", *, c: float = 0.5) -> Any:
    return a, b, c


def positional_only(a: int, b: int = 2, /, c: int = 3) -> Any:
    return a, b, c


def variadic(first: int, *rest: int, named: str = "n", **others: float) -> Any:
    return first, rest, named, others


def clashing(a: int, /, **others: int) -> Any:
    return a, others


def injected_in_the_middle(a: int, ctx: Any = None, *rest: int, flag: bool = False, **others: int) -> Any:
    return a, ctx, rest, flag, others


def injected_first(ctx: Any = None, /, a: int = 1) -> Any:
    return ctx, a


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (plain, (1,), {}),
        (plain, (1, "x"), {"c": 2}),
        (plain, (), {"b": "y", "a": 3}),
        (positional_only, (1,), {}),
        (positional_only, (1, 5, 6), {}),
        (positional_only, (1,), {"c": 7}),
        (variadic, (1,), {}),
        (variadic, (1, 2, 3), {"named": "x", "other": 0.5}),
        (clashing, (1,), {"a": 2}),
    ],
)
def test_a_call_that_travelled_is_the_call_that_was_made(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    assert called(function, args, kwargs) == function(*args, **kwargs)


def test_injected_parameters_do_not_travel_and_take_no_place_of_others() -> None:
    assert called(injected_in_the_middle, (1,), {}, ctx="here") == (1, "here", (), False, {})
    assert called(injected_in_the_middle, (1, 2, 3), {"flag": True, "z": 4}, ctx="here") == (
        1,
        "here",
        (2, 3),
        True,
        {"z": 4},
    )
    assert called(injected_first, (), {"a": 5}, ctx="here") == ("here", 5)
    assert called(injected_first, (6,), {}, ctx="here") == ("here", 6)


def test_a_default_is_not_stored() -> None:
    """The function of the day on which the job runs says what its default is."""
    assert codec(plain).encode((1,), {}, LIMIT) == b'{"a":1}'


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "said"),
    [
        (plain, (), {}, "a: Field required"),
        (plain, (1, "b", 3), {}, "too many positional arguments"),
        (plain, (1,), {"d": 2}, "d: Extra inputs are not permitted"),
        (plain, (1,), {"a": 2}, "multiple values for argument 'a'"),
        (plain, ("one",), {}, "a: Input should be a valid integer"),
        (plain, (1,), {"c": "much"}, "c: Input should be a valid number"),
        (positional_only, (), {"a": 1}, "positional"),
        (variadic, (1, "two"), {}, "rest.0: Input should be a valid integer"),
        (variadic, (1,), {"x": "y"}, "others.x: Input should be a valid number"),
        (variadic, (), {}, "missing a required"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidArguments, match=r"^t") as refused:
        codec(function).encode(args, kwargs, LIMIT)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


# --- refusals -----------------------------------------------------------------------------------------------


class Opaque:
    """Something that has no JSON form."""


class Strict(BaseModel):
    share: float


class Tupled(Enum):
    A = (1, 2)


def circular() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "value",
    [Opaque(), object, len, lambda: 1, circular(), "\ud800", {Opaque(): 1}],
    ids=["object", "class", "builtin", "lambda", "circle", "half a pair", "object as key"],
)
def test_what_has_no_json_form_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArguments, match="cannot be stored as JSON"):
        one(Any).encode((value,), {}, LIMIT)
    with pytest.raises(InvalidArguments, match="cannot be stored as JSON"):
        Result("t", Any).encode(value, LIMIT)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Any, datetime(2024, 5, 1)),
        (Any, b"bytes"),
        (Any, (1, 2)),
        (Any, {1: "a"}),
        (Any, Path("a")),
        (Any, math.nan),
        (Any, math.inf),
        (Any, Point(1, 2)),
        (Any, Preset(height=1)),
        (Any, [{"deep": {1, 2}}]),
        (list, [Decimal("1.5")]),
        (dict, {"at": date(2024, 5, 1)}),
        (float | str, math.inf),
        (bytes | str, "YWI="),
        (Path | str, "a.mp4"),
        (SecretStr, SecretStr("hunter2")),
        (Iterable[int], [1, 2]),
    ],
    ids=repr,
)
def test_what_would_not_arrive_as_it_was_sent_is_refused(hint: Any, value: Any) -> None:
    with pytest.raises(InvalidArguments, match=r"^t: x would not arrive as it was sent"):
        one(hint).encode((value,), {}, LIMIT)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Strict, Strict(share=math.nan)),
        (Tupled, Tupled.A),
        (int, 10**5000),
        (dict[tuple[int, int], int], {(1, 2): 3}),
        (dict[None, int], {None: 1}),
    ],
    ids=["model with NaN", "enum of tuples", "5001 digits", "keys of tuples", "None as key"],
)
def test_what_could_not_be_read_back_is_refused_and_not_parked_later(hint: Any, value: Any) -> None:
    with pytest.raises(InvalidArguments, match="could not be read back"):
        one(hint).encode((value,), {}, LIMIT)
    with pytest.raises(InvalidArguments, match="could not be read back"):
        Result("t", hint).encode(value, LIMIT)


def test_plain_subclasses_may_arrive_as_what_they_extend() -> None:
    assert one(Any).decode(one(Any).encode(([Size.LARGE, Level.HIGH],), {}, LIMIT)) == {"x": ["large", 9]}


def test_not_a_number_beside_an_any_is_no_reason_to_refuse() -> None:
    def function(anything: Any, share: float) -> None: ...

    data = codec(function).encode(({"a": 1}, math.nan), {}, LIMIT)
    assert math.isnan(codec(function).decode(data)["share"])


def test_too_large_arguments_are_refused_with_the_limit_named() -> None:
    with pytest.raises(
        PayloadTooLarge, match=r"1,000,008 bytes, over the limit max_payload = 1,000,000; store the data"
    ):
        one(str).encode(("x" * 1_000_000,), {}, 1_000_000)
    assert len(one(str).encode(("x" * 999_992,), {}, 1_000_000)) == 1_000_000


def test_too_large_results_are_refused_with_the_limit_named() -> None:
    with pytest.raises(PayloadTooLarge, match=r"the result takes 1,002 bytes, over the limit max_payload = 1,001"):
        Result("t", str).encode("x" * 1000, 1001)


def test_a_result_that_does_not_fit_its_annotation_says_so() -> None:
    with pytest.raises(
        InvalidArguments, match="the result does not fit the annotation: value: Input should be a valid int"
    ):
        Result("t", int).encode("many", LIMIT)


def test_a_result_without_a_type_becomes_what_json_makes_of_it() -> None:
    """The work is done; a converted result is worth more than a failed job."""
    assert Result("t", Any).decode(Result("t", Any).encode((1, {2}), LIMIT)) == [1, [2]]


@pytest.mark.parametrize("hint", [Opaque, list[Opaque], bytearray])
def test_an_annotation_without_a_json_form_is_refused_at_the_definition(hint: Any) -> None:
    with pytest.raises(TaskDefinitionError, match=r"^t: .*; use a pydantic model, .* inject live objects with Depends"):
        one(hint)
    with pytest.raises(TaskDefinitionError, match=r"^t: "):
        Result("t", hint)


# --- the envelope -------------------------------------------------------------------------------------------


def test_an_envelope_without_options_is_short() -> None:
    assert packer()(b'{"a":1}') == packer(meta={})(b'{"a":1}') == b'{"args":{"a":1},"v":1}'
    assert bytes(unpack(packer()(b'{"a":1}')).args) == b'{"a":1}'


@settings(deadline=None)
@given(
    st.none() | st.floats(0, 1e9, exclude_min=True),
    st.none() | st.builds(Retry, st.integers(1, 99), most=st.floats(0, 1e6), on=st.just((OSError, "some.Error"))),
    st.dictionaries(text, text),
)
def test_options_travel_in_the_envelope(timeout: float | None, retry: Retry | None, meta: dict[str, str]) -> None:
    envelope = unpack(packer(timeout=timeout, retry=retry, meta=meta)(b"{}"))
    assert envelope.timeout == timeout
    assert envelope.meta == meta
    assert policy_of(envelope, Retry(attempts=7)) == (retry or Retry(attempts=7))


def test_an_envelope_of_a_newer_version_is_not_understood() -> None:
    with pytest.raises(Undecodable, match=r"version 2, this Windlass reads up to 1: upgrade the worker"):
        unpack(b'{"args":{},"v":2}')


def test_fields_that_only_a_newer_windlass_knows_are_ignored() -> None:
    assert unpack(b'{"args":{},"v":1,"colour":"blue"}') == unpack(b'{"args":{},"v":1}')
    envelope = unpack(b'{"args":{},"v":1,"retry":{"attempts":5,"mood":"patient"}}')
    assert policy_of(envelope, Retry()) == Retry(attempts=5)


@pytest.mark.parametrize(
    "retry", ['{"attempts":0}', '{"attempts":"x"}', '{"jitter":9}', '{"first":"soon"}', '{"on":5}']
)
def test_a_retry_policy_that_makes_no_sense_is_not_understood(retry: str) -> None:
    with pytest.raises(Undecodable, match="retry policy"):
        policy_of(unpack(b'{"args":{},"retry":%b}' % retry.encode()), Retry())


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b"{}", b'{"args":', b"\xff\xfe", b'{"args":{},"v":"x"}', b'{"args":{},"meta":3}'],
)
def test_garbage_is_no_envelope(body: bytes) -> None:
    with pytest.raises(Undecodable, match="no job envelope"):
        unpack(body)


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_understood_or_refused(body: bytes) -> None:
    try:
        one(int).decode(unpack(body).args)
    except Undecodable:
        pass


@pytest.mark.parametrize("args", [b"{}", b'{"x":"a"}', b'{"x":1,"y":2}', b"3", b"{"])
def test_arguments_of_another_signature_are_not_understood(args: bytes) -> None:
    with pytest.raises(Undecodable, match=r"the arguments do not fit t\(x.*\): "):
        one(int).decode(args)


def test_a_stored_result_of_another_type_is_not_understood() -> None:
    with pytest.raises(Undecodable, match="the stored result does not fit t"):
        Result("t", int).decode(b'"text"')


def test_the_body_is_json_that_any_language_reads() -> None:
    body = packer(timeout=5, meta={"a": "b"})(one(Point).encode((Point(1, 2, "a", b"\xff"),), {}, LIMIT))
    assert msgspec.json.decode(body) == {
        "args": {"x": {"x": 1.0, "y": 2.0, "name": "a", "data": "_w=="}},
        "v": 1,
        "timeout": 5.0,
        "meta": {"a": "b"},
    }
