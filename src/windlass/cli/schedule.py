"""`windlass schedule`: tasks that run by themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
import typer

from windlass import Cron, Every, Schedule, Windlass
from windlass.broker.port import Broker
from windlass.cli.enqueue import duration
from windlass.cli.find import App, Name, Url, find, find_store, with_store
from windlass.cli.output import Json, document, line, table, talk
from windlass.errors import ConfigurationError
from windlass.schedules import Planned

app = typer.Typer(
    help="List, add, edit, pause, resume, run and remove schedules.", no_args_is_help=True, rich_markup_mode=None
)

Which = Annotated[str, typer.Argument(metavar="NAME")]
Line = Annotated[str | None, typer.Option("--cron", help="Five fields: '0 9 * * mon-fri'.", metavar="LINE")]
Zone = Annotated[str | None, typer.Option("--tz", help="The time zone of --cron; UTC by default.")]
Length = Annotated[str | None, typer.Option("--every", help="In steps of this length: 90, 15m, 2h.")]
Arguments = Annotated[
    str | None, typer.Option("--args", help="""The task's arguments: '{"region": "eu"}'.""", metavar="JSON")
]
Options = Annotated[
    str | None, typer.Option("--options", help="""Of its jobs: '{"queue": "video"}'.""", metavar="JSON")
]
Missed = Annotated[str | None, typer.Option("--on-missed", help="What is made up for: skip, once or all.")]
Window = Annotated[str | None, typer.Option("--window", help="How long ago that may be.")]
Overlap = Annotated[str | None, typer.Option("--overlap", help="allow, skip, queue or cancel_other.")]
Jitter = Annotated[str | None, typer.Option("--jitter", help="Start up to so much later.")]


@app.command("list")
def list_(app: App = None, url: Url = None, name: Name = None, as_json: Json = False) -> None:
    """List schedules: name, on or paused, when, next tick, how the last one ended, task."""
    store = find_store(url, app, name)
    found = with_store(store, lambda _: store.schedules.list())
    if as_json:
        document([one.told() for one in found])
        return
    table(
        ("schedule", "", "when", "next", "last", "task"),
        (
            (
                one.schedule.name,
                "paused" if one.schedule.paused else "on",
                one.schedule.when,
                *_ends(one),
                one.schedule.task,
            )
            for one in found
        ),
    )
    if not found:
        talk('there is none; @app.task(schedule=Cron("0 9 * * mon-fri")), or: windlass schedule add')


def _ends(one: Planned) -> tuple[datetime | None, str]:
    """Its next tick, and what became of the last."""
    return next(iter(one.next), None), one.ticks[0].outcome if one.ticks else ""


@app.command()
def show(which: Which, app: App = None, url: Url = None, name: Name = None, as_json: Json = False) -> None:
    """Show one schedule, its next five ticks and its latest."""
    store = find_store(url, app, name)
    _show(with_store(store, lambda _: store.schedules.show(which)), as_json)


@app.command()
def add(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task's name.")],
    which: Annotated[str | None, typer.Option("--as", help="The schedule's name; the task's by default.")] = None,
    cron: Line = None,
    tz: Zone = None,
    every: Length = None,
    args: Arguments = None,
    options: Options = None,
    on_missed: Missed = None,
    window: Window = None,
    overlap: Overlap = None,
    jitter: Jitter = None,
    app: App = None,
    as_json: Json = False,
) -> None:
    """Let a task run by itself: windlass schedule add tasks.report --cron '0 9 * * mon-fri' --tz Europe/Berlin"""
    fields = _fields(cron, tz, every, args, options, on_missed=on_missed, window=window, overlap=overlap, jitter=jitter)
    if "when" not in fields:
        raise ConfigurationError("when? write --cron '0 9 * * mon-fri' or --every 15m")
    store: Windlass = find(app).object

    async def work(_: Broker) -> Planned:
        kept = await store.schedules.add(task, Schedule(name=which or "", **fields))
        return await store.schedules.show(kept.name)

    _show(with_store(store, work, create=True), as_json)


@app.command()
def edit(
    which: Which,
    cron: Line = None,
    tz: Zone = None,
    every: Length = None,
    args: Arguments = None,
    options: Options = None,
    on_missed: Missed = None,
    window: Window = None,
    overlap: Overlap = None,
    jitter: Jitter = None,
    app: App = None,
    url: Url = None,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Change what is given. Of a schedule in the code, that stays so, whatever else the code says later. --args needs the --app."""
    fields = _fields(cron, tz, every, args, options, on_missed=on_missed, window=window, overlap=overlap, jitter=jitter)
    store = find_store(url, app, name)

    async def work(_: Broker) -> Planned:
        await store.schedules.edit(which, **fields)
        return await store.schedules.show(which)

    _show(with_store(store, work), as_json)


@app.command()
def pause(which: Which, app: App = None, url: Url = None, name: Name = None) -> None:
    """Let it fire no more; what it has made already runs."""
    store = find_store(url, app, name)
    with_store(store, lambda _: store.schedules.pause(which))
    line(which, "paused")


@app.command()
def resume(which: Which, app: App = None, url: Url = None, name: Name = None) -> None:
    """Let it fire again, from now on."""
    store = find_store(url, app, name)
    with_store(store, lambda _: store.schedules.resume(which))
    line(which, "on")


@app.command()
def run(which: Which, app: App = None, as_json: Json = False) -> None:
    """Make a job of it now, beside its ticks, and print the job's id."""
    store: Windlass = find(app).object
    job = with_store(store, lambda _: store.schedules.run(which))
    if not job.fresh:
        talk(f"the unfinished job {job.id} is in the way (overlap=skip); nothing was stored")
    document({"id": job.id, "fresh": job.fresh}) if as_json else line(job.id)


@app.command()
def remove(which: Which, app: App = None, url: Url = None, name: Name = None) -> None:
    """Take it out. One that is in the code is taken out there: a worker that starts puts it back."""
    store = find_store(url, app, name)
    with_store(store, lambda _: store.schedules.remove(which))
    line(which, "removed")


def _fields(
    cron: str | None, tz: str | None, every: str | None, args: str | None, options: str | None, **given: str | None
) -> dict[str, Any]:
    """The fields of a schedule that were given. Raises `ConfigurationError`."""
    fields: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name in fields.keys() & {"window", "jitter"}:
        fields[name] = duration(fields[name])
    if cron is not None and every is not None:
        raise ConfigurationError("either --cron or --every")
    if tz is not None and cron is None:
        raise ConfigurationError("--tz goes with --cron")
    if cron is not None:
        fields["when"] = Cron(cron, tz or "UTC")
    if every is not None:
        fields["when"] = Every(duration(every) or every)
    for name, text in (("args", args), ("options", options)):
        if text is not None:
            try:
                fields[name] = msgspec.json.decode(text, type=dict[str, Any])
            except (msgspec.MsgspecError, ValueError) as error:
                raise ConfigurationError(f"--{name} is a JSON object: {error}") from None
    return fields


def _show(one: Planned, as_json: bool) -> None:
    told = one.told()
    if as_json:
        document(told)
        return
    for field, value in told.items():
        if field not in ("when", "next", "ticks") and value not in ({}, [], False):
            line(field, value if isinstance(value, (str, float, bool)) else msgspec.json.encode(value).decode())
    for at in one.next:
        line("next", at)
    for tick in one.ticks:
        line("tick", tick.at, tick.outcome, tick.id)
