"""`windlass worker` and `windlass dev`, as processes: what they run, what they say, and how they end."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest
from command import Background, shell

from windlass.core.state import State

pytestmark = pytest.mark.usefixtures("project")


def jobs(store: Any) -> Any:
    return store(lambda broker: broker.find()).jobs


def wait_for_start(store: Any, job_id: str) -> None:
    """Until the job has said how far it is."""

    async def read(broker: Any) -> None:
        reading = await broker.read(job_id, wait=30.0)
        assert reading.entries, f"the job is still {reading.state}"

    store(read)


def test_enqueue_and_wait_for_the_result() -> None:
    with Background("worker") as worker:
        worker.until("started")
        done = shell("enqueue", "tasks.resize", 6, "--width", 7, "--wait")
        assert (done.code, done.out) == (0, "42\n")
        failed = shell("enqueue", "tasks.boom", "--wait")
        assert (failed.code, failed.out) == (1, "")
        assert failed.err.splitlines()[-1].endswith("(tasks.boom) failed: ValueError: boom")
        assert "job is" not in failed.err
        worker.process.send_signal(signal.SIGTERM)
        ended = worker.end()
    assert (ended.code, ended.out) == (0, "")
    assert "Traceback" not in ended.err


def test_burst_does_what_is_there_and_leaves() -> None:
    ids = [shell("enqueue", "tasks.greet", name).out.strip() for name in ("Ann", "Bob")]
    ran = shell("worker", "--burst")
    assert (ran.code, ran.out) == (0, "")
    assert [shell("job", "show", job, "--json").json["result"] for job in ids] == ["hello Ann", "hello Bob"]


def test_the_banner_says_what_it_is_about(project: Path) -> None:
    ran = shell("worker", "tasks:app", "-q", "mail", "--burst", "--threads", 3, "--log-level", "error")
    assert ran.code == 0
    assert len(ran.err.splitlines()) <= 12
    for said in (
        "tasks:app (as given)", f"sqlite:///{project}/.windlass/windlass.db", "process crash", "queues   mail\n", "3 threads",
        "4: tasks.boom, tasks.greet",
    ):  # fmt: skip
        assert said in ran.err


def test_logs_as_json_name_job_and_task() -> None:
    job_id = shell("enqueue", "tasks.boom").out.strip()
    ran = shell("worker", "--burst", "--log-format", "json")
    lines = [msgspec.json.decode(line) for line in ran.err.splitlines() if line.startswith("{")]
    (error,) = [line for line in lines if line["level"] == "error"]
    assert (error["job_id"], error["task"], error["attempt"], error["error"]) == (job_id, "tasks.boom", 1, "boom")


def test_only_the_queues_asked_for(store: Any) -> None:
    shell("enqueue", "tasks.greet", "Ann")
    shell("enqueue", "tasks.resize", 1)
    assert shell("worker", "-q", "mail", "--burst").code == 0
    assert {job.task: job.state for job in jobs(store)} == {"tasks.greet": "succeeded", "tasks.resize": "ready"}


def test_queues_by_weight(store: Any) -> None:
    shell("enqueue", "tasks.greet", "Ann")
    ran = shell("worker", "-q", "mail:2", "-q", "default:10", "--burst")
    assert ran.code == 0
    assert "queues   mail:2, default:10\n" in ran.err
    assert [job.state for job in jobs(store)] == ["succeeded"]


def test_weights_that_make_no_sense_are_refused() -> None:
    ran = shell("worker", "-q", "mail:2", "-q", "default", "--burst")
    assert ran.code == 2
    assert "the queue 'default' has no weight and others have" in ran.err
    assert "Traceback" not in ran.err


def test_what_a_worker_has() -> None:
    ran = shell("worker", "--burst", "--has", "gpu=2", "--has", "licence=1")
    assert ran.code == 0
    assert "has      gpu=2,licence=1\n" in ran.err
    for wrong, said in (
        (("--has", "gpu"), "setting 'has' from --has: '' is no amount of 'gpu': a whole number, at least 1"),
        (("--has", "gpu=2", "--runners", 2), "2 runners would all hand out the same devices (gpu=2); use one runner"),
    ):
        ran = shell("worker", "--burst", *wrong)
        assert ran.code == 2
        assert said in ran.err


def test_two_runners_share_the_work(store: Any) -> None:
    for number in range(5):
        shell("enqueue", "tasks.resize", number)
    assert shell("worker", "--runners", 2, "--burst").code == 0
    assert {job.state for job in jobs(store)} == {State.SUCCEEDED}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_running_jobs_finish(store: Any, number: signal.Signals) -> None:
    with Background("worker") as worker:
        worker.until("started")
        job_id = shell("enqueue", "tasks.slow", 2).out.strip()
        wait_for_start(store, job_id)
        worker.process.send_signal(number)
        assert worker.end().code == 0
    (job,) = jobs(store)
    assert job.state is State.SUCCEEDED


def test_the_second_ctrl_c_hands_running_jobs_back_at_once(store: Any) -> None:
    with Background("worker") as worker:
        worker.until("started")
        wait_for_start(store, shell("enqueue", "tasks.slow", 600).out.strip())
        worker.process.send_signal(signal.SIGINT)
        worker.until("draining")
        worker.process.send_signal(signal.SIGINT)
        assert worker.end().code == 0
    (job,) = jobs(store)
    assert (job.state, job.attempt, job.crashes) == (State.READY, 0, 0)


def test_a_deadline_for_the_drain(store: Any) -> None:
    with Background("worker", "--shutdown-timeout", "0.1") as worker:
        worker.until("started")
        wait_for_start(store, shell("enqueue", "tasks.slow", 600).out.strip())
        worker.process.terminate()
        assert worker.end().code == 0
    (job,) = jobs(store)
    assert (job.state, job.attempt) == (State.READY, 0)


def test_a_url_for_an_app_that_names_none(project: Path) -> None:
    url = f"sqlite:///{project}/other.db"
    shell("enqueue", "tasks.resize", 2, "--url", url)
    assert shell("worker", "--burst", "--url", url).code == 0
    assert shell("job", "list", "--url", url).rows[0][1] == "succeeded"


def test_a_url_against_an_app_that_names_its_own_is_refused(project: Path) -> None:
    tasks = (project / "tasks.py").read_text()
    (project / "tasks.py").write_text(tasks.replace("Windlass()", "Windlass('sqlite:///own.db')"))
    ran = shell("worker", "--url", "sqlite:///other.db")
    assert ran.code == 2
    assert "names its store itself (sqlite:///own.db)" in ran.err


@pytest.mark.parametrize("target", ["tasks", "tasks.py", "tasks.py:app"])
def test_targets_without_an_attribute_or_as_a_file(target: str) -> None:
    shell("enqueue", "tasks.resize", 1)
    ran = shell("worker", target, "--burst")
    assert ran.code == 0
    assert f"{target.removesuffix(':app')}:app (as given)" in ran.err
    assert shell("job", "list").rows[0][1] == "succeeded"


def test_memory_is_refused() -> None:
    ran = shell("worker", "--url", "memory://")
    assert ran.code == 2
    assert "memory:// lives inside one process" in ran.err


def test_ctrl_c_while_the_app_is_still_being_imported(project: Path) -> None:
    (project / "tasks.py").write_text(
        "import sys, time\nprint('importing', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
    )
    with Background("worker") as worker:
        worker.until("importing")
        worker.process.send_signal(signal.SIGINT)
        ended = worker.end()
    assert (ended.code, ended.out) == (0, "")
    assert "Traceback" not in ended.err


def test_dev_starts_anew_when_the_code_changes(project: Path) -> None:
    with Background("dev", "--log-format", "plain", "--no-dashboard") as dev:
        dev.until("runner")
        dev.until("started: ")
        assert "for development" in dev.err
        assert shell("enqueue", "tasks.resize", 6, "--width", 7, "--wait").out == "42\n"
        tasks = (project / "tasks.py").read_text()
        # Of another size: within a second of the last change, Python takes a file of the same size for what it has compiled.
        (project / "tasks.py").write_text(tasks.replace("number * width", "number + width + 0"))
        dev.until("tasks.py changed")
        dev.until("started: ", times=2)
        dev.until("stopped")
        assert shell("enqueue", "tasks.resize", 6, "--width", 7, "--wait").out == "13\n"
        dev.process.send_signal(signal.SIGINT)
        assert dev.end().code == 0


def test_dev_serves_the_dashboard_anew_too_and_it_dies_with_dev(project: Path) -> None:
    with Background("dev", "--log-format", "plain", "--port", "0") as dev:
        dev.until("the dashboard of")
        before = known_tasks(dev.err)
        assert "tasks.resize" in before
        with (project / "tasks.py").open("a") as tasks:
            tasks.write("\n\n@app.task\ndef more() -> None: ...\n")
        dev.until("the dashboard of", times=2)
        assert known_tasks(dev.err) == before | {"tasks.more"}
        dev.process.kill()
        end = time.monotonic() + 20
        while serves(dev.err):
            assert time.monotonic() < end, "it goes on alone"


def serves(said: str) -> bool:
    """Whether that dashboard answers."""
    try:
        return bool(known_tasks(said))
    except OSError:
        return False


def known_tasks(said: str) -> set[str]:
    """The tasks that the dashboard which was announced last knows."""
    *_, address = re.findall(r"the dashboard of .* is at (\S+)", said)
    with urllib.request.urlopen(f"{address}api/v1/tasks", timeout=10) as answer:
        return {one["name"] for one in json.load(answer)["tasks"]}
