"""Every decoder of what others may have written: it returns, or raises its one named error, whatever the bytes are; and it never hangs.

$WINDLASS_FUZZ_SECONDS: how long each decoder is fuzzed. By default a modest number of examples.
What is fed to them: noise, and golden examples that were bent: bytes changed, cut out, doubled, and pieces put in that are known to
make trouble.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from windlass import Retry, Seal, Secret
from windlass.broker.sqlite.place import Place as SqlitePlace
from windlass.broker.url import make_broker
from windlass.core.codecs import Arguments, Result
from windlass.core.durations import seconds, size
from windlass.core.ids import check_id
from windlass.core.job import Card, Claim, Entry, Progress, Pulse
from windlass.core.outcome import ErrorInfo, Raised, Succeeded
from windlass.core.payload import packer, policy_of, read_json, unpack
from windlass.core.plain import plain
from windlass.core.seal import instead
from windlass.core.urls import exposed, masked
from windlass.depends import hints_of
from windlass.errors import ConfigurationError, InvalidArguments, NotOpened, Undecodable
from windlass.handle import JobEvent, event_of
from windlass.worker.link import Done, Keep, Message, Note, Orders, Pulsed, Ready, Start, Stop, Tick, _decoder, _size

SECONDS = float(os.environ.get("WINDLASS_FUZZ_SECONDS", "0"))
EXAMPLES = 400
LIMIT = 10_000
pytestmark = pytest.mark.timeout(120 + 4 * SECONDS)

# --- what is fed --------------------------------------------------------------------------------------------

TROUBLE = [
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b'"', b"\\", b"\\u0000", rb"\ud800", b"{", b"}", b"[", b"]", b",", b":"),
    *(b"NaN", b"-Infinity", b"1e400", b"-0", b"9" * 30, b"9" * 5000, b"null", b"true", b'"v":', b'"args":{}', b'"args":'),
    *(b"[" * 500, b'{"a":' * 500, b'{"args":' * 50, b"\x80\x04\x95", b"\0\1\3now", b"\0\0"),
    *(b"\xc1", b"\xdf\xff\xff\xff\xff", b"\x91" * 600),
]  # fmt: skip


@st.composite
def bent(draw: st.DrawFn, golden: list[bytes]) -> bytes:
    """An example with a few things done to it."""
    data = draw(st.sampled_from(golden))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 20)))
        piece = draw(st.sampled_from([*TROUBLE, b"", data[start:end] * 2]) | st.binary(max_size=4))
        data = data[:start] + piece + data[end:]
    return data


def some(golden: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=200) | st.sampled_from(TROUBLE) | bent(golden)


def words(golden: list[str]) -> st.SearchStrategy[str]:
    """The same for text."""
    return st.text(max_size=60) | some([one.encode() for one in golden]).map(
        lambda data: data.decode("utf-8", "replace")
    )


def fuzz(values: st.SearchStrategy[Any], decode: Callable[[Any], Any], *errors: type[Exception]) -> None:
    """Feed `values` to a decoder that may raise `errors`; their text is one that can be stored and shown."""

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(values)
    def check(value: Any) -> None:
        try:
            decode(value)
        except errors as error:
            str(error).encode()

    end = time.monotonic() + SECONDS
    check()
    while time.monotonic() < end:
        check()


# --- bodies, arguments, results -------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"
    TWO = 2


class Model(BaseModel):
    name: Annotated[str, Secret]
    at: datetime | None = None
    inner: list[Model] = []
    extra: dict[str, Any] = {}


@dataclass
class Point:
    x: float
    data: bytes = b""


def everything(
    a: int,
    b: str,
    c: Any,
    d: Model,
    e: Point | None = None,
    f: dict[UUID, Colour] | None = None,
    g: bytes | None = None,
    *more: Annotated[str, Secret],
    **rest: list[float],
) -> None: ...


def plainly(a: int, b: str = "", c: list[dict[str, float]] | None = None) -> None: ...


CODECS = {one.__name__: Arguments("t", one, hints_of(one), frozenset()) for one in (everything, plainly)}
MODEL = Model(name="n", at=datetime(2030, 1, 1), inner=[Model(name="m")], extra={"k": [1, {"z": None}]})
GIVEN = (1, "b", {"x": [1.5, None]}, MODEL, Point(1.0, b"x"), {UUID(int=7): Colour.RED}, b"x", "secret")
ARGUMENTS = {
    "everything": [
        CODECS["everything"].encode(GIVEN, {"r": [1.0]}, LIMIT),
        b'{"a":1,"b":"","c":[],"d":{"name":"x"}}',
    ],
    "plainly": [b'{"a":1,"b":"two","c":[{"x":1.5}]}', b'{"a":1}'],
}  # fmt: skip
BODIES = [
    packer()(b'{"a":1}'),
    packer(timeout=1.5, retry=Retry(attempts=3, on=(OSError,)), meta={"a": "b"}, secret=["a"])(b'{"a":"\\u00e9"}'),
    *[packer()(one) for many in ARGUMENTS.values() for one in many],
]


def run_as_a_worker_would(body: bytes) -> None:
    envelope = unpack(body, LIMIT)
    policy_of(envelope, Retry())
    envelope.shown()
    for codec in CODECS.values():
        try:
            codec.decode(envelope.args)
        except Undecodable:
            continue


def test_bodies() -> None:
    fuzz(some(BODIES), run_as_a_worker_would, Undecodable)


@pytest.mark.parametrize("name", CODECS)
def test_arguments(name: str) -> None:
    fuzz(some(ARGUMENTS[name]), CODECS[name].decode, Undecodable)


RESULTS: dict[str, tuple[Any, list[bytes]]] = {
    "any": (Any, [b'{"a":[1,2.5,"x",null]}', b"1"]),
    "model": (Model, [MODEL.model_dump_json().encode()]),
    "point": (Point | None, [b'{"x":1.5,"data":"eA=="}', b"null"]),
    "numbers": (dict[str, list[Decimal | int]], [b'{"a":[1,"2.50"]}']),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results(name: str) -> None:
    hint, golden = RESULTS[name]
    result = Result("t", hint)
    fuzz(some(golden), lambda data: result.decode(data, LIMIT), Undecodable)


def test_json_of_others() -> None:
    golden = [b'{"level":"info","message":"m"}', b'{"current":1.0,"total":2.0,"message":""}', b"[1]"]
    fuzz(some(golden), lambda data: read_json("it", data, limit=LIMIT), Undecodable)
    fuzz(some(golden), lambda data: read_json("it", data, Progress, LIMIT), Undecodable)


def test_journal_entries() -> None:
    kinds = st.sampled_from(["log", "progress", "chunk", "checkpoint", "end", ""]) | st.text(max_size=10)
    golden = [b'{"level":"info","message":"m"}', b'{"current":1.0,"total":2.0,"message":""}', b'{"a":1}']
    entries = st.builds(Entry, kinds, some(golden), st.floats(), st.integers(0, 9), st.integers(0, 9))

    def read(entry: Entry) -> None:
        event = event_of(entry, LIMIT)
        assert isinstance(event, JobEvent)
        assert event.kind in ("log", "progress", "chunk", "checkpoint")

    fuzz(entries, read)


# --- seals ----------------------------------------------------------------------------------------------------

SEALS = {"signing": Seal.signing({"now": b"k" * 32}), "encrypting": Seal.encrypting({"now": b"k" * 32})}


@pytest.mark.parametrize("name", SEALS)
def test_seals(name: str) -> None:
    seal = SEALS[name]
    golden = [seal.seal(body, "body", "id", "task") for body in BODIES]

    def open_(data: bytes) -> None:
        assert data in golden or not data.startswith(b"{")
        assert seal.open(data, "body", "id", "task") in BODIES

    fuzz(some(golden).filter(lambda data: data[:1] != b"{"), open_, NotOpened)
    fuzz(some(golden), instead)


def test_keys_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    golden = ["a:a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=", "a:b,c:d"]

    def read(text: str) -> None:
        monkeypatch.setenv("WINDLASS_SIGNING_KEYS", text)
        Seal.from_environment()

    fuzz(words(golden).filter(lambda text: "\0" not in text and text.isascii()), read, ConfigurationError)


# --- between our processes ------------------------------------------------------------------------------------

CLAIM = Claim("id", 7, "task", "default", "loop", b"{}", 1, 0, 3, 0.0, 0.0)
ERROR = ErrorInfo("exception", "E", "m", "t", {"signal": 9})
MESSAGES: list[Message] = [
    Orders("m:app", ["m"], ["/"], settings={"lease": 1.0}),
    Ready(url="memory://", settings={"lease": 1.0}, tasks=["t"]),
    Start(CLAIM, b"1"),
    Stop("cancel", True),
    Note(Entry("log", b"{}", 0.0, 1)),
    Done(Succeeded(b"1")),
    Done(Raised(ERROR, ("E",))),
    Keep("w", True),
    Pulsed("w", Pulse(True, ["id"])),
    Tick(Card(host="h", pid=1, last_words=ERROR), limited=[], groups=[1], jobs=2, wish="", stalled=""),
]


def test_frames() -> None:
    golden = [msgspec.msgpack.encode(message) for message in MESSAGES]
    fuzz(
        some(golden), _decoder.decode, msgspec.MsgspecError, ValueError, RecursionError
    )  # what `Process._read` takes for nonsense


def test_sizes_of_frames() -> None:
    fuzz(st.binary(min_size=4, max_size=4), _size, msgspec.MsgspecError)


# --- what people write ----------------------------------------------------------------------------------------

WRITTEN: Mapping[str, tuple[list[str], Callable[[str], Any], tuple[type[Exception], ...]]] = {
    "durations": (["90s", "1h 30m", "1.5 d", "1" * 400 + "s"], seconds, (ConfigurationError,)),
    "sizes": (["512MB", "1.5 GB", "7", "9" * 400 + "GB"], size, (ConfigurationError,)),
    "ids": (["01a1feed-69cd-752a-82b3-ed33a3a787a2", "{01a1feed69cd752a82b3ed33a3a787a2}"], check_id, (InvalidArguments,)),
    "addresses": (
        ["redis://u:p@h1:1,h2:2/0?password=x", "rediss://[::1]:7/0", "redis+sentinel://h/s/0", "sqlite:///a/b.db?synchronous=FULL"],
        lambda url: (masked(url), list(exposed(url)), make_broker(url, "windlass")),
        (ConfigurationError,),
    ),
    "places": (
        ["sqlite:///a/b.db", "sqlite:////data/x.db?synchronous=normal"],
        lambda url: SqlitePlace.of(url, "a"),
        (ConfigurationError,),
    ),
    "text that is shown": (["a\x1b[2Jb", "\u202e"], plain, ()),
}  # fmt: skip


@pytest.mark.parametrize("what", WRITTEN)
def test_what_people_write(what: str) -> None:
    golden, read, errors = WRITTEN[what]
    fuzz(words(golden), read, *errors)
