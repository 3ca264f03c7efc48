"""How busy the dashboard keeps a browser's main thread while 500 events a second happen: jobs that end, lines that are logged.

Prints a table and writes it to `benchmarks/results/dashboard.md`. Needs the built front end (`make frontend`) and a chromium.

    python benchmarks/dashboard.py [--rate 500] [--seconds 8]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from playwright.async_api import Browser, CDPSession, Playwright, async_playwright

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "dashboard.md"
BAR = 0.30


class Figure(NamedTuple):
    """What a page cost: the share of time in which the main thread worked, DOM nodes, requests a second."""

    page: str
    busy: float
    nodes: int
    requests: float


async def chromium(playwright: Playwright) -> Browser:
    """Debian's Chromium, if it can be without its windows."""
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    return await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])


async def measure(browser: Browser, name: str, address: str, seconds: float) -> Figure:
    """Look at a page for some seconds."""
    requests: list[str] = []
    page = await browser.new_page(viewport={"width": 1440, "height": 900})
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Performance.enable", {"timeDomain": "threadTicks"})  # what others run counts for nothing
    await page.goto(address)
    await page.wait_for_timeout(2000)  # the first paint is another figure
    page.on("request", lambda request: requests.append(request.url))
    before, began = await _metrics(devtools), time.monotonic()
    await page.wait_for_timeout(seconds * 1000)
    after, took = await _metrics(devtools), time.monotonic() - began
    await page.close()
    return Figure(
        name, (after["TaskDuration"] - before["TaskDuration"]) / took, int(after["Nodes"]), len(requests) / took
    )


async def _metrics(devtools: CDPSession) -> dict[str, float]:
    answer = await devtools.send("Performance.getMetrics")
    return {one["name"]: one["value"] for one in answer["metrics"]}


@asynccontextmanager
async def feeding(done: Any, rate: int) -> AsyncIterator[None]:
    """So many jobs a second, for as long as the block lasts."""

    async def feed() -> None:
        start = time.monotonic()
        made = 0
        while True:
            due = int((time.monotonic() - start) * rate) - made
            if due:
                await done.app.enqueue_many(done.bind(number) for number in range(due))
                made += due
            await asyncio.sleep(0.05)

    task = asyncio.create_task(feed())
    try:
        yield
    finally:
        task.cancel()


@contextmanager
def process(*command: str, fd: int = -1) -> Iterator[None]:
    """A process for as long as the block lasts."""
    with subprocess.Popen([sys.executable, *command], cwd=HERE, pass_fds=[fd] if fd >= 0 else []) as started:
        try:
            yield
        finally:
            started.terminate()


async def figures(address: str, rate: int, seconds: float) -> list[Figure]:
    """Every page that moves."""
    from dashboard_app import chatter, done  # the store is known by now

    job = await chatter.enqueue(rate)
    async with async_playwright() as playwright, feeding(done, rate):
        browser = await chromium(playwright)
        pages = {
            "Overview": "/",
            "Jobs": "/jobs",
            "Queue": "/queues/default",
            "Task": "/tasks/dashboard_app.done",
            "Job, with its log": f"/jobs/{job.id}",
        }
        found = [await measure(browser, name, address + path, seconds) for name, path in pages.items()]
        await browser.close()
    await job.cancel()
    return found


def table(found: list[Figure], rate: int) -> str:
    """The figures in Markdown."""
    rows = [f"| {one.page} | {one.busy:.0%} | {one.nodes:,} | {one.requests:.1f} |" for one in found]
    return "\n".join(
        [
            f"# The dashboard in a browser, at {rate} jobs and {rate} log lines a second",
            "",
            f"`python benchmarks/dashboard.py`. The bar: less than {BAR:.0%} busy.",
            "",
            "| page | main thread busy | DOM nodes | requests/s |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def main() -> int:
    """Measure; 1 when a page is over the bar."""
    parser = argparse.ArgumentParser(description="How busy the dashboard keeps a browser.")
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=8)
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="windlass-bench-"))
        os.environ["BENCH_URL"] = f"sqlite:///{folder}/bench.db"
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stack.enter_context(process("dashboard_app.py", str(server.fileno()), fd=server.fileno()))
        stack.enter_context(process("-m", "windlass.cli.main", "worker", "dashboard_app:app", "--log-level=error"))
        address = f"http://127.0.0.1:{server.getsockname()[1]}/windlass"
        found = asyncio.run(figures(address, given.rate, given.seconds))
    print(text := table(found, given.rate))
    RESULT.write_text(text)
    return int(any(one.busy >= BAR for one in found))


if __name__ == "__main__":
    sys.exit(main())
