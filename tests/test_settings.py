"""Settings: which source wins, and what is said about values that make no sense."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from windlass import ConfigurationError, Retry, Windlass
from windlass.settings import SETTABLE, Settings, default_url, load, pyproject


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project as the current folder, and an environment without settings; answers its pyproject.toml."""
    monkeypatch.chdir(tmp_path)
    for name in (*SETTABLE, "url"):
        monkeypatch.delenv(f"WINDLASS_{name.upper()}", raising=False)
    return tmp_path / "pyproject.toml"


def write(project: Path, lines: str) -> None:
    project.write_text(f"[tool.windlass]\n{lines}\n")


def test_without_any_source_the_defaults_hold() -> None:
    assert load() == Settings()


def test_an_argument_beats_the_environment_beats_the_file_beats_the_default(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load().concurrency == 100
    write(project, "concurrency = 7\nthreads = 7")
    assert load().concurrency == 7
    monkeypatch.setenv("WINDLASS_CONCURRENCY", "8")
    assert load().concurrency == 8
    assert load(concurrency=9).concurrency == 9
    assert load(concurrency=None).concurrency == 8
    assert load(concurrency=9).threads == 7


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("shutdown_timeout", "1m", 60.0),
        ("shutdown_timeout", "90", 90.0),
        ("shutdown_timeout", "1.5", 1.5),
        ("shutdown_timeout", timedelta(minutes=2), 120.0),
        ("shutdown_timeout", 0, 0.0),
        ("max_payload", "2MB", 2 << 20),
        ("max_payload", 1000, 1000),
        ("child_memory", "512KB", 512 << 10),
        ("runners", "2", 2),
        ("threads", 0, 0),
        ("retry", Retry(attempts=9), Retry(attempts=9)),
    ],
)
def test_values_are_read_as_people_write_them(name: str, value: Any, expected: Any) -> None:
    assert getattr(load(**{name: value}), name) == expected


@pytest.mark.parametrize("name", sorted(SETTABLE.keys() - {"version", "durability"}))
@pytest.mark.parametrize("text", ["", "many", "-1", "--1", "²"])
def test_nonsense_in_the_environment_is_refused_by_name(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"WINDLASS_{name.upper()}", text)
    with pytest.raises(ConfigurationError, match=rf"setting '{name}' from \$WINDLASS_{name.upper()}"):
        load()


def test_a_misspelled_variable_is_pointed_out_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("URL", "APP", "NAME", "LOG_LEVEL", "LOG_FORMAT", "DEBUG", "FAILPOINTS", "CONCURENCY"):
        monkeypatch.setenv(f"WINDLASS_{name}", "memory://")
    assert load() == Settings()
    assert caplog.messages == ["$WINDLASS_CONCURENCY sets nothing; did you mean $WINDLASS_CONCURRENCY?"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lease", 0),
        ("beat", "0s"),
        ("upkeep", 0.0),
        ("max_payload", 0),
        ("max_payload", 1.5),
        ("max_payload", -1),
        ("concurrency", 2.7),
        ("concurrency", True),
        ("runners", 0),
        ("child_jobs", 0),
        ("lease", float("nan")),
        ("lease", [1]),
        ("durability", "fire"),
        ("version", "two words"),
        ("version", "a:b"),
        ("version", 3),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"setting '{name}' from an argument: "):
        load(**{name: value})


def test_a_worker_must_beat_before_its_lease_is_over() -> None:
    with pytest.raises(ConfigurationError, match=r"'beat' \(9 s\) must be shorter than 'lease' \(7 s\)"):
        load(beat=9)


def test_an_unknown_argument_is_refused_with_what_there_is() -> None:
    with pytest.raises(ConfigurationError, match=r"no setting 'concurency'; there are .*concurrency"):
        Windlass("memory://", concurency=5)


def test_an_unknown_key_in_the_file_is_refused_with_what_there_is(project: Path) -> None:
    write(project, "concurency = 5")
    with pytest.raises(
        ConfigurationError, match=r"\[tool.windlass\] has no setting 'concurency'; it knows .*concurrency"
    ):
        load()


def test_a_nonsense_value_in_the_file_is_refused_by_place(project: Path) -> None:
    write(project, 'lease = "soon"')
    with pytest.raises(ConfigurationError, match=r"setting 'lease' from \[tool.windlass\]: 'soon' is no duration"):
        load()


@pytest.mark.parametrize("content", [b"[tool.windlass", b"\xff\xfe"])
def test_a_broken_file_is_named(project: Path, content: bytes) -> None:
    project.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"pyproject.toml is no valid TOML"):
        load()


def test_where_things_are_is_no_setting_but_may_stand_there(project: Path) -> None:
    write(project, 'url = "memory://"\napp = "tasks:app"\nname = "shop"')
    assert load() == Settings()


def test_the_nearest_pyproject_counts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "threads = 3")
    deep = project.parent / "src" / "deep"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert pyproject() == project
    assert load().threads == 3


def test_the_default_store_is_one_file_for_the_whole_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "threads = 3")
    here = default_url()
    (project.parent / "sub").mkdir()
    monkeypatch.chdir(project.parent / "sub")
    assert default_url() == here == f"sqlite:///{project.parent / '.windlass' / 'windlass.db'}"


def test_the_url_comes_from_the_environment_then_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, 'url = "memory://file"')
    assert Windlass().url == "memory://file"
    monkeypatch.setenv("WINDLASS_URL", "memory://environment")
    assert Windlass().url == "memory://environment"
    assert Windlass("memory://argument").url == "memory://argument"
