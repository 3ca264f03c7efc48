from __future__ import annotations

from datetime import timedelta
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.durations import LONGEST, date, seconds, size
from windlass.errors import ConfigurationError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("7d", 604_800),
        ("1w", 604_800),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("1h30m", 5400),
        (" 1h 30m ", 5400),
        ("10 m", 600),
        (0, 0),
        (2.5, 2.5),
        (timedelta(minutes=2), 120),
    ],
)
def test_durations_as_people_write_them(written: Any, meant: float) -> None:
    assert seconds(written) == pytest.approx(meant)


NONSENSE: list[Any] = ["", "  ", "soon", "10", "10x", "-5s", "5s!", "1h-30m", True, None, b"10s", [10]]
IMPOSSIBLE: list[Any] = [-1, -0.1, nan, inf, timedelta(-1)]
TOO_LONG: list[Any] = [1e300, 10**400, "36526d", "99999999999999w", timedelta.max, LONGEST * 1.001]


@pytest.mark.parametrize("wrong", NONSENSE + IMPOSSIBLE)
def test_what_is_no_duration_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="duration"):
        seconds(wrong)


@pytest.mark.parametrize("wrong", IMPOSSIBLE + TOO_LONG)
def test_what_no_calendar_holds_is_refused_with_the_limit(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="a duration is 0 seconds to 100 years, not"):
        seconds(wrong)


def test_the_longest_duration_is_one() -> None:
    assert seconds(LONGEST) == seconds("36525d") == LONGEST


@given(st.one_of(st.text(), st.floats(), st.integers(-(10**9), 10**9), st.timedeltas()))
def test_a_duration_is_finite_and_not_negative_or_refused(anything: Any) -> None:
    try:
        assert 0 <= seconds(anything) <= LONGEST
    except ConfigurationError:
        pass


@given(st.integers(0, 10_000), st.sampled_from(["s", "m", "h", "d"]))
def test_text_and_timedelta_agree(number: int, unit: str) -> None:
    names = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    assert seconds(f"{number}{unit}") == seconds(timedelta(**{names[unit]: number}))


@pytest.mark.parametrize(
    ("written", "meant"),
    [(10, 10), ("10", 10), ("10B", 10), ("64KB", 65_536), ("64k", 65_536), ("512 MB", 512 << 20), ("1.5GB", 3 << 29)],
)
def test_sizes(written: int | str, meant: int) -> None:
    assert size(written) == meant


@pytest.mark.parametrize("wrong", ["", "big", "10TB", "-5MB", "MB", "5MBs"])
def test_what_is_no_size_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="size"):
        size(wrong)


@pytest.mark.parametrize(
    ("moment", "year"),
    [
        (0.0, 1970),
        (1e9, 2001),
        (-1e9, 1938),
        (253402300800.0, 9999),
        (inf, 9999),
        (1e300, 9999),
        (-inf, 1970),
        (nan, 1970),
    ],
)
def test_every_time_has_a_date(moment: float, year: int) -> None:
    assert date(moment).year == year
    assert date(moment).isoformat().endswith("+00:00")
