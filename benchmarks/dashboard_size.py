"""What the dashboard costs over a store that holds a million finished jobs, and 90 days of history.

Fills a store, serves its dashboard, opens each page in Chromium, and asks the server again and again for what the pages asked it.
Prints a table and writes it to `benchmarks/results/dashboard-size.md`. Needs the built front end (`make frontend`), a chromium and,
for Redis, a redis-server. About five minutes for each store.

    python benchmarks/dashboard_size.py [--jobs 1000000] [--store sqlite,redis] [--rounds 100]
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dashboard import chromium
from playwright.async_api import Browser, Request, async_playwright, expect

from windlass import Windlass
from windlass.broker.port import Broker
from windlass.core.ids import new_id
from windlass.core.job import Card, NewJob
from windlass.core.measures import Report, Rollup, histogram_of, sighted
from windlass.core.outcome import ErrorInfo, Failed, Succeeded

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))
RESULT = HERE / "results" / "dashboard-size.md"
PAINT, CALLS, P99 = 1.0, 2, 0.050
"""The bars: seconds to the first paint, calls of a page, seconds of the slowest call in a hundred."""
BATCH = 1000
QUEUES = ("default", "mail", "media")
TASKS = ("dashboard_app.done", "mail.send", "media.thumbnail", "media.transcode", "reports.build")
BROKEN = ErrorInfo("exception", "ConnectionError", "the mail server did not answer", traceback="Traceback: ...")
BODY = b'{"v":1,"args":{"name":"' + b"x" * 60 + b'"}}'
PAGES = {
    "Overview": "/",
    "Overview, 90 days": "/?range=90d",
    "Jobs": "/jobs",
    "Jobs, failed": "/jobs?q=state%3Afailed",
    "Jobs, of a rare task": "/jobs?q=task%3Areports.never",
    "Jobs, with a word": "/jobs?q=nowhere",
    "Failures": "/failures",
    "Queues": "/queues",
    "Queue": "/queues/mail",
    "Workers": "/workers",
    "Task types": "/tasks",
    "Task": "/tasks/dashboard_app.done",
    "System": "/system",
}
FIRST_PAINT = """new Promise((told) => new PerformanceObserver((seen) => {
    const [paint] = seen.getEntriesByName("first-contentful-paint");
    if (paint) told(paint.startTime / 1000);
}).observe({ type: "paint", buffered: true }) || setTimeout(told, 3000, 0))"""
"""Seconds; 0 when the browser does not say."""


class View(NamedTuple):
    """A page in the browser: seconds to the first paint and until it shows what it is about, and the paths that it asked for."""

    paint: float
    whole: float
    calls: list[str]


class Figure(NamedTuple):
    """A page: what was seen of it (medians), and the seconds of its slowest call: median and 99th percentile."""

    page: str
    view: View
    median: float
    p99: float


# --- a store that is full


async def fill(url: str, jobs: int) -> str:
    """So many finished jobs, one in a hundred of them failed, and 90 days of history; answers the id of one of the jobs."""
    app = Windlass(url, name="windlass")
    broker = await app.broker()
    worker = f"filler:{new_id()}"
    await broker.beat(worker, Card(host="filler", pid=1), 3600.0)
    last = ""
    for start in range(0, jobs, BATCH):
        batch = [
            NewJob(id=new_id(), task=TASKS[n % len(TASKS)], queue=QUEUES[n % len(QUEUES)], body=BODY)
            for n in range(start, start + BATCH)
        ]
        await broker.enqueue(batch)
        while claims := await broker.claim(QUEUES, {"loop": BATCH}, worker):
            outcomes = [Failed(BROKEN) if n % 100 == 0 else Succeeded(b'"done"') for n, _ in enumerate(claims)]
            await broker.settle(list(zip(claims, outcomes, strict=True)))
        last = batch[-1].id
    await remember(broker, last)
    await broker.beat(worker, Card(host="filler", pid=1, state="stopped"), 0.0)
    await app.close()
    return last


async def remember(broker: Broker, job: str) -> None:
    """A report for each of the hours of 90 days and each of the minutes of the last one."""
    now, times = time.time(), histogram_of([0.01, 0.1, 1.0])
    rollups = [
        Rollup(queue, task, outcome, 3, times, times)
        for queue in QUEUES
        for task in TASKS
        for outcome in ("succeeded", "failed")
    ]
    report = Report(rollups, [sighted(TASKS[1], job, BROKEN, True, "1.0")])
    moments = [now - 3600 * n for n in range(90 * 24, 24, -1)] + [now - 60 * n for n in range(24 * 60, -1, -1)]
    for number, moment in enumerate(moments, 1):
        await broker.record("filler", number, report, now=moment)


# --- what the pages cost


@contextmanager
def serving(url: str) -> Iterator[str]:
    """The dashboard of that store, in a process of its own; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "dashboard_app.py", str(server.fileno())]
        with subprocess.Popen(command, cwd=HERE, env=os.environ | {"BENCH_URL": url}, pass_fds=[server.fileno()]) as it:
            try:
                yield f"http://127.0.0.1:{server.getsockname()[1]}/windlass"
            finally:
                it.terminate()


async def look(browser: Browser, address: str) -> View:
    """Open a page as somebody does who was never here."""
    calls: list[str] = []

    def heard(request: Request) -> None:
        if "/api/" in request.url and "/stream" not in request.url:
            calls.append(request.url.partition("/windlass")[2])

    page = await browser.new_page(viewport={"width": 1440, "height": 900})
    page.on("request", heard)
    began = time.perf_counter()
    await page.goto(address)
    await page.locator("h1").wait_for()
    await expect(page.locator(".skeleton, .stale")).to_have_count(0, timeout=30_000)
    whole = time.perf_counter() - began
    view = View(await page.evaluate(FIRST_PAINT), whole, calls)
    await page.close()
    return view


def ask(address: str, path: str, rounds: int) -> list[float]:
    """The seconds of each of so many calls, one after the other, on one connection."""
    host, _, prefix = address.removeprefix("http://").partition("/")
    line, times = http.client.HTTPConnection(host, timeout=30), list[float]()
    for _ in range(rounds):
        began = time.perf_counter()
        line.request("GET", f"/{prefix}{path}")
        answer = line.getresponse()
        answer.read()
        times.append(time.perf_counter() - began)
        assert answer.status == 200, (path, answer.status)
    line.close()
    return times


async def figures(address: str, job: str, rounds: int) -> list[Figure]:
    """Every page."""
    found: list[Figure] = []
    async with async_playwright() as playwright:
        browser = await chromium(playwright)
        await look(browser, address)  # both are warm then, as they are after the first minute of their lives
        for name, path in (PAGES | {"Job": f"/jobs/{job}"}).items():
            views = [await look(browser, address + path) for _ in range(3)]
            assert all(view.paint for view in views), f"{name}: the browser did not say when it painted"
            times = [await asyncio.to_thread(ask, address, call, rounds) for call in views[0].calls]
            paint, whole = (statistics.median(getattr(view, one) for view in views) for one in ("paint", "whole"))
            slowest = max(times, key=statistics.median)
            p99 = statistics.quantiles(slowest, n=100)[98]
            found.append(Figure(name, View(paint, whole, views[0].calls), statistics.median(slowest), p99))
        await browser.close()
    return found


# --- what is told of it


def table(store: str, found: list[Figure], jobs: int) -> list[str]:
    """The figures in Markdown."""
    head = [
        f"## {store}, {jobs:,} finished jobs",
        "",
        "| page | first paint s | whole s | calls | call, median ms | p99 ms |",
        "|---|---|---|---|---|---|",
    ]
    rows = [
        f"| {one.page} | {one.view.paint:.2f} | {one.view.whole:.2f} | {len(one.view.calls)} "
        f"| {one.median * 1000:.1f} | {one.p99 * 1000:.1f} |"
        for one in found
    ]
    return [*head, *rows, ""]


@contextmanager
def store(kind: str) -> Iterator[str]:
    """The URL of an empty store."""
    with ExitStack() as stack:
        if kind == "redis":
            from servers import RedisServer

            server: Any = stack.enter_context(RedisServer(appendonly="no", save=""))
            yield server.url()
        else:
            yield f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory(prefix='windlass-bench-'))}/bench.db"


def main() -> int:
    """Measure; 1 when a page is over a bar."""
    parser = argparse.ArgumentParser(description="What the dashboard costs over a store that is full.")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--store", default="sqlite,redis")
    parser.add_argument("--rounds", type=int, default=100)
    given = parser.parse_args()
    said = [
        "# The dashboard over a store that is full",
        "",
        f"`python benchmarks/dashboard_size.py --jobs {given.jobs} --rounds {given.rounds}`. The bars: the first paint within"
        f" {PAINT:g} s, at most {CALLS} calls (the stream apart), p99 of a call {P99 * 1000:.0f} ms.",
        "",
    ]
    over = False
    for kind in given.store.split(","):
        with store(kind) as url:
            began = time.perf_counter()
            job = asyncio.run(fill(url, given.jobs))
            print(f"{kind}: filled in {time.perf_counter() - began:.0f} s", flush=True)
            with serving(url) as address:
                found = asyncio.run(figures(address, job, given.rounds))
        lines = table(kind, found, given.jobs)
        print("\n".join(lines), flush=True)
        said += lines
        over = over or any(one.view.paint > PAINT or len(one.view.calls) > CALLS or one.p99 > P99 for one in found)
    if given.jobs >= 1_000_000:
        RESULT.write_text("\n".join(said))
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
