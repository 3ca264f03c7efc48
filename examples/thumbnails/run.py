"""Make thumbnails of many photos: `python run.py [--photos 10000] [--chunk 50]`. The store is $WINDLASS_URL, or a file."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tasks
from PIL import Image

HERE = Path(__file__).resolve().parent


@contextmanager
def worker() -> Iterator[None]:
    """A worker beside us."""
    with subprocess.Popen([sys.executable, "-m", "windlass.cli.main", "worker", "tasks:app"], cwd=HERE) as process:
        try:
            yield
        finally:
            process.terminate()


def take(folder: Path, photos: int) -> list[Path]:
    """So many photos, each of another colour, and one in a thousand that is none."""
    taken = []
    for number in range(photos):
        photo = folder / f"{number:06}.jpg"
        if number % 1000 == 7:
            photo.write_bytes(b"no photo at all")
        else:
            colour = (number % 256, number // 256 % 256, 128)
            Image.new("RGB", (320, 240), colour).save(photo, quality=60)
        taken.append(photo)
    return taken


async def shrink(photos: list[Path], chunk: int) -> list[tasks.Thumbnail]:
    """Enqueue all of it in one step, and tell how it goes."""
    began = time.monotonic()
    work = await tasks.shrink.map(photos, chunk=chunk).enqueue()
    print(f"{len(photos):,} photos in {-(-len(photos) // chunk):,} jobs, stored in {time.monotonic() - began:.2f} s")
    done = 0
    async for thumbnail in work:  # as they come
        done += 1
        if thumbnail.error:
            print(f"  {thumbnail.photo}: {thumbnail.error}")
        if done % (len(photos) // 10 or 1) == 0:
            print(f"  {done:,} done", flush=True)
    print(f"all done in {time.monotonic() - began:.1f} s")
    return await work  # in the order of the photos


def main() -> int:
    """Run it; 0 when every photo that is one has its thumbnail."""
    parser = argparse.ArgumentParser(description="Thumbnails of many photos.")
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--chunk", type=int, default=50)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thumbnails-") as name:
        folder = Path(name)
        photos = take(folder, given.photos)
        with worker():
            made = asyncio.run(shrink(photos, given.chunk))
        there = len(list(folder.glob("*.thumb.webp")))
        failed = sum(bool(one.error) for one in made)
        print(f"{there:,} thumbnails, {failed} photos that are none")
        in_order = [one.photo for one in made] == [photo.name for photo in photos]
        return 0 if in_order and there == given.photos - failed else 1


if __name__ == "__main__":
    sys.exit(main())
