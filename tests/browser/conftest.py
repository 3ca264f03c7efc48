from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from playwright.async_api import Page, async_playwright
from studio_server import Studio, make_clip, running_studio

CHROMIUM = shutil.which("chromium")
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
