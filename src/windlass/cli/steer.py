"""`windlass job retry|cancel|delete`: by ids, or all that match, which asks first."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
from msgspec.structs import replace

from windlass.broker import whole
from windlass.broker.port import Broker
from windlass.cli.find import App, Name, Url, find_store, with_store
from windlass.cli.output import Json, document, line, talk
from windlass.core.ids import check_id
from windlass.core.job import JobId
from windlass.core.state import FINISHED, LIVE, State
from windlass.errors import ConfigurationError, JobNotFound
from windlass.web.admin.filter import Filter, parse, tokens
from windlass.web.admin.matching import matching

BATCH = 500

StateFilter = Annotated[State | None, typer.Option("--state", "-s", help="Only jobs in this state.")]
QueueFilter = Annotated[str | None, typer.Option("--queue", "-q", help="Only jobs of this queue.")]
TaskFilter = Annotated[str | None, typer.Option("--task", "-t", help="Only jobs of this task.")]
Where = Annotated[
    str | None,
    typer.Option(
        "--where", "-w", metavar="FILTER", help="All that match: 'error:OSError since:24h'. No state: as --all."
    ),
]

Act = Callable[[Broker, Sequence[JobId]], Awaitable[dict[JobId, str]]]


@dataclass(frozen=True)
class Verb:
    """What is done to jobs. `act` answers what became of each job it knows; `usual`: the states that are meant when none is named.

    refusal: what is said of a job that was left as it was.
    """

    name: str
    help: str
    act: Act
    usual: Sequence[State]
    refusal: str = ""


async def _retry(broker: Broker, ids: Sequence[JobId]) -> dict[JobId, str]:
    ready = {one.id for one in await broker.revive(ids)}  # with them their parts, and not those that wait again
    found = [job for job in await broker.get(ids) if job and (job.id in ready or job.state is State.WAITING)]
    return {job.id: "ready" if job.id in ready else "waiting" for job in found}


async def _cancel(broker: Broker, ids: Sequence[JobId]) -> dict[JobId, str]:
    states = await whole.cancel(broker, ids)
    return {id: "cancelling" if state is State.RUNNING else str(state) for id, state in states.items()}


async def _delete(broker: Broker, ids: Sequence[JobId]) -> dict[JobId, str]:
    return dict.fromkeys(await broker.forget(ids), "deleted")


VERBS = (
    Verb("retry", "Run jobs now: failed, cancelled, parked or scheduled ones. --all: the failed.", _retry, (State.FAILED,),
         "only failed, cancelled, parked and scheduled jobs can be retried"),
    Verb("cancel", "Cancel jobs; a running one is told to stop. --all: the unfinished.", _cancel, sorted(LIVE)),
    Verb("delete", "Delete jobs with their journals, unless they run. --all: the finished.", _delete, sorted(FINISHED),
         "a running job cannot be deleted; cancel it first"),
)  # fmt: skip


def add(app: typer.Typer, verb: Verb) -> None:
    """Make a verb a command of `app`."""

    @app.command(verb.name, help=verb.help)
    def _(
        ids: Annotated[list[str] | None, typer.Argument(metavar="ID...")] = None,
        where: Where = None,
        state: StateFilter = None,
        queue: QueueFilter = None,
        task: TaskFilter = None,
        every: Annotated[bool, typer.Option("--all", help="All jobs that match the filters.")] = False,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the ids that are concerned.")] = False,
        app: App = None,
        url: Url = None,
        name: Name = None,
        as_json: Json = False,
    ) -> None:
        wanted = _wanted(verb, where, state, queue, task, every)
        if bool(ids) is (wanted is not None):
            raise ConfigurationError(
                "name ids, or filters with --all; not both" if ids else "name at least one job id, or --all, or --where"
            )
        named = list(dict.fromkeys(map(check_id, ids or ())))

        async def choose(broker: Broker) -> list[JobId]:
            if wanted is not None:
                return await _matching(broker, wanted)
            return [job.id for job in await broker.get(named) if job]

        store = find_store(url, app, name)
        chosen = with_store(store, choose)
        if wanted is not None and not dry_run and not yes and chosen:
            _ask(f"{verb.name} {len(chosen)} jobs?")
        told = (
            dict.fromkeys(chosen, f"would {verb.name}")
            if dry_run
            else with_store(store, lambda b: _do(verb, b, chosen))
        )
        _report(verb, told, named, set(chosen), as_json)


async def _do(verb: Verb, broker: Broker, ids: Sequence[JobId]) -> dict[JobId, str]:
    told: dict[JobId, str] = {}
    for start in range(0, len(ids), BATCH):
        told |= await verb.act(broker, ids[start : start + BATCH])
    return told


def choice(words: str, state: State | None, queue: str | None, task: str | None, key: str | None = None) -> Filter:
    """The filter that the words say, with what the options say in place of its own. Raises `InvalidArguments`."""
    said = {"states": state, "queues": queue, "tasks": task, "keys": key}
    return replace(parse(words, time.time()), **{name: (value,) for name, value in said.items() if value is not None})


def _wanted(
    verb: Verb, where: str | None, state: State | None, queue: str | None, task: str | None, every: bool
) -> Filter | None:
    """The jobs that are meant, unless by their ids. Raises `ConfigurationError` when all would be meant and nobody says so."""
    if where is not None and not where.strip():
        raise ConfigurationError("an empty --where means all jobs; say --all")
    if where is None and not every:
        if (state, queue, task) != (None, None, None):
            raise ConfigurationError("filters need --all beside them")
        return None
    wanted = choice(where or "", state, queue, task)
    named = state is not None or any(about == "state" for about, _ in tokens(where or ""))
    return wanted if named else replace(wanted, states=tuple(verb.usual))


async def _matching(broker: Broker, wanted: Filter) -> list[JobId]:
    found: list[JobId] = []
    before: JobId | None = None
    while True:
        jobs, before, _ = await matching(broker, wanted, before=before, limit=BATCH)
        found += [job.id for job in jobs]
        if before is None:
            return found


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} Say --yes (or --dry-run to see which); there is no terminal to ask on")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


def _report(verb: Verb, told: dict[JobId, str], named: Sequence[JobId], known: set[JobId], as_json: bool) -> None:
    """Print what became of each job. A named job that is unknown is "not found"; one that was left alone fails the command."""
    if as_json:
        document([{"id": id, "state": state} for id, state in told.items()])
    else:
        for id, state in told.items():
            line(id, state)
    left = [id for id in named if id in known and id not in told]
    for id in left:
        talk(f"job {id} was left as it is: {verb.refusal}")
    if missing := [id for id in named if id not in known]:
        raise JobNotFound(f"there is no job {', '.join(missing)}")
    if left:
        raise typer.Exit(1)
