"""`RedisBroker`: the port's verbs over one connection. Each is one script and one round trip, however many jobs it is about."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from math import inf
from typing import Any, TypeVar

import msgspec

from windlass.broker.damaged import UNREADABLE
from windlass.broker.redis import looks, records
from windlass.broker.redis.client import Client, NotDone
from windlass.broker.redis.ear import job as topic_of
from windlass.broker.redis.ear import work
from windlass.broker.redis.history import KEPT, History
from windlass.broker.redis.limits import Limits, metered
from windlass.broker.redis.records import NOBODY, STATES, batched, full, short
from windlass.core import letters
from windlass.core.job import (
    DAY,
    SCAN,
    Card,
    Claim,
    Duty,
    Entry,
    Found,
    Job,
    JobId,
    NewJob,
    Placed,
    Pulse,
    QueueInfo,
    Reading,
    Ready,
    StoreInfo,
    Worker,
)
from windlass.core.outcome import (
    RELEASE_LIMIT,
    Outcome,
    Parked,
    Succeeded,
    lost,
)
from windlass.core.state import State
from windlass.core.terms import Terms
from windlass.errors import BrokerUnavailable, InvalidArguments, StoreCorrupt

R = TypeVar("R")

LOOK_AGAIN = 10.0
"""Seconds after which a waiting call looks by itself: who was woken in its place may have died on the way."""
MOST = 250
"""Jobs of a lane in one claim at most: while a worker starts these, the next ones are made ready for it."""
FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0
"""Seconds between two looks of a waiting call while the store is away: so many at first, and at last."""


class RedisBroker(History, Limits):
    """Jobs in Redis 7.0 or newer, or in Valkey: standalone, behind sentinels, or in one slot of a cluster.

    url: see `Place`. name: each app has keys of its own, which begin with `{name}:`. For one event loop.
    """

    def __init__(self, url: str, name: str = "windlass") -> None:
        self._client = Client(url, name)
        self._call = self._client.call
        self._ear = self._client.ear
        self._wakes = 0
        self._idle = set[str]()  # lines in which our channel may stand
        self._unreadable = list[Claim]()  # claimed, and not parked yet

    # --- life -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        self._client.open = True
        await self._client.connect()

    async def close(self) -> None:
        await self._client.close()

    async def describe(self) -> StoreInfo:
        return await looks.describe(self._client)

    async def now(self) -> float:
        second, microsecond = await self._client.send(b"TIME")
        return int(second) + int(microsecond) / 1e6

    # --- work -------------------------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[NewJob], *, now: float | None = None) -> list[Placed]:
        if not jobs:
            return []
        ids = [short(new.id) for new in jobs]
        if NOBODY in ids:
            raise InvalidArguments(
                f"{jobs[ids.index(NOBODY)].id!r} is no job id: a UUID in its 36 characters is needed"
            )
        told = await self._call("enqueue", _time(now), b"".join(dict.fromkeys(ids)), *_arranged(jobs, ids))
        placed = [Placed(new.id, State.READY) for new in jobs]
        for place, job, state, stored in batched(told, 4):
            placed[place] = Placed(full(job), STATES[state], stored == 1, stored == 2)
        return placed

    async def claim(
        self,
        queues: Sequence[str],
        room: Mapping[str, int],
        worker: str,
        *,
        wait: float = 0.0,
        now: float | None = None,
    ) -> list[Claim]:
        wakes = self._wakes

        async def look(ear: bytes, _said: bytes) -> tuple[list[Claim], bool, float]:
            leaving = b"" if self._idle.isdisjoint(lines) else self._ear.channel
            places = len(queues), *queues, *chain.from_iterable((lane, min(free, MOST)) for lane, free in room.items())
            claims = await self._take(_time(now), worker, ear, leaving, *places)
            if claims:
                self._idle.difference_update(lines)
            elif ear:
                self._idle.update(lines)
            return claims, bool(claims) or self._wakes != wakes, LOOK_AGAIN

        lines = [records.line_of(queue, lane) for queue in queues for lane in room]
        # What was sent and not answered may have happened: then somebody has to take the jobs back, and the caller must know.
        return await self._until(look, map(work, (*lines, f"\0{worker}")), wait, outlives=NotDone)

    async def _take(self, *asked: Any) -> list[Claim]:
        """What `claim.lua` hands out. Jobs that cannot be read are parked, here or with the next call."""
        while True:
            if unreadable := self._unreadable:
                await self.settle([(claim, Parked(UNREADABLE)) for claim in unreadable])
                self._unreadable = [claim for claim in self._unreadable if claim not in unreadable]
            reply = await self._call("claim", *asked)
            claims, damaged = records.claims(reply)
            self._unreadable = [*self._unreadable, *damaged]
            if claims or not reply:
                return claims

    def wake(self) -> None:
        self._wakes += 1
        self._ear.wake(work(""))

    async def settle(
        self, pairs: Sequence[tuple[Claim, Outcome]], *, now: float | None = None
    ) -> tuple[list[bool], list[Ready]]:
        if not pairs:
            return [], []
        if len({claim.id for claim, _ in pairs}) < len(pairs):
            return await self._settle_apart(pairs, now)
        succeeded: defaultdict[tuple[str, str], list[bytes]] = defaultdict(list)
        places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        others, rest = list[Any](), list[int]()
        for place, (claim, outcome) in enumerate(pairs):
            run = short(claim.id), records.fence(claim)
            if isinstance(outcome, Succeeded) and len(outcome.result) <= records.LARGEST:
                line = claim.queue, claim.lane
                succeeded[line] += (*run, records.binary(outcome.result))
                places[line].append(place)
            else:
                others += (*run, *records.ended(outcome))
                rest.append(place)
        args: list[Any] = [_time(now), RELEASE_LIMIT, len(succeeded), *metered(pairs)]
        for line, triples in succeeded.items():
            args += (records.line_of(*line), len(triples) // 3, *triples)
        refused, stale, ready = await self._call("settle", *args, *others)
        applied = [True] * len(pairs)
        in_order = [place for some in places.values() for place in some] if refused else []
        for place in (*map(in_order.__getitem__, refused), *map(rest.__getitem__, stale)):
            applied[place] = False
        return applied, _ready(ready)

    async def _settle_apart(
        self, pairs: Sequence[tuple[Claim, Outcome]], now: float | None
    ) -> tuple[list[bool], list[Ready]]:
        """One after the other: of two outcomes of one job the first counts, and the script sorts them by their kind."""
        applied, ready = list[bool](), list[Ready]()
        for pair in pairs:
            one, more = await self.settle([pair], now=now)
            applied, ready = applied + one, ready + more
        return applied, ready

    async def beat(self, worker: str, card: Card, ttl: float, *, now: float | None = None) -> Pulse:
        words = b"" if card.blameless else msgspec.json.encode(card.last_words or lost(worker))
        told = await self._call("beat", _time(now), worker, msgspec.json.encode(card), ttl, words)
        if told is None:
            return Pulse(alive=False)
        wish, *wanted = told
        return Pulse(ttl > 0, sorted(map(full, wanted)), records.wish(wish))

    async def append(self, pairs: Sequence[tuple[Claim, Sequence[Entry]]], *, now: float | None = None) -> list[bool]:
        if not pairs:
            return []
        args = list[Any]()
        for claim, entries in pairs:
            args += (short(claim.id), records.fence(claim), len(entries))
            for entry in entries:
                args += (_LATEST.get(entry.kind, b"-"), entry.number, records.line(entry))
        return [bool(taken) for taken in await self._call("append", *args)]

    async def read(
        self, job: JobId, *, after: int = 0, wait: float = 0.0, seen: tuple[State, int] | None = None
    ) -> Reading | None:
        stored = short(job)
        stood = b"" if seen is None else f"{records.NUMBERS[seen[0]]} {seen[1]}".encode()

        async def look(ear: bytes, said: bytes) -> tuple[Reading | None, bool, float]:
            with suppress(StoreCorrupt):  # then we ask
                if said:
                    return records.told(job, said), True, 0.0
            entries: list[Entry] = []
            more: bytes | int | None = after
            while True:
                reply = await self._call("read", stored, more, ear, stood)
                if reply is None:
                    return None, True, 0.0
                reading, more = records.reading(job, reply)
                entries += reading.entries
                if more is None:
                    break
            stands = reading.state, reading.attempt
            enough = bool(entries or reading.end or (seen and seen != stands))
            return Reading(*stands, entries, reading.end, reading.last), enough, LOOK_AGAIN

        return await self._until(look, [topic_of(stored)], wait)

    async def _until(
        self,
        look: Callable[[bytes, bytes], Awaitable[tuple[R, bool, float]]],
        topics: Iterable[bytes],
        wait: float,
        outlives: type[BrokerUnavailable] = BrokerUnavailable,
    ) -> R:
        """What `look` finds: once it says that this will do, or `wait` seconds are over, or the broker is closed.

        `look` is given the channel on which to tell us when there is more, if we are going to wait for it, and what was said there
        last; it also answers within how many seconds to look again at the latest. A wait that has begun `outlives` these errors.
        """
        if wait <= 0:
            return (await look(b"", b""))[0]
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        with self._ear.listen(topics) as waiter:
            found, enough, patience = await look(self._ear.channel, b"")
            pause = FIRST_PAUSE
            while not enough and (left := end - loop.time()) > 0 and self._client.open:
                await waiter.wait(min(left, patience))
                if not self._client.open:
                    break
                try:
                    found, enough, patience = await look(self._ear.channel, waiter.take())
                    pause = FIRST_PAUSE
                except outlives:
                    if loop.time() >= end:
                        raise
                    patience = pause = min(pause * 2, LAST_PAUSE)
            return found

    # --- upkeep -----------------------------------------------------------------------------------------------

    async def promote(self, limit: int = 1000, *, wait: float = 0.0, now: float | None = None) -> list[Ready]:
        async def look(ear: bytes, _said: bytes) -> tuple[list[Ready], bool, float]:
            ready, soon = await self._call("promote", _time(now), limit, ear)
            return _ready(ready), bool(ready), min(LOOK_AGAIN, float(soon or LOOK_AGAIN))

        return await self._until(look, [work("\0due")], wait)

    async def reclaim(
        self,
        limit: int = 1000,
        *,
        workers: Sequence[str] | None = None,
        gap: float = inf,
        grace: float = 0.0,
        now: float | None = None,
    ) -> list[Ready]:
        if workers is None:
            return _ready(await self._call("reclaim", _time(now), limit, RELEASE_LIMIT, gap, grace))
        return (
            _ready(await self._call("reclaim", _time(now), limit, RELEASE_LIMIT, "", "", *workers)) if workers else []
        )

    async def prune(self, limit: int = 1000, *, now: float | None = None) -> int:
        return int(await self._call("prune", _time(now), limit, DAY, *KEPT))

    # --- looking and steering ---------------------------------------------------------------------------------

    async def get(self, ids: Sequence[JobId]) -> list[Job | None]:
        return await looks.get(self._client, ids) if ids else []

    async def find(
        self,
        *,
        states: Collection[State] = (),
        queue: str | None = None,
        task: str | None = None,
        key: str | None = None,
        root: JobId | None = None,
        before: JobId | None = None,
        after: JobId | None = None,
        limit: int = 50,
        scan: int = SCAN,
    ) -> Found:
        filters = {"queue": queue, "task": task, "key": key, "root": root}
        return await looks.find(self._client, set(states), filters, (before, after), limit, scan)

    async def tally(self) -> list[QueueInfo]:
        return await looks.tally(self._client)

    async def cancel(self, ids: Sequence[JobId], *, now: float | None = None) -> dict[JobId, State]:
        if not ids:
            return {}
        states = await self._call("cancel", _time(now), *map(short, ids))
        return {job: STATES[state] for job, state in zip(ids, states, strict=True) if state >= 0}

    async def revive(self, ids: Sequence[JobId], *, now: float | None = None) -> list[Ready]:
        return _ready(await self._call("revive", _time(now), *map(short, ids))) if ids else []

    async def deliver(self, job: JobId, name: str, data: bytes, *, now: float | None = None) -> bool:
        letter = letters.write(letters.Letter(name, "event", "", data))
        return bool(await self._call("deliver", _time(now), short(job), name, letter))

    async def forget(self, ids: Sequence[JobId], *, now: float | None = None) -> list[JobId]:
        return list(map(full, await self._call("forget", _time(now), *map(short, ids)))) if ids else []

    async def pause(self, queue: str, paused: bool = True, *, now: float | None = None) -> None:
        await self._call("pause", queue, int(paused), _time(now))

    async def workers(self, *, now: float | None = None) -> list[Worker]:
        return await looks.workers(self._client, _time(now))

    async def wish(
        self, worker: str, state: Duty | None = None, stacks: float | None = None, *, now: float | None = None
    ) -> bool:
        given = "" if stacks is None else stacks
        return bool(await self._call("wish", _time(now), worker, state or "", given))


_LATEST = {"progress": b"p", "checkpoint": b"c"}


def _time(now: float | None) -> float | bytes:
    """A time for a script; empty for the clock of Redis."""
    return b"" if now is None else now


def _ready(told: Sequence[bytes]) -> list[Ready]:
    """What a script says became ready."""
    return [Ready(full(job), queue.decode()) for job, queue in batched(told, 2)]


def _arranged(jobs: Sequence[NewJob], ids: Sequence[bytes]) -> Iterator[Any]:
    """Jobs as `enqueue.lua` takes them: runs of plain jobs (with the same terms, if they only tell others), and single ones."""
    run, options, terms, telling = list[bytes](), ("", "", 0), None, True
    for new, stored in zip(jobs, ids, strict=True):
        if new.terms is not terms:
            telling = new.terms is None or new.terms == Terms(root=new.terms.root, to=new.terms.to)
        plain = telling and new.key is None and new.expires is None and new.at is None and not new.delay
        if run and (not plain or new.terms is not terms or options != (new.queue, new.lane, new.priority)):
            yield from (records.line_of(*options[:2]), options[2], len(run) // 2, _terms(terms), *run)
            run = []
        terms = new.terms
        if plain:
            options = new.queue, new.lane, new.priority
            run += (stored, records.made(new))
        else:
            yield from (records.line_of(new.queue, new.lane), b"", stored, records.made(new))
            yield from (new.delay, b"" if new.at is None else new.at, b"" if new.key is None else f":{new.key}")
            yield _terms(new.terms)
    if run:
        yield from (records.line_of(*options[:2]), options[2], len(run) // 2, _terms(terms), *run)


def _terms(terms: Terms | None) -> bytes:
    return b"" if terms is None else msgspec.msgpack.encode(terms)
