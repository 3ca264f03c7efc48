"""Nothing in Windlass turns data into code (S1): no pickle and its like, nothing evaluated, nothing imported by a name from a message."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import windlass

SOURCE = Path(windlass.__file__).parent
BANNED = {
    "pickle",
    "_pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "yaml",
    "jsonpickle",
    "xmlrpc",
    "code",
    "runpy",
}
EVALUATING = {"eval", "exec", "compile", "__import__"}
IMPORTING = {
    "__init__.py": "the package's own names",
    "targets.py": "what the command line or a setting names",
    "broker/url.py": "the brokers of its own table",
    "web/admin/oidc.py": "two modules of an extra, which has no types",
}
"""Where modules are imported by a name that is not written there, and whose name it is."""


@cache
def nodes() -> list[tuple[str, Any]]:
    """Everything in the package, and where it stands."""
    paths = sorted(SOURCE.rglob("*.py"))
    return [
        (path.relative_to(SOURCE).as_posix(), node) for path in paths for node in ast.walk(ast.parse(path.read_text()))
    ]


def test_no_module_that_makes_objects_of_bytes_is_imported() -> None:
    found = [
        f"{place}:{node.lineno}"
        for place, node in nodes()
        if (isinstance(node, ast.Import) and any(alias.name.partition(".")[0] in BANNED for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in BANNED)
    ]
    assert found == []


def test_nothing_is_evaluated() -> None:
    found = [
        f"{place}:{node.lineno}"
        for place, node in nodes()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in EVALUATING
    ]
    assert found == []


def test_modules_are_imported_by_name_in_these_places_only() -> None:
    found = {
        place
        for place, node in nodes()
        if isinstance(node, ast.Name | ast.Attribute)
        and (node.id if isinstance(node, ast.Name) else node.attr) == "import_module"
    }
    assert found == set(IMPORTING)


WORKING = """
import asyncio, sys
from windlass import Depends, Seal, Windlass
from windlass.worker.runner import working
import windlass.worker.process, windlass.worker.lanes.child, windlass.worker.supervisor, windlass.observe.logs

app = Windlass(sys.argv[1], processes=0, seal=Seal.encrypting({"a": b"k" * 32}))

@app.task
async def one(n: int) -> int:
    return n

@app.task
def other(n: dict[str, int]) -> dict[str, int]:
    return n

async def main():
    async with working(app):
        assert await (await one.enqueue(1)).result(timeout=10) == 1
        assert await (await other.enqueue({"a": 1})).result(timeout=10) == {"a": 1}
    await app.close()

asyncio.run(main())
print(sorted(BANNED & sys.modules.keys()))
"""


@pytest.mark.parametrize("url", ["memory", "sqlite", "redis"], indirect=True)
def test_a_worker_at_work_has_none_of_them_in_memory(url: str) -> None:
    """Neither do the libraries that it is made of. `marshal` is how Python itself reads its own .pyc files."""
    code = f"BANNED = {BANNED - {'marshal'}}\n{WORKING}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WINDLASS_")}
    command = [sys.executable, "-c", code, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=kept)
    assert done.stdout == "[]\n", done.stderr
