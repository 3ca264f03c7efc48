"""What `deploy/` asks of Prometheus is there: each metric, with each label, in the scrape of a worker."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import Background, shell

from scraped import samples, value
from windlass.cli.main import main

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS: dict[str, Any] = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
VARIABLES = [one["query"]["query"] for one in DASHBOARD["templating"]["list"] if isinstance(one["query"], dict)]
SELECTOR = re.compile(r"(windlass_\w+)(?:\{([^}]*)\})?")
BY = re.compile(r"\b(?:by|on) \(([\w, ]+)\)")
OF_PROMETHEUS = {"le", "instance", "job"}
"""Labels that are no metric's own."""


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What a worker says, that has done some work on a store with some more."""
    folder = tmp_path_factory.mktemp("metrics")
    (folder / "pyproject.toml").write_text("")
    (folder / "tasks.py").write_text(TASKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for count, task in ((3, "fine"), (1, "bad"), (1, "waits")):
            for _ in range(count):
                assert shell("enqueue", f"tasks.{task}").code == 0
        with Background("worker", "-q", "default", "--health", port := _free_port(), "--metrics") as worker:
            worker.until("started")
            yield _told(port, "windlass_jobs_total", 'outcome="failed"')
            worker.process.send_signal(signal.SIGTERM)
            assert worker.end().code == 0


TASKS = """
from windlass import Retry, Windlass

app = Windlass()

@app.task
async def fine() -> None: ...

@app.task(retry=Retry(attempts=1), lane="process")
def bad() -> None:
    raise ValueError("no")

@app.task(queue="elsewhere")
def waits() -> None: ...
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _told(port: int, *words: str) -> str:
    """The scrape, once a line of it holds all these words: what ended is told every five seconds."""
    deadline = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = str(answer.read().decode())
        if any(all(word in line for word in words) for line in text.splitlines() if "#" not in line):
            return text
        assert time.monotonic() < deadline, text
        time.sleep(0.2)


def test_a_worker_tells_what_it_and_the_store_know(scrape: str) -> None:
    assert value(scrape, "windlass_jobs_total", queue="default", task="tasks.fine", outcome="succeeded") == 3
    assert value(scrape, "windlass_jobs_total", queue="default", task="tasks.bad", outcome="failed") == 1
    assert value(scrape, "windlass_job_run_seconds_count", queue="default", task="tasks.fine") == 3
    assert value(scrape, "windlass_queue_jobs", queue="elsewhere", state="ready") == 1
    assert value(scrape, "windlass_workers", state="working") == 1
    assert value(scrape, "windlass_runners") == 1
    assert value(scrape, "windlass_slots", lane="loop") == 100
    assert value(scrape, "windlass_slots_busy", lane="loop") == 0
    assert value(scrape, "windlass_store_errors_total", verb="beat") == 0


@pytest.mark.parametrize("query", [*QUERIES, *VARIABLES, *(rule["expr"] for rule in RULES)])
def test_every_metric_and_label_that_is_asked_for_exists(scrape: str, query: str) -> None:
    labels: dict[str, set[str]] = {}
    for one in samples(scrape):
        labels.setdefault(one.name, set()).update(one.labels)
    selected = SELECTOR.findall(query)
    assert selected
    for name, matchers in selected:
        assert name in labels
        assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers)) <= labels[name], name
    known = OF_PROMETHEUS.union(*(labels[name] for name, _ in selected))
    for grouped in BY.findall(query):
        assert {label.strip() for label in grouped.split(",")} <= known


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_what_an_alert_says_is_of_its_own_labels(rule: dict[str, Any]) -> None:
    said = " ".join(rule["annotations"].values())
    grouped = {label.strip() for labels in BY.findall(rule["expr"]) for label in labels.split(",")}
    used = set(re.findall(r"\$labels\.(\w+)", said))
    assert used <= grouped
    assert rule["labels"]["severity"] in ("warning", "critical")


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_itself_takes_the_rules_and_they_fire() -> None:
    for verb, file in (("check", DEPLOY / "alerts.yaml"), ("test", Path(__file__).parent / "alerts_test.yaml")):
        done = subprocess.run(["promtool", verb, "rules", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_can_be_loaded_anywhere() -> None:
    """It names its source by a variable, and no panel has the place or the number of another."""
    panels = DASHBOARD["panels"]
    assert {panel["datasource"]["uid"] for panel in panels} == {"${source}"}
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) == 23


def test_keda_asks_the_endpoint_of_the_api_for_one_of_its_numbers() -> None:
    _, scaled = yaml.safe_load_all((DEPLOY / "keda.yaml").read_text())
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["type"] == "metrics-api"
    api = (DEPLOY.parent / "docs/design/api.md").read_text()
    (shape,) = re.findall(r"^\| `queues/\{name\}/scale` \| `\{([\w, ]+)\}`", api, re.MULTILINE)
    assert trigger["metadata"]["valueLocation"] in shape.split(", ")
    assert re.fullmatch(r"http://[\w-]+/windlass/api/v1/queues/[\w-]+/scale", trigger["metadata"]["url"])


def test_counts_outlive_the_runner_that_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the supervisor's: neither a restart nor a death takes anything back, which Prometheus would take for a new worker."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "tasks.py").write_text(TASKS)
    with Background("worker", "--health", port := _free_port(), "--metrics") as worker:
        worker.until("runner")
        shell("enqueue", "tasks.fine")
        _told(port, 'task="tasks.fine"', " 1.0")
        worker.process.send_signal(signal.SIGHUP)
        worker.until("replaced")
        worker.until("stopped")
        shell("enqueue", "tasks.fine")
        _told(port, 'windlass_jobs_total{outcome="succeeded"', " 2.0")
        (runner,) = [one["pid"] for one in shell("workers", "--json").json if one["state"] == "working"]
        os.kill(runner, signal.SIGKILL)
        told = _told(port, 'change="died"', " 1.0")
    assert value(told, "windlass_runner_changes_total", change="replaced") == 1
    assert value(told, "windlass_jobs_total", queue="default", task="tasks.fine", outcome="succeeded") == 2


def test_metrics_without_a_port_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["worker", "--metrics"]) == 2
    assert "say --health [HOST:]PORT, too" in capfd.readouterr().err
