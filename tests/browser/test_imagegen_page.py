"""The page of the image example in a real browser, with a real worker: previews stream, and survive a broken connection and a reload."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, Route, expect

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "imagegen"
DEADLINE = 60.0

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("imagegen"),
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running example."""
    store = f"sqlite:///{tmp_path_factory.mktemp('imagegen')}/jobs.db"
    with subprocess.Popen(
        [sys.executable, "run.py"],
        cwd=FOLDER,
        env=os.environ | {"WINDLASS_URL": store},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        found = (re.search(r"http://\S+", line) for line in process.stdout)
        yield next(match[0] for match in found if match)
        process.send_signal(signal.SIGINT)
        process.wait(DEADLINE)


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: Browser, address: str) -> AsyncIterator[Page]:
    errors: list[str] = []
    context = await chromium.new_context(base_url=address)
    page = await context.new_page()
    page.set_default_timeout(DEADLINE * 1000)
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto("/")
    yield page
    await context.close()
    assert errors == []


def card(page: Page, prompt: str) -> Locator:
    return page.get_by_role("listitem").filter(has=page.get_by_text(prompt, exact=True))


async def painted(card: Locator) -> None:
    """Return once the finished picture is shown."""
    await expect(card.get_by_text(re.compile("^Painted"))).to_be_visible(timeout=DEADLINE * 1000)
    image = card.get_by_role("img")
    await expect(image).to_have_attribute("src", re.compile("^/pictures/"))
    await expect(image).to_have_js_property("naturalWidth", 256)


async def test_all_prompts_are_painted_and_a_reload_loses_none(page: Page) -> None:
    await page.get_by_role("button", name="All at once").click()
    await expect(page.get_by_role("listitem")).to_have_count(5)
    await page.reload()
    for prompt in ("A lake at dawn", "A lake at night", "A red kite", "Moss", "A crowd"):
        await painted(card(page, prompt))


async def test_previews_go_on_behind_the_last_one_when_the_connection_breaks(page: Page) -> None:
    """The stream breaks off behind its first preview; the rest comes without gap or repeat."""
    await page.evaluate(
        """() => {
            window.previews = [];
            new MutationObserver((changes) => changes.forEach(({ target }) => {
                if (target.src.startsWith("data:")) previews.push(target.src);
            })).observe(document, { subtree: true, attributeFilter: ["src"] });
        }"""
    )
    broken, reconnections = False, 0

    async def breaks(route: Route) -> None:
        nonlocal broken, reconnections
        if broken:
            reconnections += 1
            return await route.continue_()
        broken = True
        whole = await route.fetch()  # to the end of the job
        chunk = next(one for one in (await whole.text()).split("\n\n") if "event: chunk" in one)
        return await route.fulfill(response=whole, body=f"retry: 50\n\n{chunk}\n\n")

    await page.route("**/events?*", breaks)
    await page.get_by_label("Prompt").fill("an evening")
    await page.get_by_role("button", name="Paint", exact=True).click()
    await painted(card(page, "an evening"))
    assert reconnections
    previews: list[str] = await page.evaluate("previews")
    assert len(previews) == len(set(previews)) == 12


async def test_an_order_or_a_stream_that_does_not_get_through_is_repeated(page: Page) -> None:
    refusals = [503, 503, 503]

    async def refuse(route: Route) -> None:
        await (route.fulfill(status=refusals.pop()) if refusals else route.continue_())

    await page.route("**/events?*", refuse)
    await page.route("**/pictures", refuse)
    await page.get_by_role("button", name="Moss").click()
    await expect(page.get_by_text("Connection lost")).to_be_visible()
    await painted(card(page, "Moss"))
    await expect(page.get_by_text("Connection lost")).to_be_hidden()
    assert refusals == []


async def test_a_refused_prompt_is_told_in_words(page: Page) -> None:
    await page.route("**/pictures", lambda route: route.fulfill(status=422))
    await page.get_by_role("button", name="Moss").click()
    await expect(page.get_by_role("alert")).to_contain_text("The prompt was refused (422")
    await expect(page.get_by_role("listitem")).to_have_count(0)
    await expect(page.get_by_label("Prompt")).to_have_value("Moss")


@pytest.mark.parametrize("width", [1440, 390])
async def test_nothing_sticks_out_of_the_page_of_pictures(page: Page, width: int) -> None:
    await page.set_viewport_size({"width": width, "height": 844})
    await page.get_by_label("Prompt").fill("x" * 300)
    await page.get_by_role("button", name="Paint", exact=True).click()
    await painted(page.get_by_role("listitem").first)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await page.route("**/pictures", lambda route: route.fulfill(status=503))
    await page.get_by_role("button", name="Moss").click()
    await expect(page.get_by_text("Connection lost")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
