"""Frames in memory of the test's own, where no camera and no ring takes part."""

from __future__ import annotations

from triton_yolo.clients.request import Pixels, SharedTensor
from triton_yolo.clients.stream.frames import Place


class Memory(Place):
    """A frame in memory of this process."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels

    def tensor(self, count: int, shape: tuple[int, ...]) -> SharedTensor:
        raise NotImplementedError

    def pixels(self, shape: tuple[int, ...]) -> Pixels:
        return self._pixels

    def is_followed_by(self, other: Place, nbytes: int) -> bool:
        return False
