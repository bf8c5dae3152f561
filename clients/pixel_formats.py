"""The formats in which cameras deliver pixels, and how each goes to the server."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.errors import DetectionError

PixelFormatName = Literal["rgb", "bayer_rggb", "bayer_bggr", "bayer_grbg", "bayer_gbrg", "yuyv", "nv12"]

BLUE_POSITION = "blue_position"  # input of detect_bayer


@dataclass(frozen=True)
class PixelFormat:
    """How the pixels of a frame lie in memory, one byte a sample, and which model takes them.

    Attributes:
        name: one of PIXEL_FORMATS.
        model: name of the ensemble that detects in such frames; its input with the pixels is ``frames``.
        dimensions: of a frame, as error messages write them.
        rows: of the frame for each row of pixels.
        channels: dimensions behind rows and columns.
        even: which sides must be even: of "height" and "width".
        blue_position: row, column of the blue pixel among the first 2 x 2 of a Bayer frame.
    """

    name: PixelFormatName
    model: str
    dimensions: str
    rows: Fraction = Fraction(1)
    channels: tuple[int, ...] = ()
    even: tuple[str, ...] = ()
    blue_position: tuple[int, int] | None = None

    @property
    def bytes_per_pixel(self) -> float:
        """Bytes of a frame for each of its pixels."""
        return float(self.rows * math.prod(self.channels))

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of one frame, without the batch dimension.

        Args:
            height: of the picture, in pixels.
            width: of the picture, in pixels.

        Raises:
            DetectionError: a side is below 1, or odd where this format has none that are.
        """
        sides = {"height": height, "width": width}
        if min(sides.values()) < 1:
            raise DetectionError(f"frames need a height and a width of 1 or more; got {height}x{width}")
        odd = [side for side in self.even if sides[side] % 2]
        if odd:
            raise DetectionError(f"{self.name} frames have an even {' and '.join(self.even)}; got {height}x{width}")
        return (int(height * self.rows), width, *self.channels)

    def nbytes(self, height: int, width: int) -> int:
        """Return the size of one frame in bytes; arguments and errors are those of ``shape``."""
        return math.prod(self.shape(height, width))

    def check(self, dtype: npt.DTypeLike, shape: Sequence[int]) -> None:
        """Refuse what is no batch of frames in this format.

        Args:
            dtype: of the batch.
            shape: of the batch, [B, ...].

        Raises:
            DetectionError: says what it is and what is expected.
        """
        try:
            if np.dtype(dtype) == np.uint8 and len(shape) == 3 + len(self.channels):
                height = shape[1] / self.rows  # a fraction where the rows are no multiple of what they must be
                if height.denominator == 1 and self.shape(int(height), shape[2]) == tuple(shape[1:]):
                    return
        except DetectionError:
            pass
        even = f" with an even {' and '.join(self.even)}" if self.even else ""
        raise DetectionError(
            f"{self.name} frames are uint8 [B, {self.dimensions[1:]}{even}; got {np.dtype(dtype)} {list(shape)}"
        )

    def inputs(self, count: int) -> dict[str, npt.NDArray[Any]]:
        """Return what the model takes beside ``frames``, by the name of the input.

        Args:
            count: number of frames.

        Returns:
            ``blue_position`` int32 [count, 2] for Bayer formats, nothing for others.
        """
        if self.blue_position is None:
            return {}
        return {BLUE_POSITION: np.tile(np.array(self.blue_position, np.int32), (count, 1))}


def _bayer(name: PixelFormatName, blue_position: tuple[int, int]) -> PixelFormat:
    return PixelFormat(name, "detect_bayer", "[H, W]", even=("height", "width"), blue_position=blue_position)


# Bayer names are read from the frame's top left pixel to the right and down, as GenICam and V4L2 do: BayerRG8 and RGGB
# are bayer_rggb. OpenCV's older names (COLOR_BayerBG2RGB for RGGB) begin at the second row and column.
PIXEL_FORMATS: Mapping[str, PixelFormat] = MappingProxyType(
    {
        one.name: one
        for one in (
            PixelFormat("rgb", "detect_frames", "[H, W, 3] RGB", channels=(3,)),
            _bayer("bayer_rggb", (1, 1)),
            _bayer("bayer_bggr", (0, 0)),
            _bayer("bayer_grbg", (1, 0)),
            _bayer("bayer_gbrg", (0, 1)),
            PixelFormat("yuyv", "detect_yuyv", "[H, W, 2]", channels=(2,), even=("width",)),
            PixelFormat("nv12", "detect_nv12", "[H * 3/2, W]", rows=Fraction(3, 2), even=("height", "width")),
        )
    }
)
assert tuple(PIXEL_FORMATS) == get_args(PixelFormatName)


def pixel_format(name: str) -> PixelFormat:
    """Return the format of a name.

    Raises:
        DetectionError: there is none; says which there are.
    """
    if name not in PIXEL_FORMATS:
        raise DetectionError(f"{name!r} is no pixel format: choose one of {', '.join(PIXEL_FORMATS)}")
    return PIXEL_FORMATS[name]
