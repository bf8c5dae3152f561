"""Drawn boards on a belt, for trials without a camera."""

from __future__ import annotations

from typing import Literal, cast

import numpy as np

from triton_yolo.clients.pixel_formats import PixelFormat, pixel_format
from triton_yolo.clients.request import Pixels
from triton_yolo.clients.stream.errors import SourceError
from triton_yolo.clients.stream.frames import FrameFormat
from triton_yolo.clients.stream.sources.base import Outlet, Source
from triton_yolo.clients.stream.sources.options import size_of

LOOKS = {"photo": "photo", "scan": "binary"}  # of URIs, and as the boards call them


class Synthetic(Source):
    """``synthetic:photo`` and ``synthetic:scan``: frames of one line of boards, drawn before it starts, in a loop.

    Options: ``size`` (HxW, 960x1280), ``seed`` (0), ``frames`` (60, how many are drawn), ``pixel_format`` (rgb, or a
    Bayer format, whose pixels are picked out of the drawn ones).
    """

    kind = "synthetic"

    @classmethod
    def known_options(cls) -> frozenset[str]:
        """See Source."""
        return frozenset({"size", "seed", "frames", "pixel_format"})

    def open(self) -> FrameFormat:
        """See Source."""
        from triton_yolo.boards.line import Line  # OpenCV, which the client alone does not need

        look = self.uri.partition(":")[2] or "photo"
        if look not in LOOKS:
            raise SourceError(f"{self.uri}: choose one of {', '.join(f'synthetic:{name}' for name in LOOKS)}")
        height, width = size_of(self.options.get("size", "960x1280"))
        count, seed = int(self.options.get("frames", 60)), int(self.options.get("seed", 0))
        line = Line(seed, width, height, cast(Literal["photo", "binary"], LOOKS[look]), boards=2)
        form = pixel_format(str(self.options.get("pixel_format", "rgb")))
        self._frames = [_as(form, next(line).image) for _ in range(max(1, count))]
        return FrameFormat(form.name, height, width, form.nbytes(height, width))

    def run(self, outlet: Outlet) -> None:
        """See Source."""
        for number in outlet.ticks(self.fps or 30.0):
            outlet.put(self._frames[number % len(self._frames)])


def _as(form: PixelFormat, image: Pixels) -> Pixels:
    """Return an image uint8 [H, W, 3] RGB as a sensor with this colour filter sees it."""
    if form.name == "rgb":
        return np.ascontiguousarray(image)
    if form.blue_position is None:
        raise SourceError(f"synthetic frames are rgb or one of the Bayer formats, not {form.name}")
    row, column = form.blue_position
    frame: Pixels = image[..., 1].copy()
    frame[row::2, column::2] = image[row::2, column::2, 2]
    frame[1 - row :: 2, 1 - column :: 2] = image[1 - row :: 2, 1 - column :: 2, 0]
    return frame
