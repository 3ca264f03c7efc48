from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.batch import Batch
from windlass.core.resources import Pool, amounts, environment, needs_of, told
from windlass.definition import define
from windlass.errors import ConfigurationError


def test_amounts_are_said_as_text_or_as_numbers() -> None:
    assert amounts("gpu=2,licence=1") == amounts({"licence": 1, "gpu": 2}) == {"gpu": 2, "licence": 1}
    assert amounts({}) == {}
    assert told(amounts("licence=1,gpu=2")) == "gpu=2,licence=1"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "gpu=1,",
        "gpu",
        "gpu=",
        "gpu=0",
        "gpu=-1",
        "gpu=x",
        "=1",
        "g u=1",
        {"gpu": 0},
        {"gpu": True},
        {"gpu": 1.5},
        {1: 1},
        7,
    ],
)
def test_what_is_no_amount_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        amounts(wrong)


def test_needs_are_a_part_of_the_lane() -> None:
    def draw(items: list[int]) -> list[int]:
        return items

    needs = {"licence": 2, "gpu": 1}
    assert define(draw, name="t", lane="process", needs=needs).slot == "process+gpu=1+licence=2"
    assert define(draw, name="t", lane="process", needs=needs, batch=Batch(size=2)).slot == "process+gpu=1+licence=2:t"
    assert [needs_of(lane) for lane in ("process+gpu=1+licence=2:a+b=3", "process+gpu=1", "loop", "loop:a+b=3")] == [
        "gpu=1,licence=2", "gpu=1", "", ""
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("devices", "before", "said"),
    [
        ({"gpu": (1,)}, None, "1"),
        ({"gpu": (0, 1)}, "", "0,1"),
        ({"gpu": (0, 1)}, "5, GPU-8f2a", "5,GPU-8f2a"),
        ({"gpu": (2,)}, "5,6", "2"),
        ({"licence": (0,)}, "5", None),
    ],
)
def test_a_process_sees_the_gpus_that_it_has(devices: Any, before: str | None, said: str | None) -> None:
    assert environment(devices, before) == ({} if said is None else {"CUDA_VISIBLE_DEVICES": said})


@given(
    st.lists(st.tuples(st.sampled_from([{"gpu": 1}, {"gpu": 2}, {"gpu": 1, "licence": 1}, {"tpu": 1}]), st.booleans()))
)
def test_no_device_is_handed_out_twice(steps: list[tuple[dict[str, int], bool]]) -> None:
    pool, out = Pool({"gpu": 3, "licence": 1}), list[dict[str, tuple[int, ...]]]()
    for needs, back in steps:
        if back and out:
            pool.give_back(out.pop(0))
        elif room := pool.room(needs):
            assert room <= pool.most(needs)
            out.append(taken := pool.take(needs))
            assert {name: len(indexes) for name, indexes in taken.items()} == needs
        for name, amount in {"gpu": 3, "licence": 1}.items():
            held = [index for one in out for index in one.get(name, ())]
            assert len(held) == len({*held})
            assert {*held} <= set(range(amount))
    for one in out:
        pool.give_back(one)
    assert pool.room({"gpu": 3, "licence": 1}) == 1
