"""`make bench-peers`: Windlass beside the other Python task queues, side by side in one run.

    python benchmarks/peers/run.py                                    everything: more than an hour on a quiet machine
    python benchmarks/peers/run.py --only ardiq,celery --quick        a first look, a few minutes
    python benchmarks/peers/run.py --scenario A,C --rounds 5
    python benchmarks/peers/run.py --render FILE.json                 the report of a run that was made before

Each library gets a virtual environment of its own in the user's cache folder, with the versions and settings of `contenders.py`; all run
on the same Python, against Redis servers that the run starts on free loopback ports and ends again. A whole run is written to
`benchmarks/results/peers.*` and into `docs/benchmarks.md`; any other to the cache folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the package `peers`, not the files in it

from peers.catalogue import BY_ID, SCENARIOS, Scenario  # noqa: E402 # found by the line above
from peers.contenders import BY_NAME, CONTENDERS, OURS, PROBE, Contender  # noqa: E402 # the same
from peers.environments import Environment, Interpreter, Unavailable, cache  # noqa: E402 # the same
from peers.report import into_page, render  # noqa: E402 # the same
from peers.suite import BENCHMARKS, ROOT, Suite  # noqa: E402 # the same
from peers.summary import Results  # noqa: E402 # the same

RESULTS, PAGE = BENCHMARKS / "results", ROOT / "docs" / "benchmarks.md"
PLOTTING = ("matplotlib==3.11.2",)


def arguments() -> argparse.Namespace:
    ids = ", ".join(f"{scenario.id} ({scenario.title})" for scenario in SCENARIOS)
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"Scenarios: {ids}.", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", metavar="NAMES", help="these peers, with commas; Windlass and the bare probe always run"
    )
    parser.add_argument("--scenario", metavar="IDS", help="these scenarios, with commas")
    parser.add_argument("--rounds", type=int, help="measurements of each figure (3; 1 when quick)")
    parser.add_argument("--quick", action="store_true", help="small amounts, one round: to see that it runs")
    parser.add_argument("--python", default=sys.executable, help="the Python that every library runs on (this one)")
    parser.add_argument("--redis-server", default="redis-server", help="the server's program; valkey-server does, too")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where the report goes")
    parser.add_argument(
        "--render",
        type=Path,
        nargs="+",
        metavar="JSON",
        help="measure nothing; write the report of these results again, as one",
    )
    return parser.parse_args()


def chosen(words: str | None, table: Any, what: str) -> list[Any]:
    """What of a table was asked for, in its order; everything by default."""
    wanted = words.split(",") if words else list(table)
    if unknown := [word for word in wanted if word not in table]:
        raise SystemExit(f"there is no {what} {', '.join(unknown)}; there are {', '.join(table)}")
    return [entry for key, entry in table.items() if key in wanted]


def machine() -> str:
    """What it is measured on, in words that name nobody."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} x {model}, {memory:.0f} GiB, Linux {platform.release().partition('-')[0]}"


def measure(args: argparse.Namespace, folder: Path, contenders: list[Contender], scenarios: list[Scenario]) -> Results:
    """The run. What is there is on disk after every scenario, whatever happens in the next."""
    interpreter, rounds, began = Interpreter.of(args.python), args.rounds or (1 if args.quick else 3), time.monotonic()
    partial = len(contenders) < len(CONTENDERS) or len(scenarios) < len(SCENARIOS)
    about: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine(), "python": str(interpreter), "rounds": rounds,
        "quick": args.quick, "partial": partial, "load": os.getloadavg()[0],
        "command": command(args),
    }  # fmt: skip
    if about["load"] > 0.5:
        print(f"this machine is not quiet (load {about['load']:.1f}): compare within this run only", file=sys.stderr)
    data: dict[str, Any] = {"about": about, "contenders": {}, "scenarios": {}}
    with Suite(contenders, interpreter, quick=args.quick, server=args.redis_server) as suite:
        print(f"environments, Python {interpreter}")
        suite.install()
        data["contenders"] = {
            one.name: {"packages": suite.environments[one.name].packages()}
            if one.name in suite.environments
            else {"failure": suite.missing[one.name]}
            for one in contenders
        }
        for number, scenario in enumerate(scenarios, 1):
            minutes = (time.monotonic() - began) / 60
            print(f"{scenario.id}. {scenario.title} ({number} of {len(scenarios)}, {minutes:.0f} min)", flush=True)
            rows = suite.run(scenario, rounds)
            data["scenarios"][scenario.id] = {name: asdict(row) for name, row in rows.items()}
            about |= {"redis": suite.redis_version, "minutes": (time.monotonic() - began) / 60}
            (folder / "peers.json").write_text(json.dumps(data, indent=1) + "\n")
    return Results(data)


def command(args: argparse.Namespace) -> str:
    """How to do it again, without the places of this machine."""
    words = [f"--{name} {value}" for name in ("only", "scenario", "rounds") if (value := getattr(args, name))]
    return " ".join(["python benchmarks/peers/run.py", *words, *(["--quick"] if args.quick else [])])


def draw(source: Path, folder: Path, interpreter: Interpreter) -> bool:
    """The plots, by matplotlib in an environment of its own; whether there are any."""
    import subprocess

    environment = Environment("plots", PLOTTING, interpreter)
    try:
        if not environment.ready():
            print(f"  installing {' '.join(PLOTTING)} for the plots", flush=True)
            environment.make()
        command = [str(environment.python), "-m", "peers.plots", str(source), str(folder)]
        subprocess.run(command, cwd=BENCHMARKS, check=True)
    except (Unavailable, subprocess.CalledProcessError) as error:
        print(f"no plots: {error}", file=sys.stderr)
        return False
    return True


def write(results: Results, folder: Path, interpreter: Interpreter) -> None:
    """Report and plots beside the data; and the page, when this is where results are published."""
    plots = draw(folder / "peers.json", folder, interpreter)
    (folder / "peers.md").write_text(render(results, plots))
    if folder == RESULTS:
        PAGE.write_text(into_page(PAGE.read_text(), results, plots))
    print(f"{folder / 'peers.md'}")


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop(*_: object) -> NoReturn:
    """End the run; a second signal does not disturb the clearing up."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    args = arguments()
    if args.render:
        runs = [json.loads(path.read_text()) for path in args.render]
        results = Results.of(runs) if len(runs) > 1 else Results(runs[0])
        folder = args.output.resolve() if args.output else args.render[0].resolve().parent
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "peers.json").write_text(json.dumps(results.data, indent=1) + "\n")
        write(results, folder, Interpreter.of(args.python))
        return
    contenders = chosen(f"{args.only},{OURS},{PROBE}" if args.only else None, BY_NAME, "contender")
    scenarios = chosen(args.scenario, BY_ID, "scenario")
    whole = not args.quick and len(contenders) == len(CONTENDERS) and len(scenarios) == len(SCENARIOS)
    folder = args.output.resolve() if args.output else RESULTS if whole else cache() / "latest"
    folder.mkdir(parents=True, exist_ok=True)
    for number in SIGNALS:
        signal.signal(number, stop)
    try:
        results = measure(args, folder, contenders, scenarios)
    except KeyboardInterrupt:
        raise SystemExit(
            f"\nstopped; all that was started has ended, the scenarios that were done are in {folder}"
        ) from None
    write(results, folder, Interpreter.of(args.python))


if __name__ == "__main__":
    main()
