"""A run: which measurement comes when, and what became of it. A contender's failure is a line in the results, never the end of the run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from peers.adapters import Settings
from peers.catalogue import Scenario
from peers.contenders import OURS, Contender
from peers.environments import Environment, Interpreter, Unavailable, cache, environment, without_places
from peers.processes import MARK, sweep
from peers.report import line
from peers.servers import Server

BENCHMARKS = Path(__file__).resolve().parent.parent
ROOT = BENCHMARKS.parent
SHM = Path("/dev/shm")
LIMIT = 300.0
"""Seconds for one measurement with all that belongs to it. It is given up then, and the run goes on."""

Figures = dict[str, float]


@dataclass
class Row:
    """What became of one contender in one scenario."""

    setting: str
    rounds: list[Figures | None] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, outcome: Figures | str) -> None:
        """One more round: its figures, or why there are none."""
        self.rounds.append(None if isinstance(outcome, str) else outcome)
        if isinstance(outcome, str):
            self.failures.append(outcome)


class Suite:
    """One run of some contenders through some scenarios. As a context manager it owns all that is started and written to disk meanwhile."""

    def __init__(self, contenders: Iterable[Contender], interpreter: Interpreter, *, quick: bool, server: str) -> None:
        self.asked, self.interpreter, self.quick, self.server = list(contenders), interpreter, quick, server
        self.mark = f"{os.getpid()}-{time.time_ns()}."
        self.serial = count(1)
        self.environments: dict[str, Environment] = {}
        self.missing: dict[str, str] = {}
        self.redis_version = ""

    def __enter__(self) -> Suite:
        self.folder = Path(tempfile.mkdtemp(prefix="run-", dir=_made(cache())))
        self.tmpfs = Path(tempfile.mkdtemp(prefix="windlass-bench-", dir=SHM if SHM.is_dir() else None))
        return self

    def __exit__(self, *_: object) -> None:
        sweep(self.mark)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.tmpfs, ignore_errors=True)

    # --- before -------------------------------------------------------------------------------------------------

    def install(self) -> None:
        """The environments of all contenders; who cannot be installed is missing, with the reason."""
        for contender in self.asked:
            try:
                self.environments[contender.name] = environment(contender, self.interpreter, ROOT)
            except Unavailable as error:
                self.missing[contender.name] = str(error)
                print(f"  {contender.name} cannot take part: {error}", flush=True)
        program = [self.interpreter.path, "-m", "peers.jobs", "--calibrate"]
        self.turns = subprocess.run(program, cwd=BENCHMARKS, capture_output=True, text=True, check=True).stdout.strip()

    def participants(self, scenario: Scenario) -> list[Contender]:
        """Who takes part in a scenario."""
        here = [contender for contender in self.asked if contender.name in self.environments]
        here = [contender for contender in here if scenario.id not in contender.skips]
        if scenario.measure == "backlog":
            here = [contender for contender in here if contender.deep]
        if "no-results" in scenario.flags:
            here = [contender for contender in here if contender.results_off or contender.name == OURS]
        return here

    # --- a scenario ---------------------------------------------------------------------------------------------

    def run(self, scenario: Scenario, rounds: int) -> dict[str, Row]:
        """All rounds of a scenario; the order turns around each time, so that nobody is always first."""
        rows = {one.name: Row(str(one.setting(scenario.id))) for one in self.participants(scenario)}
        sizes = self._warm_up(scenario, rows)
        order = [one for one in self.participants(scenario) if one.name in sizes]
        rounds = min(rounds, scenario.rounds or rounds)
        for number in range(1, rounds + 1):

            def one(contender: Contender, told: str = f"{scenario.id} {number}/{rounds}") -> None:
                outcome = self.measure(contender, scenario, sizes[contender.name])
                rows[contender.name].add(outcome)
                tell(told, contender, scenario, outcome)

            if scenario.together:
                together(one, order)
            else:
                for contender in order:
                    one(contender)
            order.reverse()
        return rows

    def _warm_up(self, scenario: Scenario, rows: dict[str, Row]) -> dict[str, dict[str, float]]:
        """The options of each contender. Where a scenario is sized by time, a small round first says how much work that is."""
        options = scenario.options(self.quick)
        if "warm" not in options:
            return dict.fromkeys(rows, options)
        sizes: dict[str, dict[str, float]] = {}
        for contender in self.participants(scenario):
            found = self.measure(contender, scenario, {**options, "jobs": options["warm"]})
            if isinstance(found, str):
                rows[contender.name].failures.append(found)
                tell(f"{scenario.id} warm-up", contender, scenario, found)
            else:
                wanted = found["rate"] * options["seconds"]
                sizes[contender.name] = {**options, "jobs": min(max(wanted, options["least"]), options["most"])}
        return sizes

    # --- a measurement ------------------------------------------------------------------------------------------

    def measure(self, contender: Contender, scenario: Scenario, options: dict[str, float]) -> Figures | str:
        """One measurement, in the contender's environment, on a fresh server: its figures, or why there are none. Nothing stays alive."""
        mark = f"{self.mark}{next(self.serial)}."
        log, records = self.folder / f"{mark}log", self.tmpfs / f"{mark}records"
        python = str(self.environments[contender.name].python)
        command = [python, "-m", "peers.drive", contender.adapter, scenario.measure, json.dumps(options)]
        setting = contender.setting(scenario.id)
        flags = frozenset((*setting.flags, *scenario.flags))
        try:
            with Server(self.folder, mark, durable=scenario.durable, program=self.server) as server:
                self.redis_version = server.version
                environment = {
                    **clean_environment(),
                    **Settings(server.url, setting.concurrency, scenario.processes, flags).environment(),
                    "PEERS_RECORDS": str(records),
                    "PEERS_LOG": str(log),
                    "PEERS_RESULTS": str(int(contender.results)),
                    "PEERS_BURN": self.turns,
                    MARK: mark,
                }
                return self._answer(command, environment, log)
        except RuntimeError as error:  # no server
            return str(error)
        finally:
            sweep(mark)
            records.unlink(missing_ok=True)

    def _answer(self, command: list[str], environment: dict[str, str], log: Path) -> Figures | str:
        with log.open("ab") as errors:
            driver = subprocess.Popen(
                command,
                env=environment,
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        try:
            said, _ = driver.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            return f"not done after {LIMIT:.0f} s"
        finally:
            driver.kill()
            driver.wait()
        answers = [text for text in said.splitlines() if text.startswith("{")]
        if not answers:
            words = [text.strip() for text in log.read_text(errors="replace").splitlines() if text.strip()]
            return without_places(f"ended with {driver.returncode}: {' | '.join(words[-2:])[-300:]}")
        answer: dict[str, Any] = json.loads(answers[-1])
        return without_places(answer["failure"]) if "failure" in answer else dict(answer["figures"])


def together(work: Callable[[Contender], None], contenders: list[Contender]) -> None:
    """All at once, a second apart so that their starts do not disturb each other."""
    pool = ThreadPoolExecutor(max(1, len(contenders)))
    try:
        waiting = []
        for contender in contenders:
            waiting.append(pool.submit(work, contender))
            time.sleep(1)
        for future in waiting:
            future.result()
    finally:  # when interrupted, the sweep at the end of the run frees the threads
        pool.shutdown(wait=False, cancel_futures=True)


def clean_environment() -> dict[str, str]:
    """Ours, without what would change how Python or Windlass behaves."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WINDLASS_", "PYTHON"))}
    return {**kept, "PYTHONPATH": str(BENCHMARKS)}


def tell(told: str, contender: Contender, scenario: Scenario, outcome: Figures | str) -> None:
    """A line for those who watch."""
    said = f"no figures: {outcome}" if isinstance(outcome, str) else line(scenario, outcome)
    print(f"  {told:14}{contender.name:10}{said}", flush=True)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
