"""The frames of one detector: those that it hands out, and those that it keeps for arrays."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.frames import Frames, Shape
from triton_yolo.clients.plain_frames import PlainFrames
from triton_yolo.clients.region import Region
from triton_yolo.clients.request import FRAMES, Request
from triton_yolo.clients.shared_frames import SharedFrames
from triton_yolo.clients.system_frames import SystemFrames
from triton_yolo.clients.transport import Transport


def frames_factory(kind: str | None, transport: Transport) -> Callable[[Shape], Frames]:
    """Pick the kind of frames that a transport asks for.

    Args:
        kind: "system", "cuda", or any other for ordinary memory.
        transport: to the server.

    Returns:
        what makes them out of a shape.

    Raises:
        DetectionError: there is no GPU for "cuda".
    """
    if kind == "system":
        return partial(SystemFrames, transport=transport)
    if kind == "cuda":
        from triton_yolo.clients.cuda_frames import (  # CUDA's packages, which only this kind needs
            CudaFrames,
            current_device,
        )

        current_device()
        return partial(CudaFrames, transport=transport)
    return PlainFrames


class Regions:
    """Makes frames and closes them, for any number of threads.

    Arrays are copied into frames that are kept: as many as there were requests with arrays in flight at a time, each
    as large as the largest batch that it has carried. A region for each thread would be lost with the threads, which
    ``detect_many`` starts anew for each call, and one behind a lock would let requests wait for each other.
    """

    def __init__(self, kind: str | None, transport: Transport) -> None:
        """Prepare; see ``frames_factory``."""
        self._factory = frames_factory(kind, transport)
        self._made: weakref.WeakSet[Frames] = weakref.WeakSet()
        self._idle: list[Frames] = []
        self._lock = threading.Lock()
        self._closed = False

    def make(self, shape: Shape) -> Frames:
        """Make frames, which ``close`` closes if nobody else has.

        Raises:
            DetectionError: a side is below 1, there is no room, or the server does not take them.
        """
        if min(shape) < 1:
            raise DetectionError(f"frames need a count, a height and a width of 1 or more; got {list(shape[:3])}")
        frames = self._factory(shape)
        with self._lock:
            self._made.add(frames)
            closed = self._closed
        if closed:  # by another thread, meanwhile
            frames.close()
        return frames

    @contextmanager
    def carrying(self, request: Request) -> Iterator[Request]:
        """Put a request's array into shared frames, where there are such, until it has been answered.

        They are kept after a failure too: if the server still reads them, nobody waits for what it finds.
        """
        pixels = request.tensor
        if self._factory is PlainFrames or request.model != FRAMES or isinstance(pixels, Region) or not pixels.size:
            yield request
            return
        frames = self._take(pixels.shape)
        try:
            yield replace(request, tensor=frames.fill(pixels))
        finally:
            with self._lock:
                self._idle.append(frames)

    def _take(self, shape: tuple[int, ...]) -> Frames:
        with self._lock:
            frames = self._idle.pop() if self._idle else None
        if frames is not None and frames.nbytes >= np.prod(shape):
            return frames
        if frames is not None:
            frames.close()
        count, height, width, channels = shape
        return self.make((count, height, width, channels))

    def register_again(self, request: Request) -> bool:
        """Register a request's frames with the server that now answers; False if they are not from here."""
        with self._lock:
            made = list(self._made)
        for frames in made:
            if isinstance(frames, SharedFrames) and frames.name == getattr(request.tensor, "name", None):
                frames.register()
                return True
        return False

    def close(self) -> None:
        """Close all frames that are open."""
        with self._lock:
            self._closed = True
            made = list(self._made)
        for frames in made:
            frames.close()
