"""Looking into the store: jobs by id and by what they are, counts, and what kind of store it is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from typing import Any

from windlass.broker.redis import records
from windlass.broker.redis.client import Client
from windlass.broker.redis.records import batched, full, short
from windlass.core.job import Found, Job, JobId, QueueInfo, StoreInfo, Worker
from windlass.core.state import State
from windlass.core.urls import exposed
from windlass.errors import BrokerError, ConfigurationError, StoreCorrupt

PAGE = 500
"""Jobs that are fetched at once."""
FIRST = 250
"""Ids that are sent at once to be looked at, at first; then four times as many, and so on."""
FEW = 20_000
"""Of states with no more jobs than this all ids are fetched and sorted; else all jobs are gone through, the newest first."""
END = b"\xff" * 17
"""Larger than any id."""
SKEW = 1.0
"""Seconds that the server's clock may differ from ours before it is worth a remark."""


async def get(client: Client, ids: Sequence[JobId]) -> list[Job | None]:
    """Each job by its id."""
    found = list[Job | None]()
    while page := ids[len(found) : len(found) + PAGE]:
        rows = batched(await client.call("get", *map(short, page)), 6)  # perhaps of the first ones only
        found += [None if row[0] is None else records.seen(job, *row) for job, row in zip(page, rows, strict=False)]
    return found


async def find(
    client: Client,
    states: Set[State],
    filters: Mapping[str, str | None],
    bounds: tuple[JobId | None, JobId | None],
    limit: int,
    scan: int,
) -> Found:
    """Jobs in one of `states`, if there are any, that match every filter which is not None; of the ids between the bounds, newest first."""
    wanted = {name: value for name, value in filters.items() if value is not None}
    root = wanted.pop("root", None)
    size = scan if states or wanted else min(scan, limit + 1)
    ids = await _candidates(client, states, *bounds, size, root)
    looked_at, places = len(ids), list(range(min(len(ids), limit + 1)))
    if states or wanted:
        looked_at, places = await _matching(client, ids, states, wanted, limit + 1)
    last = full(ids[looked_at - 1]) if ids and (looked_at < len(ids) or looked_at == size) else None
    chosen = [full(ids[place]) for place in places]
    jobs = [job for job in await get(client, chosen[:limit]) if job and (not states or job.state in states)]
    found = [job for job in jobs if all(getattr(job, name) == value for name, value in wanted.items())]
    return Found(found, chosen[limit - 1] if len(chosen) > limit else last)


async def _matching(
    client: Client, ids: Sequence[bytes], states: Set[State], wanted: Mapping[str, str], limit: int
) -> tuple[int, list[int]]:
    """How many of these were looked at, and the places of those that match: at most `limit`. Few are asked for at first: most match."""
    looked_at, places, many = 0, list[int](), FIRST
    asked = _numbers(states), *(f":{wanted[name]}" if name in wanted else "" for name in ("queue", "task", "key"))
    while len(places) < limit and (some := ids[looked_at : looked_at + many]):
        seen, *found = await client.call("match", limit - len(places), *asked, *some)
        places += [looked_at + place for place in found]
        looked_at += seen
        if seen < len(some):  # they are enough, or large
            break
        many *= 4
    return looked_at, places


async def _candidates(
    client: Client, states: Set[State], before: JobId | None, after: JobId | None, size: int, root: str | None
) -> list[bytes]:
    """The newest ids between the bounds that may be those of jobs in `states`; of one workflow, if it is given."""
    top, bottom = b"" if before is None else short(before), b"" if after is None else short(after)
    if root is not None:
        lists = await client.call("family", root)
    elif states:
        lists = await client.call("members", FEW, *map(records.NUMBERS.__getitem__, states))
    else:
        lists = None
    if lists is None:
        return [one for one in await client.call("page", top, size) if one > bottom]
    members = {one[at : at + 16] for one in lists for at in range(0, len(one), 16)}
    return sorted((one for one in members if bottom < one < (top or END)), reverse=True)[:size]


def _numbers(states: Set[State]) -> bytes:
    return bytes(map(records.NUMBERS.__getitem__, states))


async def tally(client: Client) -> list[QueueInfo]:
    """How many jobs stand where."""
    return records.counts(*await client.call("tally"))


async def workers(client: Client, now: float | bytes) -> list[Worker]:
    """Who lives; but for those whose card cannot be read until their next beat."""
    found = list[Worker]()
    for one in batched(await client.call("workers", now), 5):
        with suppress(StoreCorrupt):
            found.append(records.worker(*one))
    return sorted(found, key=lambda worker: worker.id)


async def describe(client: Client) -> StoreInfo:
    """What the server is, what it keeps through which fault, and what should be set otherwise."""
    info = _parsed(await client.send(b"INFO"))
    settings = await _settings(client)
    clock = await client.send(b"TIME")
    details = {
        "mode": info.get("redis_mode", info.get("server_mode", "?")),
        "role": info.get("role", "?"),
        "appendonly": "yes" if info.get("aof_enabled") == "1" else "no",
        **{name: settings.get(name, "?") for name in _SETTINGS},
        "maxmemory": int(info.get("maxmemory", 0)),
        "maxmemory_policy": info.get("maxmemory_policy", "?"),
        "replicas": int(info.get("connected_slaves", 0)),
        "bytes": int(info.get("used_memory", 0)),
        "clock_skew": round(int(clock[0]) + int(clock[1]) / 1e6 - time.time(), 3),
        **dict(zip(_AUDIT, await client.call("audit"), strict=True)),
    }
    kept = details["appendonly"] == "yes"
    always = kept and details["appendfsync"] == "always" and details["no-appendfsync-on-rewrite"] == "no"
    return StoreInfo(
        kind="valkey" if "valkey_version" in info else "redis",
        place=client.place.shown,
        version=info.get("valkey_version", info.get("redis_version", "?")),
        survives=("process crash", "power cut") if always else ("process crash",) if kept else (),
        remarks=(*_remarks(details), *exposed(client.place.shown)),
        details=details,
    )


def _remarks(server: Mapping[str, Any]) -> Iterator[str]:
    """What this server can lose, and how to set it otherwise; what must not stay as it is begins with DANGER."""
    counted, stored, listed, expired = (server[name] for name in _AUDIT)
    if stored != counted or not listed <= counted <= listed + expired:
        yield (
            f"DANGER: jobs are lost: {counted} are counted, {stored} stored, and {listed} stand where they are looked for;"
            " somebody deleted keys of this app, or the server evicted them"
        )
    if server["maxmemory_policy"].startswith("allkeys"):
        yield (
            f"DANGER: maxmemory-policy is {server['maxmemory_policy']}: a full server throws accepted jobs away without a word;"
            " set: CONFIG SET maxmemory-policy noeviction"
        )
    if server["appendonly"] != "yes":
        yield (
            f"appendonly is no: when the server dies, every job since the last snapshot is lost (save {server['save']!r});"
            " set: CONFIG SET appendonly yes"
        )
    elif server["appendfsync"] == "?":
        yield "its appendfsync may not be read: unless it is always, a power cut can lose the last second or two of accepted jobs"
    elif server["appendfsync"] != "always":
        yield f"appendfsync is {server['appendfsync']}: a power cut can lose the last second or two of accepted jobs"
    elif server["no-appendfsync-on-rewrite"] != "no":
        yield (
            "no-appendfsync-on-rewrite is yes: a power cut can lose jobs accepted while the log is rewritten;"
            " set: CONFIG SET no-appendfsync-on-rewrite no"
        )
    if server["replicas"]:
        yield "it replicates asynchronously: a failover can lose what the replica had not received yet"
    if abs(server["clock_skew"]) > SKEW:
        yield f"its clock differs from ours by {server['clock_skew']:+.1f} s; due times are judged by its clock"


_AUDIT = ("jobs_counted", "jobs_stored", "jobs_listed", "jobs_expired")
_SETTINGS = ("appendfsync", "no-appendfsync-on-rewrite", "save")


def _parsed(info: Any) -> dict[str, str]:
    text = info.decode() if isinstance(info, bytes) else str(info)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


async def _settings(client: Client) -> dict[str, str]:
    """Some settings of the server; none where we may not ask for them, as with most hosted ones."""
    try:
        found = await client.send(b"CONFIG", b"GET", *_SETTINGS)
    except (ConfigurationError, BrokerError):
        return {}
    pairs = found.items() if isinstance(found, dict) else batched(found, 2)
    return {name.decode(): value.decode() for name, value in pairs}
