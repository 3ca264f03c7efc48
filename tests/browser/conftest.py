from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

import dashboard_server
from dashboard_server import Shop, Watched
from playwright.async_api import Browser, Page, async_playwright
from studio_server import Studio, make_clip, running_studio

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
"""Debian's; the first is the same without its windows, and takes a third less time."""
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required"
)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A running studio."""
    with running_studio(tmp_path_factory.mktemp("studio") / "data") as running:
        yield running


@pytest.fixture
async def page(studio: Studio) -> AsyncIterator[Page]:
    """The start page of the studio in a fresh Chromium. What the page throws fails the test."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine: apt-get install chromium")
    errors: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        page = await browser.new_page(base_url=studio.address)
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto("/")
        yield page
        await browser.close()
    assert errors == []


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three and a half minutes: cannot be encoded before a test is done with it."""
    return make_clip(tmp_path_factory.mktemp("clips") / "long.mp4", 720, 40)


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Almost two minutes of few pixels: soon encoded, but not at once."""
    return make_clip(tmp_path_factory.mktemp("clips") / "small.mp4", 360, 20)


# --- the dashboard: one server, one worker and one browser for each module of tests -------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The shop's dashboard, in development, and a worker."""
    with dashboard_server.dashboard(tmp_path_factory.mktemp("shop") / "data") as shop, dashboard_server.worker(shop):
        yield shop


@pytest.fixture(scope="module")
def empty_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A dashboard where nothing has ever happened, in production."""
    with dashboard_server.dashboard(tmp_path_factory.mktemp("shop") / "data", "production") as shop:
        yield shop


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """A Chromium."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def view(chromium: Browser) -> AsyncIterator[Page]:
    """A fresh window. What its page throws, logs as an error, or asks of other servers fails the test."""
    context = await chromium.new_context(reduced_motion="reduce", viewport={"width": 1440, "height": 900})
    page = await context.new_page()
    page.set_default_timeout(dashboard_server.DEADLINE * 1000)
    watched = Watched(page)
    yield page
    await context.close()
    assert watched.seen == []
