from __future__ import annotations

import asyncio
import json
import traceback
from bisect import bisect_left
from collections import Counter
from math import inf, nan, sqrt
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core import measures
from windlass.core.measures import (
    BOUNDS,
    FAULTS,
    SERIES,
    STEPS,
    VERSIONS,
    Fault,
    Report,
    Rollup,
    Sighting,
    bucket,
    folded,
    frame,
    histogram_of,
    merged,
    percentile,
    seen,
    sighted,
    span,
    stale,
)
from windlass.core.outcome import ErrorInfo

NOW = 1_900_000_000.0
histograms = st.dictionaries(st.integers(0, len(BOUNDS)), st.integers(1, 1000))
times = st.lists(st.floats(0.001, BOUNDS[-1]), min_size=1)


def rollup(queue: str = "q", task: str = "t", outcome: str = "succeeded", count: int = 1, **more: Any) -> Rollup:
    return Rollup(queue, task, outcome, count, more.pop("wait", {3: count}), more.pop("run", {5: count}), **more)


def sighting(version: str = "", count: int = 1, final: int = 0, job: str = "j", message: str = "m") -> Sighting:
    return Sighting("f", "t", "ValueError", "a.py in b", count, final, job, message, version)


# --- times


@pytest.mark.parametrize(
    ("seconds", "number"),
    [
        (-1, 0),
        (0, 0),
        (nan, 0),
        (0.001, 0),
        (0.0011, 1),
        (0.002, 2),
        (0.0021, 3),
        (1.024, 20),
        (94906, 53),
        (94907, 54),
        (inf, 54),
    ],
)
def test_the_bucket_of_a_time(seconds: float, number: int) -> None:
    assert bucket(seconds) == number


def test_the_bounds_reach_from_a_millisecond_to_26_hours() -> None:
    assert (len(BOUNDS), BOUNDS[0], BOUNDS[2]) == (54, 0.001, 0.002)
    assert 26 <= BOUNDS[-1] / 3600 < 27


@pytest.mark.parametrize("number", range(54))
def test_a_bound_belongs_to_its_bucket(number: int) -> None:
    assert bucket(BOUNDS[number]) == number
    assert bucket(BOUNDS[number] * 1.0001) == number + 1


@given(histograms, histograms, histograms)
def test_merging_adds_in_any_order(a: measures.Histogram, b: measures.Histogram, c: measures.Histogram) -> None:
    assert merged(a, merged(b, c)) == merged(merged(c, a), b) == merged(a, b, c)
    assert sum(merged(a, b).values()) == sum(a.values()) + sum(b.values())
    assert all(merged(a, b)[n] == a.get(n, 0) + b.get(n, 0) for n in a | b)


@given(st.lists(st.floats(-1, 1e6) | st.sampled_from(BOUNDS)))
def test_a_histogram_counts_each_time_in_its_bucket(sample: list[float]) -> None:
    assert histogram_of(sample) == dict(Counter(map(bucket, sample)))


def test_merging_leaves_what_it_was_given() -> None:
    a, b = {1: 1}, {1: 2}
    assert merged(a, b) == {1: 3}
    assert (a, b, merged()) == ({1: 1}, {1: 2}, {})


@given(times, st.floats(0, 1))
def test_a_percentile_is_wrong_by_a_factor_of_sqrt_2_at_most(sample: list[float], share: float) -> None:
    found = percentile(merged(*({bucket(seconds): 1} for seconds in sample)), share)
    right = sorted(sample)[max(0, bisect_left(range(1, len(sample) + 1), share * len(sample)))]
    assert found is not None
    if right > 0.001:
        assert right / sqrt(2) * 0.999 <= found <= right * sqrt(2) * 1.001
    else:
        assert 0 <= found <= 0.001


@given(histograms.filter(bool), st.floats(0, 1), st.floats(0, 1))
def test_percentiles_grow_with_their_share(histogram: measures.Histogram, a: float, b: float) -> None:
    low, high = percentile(histogram, min(a, b)), percentile(histogram, max(a, b))
    assert low is not None
    assert high is not None
    assert 0 <= low <= high <= BOUNDS[-1]


def test_a_percentile_is_read_off_inside_its_bucket() -> None:
    assert percentile({2: 4}, 0.5) == pytest.approx((BOUNDS[1] + BOUNDS[2]) / 2)
    assert percentile({0: 1}, 1.0) == 0.001
    assert percentile({0: 10, 30: 1}, 0.5) == pytest.approx(0.00055)
    assert percentile({54: 3}, 0.9) == BOUNDS[-1], "no more is known than that it is above"
    assert percentile({}, 0.5) is None
    assert percentile({3: 0}, 0.5) is None


# --- what was done


def test_steps_are_kept_the_longer_the_coarser_they_are() -> None:
    assert {step: keep / 86_400 for step, keep in STEPS.items()} == {60: 1, 600: 7, 3600: 90}
    assert all(larger % smaller == 0 for smaller, larger in zip(STEPS, list(STEPS)[1:], strict=False))


@given(st.floats(0, 4e9), st.sampled_from(list(STEPS)))
def test_the_span_of_a_moment_holds_it(now: float, step: int) -> None:
    at = span(now, step)
    assert at % step == 0
    assert at <= now < at + step


@pytest.mark.parametrize(("step", "keep"), STEPS.items())
def test_a_span_is_stale_when_it_has_been_over_for_its_time(step: int, keep: float) -> None:
    at = span(NOW, step)
    assert not stale(at, step, at + step + keep - 0.1)
    assert stale(at, step, at + step + keep)


def test_folding_adds_what_is_of_one_combination() -> None:
    more = [rollup(count=2, wait={3: 1, 4: 1}), rollup(outcome="failed"), rollup(task="u"), rollup(queue="r")]
    first, *others = folded([rollup(at=60, step=60)], more)
    assert first == Rollup("q", "t", "succeeded", 3, {3: 2, 4: 1}, {5: 3}, 60, 60)
    assert others == more[1:]
    assert folded([], []) == []


def test_folding_one_report_counts_its_own_doubles() -> None:
    assert folded([], [rollup(), rollup()]) == [rollup(count=2)]


def test_a_span_is_bounded() -> None:
    tasks = [rollup(task=f"t{n}") for n in range(SERIES + 30)]
    found = folded([], [*tasks, rollup(queue="other", outcome="failed"), rollup(task="t0")])
    assert len(found) == SERIES + 2
    by_key = {one.key: one.count for one in found}
    assert by_key["q", "", "succeeded"] == 30
    assert by_key["other", "", "failed"] == 1
    assert by_key["q", "t0", "succeeded"] == 2, "what is there already goes on being counted apart"
    again = folded(found, [rollup(task="new")])
    assert len(again) == SERIES + 2
    assert sum(one.count for one in again) == SERIES + 33


@given(st.lists(st.builds(rollup, task=st.sampled_from("abc"), count=st.integers(1, 9))), st.integers(0, 9))
def test_folding_loses_nothing_wherever_it_is_cut(rollups: list[Rollup], cut: int) -> None:
    whole = folded([], rollups)
    assert folded(folded([], rollups[:cut]), rollups[cut:]) == whole
    assert sum(one.count for one in whole) == sum(one.count for one in rollups)


def test_a_report_survives_its_way_through_a_store() -> None:
    report = Report([rollup(), rollup(run={})], [sighting("1")])
    for format in (msgspec.msgpack, msgspec.json):
        assert format.decode(format.encode(report), type=Report) == report


# --- what went wrong


def test_a_fault_begins_with_its_first_sighting() -> None:
    fault = seen(None, sighting("v1", 3, 1), NOW)
    assert fault == Fault("f", "t", "ValueError", "a.py in b", 3, 1, "j", "m", NOW, NOW, ["v1"], "open", 0.0)
    assert seen(None, sighting(), NOW).versions == []


def test_sightings_add_up_and_the_latest_is_the_example() -> None:
    fault = seen(seen(None, sighting("v1", 3, 1), NOW), sighting("v2", 2, 2, "k", "n"), NOW + 5)
    assert (fault.count, fault.final, fault.job, fault.message) == (5, 3, "k", "n")
    assert (fault.first_seen, fault.last_seen, fault.versions) == (NOW, NOW + 5, ["v1", "v2"])


def test_versions_are_the_latest_each_once() -> None:
    fault = None
    for number in range(VERSIONS + 3):
        fault = seen(fault, sighting(f"v{number}"), NOW)
    fault = seen(seen(fault, sighting("v5"), NOW), sighting(""), NOW)
    assert fault.versions == [*(f"v{number}" for number in (3, 4, *range(6, VERSIONS + 3))), "v5"]


@pytest.mark.parametrize(
    ("state", "until", "then"),
    [("open", 0.0, "open"), ("resolved", 0.0, "open"), ("snoozed", NOW, "open"), ("snoozed", NOW + 1, "snoozed")],
)
def test_one_more_failure_opens_a_fault_again(state: Any, until: float, then: str) -> None:
    known = msgspec.structs.replace(seen(None, sighting(), NOW - 9), state=state, until=until)
    fault = seen(known, sighting(), NOW)
    assert (fault.state, fault.count) == (then, 2)
    assert fault.until == (until if then == "snoozed" else 0.0)


def raised(function: Any, *args: Any) -> str:
    """The traceback of what `function` raises."""
    try:
        function(*args)
    except Exception:
        return traceback.format_exc()
    raise AssertionError("it raised nothing")


def test_the_frame_is_the_innermost_of_the_users_own() -> None:
    assert frame(raised(lambda: json.loads("{"))) == "core/test_measures.py in <lambda>"
    assert frame(raised(asyncio.run, 1)) == "core/test_measures.py in raised"
    assert frame(raised(msgspec.json.decode, b"{")) == "core/test_measures.py in raised"
    assert frame(raised(percentile, None, 0.5)) == "core/test_measures.py in raised", "ours is a library, too"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["/srv/shop/tasks.py", "/srv/.venv/lib/python3.11/site-packages/httpx/client.py"], "shop/tasks.py"),
        (["/srv/shop/tasks.py", "/usr/lib/python3/dist-packages/yaml/load.py"], "shop/tasks.py"),
        (["/srv/shop/tasks.py", "<frozen importlib._bootstrap>"], "shop/tasks.py"),
        (["C:\\shop\\tasks.py", "C:\\venv\\Lib\\site-packages\\httpx\\client.py"], "shop/tasks.py"),
        (["/srv/windlass/tasks.py"], "windlass/tasks.py"),
        (["/v/site-packages/a/b.py", "/v/site-packages/c/d.py"], "c/d.py"),
        (["tasks.py"], "tasks.py"),
    ],
)
def test_libraries_are_known_by_where_they_are(files: list[str], found: str) -> None:
    text = "".join(f'  File "{file}", line 7, in work\n    call()\n' for file in files)
    assert frame(f"Traceback (most recent call last):\n{text}ValueError: no") == f"{found} in work"


def test_the_frame_of_an_exception_group() -> None:
    text = '  + Exception Group Traceback:\n  |   File "/srv/shop/tasks.py", line 3, in work\n  |     raise x\n'
    assert frame(text) == "shop/tasks.py in work"


@given(st.text(), st.text())
def test_of_any_failure_there_is_a_sighting(text: str, more: str) -> None:
    one = sighted("t", "j", ErrorInfo("exception", text, more, text), final=True, version=more)
    assert (len(one.fingerprint), one.count, one.final) == (16, 1, 1)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Sighting) == one


def test_the_texts_of_a_sighting_are_bounded() -> None:
    """What one task raises must not fill the store, nor be in the way of a report."""
    long = "\ud800" + "x" * 99_999
    traceback = f'File "{long}.py", line 1, in {long}'
    one = sighted("t", "j", ErrorInfo("exception", long, long, traceback), final=False, version=long)
    assert all(len(part) < 600 for part in (one.type, one.frame, one.message, one.version))
    assert msgspec.msgpack.encode(one)


def test_what_looks_alike_has_one_fingerprint() -> None:
    def mark(task: str = "t", type: str = "ValueError", file: str = "/r/1/shop/tasks.py", **more: Any) -> str:
        frame = f'  File "{file}", line {more.get("line", 1)}, in work\n'
        return sighted(
            task, "j", ErrorInfo("exception", type, more.get("message", "a"), frame), final=False
        ).fingerprint

    assert mark() == mark(message="b", line=9, file="/r/2/shop/tasks.py")
    others = mark("u"), mark(type="KeyError"), mark(file="/r/1/shop/other.py"), mark(file="")
    assert len({mark(), *others}) == 5


def test_a_sighting_and_a_later_one() -> None:
    both = sighting("v1", 2, 1).plus(sighting("v2", 3, 0, "k", "n"))
    assert both == sighting("v2", 5, 1, "k", "n")


def test_the_limits_are_what_the_design_says() -> None:
    assert (SERIES, FAULTS) == (500, 1000)
