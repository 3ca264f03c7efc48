"""What people may put into names, arguments, errors and logs: it is shown as text, executes nothing, and breaks no page."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import pytest_asyncio
from dashboard_server import DEADLINE, Shop, settled, sticks_out
from playwright.async_api import Page, expect

from windlass import Windlass
from windlass.errors import JobError

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("dashboard-corpus"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
]

expect.set_options(timeout=DEADLINE * 1000)

CORPUS = [
    "<img src=x onerror=hacked()>",
    '"><svg onload=hacked()>',
    "'\"><script>hacked()</script>",
    "</script><script>hacked()</script>",
    "<iframe srcdoc='<script>parent.hacked()</script>'>",
    "javascript:hacked()",
    "${hacked()} {{hacked()}} #{hacked()}",
    "<!--[if IE]><p onclick=hacked()>",
    "--><b>bold</b>",
    "&lt;img src=x onerror=hacked()&gt;",
    "\u202eecapskcab\u202c \u200bzero\u200bwidth \u0301\u0301\u0301",
    "\u001b[31mred\u001b[0m\r\n\tand a second line",
    "W" * 3000,
    "a/../../%2e%2e/?q=1&x=<b>#top",
    "😀" * 200,
]
LISTS = ("/", "/jobs", "/failures", "/queues", "/workers", "/schedules", "/workflows", "/limits", "/tasks", "/system")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def poisoned(shop: Shop) -> list[str]:
    """A shop full of it; the addresses of the pages of what is in it."""
    paths: list[str] = []
    handles = []
    stranger = Windlass(shop.app.url, name="shop")  # no worker knows its tasks
    for number, text in enumerate(CORPUS):
        printable = "".join(letter for letter in text if letter.isprintable())[:200]
        options = {"meta": {"note": text[:200], printable[:60]: "name"}, "key": f"{number} {printable}"}
        for error in (False, True):
            handles.append(await shop.task("echo").options(**options, queue="default").enqueue(text, error))
            options["key"] = f"{number} again"

        @stranger.task(name=printable, queue=printable)
        def unknown(text: str) -> None: ...

        job = await unknown.enqueue(text)
        paths += [
            f"/jobs/{job.id}",
            f"/workflows/{job.id}",
            f"/queues/{quote(printable, safe='')}",
            f"/tasks/{quote(printable, safe='')}",
        ]
    for handle in handles:
        try:
            await handle.result(timeout=DEADLINE)
        except JobError:
            pass  # half of them are to fail
    return [f"/jobs/{handle.id}" for handle in handles] + paths


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def trap(view: Page) -> None:
    """Whatever executes is thrown in the page, where `view` hears of it."""
    await view.add_init_script("window.hacked = () => { setTimeout(() => { throw new Error('hacked') }) }")
    await view.set_viewport_size({"width": 390, "height": 844})


async def check(view: Page, address: str) -> None:
    await view.goto(address)
    await settled(view)
    assert await sticks_out(view) == [], address
    assert await view.locator("#page :is(script, iframe, object, embed, img, [onerror], [onload])").count() == 0, (
        address
    )
    foreign = "[...document.querySelectorAll('a')].filter((a) => a.origin !== location.origin).length"
    assert await view.evaluate(foreign) == 0, address


async def test_nothing_of_it_executes_or_breaks_a_page(view: Page, shop: Shop, poisoned: list[str]) -> None:
    for path in poisoned:
        await check(view, shop.address + path)


@pytest.mark.parametrize("path", LISTS)
async def test_lists_hold_it_too(view: Page, shop: Shop, poisoned: list[str], path: str) -> None:
    await check(view, shop.address + path)


async def test_addresses_hold_it_too(view: Page, shop: Shop) -> None:
    places = ["/jobs?q={}", "/jobs?before={}", "/failures?state={}", "/?range={}", "/queues?sort={}", "/{}"]
    for number, text in enumerate(CORPUS):
        for path in places[number % 2 :: 2] if text.isprintable() else places[:-1]:
            await view.goto(shop.address + path.format(quote(text, safe="")))
            await expect(view.locator("h1, .empty h2").first).to_be_visible()
            assert await sticks_out(view) == [], (path, text)
            assert await view.locator("#page :is(script, iframe, img)").count() == 0, (path, text)
