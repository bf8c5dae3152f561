"""Memory for a batch of frames, from which requests are sent; each kind is a subclass in a file of its own."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.request import Pixels, SharedTensor

Shape = tuple[int, ...]  # count, and the shape of a frame


def check_pixels(pixels: npt.NDArray[Any], expected: str) -> None:
    """Refuse an array that is no frame or batch of frames.

    Args:
        pixels: to check.
        expected: its dimensions, such as "[H, W, 3]" or "[B, H, W]"; a number at the end must be met.

    Raises:
        DetectionError: it has another dtype or shape.
    """
    *_, last = names = expected.strip("[]").split(", ")
    if pixels.dtype != np.uint8 or pixels.ndim != len(names) or (last.isdigit() and pixels.shape[-1] != int(last)):
        rgb = " RGB" if last == "3" else ""
        raise DetectionError(f"pixels must be uint8 {expected}{rgb}; got {pixels.dtype} {list(pixels.shape)}")


class Frames(ABC):
    """Memory for a batch of frames of one pixel format, uint8; a context manager, also an asynchronous one.

    Its views share its memory: ``array``, ``torch.from_dlpack(frames)``, ``cupy.from_dlpack(frames)``. Write into one,
    then detect; the content is undefined before. The views end with the frames: after ``close`` those of a GPU must
    not be touched.

    Attributes:
        shape: count, and the shape of a frame: height, width, 3 for RGB.
        name: name under which the memory is registered with the server; empty where it is not.
        closed: whether the memory has been freed.
    """

    may_wait: ClassVar[bool] = False  # whether ``part`` may wait, for a GPU

    def __init__(self, shape: Shape, name: str, view: Any) -> None:
        """Take over the memory.

        Args:
            shape: count, and the shape of a frame.
            name: name under which the memory is registered with the server, or empty.
            view: view of the memory in that shape, with ``__dlpack__``: an array if the host can read it.
        """
        self.shape, self.name, self.closed = shape, name, False
        self._view = view

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Frames:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    @property
    def nbytes(self) -> int:
        """Size of all frames in bytes."""
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
        """Return the frames for any library that supports DLPack, without a copy and without a stream to wait for."""
        return self._opened.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return kind and number of the device, as DLPack defines them."""
        kind, number = self._opened.__dlpack_device__()
        return kind, number

    def fill(self, pixels: Pixels) -> Pixels | SharedTensor:
        """Copy a batch of pixels to the beginning.

        Args:
            pixels: uint8 [B, H, W, 3], or as many dimensions as these frames have, of any size that fits.

        Returns:
            what ``part`` returns for its shape.

        Raises:
            DetectionError: it is no such batch, does not fit, or the frames have been closed.
        """
        check_pixels(pixels, f"[{', '.join(('B', 'H', 'W', *map(str, self.shape[3:])))}]")
        return self.hold(pixels)

    def hold(self, pixels: Pixels) -> Pixels | SharedTensor:
        """Copy a batch of any format to the beginning; see ``fill``.

        Args:
            pixels: uint8 [B, ...].
        """
        if pixels.nbytes > self.nbytes:
            raise DetectionError(f"{list(pixels.shape)} pixels do not fit into frames {list(self.shape)}")
        self._copy(pixels)
        return self.part(pixels.shape)

    def _copy(self, pixels: Pixels) -> None:
        self._host_part(pixels.shape)[...] = pixels

    def _host_part(self, shape: tuple[int, ...]) -> Pixels:
        return self.array.reshape(-1)[: math.prod(shape)].reshape(shape)

    @abstractmethod
    def part(self, shape: tuple[int, ...]) -> Pixels | SharedTensor:
        """Return the beginning as the tensor of a request, after everything that was written has arrived."""

    def close(self) -> None:
        """Free the memory; closing twice is fine."""
        self.closed, self._view = True, None

    @property
    def _opened(self) -> Any:
        if self.closed:
            raise DetectionError("these frames have been closed")
        return self._view
