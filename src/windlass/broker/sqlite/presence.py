"""What the verbs about workers do inside a transaction."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from windlass.broker.damaged import decoder
from windlass.broker.sqlite.writer import Transaction, Verb
from windlass.core.job import Card, Duty, Pulse, Wish, Worker
from windlass.errors import StoreCorrupt

card_of = decoder(msgspec.json.Decoder(Card).decode)
"""A card that was stored. Raises `StoreCorrupt`."""


def _beat(tx: Transaction, beat: tuple[str, Card, float, float | None]) -> Pulse:
    worker, card, ttl, at = beat
    row = tx.run("beat", worker, msgspec.json.encode(card), tx.now(at) + ttl).fetchone()
    if row is None:
        return Pulse(alive=False)
    return Pulse(ttl > 0, [job for (job,) in tx.run("beat_cancelling", worker).fetchall()], Wish(*row))


def _wish(tx: Transaction, wish: tuple[str, Duty | None, float | None, float | None]) -> bool:
    *wanted, at = wish
    return tx.run("wish", *wanted, tx.now(at)).rowcount > 0


def _workers(tx: Transaction, at: float | None) -> list[Worker]:
    found = list[Worker]()
    for name, card, until, jobs, *wish in tx.run("workers", tx.now(at)).fetchall():
        with suppress(StoreCorrupt):  # until its next beat
            found.append(Worker(name, card_of(card), datetime.fromtimestamp(until, UTC), jobs, Wish(*wish)))
    return found


beat, wish, workers = Verb.each(_beat), Verb.each(_wish), Verb.each(_workers)
