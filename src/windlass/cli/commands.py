"""All commands, put together. Nothing here or above opens a store or imports user code before a command runs."""

from __future__ import annotations

import math
import os
from typing import Annotated

import typer

from windlass.cli import dashboard, doctor, enqueue, health, job, queue, schedule, stats, worker
from windlass.cli.output import Json, document, line
from windlass.errors import ConfigurationError

app = typer.Typer(
    name="windlass",
    help="Background work for Python web apps.",
    epilog="Exit codes: 0 ok, 1 failed, 2 usage or configuration, 3 not found, 4 store unreachable, 130/143 signals.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def windlass(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks ($WINDLASS_DEBUG=1).")] = False,
) -> None:
    """Background work for Python web apps."""
    if debug:
        os.environ["WINDLASS_DEBUG"] = "1"


@app.command()
def version(as_json: Json = False) -> None:
    """Print the version."""
    from windlass import __version__

    document({"version": __version__}) if as_json else line(__version__)


@app.command("health")
def ask(
    live: Annotated[bool, typer.Option("--live", help="It is enough that they are alive.")] = False,
    pid: Annotated[int | None, typer.Option("--pid", help="Only the worker with this process id.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds for all answers together.")] = health.TIMEOUT,
) -> None:
    """Whether the workers of this user here are ready, for probes. Exit codes: 0 all are, 1 one is not, 3 none runs."""
    if not 0 < timeout < math.inf:
        raise ConfigurationError(f"--timeout is a number of seconds above 0, not {timeout:g}")
    raise typer.Exit(health.health(live, pid, timeout))


app.command("worker")(worker.worker)
app.command("dev")(worker.dev)
app.command("dashboard")(dashboard.dashboard)
app.command("enqueue", context_settings=enqueue.SETTINGS)(enqueue.enqueue)
app.add_typer(job.app, name="job")
app.add_typer(queue.app, name="queue")
app.add_typer(schedule.app, name="schedule")
app.command("workers")(queue.workers)
app.command("limits")(queue.limits)
app.command("stats")(stats.stats)
app.command("top")(stats.top)
app.command("doctor")(doctor.doctor)

command = typer.main.get_command(app)
