from __future__ import annotations

import pytest

from windlass.core.state import BORN, FINISHED, LIVE, TRANSITIONS, Move, State, mermaid


def _reachable(start: frozenset[State]) -> set[State]:
    seen, edge = set(start), set(start)
    while edge:
        edge = {target for (state, _), targets in TRANSITIONS.items() if state in edge for target in targets} - seen
        seen |= edge
    return seen


def test_every_state_can_be_reached_from_birth() -> None:
    assert _reachable(BORN) == set(State)


@pytest.mark.parametrize("state", sorted(LIVE))
def test_every_live_state_can_finish(state: State) -> None:
    assert _reachable(frozenset({state})) & FINISHED


@pytest.mark.parametrize("state", list(State))
def test_finished_is_one_of_three(state: State) -> None:
    assert state.finished is (state in {State.SUCCEEDED, State.FAILED, State.CANCELLED})


def test_only_revive_leaves_a_finished_state() -> None:
    assert {move for (state, move) in TRANSITIONS if state.finished} == {Move.REVIVE}


def test_success_is_for_ever() -> None:
    assert not any((State.SUCCEEDED, move) in TRANSITIONS for move in Move)


def test_only_a_claim_starts_a_run() -> None:
    assert {(state, move) for (state, move), targets in TRANSITIONS.items() if State.RUNNING in targets} == {
        (State.READY, Move.CLAIM)
    }


@pytest.mark.parametrize("move", [move for move in Move if move.startswith("settle")])
def test_only_running_jobs_are_settled(move: Move) -> None:
    assert {state for state in State if (state, move) in TRANSITIONS} == {State.RUNNING}


def test_every_move_is_somewhere_in_the_table() -> None:
    assert {move for _, move in TRANSITIONS} == set(Move)


def test_whatever_may_run_again_can_be_cancelled_before_it_does() -> None:
    for state in LIVE - {State.RUNNING}:
        assert TRANSITIONS[state, Move.CANCEL] == {State.CANCELLED}


def test_diagram_is_drawn_from_the_table() -> None:
    lines = mermaid().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert "    ready --> running: claim" in lines
    assert "    running --> scheduled: retried" in lines
    edges = sum(len(targets) for targets in TRANSITIONS.values())
    assert len(lines) == 1 + len(BORN) + edges + len(FINISHED)
