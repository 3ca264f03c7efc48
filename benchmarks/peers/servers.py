"""A Redis server of our own: on a free loopback port, with nothing on disk unless asked for, gone with the run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from peers.processes import MARK


class Redis:
    """What the measuring side asks a server, through `redis-cli`: no contender's environment needs a client library for it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/0"

    def ask(self, *command: str) -> str:
        """One command's answer."""
        whole = ["redis-cli", "-p", str(self.port), *command]
        return subprocess.run(whole, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    def clear(self) -> None:
        """Forget everything."""
        self.ask("FLUSHALL", "SYNC")

    def info(self) -> dict[str, str]:
        """`INFO`, by field."""
        return dict(line.strip().split(":", 1) for line in self.ask("INFO").splitlines() if ":" in line)

    def memory(self) -> int:
        """Bytes in use, without the buffers of whoever is connected."""
        info = self.info()
        return int(info["used_memory"]) - int(info["mem_clients_normal"])


def usage(info: dict[str, str]) -> tuple[float, int]:
    """CPU seconds and commands of a server so far."""
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"]), int(info["total_commands_processed"])


class Server(Redis):
    """A server process of ours; `with` ends it."""

    def __init__(self, folder: Path, mark: str, *, durable: bool = False, program: str = "redis-server") -> None:
        for needed in (program, "redis-cli"):
            if shutil.which(needed) is None:
                raise SystemExit(f"{needed} is not on the PATH; on Debian: apt-get install redis-server")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        super().__init__(port)
        self.folder = folder / f"redis-{port}"
        self.folder.mkdir(parents=True)
        persistence = ["--appendonly", "yes", "--appendfsync", "everysec"] if durable else ["--appendonly", "no"]
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder), *persistence]
        environment = {**os.environ, MARK: mark}
        self.process = subprocess.Popen(
            [program, *options], env=environment, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def __enter__(self) -> Server:
        deadline = time.monotonic() + 10
        while True:
            try:
                self.version = self.info()["redis_version"]
                return self
            except (subprocess.CalledProcessError, KeyError) as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"redis-server did not start on port {self.port}") from error
                time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self.process.kill()  # nothing on it is worth a clean end
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
