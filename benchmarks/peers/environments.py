"""A virtual environment per contender, made once in the user's cache folder, all with the same Python."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from peers.contenders import Contender


class Unavailable(Exception):
    """This contender cannot be installed here; the message says why, in a line."""


def cache() -> Path:
    """Where environments live."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "windlass-bench"


@dataclass(frozen=True)
class Interpreter:
    """The Python that everyone runs on."""

    path: str
    version: tuple[int, int, int]

    @classmethod
    def of(cls, path: str) -> Interpreter:
        """Ask it who it is: `path` may be a name on the PATH, or a shim."""
        program = "import json, sys; print(json.dumps([sys.executable, *sys.version_info[:3]]))"
        try:
            said = subprocess.run([path, "-c", program], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"--python {path}: no Python answers there ({error})") from error
        executable, major, minor, micro = json.loads(said)
        return cls(executable, (major, minor, micro))

    def __str__(self) -> str:
        return ".".join(map(str, self.version))


class Environment:
    """The environment of one contender."""

    def __init__(self, name: str, requirements: tuple[str, ...], interpreter: Interpreter) -> None:
        self.interpreter, self.requirements = interpreter, requirements
        self.folder = cache() / f"python-{interpreter}" / name
        self.python = self.folder / "bin" / "python"
        self.stamp = self.folder / "installed.json"

    def ready(self, source: str = "") -> bool:
        """Whether it holds what the table asks for; `source`: what else it depends on."""
        return self.stamp.exists() and json.loads(self.stamp.read_text())["wanted"] == self._wanted(source)

    def make(self, source: str = "") -> None:
        """Make it, from nothing. Raises `Unavailable` with pip's own last word."""
        command = [str(self.python), "-m", "pip", "--disable-pip-version-check"]
        self._run([self.interpreter.path, "-m", "venv", "--clear", str(self.folder)])
        self._run([*command, "install", "--quiet", *self.requirements])
        listed = json.loads(self._run([*command, "list", "--format", "json"]))
        packages = {entry["name"].lower().replace("_", "-"): entry["version"] for entry in listed}
        self.stamp.write_text(json.dumps({"wanted": self._wanted(source), "packages": packages}))

    def packages(self) -> dict[str, str]:
        """What is installed: version by name."""
        return dict(json.loads(self.stamp.read_text())["packages"])

    def _wanted(self, source: str) -> str:
        return hashlib.sha256("\n".join([*self.requirements, source]).encode()).hexdigest()

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
            raise Unavailable(without_places(errors[-1] if errors else f"{command[0]} ended with {done.returncode}"))
        return done.stdout


def without_places(text: str) -> str:
    """What a process said, without where on this machine it lives: it goes into a report."""
    text = re.sub(r"\b(https?|file)://\S+", "(an address)", text)
    return re.sub(r"(?<![\w:/.])/(?:[\w.@+-]+/)+", "", text)


def environment(contender: Contender, interpreter: Interpreter, root: Path) -> Environment:
    """The contender's environment, made when it is not there yet. Raises `Unavailable`."""
    if interpreter.version < contender.python:
        wanted = ".".join(map(str, contender.python))
        raise Unavailable(f"{contender.name} needs Python {wanted}, this run has {interpreter}")
    source = (root / "pyproject.toml").read_text() if contender.name == "windlass" else ""
    requirements = tuple(requirement.format(root=root) for requirement in contender.requirements)
    found = Environment(contender.name, requirements, interpreter)
    if not found.ready(source):
        print(f"  installing {contender.name}: {' '.join(contender.requirements)}", flush=True)
        found.make(source)
    return found
