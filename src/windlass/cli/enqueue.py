"""`windlass enqueue`: store a job from the shell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any, cast

import msgspec
import typer

from windlass import Task, Windlass
from windlass.broker.port import Broker
from windlass.cli.find import App, Url, find, with_store
from windlass.cli.follow import follow
from windlass.cli.output import Json, document, line, talk
from windlass.core.job import NewJob
from windlass.core.payload import read_json
from windlass.core.state import State
from windlass.errors import ConfigurationError, InvalidArguments, UnknownTask

SETTINGS = {"ignore_unknown_options": True, "allow_extra_args": True}
AnyTask = Task[..., Any, Any]


def enqueue(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="TASK", help="A task's name, or module:function.")],
    delay: Annotated[str | None, typer.Option("--in", help='Not before this time has passed: 90, "5m", "2h".')] = None,
    at: Annotated[str | None, typer.Option("--at", help="Not before this time: 2030-01-31T12:00+01:00.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="At most one unfinished job has it.")] = None,
    priority: Annotated[int | None, typer.Option("--priority", help="0 to 9, higher is sooner.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", "-q")] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="Cancelled when not started by then.")] = None,
    limit: Annotated[str | None, typer.Option("--timeout", help="Time limit of a run.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end and print the result as JSON.")] = False,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Store a job: windlass enqueue tasks.resize 42 --width 400 --in 5m

    Values are JSON when they parse as JSON, text otherwise. Options that are not listed here are keyword arguments of the
    task; everything after a lone -- is the task's.
    """
    task, store = _task(target, app)
    task = task.options(
        delay=duration(delay), at=_moment(at), key=key, priority=priority, queue=queue, expires=duration(expires),
        timeout=duration(limit),
    )  # fmt: skip
    new = _bind(task, context.args)
    store = store if url is None else Windlass(url, name=store.name, seal=store.seal)

    async def work(broker: Broker) -> None:
        (placed,) = await broker.enqueue([new])
        if not placed.fresh:
            became = "it became this one" if placed.replaced else "nothing was stored"
            talk(f"the job {placed.id} has the key {new.key!r} already; {became}")
        if not wait:
            document(placed) if as_json else line(placed.id)
            return
        talk(f"{task.name} is job {placed.id}")
        if placed.state is State.READY and not any(new.queue in one.card.queues for one in await broker.workers()):
            talk(f"no living worker takes queue {new.queue!r}; start one: windlass worker -q {new.queue}")
        job = await follow(store.job(placed.id), quiet=True)
        document(read_json("the result", job.result or b"null"))

    with_store(store, work, create=True)


def _task(target: str, option: str | None) -> tuple[AnyTask, Windlass]:
    """The task and the app it belongs to. Raises `UnknownTask` with near misses."""
    if ":" in target:
        task: AnyTask = find(target, Task).object
        return task, cast(Windlass, task.app)
    app, where, how = find(option)
    known = app.definitions
    if target in known:
        return app.get_task(target), app
    short = {name.rpartition(".")[2]: name for name in known}
    near = [short[one] for one in get_close_matches(target.rpartition(".")[2], short, cutoff=0.75)]
    hint = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(sorted(known)) or 'no tasks'}"
    raise UnknownTask(f"{where} ({how}) has no task {target!r}; {hint}")


def _bind(task: AnyTask, words: Sequence[str]) -> NewJob:
    """The job for arguments as they were typed. A number or word that the task wants as text is taken as text."""
    args, kwargs = _arguments(words)
    try:
        return task.bind(*map(_value, args), **{name: _value(text) for name, text in kwargs.items()}).job
    except InvalidArguments as error:
        try:
            return task.bind(*map(_scalar, args), **{name: _scalar(text) for name, text in kwargs.items()}).job
        except InvalidArguments:
            raise error from None


def _arguments(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Positional and keyword arguments: --name value, --name=value, or --name alone for true."""
    args: list[str] = []
    kwargs: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            args.append(word)
            continue
        name, equals, text = word[2:].partition("=")
        if not equals:
            text = rest.pop(0) if rest and not rest[0].startswith("--") else "true"
        if (name := name.replace("-", "_")) in kwargs:
            raise InvalidArguments(f"--{name} is given twice; for a list write --{name} '[1, 2]'")
        kwargs[name] = text
    return args, kwargs


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _scalar(text: str) -> Any:
    value = _value(text)
    return value if isinstance(value, (dict, list, str)) else text


def duration(text: str | None) -> float | str | None:
    """A length of time, as it was typed: a bare number is seconds."""
    return float(text) if text and text.replace(".", "", 1).isdigit() else text


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"--at {text!r} is no time; write 2030-01-31T12:00+01:00") from None
