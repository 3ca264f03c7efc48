"""`make screenshots`: every page of the dashboard, over the busy demo, at two widths and in two themes.

All of them go to docs/images/dashboard/all (which git ignores), those in `KEPT` also to docs/images/dashboard.

    python scripts/screenshots.py [--minutes 5] [--address http://localhost:8000]
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
KEPT_IN = ROOT / "docs" / "images" / "dashboard"
ALL = KEPT_IN / "all"
WIDTHS = {1440: 900, 390: 844}
KEPT = ("overview-1440-dark", "overview-1440-light", "job-failed-1440-light", "failures-1440-light", "jobs-390-dark")
PAGES = {
    "overview": "?range=15m",
    "jobs": "jobs",
    "jobs-filtered": "jobs?q=state%3Afailed+since%3A1h",
    "failures": "failures",
    "queues": "queues?range=15m",
    "queue": "queues/mail?range=15m",
    "queue-paused": "queues/newsletter?range=15m",
    "workers": "workers",
    "schedules": "schedules",
    "workflows": "workflows",
    "limits": "limits",
    "tasks": "tasks?range=15m",
    "task": "tasks/images.resize?range=15m",
    "system": "system",
}
JOBS = {
    "job-running": "state:running task:models.train",
    "job-failed": "state:failed task:images.resize",
    "job-crashed": "state:failed task:labels.read",
    "job-parked": "state:parked",
    "job-scheduled": "state:scheduled",
    "job-waiting": "state:ready task:archive.pack",
    "job-streamed": "state:succeeded task:captions.write",
    "job-video": "state:succeeded task:tasks.transcode",
}
WORKFLOWS = {"workflow-join": "root:* task:albums.publish", "workflow-flow": "root:* task:orders.fulfil"}


@contextmanager
def busy(minutes: float) -> Iterator[str]:
    """The address of a busy studio that has run for some minutes."""
    with tempfile.TemporaryDirectory(prefix="studio-") as folder:
        command = [sys.executable, "run.py", "--busy", "--port", "0", "--data", folder]
        with subprocess.Popen(command, cwd=ROOT / "examples/studio", stdout=subprocess.PIPE, text=True) as studio:
            try:
                assert studio.stdout is not None
                found = (re.search(r"http://\S+", line) for line in studio.stdout)
                address = next((match[0] for match in found if match), "")
                if not address:
                    sys.exit("the studio did not start")
                print(f"{address} runs for {minutes:g} minutes first", flush=True)
                time.sleep(minutes * 60)
                yield address
            finally:
                studio.send_signal(signal.SIGINT)
                studio.wait()


def ask(root: str, read: str) -> Any:
    """What the API answers."""
    with urllib.request.urlopen(f"{root}/api/v1/{read}") as answer:
        return json.load(answer)


def places(root: str) -> Iterator[tuple[str, str]]:
    """Name and path of every page."""
    yield from PAGES.items()
    for name, wanted in (JOBS | WORKFLOWS).items():
        if jobs := ask(root, f"jobs?limit=1&q={quote(wanted)}")["jobs"]:
            yield name, f"{'workflows' if name in WORKFLOWS else 'jobs'}/{jobs[0]['id']}"
        else:
            print(f"no picture of {name}: no job is {wanted}", file=sys.stderr)
    workers = ask(root, "workers")["workers"]
    if workers:
        yield "worker", f"workers/{max(workers, key=lambda one: one['running'])['id']}"


SOMEWHERE = """(root) => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(root, "/srv");
}"""


def shoot(page: Page, name: str) -> None:
    """Take the picture of what is shown; of what is kept, only what is seen without scrolling. Where this checkout is, nobody reads."""
    page.evaluate(SOMEWHERE, str(ROOT))
    picture = Image.open(BytesIO(page.screenshot(full_page=name not in KEPT)))
    picture.convert("RGB").save(ALL / f"{name}.png", optimize=True)
    if name in KEPT:
        shutil.copy(ALL / f"{name}.png", KEPT_IN)


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(description="Pictures of every page of the dashboard.")
    parser.add_argument("--minutes", type=float, default=5, help="how long the demo runs before (%(default)s)")
    parser.add_argument("--address", help="a busy demo that runs already")
    given = parser.parse_args()
    shutil.rmtree(ALL, ignore_errors=True)
    ALL.mkdir(parents=True)
    if given.address:
        take_all(f"{given.address.rstrip('/')}/windlass")
    else:
        with busy(given.minutes) as address:
            take_all(f"{address}/windlass")


def take_all(root: str) -> None:
    """Every page, at every width, in both themes."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium-headless-shell") or shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(reduced_motion="reduce", timezone_id="UTC")
        for name, path in places(root):
            page.goto(f"{root}/{path}")
            page.locator(".skeleton").first.wait_for(state="detached")
            for width, height in WIDTHS.items():
                for theme in ("light", "dark"):
                    page.set_viewport_size({"width": width, "height": height})
                    page.emulate_media(color_scheme=theme)
                    page.wait_for_timeout(400)  # charts are drawn anew, logs come in
                    shoot(page, f"{name}-{width}-{theme}")
        browser.close()
    print(f"{len(list(ALL.iterdir()))} pictures in {ALL.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
