"""The API and a worker: `python run.py [--once]`. The store is $WINDLASS_URL, or a file."""

from __future__ import annotations

import argparse
import asyncio
import io
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import tasks
from PIL import Image

HERE = Path(__file__).resolve().parent
PROMPTS = ["a quiet lake at dawn", "a quiet lake at night", "a red kite", "moss", "glass and rain", "a crowd"]


@contextmanager
def running(*command: str, fds: tuple[int, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """A process beside us."""
    with subprocess.Popen([sys.executable, "-m", *command], cwd=HERE, pass_fds=fds) as process:
        try:
            yield process
        finally:
            process.terminate()


async def order() -> int:
    """Order pictures, follow one of them, and look at all; 0 when all is right."""
    jobs = [await tasks.paint.enqueue(tasks.Prompt(text)) for text in PROMPTS]
    steps = [chunk["step"] async for chunk in jobs[0].stream()]
    pictures = [await job for job in jobs]
    for picture in pictures:
        image = Image.open(io.BytesIO(picture.png))
        print(f"  {picture.prompt:24} {image.width}x{image.height}, one of {picture.beside} painted at once")
    print(f"{len(steps)} previews of {PROMPTS[0]!r}")
    right = [picture.prompt for picture in pictures] == PROMPTS and steps == list(range(1, len(steps) + 1)) and steps
    return 0 if right and max(picture.beside for picture in pictures) > 1 else 1


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description="Pictures, painted by a worker.")
    parser.add_argument("--once", action="store_true", help="order some pictures, verify them, stop")
    given = parser.parse_args()
    with ExitStack() as stack:
        stack.enter_context(running("windlass.cli.main", "worker", "tasks:app"))
        if given.once:
            return asyncio.run(order())
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stack.enter_context(running("uvicorn", "api:api", "--fd", str(server.fileno()), fds=(server.fileno(),)))
        print(f"\n  The page is at http://127.0.0.1:{server.getsockname()[1]}\n  Ctrl-C stops it.\n", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
