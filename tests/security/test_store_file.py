"""The file of a SQLite store (S34), and ids (S41)."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from windlass import Windlass
from windlass.core.ids import new_id
from windlass.errors import ConfigurationError, WindlassError


def test_the_folder_of_a_store_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / ".windlass" / "jobs.db"
    app = Windlass(f"sqlite:///{path}")
    app.task(name="t")(_task)
    app.get_task("t").delay()
    app.run_blocking(app.close())
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) & 0o077 for file in path.parent.iterdir() if file.is_file()} == {0}


def test_a_folder_that_was_there_is_left_as_its_owner_wants_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    app = Windlass(f"sqlite:///{tmp_path}/jobs.db")
    app.task(name="t")(_task)
    app.get_task("t").delay()
    app.run_blocking(app.close())
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o770


async def test_a_link_and_dots_lead_to_one_store_with_one_lock(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    first, second = Windlass(f"sqlite:///{tmp_path}/a/jobs.db"), Windlass(f"sqlite:///{tmp_path}/link/../link/jobs.db")
    first.task(name="t")(_task)
    handle = await first.get_task("t").enqueue()
    assert (await second.job(handle.id).info()).task == "t"
    await first.close()
    await second.close()
    assert sorted(os.listdir(tmp_path)) == ["a", "link"]


async def _task() -> None: ...


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", "a\0b", "x" * 300 + "/"])
def test_the_name_of_an_app_is_no_path(name: str) -> None:
    with pytest.raises(ConfigurationError):
        Windlass("sqlite:///jobs.db", name=name)


async def test_a_hostile_file_loads_no_extension(tmp_path: Path) -> None:
    """Nobody runs a trigger that he did not make: such a file is refused."""
    app = Windlass(f"sqlite:///{tmp_path}/jobs.db")
    app.task(name="t")(_task)
    await app.get_task("t").enqueue()
    await app.close()
    with sqlite3.connect(tmp_path / "jobs.db") as hostile:
        hostile.execute("CREATE TRIGGER evil BEFORE INSERT ON job BEGIN SELECT load_extension('/evil.so'); END")
    hostile.close()
    with pytest.raises(WindlassError, match="holds triggers or views"):
        await app.get_task("t").enqueue()
    await app.close()


def test_ids_cannot_be_guessed() -> None:
    """S41: 62 random bits beside the time, from the system's generator. Still they are no secret: see SECURITY.md."""
    ids = [new_id() for _ in range(10_000)]
    tails = {int(one.replace("-", "")[16:], 16) & (1 << 62) - 1 for one in ids}
    assert len(tails) == len(ids)
    ones = sum(tail.bit_count() for tail in tails) / len(tails)
    assert 30.5 < ones < 31.5, "of 62 bits half are set; five standard deviations are 0.2"
