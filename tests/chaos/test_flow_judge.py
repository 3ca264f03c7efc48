"""The judge of flows and joins: each broken promise is found in notes made by hand, and nothing in those that are as they should be."""

from __future__ import annotations

from typing import Any

from flows import ANSWERED, Join, Note, wrong_in_flows, wrong_in_joins

STEPS = dict(zip(ANSWERED, ("a1", [7, 1], "b1", [7, 2], [7, 3, []], 7, "late", "c1"), strict=True))


def run(token: int, **other: Any) -> list[Note]:
    """One run of a flow from its beginning to its end, with other answers."""
    notes = list[Note]()
    for step, value in (STEPS | other).items():
        if step in ("one", "side", "two"):
            notes += [Note("began", "f", step, token), Note("gave", "f", step, token, value)]
        notes.append(Note("passed", "f", step, token, value))
    return notes


def replay(token: int, **other: Any) -> list[Note]:
    """One that is answered from the journal only."""
    return [one for one in run(token, **other) if one.what == "passed"]


def found(notes: list[Note], **other: Any) -> list[str]:
    """The kinds of what is wrong."""
    return [words.partition(":")[0] for words in wrong_in_flows(notes, {"f": list((STEPS | other).values())})]


def test_a_flow_that_goes_through_its_code_twice_is_right() -> None:
    assert found([*run(1), *replay(2), *replay(3)]) == []


def test_a_step_that_was_not_remembered_may_run_again() -> None:
    assert found([Note("began", "f", "one", 1), Note("gave", "f", "one", 1, "a0"), *run(2)]) == []


def test_a_step_runs_again_once_it_is_remembered() -> None:
    again = Note("began", "f", "side", 2)
    assert found([*run(1), again]) == ["again"]
    assert found([*run(2), again]) == ["again"]


def test_a_run_that_was_given_up_for_dead_cannot_know() -> None:
    assert found([*run(2), Note("began", "f", "side", 1)]) == []


def test_an_answer_is_another_one_later() -> None:
    assert found([*run(1), *replay(2, child=[7, 9])]) == ["forgotten"]


def test_a_flow_ends_with_what_it_has_not_seen() -> None:
    assert found(run(1), event=8) == ["made up"]
    assert found(run(1, two="c1"), two="c2") == ["made up", "made up"]
    assert found(run(1)[:-1]) == ["made up"]


def test_joins() -> None:
    join = Join("01a20000-0000-7000-8000-000000000000", range(2))
    answers = [[0, 4], [1, 5]]
    results: dict[str, Any] = {**dict(zip(join.parts, answers, strict=True)), join.job: [7, 6, answers]}
    filled = [Note("filled", join.job, "", 6, answers)]
    assert list(wrong_in_joins(filled, [join], results)) == []
    for wrong in (answers[::-1], answers[:1], [[0, 4], [1, 9]]):
        assert list(wrong_in_joins([*filled, Note("filled", join.job, "", 7, wrong)], [join], results))
        assert list(wrong_in_joins(filled, [join], results | {join.job: [7, 6, wrong]}))
    assert list(wrong_in_joins([], [join], results)), "it was never filled"
    assert list(wrong_in_joins(filled, [join], results | {join.parts[1]: [0, 5]})), "the result of another part"
