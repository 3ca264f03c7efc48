from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.queues import served
from windlass.errors import ConfigurationError

NAMES = st.text(min_size=1, max_size=8).filter(lambda name: ":" not in name)


def test_without_a_wish_all_own_queues_come_first_alike() -> None:
    queues = served(None, ["b", "a", "b"])
    chance = random.Random(7).random
    first = Counter(queues.order(chance)[0] for _ in range(4000))
    assert set(first) == {"a", "b"}
    assert abs(first["a"] - 2000) < 200
    assert queues.told() == ["a", "b"]


@given(st.lists(NAMES, min_size=1))
def test_without_weights_the_order_is_as_it_was_told(names: list[str]) -> None:
    queues = served(names, ["own"])
    assert queues.order(lambda: 0.5) == list(dict.fromkeys(names)) == queues.told()


@given(st.dictionaries(NAMES, st.integers(1, 1000), min_size=1), st.randoms(use_true_random=False))
def test_each_order_by_weight_names_each_queue_once(weights: dict[str, int], chances: random.Random) -> None:
    queues = served([f"{name}:{weight}" for name, weight in weights.items()], [])
    assert queues.weights == weights
    assert sorted(queues.order(chances.random)) == sorted(weights)


def test_each_queue_comes_first_as_often_as_its_weight_says() -> None:
    queues = served(["video:2", "default:10", "mail:8"], [])
    assert queues.told() == ["video:2", "default:10", "mail:8"]
    chance = random.Random(7).random
    orders = [queues.order(chance) for _ in range(10_000)]
    first = Counter(order[0] for order in orders)
    assert {name: round(count / 1000) for name, count in first.items()} == {"video": 1, "default": 5, "mail": 4}
    # Among those that are left it is by weight again: video 2 of 10 behind mail, where default may also stand.
    second = Counter(order[1] for order in orders if order[0] == "default")
    assert abs(second["video"] / second.total() - 0.2) < 0.03


def test_no_number_behind_a_colon_is_a_part_of_the_name() -> None:
    assert served(["a:b", "c"], []).order(lambda: 0.0) == ["a:b", "c"]
    assert served(["a:2:3"], []).weights == {"a:2": 3}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["video:0"], "at least 1, not 0"),
        (["video:-1"], "at least 1, not -1"),
        ([":3"], "':3' names no queue"),
        (
            ["video:2", "default"],
            "'default' has no weight and others have; say one for each (-q default:1), or for none",
        ),
        (["video:2", "video:3"], "'video' is there twice"),
        (["video", ""], "must have a name"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(wanted: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        served(wanted, [])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
