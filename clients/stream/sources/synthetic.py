"""Drawn boards on a belt, for trials without a camera."""

from __future__ import annotations

from typing import Literal, cast

import numpy as np

from triton_yolo.clients.pixel_formats import pixel_format
from triton_yolo.clients.stream.errors import SourceError
from triton_yolo.clients.stream.frames import FrameFormat
from triton_yolo.clients.stream.sources.base import Outlet, Source
from triton_yolo.clients.stream.sources.options import size_of

LOOKS = {"photo": "photo", "scan": "binary"}  # of URIs, and as the boards call them


class Synthetic(Source):
    """``synthetic:photo`` and ``synthetic:scan``: frames of one line of boards, drawn before it starts, in a loop.

    Options: ``size`` (HxW, 960x1280), ``seed`` (0), ``frames`` (60, how many are drawn), ``pixel_format`` (rgb, or
    what another sensor would deliver of the drawn pixels), ``boards`` (2, different ones), ``still`` and ``moving`` (30
    and 20, frames of a board that stands, and until the next one does), ``defects`` (a list: how many the first board
    has, the second and so on; a random number if it is not given).
    """

    kind = "synthetic"

    @classmethod
    def known_options(cls) -> frozenset[str]:
        """See Source."""
        return frozenset({"size", "seed", "frames", "pixel_format", "boards", "still", "moving", "defects"})

    def open(self) -> FrameFormat:
        """See Source."""
        from triton_yolo.boards.line import Line  # OpenCV, which the client alone does not need
        from triton_yolo.boards.sensor import as_sensor

        look = self.uri.partition(":")[2] or "photo"
        if look not in LOOKS:
            raise SourceError(f"{self.uri}: choose one of {', '.join(f'synthetic:{name}' for name in LOOKS)}")
        height, width = size_of(self.options.get("size", "960x1280"))
        count, seed = int(self.options.get("frames", 60)), int(self.options.get("seed", 0))
        usual = {"boards": 2, "still": 30, "moving": 20}
        boards, still, moving = (int(self.options.get(name, value)) for name, value in usual.items())
        defects = self.options.get("defects")
        if defects is not None and not (isinstance(defects, list) and defects and all(map(_is_count, defects))):
            raise SourceError(f"defects is a list of numbers of 0 or more, such as [2, 0, 0]; got {defects!r}")
        drawn = cast(Literal["photo", "binary"], LOOKS[look])
        line = Line(seed, width, height, drawn, boards, still, moving, defects=defects)
        form = pixel_format(str(self.options.get("pixel_format", "rgb")))
        self._frames = [np.ascontiguousarray(as_sensor(next(line).image, form.name)) for _ in range(max(1, count))]
        return FrameFormat(form.name, height, width, form.nbytes(height, width))

    def run(self, outlet: Outlet) -> None:
        """See Source."""
        for number in outlet.ticks(self.fps or 30.0):
            outlet.put(self._frames[number % len(self._frames)])


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0
