"""Every action of the dashboard, against real workers: what is clicked happens, and the page shows it without a reload."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest
import pytest_asyncio
from dashboard_server import DEADLINE, Shop, settled, worker
from playwright.async_api import Locator, Page, Route, expect

from windlass import Handle, JobFailed

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("dashboard-actions"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
]

expect.set_options(timeout=DEADLINE * 1000)


@pytest_asyncio.fixture(autouse=True, scope="module", loop_scope="module")
async def opened(shop: Shop) -> None:
    """The app of this process, opened in this loop."""
    await shop.app.broker()


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    """Return once `look` answers yes."""
    async with asyncio.timeout(DEADLINE):
        while not await look():  # noqa: ASYNC110 # it is asked of other processes
            await asyncio.sleep(0.05)


async def failed(shop: Shop, name: str, *args: object) -> Handle[object]:
    """A job of this task that has failed."""
    job = await shop.task(name).enqueue(*args)
    with pytest.raises(JobFailed):
        await job.result(timeout=DEADLINE)
    return job


def button(view: Page, name: str) -> Locator:
    return view.get_by_role("button", name=name, exact=True)


async def sure(view: Page, name: str) -> None:
    """Say yes to the question that is asked."""
    await view.get_by_role("dialog").get_by_role("button", name=name).click()


async def state(view: Page, word: str) -> None:
    await expect(view.locator(".job-state")).to_contain_text(word)


# --- one job --------------------------------------------------------------------------------------------------


async def test_retry(view: Page, shop: Shop) -> None:
    mended = shop.folder / "retry.txt"
    job = await failed(shop, "mended", str(mended))
    await view.goto(f"{shop.address}/jobs/{job.id}")
    await state(view, "failed")
    await expect(view.locator(".traceback").first).to_contain_text("FileNotFoundError")
    await asyncio.to_thread(mended.write_text, "it works")
    await button(view, "Retry").click()
    await state(view, "succeeded")
    await expect(view.get_by_text('"it works"')).to_be_visible()


async def test_retry_by_keyboard_alone(view: Page, shop: Shop) -> None:
    mended = shop.folder / "keyboard.txt"
    job = await failed(shop, "mended", str(mended))
    await asyncio.to_thread(mended.write_text, "typed")
    await view.goto(shop.address)
    await settled(view)
    await view.keyboard.type("gj")
    await expect(view.get_by_role("group", name="States")).to_be_visible()
    await view.keyboard.press("/")
    await expect(view.get_by_role("combobox", name="Filter")).to_be_focused()
    await view.keyboard.type("task:shop.mended state:failed")
    await view.keyboard.press("Enter")
    await expect(view.locator("tbody tr")).to_have_count(1)
    await view.keyboard.press("Escape")
    await view.keyboard.press("j")
    await view.keyboard.press("Enter")
    await expect(view).to_have_url(re.compile(job.id))
    await state(view, "failed")
    for _ in range(12):
        await view.keyboard.press("Tab")
        if await view.evaluate("document.activeElement.textContent") == "Retry":
            break
    await view.keyboard.press("Enter")
    await state(view, "succeeded")


async def test_edit_and_run(view: Page, shop: Shop) -> None:
    job = await shop.task("greet").enqueue("ada")
    await job.result(timeout=DEADLINE)
    await view.goto(f"{shop.address}/jobs/{job.id}")
    await button(view, "Edit and run").click()
    text = view.get_by_role("dialog").get_by_label("Arguments")
    await text.fill('{"name": "grace", "times": ')
    await expect(button(view, "Run")).to_be_disabled()
    await text.fill('{"name": "grace", "times": 2}')
    await view.get_by_label("Priority, 0 to 9").fill("9")
    await button(view, "Run").click()
    await expect(view).not_to_have_url(re.compile(job.id))
    await state(view, "succeeded")
    await expect(view.get_by_text('"Hello, grace"').first).to_be_visible()
    made = await shop.app.job(view.url.rpartition("/")[2]).info()
    assert (made.priority, await shop.app.job(made.id).result()) == (9, ["Hello, grace"] * 2)


async def test_arguments_that_do_not_fit_are_refused_in_words(view: Page, shop: Shop) -> None:
    job = await shop.task("greet").enqueue("ada")
    await job.result(timeout=DEADLINE)
    await view.goto(f"{shop.address}/jobs/{job.id}")
    await button(view, "Edit and run").click()
    await view.get_by_role("dialog").get_by_label("Arguments").fill('{"name": "ada", "times": "many"}')
    await button(view, "Run").click()
    await expect(view.locator(".toast.bad")).to_contain_text("times")


async def test_run_again(view: Page, shop: Shop) -> None:
    job = await shop.task("greet").enqueue("ada", times=2)
    await job.result(timeout=DEADLINE)
    await view.goto(f"{shop.address}/jobs/{job.id}")
    await button(view, "Run again").click()
    await expect(view).not_to_have_url(re.compile(job.id))
    await state(view, "succeeded")
    assert await shop.app.job(view.url.rpartition("/")[2]).result() == ["Hello, ada"] * 2


async def test_run_a_scheduled_job_now(view: Page, shop: Shop) -> None:
    job = await shop.task("greet").options(delay="2h").enqueue("ada")
    await view.goto(f"{shop.address}/jobs/{job.id}")
    await state(view, "scheduled")
    await button(view, "Run now").click()
    await state(view, "succeeded")


async def test_cancel_what_runs(view: Page, shop: Shop) -> None:
    job = await shop.task("hold").enqueue(str(shop.gate("cancel")))
    await view.goto(f"{shop.address}/jobs/{job.id}")
    await state(view, "running")
    await button(view, "Cancel").click()
    await sure(view, "Cancel the job")
    await state(view, "cancelled")
    assert (await job.info()).state == "cancelled"


async def test_cancel_what_waits_and_undo(view: Page, shop: Shop) -> None:
    job = await shop.task("greet").options(delay="2h").enqueue("ada")
    await view.goto(f"{shop.address}/jobs/{job.id}")
    await button(view, "Cancel").click()
    await sure(view, "Cancel the job")
    await state(view, "cancelled")
    await button(view, "Undo").click()
    await state(view, "succeeded")


async def test_kill_what_does_not_listen(view: Page, shop: Shop) -> None:
    job = await shop.task("stubborn").enqueue()
    await view.goto(f"{shop.address}/jobs/{job.id}")
    await state(view, "running")
    await button(view, "Kill").click()
    await sure(view, "Kill")
    await state(view, "cancelled")


async def test_delete(view: Page, shop: Shop) -> None:
    job = await shop.task("greet").enqueue("ada")
    await job.result(timeout=DEADLINE)
    await view.goto(f"{shop.address}/jobs/{job.id}")
    await button(view, "Delete").click()
    await sure(view, "Delete")
    await expect(view.locator("h1")).to_have_text("Jobs")
    assert await (await shop.app.broker()).get([job.id]) == [None]


async def test_logs_and_progress_are_seen_as_they_come(view: Page, shop: Shop) -> None:
    gate = shop.gate("live")
    await asyncio.to_thread(gate.write_text, "one\n")
    job = await shop.task("hold").enqueue(str(gate))
    await view.goto(f"{shop.address}/jobs/{job.id}")
    log = view.get_by_role("log")
    await expect(log).to_contain_text("one")
    await view.evaluate("window.sameDocument = true")
    await asyncio.to_thread(gate.write_text, "one\ntwo, careful\n")
    await expect(log).to_contain_text("two, careful")
    await expect(view.locator(".job-progress")).to_contain_text("20")
    await button(view, "warnings and errors").click()
    await expect(log).not_to_contain_text("one")
    await asyncio.to_thread(gate.write_text, "one\ntwo, careful\nopen\n")
    await state(view, "succeeded")
    assert await view.evaluate("window.sameDocument")


# --- many -----------------------------------------------------------------------------------------------------


async def test_a_list_changes_by_itself(view: Page, shop: Shop) -> None:
    gate = shop.gate("list")
    await view.goto(f"{shop.address}/jobs?q=task:shop.hold%20state:running")
    await expect(view.get_by_text("No job matches")).to_be_visible()
    await view.evaluate("window.sameDocument = true")
    await shop.task("hold").enqueue(str(gate))
    await expect(view.locator("tbody tr")).to_have_count(1)
    await asyncio.to_thread(gate.write_text, "open\n")
    await expect(view.get_by_text("No job matches")).to_be_visible()
    assert await view.evaluate("window.sameDocument")


async def test_retry_the_selected(view: Page, shop: Shop) -> None:
    mended = [shop.folder / f"picked-{number}.txt" for number in range(3)]
    jobs = [await failed(shop, "mended", str(path)) for path in mended]
    for path in mended:
        await asyncio.to_thread(path.write_text, "mended")
    await view.goto(f"{shop.address}/jobs?q=task:shop.mended%20state:failed")
    for job in jobs[:2]:
        await view.get_by_role("checkbox", name=job.id).check()
    await expect(view.get_by_role("region", name="Selected jobs")).to_contain_text("2 jobs selected")
    await view.get_by_role("region").get_by_role("button", name="Retry").click()
    await sure(view, "Retry 2 jobs")
    await expect(view.get_by_text("2 jobs made ready")).to_be_visible()
    for job in jobs[:2]:
        assert await job.result(timeout=DEADLINE) == "mended"
    assert (await jobs[2].info()).state == "failed"


async def test_cancel_all_that_match(view: Page, shop: Shop) -> None:
    calls = [shop.task("greet").options(delay="2h", meta={"batch": "all"}).bind(f"guest {n}") for n in range(60)]
    handles = await shop.app.enqueue_many(calls)
    await view.goto(f"{shop.address}/jobs?q=meta.batch:all%20state:scheduled")
    await view.get_by_role("checkbox", name="Select all on this page").check()
    await button(view, "Select all that match the filter").click()
    await view.get_by_role("region").get_by_role("button", name="Cancel").click()
    await sure(view, "Cancel 60 jobs")
    await expect(view.get_by_text("60 jobs cancelled")).to_be_visible()
    assert {(await handle.info()).state for handle in handles} == {"cancelled"}


async def test_older_and_newer(view: Page, shop: Shop) -> None:
    calls = [shop.task("greet").options(delay="3h", key=f"page-{n}").bind("guest") for n in range(70)]
    await shop.app.enqueue_many(calls)
    await view.goto(f"{shop.address}/jobs?q=state:scheduled%20task:shop.greet")
    rows = view.locator("tbody tr")
    await expect(rows).to_have_count(50)
    first = await rows.first.get_attribute("id")
    await button(view, "Older").click()
    await expect(rows.first).not_to_have_attribute("id", first or "")
    await settled(view)
    await button(view, "Newer").click()
    await expect(rows.first).to_have_attribute("id", first or "")


async def test_an_unknown_filter_names_those_there_are(view: Page, shop: Shop) -> None:
    await view.goto(f"{shop.address}/jobs?q=colour:red")
    await expect(view.get_by_role("alert").first).to_contain_text("queue")


async def test_the_filter_completes_as_it_is_typed(view: Page, shop: Shop) -> None:
    await shop.task("greet").enqueue("ada")
    await view.goto(f"{shop.address}/jobs")
    await view.get_by_role("combobox", name="Filter").press_sequentially("sta")
    await view.get_by_role("option", name="state:").click()
    await view.get_by_role("option", name="succeeded").click()
    await expect(view).to_have_url(re.compile("q=state%3Asucceeded"))


# --- failures -------------------------------------------------------------------------------------------------


async def test_the_inbox(view: Page, shop: Shop) -> None:
    for _ in range(2):
        await failed(shop, "fails", "no ink", "PrinterError")
    await view.goto(f"{shop.address}/failures")
    entry = view.locator(".fault").filter(has_text="PrinterError")
    await expect(entry.get_by_role("link", name="2×")).to_be_visible()

    await entry.get_by_role("button", name="Snooze").click()
    await expect(entry).to_have_count(0)
    await button(view, "Snoozed").click()
    await entry.get_by_role("button", name="Open again").click()
    await expect(entry).to_have_count(0)
    await button(view, "Open").click()
    await entry.get_by_role("button", name="Resolve").click()
    await expect(entry).to_have_count(0)
    await button(view, "Resolved").click()
    await expect(entry).to_have_count(1)

    await failed(shop, "fails", "no ink", "PrinterError")
    await button(view, "Open").click()
    await expect(entry.get_by_role("link", name="3×")).to_be_visible()

    await entry.get_by_role("button", name="Retry all").click()
    await sure(view, "Retry 3 jobs")
    await expect(view.get_by_text("3 jobs made ready")).to_be_visible()


# --- queues ---------------------------------------------------------------------------------------------------


async def test_pause_resume_and_purge(view: Page, shop: Shop) -> None:
    await view.goto(f"{shop.address}/queues/default")
    await button(view, "Pause").click()
    await expect(view.locator("h1")).to_contain_text("paused")
    waiting = await shop.task("greet").enqueue("ada")
    await expect(view.locator(".counts")).to_contain_text("ready 1")
    await button(view, "Resume").click()
    await expect(view.locator("h1")).not_to_contain_text("paused")
    await waiting.result(timeout=DEADLINE)

    await (await shop.app.broker()).pause("spare")
    held = [await shop.task("greet").options(queue="spare").enqueue("ada") for _ in range(3)]
    await view.goto(f"{shop.address}/queues/spare")
    await button(view, "Purge").click()
    agree = view.get_by_role("dialog").get_by_role("button", name="Cancel 3 jobs")
    await expect(agree).to_be_disabled()
    await view.get_by_role("dialog").get_by_role("textbox").fill("spare")
    await agree.click()
    await expect(view.get_by_text("3 jobs cancelled")).to_be_visible()
    assert {(await job.info()).state for job in held} == {"cancelled"}


async def test_pause_in_the_list_and_undo(view: Page, shop: Shop) -> None:
    await (await shop.task("pay").enqueue(1, card="4929")).result(timeout=DEADLINE)
    await view.goto(f"{shop.address}/queues")
    row = view.get_by_role("row").filter(has=view.get_by_role("link", name="payments", exact=True))
    await row.get_by_role("button", name="Pause payments").click()
    await expect(row).to_contain_text("paused")
    await button(view, "Undo").click()
    await expect(row).not_to_contain_text("paused")


# --- workers --------------------------------------------------------------------------------------------------


async def test_stacks_quiet_and_stop(view: Page, shop: Shop) -> None:
    broker = await shop.app.broker()
    before = {one.id for one in await broker.workers()}
    with worker(shop, "--queue=aside") as process:

        async def there() -> bool:
            return len(await broker.workers()) > len(before)

        await until(there)
        (mine,) = {one.id for one in await broker.workers()} - before
        await view.goto(f"{shop.address}/workers/{mine}")
        await button(view, "Dump stacks").click()
        await expect(view.locator(".traceback")).to_contain_text("File")
        await button(view, "Quiet").click()
        await expect(view.locator("h1")).to_contain_text("quiet")
        await button(view, "Stop").click()
        await sure(view, "Stop the worker")
        assert await asyncio.to_thread(process.wait, DEADLINE) == 0


# --- tasks ----------------------------------------------------------------------------------------------------


async def test_run_a_task_from_its_form(view: Page, shop: Shop) -> None:
    await view.goto(f"{shop.address}/tasks/shop.greet")
    await view.get_by_label("name", exact=False).first.fill("ada")
    await view.get_by_label("times").fill("two")
    await view.get_by_label("style").select_option("loud")
    await button(view, "Run now").click()
    await expect(view.get_by_text("a number", exact=True)).to_be_visible()
    await view.get_by_label("times").fill("2")
    await button(view, "Run now").click()
    await state(view, "succeeded")
    assert await shop.app.job(view.url.rpartition("/")[2]).result() == ["Hello, ada!"] * 2


# --- who may --------------------------------------------------------------------------------------------------


async def test_a_viewer_sees_and_changes_nothing(view: Page, shop: Shop) -> None:
    job = await failed(shop, "fails", "no paper")
    await view.context.add_cookies([{"name": "role", "value": "viewer", "url": shop.address}])
    for path in (f"/jobs/{job.id}", "/jobs", "/queues/default", "/tasks/shop.greet", "/failures", "/system"):
        await view.goto(shop.address + path)
        await settled(view)
        for name in ("Retry", "Delete", "Pause", "Purge", "Run now", "Resolve", "Edit and run"):
            await expect(button(view, name)).to_have_count(0)
        await expect(view.get_by_role("checkbox")).to_have_count(0)
        await expect(view.get_by_text("Audit log")).to_have_count(0)


async def test_what_was_done_is_in_the_audit_log(view: Page, shop: Shop) -> None:
    job = await failed(shop, "fails", "written down")
    await view.goto(f"{shop.address}/jobs/{job.id}")
    await button(view, "Delete").click()
    await sure(view, "Delete")
    await expect(view.get_by_text("Deleted")).to_be_visible()
    await view.goto(f"{shop.address}/system")
    await expect(view.locator("#audit tbody tr").first).to_contain_text("delete")


async def test_hidden_arguments_are_revealed_by_an_admin(view: Page, empty_shop: Shop) -> None:
    job = await empty_shop.task("greet").enqueue("somebody private")
    await view.goto(f"{empty_shop.address}/jobs/{job.id}")
    await expect(view.get_by_text("Arguments hidden")).to_be_visible()
    await expect(view.get_by_text("somebody private")).to_have_count(0)
    await button(view, "Reveal").click()
    await expect(view.get_by_label("Arguments")).to_contain_text("somebody private")


# --- getting around -------------------------------------------------------------------------------------------


async def test_go_to_anything(view: Page, shop: Shop) -> None:
    await view.goto(shop.address)
    await view.locator("h1").wait_for()  # before that nobody hears a key
    await view.keyboard.press("Control+k")
    await view.get_by_role("combobox", name="Go to").fill("shop.gre")
    await view.get_by_role("option", name="shop.greet").first.click()
    await expect(view.locator("h1")).to_have_text("shop.greet")
    await view.keyboard.press("?")
    await expect(view.get_by_role("dialog")).to_contain_text("Filter the list")
    await view.keyboard.press("Escape")
    await expect(view.get_by_role("dialog")).to_have_count(0)


async def test_updates_can_be_paused(view: Page, shop: Shop) -> None:
    gate = shop.gate("frozen")
    await view.goto(f"{shop.address}/jobs?q=task:shop.hold%20state:running")
    await expect(view.get_by_text("No job matches")).to_be_visible()
    await view.get_by_role("button", name="live").click()
    job = await shop.task("hold").enqueue(str(gate))

    async def runs() -> bool:
        return (await job.info()).state == "running"

    await until(runs)
    await expect(view.get_by_text("No job matches")).to_be_visible()
    await view.get_by_role("button", name="paused").click()
    await expect(view.locator("tbody tr")).to_have_count(1)
    await asyncio.to_thread(gate.write_text, "open\n")


async def test_a_stream_that_breaks_is_opened_again(view: Page, shop: Shop) -> None:
    refusals = [503, 503]

    async def refuse(route: Route) -> None:
        await (route.fulfill(status=refusals.pop()) if refusals else route.continue_())

    await view.route("**/stream?*", refuse)
    await view.clock.install()
    await view.goto(f"{shop.address}/jobs?q=key:after")
    await expect(view.get_by_role("button", name="polling")).to_be_visible()
    await (await shop.task("greet").options(key="after").enqueue("ada")).result(timeout=DEADLINE)
    await view.clock.run_for(6_000)
    await expect(view.locator("tbody tr")).to_have_count(1)
    while refusals:
        await view.clock.run_for(30_000)
    await view.clock.run_for(60_000)
    await expect(view.get_by_role("button", name="live")).to_be_visible()
