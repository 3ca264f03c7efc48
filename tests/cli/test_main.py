"""The command as a process: exit codes, what goes where, what is imported, and errors in one line."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command import Windlass, environment, shell

import windlass as package

pytestmark = pytest.mark.usefixtures("project")


def test_version() -> None:
    assert shell("version") == (0, f"{package.__version__}\n", "")
    assert shell("version", "--json").json == {"version": package.__version__}


@pytest.mark.parametrize(
    "words", [("-h",), ("--help",), ("job", "list", "-h"), ("worker", "--help"), ("enqueue", "-h")]
)
def test_help_goes_to_stdout(words: tuple[str, ...]) -> None:
    ran = shell(*words)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Usage: windlass")


def test_the_light_commands_import_little() -> None:
    code = (
        "import sys; from windlass.cli.main import main; main(['version']); main(['--help']);"
        "print([name for name in sys.modules if name.startswith(('windlass.worker.', 'windlass.broker.sqlite', 'sqlite3',"
        " 'rich', 'watchfiles', 'tasks'))], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment())
    assert done.stderr == "['windlass.worker.runtime']\n"


def test_without_a_command_the_help_is_shown_as_a_usage_error() -> None:
    ran = shell()
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Usage: windlass")


def test_without_typer_one_line_says_what_to_install(project: Path) -> None:
    (project / "typer.py").write_text("raise ModuleNotFoundError('no typer', name='typer')")
    ran = shell("version", PYTHONPATH=str(project))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "windlass: the command needs its extra: pip install 'windlass[cli]'\n"


def test_stdout_is_data_and_stderr_is_talk() -> None:
    ran = shell("enqueue", "tasks.resize", 1)
    assert ran.code == 0
    assert len(ran.out.strip()) == 36
    assert ran.err == "windlass: using tasks:app (found in tasks.py)\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("job", "list", "--url", "gopher://x"), 2, "is no store that Windlass knows"),
        (("bogus",), 2, "No such command 'bogus'"),
        (("worker", "tasks:nope"), 2, "has no attribute 'nope'"),
        (("worker", "nowhere:app"), 2, "there is no module 'nowhere'"),
        (("worker", "tasks:resize"), 2, "is a Task, not a Windlass; it has app"),
        (("worker", "--concurrency", "-1"), 2, "concurrency"),
        (("worker", "--shutdown-timeout", "soon"), 2, "shutdown_timeout"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(
    windlass: Windlass, words: tuple[str, ...], code: int, said: str
) -> None:
    ran = windlass(*words)
    assert (ran.code, ran.out) == (code, "")
    assert len(ran.err.splitlines()) == 1
    assert said in ran.err


def test_no_app_found(windlass: Windlass, project: Path) -> None:
    (project / "tasks.py").unlink()
    for words in (("worker",), ("enqueue", "tasks.resize", "1")):
        ran = windlass(*words)
        assert ran.code == 2
        assert ran.err.startswith("windlass: no Windlass app found; name it")
        assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (
            "import os\n\ndef helper():\n    return 1 / 0\n\nhelper()\n",
            "tasks.py:4: ZeroDivisionError: division by zero",
        ),
        ("import nothing_like_this\n", "tasks.py:1: ModuleNotFoundError: No module named 'nothing_like_this'"),
        ("def broken(:\n", "tasks.py:1: SyntaxError"),
        ("import sys\nsys.exit('bye')\n", "tasks.py:2: SystemExit: bye"),
        ("import json\n\njson.loads('{')\n", "tasks.py:3: JSONDecodeError"),
        (
            "from windlass import Windlass\napp = Windlass()\n@app.task(priority=77)\ndef f() -> None: ...\n",
            "tasks.py:3: ConfigurationError: priority is 0 to 9",
        ),
    ],
)
def test_an_error_in_the_users_module_names_their_line(
    windlass: Windlass, project: Path, module: str, said: str
) -> None:
    (project / "tasks.py").write_text(module)
    ran = windlass("enqueue", "tasks.resize", 1)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("words", [("worker",), ("worker", "tasks:app"), ("dev",)])
def test_a_worker_says_the_same(windlass: Windlass, project: Path, words: tuple[str, ...]) -> None:
    (project / "tasks.py").write_text("import os\n\n1 / 0\n")
    ran = windlass(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "windlass: the app cannot be imported: tasks.py:3: ZeroDivisionError: division by zero\n"


def test_a_worker_whose_app_kills_its_process_ends_and_says_so(windlass: Windlass, project: Path) -> None:
    (project / "tasks.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    ran = windlass("worker")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "windlass: the first runner died: killed by signal 11 (SIGSEGV)\n"


def test_debug_shows_the_traceback(project: Path) -> None:
    (project / "tasks.py").write_text("1 / 0\n")
    for ran in (
        shell("--debug", "enqueue", "tasks.resize"),
        shell("enqueue", "tasks.resize", WINDLASS_DEBUG="1"),
        shell("--debug", "worker"),
    ):
        assert ran.code == 1
        assert "Traceback" in ran.err
        assert "ZeroDivisionError" in ran.err


def test_a_store_that_cannot_be_written(windlass: Windlass, project: Path) -> None:
    (project / "file").write_text("")
    ran = windlass("enqueue", "tasks.resize", 1, "--url", f"sqlite:///{project}/file/jobs.db")
    assert (ran.code, ran.out) == (2, "")
    assert f"{project}/file: " in ran.err
    assert "make it writable or move the store elsewhere" in ran.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_store(windlass: Windlass, project: Path) -> None:
    (project / "locked").mkdir(mode=0o500)
    ran = windlass("enqueue", "tasks.resize", 1, "--url", f"sqlite:///{project}/locked/jobs.db")
    assert ran.code == 2
    assert "cannot be written" in ran.err


def test_a_damaged_store_is_exit_code_4(windlass: Windlass, project: Path) -> None:
    (project / "broken.db").write_bytes(b"this is no database, " * 500)
    ran = windlass("job", "list", "--url", f"sqlite:///{project}/broken.db")
    assert (ran.code, ran.out) == (4, "")
    assert "damaged" in ran.err


def test_a_reader_that_goes_away_makes_no_noise() -> None:
    for _ in range(3):
        shell("enqueue", "tasks.resize", 1)
    command = f"{sys.executable} -m windlass.cli.main job list | true"
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, env=environment())
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_ctrl_c_while_watching_is_130(project: Path) -> None:
    job = shell("enqueue", "tasks.slow").out.strip()
    watching = subprocess.Popen(
        [sys.executable, "-m", "windlass.cli.main", "job", "watch", job], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(), text=True,
    )  # fmt: skip
    with watching:
        assert watching.stdout is not None
        assert watching.stdout.readline() == "state\tready\n"
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert "Traceback" not in err


def on_a_terminal(*arguments: str, answer: bytes = b"", **more: str) -> tuple[int, str]:
    """The command with a terminal for stdin, stdout and stderr: its exit code and all that it wrote there."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "windlass.cli.main", *arguments]
    wide = environment(TERM="xterm", COLUMNS="160", **more)
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=wide) as process:
        os.close(theirs)
        text = b""
        try:
            os.write(ours, answer)
            while part := os.read(ours, 65536):
                text += part
        except OSError:
            process.wait(timeout=30)  # how a pseudo-terminal says that its other side is closed
        finally:
            process.kill()
    os.close(ours)
    return process.returncode, text.decode()


def test_tables_on_a_terminal_only_and_no_color_is_respected() -> None:
    shell("enqueue", "tasks.resize", 1)
    _, coloured = on_a_terminal("job", "list")
    assert "created" in coloured
    assert "\x1b[36mready" in coloured
    assert "\x1b[36m" not in on_a_terminal("job", "list", NO_COLOR="1")[1]


def test_a_progress_bar_on_a_terminal() -> None:
    job = shell("enqueue", "tasks.resize", 1).out.strip()
    shell("worker", "--burst")
    code, text = on_a_terminal("job", "watch", job)
    assert code == 0
    assert "succeeded" in text
    assert "100%" in text


@pytest.mark.parametrize(("answer", "code", "state"), [(b"n\n", 1, "ready"), (b"y\n", 0, "cancelled")])
def test_all_asks_on_a_terminal(answer: bytes, code: int, state: str) -> None:
    shell("enqueue", "tasks.resize", 1)
    ended, text = on_a_terminal("job", "cancel", "--all", answer=answer)
    assert ended == code
    assert "cancel 1 jobs? [y/N]" in text
    assert shell("job", "list").rows[0][1] == state
