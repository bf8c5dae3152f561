from __future__ import annotations

import numpy as np
import pytest

from triton_yolo.clients import DetectionError
from triton_yolo.clients.pixel_formats import PIXEL_FORMATS, pixel_format

BAYER = [name for name in PIXEL_FORMATS if name.startswith("bayer_")]


@pytest.mark.parametrize(
    ("name", "shape", "bytes_per_pixel"),
    [
        ("rgb", (960, 1280, 3), 3),
        *((name, (960, 1280), 1) for name in BAYER),
        ("yuyv", (960, 1280, 2), 2),
        ("nv12", (1440, 1280), 1.5),
    ],
)
def test_a_format_says_how_its_frames_lie_in_memory(name: str, shape: tuple[int, ...], bytes_per_pixel: float) -> None:
    one = PIXEL_FORMATS[name]
    assert one.shape(960, 1280) == shape
    assert one.bytes_per_pixel == bytes_per_pixel
    assert one.nbytes(960, 1280) == 960 * 1280 * bytes_per_pixel
    one.check(np.uint8, (8, *shape))


def test_a_bayer_format_says_where_blue_is() -> None:
    assert len(BAYER) == 4
    for name in BAYER:
        pattern = np.array(list(name.removeprefix("bayer_"))).reshape(2, 2)
        [blue] = np.argwhere(pattern == "b").tolist()
        inputs = PIXEL_FORMATS[name].inputs(3)
        assert {key: value.tolist() for key, value in inputs.items()} == {"blue_position": [blue] * 3}
        assert inputs["blue_position"].dtype == np.int32


@pytest.mark.parametrize("name", ["rgb", "yuyv", "nv12"])
def test_other_formats_need_nothing_beside_the_frames(name: str) -> None:
    assert PIXEL_FORMATS[name].inputs(3) == {}


@pytest.mark.parametrize(
    ("name", "height", "width", "message"),
    [
        ("bayer_rggb", 5, 4, "bayer_rggb frames have an even height and width; got 5x4"),
        ("bayer_gbrg", 4, 5, "got 4x5"),
        ("yuyv", 4, 5, "yuyv frames have an even width; got 4x5"),
        ("nv12", 3, 4, "nv12 frames have an even height and width; got 3x4"),
        ("nv12", 4, 3, "got 4x3"),
        ("rgb", 0, 4, "a height and a width of 1 or more; got 0x4"),
    ],
)
def test_a_size_that_a_format_does_not_have_is_refused(name: str, height: int, width: int, message: str) -> None:
    with pytest.raises(DetectionError, match=message):
        PIXEL_FORMATS[name].shape(height, width)


def test_odd_sides_are_fine_where_pixels_do_not_share_colours() -> None:
    assert PIXEL_FORMATS["rgb"].shape(5, 3) == (5, 3, 3)
    assert PIXEL_FORMATS["yuyv"].shape(5, 4) == (5, 4, 2)


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "message"),
    [
        ("rgb", "uint8", (4, 4, 3), r"rgb frames are uint8 \[B, H, W, 3\] RGB; got uint8 \[4, 4, 3\]"),
        ("rgb", "float32", (1, 4, 4, 3), r"got float32 \[1, 4, 4, 3\]"),
        ("bayer_bggr", "uint8", (1, 4, 4, 1), r"\[B, H, W\] with an even height and width; got uint8 \[1, 4, 4, 1\]"),
        ("bayer_bggr", "uint16", (1, 4, 4), "got uint16"),
        ("bayer_bggr", "uint8", (1, 4, 5), r"got uint8 \[1, 4, 5\]"),
        ("bayer_bggr", "uint8", (1, 0, 4), r"got uint8 \[1, 0, 4\]"),
        ("yuyv", "uint8", (1, 4, 4, 3), r"\[B, H, W, 2\] with an even width; got"),
        ("yuyv", "uint8", (1, 4, 5, 2), "even width"),
        ("nv12", "uint8", (1, 4, 4), r"\[B, H \* 3/2, W\] with an even height and width; got uint8 \[1, 4, 4\]"),
        ("nv12", "uint8", (1, 6, 5), "even height and width"),
        ("nv12", "uint8", (1, 6, 4, 1), "got uint8"),
    ],
)
def test_a_batch_of_another_format_is_refused(name: str, dtype: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(DetectionError, match=message):
        PIXEL_FORMATS[name].check(dtype, shape)


def test_a_name_that_no_format_has_is_refused_with_those_that_there_are() -> None:
    assert pixel_format("yuyv") is PIXEL_FORMATS["yuyv"]
    with pytest.raises(DetectionError, match=r"'uyvy' is no pixel format: choose one of rgb, bayer_rggb, .*, nv12"):
        pixel_format("uyvy")
