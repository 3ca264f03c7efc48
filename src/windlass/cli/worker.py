"""`windlass worker` and `windlass dev`. This process becomes the supervisor of the runners, so it imports no user code: the first
runner tells what the banner says of the app, or what is wrong with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from windlass import settings
from windlass.cli import beside
from windlass.cli.find import App, Target, Url, refuse_memory
from windlass.cli.output import clean, talk
from windlass.core.job import StoreInfo
from windlass.core.resources import told
from windlass.core.urls import masked
from windlass.errors import ConfigurationError
from windlass.events import WorkerChanged

if TYPE_CHECKING:
    from windlass.worker.link import Ready
    from windlass.worker.supervisor import Supervisor

Queues = Annotated[
    list[str] | None,
    typer.Option("--queue", "-q", help='Served in this order, or by weight ("video:2"); default: those of all tasks.'),
]
Burst = Annotated[bool, typer.Option("--burst", help="Leave once nothing is ready or running.")]
Form = StrEnum("Form", ["plain", "json", "rich"])
Level = StrEnum("Level", ["debug", "info", "warning", "error"])
Address = Annotated[
    str | None,
    typer.Option("--health", envvar="WINDLASS_HEALTH", metavar="[HOST:]PORT", help="Answer /livez and /readyz here."),
]
Metrics = Annotated[
    bool, typer.Option("--metrics", envvar="WINDLASS_METRICS", help="Answer /metrics there, too, for Prometheus.")
]
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
    has: Annotated[list[str] | None, typer.Option(help="What tasks may need of this machine: gpu=2.")] = None,
    shutdown_timeout: Annotated[str | None, typer.Option(help='How long running jobs may finish: "30s".')] = None,
    burst: Burst = False,
    health: Address = None,
    metrics: Metrics = False,
    app: App = None,
    url: Url = None,
    log_format: LogFormat = Form.plain,
    log_level: LogLevel = Level.info,
) -> None:
    """Run jobs. The first SIGTERM or Ctrl-C drains, the second hands everything back at once, the third kills."""
    given = {
        "concurrency": concurrency, "threads": threads, "processes": processes, "runners": runners,
        "shutdown_timeout": shutdown_timeout, "has": ",".join(has) if has else None,
    }  # fmt: skip
    address = settings.project().get("health", "") if health is None else health
    if metrics and not address:
        raise ConfigurationError("metrics are told on the health port: say --health [HOST:]PORT, too")
    _run(target or app, url, queue, given, (log_format, log_level), burst=burst, port=(str(address), metrics))


def dev(
    target: Target = None,
    queue: Queues = None,
    dashboard: Annotated[bool, typer.Option("--dashboard/--no-dashboard", help="Serve the dashboard, too.")] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the dashboard; 0: a free one.")] = 8765,
    app: App = None,
    url: Url = None,
    log_format: LogFormat = Form.rich,
    log_level: LogLevel = Level.info,
) -> None:
    """Run jobs and serve the dashboard while you work on the code: every saved change starts both anew."""
    if find_spec("watchfiles") is None:
        raise ConfigurationError("windlass dev needs watchfiles: pip install 'windlass[cli]'")
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # what changed is said by us
    named, folder = target or app, os.getcwd()
    pages = beside.Dashboard([*([named] if named else []), f"--port={port}"], url)
    served = dashboard and beside.servable()
    more = "" if served or not dashboard else "; with a dashboard after pip install 'windlass[dashboard]'"
    _run(
        named, url, queue, {"shutdown_timeout": DEV_SHUTDOWN}, (log_format, log_level),
        hint=f"for development: starts anew when Python files change in {folder}{more}",
        watch=lambda supervisor: _watch(supervisor, folder, pages if served else None),
    )  # fmt: skip


async def _watch(supervisor: Supervisor, folder: str, pages: beside.Dashboard | None) -> None:
    """Start runners and dashboard anew when the code changes."""
    from watchfiles import PythonFilter, awatch

    ready = asyncio.Event()
    supervisor.events.subscribe(lambda _event: ready.set(), WorkerChanged)
    await ready.wait()  # what is wrong with the app is said once
    async with AsyncExitStack() as running:
        if pages is not None:
            running.push_async_callback(pages.stop)
            await pages.start()
        async for changes in awatch(folder, watch_filter=PythonFilter()):
            changed = sorted(path.removeprefix(folder + os.sep) for _, path in changes)
            talk(f"{', '.join(changed)} changed: starting anew")
            supervisor.restart_runners()
            if pages is not None:
                await pages.stop()
                await pages.start()


def _run(
    target: str | None,
    url: str | None,
    queues: list[str] | None,
    given: dict[str, Any],
    log: tuple[Form, Level],
    *,
    burst: bool = False,
    port: tuple[str, bool] = ("", False),
    hint: str = "Ctrl-C drains and stops; twice hands running jobs back at once",
    watch: Callable[[Supervisor], Coroutine[Any, Any, None]] | None = None,
) -> None:
    from windlass.observe import logs
    from windlass.worker.health import Health
    from windlass.worker.link import Orders
    from windlass.worker.notify import Notify
    from windlass.worker.supervisor import Supervisor

    own = {name: settings.parse(name, value, f"--{name}") for name, value in given.items() if value is not None}
    orders = Orders(target, queues=queues, settings=own, url=url, burst=burst, telling=port[1])
    orders.kind, orders.setup = "windlass.app:Windlass", "windlass.observe.logs:setup"
    os.environ["WINDLASS_LOG_FORMAT"], os.environ["WINDLASS_LOG_LEVEL"] = log  # for `logs.setup` in the runners
    logs.configure(cast(logs.LogFormat, str(log[0])), log[1])

    async def supervise() -> int:
        supervisor = Supervisor(orders, lambda ready, store: _banner(ready, store, hint))
        logs.subscribe(supervisor.events)
        health = Health(supervisor.readiness, _scrape(supervisor) if port[1] else None)
        await health.start(port[0])
        notify = Notify(supervisor.events, supervisor.readiness, supervisor.cards)
        beside = [asyncio.create_task(work) for work in (notify.run(), *([watch(supervisor)] if watch else []))]
        try:
            return await supervisor.run()
        finally:
            notify.stop()
            health.stop()
            for task in beside:
                task.cancel()

    raise typer.Exit(asyncio.run(supervise()))


def _scrape(supervisor: Supervisor) -> Callable[[], Awaitable[str]]:
    """What answers /metrics. Raises `ConfigurationError` where the extra is missing."""
    from windlass.observe.prometheus import Metrics

    metrics = Metrics(supervisor.cards)
    metrics.subscribe(supervisor.events)
    metrics.subscribe(supervisor.heard)
    return lambda: metrics.scrape(supervisor.broker)


def _banner(ready: Ready, store: StoreInfo, hint: str) -> None:
    from windlass import __version__

    refuse_memory(ready.url)
    slots, names = ready.settings, ", ".join(ready.tasks[:NAMED]) + (", ..." if len(ready.tasks) > NAMED else "")
    lines = {
        "app": f"{ready.target} ({ready.how})",
        "store": f"{masked(ready.url)} ({store.kind} {store.version})",
        "survives": ", ".join(store.survives) or "nothing",
        "queues": ", ".join(ready.queues),
        "slots": f"{slots['concurrency']} async, {slots['threads']} threads, {slots['processes']} processes"
        + (f", in each of {slots['runners']} runners" if slots["runners"] > 1 else ""),
        **({"has": told(slots["has"])} if slots["has"] else {}),
        "tasks": f"{len(ready.tasks)}: {names}" if ready.tasks else "none! Name a module that imports them all",
    }
    print(f"windlass {__version__}", file=sys.stderr)
    for name, said in lines.items():
        print(f"  {name:9}{clean(said)}", file=sys.stderr)
    print(f"  {hint}", file=sys.stderr, flush=True)
