"""The seed of this project runs as its users wrote it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx

SEED = Path(__file__).resolve().parents[2] / "examples" / "seed"


@contextmanager
def running(command: list[str], store: Path, *fds: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {"WINDLASS_URL": f"sqlite:///{store}"}
    with subprocess.Popen([sys.executable, "-m", *command], cwd=SEED, env=environment, pass_fds=fds) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


async def test_delay_in_an_async_route_returns_at_once_and_a_worker_elsewhere_runs_it(tmp_path: Path) -> None:
    """Show 3."""
    store = tmp_path / "store" / "seed.db"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        api_command = ["uvicorn", "main:api", "--fd", str(server.fileno()), "--log-level", "warning"]
        with running(api_command, store, server.fileno()) as api:
            async with httpx.AsyncClient(base_url=address, timeout=30) as client:
                accepted = await client.post("/upload", params={"video_id": "v42"})
                assert accepted.status_code == 202
                job = f"/jobs/{accepted.json()['job']}"
                # Nobody could have run it yet: there is no worker.
                assert (await client.get(job)).json()["state"] == "ready"
                with running(["windlass.cli.main", "worker", "main:app"], store):
                    end = time.monotonic() + 60
                    while (told := (await client.get(job, params={"wait": 5})).json())["state"] != "succeeded":
                        assert time.monotonic() < end, told
                said = (await client.get(f"{job}/result")).json()
    ran = re.fullmatch(r"v42 was processed by process (\d+)", said)
    assert ran is not None
    assert int(ran[1]) not in (api.pid, os.getpid())
