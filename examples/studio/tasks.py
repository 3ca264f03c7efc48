"""What is done to a video: `publish`, a durable flow, and the jobs that it runs. A worker does both: `windlass worker tasks:app`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import library
import video
from pydantic import BaseModel

from windlass import Context, Depends, Fail, Flow, Retry, Windlass

app = Windlass(processes=3)  # the three renditions run side by side, whatever the machine


@dataclass(frozen=True)
class Facts(video.Video):
    """What the probe found out. Size in bytes."""

    duration: float
    frames: int
    size: int


class Made(BaseModel):
    """A file that was made of a video. Duration in seconds (of a picture: none), size in bytes."""

    file: str
    width: int
    height: int
    duration: float | None
    size: int


@app.flow(keep="7d")
async def publish(video_id: str, flow: Flow = Depends(), ctx: Context = Depends()) -> list[Made]:
    """Read a video, then make everything of it side by side. Fails once all is over, when something could not be made."""
    ctx.progress(0, 2, "reading")
    facts = await flow.run(probe.options(meta={"piece": "Probe"}).bind(video_id))
    ctx.progress(1, 2, "encoding")
    sizes = {f"{short}p": facts.scaled(short) for short in facts.renditions()}
    return await flow.gather(
        *[
            flow.run(transcode.options(meta={"piece": piece}).bind(video_id, *size, facts.duration))
            for piece, size in sizes.items()
        ],
        flow.run(contact_sheet.options(meta={"piece": "Contact sheet"}).bind(video_id, facts)),
    )


@app.task(timeout="10m", keep="7d")
def probe(video_id: str, ctx: Context = Depends()) -> Facts:
    """Read the whole file once: what is really in it, whatever its header says."""
    source = library.source(video_id)
    found = video.probe(source)
    measured, frames = video.measure(source, lambda at, speed: ctx.progress(at, found.duration, "reading"))
    duration = found.duration or measured
    ctx.progress(duration, duration, "read")
    ctx.log(f"{found.codec}, {frames} frames, {measured:.2f} s")
    return Facts(**asdict(found) | {"duration": duration, "frames": frames, "size": source.stat().st_size})


@app.task(lane="process", timeout="1h", memory="2GB", retry=Retry(attempts=3, first="2s"), keep="7d")
def transcode(video_id: str, width: int, height: int, duration: float, ctx: Context = Depends()) -> Made:
    """Make one rendition. A run after a crash starts over; a run after the file was finished only looks at it."""
    target = library.folder(video_id) / rendition_name(width, height)
    if not target.exists():
        with library.published(target, ctx.token) as part:
            ctx.log(f"libx264 veryfast {width}x{height}")

            def report(at: float, speed: str) -> None:
                ctx.progress(min(at, duration), duration, f"encoding {speed.replace('x', '×')}".strip())

            video.transcode(library.source(video_id), part, (width, height), report)
            _verify(part, duration)
    made = _made(target, video.probe(target))
    ctx.progress(duration, duration, "done")
    ctx.log(f"{made.file} is ready, {made.size:,} bytes")
    return made


@app.task(timeout="10m", keep="7d")
def contact_sheet(video_id: str, facts: Facts, ctx: Context = Depends()) -> Made:
    """Draw the thumbnails. Runs in a thread, and looks between two frames whether it should stop."""
    target = library.folder(video_id) / SHEET

    def report(done: int, count: int) -> None:
        ctx.progress(done, count, f"frame {done} of {count}")

    with library.published(target, ctx.token) as part:
        video.contact_sheet(library.source(video_id), part, facts, facts.duration, report)
    width, height = video.sheet_size(facts)
    ctx.log(f"{width}x{height}, {target.stat().st_size:,} bytes")
    return Made(file=target.name, width=width, height=height, duration=None, size=target.stat().st_size)


SHEET = "contact-sheet.jpg"


def rendition_name(width: int, height: int) -> str:
    """The file of a rendition."""
    return f"{min(width, height)}p.mp4"


def _verify(path: Path, duration: float) -> None:
    """Fail for good when the rendition is not what the source promised: another try would make the same."""
    made = video.probe(path).duration or 0.0
    if abs(made - duration) > video.TOLERANCE:
        raise Fail(
            f"the source promises {duration:.1f} s and holds {made:.1f} s that can be read; it is cut off or damaged"
        )


def _made(path: Path, found: video.Video) -> Made:
    return Made(
        file=path.name, width=found.width, height=found.height, duration=found.duration, size=path.stat().st_size
    )
