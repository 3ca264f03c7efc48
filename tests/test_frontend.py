"""The dashboard's pages are in what is packed, and nothing about them depends on where they were built."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
INDEX = "windlass/dashboard/static/index.html"


def pack(kind: str, source: Path, target: Path, **environment: str) -> Path:
    """The package that hatchling makes of a tree."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    done = subprocess.run(
        command, cwd=source, env={**os.environ, **environment}, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return next(target.iterdir())


def test_the_wheel_has_the_pages_and_is_made_from_the_sdist_without_node(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    subprocess.run(["tar", "-xf", pack("sdist", ROOT, tmp_path / "sdist"), "-C", tmp_path / "tree"], check=True)
    (tree,) = (tmp_path / "tree").iterdir()
    assert not list(tree.glob("frontend/node_modules"))
    with zipfile.ZipFile(pack("wheel", tree, tmp_path / "wheel", PATH="")) as wheel:
        assert '<base href="/">' in wheel.read(INDEX).decode()
        assert {name.rpartition(".")[2] for name in wheel.namelist() if "/static/assets/" in name} == {"js", "css"}
        assert not [name for name in wheel.namelist() if name.startswith("frontend/")]


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """frontend/pages.py over a folder of its own, with an npm that only writes down how it was called."""
    spec = importlib.util.spec_from_file_location("frontend_pages", ROOT / "frontend" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("HERE", "STATIC", "MODULES"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        monkeypatch.setattr(module, name, folder)
    (module.HERE / "src").mkdir()
    (module.HERE / "src" / "page.ts").write_text("one")
    (module.HERE / "package-lock.json").write_text("{}")
    module.calls = []

    def npm(*arguments: str) -> None:
        module.calls.append(arguments[-1])
        if arguments == ("run", "build"):
            (module.HERE / "dist").mkdir(exist_ok=True)
            (module.HERE / "dist" / "index.html").write_text((module.HERE / "src" / "page.ts").read_text())

    monkeypatch.setattr(module, "_npm", npm)
    return module


def test_pages_are_built_again_when_a_source_changed_and_only_then(pages: ModuleType) -> None:
    pages.build()
    pages.build()
    assert pages.calls == ["ci", "build"]
    assert pages.is_built()
    (pages.HERE / "src" / "page.ts").write_text("two")
    assert not pages.is_built()
    pages.build()
    assert pages.calls == ["ci", "build", "build"]
    assert (pages.STATIC / "index.html").read_text() == "two"
    (pages.HERE / "package-lock.json").write_text("{ }")
    pages.check()
    pages.check()
    assert pages.calls[3:] == ["ci", "check", "test"]


def test_a_build_that_breaks_off_is_done_again(pages: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: str) -> None:
        raise SystemExit(1)

    npm = pages._npm
    monkeypatch.setattr(pages, "_npm", broken)
    with pytest.raises(SystemExit):
        pages.build()
    assert not pages.is_built()
    monkeypatch.setattr(pages, "_npm", npm)
    pages.build()
    assert pages.is_built()


def test_no_file_of_the_front_end_names_a_registry() -> None:
    lock = (ROOT / "frontend" / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert "http" not in (ROOT / "frontend" / ".npmrc").read_text()
