"""A job, and all that belongs to its workflow or its flow."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence

from windlass.broker.port import Broker
from windlass.core.job import Job, JobId
from windlass.core.state import LIVE, State

PAGE = 500
"""Jobs of a workflow that are read at once."""


async def cancel(broker: Broker, ids: Sequence[JobId]) -> dict[JobId, State]:
    """Cancel jobs, and what belongs to them: the jobs of a workflow whose last one is named, those that a flow has started.

    Answers the state of each that is named and known.
    """
    states = await broker.cancel(ids)
    roots = [job.id for job in await broker.get(ids) if job is not None and _is_root(job)]
    while roots:
        root = roots.pop()
        async for jobs in pages(broker, root, LIVE):
            await broker.cancel([job.id for job in jobs])
            roots += [job.id for job in jobs if job.id != root and _is_root(job)]
    return states


async def pages(broker: Broker, root: JobId, states: Collection[State] = ()) -> AsyncGenerator[list[Job]]:
    """All jobs of a workflow, in these states if any are given; the newest first."""
    before: JobId | None = None
    while True:
        jobs, before = await broker.find(states=states, root=root, before=before, limit=PAGE)
        yield jobs
        if before is None:
            return


def _is_root(job: Job) -> bool:
    """Whether others may belong to it: it is the last job of a workflow, or may be a flow."""
    return job.terms is not None and (job.terms.collects or job.terms.root == job.id)
