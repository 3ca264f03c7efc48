"""Letters: after each verb that may have ended a job, what it ended is told to those who wait for it, in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import msgspec

from windlass.broker.damaged import decoder
from windlass.broker.sqlite import gates, history, verbs
from windlass.broker.sqlite.moves import Asked, Move, Row, stays
from windlass.broker.sqlite.rows import by_id, parts_of
from windlass.broker.sqlite.schema import as_json, write_rows
from windlass.broker.sqlite.verbs import Settle, move
from windlass.broker.sqlite.writer import Transaction, Verb
from windlass.core import letters
from windlass.core.job import Claim, JobId, Ready
from windlass.core.letters import Letter
from windlass.core.outcome import Cancelled, Failed, Outcome, Released, Succeeded
from windlass.core.state import State

I = TypeVar("I")  # noqa: E741  # what a verb is asked
R = TypeVar("R")  # what it answers

_names = decoder(msgspec.json.Decoder(list[tuple[JobId, str]]).decode)
Sent = tuple[JobId, Letter, float]
"""A letter, to whom it goes, and when it was written."""


class Came(NamedTuple):
    """What letters do to those that they are for: what becomes ready by them, and what fails."""

    complete: dict[JobId, Move]
    failed: dict[JobId, Move]


def send(tx: Transaction) -> list[Ready]:
    """Write the letters of what has ended, and of what that ends in turn; answers what became ready."""
    ready, told, bereft, now = list[Ready](), dict[JobId, Outcome](), list[Row](), 0.0
    tx.ended.sort(key=lambda one: not isinstance(one[1], Succeeded))
    while tx.ended:
        ended, tx.ended = tx.ended, []
        bereft, now = bereft + [row for row, _, _ in ended], ended[0][2]
        came = _write(tx, [one for row, outcome, at in ended for one in _letters(row.id, row.asked, outcome, at)])
        ready += move(tx, list(came.complete.values()), now)
        move(tx, list(came.failed.values()), now)
        told |= {job: Failed(one.error) for job, one in came.failed.items() if one.error is not None}
        if not tx.ended:
            unwanted = [
                row for row in parts_of(tx, bereft) if not row.state.finished and row.asked and not row.asked.started
            ]
            move(
                tx,
                [stays(row, State.CANCELLED)._replace(finished_at=now, reason=letters.UNWANTED) for row in unwanted],
                now,
            )
            told |= {row.id: Cancelled(letters.UNWANTED) for row in unwanted}
            bereft = []
    history.tell(tx, told, now)
    return ready


def go_on(tx: Transaction) -> list[Ready]:
    """What follows from what a verb did: first letters, then gates; answers what became ready."""
    return send(tx) + gates.pass_on(tx)


def _letters(job: JobId, asked: Asked, outcome: letters.End, at: float) -> list[Sent]:
    """What a job that has ended writes to others."""
    to = asked.terms.to
    letter = letters.of(job, asked.task, outcome) if to else None
    return [(one, letter, at) for one in to if letter is not None]


class Box(NamedTuple):
    """Somebody whom letters are for. awaits: how many it awaits in all."""

    row: Row
    started: bool
    collects: bool
    awaits: int


def _boxes(tx: Transaction, to: Iterable[JobId]) -> dict[JobId, tuple[Box, int]]:
    """Those who take letters, each with the number of those that came."""
    found = [(row, row.asked) for row in by_id(tx, "by_id", list(to)) if row.asked and row.state is not State.SUCCEEDED]
    return {
        row.id: (Box(row, asked.started, asked.terms.collects, asked.letters + asked.lacking), asked.letters)
        for row, asked in found
    }


def _write(tx: Transaction, sent: Sequence[Sent]) -> Came:
    """Put letters into the journals of those that they are for."""
    boxes = _boxes(tx, dict.fromkeys(one[0] for one in sent)) if sent else {}
    counts = {job: letters for job, (_, letters) in boxes.items()}
    kept = [one for one in sent if one[0] in boxes and (one[1].said not in letters.FAILED or boxes[one[0]][0].collects)]
    known, last = set[tuple[JobId, str]](), dict[JobId, tuple[int, int, int]]()
    if kept:
        known |= set(_names(tx.run("letters_known", as_json((to, one.name) for to, one, _ in kept)).fetchone()[0]))
        last = verbs.last_numbers(tx, {one[0] for one in kept})
    came, written = Came({}, {}), list[tuple[object, ...]]()
    for to, letter, at in sent:
        if to not in boxes:
            continue
        box = boxes[to][0]
        state, lacks = box.row.state, counts[to] < box.awaits and to not in came.failed
        lacks = lacks and not gates.stands(tx, box.row)
        if letter.said in letters.FAILED and not box.collects:
            if lacks and state is State.WAITING and not box.started:
                error = letters.missed(letter)
                came.failed[to] = stays(box.row, State.FAILED)._replace(finished_at=at, error=error)
        elif (new := (to, letter.name) not in known) or not box.started or state.finished:
            known.add((to, letter.name))
            seq, token, number = last[to]
            last[to], counts[to] = (seq + 1, token, number), counts[to] + new
            written.append((to, seq + 1, letter.name, letters.write(letter), at, token, number))
            if lacks and counts[to] == box.awaits and state in (State.WAITING, State.SCHEDULED):
                came.complete[to] = _released(box.row, at)
    changed = dict.fromkeys(str(one[0]) for one in written)
    write_rows(tx.con, "letters_write", written)
    write_rows(tx.con, "letters_count", [(boxes[job][0].row.place, counts[job]) for job in changed])
    tx.changed += changed
    return came


def _released(row: Row, now: float) -> Move:
    """The letters are there: it is ready, unless its own time is still to come."""
    later = row.state is State.WAITING and row.run_at > now
    return stays(row, State.SCHEDULED if later else State.READY)._replace(run_at=row.run_at if later else now)


Event = tuple[JobId, str, bytes, float | None]


def _deliver(tx: Transaction, event: Event) -> bool:
    job, name, data, at = event
    rows = [row for row in by_id(tx, "by_id", [job]) if row.asked is not None and not row.state.finished]
    if rows:
        now = tx.now(at)
        move(tx, list(_write(tx, [(job, Letter(name, "event", "", data), now)]).complete.values()), now)
        go_on(tx)
    return bool(rows)


def _settle(tx: Transaction, calls: list[Settle]) -> list[tuple[list[bool], list[Ready]]]:
    answers = verbs.settle.run(tx, calls)
    answers[-1][1].extend(go_on(tx))
    return answers


def _telling(verb: Verb[I, list[Ready]]) -> Verb[I, list[Ready]]:
    """A verb that answers what became ready, and what follows."""
    return Verb(lambda tx, items: [answer + go_on(tx) for item in items for answer in verb.run(tx, [item])], verb.turn)


def _then_told(verb: Verb[I, R]) -> Verb[I, R]:
    """A verb that answers something else, and what follows."""

    def run(tx: Transaction, items: list[I]) -> list[R]:
        answers = verb.run(tx, items)
        go_on(tx)
        return answers

    return Verb(run, verb.turn)


def _handed_back(claims: list[Claim]) -> tuple[Verb[Any, Any], Any] | None:
    """Claims whose caller is gone go back at once, not when a lease is over."""
    return (settle, ([(claim, Released()) for claim in claims], None)) if claims else None


claim = replace(verbs.claim, undo=_handed_back)
settle, deliver = Verb(_settle), Verb.each(_deliver)
promote, reclaim, revive = _telling(verbs.promote), _telling(verbs.reclaim), _telling(verbs.revive)
cancel, forget = _then_told(verbs.cancel), _then_told(verbs.forget)
