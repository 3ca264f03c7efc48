"""TLS certificates made on the fly: an authority that nobody else trusts, and a certificate for the loopback addresses."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

OPENSSL = shutil.which("openssl")
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


class Certificates:
    """Files in `folder`: `authority` (to be trusted), `certificate` and `key` (the server's)."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.certificate, self.key = folder / "ca.pem", folder / "server.pem", folder / "server.key"
        own = ("-keyout", folder / "ca.key", "-out", self.authority)
        _openssl("-subj", "/CN=Windlass tests", "-addext", "keyUsage=critical,keyCertSign", *own)
        signed = ("-CA", self.authority, "-CAkey", folder / "ca.key", "-keyout", self.key, "-out", self.certificate)
        names = (
            "-addext",
            "subjectAltName=IP:127.0.0.1,DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        )
        _openssl("-subj", "/CN=localhost", *names, *signed)


def _openssl(*arguments: object) -> None:
    assert OPENSSL, "needs the command openssl: apt-get install openssl"
    command = [OPENSSL, "req", "-x509", *_KEY, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
