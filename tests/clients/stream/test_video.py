"""Video files as sources: every frame, in order, in its colours; and what cannot be read is said or counted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.clients.stream.camera_process import CameraFailed, CameraProcess
from tests.clients.stream.films import BT601, BT709, FULL, colour_error, number_of, rgb_of, shoot
from triton_yolo.clients.memory.ring import Reason

COLOUR_TOLERANCE = 6  # of 255: rounding in two conversions, and the encoder; a wrong matrix or range gives 15 or more


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty frames of H.264 with frames that depend on later ones."""
    return shoot(tmp_path_factory.mktemp("films") / "line.mp4", 60)


def numbers(camera: CameraProcess) -> list[int]:
    """What the frames of a camera say."""
    return [number_of(rgb_of(pixels)) for _, pixels in camera.frames()]


@pytest.mark.parametrize("rows", [2, 8])
def test_every_frame_of_a_file_is_delivered_in_order_however_small_the_ring_is(film: Path, rows: int) -> None:
    with CameraProcess("file", str(film), rows=rows) as camera:
        assert camera.waits
        assert numbers(camera) == list(range(60))
        assert camera.counts().answered == 60


def test_a_reader_that_is_slow_loses_nothing_of_a_file(film: Path) -> None:
    with CameraProcess("file", str(film), rows=3) as camera:
        seen = []
        for _, pixels in camera.frames():
            seen.append(number_of(rgb_of(pixels)))
            time.sleep(0.01)
        assert seen == list(range(60))


def test_a_file_with_a_rate_is_delivered_as_a_camera_does(film: Path) -> None:
    begun = time.monotonic()
    with CameraProcess("file", str(film), fps=50) as camera:
        assert not camera.waits
        captures = [capture for capture, _ in camera.frames()]
        assert len(captures) + sum(camera.counts().dropped.values()) == 60
    assert all(
        capture.monotonic_ns / 1e9 >= begun + capture.number / 50 for capture in captures
    )  # none before its time


# codec, format, matrix, range, what is asked for and what comes.
LOOKS = {
    "H.264 that says nothing, as OpenCV takes it": ("libx264", "yuv420p", None, None, "auto", "nv12"),
    "H.264 in BT.601": ("libx264", "yuv420p", BT601, None, "auto", "nv12"),
    "H.264 in BT.601 as RGB": ("libx264", "yuv420p", BT601, None, "rgb", "rgb"),
    "H.264 in BT.709, whose colours NV12 would lose": ("libx264", "yuv420p", BT709, None, "auto", "rgb"),
    "H.264 in BT.709 whose colours are converted": ("libx264", "yuv420p", BT709, None, "nv12", "nv12"),
    "H.264 of full range": ("libx264", "yuv420p", BT601, FULL, "auto", "rgb"),
    "H.264 of full range whose range is converted": ("libx264", "yuv420p", BT709, FULL, "nv12", "nv12"),
    "H.264 with all chroma": ("libx264", "yuv444p", BT601, None, "auto", "rgb"),
    "motion JPEG": ("mjpeg", "yuvj420p", None, FULL, "auto", "rgb"),
    "RGB without loss": ("libx264rgb", "rgb24", None, None, "auto", "rgb"),
}


@pytest.mark.parametrize("look", LOOKS)
def test_colours_are_those_that_were_filmed(look: str, tmp_path: Path) -> None:
    codec, pixel_format, matrix, color_range, asked, expected = LOOKS[look]
    options = {"qmin": "1", "qmax": "2"} if codec == "mjpeg" else {}
    film = shoot(tmp_path / "film.mkv", 4, 96, 320, codec, pixel_format, matrix, color_range, **options)
    with CameraProcess("file", str(film), pixel_format=asked) as camera:
        frames = [pixels for _, pixels in camera.frames()]
        assert camera.format["pixel_format"] == expected
    assert [number_of(rgb_of(pixels)) for pixels in frames] == list(range(4))
    assert max(colour_error(rgb_of(pixels)) for pixels in frames) <= COLOUR_TOLERANCE


@pytest.mark.parametrize(("height", "width"), [(97, 193), (96, 193), (97, 192), (2, 130), (34, 1000)])
def test_any_size_comes_whole(height: int, width: int, tmp_path: Path) -> None:
    film = shoot(
        tmp_path / "film.mkv", 3, height, width, pixel_format="yuv444p" if height % 2 or width % 2 else "yuv420p"
    )
    with CameraProcess("file", str(film)) as camera:
        frames = [rgb_of(pixels) for _, pixels in camera.frames()]
    assert [frame.shape for frame in frames] == [(height, width, 3)] * 3
    assert [number_of(frame) for frame in frames] == [0, 1, 2]


def test_a_name_with_a_colon_is_a_file(film: Path, tmp_path: Path) -> None:
    odd = tmp_path / "tcp:line 1.mp4"
    odd.write_bytes(film.read_bytes())
    with CameraProcess("file", f"file:{odd}") as camera:
        assert numbers(camera) == list(range(60))


def test_a_file_ends_within_two_seconds_of_being_told_to(tmp_path: Path) -> None:
    film = shoot(tmp_path / "long.mp4", 2000, 32, 64, preset="ultrafast")
    with CameraProcess("file", str(film), rows=3) as camera:
        next(camera.frames())
        camera.stop()


def damage(film: Path, damaged: Path) -> Path:
    """Write a film again with some bytes in its middle changed."""
    data = bytearray(film.read_bytes())
    for place in range(len(data) // 2, len(data) // 2 + 200, 7):
        data[place] ^= 0x5A
    damaged.write_bytes(data)
    return damaged


def test_damaged_frames_are_counted_as_lost_and_never_delivered(tmp_path: Path) -> None:
    options = {"bf": "0", "g": "10", "refs": "1", "threads": "1", "slices": "1"}
    film = damage(shoot(tmp_path / "whole.mkv", 40, 192, 384, **options), tmp_path / "damaged.mkv")
    with CameraProcess("file", str(film)) as camera:
        frames = [rgb_of(pixels) for _, pixels in camera.frames()]
        counts = camera.counts()
    seen = [number_of(frame) for frame in frames]
    assert counts.dropped.keys() == {Reason.SOURCE_LOST}
    assert counts.captured == counts.answered + counts.dropped[Reason.SOURCE_LOST]
    assert 20 <= len(seen) < 40
    assert seen == sorted(set(seen))
    assert {*range(10), *range(35, 40)} <= set(seen)
    assert max(map(colour_error, frames)) <= COLOUR_TOLERANCE


def test_a_film_that_changes_its_size_is_lost_and_says_so(tmp_path: Path) -> None:
    small, large = (shoot(tmp_path / f"{height}.h264", 5, height, 192) for height in (96, 128))
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    with (
        CameraProcess("file", str(both)) as camera,
        pytest.raises(CameraFailed, match=r"both\.h264 was 96x192, and is 128x192 now"),
    ):
        for _ in camera.frames():
            pass


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "line.mp4 is empty"),
        (b"no video at all\n" * 99, "line.mp4 is no video that can be read: Invalid data"),
        (None, "there is no file .*line.mp4"),
    ],
)
def test_what_is_no_video_is_said(content: bytes | None, says: str, tmp_path: Path) -> None:
    film = tmp_path / "line.mp4"
    if content is not None:
        film.write_bytes(content)
    with pytest.raises(CameraFailed, match=says):
        CameraProcess("file", f"file:{film}")


def test_a_file_that_was_cut_off_before_its_index_is_no_video(film: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(film.read_bytes()[:1000])
    with pytest.raises(CameraFailed, match=r"cut\.mp4 is no video that can be read"):
        CameraProcess("file", str(cut))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pixel_format": "bgr"}, "pixel_format is one of auto, nv12, rgb; got 'bgr'"),
        ({"transport": "tcp"}, "unknown options of file: transport; it knows pixel_format"),
    ],
)
def test_a_wrong_option_is_said(options: dict[str, Any], says: str, film: Path) -> None:
    with pytest.raises(CameraFailed, match=says):
        CameraProcess("file", str(film), **options)


def test_nv12_of_an_odd_size_is_refused(tmp_path: Path) -> None:
    film = shoot(tmp_path / "film.mkv", 2, 97, 192, pixel_format="yuv444p")
    with pytest.raises(CameraFailed, match="is 97x192: nv12 needs even sides, so use pixel_format rgb"):
        CameraProcess("file", str(film), pixel_format="nv12")
