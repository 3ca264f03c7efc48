"""Where the videos are: a folder for each, with the upload, its description and what was made of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("STUDIO_DATA") or HERE / ".data").resolve()
UPLOADS = DATA / "uploads"
VIDEOS = DATA / "videos"


class Piece(BaseModel):
    """What one job does to a video. `file`: what it makes, if it makes a file."""

    kind: Literal["probe", "rendition", "sheet"]
    title: str
    file: str | None = None
    width: int | None = None
    height: int | None = None


class Entry(BaseModel):
    """A video that was accepted. `job` publishes it. `duration` in seconds, None when the file does not say; `size` in bytes."""

    id: str
    job: str
    name: str
    size: int
    width: int
    height: int
    duration: float | None
    pieces: list[Piece]

    def save(self) -> None:
        """Write the description, whole or not at all."""
        path = folder(self.id) / "video.json"
        part = path.with_suffix(".part")
        part.write_text(self.model_dump_json(indent=2))
        part.replace(path)


def folder(video_id: str) -> Path:
    """The folder of a video."""
    return VIDEOS / video_id


def source(video_id: str) -> Path:
    """The upload."""
    return folder(video_id) / "source"


def find(video_id: str) -> Entry | None:
    """The description of a video, None when there is none."""
    try:
        return Entry.model_validate_json((folder(video_id) / "video.json").read_text())
    except FileNotFoundError:
        return None


@contextmanager
def published(target: Path, run: int) -> Iterator[Path]:
    """A path to write to, that becomes `target` once the block has succeeded: nobody ever sees half a file.

    run: a number that no other run has. What an earlier run left behind when it was killed is removed first.
    """
    for stale in target.parent.glob(f".{target.name}.*.part"):
        stale.unlink(missing_ok=True)
    part = target.with_name(f".{target.name}.{run}.part")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
