"""Finding the jobs that a filter wants: what the store cannot tell apart is looked at here, as far as one request may look."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from windlass.broker.port import Broker
from windlass.core.job import Job, JobId
from windlass.core.state import LIVE, State
from windlass.web.admin.filter import Filter

SCAN = 500
"""Jobs that one request looks at, at most."""
STORED = 8_000
"""The same, of what the store tells apart by itself."""
BATCH = 250
"""Jobs that are fetched at once to be looked at."""
_LAST = datetime.max.replace(tzinfo=UTC).timestamp() - 1


class Matches(NamedTuple):
    """Jobs, the newest first, and the id before which to go on, None at the end. stopped: it looked at as many as it may."""

    jobs: list[Job]
    next: JobId | None
    stopped: bool = False


async def matching(broker: Broker, wanted: Filter, *, before: JobId | None = None, limit: int = 50) -> Matches:
    """Jobs that are wanted, at most `limit`, looking at `SCAN` jobs at most."""
    found, looked = list[Job](), 0
    before = min((one for one in (before, wanted.before) if one is not None), default=None)
    batch, most = (limit, STORED) if wanted.is_stored else (BATCH, SCAN)
    while looked < most:
        jobs, before = await broker.find(before=before, limit=batch, scan=most - looked, **wanted.stored)
        found += [job for job in jobs if wanted.wants(job)]
        if len(found) >= limit:
            rest = before is not None or len(found) > limit
            return Matches(found[:limit], found[limit - 1].id if rest else None)
        if before is None:
            return Matches(found, None)
        looked = looked + len(jobs) if len(jobs) == batch else most
    return Matches(found, before, stopped=True)


async def parts_of(broker: Broker, job: Job) -> list[Job]:
    """Some unfinished jobs that this one waits for before its first run."""
    if job.state is not State.WAITING or job.root is None or job.letters >= job.awaited:
        return []
    found = await broker.find(states=LIVE, root=job.root, limit=BATCH)
    return [one for one in found.jobs if one.terms and job.id in one.terms.to]


def made_at(job_id: JobId) -> datetime:
    """When an id was made, to the millisecond; of one that was not made by the clock, some time."""
    return datetime.fromtimestamp(min((UUID(job_id).int >> 80) / 1000, _LAST), UTC)
