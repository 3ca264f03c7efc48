"""The pages of workflows and limits, against a real worker: what runs is seen, what is clicked happens, at two widths, in two themes."""

from __future__ import annotations

import re

import pytest
import pytest_asyncio
from dashboard_server import DEADLINE, Shop, settled, sticks_out, violations
from playwright.async_api import Locator, Page, expect

from windlass import State, group

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("dashboard-workflows"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
]

expect.set_options(timeout=DEADLINE * 1000)
HOSTILE = "<img src=x onerror=hacked()> " + "W" * 160


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full(shop: Shop) -> dict[str, str]:
    """A join that waits for one of its three, one that failed, a large one, a flow that waits for a person, and a crowd at a door: ids."""
    greet, hold, album = shop.task("greet"), shop.task("hold"), shop.task("album")
    gate = str(shop.gate("workflows"))
    waiting = await group([greet.bind("ada"), greet.bind("bob"), hold.bind(gate)]).then(album).enqueue()
    failed = await group([greet.bind("ada"), shop.task("fails").bind("no")]).then(album).enqueue()
    await (await shop.app.broker()).pause("cold")
    large = await group(greet.options(queue="cold").bind(str(n)) for n in range(1_000)).then(album).enqueue()
    flow = await shop.task("publish").enqueue("ada")
    doors = [await shop.task("narrow").enqueue(str(shop.gate("door")), who) for who in ("ann", "ann", "ann", HOSTILE)]
    return {
        "waiting": waiting.id,
        "failed": failed.id,
        "large": large.id,
        "flow": flow.id,
        "inside": doors[0].id,
        "second": doors[1].id,
    }


async def show(view: Page, shop: Shop, path: str) -> None:
    await view.goto(f"{shop.address}/{path}")
    await settled(view)


def node(view: Page, task: str) -> Locator:
    return view.get_by_role("group", name="Graph").get_by_role("link", name=task)


async def test_a_workflow_shows_how_far_it_is_and_what_it_waits_for(
    view: Page, shop: Shop, full: dict[str, str]
) -> None:
    await show(view, shop, "workflows")
    await expect(view.get_by_role("row").filter(has_text="shop.album").filter(has_text="2 of 3 jobs")).to_be_visible()
    await show(view, shop, f"workflows/{full['waiting']}")
    await expect(node(view, "greet")).to_contain_text("2 done")
    await expect(node(view, "hold")).to_contain_text("running")
    await expect(node(view, "album")).to_contain_text("has 2 of 3 results")
    await expect(view.locator(".waits")).to_contain_text("The job shop.hold, which is running.")
    await expect(view.get_by_role("img", name=re.compile("shop.hold: running"))).to_be_visible()
    await expect(view.get_by_text("2 of 4 jobs ended, 50 %")).to_be_visible()


async def test_one_walks_from_a_part_to_the_whole_and_back(view: Page, shop: Shop, full: dict[str, str]) -> None:
    await show(view, shop, f"workflows/{full['waiting']}")
    await node(view, "hold").click()
    await expect(view.locator("h1")).to_have_text("shop.hold")
    await view.get_by_role("link", name=f"part of {full['waiting'][-8:]}").click()
    await expect(view.locator("h1")).to_have_text("shop.album")
    await node(view, "greet").click()
    await expect(view.get_by_role("combobox", name="Filter")).to_have_value(f"root:{full['waiting']} task:shop.greet")
    await expect(view.locator("tbody tr")).to_have_count(2)


async def test_what_failed_is_told_with_what_failed_by_it(view: Page, shop: Shop, full: dict[str, str]) -> None:
    await show(view, shop, "workflows?show=failed")
    await view.get_by_role("row").filter(has_text="PartFailed").get_by_role("link", name="shop.album").click()
    await expect(node(view, "fails")).to_contain_text("failed")
    await expect(node(view, "album")).to_contain_text("failed")
    wrong = view.locator(".went-wrong li")
    await expect(wrong).to_have_count(1)
    await expect(wrong).to_contain_text("ValueError")
    await expect(view.get_by_role("button", name="Cancel all of it")).to_have_count(0)


async def test_of_a_thousand_parts_one_node_is_drawn_and_all_are_counted(
    view: Page, shop: Shop, full: dict[str, str]
) -> None:
    await show(view, shop, f"workflows/{full['large']}")
    await expect(view.locator(".node")).to_have_count(2)
    await expect(view.locator(".node").filter(has_text="×1,000")).to_be_visible()
    await expect(view.get_by_text(re.compile("drawn from 7[56] jobs of many"))).to_be_visible()
    await expect(view.locator(".waits")).to_contain_text("1,000 of 1,000 jobs shop.greet have not finished.")
    await expect(view.get_by_text("0 of 1,001 jobs ended, 0 %")).to_be_visible()


async def test_a_flow_shows_its_steps_and_goes_on_with_its_event(view: Page, shop: Shop, full: dict[str, str]) -> None:
    await show(view, shop, f"workflows/{full['flow']}")
    await expect(view.locator(".waits")).to_contain_text("The event approved, until")
    steps = view.locator(".steps tbody tr")
    await expect(steps).to_have_count(2)
    await expect(steps.nth(0)).to_contain_text("run shop.greet")
    await expect(steps.nth(0)).to_contain_text("succeeded")
    await show(view, shop, f"jobs/{full['flow']}")
    await expect(view.locator(".why")).to_contain_text('It waits for the event "approved", for another 3 days at most')
    await view.get_by_role("link", name="its graph").click()
    await expect(view.locator(".waits")).to_be_visible()
    flow = await shop.task("publish").enqueue("eve")
    await show(view, shop, f"workflows/{flow.id}")
    await expect(view.locator(".waits")).to_contain_text("approved")
    assert await shop.app.signal(flow.id, "approved")
    await expect(view.locator(".steps tbody tr").nth(1)).to_contain_text("came")
    await expect(view.locator(".waits")).to_have_count(0)


async def test_all_of_it_is_cancelled_after_a_question(view: Page, shop: Shop, full: dict[str, str]) -> None:
    greet = shop.task("greet").options(queue="cold")
    whole = await group(greet.bind(str(n)) for n in range(3)).then(shop.task("album")).enqueue()
    await show(view, shop, f"workflows/{whole.id}")
    await view.get_by_role("button", name="Cancel all of it").click()
    dialog = view.get_by_role("dialog")
    await dialog.get_by_role("button", name="Not now").click()
    assert (await whole.info()).state is State.WAITING
    await view.get_by_role("button", name="Cancel all of it").click()
    await dialog.get_by_role("button", name="Cancel all of it").click()
    await expect(view.get_by_text("The workflow is cancelled")).to_be_visible()
    await expect(view.get_by_text("4 of 4 jobs ended, 100 %")).to_be_visible()
    jobs = (await (await shop.app.broker()).find(root=whole.id)).jobs
    assert [job.state for job in jobs] == [State.CANCELLED] * 4


async def test_a_viewer_only_looks(view: Page, shop: Shop, full: dict[str, str]) -> None:
    await view.context.add_cookies([{"name": "role", "value": "viewer", "url": shop.address}])
    await show(view, shop, f"workflows/{full['waiting']}")
    await expect(view.locator(".node").first).to_be_visible()
    await expect(view.get_by_role("button", name="Cancel all of it")).to_have_count(0)


async def test_a_limit_shows_who_is_inside_and_who_waits(view: Page, shop: Shop, full: dict[str, str]) -> None:
    await show(view, shop, "limits")
    door = view.get_by_role("article").filter(has_text="doorann")
    await expect(door).to_contain_text("2 jobs wait; the next one passes once a job ends")
    await expect(door.get_by_role("img", name="1 of 1 at once")).to_be_visible()
    await expect(door.get_by_role("link", name="shop.narrow")).to_have_count(3)
    await expect(view.get_by_role("article").filter(has_text=HOSTILE[:20])).to_contain_text("Nobody waits")
    await door.get_by_role("link", name="shop.narrow").nth(1).click()
    await expect(view.locator(".why")).to_contain_text("The limit door under the key ann admits 1 units at once")
    await show(view, shop, f"jobs/{full['waiting']}")
    await view.locator(".why").get_by_role("link").click()
    await expect(view.locator("h1")).to_have_text("shop.hold")


async def test_a_key_says_who_holds_it(view: Page, shop: Shop) -> None:
    greet = shop.task("greet").options(key="daily")
    first = await greet.enqueue("ada")
    await first.result(timeout=DEADLINE)
    second = await greet.options(delay="1h").enqueue("ada")
    await show(view, shop, f"jobs/{first.id}")
    await view.get_by_role("link", name=second.id[-8:]).click()
    await expect(view.get_by_text("held by this job")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("name", ["list", "waiting", "failed", "large", "flow", "limits"])
async def test_it_is_whole_readable_and_accessible(
    view: Page, shop: Shop, full: dict[str, str], name: str, width: int, theme: str
) -> None:
    await view.set_viewport_size({"width": width, "height": 900})
    await view.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    paths = {"list": "workflows", "limits": "limits"}
    await show(view, shop, paths.get(name) or f"workflows/{full[name]}")
    await expect(view.locator(".node, .limit, .table.jobs").first).to_be_visible()
    assert await sticks_out(view) == []
    assert await violations(view) == []
