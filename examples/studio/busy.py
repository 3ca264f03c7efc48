"""`make demo ARGS=--busy`: other tasks beside the studio's, and a lively load of them all, for the dashboard to show.

A worker runs them with `busy:app`. `python busy.py ADDRESS` hands in a few jobs a second for as long as it runs. What they leave is
bounded: jobs are kept for half an hour, videos until ten newer ones are there.
"""

from __future__ import annotations

import asyncio
import ctypes
import http.client
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import library
from PIL import Image, ImageFilter
from tasks import app

from windlass import Call, Context, Depends, Fail, Flow, Handle, Limit, Retry, Secret, Snooze, Windlass, group

SAMPLE = library.HERE / "media" / "bigbuckbunny.mp4"
VIDEOS = 10
KEEP = "30m"
AGAIN = Retry(attempts=3, first="3s")


# --- the tasks ------------------------------------------------------------------------------------------------


class MailServerGone(ConnectionError):
    """The mail server hung up."""


@app.task(name="images.resize", queue="images", keep=KEEP, retry=Retry(attempts=2, first="5s"))
def resize(image_id: int, width: Literal[320, 800, 1600] = 800, ctx: Context = Depends()) -> str:
    """Make the small picture of an upload."""
    if image_id % 23 == 0:
        raise OSError(f"image file is truncated ({image_id % 97} bytes not processed)")
    picture = Image.effect_noise((width, width * 2 // 3), 60).filter(ImageFilter.GaussianBlur(2))
    ctx.log(f"{picture.width}x{picture.height}, {len(picture.tobytes()):,} bytes")
    return f"images/{image_id}/{width}.webp"


@app.task(name="mail.receipt", queue="mail", priority=7, keep=KEEP, retry=AGAIN)
async def receipt(order: int, to: str) -> None:
    """Send the receipt of an order."""
    await asyncio.sleep(random.uniform(0.05, 0.4))
    if random.random() < 0.06:
        raise MailServerGone("421 4.3.2 service not available, closing transmission channel")
    if order % 61 == 0:
        raise Fail(f"{to} does not exist (550 5.1.1)")


@app.task(name="mail.reminder", queue="mail", keep=KEEP)
async def reminder(order: int) -> None:
    """Remind of a basket that was left."""
    await asyncio.sleep(0.1)


@app.task(name="mail.newsletter", queue="newsletter", priority=2, keep=KEEP)
async def newsletter(issue: str, reader: int) -> None:
    """Send one copy of the newsletter."""
    await asyncio.sleep(0.2)


@app.task(name="search.index", queue="search", keep=KEEP, retry=Retry(attempts=1))
async def index(documents: list[int], ctx: Context = Depends()) -> dict[str, int]:
    """Put documents into the search index."""
    for number, document in enumerate(documents):
        ctx.progress(number, len(documents), f"document {document}")
        await asyncio.sleep(0.05)
        if document % 211 == 0:
            raise KeyError("title")
    return {"indexed": len(documents)}


def shop(address: str) -> str:
    """Whose site it is."""
    return address.partition("/")[0]


POLITE = Limit("site", rate="6/m", burst=2, running=1, key=shop)
"""No shop is asked by two crawlers at once, nor often."""


@app.task(
    name="search.crawl", queue="search", timeout="3s", keep=KEEP, retry=Retry(attempts=2, first="10s"), limits=[POLITE]
)
async def crawl(address: str, depth: int = 2) -> int:
    """Fetch a page and the pages behind it."""
    if random.random() < 0.08:
        raise Snooze("20s")  # the other side asks us to slow down
    await asyncio.sleep(30 if random.random() < 0.06 else random.expovariate(2.0))
    return depth * random.randrange(1, 20)


@app.task(name="reports.monthly", queue="reports", timeout="5m", keep=KEEP)
async def monthly(month: str, tenant: str, ctx: Context = Depends()) -> dict[str, Any]:
    """Add up a month, and draw its charts."""
    steps = ("reading", "adding up", "drawing", "writing")
    for number, step in enumerate(steps):
        ctx.progress(number, len(steps), step)
        ctx.log(f"{step} {month} of {tenant}")
        await asyncio.sleep(random.uniform(2, 5))
    return {"tenant": tenant, "month": month, "pages": random.randrange(3, 40)}


@app.task(name="payments.capture", keep=KEEP, retry=AGAIN)
async def capture(order: int, amount: float, card: Annotated[str, Secret]) -> str:
    """Collect the money of an order."""
    await asyncio.sleep(random.uniform(0.1, 0.9))
    if random.random() < 0.1:
        raise TimeoutError("the bank did not answer within 500 ms")
    return f"ch_{order:x}"


@app.flow(name="orders.fulfil", keep=KEEP)
async def fulfil(order: int, to: str, flow: Flow = Depends()) -> str:
    """Collect the money, wait until somebody has packed it, tell the customer. It takes no slot while it waits."""
    charge = await flow.run(capture.bind(order, 25.0, "4929 1234 5678"))
    await flow.event("packed", timeout="2m")
    await flow.run(receipt.bind(order, to))
    return charge


@app.task(name="albums.publish", keep=KEEP)
async def album(pictures: list[str], title: str) -> str:
    """Publish pictures, once all of them have their size."""
    await asyncio.sleep(random.uniform(0.5, 2))
    return f"{title}: {len(pictures)} pictures"


@app.task(name="captions.write", keep=KEEP)
async def captions(video: str, ctx: Context = Depends()) -> str:
    """Write what is said in a video, word by word as it is understood."""
    words = [
        "A",
        "large",
        "and",
        "lovable",
        "rabbit",
        "deals",
        "with",
        "three",
        "tiny",
        "bullies,",
        "led",
        "by",
        "a",
        "flying",
        "squirrel.",
    ]
    for word in words:
        ctx.chunk(f"{word} ")
        await asyncio.sleep(0.3)
    ctx.log("no speech after 0:41", level="warning")
    return " ".join(words)


@app.task(name="labels.read", lane="process", keep=KEEP, crash_limit=3)
def labels(image_id: int, ctx: Context = Depends()) -> None:
    """Read the labels in a picture, with a C library that has a bug: it takes its process along."""
    ctx.log(f"libocr 0.9.1, image {image_id}")
    ctypes.string_at(0)


@app.task(name="models.train", timeout="20m", keep=KEEP)
def train(epochs: int = 60, rate: float = 0.01, ctx: Context = Depends()) -> dict[str, float]:
    """Train the recommendations. Goes on at the last epoch when its worker dies."""
    first, loss = ctx.last_checkpoint or (0, 2.3)
    for epoch in range(first, epochs):
        for _ in range(20):
            if ctx.cancelled:
                return {"loss": loss}
            time.sleep(0.2)
        loss *= 0.97
        ctx.progress(epoch + 1, epochs, f"loss {loss:.3f}")
        ctx.log(f"epoch {epoch + 1}: loss {loss:.4f}")
        ctx.checkpoint([epoch + 1, loss])
    return {"loss": loss}


@app.task(name="archive.pack", queue="archive", keep=KEEP, expires="10m")
def pack(day: str) -> None:
    """Pack what happened on a day. No worker of the demo serves its queue."""


# --- the load -------------------------------------------------------------------------------------------------

TENANTS = ("acme", "globex", "initech", "umbrella")
SHOPS = ("books", "bikes", "tea")
PEOPLE = ("ada", "grace", "linus", "margaret", "edsger", "barbara")


def _tenant() -> dict[str, str]:
    return {"tenant": random.choice(TENANTS)}


def _order() -> int:
    return random.randrange(10_000, 99_999)


LOAD: tuple[tuple[float, Callable[[], Call[Any]]], ...] = (
    (2.0, lambda: receipt.options(meta=_tenant()).bind(_order(), f"{random.choice(PEOPLE)}@example.org")),
    (1.5, lambda: resize.options(meta=_tenant()).bind(_order(), random.choice([320, 800, 1600]))),
    (0.5, lambda: capture.options(meta=_tenant()).bind(_order(), round(random.uniform(5, 400), 2), "4929 1234 5678")),
    (0.5, lambda: index.bind([random.randrange(5_000) for _ in range(random.randrange(2, 30))])),
    (0.4, lambda: crawl.bind(f"{random.choice(SHOPS)}.example/{_order()}")),
    (0.04, lambda: group(resize.bind(_order(), 800) for _ in range(random.randrange(6, 30))).then(album, "Autumn")),
    (0.03, lambda: fulfil.bind(_order(), f"{random.choice(PEOPLE)}@example.org")),
    (0.1, lambda: reminder.options(delay=random.randrange(60, 1800)).bind(_order())),
    (0.12, lambda: monthly.options(expires="15m", meta=_tenant()).bind("2026-10", random.choice(TENANTS))),
    (0.05, lambda: newsletter.options(expires="15m").bind("Autumn", random.randrange(1000))),
    (0.04, lambda: captions.bind("bigbuckbunny.mp4")),
    (0.02, lambda: labels.bind(_order())),
    (0.02, lambda: pack.bind(f"2026-11-{random.randrange(1, 21):02}")),
    (0.02, lambda: train.options(key="train").bind(random.choice([40, 60, 90]))),
)
"""How many a second of each."""
TICK = 0.5


async def load(address: str) -> None:
    """Hand in jobs, cancel a few, and upload a video now and then, until somebody stops us."""
    await (await app.broker()).pause("newsletter")
    await _unknown_here()
    unpacked = list[Handle[Any]]()
    for tick in range(sys.maxsize):
        calls = [make() for per_second, make in LOAD for _ in range(int(per_second * TICK + random.random()))]
        handles = await app.enqueue_many(calls)
        if handles and tick % 40 == 0:
            await handles[-1].cancel()
        unpacked += [handle for call, handle in zip(calls, handles, strict=True) if call.name == fulfil.name]
        if len(unpacked) > 3 and random.random() < 0.1:
            await app.signal(unpacked.pop(0).id, "packed")
        if tick % 60 == 0:
            await asyncio.to_thread(_upload, address)
        await asyncio.sleep(TICK)


async def _unknown_here() -> None:
    """A job of a task that no worker knows any more: it is parked until one does."""
    old = Windlass(app.url)

    @old.task(name="studio.export_to_flash", keep=KEEP)
    def export(video: str) -> None: ...

    await export.enqueue("bigbuckbunny.mp4")


def _upload(address: str) -> None:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    try:
        connection.request("POST", f"/videos?name={quote(SAMPLE.name)}", SAMPLE.read_bytes())
        connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        print(f"busy: no upload: {error}", file=sys.stderr)
    finally:
        connection.close()
    for folder in sorted(library.VIDEOS.iterdir(), key=_age)[VIDEOS:]:
        shutil.rmtree(folder, ignore_errors=True)


def _age(folder: Path) -> float:
    return time.time() - folder.stat().st_mtime


if __name__ == "__main__":
    asyncio.run(load(sys.argv[1]))
