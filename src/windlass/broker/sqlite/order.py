"""The ranks of ready jobs, and the fair shares behind them, within one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec

from windlass.broker.sqlite.schema import sql, write_rows
from windlass.core.job import DEFAULT_PRIORITY
from windlass.core.order import Share, aged, group_of, rank, unranked
from windlass.core.terms import Terms

Line = tuple[str, str, int]
"""Queue, lane, priority."""
Shares = dict[Line, Share]
_terms = msgspec.json.Decoder(Terms | None).decode


class Order:
    """What is there is read when it is first asked for, and what is different then is written at the end, by `save`."""

    def __init__(self, con: sqlite3.Connection) -> None:
        self._con = con
        self._read: Shares | None = None
        self._moved = set[Line]()
        self._changed = set[tuple[Line, str]]()

    @property
    def shares(self) -> Shares:
        """Of the lines that have groups: of each group only what was asked for."""
        if self._read is None:
            found = self._con.execute(sql("order_clocks"))
            self._read = {(queue, lane, priority): Share(place) for queue, lane, priority, place in found}
        return self._read

    def place(self, queue: str, lane: str, priority: int, run_at: float, terms: Terms | None) -> tuple[int, bool]:
        """The rank of a job that becomes ready, and whether it says more than its priority and due time."""
        if terms is None and not self.shares:
            return rank(priority, run_at), False
        line, place = (queue, lane, priority), aged(priority, run_at, terms)
        if place is not None and (queue, lane, DEFAULT_PRIORITY) not in self.shares:
            return rank(DEFAULT_PRIORITY, place), True
        if terms is not None and terms.group is not None and line not in self.shares:
            self.shares[line] = Share(run_at)
            self._moved.add(line)
        group, weight = group_of(terms)
        share = self._share(line, group)
        return (rank(priority, run_at), False) if share is None else (rank(priority, share.turn(group, weight)), True)

    def give_back(self, queue: str, lane: str, priority: int, terms: Terms | None) -> None:
        """A job that was ready goes without having had its turn."""
        group, weight = group_of(terms)
        if share := self._share((queue, lane, priority), group):
            share.give_back(group, weight)

    def advance(self, queue: str, taken: Iterable[tuple[str, int]]) -> None:
        """Jobs of these lanes and ranks were handed out."""
        if not self.shares:
            return
        for lane, number in taken:
            priority, place = unranked(number)
            if share := self.shares.get((queue, lane, priority)):
                share.advance(place)
                self._moved.add((queue, lane, priority))

    def mark(self) -> Shares:
        """What there is now, for `reset`."""
        return {line: Share(share.clock, dict(share.last)) for line, share in self.shares.items()}

    def reset(self, marked: Shares) -> None:
        """Go back to what there was."""
        self._read = marked

    def prune(self, now: float) -> None:
        """Forget the groups that have had all their turns, and the clocks that nobody needs any more."""
        if self.shares:
            self.save()
            self._con.execute(sql("order_forget"))
            self._con.execute(sql("order_stop"), [now])
            self._read = None

    def save(self) -> None:
        """Write what is different."""
        if not self._moved and not self._changed:
            return
        clocks = [(*line, self.shares[line].clock) for line in self._moved if line in self.shares]
        write_rows(self._con, "order_clock", clocks)
        places = [(*line, group, self.shares[line].last.get(group, 0.0)) for line, group in self._changed if line in self.shares]
        write_rows(self._con, "order_turn", places)
        self._moved, self._changed = set(), set()

    def _share(self, line: Line, group: str) -> Share | None:
        """The shares of a line that has groups, that of `group` among them, which is going to be different."""
        share = self.shares.get(line)
        if share is not None:
            self._changed.add((line, group))
            if group not in share.last:
                found = self._con.execute(sql("order_last"), (*line, group)).fetchone()
                share.last[group] = found[0] if found else 0.0
        return share


def terms_of(stored: bytes | msgspec.Raw | None) -> Terms | None:
    """What a job asks for; nothing, where that cannot be read."""
    try:
        return None if stored is None else _terms(stored)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
