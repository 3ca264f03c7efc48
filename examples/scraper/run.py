"""Crawl sites on this machine, and kill the worker on the way: `python run.py [--kills 3] [--sites 2] [--pages 150]`.

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
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from urllib.request import urlopen

import tasks

HERE = Path(__file__).resolve().parent
PAUSE = 0.02
"""Seconds that the robots.txt of the sites asks for between two requests."""


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


async def crawl(starts: list[str], book: Path, pages: int, kills: int) -> None:
    """Let workers crawl them; so many of the workers are killed."""
    crawls = asyncio.gather(*[await tasks.crawl.enqueue(f"{start}/page/1", book) for start in starts])
    for number in range(kills):
        with running("-m", "windlass.cli.main", "worker", "tasks:app") as worker:
            while visited(book) < pages * (number + 1) // (2 * kills):  # noqa: ASYNC110 # a file does not tell
                await asyncio.sleep(0.05)
            os.killpg(worker.pid, signal.SIGKILL)
            print(f"  {visited(book)} pages; the worker was killed, another one takes over", flush=True)
    with running("-m", "windlass.cli.main", "worker", "tasks:app"):
        await crawls


def visited(book: Path) -> int:
    """How many pages there are in the file."""
    return len({json.loads(line)["address"] for line in book.read_text().splitlines()})


def report(start: str, pages: int) -> bool:
    """Say what a site was asked for, and whether that is as it should be."""
    with urlopen(f"{start}/log") as answer:
        log: list[tuple[float, str]] = json.loads(answer.read())[:-1]
    asked = Counter(path for _, path in log if path.startswith("/page/"))
    private = sum(path.startswith("/private/") for _, path in log)
    times = [at for at, path in log if path != "/robots.txt"]
    gap = min(later - earlier for earlier, later in pairwise(times))
    print(
        f"{start}: {len(asked)} of {pages} pages, {asked.total() - len(asked)} asked for again,"
        f" {private} private ones, {1000 * gap:.0f} ms between two requests at least"
    )
    return len(asked) == pages and not private and gap >= PAUSE


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description="A scraper whose worker is killed on the way.")
    parser.add_argument("--sites", type=int, default=2)
    parser.add_argument("--pages", type=int, default=150, help="of each site")
    parser.add_argument("--kills", type=int, default=3)
    given = parser.parse_args()
    with ExitStack() as stack:
        book = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scraper-")), "pages.jsonl")
        book.touch()
        starts = [stack.enter_context(site(given.pages)) for _ in range(given.sites)]
        pages = given.sites * given.pages
        asyncio.run(crawl(starts, book, pages, given.kills))
        print(f"{visited(book)} of {pages} pages in the file after {given.kills} kills")
        right = [report(start, given.pages) for start in starts]
        return 0 if all(right) and visited(book) == pages else 1


if __name__ == "__main__":
    sys.exit(main())
