"""One Redis or Valkey server: started, stopped, killed, paused and restarted at will."""

from __future__ import annotations

import atexit
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from servers.certificates import Certificates

BINARIES = [path for name in ("redis-server", "valkey-server") if (path := shutil.which(name))]
MISSING = (
    "needs a Redis server: apt-get install redis-server (or valkey-server); as root on Debian, make packages does it"
)
PATIENCE = 30.0
"""Seconds for whatever a server should do by itself."""
PORTS = range(10_000, 22_000)
"""Below those that the kernel gives to clients, so that none takes the place of a server that is away; and a cluster's
second port, 10,000 higher, is still one that a test may have."""

BOUND = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
"""Before a command: should this process be killed, the kernel kills what it has started."""
_DEFAULTS = {"bind": "127.0.0.1", "save": '""', "appendonly": "no", "enable-debug-command": "local"}
_running: set[RedisServer] = set()


class RedisServer:
    """A server on a free loopback port, started by `with` or `start`, ended for good by `close`.

    tls: listen for TLS only. unix: listen on a socket file, too. password: of the default user.
    options: directives of redis.conf, with underscores; a tuple for one that is given several times. With `sentinel` it is one.
    What is changed in `options` (names as in the file) and `environment` (variables besides ours) holds from the next start on.
    """

    def __init__(
        self,
        binary: str = "",
        *,
        tls: Certificates | None = None,
        unix: bool = False,
        password: str = "",
        **options: object,
    ) -> None:
        self.binary = binary or BINARIES[0]
        self.folder = Path(tempfile.mkdtemp(prefix="windlass-redis-"))
        self.path = self.folder / "redis.sock" if unix else None
        self.tls, self.password, self.port = tls, password, 0
        self._sentinel = "sentinel" in options
        self.options: dict[str, object] = {} if self._sentinel else dict(_DEFAULTS)
        self.options |= {name.replace("_", "-"): value for name, value in options.items()}
        self.environment: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    # --- its life

    def start(self, *, loaded: bool = True) -> RedisServer:
        """Start it, again with the same port and data. loaded: return only once it answers, else once it listens."""
        _running.add(self)
        while not self._launch(loaded):
            assert "in use" in self.log, self.log
            self.port = 0  # somebody was faster
        return self

    def stop(self) -> None:
        """Let it end in order: it saves what it is told to save."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a crash would: SIGKILL."""
        self._end(signal.SIGKILL)

    def restart(self, *, loaded: bool = True) -> None:
        """Kill it and start it anew with what it had stored."""
        self.kill()
        self.start(loaded=loaded)

    def freeze(self) -> None:
        """It keeps its connections, and answers nothing until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it and remove all that it stored."""
        self._end(signal.SIGKILL)
        _running.discard(self)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- talking to it

    def url(self, user: str = "", password: str = "", db: int = 0) -> str:
        """Where a broker finds it, with the given user's or the default user's password."""
        secret = quote(password or self.password, safe="")
        who = f"{user}:{secret}@" if user or secret else ""
        if self.path is not None:
            return f"unix://{who}{self.path}?db={db}"
        end = f"127.0.0.1:{self.port}/{db}"
        return f"rediss://{who}{end}?ssl_ca_certs={self.tls.authority}" if self.tls else f"redis://{who}{end}"

    def client(self, **more: Any) -> Redis:
        """A plain client, which repeats nothing."""
        where: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "socket_timeout": PATIENCE}
        if self.tls is not None:
            where |= {"ssl": True, "ssl_ca_certs": str(self.tls.authority)}
        given = {"password": self.password or None, "decode_responses": True, "encoding_errors": "backslashreplace"}
        return Redis(**where, **(given | more), retry=Retry(NoBackoff(), 0))

    def command(self, *words: object) -> Any:
        """The answer to one command, on a connection of its own."""
        with self.client() as client:
            return client.execute_command(*words)

    def info(self, section: str = "everything") -> dict[str, Any]:
        """What INFO tells."""
        return dict(self.command("INFO", section))

    @property
    def log(self) -> str:
        """All it has said since it was made."""
        return (self.folder / "log").read_text()

    # --- how it is done

    def _launch(self, loaded: bool) -> bool:
        self.port = self.port or random.choice(PORTS)
        self._write()
        mode = ["--sentinel"] if self._sentinel else []
        with (self.folder / "log").open("ab") as log:
            process = self._process = subprocess.Popen(
                [*BOUND, self.binary, str(self.folder / "redis.conf"), *mode],
                cwd=self.folder, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        wait_for(lambda: process.poll() is not None or self._answers(process, loaded))
        return process.poll() is None

    def _write(self) -> None:
        options = {"port": self.port, "dir": self.folder, **self.options}
        if self.tls is not None:
            options |= {
                "port": 0,
                "tls-port": self.port,
                "tls-auth-clients": "no",
                "tls-ca-cert-file": self.tls.authority,
            }
            options |= {"tls-cert-file": self.tls.certificate, "tls-key-file": self.tls.key}
        if self.path is not None:
            options["unixsocket"] = self.path
        if self.password:
            options["requirepass"] = self.password
        lines = [
            f"{name} {value}\n"
            for name, given in options.items()
            for value in (given if isinstance(given, tuple) else (given,))
        ]
        (self.folder / "redis.conf").write_text("".join(lines))

    def _answers(self, process: subprocess.Popen[bytes], loaded: bool) -> bool:
        try:
            info = self.info()
        except RedisError:
            return False
        mine = info["process_id"] == process.pid  # it may be the one that has our port
        return mine and not (loaded and info.get("loading"))

    def _signal(self, number: int) -> None:
        assert self._process is not None, "it was not started"
        self._process.send_signal(number)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def wait_for(condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """The condition's answer, once it is true."""
    end = time.monotonic() + patience
    while not (answer := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
    return answer


@atexit.register
def _close_all() -> None:
    for server in list(_running):
        server.close()
