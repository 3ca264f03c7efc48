"""Looking into the store: jobs by id and by what they are, counts, and what kind of store it is."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from windlass.broker.redis import records
from windlass.broker.redis.client import Client
from windlass.broker.redis.records import STATES, batched, full, short
from windlass.core.job import Job, JobId, QueueInfo, StoreInfo
from windlass.core.state import State
from windlass.errors import BrokerError, ConfigurationError

PAGE = 500
"""Jobs that are looked through at once."""
FEW = 20_000
"""Of a state with no more jobs than this all ids are fetched and sorted; else all jobs are gone through, the newest first."""
SKEW = 1.0
"""Seconds that the server's clock may differ from ours before it is worth a remark."""


async def get(client: Client, ids: Sequence[JobId]) -> list[Job | None]:
    """Each job by its id."""
    found = list[Job | None]()
    for start in range(0, len(ids), PAGE):
        page = ids[start : start + PAGE]
        rows = batched(await client.call("get", *map(short, page)), 4)
        found += [None if row[0] is None else records.job(job, *row) for job, row in zip(page, rows, strict=True)]
    return found


async def find(client: Client, filters: Mapping[str, Any], before: JobId | None, limit: int) -> list[Job]:
    """Jobs that match every filter which is not None, the newest first."""
    wanted = {name: value for name, value in filters.items() if value is not None}
    found = list[Job]()
    async for page in _pages(client, wanted.get("state"), before, PAGE if wanted else limit):
        jobs = await get(client, page)
        found += [job for job in jobs if job and all(getattr(job, name) == value for name, value in wanted.items())]
        if len(found) >= limit:
            break
    return found[:limit]


async def _pages(client: Client, state: State | None, before: JobId | None, size: int) -> AsyncIterator[list[JobId]]:
    """Ids that may be those of jobs in `state`, by descending id."""
    if state is not None:
        members = await client.call("members", records.NUMBERS[state], FEW)
        if members is not None:
            ids = sorted((job for job in map(full, members) if before is None or job < before), reverse=True)
            for start in range(0, len(ids), size):
                yield ids[start : start + size]
            return
    last = b"" if before is None else short(before)
    while page := await client.call("page", last, size):
        yield list(map(full, page))
        last = page[-1]


async def tally(client: Client) -> list[QueueInfo]:
    """How many jobs stand where."""
    counted, paused = await client.call("tally")
    counts: defaultdict[str, dict[State, int]] = defaultdict(dict)
    for field, number in batched(counted, 2):
        queue, _, number_of_state = field.decode().split("\0")
        state = STATES[int(number_of_state)]
        counts[queue][state] = counts[queue].get(state, 0) + int(number)
    stopped = {queue.decode() for queue in paused}
    return [QueueInfo(name, counts.get(name, {}), name in stopped) for name in sorted(counts.keys() | stopped)]


async def describe(client: Client) -> StoreInfo:
    """What the server is, what it keeps through which fault, and what should be set otherwise."""
    info = _parsed(await client.send(b"INFO"))
    settings = await _settings(client)
    clock = await client.send(b"TIME")
    details = {
        "mode": info.get("redis_mode", info.get("server_mode", "?")),
        "role": info.get("role", "?"),
        "appendonly": "yes" if info.get("aof_enabled") == "1" else "no",
        "appendfsync": settings.get("appendfsync", "everysec"),
        "save": settings.get("save", "?"),
        "maxmemory_policy": info.get("maxmemory_policy", "?"),
        "replicas": int(info.get("connected_slaves", 0)),
        "bytes": int(info.get("used_memory", 0)),
        "clock_skew": round(int(clock[0]) + int(clock[1]) / 1e6 - time.time(), 3),
    }
    kept = details["appendonly"] == "yes"
    always = kept and details["appendfsync"] == "always"
    return StoreInfo(
        kind="valkey" if "valkey_version" in info else "redis",
        place=client.place.shown,
        version=info.get("valkey_version", info.get("redis_version", "?")),
        survives=("process crash", "power cut") if always else ("process crash",) if kept else (),
        remarks=tuple(_remarks(details)),
        details=details,
    )


def _remarks(server: Mapping[str, Any]) -> Iterator[str]:
    """What this server can lose, and how to set it otherwise."""
    if server["appendonly"] != "yes":
        yield (
            f"appendonly is no: when the server dies, every job since the last snapshot is lost (save {server['save']!r});"
            " set: CONFIG SET appendonly yes"
        )
    elif server["appendfsync"] != "always":
        yield f"appendfsync is {server['appendfsync']}: a power cut can lose the last second or two of accepted jobs"
    if server["maxmemory_policy"] not in ("noeviction", "?"):
        yield (
            f"maxmemory-policy is {server['maxmemory_policy']}: a full server throws jobs away;"
            " set: CONFIG SET maxmemory-policy noeviction"
        )
    if server["replicas"]:
        yield "it replicates asynchronously: a failover can lose what the replica had not received yet"
    if abs(server["clock_skew"]) > SKEW:
        yield f"its clock differs from ours by {server['clock_skew']:+.1f} s; due times are judged by its clock"


def _parsed(info: Any) -> dict[str, str]:
    text = info.decode() if isinstance(info, bytes) else str(info)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


async def _settings(client: Client) -> dict[str, str]:
    """Some settings of the server; none where we may not ask for them, as with most hosted ones."""
    try:
        found = await client.send(b"CONFIG", b"GET", b"appendfsync", b"save")
    except (ConfigurationError, BrokerError):
        return {}
    pairs = found.items() if isinstance(found, dict) else batched(found, 2)
    return {name.decode(): value.decode() for name, value in pairs}
