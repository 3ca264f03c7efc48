"""The ranks of ready jobs, and the fair shares behind them, within one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

import msgspec

from windlass.broker.sqlite.schema import as_json, sql, write_rows
from windlass.core.order import Line, Share, Shares
from windlass.core.terms import Terms

_terms = msgspec.json.Decoder(Terms | None).decode


class Order(Shares):
    """What is there is read when it is first asked for, of each group only what is needed; what is different is written by `save`."""

    def __init__(self, con: sqlite3.Connection) -> None:
        self._con = con
        self._read: dict[Line, Share] | None = None
        self._clocks = dict[Line, float]()
        self._changed = set[tuple[Line, str]]()

    @property
    def lines(self) -> dict[Line, Share]:  # type: ignore[override] # read late
        if self._read is None:
            found = self._con.execute(sql("order_clocks"))
            self._clocks = {(queue, lane, priority): place for queue, lane, priority, place in found}
            self._read = {line: Share(place) for line, place in self._clocks.items()}
        return self._read

    def share(self, line: Line, group: str) -> Share | None:
        share = self.lines.get(line)
        if share is not None:
            self._changed.add((line, group))
            if group not in share.last:
                found = self._con.execute(sql("order_last"), (*line, group)).fetchone()
                share.last[group] = found[0] if found else 0.0
        return share

    def enter(self, moved: Mapping[int, tuple[str, float]]) -> dict[int, tuple[int, bool]]:
        """What `place` says of jobs that become ready: by their places so far, the queue and the due time of each."""
        asked = self._asked(moved)
        return {
            place: self.place(queue, *asked[place][1:3], run_at, asked[place][3])
            for place, (queue, run_at) in moved.items()
        }

    def leave(self, places: Iterable[int]) -> None:
        """These jobs, which were ready, go without having had their turn."""
        if self.lines:
            for asked in self._asked(places).values():
                self.give_back(*asked)

    def _asked(self, places: Iterable[int]) -> dict[int, tuple[str, str, int, Terms | None]]:
        """By place: queue, lane, priority and terms."""
        found = self._con.execute(sql("order_lines"), [as_json(places)]) if places else ()
        return {place: (*line, terms_of(terms)) for place, *line, terms in found}

    def mark(self) -> dict[Line, Share]:
        """What there is now, for `reset`."""
        return {line: Share(share.clock, dict(share.last)) for line, share in self.lines.items()}

    def reset(self, marked: dict[Line, Share]) -> None:
        """Go back to what there was."""
        self._read = marked

    def forget(self, now: float) -> None:
        """Forget the groups that have had all their turns, and the clocks that nobody needs any more."""
        if self.lines:
            self.save()
            self._con.execute(sql("order_forget"))
            self._con.execute(sql("order_stop"), [now])
            self._read = None

    def save(self) -> None:
        """Write what is different."""
        if not self._read:
            return
        clocks = [(*line, share.clock) for line, share in self._read.items() if share.clock != self._clocks.get(line)]
        write_rows(self._con, "order_clock", clocks)
        changed = ((line, group, self._read.get(line)) for line, group in self._changed)
        turns = [(*line, group, share.last.get(group, 0.0)) for line, group, share in changed if share]
        write_rows(self._con, "order_turn", turns)
        self._changed.clear()


def terms_of(stored: bytes | None) -> Terms | None:
    """What a job asks for; nothing, where that cannot be read."""
    try:
        return None if stored is None else _terms(stored)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
