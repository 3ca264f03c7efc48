"""What the studio does to videos, without jobs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from studio_server import FFMPEG, SAMPLE, module

video: Any = module("video")


def make(target: Path, *arguments: str) -> Path:
    """A file made by ffmpeg out of a test picture of 320x180."""
    source = ("-f", "lavfi", "-i", "testsrc=size=320x180:rate=10:duration=1")
    subprocess.run([FFMPEG, "-nostdin", "-v", "error", "-y", *source, *arguments, str(target)], check=True)
    return target


def test_probe_tells_what_the_sample_holds() -> None:
    assert video.probe(SAMPLE) == video.Video(1280, 720, 5.31, "h264", "aac", 25.0)


@pytest.mark.parametrize(
    ("width", "height", "renditions"),
    [
        (1280, 720, [480, 360, 240]),
        (3840, 2160, [1080, 720, 480]),
        (720, 1280, [480, 360, 240]),
        (320, 240, [144, 96]),
        (65, 81, [64]),
    ],
)
def test_renditions_are_smaller_than_the_source(width: int, height: int, renditions: list[int]) -> None:
    assert video.Video(width, height, 1.0, "h264", None, 25.0).renditions() == renditions


def test_a_scaled_size_keeps_the_shape_and_is_even() -> None:
    assert video.Video(1280, 720, 1.0, "h264", None, 25.0).scaled(480) == (854, 480)
    assert video.Video(720, 1280, 1.0, "h264", None, 25.0).scaled(480) == (480, 854)


def test_a_file_is_seen_as_it_is_shown(tmp_path: Path) -> None:
    upright = make(tmp_path / "flat.mp4", "-vf", "setsar=2/1")
    assert (video.probe(upright).width, video.probe(upright).height) == (640, 180)
    turned = tmp_path / "turned.mp4"
    flat = make(tmp_path / "plain.mp4")
    command = [FFMPEG, "-nostdin", "-v", "error", "-display_rotation", "90", "-i", flat, "-c", "copy", turned]
    subprocess.run(command, check=True)
    assert (video.probe(turned).width, video.probe(turned).height) == (180, 320)


@pytest.mark.parametrize("size", [(180, 320), (96, 54)])
def test_a_transcoded_file_has_the_asked_size_and_plays(tmp_path: Path, size: tuple[int, int]) -> None:
    target, seen = tmp_path / "out.part", list[float]()
    video.transcode(make(tmp_path / "in.webm"), target, size, lambda at, speed: seen.append(at))
    made = video.probe(target)
    assert (made.width, made.height, made.codec, made.audio) == (*size, "h264", None)
    assert made.duration == pytest.approx(1.0, abs=0.11)
    assert seen == sorted(seen)
    video.check(target)


def test_check_finds_damage(tmp_path: Path) -> None:
    data = bytearray(make(tmp_path / "in.mp4", "-movflags", "+faststart").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    with pytest.raises(video.FfmpegFailed):
        video.check(broken)


def test_measure_finds_the_length_that_no_header_tells(tmp_path: Path) -> None:
    live = make(tmp_path / "live.webm", "-live", "1", "-f", "webm")
    assert video.probe(live).duration is None
    seconds, frames = video.measure(live, lambda at, speed: None)
    assert (seconds, frames) == (pytest.approx(1.0, abs=0.11), 10)


def test_the_contact_sheet_has_twelve_pictures(tmp_path: Path) -> None:
    source, target, seen = make(tmp_path / "in.mp4"), tmp_path / "sheet.part", list[tuple[int, int]]()
    found = video.probe(source)
    video.contact_sheet(source, target, found, 1.0, lambda done, count: seen.append((done, count)))
    with Image.open(target) as sheet:
        assert sheet.size == video.sheet_size(found) == (4 * 328 + 8, 3 * 188 + 8)
    assert seen[-1] == (12, 12)


@pytest.mark.parametrize("name", ["list.m3u8", "picture.png", "text.mp4", "empty.mp4", "concat.mp4"])
def test_what_is_no_video_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "picture.png":
        make(path, "-frames:v", "1")
    elif name == "list.m3u8":  # would read any file of the server, and call any address
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{SAMPLE}\n#EXT-X-ENDLIST\n")
    elif name == "concat.mp4":
        path.write_text(f"ffconcat version 1.0\nfile '{SAMPLE}'\n")
    else:
        path.write_text("" if name == "empty.mp4" else "not a video, whatever its name says")
    with pytest.raises(video.NotAVideo):
        video.probe(path)
