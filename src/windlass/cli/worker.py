"""`windlass worker` and `windlass dev`. This process becomes the supervisor of the runners, so it imports no user code:
what the banner says of the app is found out by a process of its own (`windlass probe`), which also finds what is wrong with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, cast

import msgspec
import typer

from windlass import settings
from windlass.broker.port import Broker
from windlass.broker.url import masked
from windlass.cli.find import App, Url, find_app, with_store
from windlass.cli.output import clean, document, talk
from windlass.core.job import DEFAULT_QUEUE, StoreInfo
from windlass.errors import ConfigurationError

Target = Annotated[str | None, typer.Argument(metavar="[TARGET]", help="The app: module:attr or file.py.")]
Queues = Annotated[
    list[str] | None, typer.Option("--queue", "-q", help="Served in this order; default: those of all tasks.")
]
Burst = Annotated[bool, typer.Option("--burst", help="Leave once nothing is ready or running.")]
Form = StrEnum("Form", ["plain", "json", "rich"])
Level = StrEnum("Level", ["debug", "info", "warning", "error"])
LogFormat = Annotated[Form, typer.Option("--log-format", envvar="WINDLASS_LOG_FORMAT")]
LogLevel = Annotated[Level, typer.Option("--log-level", envvar="WINDLASS_LOG_LEVEL", case_sensitive=False)]
NAMED = 5
"""Tasks that the banner names."""
DEV_SHUTDOWN = "5s"


def worker(
    target: Target = None,
    queue: Queues = None,
    concurrency: Annotated[str | None, typer.Option(help="async def jobs at once, per runner.")] = None,
    threads: Annotated[str | None, typer.Option(help='Jobs of lane "thread" at once, per runner.')] = None,
    processes: Annotated[str | None, typer.Option(help='Jobs of lane "process" at once, per runner.')] = None,
    runners: Annotated[str | None, typer.Option(help="Runner processes.")] = None,
    shutdown_timeout: Annotated[str | None, typer.Option(help='How long running jobs may finish: "30s".')] = None,
    burst: Burst = False,
    app: App = None,
    url: Url = None,
    log_format: LogFormat = Form.plain,
    log_level: LogLevel = Level.info,
) -> None:
    """Run jobs. The first SIGTERM or Ctrl-C drains, the second hands everything back at once, the third kills."""
    given = {
        "concurrency": concurrency, "threads": threads, "processes": processes, "runners": runners,
        "shutdown_timeout": shutdown_timeout,
    }  # fmt: skip
    _run(target or app, url, queue, given, (log_format, log_level), burst=burst)


def dev(
    target: Target = None,
    queue: Queues = None,
    app: App = None,
    url: Url = None,
    log_format: LogFormat = Form.rich,
    log_level: LogLevel = Level.info,
) -> None:
    """Run jobs while you work on the code: every saved change starts the runners anew."""
    try:
        from watchfiles import PythonFilter, awatch
    except ModuleNotFoundError:
        raise ConfigurationError("windlass dev needs watchfiles: pip install 'windlass[cli]'") from None
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # what changed is said below
    folder, watching = os.getcwd(), list[asyncio.Task[None]]()

    async def watch(supervisor: Any) -> None:
        async for changes in awatch(folder, watch_filter=PythonFilter()):
            talk(
                f"{', '.join(sorted(path.removeprefix(folder + os.sep) for _, path in changes))} changed: starting anew"
            )
            supervisor.restart_runners()

    _run(
        target or app, url, queue, {"shutdown_timeout": DEV_SHUTDOWN}, (log_format, log_level),
        prepare=lambda supervisor: watching.append(asyncio.create_task(watch(supervisor))),
        hint=f"for development: starts anew when Python files change in {folder}",
    )  # fmt: skip


def probe(target: Annotated[str | None, typer.Argument()] = None, url: Url = None) -> None:
    """Tell, as JSON, what `windlass worker` needs to know of an app."""
    found = find_app(target)
    app = found.app
    if url is not None and app.url != url:
        raise ConfigurationError(
            f"{found.target} names its store itself ({masked(app.url)}): --url {masked(url)} is in vain"
        )
    name = found.target
    if ":" not in name:
        from windlass import targets

        held = targets.load(f"{name}:__dict__")
        name = f"{name}:{next(attribute for attribute, value in held.items() if value is app)}"

    async def look(broker: Broker) -> StoreInfo:
        return await broker.describe()

    store = with_store(app, look, create=True)
    tasks = sorted(app.definitions)
    queues = sorted({one.queue for one in app.definitions.values()} | {DEFAULT_QUEUE})
    plain = {one: getattr(app.settings, one) for one in ("concurrency", "threads", "processes", "runners")}
    document(_Probe(name, found.how, masked(app.url), tasks, queues, plain, store))


class _Probe(msgspec.Struct):
    target: str
    how: str
    url: str
    tasks: list[str]
    queues: list[str]
    slots: dict[str, int]
    store: StoreInfo


def _run(
    target: str | None,
    url: str | None,
    queues: list[str] | None,
    given: dict[str, Any],
    log: tuple[Form, Level],
    *,
    burst: bool = False,
    hint: str = "Ctrl-C drains and stops; twice hands running jobs back at once",
    prepare: Callable[[Any], None] = lambda _: None,
) -> None:
    own = {name: settings.parse(name, value, f"--{name}") for name, value in given.items() if value is not None}
    if url is not None:
        os.environ["WINDLASS_URL"] = url  # inherited by all that we start
    command = [sys.executable, "-m", "windlass.cli.main", "probe"]
    command += [*([target] if target else ()), *(["--url", url] if url else ())]
    probed = subprocess.run(command, check=False, stdout=subprocess.PIPE)
    if probed.returncode:
        raise typer.Exit(probed.returncode)
    told = msgspec.json.decode(probed.stdout, type=_Probe)
    _banner(told, queues or told.queues, {**told.slots, **own}, hint)

    from windlass.observe import logs
    from windlass.worker.supervisor import Supervisor, supervise

    os.environ["WINDLASS_LOG_FORMAT"], os.environ["WINDLASS_LOG_LEVEL"] = log  # for `logs.setup` in the runners
    logs.configure(cast(logs.LogFormat, str(log[0])), log[1])

    def ready(supervisor: Supervisor) -> None:
        logs.subscribe(supervisor.events)
        prepare(supervisor)

    setup = "windlass.observe.logs:setup"
    code = supervise(told.target, queues=queues, settings=own, setup=setup, burst=burst, prepare=ready)
    raise typer.Exit(code)


def _banner(told: _Probe, queues: list[str], slots: dict[str, Any], hint: str) -> None:
    from windlass import __version__

    names = ", ".join(told.tasks[:NAMED]) + (", ..." if len(told.tasks) > NAMED else "")
    lines = {
        "app": f"{told.target} ({told.how})",
        "store": f"{told.url} ({told.store.kind} {told.store.version})",
        "survives": ", ".join(told.store.survives) or "nothing",
        "queues": ", ".join(queues),
        "slots": f"{slots['concurrency']} async, {slots['threads']} threads, {slots['processes']} processes"
        + (f", in each of {slots['runners']} runners" if slots["runners"] > 1 else ""),
        "tasks": f"{len(told.tasks)}: {names}" if told.tasks else "none! Name a module that imports them all",
    }
    print(f"windlass {__version__}", file=sys.stderr)
    for name, said in lines.items():
        print(f"  {name:9}{clean(said)}", file=sys.stderr)
    print(f"  {hint}", file=sys.stderr, flush=True)
