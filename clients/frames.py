"""Memory for a batch of frames, out of which requests go: one subclass a kind, in a file of its own."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.region import Region

Shape = tuple[int, int, int, int]
Pixels = npt.NDArray[np.uint8]


def check_pixels(pixels: npt.NDArray[Any], expected: str) -> None:
    """Refuse an array that is no frame or batch of frames.

    Args:
        pixels: to check.
        expected: its dimensions, "[H, W, 3]" or "[B, H, W, 3]".

    Raises:
        DetectionError: it has another dtype or shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != expected.count(",") + 1 or pixels.shape[-1] != 3:
        raise DetectionError(f"pixels must be uint8 {expected} RGB; got {pixels.dtype} {list(pixels.shape)}")


class Frames(ABC):
    """Room for a batch of frames, uint8 [count, height, width, 3] RGB; a context manager.

    Its views share its memory: ``array``, ``torch.from_dlpack(frames)``, ``cupy.from_dlpack(frames)``. Write into one,
    then detect; what was there before is undefined. The views end with it: after ``close`` those of a GPU must not be
    touched.

    Attributes:
        shape: count, height, width, 3.
        name: under which the server knows it; empty where the server does not.
        closed: whether it has been given back.
    """

    def __init__(self, shape: Shape, name: str, view: Any) -> None:
        """Take over the memory.

        Args:
            shape: count, height, width, 3.
            name: under which the server knows it.
            view: of the memory in that shape, with ``__dlpack__``: an array if the host can read it.
        """
        self.shape, self.name, self.closed = shape, name, False
        self._view = view

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def nbytes(self) -> int:
        """Bytes of all frames."""
        return math.prod(self.shape)

    @property
    def array(self) -> Pixels:
        """The frames as a writable array.

        Raises:
            DetectionError: they lie on a GPU, or have been closed.
        """
        if not isinstance(self._opened, np.ndarray):
            raise DetectionError("these frames lie on the GPU: view them with torch.from_dlpack or cupy.from_dlpack")
        return self._opened

    def __dlpack__(self, *, stream: Any = None, max_version: tuple[int, int] | None = None) -> Any:
        """The frames for any library that speaks DLPack; nothing is copied and no stream has to be waited for."""
        return self._opened.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        """Where they lie: kind and number of the device, as DLPack counts."""
        return self._opened.__dlpack_device__()

    def fill(self, pixels: Pixels) -> Pixels | Region:
        """Copy a batch to the beginning, for pixels that come as arrays.

        Args:
            pixels: uint8 [B, H, W, 3] of any size that fits.

        Returns:
            the same as ``part`` of its shape.

        Raises:
            DetectionError: it is no such batch, does not fit, or the frames have been closed.
        """
        check_pixels(pixels, "[B, H, W, 3]")
        if pixels.nbytes > self.nbytes:
            raise DetectionError(f"{list(pixels.shape)} pixels do not fit into frames {list(self.shape)}")
        self._copy(pixels)
        return self.part(pixels.shape)

    def _copy(self, pixels: Pixels) -> None:
        self._host_part(pixels.shape)[...] = pixels

    def _host_part(self, shape: tuple[int, ...]) -> Pixels:
        return self.array.reshape(-1)[: math.prod(shape)].reshape(shape)

    @abstractmethod
    def part(self, shape: tuple[int, ...]) -> Pixels | Region:
        """Return the beginning as the tensor of a request, when all that was written has arrived."""

    def close(self) -> None:
        """Give the memory back; twice is fine."""
        self.closed, self._view = True, None

    @property
    def _opened(self) -> Any:
        if self.closed:
            raise DetectionError("these frames have been closed")
        return self._view
