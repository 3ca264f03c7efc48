"""Every page of the dashboard, full and empty, at two widths, in two themes: whole, readable, accessible."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
import pytest_asyncio
from dashboard_server import DEADLINE, PAGES, Shop, settled, sticks_out, violations
from playwright.async_api import Page, expect

from windlass import JobFailed
from windlass.core.job import Card
from windlass.worker.evidence import resident

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("dashboard-pages"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
]

expect.set_options(timeout=DEADLINE * 1000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full(shop: Shop) -> dict[str, str]:
    """A shop where everything has happened: the addresses of its pages."""
    done = await shop.task("greet").options(meta={"tenant": "acme"}).enqueue("ada", times=3)
    failed = await shop.task("fails").enqueue("the bank did not answer within 500 ms", kind="BankTimeout")
    crashed = await shop.task("crash").enqueue()
    running = await shop.task("hold").enqueue(str(shop.gate("pages")))
    scheduled = await shop.task("greet").options(delay=timedelta(hours=2), key="daily").enqueue("grace")
    await shop.task("pay").enqueue(4711, card="4929 1234 5678")
    await (await shop.app.broker()).pause("payments")
    paused = await shop.task("pay").enqueue(4712, card="4929 1234 5678")
    shop.gate("pages").write_text("first line\nbe careful\n")
    for handle in (failed, crashed):
        with pytest.raises(JobFailed):
            await handle.result(timeout=DEADLINE)
    await done.result(timeout=DEADLINE)
    workers = await (await shop.app.broker()).workers()  # one has just run all that
    jobs = {"done": done, "failed": failed, "crashed": crashed, "running": running, "later": scheduled, "held": paused}
    return {
        **{f"job {name}": f"/jobs/{job.id}" for name, job in jobs.items()},
        "queue": "/queues/default",
        "paused queue": "/queues/payments",
        "task": "/tasks/shop.greet",
        "worker": f"/workers/{workers[0].id}",
        **{name.lower(): path for path, name in PAGES.items()},
    }


@pytest_asyncio.fixture(autouse=True, scope="module", loop_scope="module")
async def opened(shop: Shop) -> None:
    """The app of this process, opened in this loop."""
    await shop.app.broker()


LOOKS = [(1440, "light", True), (1440, "dark", False), (390, "dark", True), (390, "light", False)]
"""Width, theme, and whether axe looks: once at each width, once in each theme."""
NAMES = [
    *(name.lower() for name in PAGES.values()),
    *(f"job {name}" for name in ("done", "failed", "crashed", "running", "later", "held")),
    *("queue", "paused queue", "task", "worker"),
]


async def check_every_look(page: Page) -> None:
    for width, scheme, axe in LOOKS:
        await page.set_viewport_size({"width": width, "height": 900})
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of the two that there are
        await expect(page.locator("html")).to_have_attribute("data-theme", scheme)
        assert await sticks_out(page) == [], (width, scheme)
        if axe:
            assert await violations(page) == [], (width, scheme)


@pytest.mark.parametrize("name", NAMES)
async def test_a_full_page_is_whole(view: Page, shop: Shop, full: dict[str, str], name: str) -> None:
    await view.goto(shop.address + full[name])
    await settled(view)
    await expect(view.get_by_role("alert")).to_have_count(0)
    await check_every_look(view)


@pytest.mark.parametrize("path", PAGES)
async def test_an_empty_page_says_what_to_do(view: Page, empty_shop: Shop, path: str) -> None:
    await view.goto(empty_shop.address + path)
    await settled(view)
    await expect(view.locator("h1")).to_have_text(PAGES[path])
    await expect(view.get_by_role("alert")).to_have_count(0)
    if path not in ("/queues", "/tasks", "/system"):  # the program's own queues and tasks are there from the start
        await expect(view.locator(".empty")).to_be_visible()
    await check_every_look(view)


async def test_what_is_not_there_is_said_so(view: Page, shop: Shop) -> None:
    await view.goto(f"{shop.address}/jobs/01234567-89ab-7def-8123-456789abcdef")
    await expect(view.get_by_role("alert")).to_be_visible()
    await view.goto(f"{shop.address}/nowhere")
    await expect(view.get_by_text("There is no such page")).to_be_visible()


async def test_the_numbers_of_the_pages_are_those_of_the_store(view: Page, shop: Shop, full: dict[str, str]) -> None:
    counts: dict[str, int] = {}
    for queue in await (await shop.app.broker()).tally():
        for state, count in queue.counts.items():
            counts[state] = counts.get(state, 0) + count
    await view.goto(f"{shop.address}/jobs")
    states = view.get_by_role("group", name="States")
    for state in ("scheduled", "ready", "running", "succeeded", "failed"):
        await expect(states.get_by_role("button", name=state)).to_contain_text(str(counts[state]))


async def test_failures_that_look_alike_are_one_entry(view: Page, shop: Shop, full: dict[str, str]) -> None:
    await view.goto(f"{shop.address}/failures")
    entry = view.locator(".fault").filter(has_text="BankTimeout")
    await expect(entry).to_have_count(1)
    await expect(entry).to_contain_text("the bank did not answer within 500 ms")
    await expect(entry).to_contain_text("shop.fails")


async def test_a_crash_shows_what_it_left_behind(view: Page, shop: Shop, full: dict[str, str]) -> None:
    await view.goto(shop.address + full["job crashed"])
    await expect(view.get_by_text("What the crash left behind")).to_be_visible()
    await expect(view.get_by_text("SIGSEGV").first).to_be_visible()


async def test_a_job_that_does_not_run_says_why(view: Page, shop: Shop, full: dict[str, str]) -> None:
    await view.goto(shop.address + full["job held"])
    await expect(view.locator(".why")).to_contain_text("paused")
    await view.goto(shop.address + full["job later"])
    await expect(view.locator(".why")).to_be_visible()
    await view.goto(shop.address + full["job done"])
    await settled(view)
    await expect(view.locator(".why")).to_have_count(0)


async def test_a_worker_shows_its_memory_and_its_last_hour(view: Page, shop: Shop, full: dict[str, str]) -> None:
    """The real one its memory, as /proc tells it: its first minute is not over, or it is. One of which we know the past shows that."""
    broker = await shop.app.broker()
    real = (await broker.workers())[0]
    await view.goto(f"{shop.address}/workers")
    row = view.get_by_role("row").filter(has_text=f"pid {real.card.pid}")
    shown = int((await row.get_by_text("MiB").last.inner_text()).removesuffix(" MiB"))
    assert shown == pytest.approx(resident(real.card.pid) >> 20, rel=0.2)

    hour = tuple((minute % 5 / 1.0, 100 + minute) for minute in range(60))
    card = Card(host="known", pid=77, slots={"loop": 3, "thread": 2}, busy={"loop": 2}, rss=200 << 20, past=hour)
    for worker, said in {"known:1": card, "young:1": msgspec.structs.replace(card, host="young", past=())}.items():
        await broker.beat(worker, said, DEADLINE)
    row = view.get_by_role("row").filter(has_text="known")
    await expect(
        row.get_by_role("img", name="slots busy in the last hour: 2 on average, 4 at most, of 5")
    ).to_be_visible()
    await expect(row.get_by_role("img", name="memory in the last hour: 100 MiB to 159 MiB")).to_be_visible()
    await row.get_by_role("link", name="known").click()
    for title, told in {
        "Busy slots, last hour": ["busy 2", "slots 5"],
        "Memory, last hour": ["resident 200 MiB"],
    }.items():
        chart = view.get_by_role("figure", name=title)
        await expect(chart.get_by_role("button")).to_have_text(told)
        await expect(chart.locator("canvas")).to_be_visible()
    await check_every_look(view)
    await view.goto(f"{shop.address}/workers/young:1")
    await expect(view.get_by_text("The first is not over yet")).to_be_visible()
    await check_every_look(view)


async def test_theme_and_time_zone_are_remembered(view: Page, shop: Shop) -> None:
    await view.goto(shop.address)
    await view.get_by_role("button", name="Theme: system").click()
    await view.get_by_role("button", name="Theme: light").click()
    await expect(view.locator("html")).to_have_attribute("data-theme", "dark")
    await view.get_by_role("button", name="local", exact=True).click()
    await view.reload()
    await expect(view.locator("html")).to_have_attribute("data-theme", "dark")
    await expect(view.get_by_role("button", name="UTC", exact=True)).to_be_visible()


async def test_back_and_forward_go_through_pages_and_filters(view: Page, shop: Shop, full: dict[str, str]) -> None:
    await view.goto(f"{shop.address}/jobs")
    await view.get_by_role("group", name="States").get_by_role("button", name="failed").click()
    await expect(view).to_have_url(f"{shop.address}/jobs?q=state%3Afailed")
    await view.get_by_role("link", name="shop.fails").first.click()
    await expect(view.locator("h1")).to_have_text("shop.fails")
    await view.go_back()
    await expect(view.get_by_role("combobox", name="Filter")).to_have_value("state:failed")
    await view.go_back()
    await expect(view.get_by_role("combobox", name="Filter")).to_have_value("")
    await view.go_forward()
    await expect(view.get_by_role("combobox", name="Filter")).to_have_value("state:failed")
