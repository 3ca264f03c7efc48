from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.retry import Retry, error_name
from windlass.errors import ConfigurationError


def test_delays_grow_by_the_factor_up_to_the_most() -> None:
    retry = Retry(first=2, factor=3, most=50, jitter=0)
    assert [retry.delay(attempt, 0.0) for attempt in range(1, 6)] == [2, 6, 18, 50, 50]


def test_jitter_only_shortens_by_its_share() -> None:
    retry = Retry(first=100, factor=1, jitter=0.25)
    assert retry.delay(1, 0.0) == 100
    assert retry.delay(1, 0.5) == 87.5
    assert Retry(first=100, factor=1, jitter=0).delay(1, 0.99) == 100


@given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True), st.floats(1, 1e6))
def test_delay_is_never_negative_nor_over_the_most(attempt: int, chance: float, factor: float) -> None:
    assert 0 <= Retry(first="1s", factor=factor, most="10m").delay(attempt, chance) <= 600


def test_a_first_delay_of_0_stays_0() -> None:
    assert Retry(first=0, factor=1e6).delay(10**6, 0.0) == 0


@given(st.integers(1, 50), st.floats(1, 10))
def test_without_jitter_no_delay_is_shorter_than_the_one_before(attempt: int, factor: float) -> None:
    retry = Retry(factor=factor, jitter=0)
    assert retry.delay(attempt, 0.0) <= retry.delay(attempt + 1, 0.0)


def test_durations_and_classes_in_every_spelling_mean_the_same() -> None:
    spelled = Retry(first="2s", most=timedelta(minutes=1), on=OSError, unless="builtins.TimeoutError")
    assert spelled == Retry(first=2.0, most=60.0, on=("builtins.OSError",), unless=(TimeoutError,))


def test_wants_ancestors_and_unless_wins() -> None:
    retry = Retry(on=OSError, unless=ConnectionError)
    assert retry.wants(("builtins.PermissionError", "builtins.OSError", "builtins.Exception"))
    assert not retry.wants(("builtins.ConnectionResetError", "builtins.ConnectionError", "builtins.OSError"))
    assert not retry.wants(("builtins.ValueError", "builtins.Exception"))


def test_by_default_exceptions_are_worth_it_and_the_rest_is_not() -> None:
    assert Retry().wants(("builtins.KeyError", "builtins.Exception"))
    assert not Retry().wants(("builtins.KeyboardInterrupt", "builtins.BaseException"))


def test_error_name_is_the_full_name() -> None:
    assert error_name(OSError) == "builtins.OSError"
    assert error_name(ConfigurationError) == "windlass.errors.ConfigurationError"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"attempts": 0}, "attempts"),
        ({"attempts": 1.5}, "attempts"),
        ({"jitter": 1.1}, "jitter"),
        ({"jitter": -0.1}, "jitter"),
        ({"factor": 0.5}, "factor"),
        ({"factor": math.inf}, "factor"),
        ({"first": 1e300}, "100 years"),
        ({"most": "36526d"}, "100 years"),
        ({"factor": float("nan")}, "factor"),
        ({"first": "soon"}, "soon"),
        ({"most": -1}, "-1"),
    ],
)
def test_nonsense_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Retry(**wrong)
