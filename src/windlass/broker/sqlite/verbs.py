"""What the verbs do inside a transaction. All calls of a group come at once; nothing here waits, and nothing knows of threads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from windlass.broker.damaged import decoder
from windlass.broker.sqlite import gates, history, keys
from windlass.broker.sqlite.moves import Move, Row, after, stays
from windlass.broker.sqlite.presence import card_of
from windlass.broker.sqlite.rows import by_id, look, parts_of
from windlass.broker.sqlite.schema import as_json, sql, write_rows
from windlass.broker.sqlite.writer import Transaction, Verb
from windlass.core.job import DAY, Card, Claim, Entry, JobId, Ready
from windlass.core.letters import MISSED
from windlass.core.outcome import (
    Cancelled,
    Failed,
    Outcome,
    Succeeded,
    lost,
    orphaned,
)
from windlass.core.state import State
from windlass.errors import StoreCorrupt

FOREVER = 1e12
"""Seconds; a number that SQLite can reckon with."""
_CANCELLED = Cancelled("")


numbers_of = decoder(msgspec.json.Decoder(list[tuple[JobId, int, int, int]]).decode)
claimed_of = decoder(
    msgspec.json.Decoder(
        list[tuple[int, float, int, str, str, str, int, int, int, float, int, str | None, str | None, str | None]]
    ).decode
)
"""What is stored, decoded. All of them raise `StoreCorrupt`."""


# --- taking work out ------------------------------------------------------------------------------------------

Ask = tuple[Sequence[str], Mapping[str, int], str, float | None]


def _claim(tx: Transaction, ask: Ask) -> list[Claim]:
    queues, wanted, worker, at = ask
    now, room, claims = tx.now(at), {lane: free for lane, free in wanted.items() if free > 0}, list[Claim]()
    for queue in dict.fromkeys(queues):
        if not room:
            break
        lanes = " UNION ALL ".join([sql("claim_lane")] * len(room))
        slots = [value for lane, free in room.items() for value in (lane, free)]
        found = claimed_of(tx.con.execute(sql("claim", lanes=lanes), [worker, now, queue, *slots]).fetchone()[0])
        if not found:
            continue
        found.sort(key=lambda job: (job[0], job[2]))
        for one in found if tx.order.lines else ():
            tx.order.advance(queue, one[5], one[0])
        tx.run("claim_take", worker, now, as_json(job[2] for job in found))
        tx.count(queue, State.READY, -len(found))
        tx.count(queue, State.RUNNING, len(found))
        gates.start(tx, [job[-1] for job in found if job[-1] is not None], now)
        for _, due_at, place, job, task, lane, attempt, crashes, limit, came_at, resumed, text, key, _ in found:
            body = bytes.fromhex(text) if text is not None else tx.run("claim_body", place).fetchone()[0]
            spent = (attempt, crashes, limit, came_at, now, bool(resumed), due_at, key)
            claims.append(Claim(job, place, task, queue, lane, body, *spent))
            room[lane] -= 1
            tx.changed.append(job)
        room = {lane: free for lane, free in room.items() if free > 0}
    return claims


Settle = tuple[Sequence[tuple[Claim, Outcome]], float | None]


def _settle(tx: Transaction, calls: list[Settle]) -> list[tuple[list[bool], list[Ready]]]:
    running, left = _running(tx, [claim for pairs, _ in calls for claim, _ in pairs]), list[Row]()
    finished, moves, answers = list[tuple[int, bytes, float]](), list[Move](), list[tuple[list[bool], list[Ready]]]()
    _meter(tx, calls, running)
    now = 0.0
    for pairs, at in calls:
        now, applied, ready, told = tx.now(at), list[bool](), list[Ready](), dict[JobId, Outcome]()
        for claim, outcome in pairs:
            row = running.pop((claim.token, claim.id), None)
            applied.append(row is not None)
            if row is None:
                continue
            if isinstance(outcome, Succeeded):
                finished.append((row.place, outcome.result, now))
                tx.count(row.queue, State.RUNNING, -1)
                tx.count(row.queue, State.SUCCEEDED, 1)
                tx.changed.append(row.id)
                if row.asked is not None:
                    tx.ended.append((row, outcome, now))
                    left += [row] if row.uses else []
                continue
            one = after(row, outcome, now)
            moves.append(one)
            if one.state is State.READY and not row.uses:
                ready.append(Ready(row.id, one.queue))
            if one.state is State.CANCELLED and not isinstance(outcome, Cancelled):
                told[row.id] = _CANCELLED
        history.tell(tx, told, now)
        answers.append((applied, ready))
    write_rows(tx.con, "settle_succeeded", finished)
    if left:
        tx.run("gate_left", as_json(row.place for row in left))
        gates.gone(tx, left, now)
    move(tx, moves, now)
    return answers


def _meter(tx: Transaction, calls: list[Settle], running: Mapping[tuple[int, JobId], Row]) -> None:
    """What runs say of their limits comes before their ends: who passed a gate that is closed now goes back to it."""
    said = {
        (claim.token, claim.id): (claim, at)
        for pairs, at in reversed(calls)
        for claim, _ in reversed(pairs)
        if claim.meters
    }
    for run, (claim, at) in reversed(said.items()):
        if run in running:
            now = tx.now(at)
            closed = gates.at(tx, now).meter(gates.stander(running[run]), claim.meters, now)
            move(tx, [stays(row, State.READY) for row in gates.passed(tx, closed)], now)


def _running(tx: Transaction, claims: Sequence[Claim]) -> dict[tuple[int, JobId], Row]:
    """The claims that are live, by token and id: a claim's token is the place of its job, which the job leaves with the run."""
    rows = look(tx, "settle_chosen", as_json(claim.token for claim in claims))
    return {(row.place, row.id): row for row in rows if row.state is State.RUNNING}


def move(tx: Transaction, moves: Sequence[Move], now: float) -> list[Ready]:
    """Write the moves down, as the gates let them happen; answers what became ready."""
    if not moves:
        return []
    moves = gates.met(tx, moves, now)
    ready, rows = list[Ready](), list[tuple[object, ...]]()
    tx.order.leave(one.row.place for one in moves if one.row.state is State.READY)
    ranks = tx.order.enter({one.row.place: (one.queue, one.run_at) for one in moves if one.state is State.READY})
    for number, one in enumerate(moves, 1):
        row = one.row
        tx.count(row.queue, row.state, -1)
        tx.count(one.queue, one.state, 1)
        tx.changed.append(row.id)
        if one.state is State.READY:
            ready.append(Ready(row.id, one.queue))
            tx.ready.add(one.queue)
        if row.asked is not None:
            _note_end(tx, one)
        error = None if one.error is None else msgspec.json.encode(one.error)
        counts = one.attempt, one.crashes, one.releases
        where, when = (one.state.value, one.queue), (one.run_at, one.finished_at)
        to = len(moves) - number, *ranks.get(row.place, (0, False))
        rows.append((row.place, *where, *counts, *when, error, one.reason, one.expires, *to))
    awaiting = [(one.row.place, one.awaits) for one in moves if one.awaits is not None and one.row.asked]
    write_rows(tx.con, "letters_await", awaiting)
    tx.run("move_places", len(moves))
    write_rows(tx.con, "move", rows)
    return ready


def _note_end(tx: Transaction, move: Move) -> None:
    """A job with terms may have somebody to tell of its end."""
    row, at = move.row, move.finished_at or 0.0
    if move.state is State.FAILED and move.error is not None:
        tx.ended.append((row, Failed(move.error), at))
    elif move.state is State.CANCELLED:
        tx.ended.append((row, Cancelled(move.reason or ""), at))


Append = Sequence[tuple[Claim, Sequence[Entry]]]


def _append(tx: Transaction, calls: list[Append]) -> list[list[bool]]:
    running = _running(tx, [claim for pairs in calls for claim, _ in pairs])
    found = last_numbers(tx, {job for _, job in running})
    last = {job: seq for job, (seq, _, _) in found.items()}
    noted = {(token, job): number for job, (_, token, number) in found.items()}
    rows, answers = list[tuple[object, ...]](), list[list[bool]]()
    for pairs in calls:
        answers.append([(claim.token, claim.id) in running for claim, _ in pairs])
        for (claim, entries), taken in zip(pairs, answers[-1], strict=True):
            run = claim.token, claim.id
            for entry in entries if taken else ():
                if 0 < entry.number <= noted.get(run, 0):
                    continue
                last[claim.id] += 1
                noted[run] = max(noted.get(run, 0), entry.number)
                told = entry.kind, entry.data, entry.at, entry.attempt
                rows.append((claim.id, last[claim.id], *told, claim.token, noted[run]))
                tx.changed.append(claim.id)
    write_rows(tx.con, "append", rows)
    return answers


def last_numbers(tx: Transaction, jobs: Iterable[JobId]) -> dict[JobId, tuple[int, int, int]]:
    """What the statement says of each: the number that its journal gave last; the token and the number of the run that wrote there last."""
    found = numbers_of(tx.run("append_last", as_json(jobs)).fetchone()[0])
    return {job: (seq, token, number) for job, seq, token, number in found}


# --- upkeep ---------------------------------------------------------------------------------------------------

Batch = tuple[int, float | None]


def _promote(tx: Transaction, batch: Batch) -> list[Ready]:
    limit, now = batch[0], tx.now(batch[1])
    expired = look(tx, "promote_expired", now, limit)
    move(tx, [stays(row, State.CANCELLED)._replace(finished_at=now, reason="expired") for row in expired], now)
    history.tell(tx, {row.id: _CANCELLED for row in expired}, now)
    due = sorted(look(tx, "promote_due", now, limit), key=lambda row: (row.run_at, row.place))
    ready = move(tx, [stays(row, State.READY) for row in due], now)
    if opening := tx.run("gate_opening", now, limit).fetchall():
        gates.at(tx, now).touched.update(name for (name,) in opening)
    return ready


Reclaim = tuple[int, Sequence[str] | None, float, float, float | None]


def _reclaim(tx: Transaction, ask: Reclaim) -> list[Ready]:
    limit, workers, gap, grace, at = ask
    now, moves, told = tx.now(at), list[Move](), dict[JobId, Outcome]()
    if workers is None and now < tx.run("reclaim_look", now, min(gap, FOREVER), grace).fetchone()[0]:
        return []
    for worker, card in tx.run("reclaim_workers", now, None if workers is None else as_json(workers)).fetchall():
        try:
            said = card_of(card)
        except StoreCorrupt:
            said = Card(host="?", pid=0)
        words = said.last_words or lost(worker)
        rows = look(tx, "reclaim_chosen", worker, limit - len(moves))
        if rows:
            tx.run("reclaim_robbed", worker)
        for row in rows:
            spent = row.crashes, row.crash_limit, row.cancelling
            outcome = orphaned(words, *spent, blameless=said.blameless)
            moves.append(after(row, outcome, now))
            told[row.id] = _CANCELLED if moves[-1].state is State.CANCELLED else outcome
    history.tell(tx, told, now)
    return move(tx, moves, now)


def _prune(tx: Transaction, batch: Batch) -> int:
    limit, now = batch[0], tx.now(batch[1])
    rows = look(tx, "prune", now, limit)
    _delete(tx, rows)
    tx.run("gate_prune", now, limit)
    tx.run("prune_workers", now, DAY)
    tx.run("prune_tally")
    tx.order.forget(now)
    history.prune(tx, now, limit, DAY)
    return len(rows)


def _delete(tx: Transaction, rows: Sequence[Row]) -> None:
    for row in rows:
        tx.count(row.queue, row.state, -1)
        tx.changed.append(row.id)
    tx.order.leave(row.place for row in rows if row.state is State.READY)
    if rows:
        tx.run("forget_entries", as_json(row.id for row in rows))
        tx.run("forget", as_json(row.place for row in rows))


# --- steering -------------------------------------------------------------------------------------------------

Chosen = tuple[Sequence[JobId], float | None]


def _cancel(tx: Transaction, chosen: Chosen) -> dict[JobId, State]:
    ids, at = chosen
    now, rows = tx.now(at), by_id(tx, "by_id", ids)
    running = [row for row in rows if row.state is State.RUNNING]
    if running:
        tx.run("cancel_running", as_json(row.place for row in running))
        tx.changed += [row.id for row in running]
    waiting = [row for row in rows if row.state is not State.RUNNING and not row.state.finished]
    move(tx, [stays(row, State.CANCELLED)._replace(finished_at=now, reason="cancelled") for row in waiting], now)
    cancelled = {row.id: _CANCELLED for row in waiting}
    history.tell(tx, cancelled, now)
    return {row.id: State.CANCELLED if row.id in cancelled else row.state for row in rows}


def _revive(tx: Transaction, chosen: Chosen) -> list[Ready]:
    ids, at = chosen
    now, moves, revived, left = tx.now(at), list[Move](), set[str](), by_id(tx, "revive_chosen", ids)
    known = {row.id for row in left}
    for row in left:  # which grows
        if row.key is not None and (row.key in revived or not keys.taken_back(tx, row.id, row.key, now)):
            continue
        revived |= {row.key} if row.key is not None else set()
        waits = row.asked is not None and not row.asked.started and row.asked.lacking > 0
        moves.append(stays(row, State.WAITING if waits else State.READY)._replace(run_at=now, crashes=0, expires=False))
        parts = [one for one in parts_of(tx, [row]) if one.state in MISSED and one.id not in known] if waits else []
        known.update(one.id for one in parts)
        left += parts
    tx.run("revive_ended", as_json(one.row.place for one in moves))
    return move(tx, moves, now)


def _forget(tx: Transaction, chosen: Chosen) -> list[JobId]:
    ids, at = chosen
    now, rows = tx.now(at), [row for row in by_id(tx, "by_id", ids) if row.state is not State.RUNNING]
    _delete(tx, rows)
    untold = [row for row in rows if row.asked is not None and not row.state.finished]
    gates.gone(tx, untold, now)
    tx.ended += [(row, Cancelled("forgotten"), now) for row in untold]
    return [row.id for row in rows]


def _pause(tx: Transaction, wish: tuple[str, bool, float | None]) -> None:
    queue, paused, now = wish[0], wish[1], tx.now(wish[2])
    gates.at(tx, now).pause(queue, paused, now)
    if paused:
        move(tx, [stays(row, State.READY) for row in look(tx, "gate_passed", queue)], now)
    gates.pass_on(tx)
    tx.run("pause" if paused else "resume", queue)
    tx.ready.add(queue)


append = Verb(_append, turn=0)
settle = Verb(_settle)
# The last, so that it sees what its neighbours made ready. A power cut ends the process that holds a claim, so it may end the claim, too.
claim = Verb.each(_claim, turn=2, durable=False)
pause, promote, reclaim, prune = Verb.each(_pause), Verb.each(_promote), Verb.each(_reclaim), Verb.each(_prune)
cancel, revive, forget = Verb.each(_cancel), Verb.each(_revive), Verb.each(_forget)
