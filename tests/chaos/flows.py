"""Flows and joins, and what their code writes down of each step: evidence outside of the store, and its judge.

How do we know that an answer was remembered? `await flow.step(...)` gives it to the code only after the store has said that it is in the
journal. So a line "passed", which the code writes once it has the answer, comes after that; and a run with the same token or a larger one,
which was claimed later, has to know it. A run with a smaller token is that of a worker given up for dead: what it still does is not stored.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from evidence import LOOK, witnessed

from windlass import Depends, Flow, Windlass, current, group
from windlass.core.ids import derived
from windlass.flow import Step

NEVER = 1_000_000
"""Crashes after which a job is given up."""
GO, NOBODY = "go", "nobody says this"
SIDES = 3
"""Jobs of the join in each flow."""
STEPS = ("one", "child", "sleep", "side", "beside", "join", "event", "timeout", "two")
"""The steps of a flow, in the order of their numbers."""
ANSWERED = tuple(name for name in STEPS if name != "sleep")


class Note(msgspec.Struct, frozen=True, array_like=True):
    """One line. what: a function "began" and "gave" (step is its name), the flow "passed" a step, a join was "filled" (no step).

    flow: the job. token: of its run. value: what was given, or seen.
    """

    what: str
    flow: str
    step: str
    token: int
    value: Any = None


def note(what: str, step: str, value: Any = None) -> None:
    """One line in one write: whole, whoever else writes. The order in the file is that in which things happened."""
    ctx = current()
    line = msgspec.json.encode(Note(what, ctx.job_id, step, ctx.token, value)) + b"\n"
    file = os.open(notes_beside(os.environ["CHAOS_EVIDENCE"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def notes_beside(evidence: str | Path) -> str:
    """Where the notes are."""
    return f"{evidence}.steps"


def read_notes(evidence: Path) -> Iterator[Note]:
    """All that is whole."""
    for line in Path(notes_beside(evidence)).read_bytes().split(b"\n")[:-1]:
        yield msgspec.json.decode(line, type=Note)


# --- the program


async def work(name: str) -> str:
    """A step that gives something else each time that it is called."""
    note("began", name)
    await asyncio.sleep(LOOK)
    value = f"{name} {os.urandom(8).hex()}"
    note("gave", name, value)
    return value


async def part(number: int) -> list[int]:
    with witnessed() as ctx:
        await asyncio.sleep(LOOK)
        return [number, ctx.token]


async def total(parts: list[list[int]], number: int) -> list[Any]:
    """A join: what it was filled with is its result."""
    with witnessed() as ctx:
        note("filled", "", parts)
        await asyncio.sleep(LOOK)
        return [number, ctx.token, parts]


def enlist(app: Windlass) -> None:
    """The tasks of this module, with an app."""
    one_part = app.task(name="part", crash_limit=NEVER)(part)
    joined = app.task(name="total", crash_limit=NEVER)(total)

    async def durable(number: int, flow: Flow = Depends()) -> list[Any]:
        """Several remembered steps, a sleep, jobs side by side, an event, and one that never comes."""
        seen = list[Any]()

        def passed(*values: Any) -> None:
            for value in values:
                note("passed", ANSWERED[len(seen)], value)
                seen.append(value)

        with witnessed() as ctx:
            passed(await flow.step(work, "one"))
            passed(await flow.run(one_part.bind(number)))
            await flow.sleep(0.2)
            sides = group(one_part.bind(n) for n in range(SIDES)).then(joined, number)
            side: Step[Any] = flow.step(work, "side")
            passed(*await flow.gather(side, flow.run(one_part.bind(number)), flow.run(sides)))
            passed(await flow.event(GO))
            try:
                passed(await flow.event(NOBODY, timeout=0.1))
            except TimeoutError as error:
                passed(str(error))
            passed(await flow.step(work, "two"))
            return [number, ctx.token, seen]

    app.flow(name="durable", crash_limit=NEVER)(durable)


# --- the judge


class Join(NamedTuple):
    """A join: its id, and the number of each of its parts."""

    job: str
    numbers: Sequence[int]

    @property
    def parts(self) -> list[str]:
        return [derived(self.job, n) for n in range(len(self.numbers))]


def children(flow: str) -> dict[str, int | None]:
    """The jobs that a flow runs, and the numbers that they have; None: that of the flow."""
    made = {name: derived(flow, number) for number, name in enumerate(STEPS, 1)}
    sides = {derived(made["join"], n): n for n in range(SIDES)}
    return {made["child"]: None, made["beside"]: None, made["join"]: None, **sides}


def wrong_in_flows(notes: Sequence[Note], results: dict[str, list[Any]]) -> Iterator[str]:
    """Each broken promise. results: by flow, what its code has seen at the end, step by step."""
    gave: dict[tuple[str, str], set[str]] = {}
    passed: dict[tuple[str, str], Note] = {}
    for one in notes:
        place = one.flow, one.step
        first = passed.get(place)
        if one.what == "gave":
            gave.setdefault(place, set()).add(one.value)
        elif one.what == "began" and first is not None and one.token >= first.token:
            yield f"again: step {one.step} of {one.flow} was remembered by run {first.token}, and run {one.token} began it"
        elif one.what == "passed":
            if first is not None and one.value != first.value:
                yield f"forgotten: step {one.step} of {one.flow} gave {first.value!r}, and then {one.value!r}"
            passed.setdefault(place, one)
    for flow, seen in results.items():
        for step, value in zip(ANSWERED, seen, strict=True):
            first = passed.get((flow, step))
            if first is None or first.value != value:
                yield f"made up: {flow} ended with {value!r} from step {step}, and its code has seen {first!r}"
            if step in ("one", "side", "two") and value not in gave.get((flow, step), ()):
                yield f"made up: step {step} of {flow} gave {value!r}, which its function did not give"


def wrong_in_joins(notes: Sequence[Note], joins: Sequence[Join], results: dict[str, Any]) -> Iterator[str]:
    """Each broken promise. results: of all jobs that have succeeded."""
    filled: dict[str, list[Any]] = {}
    for one in notes:
        if one.what == "filled":
            filled.setdefault(one.flow, []).append(one.value)
    for join in joins:
        answers = [results.get(part) for part in join.parts]
        if [answer and answer[0] for answer in answers] != list(join.numbers):
            yield f"the parts of {join.job} gave {answers}"
        for value in filled.get(join.job, [None]):
            if value != answers:
                yield f"misfilled: the join {join.job} got {value}, and its parts gave {answers}"
        if results.get(join.job, [0, 0, None])[2] != answers:
            yield f"misfilled: the join {join.job} has {results.get(join.job)}, and its parts gave {answers}"
