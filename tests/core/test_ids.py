from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID, uuid4

import pytest

from windlass.core.ids import check_id, derived, first_id_at, new_id
from windlass.errors import InvalidArguments


def test_canonical_uuid_version_7() -> None:
    for text in (new_id() for _ in range(200)):
        made = UUID(text)
        assert str(made) == text
        assert made.version == 7
        assert made.variant == RFC_4122


def test_holds_the_time_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_900_000_000_123_999_999)
    assert UUID(new_id()).int >> 80 == 1_900_000_000_123


def test_sorts_as_text_by_the_time_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1_700_000_000_000_000_000, 1_900_000_000_000_000_000, 10**15 + 10**6))
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    made = [new_id() for _ in range(150)]
    assert made == sorted(made)


def test_unique_within_one_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_900_000_000_000_000_000)
    assert len({new_id() for _ in range(20_000)}) == 20_000


def test_a_forked_process_makes_other_ids() -> None:
    code = """
import os
from windlass.core.ids import new_id
new_id()
if child := os.fork():
    os.waitpid(child, 0)
print(*(new_id()[14:] for _ in range(200)), flush=True)
"""
    made = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert len(made) == len(set(made)) == 400


def test_threads_make_ids_at_once() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: [new_id() for _ in range(2000)], range(8)))
    assert len({one for ids in made for one in ids}) == 16_000


@pytest.mark.parametrize("moment", [0, 1_900_000_000_123_456_000, 4_000_000_000_000_000_000])
def test_the_first_id_of_a_moment(monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    first = first_id_at(moment / 1e9)
    assert check_id(first) == first
    for nanoseconds, later in ((moment - 1_000, False), (moment + 1_000, True)):
        monkeypatch.setattr(time, "time_ns", lambda now=nanoseconds: now)
        assert nanoseconds < 0 or (new_id() >= first) is later


def test_check_gives_the_canonical_form() -> None:
    made = new_id()
    for spelling in (made, made.upper(), made.replace("-", ""), f"{{{made}}}", f"urn:uuid:{made}"):
        assert check_id(spelling) == made
    other = str(uuid4())
    assert check_id(other) == other


@pytest.mark.parametrize("wrong", ["", "42", "not-an-id", "g" * 32, "0" * 31, "../etc/passwd"])
def test_check_refuses_what_is_no_id_and_shows_one(wrong: str) -> None:
    with pytest.raises(InvalidArguments, match="a job id looks like"):
        check_id(wrong)


def test_parts_have_ids_of_their_own_that_follow_each_other() -> None:
    parent = new_id()
    parts = [derived(parent, n) for n in range(3000)]
    assert parts == sorted(parts) == [derived(parent, n) for n in range(3000)]
    below = {derived(part, 0) for part in parts} | {derived(part, 65536) for part in parts}
    assert len({parent, *parts, *below}) == 9001
    assert all(check_id(one) == one and one[:15] == parent[:15] for one in (*parts, *below))
