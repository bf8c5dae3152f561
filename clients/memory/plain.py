"""Frames in ordinary memory: requests carry their bytes."""

from __future__ import annotations

import numpy as np

from triton_yolo.clients.memory.frames import Frames, Shape
from triton_yolo.clients.request import Pixels


class PlainFrames(Frames):
    """An array, which is sent with each request."""

    def __init__(self, shape: Shape) -> None:
        """Allocate.

        Args:
            shape: count, and the shape of a frame.
        """
        super().__init__(shape, "", np.empty(shape, np.uint8))

    def part(self, shape: tuple[int, ...]) -> Pixels:
        """See Frames."""
        return self._host_part(shape)
