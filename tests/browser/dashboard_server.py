"""The shop's dashboard and its workers, each in a process of its own, and what the tests of the dashboard say about pages."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import dashboard_shop
from playwright.async_api import Page, expect

from windlass import Windlass
from windlass.task import Task

HERE = Path(__file__).resolve().parent
AXE = HERE.parents[1] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
PREFIX = "/deep/windlass"
DEADLINE = 30.0
"""Seconds for what must happen; only a failing test waits that long."""
PAGES = {
    "/": "Overview",
    "/jobs": "Jobs",
    "/failures": "Failures",
    "/queues": "Queues",
    "/workers": "Workers",
    "/schedules": "Schedules",
    "/workflows": "Workflows",
    "/limits": "Limits",
    "/tasks": "Task types",
    "/system": "System",
}


@dataclass
class Shop:
    """A running dashboard. `app` is the shop's, in this process."""

    address: str
    app: Windlass
    folder: Path
    environment: dict[str, str]

    def task(self, name: str) -> Task[..., Any, Any]:
        """A task of the shop, by the last word of its name."""
        return self.app.get_task(f"shop.{name}")

    def gate(self, name: str) -> Path:
        """A file that a `shop.hold` waits for."""
        return self.folder / f"{name}.gate"


@contextmanager
def running(command: list[str], environment: dict[str, str], *fds: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block lasts; it is asked to stop, and killed when it does not."""
    with subprocess.Popen([sys.executable, *command], cwd=HERE, env=environment, pass_fds=fds) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@contextmanager
def worker(shop: Shop, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the shop."""
    command = ["-m", "windlass.cli.main", "worker", "dashboard_shop:app", "--log-level=error", *options]
    with running(command, shop.environment) as process:
        yield process


@contextmanager
def dashboard(folder: Path, environment: str = "development") -> Iterator[Shop]:
    """The dashboard of a shop with a fresh store, without a worker."""
    folder.mkdir(parents=True)
    url = f"sqlite:///{folder / 'shop.db'}"
    variables = os.environ | {"SHOP_URL": url, "SHOP_ENVIRONMENT": environment, "WINDLASS_SHUTDOWN_TIMEOUT": "1s"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}{PREFIX}"
        with running(["dashboard_shop.py", str(server.fileno())], variables, server.fileno()) as process:
            _answers(f"{address}/", process)
            yield Shop(address, dashboard_shop.make(url), folder, variables)


def _answers(address: str, process: subprocess.Popen[bytes]) -> None:
    """Return once the server answers; it listens before it can."""
    while True:
        assert process.poll() is None, "the server has ended"
        try:
            return urllib.request.urlopen(address, timeout=2).close()
        except HTTPError:
            raise
        except OSError:
            time.sleep(0.05)


class Watched:
    """What must not happen on a page, noted while it is looked at."""

    def __init__(self, page: Page) -> None:
        self.seen: list[str] = []
        page.on("pageerror", lambda error: self.seen.append(f"error: {error}"))
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("request", lambda request: self._origin(page, request.url))
        page.on("dialog", lambda dialog: self.seen.append(f"dialog: {dialog.message}"))

    def _note(self, kind: str, text: str) -> None:
        # An answer that is an error is the server's word, and the page's to show.
        if kind in ("error", "warning") and not text.startswith("Failed to load resource"):
            self.seen.append(f"{kind}: {text}")

    def _origin(self, page: Page, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.seen.append(f"a request to {url}")


async def settled(page: Page) -> None:
    """Return once the page shows what it is about."""
    await expect(page.locator("h1")).to_be_visible()
    await expect(page.locator(".skeleton")).to_have_count(0)
    await expect(page.locator(".stale")).to_have_count(0)


STICKS_OUT = """() => {
    const { clientWidth, scrollWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return [];
    const beyond = [...document.querySelectorAll("#page *")].filter(
        (one) => one.scrollWidth > clientWidth && !one.closest("pre, .scroller")
    );
    return [`${scrollWidth} px`, ...beyond.map((one) => `${one.tagName}.${one.getAttribute("class")}`)];
}"""


async def sticks_out(page: Page) -> list[str]:
    """Some of what makes the page wider than its window; nothing when it is not."""
    return list(await page.evaluate(STICKS_OUT))


async def violations(page: Page) -> list[str]:
    """What axe finds."""
    if not await page.evaluate("typeof axe === 'object'"):
        assert AXE.exists(), "axe-core is not installed: make frontend-check"
        await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run({ resultTypes: ['violations'] }).then((found) => found.violations)")
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]
