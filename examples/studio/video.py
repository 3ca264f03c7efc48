"""Video work with the ffmpeg that the imageio-ffmpeg wheel brings: probe, transcode, contact sheet. Knows nothing of jobs.

The wheel has no ffprobe, so what a file holds is read from what `ffmpeg -i` says of it.
"""

from __future__ import annotations

import io
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
from PIL import Image, ImageDraw, ImageFont

Report = Callable[[float, str], None]
"""Is told how many seconds of the video are done, and how fast it goes ("3.2x")."""

LADDER = (1080, 720, 480, 360, 240, 144, 96)
"""The short sides of the renditions on offer."""

COLUMNS, ROWS, TILE, GAP = 4, 3, 180, 8
"""The contact sheet: its grid, the short side of a tile, and the space between tiles, in pixels."""

TOLERANCE = 0.5
"""Seconds by which a rendition may be shorter or longer than its source."""

_SHORTEST = 0.1
_LOOK = 120.0
_FFMPEG = (imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin")
# Uploads come from strangers. A play list would make ffmpeg open other files and addresses, so only containers may come.
_CONTAINERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf"
_INPUT = ("-protocol_whitelist", "file", "-format_whitelist", _CONTAINERS, "-i")

_DURATION = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d\.\d+)", re.MULTILINE)
_VIDEO = re.compile(r"^  Stream #0.*?: Video: (?!.*\(attached pic\))(\w+)(.*)$", re.MULTILINE)
_AUDIO = re.compile(r"^  Stream #0.*?: Audio: (\w+)", re.MULTILINE)
_SIZE = re.compile(r"\b(\d{2,5})x(\d{2,5})\b")
_ASPECT = re.compile(r"\bSAR (\d+):(\d+)")
_RATE = re.compile(r"([\d.]+) fps")
_ROTATED = re.compile(r"rotation of -?(?:90|270)\.")


class NotAVideo(ValueError):
    """The file holds no video that ffmpeg can read."""


class FfmpegFailed(RuntimeError):
    """ffmpeg gave up; the message is the last thing it said."""


@dataclass(frozen=True)
class Video:
    """What a file holds. Width and height as it is shown; duration in seconds, None when the file does not say."""

    width: int
    height: int
    duration: float | None
    codec: str
    audio: str | None
    rate: float | None

    def scaled(self, short: int) -> tuple[int, int]:
        """Its size with that short side, in the same shape; even, as H.264 wants it."""
        scale = short / min(self.width, self.height)
        return _even(self.width * scale), _even(self.height * scale)

    def renditions(self) -> list[int]:
        """The short sides of three smaller renditions; fewer of a tiny video, which is at least made playable."""
        own = min(self.width, self.height)
        return [short for short in LADDER if short < own][:3] or [_even(own)]


def _even(pixels: float) -> int:
    return max(2, round(pixels / 2) * 2)


def probe(path: Path) -> Video:
    """Read the header of a file. Raises `NotAVideo`."""
    said = subprocess.run([*_FFMPEG, *_INPUT, path], capture_output=True, timeout=_LOOK, check=False)
    text = said.stderr.decode(errors="replace")
    stream = _VIDEO.search(text)
    size = _SIZE.search(stream[2]) if stream else None
    if stream is None or size is None:
        raise NotAVideo("this is not a video that ffmpeg can read")
    width, height = int(size[1]), int(size[2])
    if (aspect := _ASPECT.search(stream[2])) and int(aspect[1]) and int(aspect[2]):
        width = round(width * int(aspect[1]) / int(aspect[2]))
    if _ROTATED.search(text):
        width, height = height, width
    duration = None
    if found := _DURATION.search(text):
        duration = int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
        if duration < _SHORTEST:
            raise NotAVideo("this is a still picture, not a video")
    audio, rate = _AUDIO.search(text), _RATE.search(stream[2])
    return Video(width, height, duration, stream[1], audio[1] if audio else None, float(rate[1]) if rate else None)


def measure(path: Path, report: Report) -> tuple[float, int]:
    """Read a video through without decoding it: its length in seconds, and how many frames it has."""
    seconds, frames = 0.0, 0
    for now in _run(*_INPUT, path, "-map", "0:V:0", "-c", "copy", "-f", "null", "-"):
        seconds, frames = now.seconds, now.frames
        report(seconds, now.speed)
    return seconds, frames


def check(path: Path) -> None:
    """Decode every frame and every sound. Raises `FfmpegFailed` at the first error."""
    for _ in _run("-xerror", "-err_detect", "explode", *_INPUT, path, "-f", "null", "-"):
        pass


def transcode(source: Path, target: Path, size: tuple[int, int], report: Report) -> None:
    """Make an MP4 that every browser plays, and that starts before it is loaded. Raises `FfmpegFailed`."""
    picture = ("-vf", f"scale={size[0]}:{size[1]},setsar=1", "-c:v", "libx264", "-preset", "veryfast", "-crf", "23")
    sound = ("-c:a", "aac", "-ac", "2", "-b:a", "128k")
    streams = ("-map", "0:V:0", "-map", "0:a:0?", "-map_metadata", "-1")
    output = ("-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", "-y", target)
    for now in _run(*_INPUT, source, *streams, *picture, *sound, *output):
        report(now.seconds, now.speed)


def sheet_size(video: Video) -> tuple[int, int]:
    """The size of the contact sheet of a video."""
    width, height = video.scaled(TILE)
    return COLUMNS * (width + GAP) + GAP, ROWS * (height + GAP) + GAP


def contact_sheet(
    source: Path, target: Path, video: Video, duration: float, report: Callable[[int, int], None]
) -> None:
    """Draw a grid of frames, evenly spread, each with its time. `report` is told how many of how many are done."""
    width, height = video.scaled(TILE)
    sheet = Image.new("RGB", sheet_size(video), "#161615")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    count = COLUMNS * ROWS
    for number in range(count):
        at = duration * (number + 0.5) / count
        left, top = GAP + number % COLUMNS * (width + GAP), GAP + number // COLUMNS * (height + GAP)
        if (frame := _frame(source, at, (width, height))) is not None:
            sheet.paste(frame, (left, top))
        said, corner = f"{int(at) // 60}:{at % 60:04.1f}", (left + 8, top + height - 8)
        draw.text(corner, said, "#ffffff", font, anchor="ls", stroke_width=3, stroke_fill="#000000")
        report(number + 1, count)
    sheet.save(target, "JPEG", quality=86, optimize=True)


def _frame(source: Path, at: float, size: tuple[int, int]) -> Image.Image | None:
    output = ("-frames:v", "1", "-vf", f"scale={size[0]}:{size[1]}", "-f", "image2pipe", "-c:v", "ppm", "-")
    command = [*_FFMPEG, "-loglevel", "error", "-ss", f"{at:.3f}", *_INPUT, source, "-map", "0:V:0", *output]
    said = subprocess.run(command, capture_output=True, timeout=_LOOK, check=False)
    return Image.open(io.BytesIO(said.stdout)) if said.stdout else None


@dataclass
class _Now:
    seconds: float = 0.0
    frames: int = 0
    speed: str = ""


def _run(*arguments: str | Path) -> Iterator[_Now]:
    """Run ffmpeg and yield how far it is, about five times a second. It is dead when this is left, however it is left."""
    command = [*_FFMPEG, "-loglevel", "error", "-nostats", "-stats_period", "0.2", "-progress", "pipe:1", *arguments]
    now = _Now()
    with tempfile.TemporaryFile() as said, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as ffmpeg:
        assert ffmpeg.stdout is not None
        try:
            for line in ffmpeg.stdout:
                name, _, value = line.decode().strip().partition("=")
                if name == "out_time_us" and value.isdecimal():
                    now.seconds = int(value) / 1e6
                elif name == "frame" and value.isdecimal():
                    now.frames = int(value)
                elif name == "speed" and value != "N/A":
                    now.speed = value
                elif name == "progress":
                    yield now
            if ffmpeg.wait() != 0:
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines()
                raise FfmpegFailed(lines[-1] if lines else f"ffmpeg left with {ffmpeg.returncode}")
        finally:
            ffmpeg.kill()
