"""Thumbnails of any number of photos, many a job: `map` cuts the work into chunks, and one handle stands for all of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from windlass import Windlass

app = Windlass(name="thumbnails")
SIZE = (96, 96)


@dataclass(frozen=True)
class Thumbnail:
    """What became of a photo. error: why there is no thumbnail; "" when there is one. size: of its file, in bytes."""

    photo: str
    size: int = 0
    error: str = ""


@app.task(name="thumbnails.shrink", lane="process")
def shrink(photos: list[Path]) -> list[Thumbnail]:
    """A thumbnail beside each photo. One that cannot be read is told as a result: it must not be in the way of its neighbours."""
    return [shrunk(photo) for photo in photos]


def shrunk(photo: Path) -> Thumbnail:
    """Shrink one photo. The file appears whole or not at all, so that a second run after a crash does no harm."""
    goal, half = photo.with_suffix(".thumb.webp"), photo.with_suffix(".half")
    try:
        with Image.open(photo) as image:
            image.draft("RGB", SIZE)
            ImageOps.fit(image.convert("RGB"), SIZE).save(half, "webp", method=0)
    except (OSError, UnidentifiedImageError) as error:
        half.unlink(missing_ok=True)
        return Thumbnail(photo.name, error=str(error).partition(":")[0])
    half.replace(goal)
    return Thumbnail(photo.name, goal.stat().st_size)
