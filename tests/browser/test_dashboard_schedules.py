"""The page of the schedules, against a real worker: what fires is seen, what is clicked happens, at two widths and in two themes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest
import pytest_asyncio
from dashboard_server import DEADLINE, Shop, settled, sticks_out, violations
from playwright.async_api import Locator, Page, expect

from windlass import Cron, Every, Schedule

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("dashboard-schedules"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
]

expect.set_options(timeout=DEADLINE * 1000)


@pytest_asyncio.fixture(autouse=True, scope="module", loop_scope="module")
async def planned(shop: Shop) -> None:
    """A schedule that fires all the time, one for each working day, one that a program of long ago left, and a hostile one."""
    schedules = shop.app.schedules
    name = {"name": "ada"}
    await schedules.add("shop.greet", Schedule(Every(1), name="pulse", args=name))
    await schedules.add(
        "shop.greet", Schedule(Cron("0 9 * * mon-fri", tz="Europe/Berlin"), name="working days", args=name)
    )
    await schedules.add(
        "shop.greet", Schedule(Every("6h"), name="<img src=x onerror=hacked()> " + "W" * 160, args=name)
    )


def row(view: Page, name: str) -> Locator:
    return view.get_by_role("row").filter(has_text=name)


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    """Return once `look` answers yes."""
    async with asyncio.timeout(DEADLINE):
        while not await look():  # noqa: ASYNC110 # it is asked of other processes
            await asyncio.sleep(0.05)


async def open_page(view: Page, shop: Shop) -> None:
    await view.goto(f"{shop.address}/schedules")
    await settled(view)


async def test_what_fires_is_seen(view: Page, shop: Shop) -> None:
    await open_page(view, shop)
    await expect(row(view, "pulse")).to_contain_text("Every second")
    await expect(row(view, "pulse").get_by_role("link", name="succeeded")).to_be_visible()
    await expect(row(view, "working days")).to_contain_text("At 09:00 on Monday through Friday (Europe/Berlin)")
    await expect(view.get_by_role("img", name="pulse: more than 48 times")).to_be_visible()
    await expect(view.get_by_role("img", name=re.compile("<img.*: 4 times"))).to_be_visible()
    await row(view, "pulse").get_by_role("link", name="pulse").click()
    await expect(view.locator("tbody tr").first).to_contain_text("shop.greet")


async def test_run_now(view: Page, shop: Shop) -> None:
    await open_page(view, shop)
    await view.get_by_role("button", name="Run working days now").click()
    await expect(view.get_by_text("A job of working days is made")).to_be_visible()
    await view.goto(f"{shop.address}/jobs?q=meta.schedule%3A%22working+days%22")
    await expect(view.locator("tbody tr")).to_have_count(1)


async def test_pause_and_resume(view: Page, shop: Shop) -> None:
    await open_page(view, shop)
    await view.get_by_role("button", name="Pause working days").click()
    await expect(row(view, "working days")).to_contain_text("paused")
    assert (await shop.app.schedules.get("working days")).paused
    await view.get_by_role("button", name="Resume working days").click()
    await expect(row(view, "working days")).not_to_contain_text("paused")
    assert not (await shop.app.schedules.get("working days")).paused


async def test_edit(view: Page, shop: Shop) -> None:
    await open_page(view, shop)
    await view.get_by_role("button", name="Edit working days").click()
    dialog = view.get_by_role("dialog")
    await dialog.get_by_label("Cron line").fill("nonsense")
    await dialog.get_by_role("button", name="Save").click()
    await expect(view.get_by_text("is no cron line")).to_be_visible()
    await dialog.get_by_label("Cron line").fill("30 7 * * *")
    await dialog.get_by_label("When the earlier job is unfinished").select_option("skip")
    await dialog.get_by_label("Arguments").fill('{"name": "grace", "times": 2}')
    await dialog.get_by_role("button", name="Save").click()
    await expect(row(view, "working days")).to_contain_text("At 07:30 every day (Europe/Berlin)")
    one = await shop.app.schedules.get("working days")
    assert (one.overlap, one.args, one.on_missed) == ("skip", {"name": "grace", "times": 2}, "once")


async def test_one_is_removed_after_a_question(view: Page, shop: Shop) -> None:
    await shop.app.schedules.add("shop.greet", Schedule(Every("1h"), name="short-lived", args={"name": "ada"}))
    await open_page(view, shop)
    await view.get_by_role("button", name="Edit short-lived").click()
    await view.get_by_role("dialog").get_by_role("button", name="Remove").click()
    await view.get_by_role("dialog").get_by_role("button", name="Remove").click()
    await expect(row(view, "short-lived")).to_have_count(0)


async def test_a_viewer_only_looks(view: Page, shop: Shop) -> None:
    await view.context.add_cookies([{"name": "role", "value": "viewer", "url": shop.address}])
    await open_page(view, shop)
    await expect(row(view, "pulse")).to_be_visible()
    await expect(view.get_by_role("button", name=re.compile("pulse"))).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
async def test_it_is_whole_readable_and_accessible(view: Page, shop: Shop, width: int, theme: str) -> None:
    await view.set_viewport_size({"width": width, "height": 900})
    await view.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    await open_page(view, shop)
    await expect(row(view, "pulse")).to_be_visible()
    assert await sticks_out(view) == []
    assert await violations(view) == []
    await view.get_by_role("button", name="Edit pulse").click()
    await expect(view.get_by_role("dialog")).to_be_visible()
    assert await sticks_out(view) == []
    assert await violations(view) == []


async def test_the_last_one_fires_until_it_is_paused(view: Page, shop: Shop) -> None:
    await shop.app.schedules.pause("pulse")

    async def quiet() -> bool:
        before = (await shop.app.schedules.show("pulse")).ticks
        await asyncio.sleep(2.5)
        return before == (await shop.app.schedules.show("pulse")).ticks

    await until(quiet)
    await open_page(view, shop)
    await expect(row(view, "pulse")).to_contain_text("paused")
