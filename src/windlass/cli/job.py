"""`windlass job`: look at jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
import typer

from windlass.broker.port import Broker
from windlass.cli import steer
from windlass.cli.find import App, Name, Url, find_store, with_store
from windlass.cli.follow import amount, follow
from windlass.cli.output import Json, describe, document, line, table, talk
from windlass.core.durations import date
from windlass.core.gates import uses_of
from windlass.core.ids import check_id
from windlass.core.job import Job
from windlass.core.plain import plain
from windlass.core.state import State
from windlass.errors import JobNotFound
from windlass.handle import WAIT, JobEvent, event_of
from windlass.web.admin.matching import matching, parts_of
from windlass.web.admin.steps import Step, Steps
from windlass.web.admin.why import suspended, waiting

app = typer.Typer(help="List, follow, retry, cancel and delete jobs.", no_args_is_help=True, rich_markup_mode=None)
for verb in steer.VERBS:
    steer.add(app, verb)

Id = Annotated[str, typer.Argument(metavar="ID")]


@app.command("list")
def list_(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILTER...]", help="As in the dashboard: state:failed queue:media since:24h timeout."),
    ] = None,
    state: steer.StateFilter = None,
    queue: steer.QueueFilter = None,
    task: steer.TaskFilter = None,
    key: Annotated[str | None, typer.Option("--key", help="Only the jobs with this key.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000)] = 50,
    before: Annotated[
        str | None, typer.Option("--before", metavar="ID", help="Go on after this job of a listing.")
    ] = None,
    app: App = None,
    url: Url = None,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """List jobs, the newest first. Columns: id, state, task, queue, priority, attempt, created, and what there is to say."""
    after, wanted = check_id(before) if before else None, steer.choice(" ".join(words or ()), state, queue, task, key)
    jobs, next_, _ = with_store(
        find_store(url, app, name), lambda broker: matching(broker, wanted, before=after, limit=limit)
    )
    if as_json:
        document([describe(job) for job in jobs])
        return
    table(
        ("id", "state", "task", "queue", "prio", "try", "created", ""),
        ((j.id, j.state, j.task, j.queue, j.priority, j.attempt, j.created_at, _remark(j)) for j in jobs),
    )
    if next_ is not None:
        talk(f"there may be more: --before {next_}")


@app.command()
def show(id: Id, app: App = None, url: Url = None, name: Name = None, as_json: Json = False) -> None:
    """Show everything about one job, and why it is not running."""
    store = find_store(url, app, name)
    handle = store.job(id)

    async def work(broker: Broker) -> tuple[Job, str]:
        job = await handle.info()
        return job, await _why(job, broker)

    job, why = with_store(store, work)
    told = describe(job, whole=True) | {"why": why or None}
    if as_json:
        document(told)
        return
    for field, value in told.items():
        if field == "progress" and job.progress:
            line(field, amount(job.progress), job.progress.message)
        elif field != "error" and value not in (None, {}, False):
            simple = isinstance(value, (str, int, float, datetime))
            line(field, value if simple else msgspec.json.encode(value).decode())
    if error := job.error:
        line("error", f"{error.type}: {error.message}", *(f"{name}={value}" for name, value in error.evidence.items()))
        print(plain(error.traceback), end="")


@app.command()
def watch(id: Id, app: App = None, url: Url = None, name: Name = None, as_json: Json = False) -> None:
    """Follow a job to its end; exit code 1 when it does not succeed. --json: one event per line."""
    store = find_store(url, app, name)
    handle = store.job(id)  # before the store is looked at: is this an id at all?
    with_store(store, lambda _: follow(handle, as_json=as_json))


@app.command()
def logs(
    id: Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job's end.")] = False,
    app: App = None,
    url: Url = None,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Print what a job logged, of all its attempts. --json: one line of JSON per line of log."""
    id, store = check_id(id), find_store(url, app, name)

    async def work(broker: Broker) -> None:
        last, wait = 0, 0.0
        while (reading := await broker.read(id, after=last, wait=wait)) is not None:
            for entry in reading.entries:
                last = entry.seq
                if entry.kind == "log":
                    _log(event_of(entry, store.settings.max_payload), entry.at, as_json)
            if reading.end or not follow:
                return
            wait = WAIT
        raise JobNotFound(f"there is no job {id}; it never existed, or its time to be kept is over")

    with_store(store, work)


def _log(event: JobEvent, written: float, as_json: bool) -> None:
    told, at = event.data, date(written)
    if as_json:
        one = {"id": event.id, "at": at, "attempt": event.attempt, "level": told.level, "message": told.message}
        print(plain(msgspec.json.encode(one).decode()), flush=True)
    else:
        line(at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), told.level, told.message)


def _remark(job: Job) -> str:
    """The most telling word about a job, for a list."""
    if job.cancelling:
        return "cancel requested"
    if job.state is State.RUNNING and job.progress:
        return f"{amount(job.progress)} {job.progress.message}"
    if job.error and job.state is not State.CANCELLED:
        return f"{job.error.type}: {job.error.message}"
    return job.reason or ""


async def _why(job: Job, broker: Broker) -> str:
    """Why a job is not running, and what to do; "" for one that runs or has finished."""
    now = await broker.now()
    if job.state is State.SCHEDULED:
        if told := " ".join(suspended(job, await _steps(job, broker, now), now)):
            return told
        return "its time has not come" + (f", it failed and is tried again: {job.error.message}" if job.error else "")
    if job.state is State.PARKED:
        return (
            f"{job.reason}; it goes on when a worker that understands it starts, or with: windlass job retry {job.id}"
        )
    if job.state not in (State.READY, State.WAITING):
        return ""
    paused = any(one.paused and one.name == job.queue for one in await broker.tally())
    if job.state is State.WAITING:
        limits = await broker.limits([(use.limit, use.key) for use in uses_of(job.terms)])
        return " ".join(waiting(job, limits, paused, now, await parts_of(broker, job), await _steps(job, broker, now)))
    if paused:
        return f"queue {job.queue} is paused; windlass queue resume {job.queue}"
    takers = [one for one in await broker.workers() if job.queue in one.card.queues]
    if not takers:
        return f"no living worker takes queue {job.queue}; windlass worker -q {job.queue}"
    return f"{len(takers)} worker(s) take queue {job.queue}: it waits for its turn"


async def _steps(job: Job, broker: Broker, now: float) -> list[Step]:
    """The steps of a flow that has run."""
    steps = Steps(job.id)
    if job.root is not None and job.started_at is not None and (reading := await broker.read(job.id)) is not None:
        steps.add(reading.entries)
    return steps.told(now)
