"""The servers of the tests leave nothing behind, however the tests end, and find a place however many there are."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import servers.redis
from servers import BINARIES, MISSING, RedisServer
from servers.redis import wait_for

pytestmark = pytest.mark.skipif(not BINARIES, reason=MISSING)
OWNER = """
import time
from servers import RedisServer
with RedisServer() as server:
    print(server.info("server")["process_id"], flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_server_ends_with_its_owner(tmp_path: Path, end: signal.Signals) -> None:
    if end is not signal.SIGINT and shutil.which("setpriv") is None:
        pytest.skip("needs the command setpriv: apt-get install util-linux")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "TMPDIR": str(tmp_path)}
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert owner.stdout is not None
    server = Path("/proc", owner.stdout.readline().decode().strip())
    assert server.exists()
    owner.send_signal(end)
    owner.communicate(timeout=30)
    wait_for(lambda: not server.exists() or "zombie" in (server / "status").read_text())
    if end is signal.SIGINT:
        assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with RedisServer() as first, socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
        other.close()
        monkeypatch.setattr(servers.redis, "PORTS", [first.port] * 20 + [free])
        first.command("SET mine 1")
        with RedisServer() as second:
            assert second.port == free
            assert second.command("GET mine") is None


def test_what_was_stored_is_there_after_a_restart() -> None:
    with RedisServer(appendonly="yes", appendfsync="always") as server:
        port = server.port
        server.command("SET mine 1")
        server.restart()
        assert (server.command("GET mine"), server.port) == ("1", port)
        server.freeze()
        server.kill()
        server.start()
        assert server.command("GET mine") == "1"
    assert not server.folder.exists()
