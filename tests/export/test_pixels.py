"""What a network was trained to see."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pytest

from triton_yolo.export.errors import ExportError
from triton_yolo.export.pixels import PixelFormat

LEVELS = {"0-1": 255.0, "0-255": 1.0}
FORMATS = [f"{order}-{span}" for order in ("rgb", "bgr") for span in LEVELS]
# ImageNet's in 0..1, OpenMMLab's in 0..255, and one with signs and exponents.
STATISTICS = [
    (None, None),
    ("0.485,0.456,0.406", "0.229,0.224,0.225"),
    ("103.53,116.28,123.675", "57.375,57.12,58.395"),
    ("0.5,0.5,0.5", None),
    (None, "128,128,128"),
    ("-1,0,1e2", " 0.001 , 1.0, +2 "),
]


def numbers(text: str | None, else_: float) -> list[float]:
    return [float(value) for value in text.split(",")] if text else [else_] * 3


def pixels() -> npt.NDArray[np.uint8]:
    """Every grey level in each channel, and channels that differ."""
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    return np.stack([[levels, levels[::-1], levels.T], [levels.T, levels, levels * 7]])


def by_hand(text: str, mean: str | None, std: str | None) -> npt.NDArray[np.float64]:
    """The networks' own preparation: order, range, then mean and std of that range."""
    order, span = text.split("-", 1)
    planes = pixels().astype(np.float64) / LEVELS[span]
    out = np.empty_like(planes)
    for i, channel in enumerate(order):
        plane = planes[:, "rgb".index(channel)]
        out[:, i] = (plane - numbers(mean, 0)[i]) / numbers(std, 1)[i]
    return out


@pytest.mark.parametrize(("mean", "std"), STATISTICS)
@pytest.mark.parametrize("text", FORMATS)
def test_pixels_are_prepared_as_in_training(text: str, mean: str | None, std: str | None) -> None:
    before = pixels()
    got = PixelFormat.parse(text, mean, std).apply(before)
    assert (got.dtype, got.shape) == (np.float32, before.shape)
    np.testing.assert_allclose(got, by_hand(text, mean, std), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(before, pixels())


@pytest.mark.parametrize("text", FORMATS)
def test_mean_and_std_are_kept_in_grey_levels_and_in_the_formats_order(text: str) -> None:
    order, span = text.split("-", 1)
    format = PixelFormat.parse(text, "0.1,0.2,0.3", "1,2,4")
    levels = LEVELS[span]
    assert format.order == order
    assert format.mean == pytest.approx((0.1 * levels, 0.2 * levels, 0.3 * levels))
    assert format.std == pytest.approx((levels, 2 * levels, 4 * levels))


@pytest.mark.parametrize("text", FORMATS)
def test_without_statistics_it_is_written_as_it_was_read(text: str) -> None:
    assert str(PixelFormat.parse(text)) == text
    assert PixelFormat.parse(str(PixelFormat.parse(text))) == PixelFormat.parse(text)


@pytest.mark.parametrize(("mean", "std"), STATISTICS)
@pytest.mark.parametrize("text", FORMATS)
def test_what_is_written_reads_back_as_the_same(text: str, mean: str | None, std: str | None) -> None:
    format = PixelFormat.parse(text, mean, std)
    shown = str(format)
    match = re.fullmatch(r"(\S+)(?: --mean (\S+) --std (\S+))?", shown)
    assert match, shown
    again = PixelFormat.parse(*match.groups())
    assert again.order == format.order
    np.testing.assert_allclose(again.apply(pixels()), format.apply(pixels()), rtol=1e-4, atol=1e-4)


def test_statistics_that_amount_to_a_range_are_written_as_it() -> None:
    assert str(PixelFormat.parse("bgr-0-255", None, "255,255,255")) == "bgr-0-1"


def test_levels_stay_as_they_are_in_a_format_without_arithmetic() -> None:
    np.testing.assert_array_equal(PixelFormat("rgb").apply(pixels()), pixels())
    np.testing.assert_array_equal(PixelFormat("bgr").apply(pixels()), pixels()[:, [2, 1, 0]])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rgb",
        "rgb-",
        "rgb-0-2",
        "rgb-1",
        "0-1",
        "gbr-0-1",
        "RGB-0-1",
        "rgb_0_1",
        "rgb-0-1-",
        " rgb-0-1",
        "rgb-0-256",
    ],
)
def test_another_format_is_refused_and_the_four_are_named(text: str) -> None:
    with pytest.raises(ExportError) as caught:
        PixelFormat.parse(text)
    for word in (*FORMATS, "--input", repr(text)):
        assert word in str(caught.value)


@pytest.mark.parametrize("option", ["mean", "std"])
@pytest.mark.parametrize("text", ["1", "1,2", "1,2,3,4", "a,b,c", "1;2;3", "1,2,", ",,", "1 2 3", "0x1,2,3", "[1,2,3]"])
def test_anything_but_three_numbers_is_refused(option: str, text: str) -> None:
    with pytest.raises(ExportError, match=rf"^--{option} takes three numbers .*{re.escape(repr(text))}"):
        PixelFormat.parse("rgb-0-1", **{option: text})


@pytest.mark.parametrize("option", ["mean", "std"])
@pytest.mark.parametrize("text", ["nan,1,1", "1,inf,1", "1,1,-inf"])
def test_numbers_that_are_not_finite_are_refused(option: str, text: str) -> None:
    with pytest.raises(ExportError, match=f"^--{option} "):
        PixelFormat.parse("rgb-0-1", **{option: text})


@pytest.mark.parametrize("std", ["0,1,1", "1,0,1", "1,1,-1", "-0.0,1,1"])
def test_a_std_that_is_not_above_zero_is_refused(std: str) -> None:
    with pytest.raises(ExportError, match=f"^--std must be above 0, got '{std}'"):
        PixelFormat.parse("bgr-0-255", std=std)
