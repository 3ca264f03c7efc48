"""`make demo`: the studio's API and its worker as separate processes, on SQLite. `--once`: one job from upload to verified result.
`--busy`: a lively load beside it, for the dashboard to show.

Ctrl-C stops both: the API at once, the worker when its running jobs are done, or with a second Ctrl-C.
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

HERE = Path(__file__).resolve().parent
START_TIMEOUT = 30.0
STOP_TIMEOUT = 20.0
BUSY_QUEUES = ("default", "mail", "images", "search", "newsletter")
"""What the workers serve under the lively load; "reports" has a slow one of its own, and "archive" none."""


class Stopped(Exception):
    """Somebody asked us to stop."""


class DidNotStart(RuntimeError):
    """A process ended, or did not answer in time."""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The studio: upload a video, watch it being transcoded.")
    parser.add_argument("--port", type=int, help="8000, or a free one when that is taken")
    parser.add_argument("--data", type=Path, default=HERE / ".data", help="where videos and the store go (%(default)s)")
    parser.add_argument("--url", help="another store, instead of SQLite in the data folder")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="how many workers (%(default)s)")
    parser.add_argument("--busy", action="store_true", help="a lively load for the dashboard, in a store of its own")
    parser.add_argument(
        "--once", action="store_true", help="no browser: upload the sample, verify what comes out, stop"
    )
    return parser.parse_args()


def listening(port: int | None) -> socket.socket:
    """A socket that listens on `port`; on 8000 or any free one when no port is given."""
    for number in (port,) if port is not None else (8000, 0):
        try:
            return socket.create_server(("127.0.0.1", number))
        except OSError as error:
            refused = f"port {number} cannot be used: {error.strerror}"
    raise DidNotStart(refused)


@contextmanager
def running(name: str, command: list[str], environment: dict[str, str], *fds: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block lasts. It has a session of its own, so that Ctrl-C reaches it only through us."""
    process = subprocess.Popen(command, cwd=HERE, env=environment, pass_fds=fds, start_new_session=True)
    try:
        yield process
    finally:
        _stop(name, process)


def _stop(name: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT
    process.terminate()
    while True:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
            return
        except Stopped:
            process.terminate()  # the second signal: do not wait for running jobs
        except subprocess.TimeoutExpired:
            print(f"the {name} does not stop, and is killed", file=sys.stderr)
            process.kill()


def check_all_live(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """Raise `DidNotStart` when one has ended: none of them should."""
    for name, process in processes.items():
        if process.poll() is not None:
            raise DidNotStart(f"the {name} left with exit code {process.returncode}")


def wait_until_ready(address: str, processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """Return once the API answers. Raises `DidNotStart`."""
    host, deadline = address.removeprefix("http://"), time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        check_all_live(processes)
        connection = http.client.HTTPConnection(host, timeout=1)
        try:
            connection.request("GET", "/limits")
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass  # the socket listens already, whoever will answer is still on its way
        finally:
            connection.close()
    raise DidNotStart(f"{address} did not answer within {START_TIMEOUT:.0f} s")


def serve(given: argparse.Namespace, data: Path) -> int:
    """Start everything, and stay until a signal comes, or, with `--once`, until the one job is done."""
    data.mkdir(parents=True, exist_ok=True)
    url = given.url or f"sqlite:///{data / 'windlass.db'}"
    environment = os.environ | {"STUDIO_DATA": str(data), "WINDLASS_URL": url}
    environment.setdefault("WINDLASS_SHUTDOWN_TIMEOUT", "10s")
    environment |= {"STUDIO_BUSY": "1"} if given.busy else {}
    with ExitStack() as stack:
        server = stack.enter_context(listening(given.port))
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        api = [sys.executable, "api.py", str(server.fileno())]
        processes = {"API": stack.enter_context(running("API", api, environment, server.fileno()))}
        for name, worker in workers(given):
            processes[name] = stack.enter_context(running(name, worker, environment))
        wait_until_ready(address, processes)
        if given.busy:
            load = [sys.executable, "busy.py", address]
            processes["load"] = stack.enter_context(running("load", load, environment))
        if given.once:
            from once import once

            return once(address, lambda: check_all_live(processes))
        print(f"\n  The studio is at {address}\n  Its dashboard is at {address}/windlass/", flush=True)
        print(f"  Videos and jobs are kept in {data}\n  Ctrl-C stops it.\n", flush=True)
        return watch(processes)


def workers(given: argparse.Namespace) -> Iterator[tuple[str, list[str]]]:
    """Name and command of each worker."""
    command = [sys.executable, "-m", "windlass.cli.main", "worker", "busy:app" if given.busy else "tasks:app"]
    served = [f"--queue={name}" for name in BUSY_QUEUES] if given.busy else []
    for number in range(given.workers):
        yield f"worker {number + 1}" if given.workers > 1 else "worker", [*command, *served]
    if given.busy:
        yield "slow worker", [*command, "--queue=reports", "--concurrency=1"]


def watch(processes: dict[str, subprocess.Popen[bytes]]) -> int:
    """Stay until a signal comes. Raises `DidNotStart` when a process ends."""
    while True:
        check_all_live(processes)
        time.sleep(0.5)


def _on_signal(number: int, frame: FrameType | None) -> None:
    raise Stopped


def main() -> int:
    """Run it."""
    given = options()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)
    try:
        if not given.once:
            return serve(given, given.data.resolve() / "busy" if given.busy else given.data.resolve())
        with tempfile.TemporaryDirectory(prefix="studio-") as folder:
            return serve(given, Path(folder))
    except Stopped:
        print("stopped")
        return 130 if given.once else 0
    except DidNotStart as error:
        print(f"studio: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
