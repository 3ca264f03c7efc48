"""`windlass health` and `windlass worker --health`, against real workers: well, starting, stopped, cut off from their store, dead."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml
from command import Background, Ran, Windlass, environment, shell

from servers import BINARIES, MISSING, RedisServer
from windlass.cli.health import parse
from windlass.worker.health import answer

pytestmark = pytest.mark.usefixtures("project", "folder")
ROOT = Path(__file__).parents[2]
GUIDE, MANIFEST, UNIT = (
    ROOT / name for name in ("docs/how-to/deploy.md", "deploy/kubernetes.yaml", "deploy/windlass-worker.service")
)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the sockets are: apart from those of others, and with a path short enough for a socket."""
    parent = tmp_path_factory.mktemp("run")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(parent))
    monkeypatch.setenv("TMPDIR", str(parent))
    return parent / "windlass"


def until(said: str, *words: str) -> Ran:
    """Ask until the answer, of stdout or stderr, holds that."""
    end = time.monotonic() + 30
    while said not in (ran := shell("health", *words)).out + ran.err:
        assert time.monotonic() < end, ran
    return ran


def get(url: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- windlass health ----------------------------------------------------------------------------------------


def test_none_runs(windlass: Windlass, folder: Path) -> None:
    assert windlass("health") == (3, "", "windlass: no worker of this user runs here\n")
    assert windlass("health", "--pid", 1) == (3, "", "windlass: no worker with process id 1 runs here\n")
    assert not folder.exists()


def test_a_worker_from_its_start_to_its_end(project: Path, folder: Path) -> None:
    (project / "tasks.py").write_text(
        f"import pathlib, time\nwhile not pathlib.Path('go').exists():\n    time.sleep(0.05)\n"
        f"{(project / 'tasks.py').read_text()}"
    )
    with Background("worker") as worker:
        pid = worker.process.pid
        assert until("starting") == (1, f"{pid}\tstarting\n", "")
        assert shell("health", "--live") == (0, f"{pid}\tok\n", "")
        (project / "go").touch()
        assert until("ok") == (0, f"{pid}\tok\n", "")
        worker.process.send_signal(signal.SIGTERM)
        worker.end()
    assert shell("health").code == 3
    assert list(folder.iterdir()) == []


def test_one_that_hangs_is_found_out_in_time() -> None:
    with Background("worker") as well, Background("worker") as hung:
        until("ok", "--pid", str(well.process.pid))
        until("ok", "--pid", str(hung.process.pid))
        hung.process.send_signal(signal.SIGSTOP)
        for words in ((), ("--live",)):
            ran = shell("health", "--timeout", 0.3, *words)
            assert ran.code == 1
            assert sorted(ran.rows) == sorted(
                [[str(well.process.pid), "ok"], [str(hung.process.pid), "does not answer"]]
            )
        assert shell("health", "--pid", well.process.pid).code == 0
        assert shell("health", "--pid", hung.process.pid, "--timeout", 0.3).code == 1
        hung.process.send_signal(signal.SIGCONT)
        assert until(f"{hung.process.pid}\tok").code == 0


def test_so_many_asked_a_hung_one_that_it_takes_no_more_calls(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(folder / "7-deaf.sock"))
        deaf.listen(0)
        for _ in range(3):
            assert shell("health", "--timeout", 0.2) == (1, "7\tdoes not answer\n", "")


def test_the_socket_of_a_killed_worker_is_removed(folder: Path) -> None:
    with Background("worker") as worker:
        until("ok")
        worker.process.kill()
        worker.process.wait()
        assert len(list(folder.iterdir())) == 1
        assert shell("health").code == 3
        assert list(folder.iterdir()) == []


@pytest.mark.skipif(not BINARIES, reason=MISSING)
def test_a_store_that_is_away_makes_it_unready_and_not_dead() -> None:
    with RedisServer() as server, Background(
        "worker", "--url", server.url(), WINDLASS_LEASE="1", WINDLASS_BEAT="0.1"
    ):  # fmt: skip
        until("\tok")
        server.stop()
        ran = until("the store has not answered")
        assert ran.code == 1
        assert shell("health", "--live").code == 0
        server.start()
        assert until("\tok").code == 0


def test_a_folder_of_others_is_not_believed(folder: Path) -> None:
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with socket.socket(socket.AF_UNIX) as liar:
        liar.bind(str(folder / "7-liar.sock"))
        liar.listen()
        ran = shell("health")
    assert (ran.code, ran.out) == (3, "")
    assert (
        ran.err.splitlines()[0]
        == f"windlass: {folder} is not a folder that only user {os.geteuid()} can enter; remove it"
    )


def test_it_imports_next_to_nothing() -> None:
    code = (
        "import sys; from windlass.cli.main import main; main(['health', '--live']); main(['health']);"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'asyncio', 'typing', 'typer', 'pydantic', 'msgspec',"
        " 'argparse', 'tasks', 'logging', 'sqlite3', 'redis'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment())
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("", (False, None, 2.0)),
        ("--live", (True, None, 2.0)),
        ("--pid 7 --timeout 0.5", (False, 7, 0.5)),
        ("--timeout=3 --pid=7 --live", (True, 7, 3.0)),
    ],
)
def test_its_own_parser_and_that_of_the_other_commands_agree(
    monkeypatch: pytest.MonkeyPatch, windlass: Windlass, words: str, asked: tuple[bool, int | None, float]
) -> None:
    taken: list[object] = []
    monkeypatch.setattr("windlass.cli.health.health", lambda *asked: taken.append(asked) or 0)
    assert parse(words.split()) == asked
    assert windlass("health", *words.split()).code == windlass("--debug", "health", *words.split()).code == 0
    assert taken == [asked, asked]


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "-h",
        "--pid",
        "--pid x",
        "--timeout 0",
        "--timeout -1",
        "--timeout nan",
        "--timeout inf",
        "--lives",
        "7",
    ],
)
def test_what_it_does_not_understand_is_answered_as_by_every_command(windlass: Windlass, words: str) -> None:
    assert parse(words.split()) is None
    ran = windlass("health", *words.split())
    if words in ("--help", "-h"):
        assert ran.code == 0
        assert ran.out.startswith("Usage: windlass health")
    else:
        assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)


def test_it_is_in_the_help(windlass: Windlass) -> None:
    assert re.search(r"^  health  +\w", windlass("--help").out, re.MULTILINE)


# --- windlass worker --health -------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["option", "environment", "project"])
def test_a_worker_answers_on_its_port(project: Path, free_port: int, said: str) -> None:
    words = ["--health", str(free_port)] if said == "option" else []
    more = {"WINDLASS_HEALTH": f"127.0.0.1:{free_port}"} if said == "environment" else {}
    if said == "project":
        (project / "pyproject.toml").write_text(f"[tool.windlass]\nhealth = {free_port}\n")
    with Background("worker", *words, **more):
        until("\tok")
        assert get(f"http://127.0.0.1:{free_port}/livez") == (200, "ok\n")
        assert get(f"http://127.0.0.1:{free_port}/readyz") == (200, "ok\n")
        assert get(f"http://127.0.0.1:{free_port}/metrics") == (404, "not found\n")


def test_a_draining_worker_lives_and_is_not_ready(free_port: int) -> None:
    with Background("worker", "--health", free_port) as worker:
        until("\tok")
        job_id = shell("enqueue", "tasks.slow", 600).out.strip()
        end = time.monotonic() + 30
        while shell("job", "show", job_id, "--json").json["state"] != "running":
            assert time.monotonic() < end
        worker.process.send_signal(signal.SIGTERM)
        worker.until("stopping")
        assert get(f"http://127.0.0.1:{free_port}/readyz") == (503, "stopping\n")
        assert get(f"http://127.0.0.1:{free_port}/livez") == (200, "ok\n")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.end().code == 0


def test_a_port_in_use_is_told_before_anything_is_started(windlass: Windlass, project: Path, free_port: int) -> None:
    (project / "tasks.py").write_text("raise SystemExit('the app was imported')")
    with socket.create_server(("127.0.0.1", free_port)):
        ran = windlass("worker", "--health", free_port)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"windlass: health {free_port}: the port is in use, perhaps by another worker; give each a port of its own\n"
    )


@pytest.mark.parametrize("text", ["0", "http", ":8080"])
def test_nonsense_for_a_port(windlass: Windlass, project: Path, text: str) -> None:
    ran = windlass("worker", "--health", text)
    assert ran.code == 2
    assert ran.err.startswith(f"windlass: health {text!r} is no [HOST:]PORT (ports are 1 to 65535); write 8080")
    (project / "pyproject.toml").write_text("[tool.windlass]\nhealth = 0\n")
    assert windlass("worker").err.startswith("windlass: health '0' is no [HOST:]PORT")


# --- what we hand out for deployments -----------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = UNIT.read_text()
    program = tmp_path / "windlass"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = unit.replace("/srv/app/.venv/bin/windlass", str(program)).replace("User=app", "User=root")
    (tmp_path / "windlass-worker.service").write_text(unit)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "windlass-worker.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def commands(file: Path) -> list[list[str]]:
    """How an example calls the command: ["windlass", ...], or as in ExecStart."""
    text = file.read_text()
    started = [line.split() for line in re.findall(r"^ExecStart=\S*/(windlass .*)$", text, re.MULTILINE)]
    return [*map(json.loads, re.findall(r'\["windlass".*?\]', text)), *started]


@pytest.mark.parametrize(
    ("file", "kinds"), [(GUIDE, ["health"] * 3 + ["worker"]), (MANIFEST, ["worker"]), (UNIT, ["worker"])]
)
def test_the_commands_of_the_examples_work(project: Path, free_port: int, file: Path, kinds: list[str]) -> None:
    (project / "tasks.py").rename(project / "main.py")
    found = [words[1:] for words in commands(file)]
    assert sorted(words[0] for words in found) == kinds
    for words in found:
        if words[0] == "health":
            assert parse(words[1:]) is not None
        else:
            with Background(*[word.replace("0.0.0.0:8080", str(free_port)) for word in words]):
                until("\tok")


def test_kubernetes_asks_what_there_is_and_waits_long_enough() -> None:
    spec = yaml.safe_load(MANIFEST.read_text())["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        asked = container[probe]["httpGet"]
        assert asked["path"] == path
        assert asked["port"] in {port["name"] for port in container["ports"]}
        assert answer(f"GET {asked['path']} HTTP/1.1\r\n\r\n".encode(), str).startswith(b"HTTP/1.1 200 ")
    assert container["ports"][0]["containerPort"] == int(container["command"][-1].partition(":")[2])
    assert spec["terminationGracePeriodSeconds"] > 30 + 5
