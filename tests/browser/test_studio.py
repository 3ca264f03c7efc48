"""The studio's page in a real browser, with a real worker and real ffmpeg."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, Route, expect
from studio_server import DEADLINE, Studio, module, parent, until

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("studio"), pytest.mark.timeout(240)]

expect.set_options(timeout=DEADLINE * 1000)
SOME = re.compile(r"[1-9]\d*")
video: Any = module("video")


def card(page: Page, title: str) -> Locator:
    return page.get_by_role("article").filter(has=page.get_by_role("heading", name=title, exact=True))


def bar(page: Page, title: str) -> Locator:
    return page.get_by_role("progressbar", name=f"{title}: progress")


async def share(page: Page, title: str) -> int:
    return int(await bar(page, title).get_attribute("aria-valuenow") or 0)


async def encoding(page: Page, *titles: str) -> None:
    """Return once these renditions are being encoded, and their bars moved."""
    for title in titles:
        await expect(bar(page, title)).to_have_attribute("aria-valuenow", SOME)


async def upload(page: Page, path: Path) -> None:
    await page.get_by_label("Choose a video").set_input_files(path)
    await expect(page).to_have_url(re.compile(r"/v/[0-9a-f]{32}$"))


async def gone(studio: Studio, file: str) -> None:
    """Return once nothing writes `file` any more, and nothing half-written is left of it."""
    await asyncio.to_thread(until, lambda: not studio.encoders(file), f"the ffmpeg of {file} ends")
    left = [path for path in studio.parts() if path.name.startswith(f".{file}.")]
    await asyncio.to_thread(until, lambda: not any(path.exists() for path in left), f"the half of {file} is removed")


def in_the_middle(studio: Studio, file: str) -> int:
    """The ffmpeg that has written a part of `file`; 0 when there is none yet."""
    written = any(part.name.startswith(f".{file}.") and part.stat().st_size for part in studio.parts())
    return studio.encoders(file)[0] if written else 0


async def stop_all(page: Page) -> None:
    await page.get_by_role("button", name="Cancel all").click()
    await expect(page.get_by_text("5 of 5 jobs finished")).to_be_visible()


async def test_the_sample_becomes_videos_that_play(page: Page) -> None:
    moved: set[str] = set()

    def move(title: str) -> None:
        moved.add(title)

    await page.expose_function("moved", move)
    await page.add_init_script(
        """new MutationObserver((changes) => changes.forEach(({ target }) => {
            const now = Number(target.getAttribute("aria-valuenow"));
            if (now > 0 && now < 100) moved(target.getAttribute("aria-label"));
        })).observe(document, { subtree: true, attributeFilter: ["aria-valuenow"] })"""
    )
    await page.goto("/")
    await page.get_by_role("button", name="Use the sample clip").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Big Buck Bunny.mp4")
    for title in ("480p", "360p", "240p"):
        await expect(card(page, title).locator(".state")).to_have_text("done")
        player = card(page, title).locator("video")
        await player.evaluate("async (video) => { video.muted = true; await video.play(); }")
        await expect(player).to_have_js_property("ended", True)
        assert await player.evaluate("(video) => video.duration") == pytest.approx(5.31, abs=video.TOLERANCE)
        assert await player.evaluate("(video) => video.videoHeight") == int(title[:-1])
    picture = page.get_by_alt_text("Contact sheet")
    await expect(picture).to_have_js_property("complete", True)
    assert await picture.evaluate("(image) => [image.naturalWidth, image.naturalHeight]") == [1320, 572]
    await expect(card(page, "Probe")).to_contain_text("132 at 25/s")
    assert {"480p: progress", "360p: progress", "240p: progress", "Contact sheet: progress"} <= moved


async def test_a_file_that_is_no_video_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    notes = tmp_path / "notes.mp4"
    notes.write_text("not a video, whatever its name says")
    await page.get_by_label("Choose a video").set_input_files(notes)
    await expect(page.get_by_role("alert")).to_have_text(
        "“notes.mp4” cannot be used: this is not a video that ffmpeg can read"
    )
    await expect(page.get_by_role("button", name="Use the sample clip")).to_be_enabled()


async def test_a_dropped_file_is_uploaded(page: Page) -> None:
    await page.evaluate(
        """async () => {
            const blob = await (await fetch("/sample.mp4")).blob();
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([blob], "dropped.mp4"));
            dispatchEvent(new DragEvent("drop", { dataTransfer }));
        }"""
    )
    await expect(page.get_by_role("heading", level=1)).to_have_text("dropped.mp4")
    await stop_all(page)


async def test_a_video_that_is_cut_off_fails_with_the_reason(page: Page, tmp_path: Path, small_clip: Path) -> None:
    cut = tmp_path / "cut.mp4"
    whole = await asyncio.to_thread(small_clip.read_bytes)
    cut.write_bytes(whole[: len(whole) // 3])
    await upload(page, cut)
    for title in ("240p", "144p", "96p"):
        await expect(card(page, title).locator(".state")).to_have_text("failed")
        await expect(card(page, title)).to_contain_text("it is cut off or damaged")
        await expect(card(page, title)).to_contain_text("after 1 attempt")


async def test_cancel_kills_ffmpeg_and_removes_what_it_wrote(page: Page, studio: Studio, long_clip: Path) -> None:
    await upload(page, long_clip)
    await encoding(page, "480p", "360p")
    assert studio.encoders("480p.mp4")
    await page.get_by_role("button", name="Cancel 480p").click()
    await expect(card(page, "480p").locator(".state")).to_have_text("cancelled")
    await gone(studio, "480p.mp4")
    await expect(card(page, "360p").locator(".state")).to_have_text("running")
    assert studio.encoders("360p.mp4")

    await stop_all(page)
    for title in ("360p", "240p"):
        await expect(card(page, title).locator(".state")).to_have_text("cancelled")
        await gone(studio, f"{title}.mp4")
    assert not list(studio.data.glob(f"videos/{page.url.rpartition('/')[2]}/*.mp4"))


async def test_a_reload_loses_nothing(page: Page, long_clip: Path) -> None:
    await upload(page, long_clip)
    await encoding(page, "480p", "360p")
    await page.get_by_role("button", name="Cancel 480p").click()
    await expect(card(page, "480p").locator(".state")).to_have_text("cancelled")
    before = await share(page, "360p")
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text("long.mp4")
    await expect(card(page, "480p").locator(".state")).to_have_text("cancelled")
    await expect(card(page, "360p").locator(".state")).to_have_text("running")
    await expect(card(page, "360p").locator(".log")).to_have_text("libx264 veryfast 640x360")
    further = re.compile("|".join(str(percent) for percent in range(before + 1, 101)))
    await expect(bar(page, "360p")).to_have_attribute("aria-valuenow", further)
    await stop_all(page)


async def test_a_killed_runner_costs_a_run_and_nothing_else(page: Page, studio: Studio, small_clip: Path) -> None:
    """Show 2: kill -9 in the middle of a transcode. Another runner finishes, the page goes on, the file is right."""
    await upload(page, small_clip)
    encoder = await asyncio.to_thread(until, lambda: in_the_middle(studio, "240p.mp4"), "240p is being encoded")
    runner = parent(parent(encoder))
    os.kill(runner, signal.SIGKILL)

    await expect(card(page, "240p")).to_contain_text("its worker died; run again (crash 1)")
    await encoding(page, "240p")
    for title in ("240p", "144p", "96p", "Contact sheet", "Probe"):
        await expect(card(page, title).locator(".state")).to_have_text("done")
    await expect(card(page, "240p")).to_contain_text("survived a crash of its worker")
    assert studio.encoders("240p.mp4") == []
    assert studio.parts() == []

    made = next(studio.data.glob(f"videos/{page.url.rpartition('/')[2]}/240p.mp4"))
    found, source = video.probe(made), video.probe(small_clip)
    assert (found.width, found.height) == (426, 240)
    assert found.duration == pytest.approx(source.duration, abs=video.TOLERANCE)
    video.check(made)


async def test_a_stream_that_is_refused_is_opened_again(page: Page) -> None:
    refusals = [503, 503]

    async def refuse(route: Route) -> None:
        await (route.fulfill(status=refusals.pop()) if refusals else route.continue_())

    await page.route("**/events?*", refuse)
    await page.get_by_role("button", name="Use the sample clip").click()
    await expect(page.get_by_text("Connection lost")).to_be_visible()
    await expect(card(page, "Probe").locator(".state")).to_have_text("done")
    await expect(page.get_by_text("Connection lost")).to_be_hidden()
    assert refusals == []
    await expect(page.get_by_text("5 of 5 jobs finished")).to_be_visible()


async def test_everything_can_be_reached_by_keyboard(page: Page) -> None:
    reached: list[str] = []
    for _ in range(5):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert reached == ["brand", "dashboard", "file", "sample", ""]  # the last one is the first link of the footer
    await page.get_by_role("button", name="Use the sample clip").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_be_focused()
    await stop_all(page)


@pytest.mark.parametrize("width", [1440, 390])
async def test_nothing_sticks_out_of_the_page(page: Page, width: int) -> None:
    await page.set_viewport_size({"width": width, "height": 844})
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await page.get_by_role("button", name="Use the sample clip").click()
    await expect(card(page, "Probe").locator(".state")).to_have_text("done")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await stop_all(page)
