"""Finding the jobs that a filter wants: what the store cannot tell apart is looked at here, as far as one request may look."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from windlass.broker.port import Broker
from windlass.core.job import Job, JobId
from windlass.core.state import State
from windlass.web.admin.filter import Filter

SCAN = 1000
"""Jobs that one request looks at, at most."""
BATCH = 200
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
    while looked < SCAN:
        batch = limit + 1 if wanted.is_stored else BATCH
        jobs, before = await _find(broker, before=before, limit=batch, **wanted.stored)
        looked += max(1, len(jobs))
        found += [job for job in jobs if wanted.wants(job)]
        if len(found) > limit:
            return Matches(found[:limit], found[limit - 1].id)
        if before is None:
            return Matches(found, None)
    return Matches(found, before, stopped=True)


async def _find(
    broker: Broker,
    *,
    states: Collection[State],
    after: JobId | None,
    before: JobId | None,
    limit: int,
    **exact: str,
) -> tuple[list[Job], JobId | None]:
    """What `broker.find` finds of several states, after an id, and where to go on."""
    pages = [await broker.find(state=state, before=before, limit=limit, **exact) for state in states or (None,)]
    # Of each state all has come that does not lie below the end of a page that is full.
    floor = max((page[-1].id for page in pages if len(page) == limit), default="")
    jobs = sorted((job for page in pages for job in page if job.id >= floor), key=lambda job: job.id, reverse=True)
    more = len(jobs) > limit or floor
    fit = [job for job in jobs[:limit] if after is None or job.id > after]
    return fit, jobs[:limit][-1].id if more and len(fit) == len(jobs[:limit]) else None


def made_at(job_id: JobId) -> datetime:
    """When an id was made, to the millisecond; of one that was not made by the clock, some time."""
    return datetime.fromtimestamp(min((UUID(job_id).int >> 80) / 1000, _LAST), UTC)
