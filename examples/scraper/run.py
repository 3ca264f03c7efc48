"""Crawl a site on this machine, and kill the worker on the way: `python run.py [--kills 3] [--pages 300]`.

The store is $WINDLASS_URL, or a file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import tasks

HERE = Path(__file__).resolve().parent


@contextmanager
def running(*command: str, fds: tuple[int, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """A process, in a session of its own."""
    with subprocess.Popen([sys.executable, *command], cwd=HERE, pass_fds=fds, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def site(pages: int) -> Iterator[str]:
    """The site; gives its address."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stack.enter_context(running("site.py", str(server.fileno()), str(pages), fds=(server.fileno(),)))
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


async def crawl(start: str, book: Path, pages: int, kills: int) -> None:
    """Let workers crawl it; so many of them are killed."""
    job = await tasks.crawl.enqueue(f"{start}/page/1", book)
    deadly = [pages * (number + 1) // (2 * kills) for number in range(kills)]  # all in the first half
    while True:
        with running("-m", "windlass.cli.main", "worker", "tasks:app") as worker:
            async for event in job.events():
                if event.kind == "progress" and deadly and visited(book) >= deadly[0]:
                    deadly.pop(0)
                    os.killpg(worker.pid, signal.SIGKILL)
                    print(f"  {visited(book)} pages; the worker was killed, another one takes over", flush=True)
                    break
                if event.kind == "end":
                    await job  # or the reason why not
                    return


def visited(book: Path) -> int:
    """How many pages there are in the file."""
    return len({json.loads(line)["address"] for line in book.read_text().splitlines()})


def report(start: str, book: Path, pages: int, kills: int) -> int:
    """Say what came of it; 0 when all is as it should be."""
    with urlopen(f"{start}/hits") as answer:
        hits: dict[str, int] = json.loads(answer.read())
    asked = {path: number for path, number in hits.items() if path.startswith("/page/")}
    twice = sum(asked.values()) - len(asked)
    private = sum(number for path, number in hits.items() if path.startswith("/private/"))
    print(
        f"{visited(book)} of {pages} pages in the file; {twice} were asked for again after {kills} kills; {private} private ones"
    )
    return 0 if visited(book) == len(asked) == pages and not private else 1


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description="A scraper whose worker is killed on the way.")
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--kills", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scraper-") as folder, site(given.pages) as start:
        book = Path(folder, "pages.jsonl")
        book.touch()
        asyncio.run(crawl(start, book, given.pages, given.kills))
        return report(start, book, given.pages, given.kills)


if __name__ == "__main__":
    sys.exit(main())
