"""What the verbs do inside a transaction. All calls of a group come at once; nothing here waits, and nothing knows of threads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from windlass.broker.damaged import decoder
from windlass.broker.sqlite import history, keys
from windlass.broker.sqlite.moves import Move, Row, after, stays
from windlass.broker.sqlite.presence import card_of
from windlass.broker.sqlite.schema import as_json, sql, write_rows
from windlass.broker.sqlite.writer import Transaction, Verb
from windlass.core.job import DAY, Card, Claim, Entry, JobId, Ready
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


rows_of = decoder(msgspec.json.Decoder(list[Row]).decode)
numbers_of = decoder(msgspec.json.Decoder(list[tuple[JobId, int, int, int]]).decode)
claimed_of = decoder(
    msgspec.json.Decoder(
        list[tuple[int, float, int, str, str, str, int, int, int, float, int, str | None, str | None]]
    ).decode
)
"""What is stored, decoded. All of them raise `StoreCorrupt`."""


def _look(tx: Transaction, chosen: str, *values: object) -> list[Row]:
    """The jobs that the statement `chosen` names, by their places."""
    return rows_of(tx.con.execute(sql("look", chosen=sql(chosen)), values).fetchone()[0])


def _by_id(tx: Transaction, chosen: str, ids: Sequence[JobId]) -> list[Row]:
    """The jobs among `ids` that `chosen` admits, in the order asked."""
    rows = {row.id: row for row in _look(tx, chosen, as_json(ids))}
    return [rows[job] for job in dict.fromkeys(ids) if job in rows]


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
        for _, due_at, place, job, task, lane, attempt, crashes, crash_limit, enqueued_at, resumed, text, key in found:
            body = bytes.fromhex(text) if text is not None else tx.run("claim_body", place).fetchone()[0]
            spent = (attempt, crashes, crash_limit, enqueued_at, now, bool(resumed), due_at, key)
            claims.append(Claim(job, place, task, queue, lane, body, *spent))
            room[lane] -= 1
            tx.changed.append(job)
        room = {lane: free for lane, free in room.items() if free > 0}
    return claims


Settle = tuple[Sequence[tuple[Claim, Outcome]], float | None]


def _settle(tx: Transaction, calls: list[Settle]) -> list[tuple[list[bool], list[Ready]]]:
    running = _running(tx, [claim for pairs, _ in calls for claim, _ in pairs])
    finished, moves, answers = list[tuple[int, bytes, float]](), list[Move](), list[tuple[list[bool], list[Ready]]]()
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
                continue
            move = after(row, outcome, now)
            moves.append(move)
            if move.state is State.READY:
                ready.append(Ready(row.id, move.queue))
            if move.state is State.CANCELLED and not isinstance(outcome, Cancelled):
                told[row.id] = _CANCELLED
        history.tell(tx, told, now)
        answers.append((applied, ready))
    write_rows(tx.con, "settle_succeeded", finished)
    _move(tx, moves)
    return answers


def _running(tx: Transaction, claims: Sequence[Claim]) -> dict[tuple[int, JobId], Row]:
    """The claims that are live, by token and id: a claim's token is the place of its job, which the job leaves with the run."""
    rows = _look(tx, "settle_chosen", as_json(claim.token for claim in claims))
    return {(row.place, row.id): row for row in rows if row.state is State.RUNNING}


def _move(tx: Transaction, moves: Sequence[Move]) -> list[Ready]:
    """Write the moves down; answers what became ready."""
    if not moves:
        return []
    ready, rows = list[Ready](), list[tuple[object, ...]]()
    tx.order.leave(move.row.place for move in moves if move.row.state is State.READY)
    ranks = tx.order.enter({move.row.place: (move.queue, move.run_at) for move in moves if move.state is State.READY})
    for number, move in enumerate(moves, 1):
        row = move.row
        tx.count(row.queue, row.state, -1)
        tx.count(move.queue, move.state, 1)
        tx.changed.append(row.id)
        if move.state is State.READY:
            ready.append(Ready(row.id, move.queue))
            tx.ready.add(move.queue)
        if row.asked is not None:
            _note_end(tx, move)
        error = None if move.error is None else msgspec.json.encode(move.error)
        counts = move.attempt, move.crashes, move.releases
        where, when = (move.state.value, move.queue), (move.run_at, move.finished_at)
        to = len(moves) - number, *ranks.get(row.place, (0, False))
        rows.append((row.place, *where, *counts, *when, error, move.reason, move.expires, *to))
    awaiting = [(move.row.place, move.awaits) for move in moves if move.awaits is not None and move.row.asked]
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
    found = _numbers(tx, {job for _, job in running})
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


def _numbers(tx: Transaction, jobs: Iterable[JobId]) -> list[tuple[JobId, int, int, int]]:
    return numbers_of(tx.run("append_last", as_json(jobs)).fetchone()[0])


def last_numbers(tx: Transaction, jobs: Iterable[JobId]) -> dict[JobId, int]:
    """The number that each job's journal gave last."""
    return {job: seq for job, seq, _, _ in _numbers(tx, jobs)}


# --- upkeep ---------------------------------------------------------------------------------------------------

Batch = tuple[int, float | None]


def _promote(tx: Transaction, batch: Batch) -> list[Ready]:
    limit, now = batch[0], tx.now(batch[1])
    expired = _look(tx, "promote_expired", now, limit)
    _move(tx, [stays(row, State.CANCELLED)._replace(finished_at=now, reason="expired") for row in expired])
    history.tell(tx, {row.id: _CANCELLED for row in expired}, now)
    due = sorted(_look(tx, "promote_due", now, limit), key=lambda row: (row.run_at, row.place))
    return _move(tx, [stays(row, State.READY) for row in due])


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
        rows = _look(tx, "reclaim_chosen", worker, limit - len(moves))
        if rows:
            tx.run("reclaim_robbed", worker)
        for row in rows:
            spent = row.crashes, row.crash_limit, row.cancelling
            outcome = orphaned(words, *spent, blameless=said.blameless)
            moves.append(after(row, outcome, now))
            told[row.id] = _CANCELLED if moves[-1].state is State.CANCELLED else outcome
    history.tell(tx, told, now)
    return _move(tx, moves)


def _prune(tx: Transaction, batch: Batch) -> int:
    limit, now = batch[0], tx.now(batch[1])
    rows = _look(tx, "prune", now, limit)
    _delete(tx, rows)
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
    now, rows = tx.now(at), _by_id(tx, "by_id", ids)
    running = [row for row in rows if row.state is State.RUNNING]
    if running:
        tx.run("cancel_running", as_json(row.place for row in running))
        tx.changed += [row.id for row in running]
    waiting = [row for row in rows if row.state is not State.RUNNING and not row.state.finished]
    _move(tx, [stays(row, State.CANCELLED)._replace(finished_at=now, reason="cancelled") for row in waiting])
    cancelled = {row.id: _CANCELLED for row in waiting}
    history.tell(tx, cancelled, now)
    return {row.id: State.CANCELLED if row.id in cancelled else row.state for row in rows}


def _revive(tx: Transaction, chosen: Chosen) -> list[Ready]:
    ids, at = chosen
    now, moves, revived = tx.now(at), list[Move](), set[str]()
    for row in _by_id(tx, "revive_chosen", ids):
        if row.key is not None and (row.key in revived or not keys.taken_back(tx, row.id, row.key, now)):
            continue
        revived |= {row.key} if row.key is not None else set()
        waits = row.asked is not None and not row.asked.started and row.asked.lacking > 0
        moves.append(stays(row, State.WAITING if waits else State.READY)._replace(run_at=now, crashes=0, expires=False))
    tx.run("revive_ended", as_json(move.row.place for move in moves))
    return _move(tx, moves)


def _forget(tx: Transaction, chosen: Chosen) -> list[JobId]:
    ids, at = chosen
    rows = [row for row in _by_id(tx, "by_id", ids) if row.state is not State.RUNNING]
    _delete(tx, rows)
    untold = [row for row in rows if row.asked is not None and not row.state.finished]
    tx.ended += [(row, Cancelled("forgotten"), tx.now(at)) for row in untold]
    return [row.id for row in rows]


def _pause(tx: Transaction, wish: tuple[str, bool]) -> None:
    queue, paused = wish
    tx.run("pause" if paused else "resume", queue)
    tx.ready.add(queue)


# What `letters` goes on with.
by_id, move = _by_id, _move
append = Verb(_append, turn=0)
settle = Verb(_settle)
# The last, so that it sees what its neighbours made ready. A power cut ends the process that holds a claim, so it may end the claim, too.
claim = Verb.each(_claim, turn=2, durable=False)
pause, promote, reclaim, prune = Verb.each(_pause), Verb.each(_promote), Verb.each(_reclaim), Verb.each(_prune)
cancel, revive, forget = Verb.each(_cancel), Verb.each(_revive), Verb.each(_forget)
