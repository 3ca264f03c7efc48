"""What the verbs do inside a transaction. All calls of a group come at once; nothing here waits, and nothing knows of threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from windlass.broker.damaged import decoder
from windlass.broker.sqlite import gates, history
from windlass.broker.sqlite.gates import Change
from windlass.broker.sqlite.presence import card_of
from windlass.broker.sqlite.rows import Move, Row, by_id, look, stays
from windlass.broker.sqlite.schema import as_json, sql, write_rows
from windlass.broker.sqlite.writer import Transaction, Verb
from windlass.core.job import DAY, Card, Claim, Entry, JobId, NewJob, Placed, Ready
from windlass.core.outcome import (
    RELEASE_LIMIT,
    Cancelled,
    Failed,
    Outcome,
    Parked,
    Released,
    Retried,
    Snoozed,
    Succeeded,
    lost,
    orphaned,
)
from windlass.core.state import State
from windlass.core.terms import Meter
from windlass.errors import StoreCorrupt

FOREVER = 1e12
"""Seconds; a number that SQLite can reckon with."""
_CANCELLED = Cancelled("")


numbers_of = decoder(msgspec.json.Decoder(list[tuple[JobId, int, int, int]]).decode)
claimed_of = decoder(
    msgspec.json.Decoder(
        list[tuple[int, float, int, str, str, str, int, int, int, float, int, str | None, str | None]]
    ).decode
)
"""What is stored, decoded. All of them raise `StoreCorrupt`."""


# --- putting work in ------------------------------------------------------------------------------------------

Enqueue = tuple[Sequence[NewJob], float | None]


def _enqueue(tx: Transaction, calls: list[Enqueue]) -> list[list[Placed]]:
    rows = list[tuple[object, ...]]()
    for jobs, at in calls:
        now = tx.now(at)
        rows += [_new_row(new, now) for new in jobs]
    placed = list[Placed]()
    for start in range(0, len(rows), 256):
        placed += _insert(tx, rows[start : start + 256])
    passed = _limited(tx, calls, rows, placed)
    answers = iter(replace(one, state=State.READY) if one.id in passed else one for one in placed)
    return [[next(answers) for _ in jobs] for jobs, _ in calls]


def _limited(
    tx: Transaction, calls: list[Enqueue], rows: Sequence[Sequence[Any]], placed: Sequence[Placed]
) -> set[JobId]:
    """Bring new jobs with limits to their gates; answers who passed."""
    jobs = [new for some, _ in calls for new in some]
    came = [
        gates.newcomer(new, row[7])
        for new, row, one in zip(jobs, rows, placed, strict=True)
        if one.fresh and one.state is State.WAITING
    ]
    others = {one.id for one in (_move(tx, [], tx.now(calls[-1][1]), Change(new=came)) if came else ())}
    passed = [job for job in came if job.at is None]
    for job in passed:
        tx.count(job.queue, State.WAITING, -1)
        tx.count(job.queue, State.READY, 1)
        tx.ready.add(job.queue)
    return others | {job.id for job in passed}


def _new_row(new: NewJob, now: float) -> tuple[object, ...]:
    run_at = now
    if new.delay or new.at is not None:
        run_at = max(now + new.delay, now if new.at is None else new.at)
    state = State.SCHEDULED if run_at > now else State.WAITING if new.terms and new.terms.uses else State.READY
    expires_at = None if new.expires is None else now + new.expires
    named = new.id, new.task, new.queue, new.lane, new.priority
    terms = None if new.terms is None else msgspec.json.encode(new.terms)
    kept = new.crash_limit, new.keep, new.keep_failed
    return (*named, state.value, now, run_at, expires_at, new.key, *kept, new.body, terms)


def _insert(tx: Transaction, rows: list[tuple[object, ...]]) -> list[Placed]:
    """Insert all at once; when an id or a key is in the way of one (nothing is inserted then), one after the other."""
    try:
        write_rows(tx.con, "enqueue", rows)
    except tx.con.IntegrityError:
        if len(rows) > 1:
            return [placed for row in rows for placed in _insert(tx, [row])]
        known = tx.run("enqueue_known", rows[0][0], rows[0][9]).fetchone()
        if known is None:
            raise
        return [Placed(known[0], State(known[1]), fresh=False)]
    placed = list[Placed]()
    for row in rows:
        job, queue, state = str(row[0]), str(row[2]), State(str(row[5]))
        tx.count(queue, state, 1)
        if state is State.READY:
            tx.ready.add(queue)
        placed.append(Placed(job, state))
    return placed


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
        found.sort(key=lambda job: (-job[0], job[1], job[2]))
        tx.run("claim_take", worker, now, as_json(job[2] for job in found))
        tx.count(queue, State.READY, -len(found))
        tx.count(queue, State.RUNNING, len(found))
        if terms := [job[-1] for job in found if job[-1] is not None]:
            gates.start(tx, terms, now)
        for _, due_at, place, job, task, lane, attempt, crashes, crash_limit, enqueued_at, resumed, text, _ in found:
            body = bytes.fromhex(text) if text is not None else tx.run("claim_body", place).fetchone()[0]
            spent = (attempt, crashes, crash_limit, enqueued_at, now, bool(resumed), due_at)
            claims.append(Claim(job, place, task, queue, lane, body, *spent))
            room[lane] -= 1
            tx.changed.append(job)
        room = {lane: free for lane, free in room.items() if free > 0}
    return claims


Settle = tuple[Sequence[tuple[Claim, Outcome]], float | None]


def _settle(tx: Transaction, calls: list[Settle]) -> list[tuple[list[bool], list[Ready]]]:
    running = _running(tx, [claim for pairs, _ in calls for claim, _ in pairs])
    finished, moves, answers = list[tuple[int, bytes, float]](), list[Move](), list[tuple[list[bool], list[Move]]]()
    ended, metered, now = list[Row](), list[tuple[Row, Sequence[Meter]]](), 0.0
    for pairs, at in calls:
        now, applied, mine, told = tx.now(at), list[bool](), list[Move](), dict[JobId, Outcome]()
        for claim, outcome in pairs:
            row = running.pop((claim.token, claim.id), None)
            applied.append(row is not None)
            if row is None:
                continue
            if claim.meters:
                metered.append((row, claim.meters))
            if isinstance(outcome, Succeeded):
                finished.append((row.place, outcome.result, now))
                ended += [row] if row.terms else []
                tx.count(row.queue, State.RUNNING, -1)
                tx.count(row.queue, State.SUCCEEDED, 1)
                tx.changed.append(row.id)
                continue
            move = _after(row, outcome, now)
            mine.append(move)
            if move.state is State.CANCELLED and not isinstance(outcome, Cancelled):
                told[row.id] = _CANCELLED
        history.tell(tx, told, now)
        answers.append((applied, mine))
        moves += mine
    write_rows(tx.con, "settle_succeeded", finished)
    ready = {one.id: one for one in _move(tx, moves, now, Change(ended=ended, metered=metered))}
    told_of = [[ready.pop(move.row.id) for move in mine if move.row.id in ready] for _, mine in answers]
    if told_of:
        told_of[-1] += ready.values()  # who passed
    return [(applied, some) for (applied, _), some in zip(answers, told_of, strict=True)]


def _running(tx: Transaction, claims: Sequence[Claim]) -> dict[tuple[int, JobId], Row]:
    """The claims that are live, by token and id: a claim's token is the place of its job, which the job leaves with the run."""
    rows = look(tx, "settle_chosen", as_json(claim.token for claim in claims))
    return {(row.place, row.id): row for row in rows if row.state is State.RUNNING}


def _after(row: Row, outcome: Outcome, now: float) -> Move:
    """What becomes of a running job that did not succeed."""
    if row.cancelling and isinstance(outcome, Retried | Snoozed | Released | Parked):
        outcome = Cancelled("cancelled while running")
    move = stays(row, State.CANCELLED)
    match outcome:
        case Failed(error, crash):
            move = move._replace(state=State.FAILED, finished_at=now, error=error)
            return move._replace(attempt=row.attempt - crash, crashes=row.crashes + crash)
        case Retried(delay, error, crash, queue):
            move = _due(move, delay, now)._replace(queue=queue or row.queue, error=error)
            return move._replace(attempt=row.attempt - crash, crashes=row.crashes + crash)
        case Snoozed(delay):
            return _due(move, delay, now)._replace(attempt=row.attempt - 1)
        case Released():
            attempt = row.attempt - (row.releases < RELEASE_LIMIT)
            return _due(move, 0.0, now)._replace(attempt=attempt, releases=row.releases + 1)
        case Parked(reason):
            return move._replace(state=State.PARKED, reason=reason, attempt=row.attempt - 1)
        case Cancelled(reason):
            return move._replace(finished_at=now, reason=reason)
        case _:
            raise AssertionError(outcome)


def _due(move: Move, delay: float, now: float) -> Move:
    return move._replace(state=State.SCHEDULED if delay > 0 else State.READY, run_at=now + delay)


def _move(tx: Transaction, moves: Sequence[Move], now: float, change: Change = gates.NOTHING) -> list[Ready]:
    """Write the moves down, as the gates let them happen; answers what became ready."""
    stands = list[gates.Stand]()
    if any(change) or any(move.row.terms for move in moves):
        moves, stands = gates.pass_gates(tx, moves, change, now)
    if not moves and not stands:
        return []
    ready, rows = list[Ready](), list[tuple[object, ...]]()
    for number, move in enumerate(moves, 1):
        row = move.row
        tx.count(row.queue, row.state, -1)
        tx.count(move.queue, move.state, 1)
        tx.changed.append(row.id)
        if move.state is State.READY:
            ready.append(Ready(row.id, move.queue))
            tx.ready.add(move.queue)
        error = None if move.error is None else msgspec.json.encode(move.error)
        counts = move.attempt, move.crashes, move.releases
        where, when = (move.state.value, move.queue), (move.run_at, move.finished_at)
        rows.append((row.place, *where, *counts, *when, error, move.reason, move.expires, len(moves) - number))
    tx.run("move_places", len(moves))
    write_rows(tx.con, "move", rows)
    write_rows(tx.con, "stand", stands)
    return ready


Append = Sequence[tuple[Claim, Sequence[Entry]]]


def _append(tx: Transaction, calls: list[Append]) -> list[list[bool]]:
    running = _running(tx, [claim for pairs in calls for claim, _ in pairs])
    found = numbers_of(tx.run("append_last", as_json({job for _, job in running})).fetchone()[0])
    last = {job: seq for job, seq, _, _ in found}
    noted = {(token, job): number for job, _, token, number in found}
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


# --- upkeep ---------------------------------------------------------------------------------------------------

Batch = tuple[int, float | None]


def _promote(tx: Transaction, batch: Batch) -> list[Ready]:
    limit, now = batch[0], tx.now(batch[1])
    expired = look(tx, "promote_expired", now, limit)
    moves = [stays(row, State.CANCELLED)._replace(finished_at=now, reason="expired") for row in expired]
    history.tell(tx, {row.id: _CANCELLED for row in expired}, now)
    gone = {row.id for row in expired}
    due = sorted(look(tx, "promote_due", now, limit), key=lambda row: (row.run_at, row.place))
    moves += [stays(row, State.READY) for row in due if row.id not in gone]
    opening = [name for (name,) in tx.run("gate_opening", now, limit).fetchall()]
    return _move(tx, moves, now, Change(opening=opening))


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
            moves.append(_after(row, outcome, now))
            told[row.id] = _CANCELLED if moves[-1].state is State.CANCELLED else outcome
    history.tell(tx, told, now)
    return _move(tx, moves, now)


def _prune(tx: Transaction, batch: Batch) -> int:
    limit, now = batch[0], tx.now(batch[1])
    rows = look(tx, "prune", now, limit)
    _delete(tx, rows, now)
    tx.run("gate_prune", now, limit)
    tx.run("prune_workers", now, DAY)
    tx.run("prune_tally")
    history.prune(tx, now, limit, DAY)
    return len(rows)


def _delete(tx: Transaction, rows: Sequence[Row], now: float) -> None:
    if leaving := [row for row in rows if row.terms and not row.state.finished]:
        _move(tx, [], now, Change(ended=leaving))
    for row in rows:
        tx.count(row.queue, row.state, -1)
        tx.changed.append(row.id)
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
    _move(tx, [stays(row, State.CANCELLED)._replace(finished_at=now, reason="cancelled") for row in waiting], now)
    cancelled = {row.id: _CANCELLED for row in waiting}
    history.tell(tx, cancelled, now)
    return {row.id: State.CANCELLED if row.id in cancelled else row.state for row in rows}


def _revive(tx: Transaction, chosen: Chosen) -> list[Ready]:
    ids, at = chosen
    now, moves, keys = tx.now(at), list[Move](), set[str]()
    for row in by_id(tx, "revive_chosen", ids):
        if row.key is not None and row.key in keys:
            continue
        keys |= {row.key} if row.key is not None else set()
        moves.append(stays(row, State.READY)._replace(run_at=now, crashes=0, expires=False))
    tx.run("revive_ended", as_json(move.row.place for move in moves))
    return _move(tx, moves, now)


def _forget(tx: Transaction, chosen: Chosen) -> list[JobId]:
    ids, at = chosen
    rows = [row for row in by_id(tx, "by_id", ids) if row.state is not State.RUNNING]
    _delete(tx, rows, tx.now(at))
    return [row.id for row in rows]


def _pause(tx: Transaction, wish: tuple[str, bool, float | None]) -> None:
    queue, paused, at = wish
    _move(tx, [], tx.now(at), Change(paused=(queue, paused)))
    tx.run("pause" if paused else "resume", queue)
    tx.ready.add(queue)


def _handed_back(claims: list[Claim]) -> tuple[Verb[Any, Any], Any] | None:
    """Claims whose caller is gone go back at once, not when a lease is over."""
    return (settle, ([(claim, Released()) for claim in claims], None)) if claims else None


append = Verb(_append, turn=0)
settle = Verb(_settle)
enqueue = Verb(_enqueue)
# The last, so that it sees what its neighbours made ready. A power cut ends the process that holds a claim, so it may end the claim, too.
claim = Verb.each(_claim, turn=2, undo=_handed_back, durable=False)
pause, promote, reclaim, prune = Verb.each(_pause), Verb.each(_promote), Verb.each(_reclaim), Verb.each(_prune)
cancel, revive, forget = Verb.each(_cancel), Verb.each(_revive), Verb.each(_forget)
