"""Finding the app by what people write on a command line, or by looking where apps usually are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from windlass import ConfigurationError, Windlass
from windlass.targets import discover, load

APP = "from windlass import Windlass\n{name} = Windlass('memory://')\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WINDLASS_APP", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def write(folder: Path, path: str, name: str = "app") -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(APP.format(name=name))


def test_a_module_and_an_attribute(folder: Path) -> None:
    write(folder, "pack/jobs_one.py")
    assert isinstance(load("pack.jobs_one:app"), Windlass)


def test_a_file_and_an_attribute(folder: Path) -> None:
    write(folder, "deep/jobs_two.py", "engine")
    found = load("deep/jobs_two.py:engine", Windlass)
    assert isinstance(found, Windlass)
    assert load(str(folder / "deep" / "jobs_two.py") + ":engine") is found, "the same module, not a second copy"


def test_a_dotted_attribute(folder: Path) -> None:
    (folder / "jobs_three.py").write_text(APP.format(name="app") + "class Box:\n    inner = app\n")
    assert isinstance(load("jobs_three:Box.inner"), Windlass)


def test_without_an_attribute_the_best_named_app_is_taken(folder: Path) -> None:
    (folder / "jobs_four.py").write_text(APP.format(name="zebra") + APP.format(name="queue").splitlines()[1])
    assert load("jobs_four", Windlass) is load("jobs_four:queue")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("missing_module:app", "no module 'missing_module' to be imported from"),
        ("missing.deep:app", "no module 'missing.deep' to be imported from"),
        ("missing.py:app", "no Python file"),
        ("here_is_one:other", "has no attribute 'other'; it has app"),
        ("here_is_one:Windlass", "is a type, not a Windlass; it has app"),
        ("no_app_here", "'no_app_here' holds no Windlass app; say which object it is: no_app_here:name"),
    ],
)
def test_what_cannot_be_found_is_said_with_the_way_out(folder: Path, target: str, said: str) -> None:
    write(folder, "here_is_one.py")
    (folder / "no_app_here.py").write_text("x = 1\n")
    with pytest.raises(ConfigurationError) as refused:
        load(target, Windlass)
    assert said in str(refused.value)


def test_an_error_inside_the_module_is_not_taken_for_a_missing_one(folder: Path) -> None:
    (folder / "jobs_five.py").write_text("import not_installed_anywhere\n")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load("jobs_five:app")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load("./jobs_five.py:app")
    assert "jobs_five" not in sys.modules, "half a module is left behind"


def test_a_file_that_would_hide_a_module_in_use_is_refused(folder: Path) -> None:
    write(folder, "json.py")
    with pytest.raises(ConfigurationError, match=r"json.py would hide the module 'json', which is in use"):
        load("json.py:app")
    import json

    assert json.loads("1") == 1


def test_the_environment_says_which_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDLASS_APP", "shop.tasks:app")
    assert discover(Windlass) == ("shop.tasks:app", "$WINDLASS_APP")


def test_the_project_file_says_which_app(folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.windlass]\napp = "shop.tasks:app"\n')
    assert discover(Windlass) == ("shop.tasks:app", "[tool.windlass] app in pyproject.toml")


@pytest.mark.parametrize(("path", "target"), [("worker.py", "worker:app"), ("app/main.py", "app.main:app")])
def test_usual_files_are_looked_into(folder: Path, path: str, target: str) -> None:
    for name in ("worker", "app", "app.main"):
        sys.modules.pop(name, None)
    write(folder, path)
    assert discover(Windlass) == (target, f"found in {path}")


def test_nothing_to_be_found_is_said_with_all_ways_out(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"windlass worker package.module:app.*\$WINDLASS_APP.*pyproject.toml"):
        discover(Windlass)
