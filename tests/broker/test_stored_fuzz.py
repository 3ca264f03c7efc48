"""Whatever is stored, a decoder returns or raises `StoreCorrupt`: nothing else, and soon.

Each decoder gets a few hundred inputs, or with WINDLASS_FUZZ_SECONDS new ones for as many seconds.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from windlass.broker import damaged
from windlass.broker.memory import MemoryBroker
from windlass.broker.redis import records
from windlass.broker.redis.ear import Ear
from windlass.broker.redis.ear import job as topic_of
from windlass.broker.sqlite import looks, rows, verbs
from windlass.core.job import Card, Claim, Entry, Job, Reading, Worker
from windlass.core.state import State
from windlass.errors import StoreCorrupt
from windlass.testing.conformance.kit import ERROR, add, entry, hire, job, look, take

SECONDS = float(os.environ.get("WINDLASS_FUZZ_SECONDS", "0"))
pytestmark = pytest.mark.timeout(SECONDS + 120)

ID = "01999999-0000-7000-8000-000000000001"
PICKLE = pickle.dumps({"task": "os.system", "args": ["true"]})
DEEP = b"\x91" * 5_000, b"[" * 5_000, b'{"a":' * 5_000


def fuzz(check: Callable[..., object], *inputs: st.SearchStrategy[Any]) -> None:
    """Check many inputs."""
    run = given(*inputs)(check)
    run = settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))(run)
    end = time.monotonic() + SECONDS
    run()
    while time.monotonic() < end:
        run()


@st.composite
def spoilt(draw: st.DrawFn, right: Sequence[bytes]) -> bytes:
    """A right record with some of its bytes changed, lost, doubled or added."""
    data = bytearray(draw(st.sampled_from(right)))
    for _ in range(draw(st.integers(1, 5))):
        at, to = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        match draw(st.sampled_from(["change", "lose", "double", "add", "swap"])):
            case "change" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "lose":
                del data[at:to]
            case "double":
                data[to:to] = data[at:to]
            case "add":
                data[at:at] = draw(st.binary(max_size=9))
            case "swap":
                data = data[at:] + data[:at]
    return bytes(data)


def stored(*right: bytes) -> st.SearchStrategy[bytes]:
    """What may stand where one of the `right` records should: anything, and mostly something like it."""
    return st.one_of(st.sampled_from([*right, PICKLE, *DEEP]), st.binary(max_size=99), spoilt(right), spoilt(right))


def packed(*values: object) -> bytes:
    return msgspec.msgpack.encode(values)


def came(**fields: Any) -> bytes:
    """A job as Redis has it."""
    return b"\x9a\xcb" + struct.pack(">d", 1.9e9) + records.made(job(**fields))


MADE = stored(came(), came(key="k", expires=9.0, queue="q", lane="thread", priority=9, body=b"x" * 300))
_ERROR = msgspec.json.encode(ERROR).decode()
_RAN = (7, 60.0, 60.0, 1.9e9, 1, 0, 0, 1.9e9, "w", False)
STAND = stored(
    packed(2, 7, 60.0, 60.0, 1.9e9, 1, 0, 0, None, None, False),
    packed(3, *_RAN),
    packed(5, *_RAN, 1.9e9, b'"done"'),
    packed(6, *_RAN, 1.9e9, None, _ERROR, None),
    packed(6, *_RAN, 1.9e9, None, f"3{_ERROR}", None),
    packed(7, *_RAN, 1.9e9, None, None, "cancelled"),
)
LINE = stored(b"1:" + records.line(entry("progress", b'{"current":1}')), b"12:" + records.line(entry()))
CARD = stored(
    *(msgspec.json.encode(Card(host="h", pid=1, last_words=words, slots={"loop": 3})) for words in (None, ERROR))
)
PROGRESS = stored(b'{"current":1,"total":2.5,"message":"half"}')
anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=20), st.just(1 << 70)
)
or_none = st.none


def only_corrupt(decode: Callable[..., Any], *found: Any, kind: type | tuple[type, ...]) -> None:
    """It returns what it promises, or raises the one error, in a line for people."""
    try:
        assert isinstance(decode(*found), kind)
    except StoreCorrupt as error:
        assert len(str(error)) < 300  # noqa: PT017 # it need not be raised
        assert str(error).isprintable()  # noqa: PT017 # the same


# --- Redis ----------------------------------------------------------------------------------------------------


def test_a_job_in_redis() -> None:
    def check(made: bytes, stand: bytes | None, progress: bytes | None, cancelling: int) -> None:
        only_corrupt(records.job, ID, made, stand, progress, cancelling, kind=Job)
        seen = records.seen(ID, made, stand, progress, cancelling)
        assert seen.id == ID
        assert seen.state in State

    fuzz(check, MADE, or_none() | STAND, or_none() | LINE, st.integers(0, 1))


def test_claims_in_redis() -> None:
    """As many as were handed out: each is good, or good for parking."""

    def check(handed_out: list[tuple[bytes, bytes, bytes | None]]) -> None:
        reply = [b"1.9e9", b"41", *(value for one in handed_out for value in one)]
        claims, unreadable = records.claims(reply)
        assert sorted(claim.token for claim in claims + unreadable) == list(range(41, 41 + len(handed_out)))
        assert all(isinstance(claim, Claim) and records.fence(claim) for claim in claims + unreadable)

    fuzz(check, st.lists(st.tuples(st.binary(min_size=16, max_size=16), MADE, or_none() | STAND), max_size=4))


def test_what_is_told_of_an_end_in_redis() -> None:
    def check(made: bytes, stand: bytes, said: bytes) -> None:
        only_corrupt(records.told, ID, said, kind=Reading)
        only_corrupt(records.told, ID, struct.pack(">I", len(made)) + made + stand, kind=Reading)

    fuzz(check, MADE, STAND, st.binary(max_size=40))


def test_an_entry_in_redis() -> None:
    fuzz(lambda line: only_corrupt(records.entry, line, kind=Entry), LINE)


def test_a_journal_in_redis() -> None:
    def check(reply: list[Any]) -> None:
        only_corrupt(records.reading, ID, reply, kind=tuple)

    numbers = st.integers() | st.none() | st.binary(max_size=3)
    lines = st.lists(LINE, max_size=3)
    rests = st.one_of(
        st.just(()), st.tuples(st.binary(max_size=5)), st.tuples(MADE, or_none() | STAND, or_none() | LINE)
    )
    replies = st.tuples(numbers, numbers, numbers, lines, rests).map(lambda parts: [*parts[:4], *parts[4]])
    fuzz(check, replies)


def test_a_worker_in_redis() -> None:
    def check(name: bytes, card: bytes | None, until: bytes, held: int) -> None:
        only_corrupt(records.worker, name, card, until, held, kind=Worker)

    fuzz(check, st.binary(max_size=9), or_none() | CARD, stored(b"1.9e9", b"inf", b"nan"), st.integers(0, 9))


def test_counts_in_redis() -> None:
    fields = stored(b"default\0loop\x003", b"a\0b\0thread\x007")
    counts = st.lists(st.tuples(fields, stored(b"3", b"-1")), max_size=4).map(
        lambda pairs: [x for pair in pairs for x in pair]
    )
    paused = st.lists(st.binary(max_size=9), max_size=2)
    fuzz(lambda counted, paused: only_corrupt(records.counts, counted, paused, kind=list), counts, paused)


def test_ids_in_redis() -> None:
    def check(text: str, found: bytes) -> None:
        assert len(records.short(text)) == 16
        assert isinstance(records.full(found), str)
        if len(found) == 16 and found != records.NOBODY:
            assert records.short(records.full(found)) == found

    fuzz(
        check,
        st.text(max_size=40) | spoilt([ID.encode()]).map(lambda raw: raw.decode("latin-1")),
        st.binary(max_size=20),
    )


async def test_messages_from_redis() -> None:
    ear = Ear(b"{windlass}:")
    with ear.listen([topic_of(records.short(ID))]):
        fuzz(ear.hear, stored(topic_of(records.short(ID)) + b"\0\0\0\x01", b"rdefault\0loop"))


# --- SQLite ---------------------------------------------------------------------------------------------------

ROW = (
    ID, "tests.task", "default", "loop", "failed", 5, 1, 0, 1.9e9, 1.9e9, 1.9e9, 1.9e9, None, "k", "w",
    0, "why", msgspec.json.encode(ERROR), b'{"current":1}', b"{}", b"1",
)  # fmt: skip


def test_a_job_in_sqlite() -> None:
    def check(changed: dict[int, Any], error: bytes, progress: bytes) -> None:
        row = [changed.get(place, value) for place, value in enumerate(ROW)]
        for one in (row, [*row[:17], error, progress, *row[19:]], row[: len(changed)]):
            only_corrupt(looks.decoded, one, kind=Job)

    fuzz(check, st.dictionaries(st.integers(0, 20), anything, max_size=4), stored(msgspec.json.encode(ERROR)), PROGRESS)


def as_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")  # as our connections read it


LISTS = {
    "rows": (rows.rows_of, [1, ID, "default", "running", 1, 0, 3, 0, False, 1.9e9, "w", None, 5, None, None]),
    "claims": (verbs.claimed_of, [5, 1.9e9, 1, ID, "tests.task", "loop", 1, 0, 3, 1.9e9, 0, "7B7D", None]),
    "entries": (looks.entries, ["log", "7B7D", 1.9e9, 1, 1]),
    "numbers": (verbs.numbers_of, [ID, 7, 3, 2]),
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_in_sqlite(kind: str) -> None:
    decode, right = LISTS[kind]
    lists = stored(msgspec.json.encode([right]), msgspec.json.encode([right] * 3), b"[]").map(as_text)
    fuzz(lambda text: only_corrupt(decode, text, kind=list), lists)


def test_a_card_in_sqlite() -> None:
    fuzz(lambda card: only_corrupt(verbs.card_of, card, kind=Card), CARD)


# --- memory, and what all share -------------------------------------------------------------------------------


def test_a_progress() -> None:
    def check(data: bytes | None) -> None:
        found = damaged.progress(data)
        assert found is None or isinstance(found.current, float)

    fuzz(check, or_none() | PROGRESS)


def test_a_progress_in_memory() -> None:
    async def check(data: bytes) -> None:
        broker = MemoryBroker()
        stored = await add(broker)
        await hire(broker)
        (claim,) = await take(broker)
        assert await broker.append([(claim, [entry("progress", data), entry()])]) == [True]
        assert (await look(broker, stored)).state is State.RUNNING

    fuzz(lambda data: asyncio.run(check(data)), PROGRESS)
