"""The frames of one detector: those that it hands out, and those that it keeps to carry arrays."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.memory.frames import Frames, Shape
from triton_yolo.clients.memory.plain import PlainFrames
from triton_yolo.clients.memory.shared import SharedFrames
from triton_yolo.clients.memory.system import SystemFrames
from triton_yolo.clients.protocols.base import Protocol
from triton_yolo.clients.request import SharedTensor

Memory = Literal["plain", "system", "cuda"]


def frames_factory(memory: Memory, connect: Callable[[], Protocol]) -> Callable[[Shape], Frames]:
    """Return what allocates frames of a kind of memory.

    Args:
        memory: kind of the memory.
        connect: returns the protocol that registers shared memory; is called for shared memory alone.

    Raises:
        DetectionError: there is no such kind, or no GPU for "cuda".
    """
    if memory == "plain":
        return PlainFrames
    if memory == "system":
        return partial(SystemFrames, protocol=connect())
    if memory == "cuda":
        from triton_yolo.clients.memory.cuda import CudaFrames, current_device  # CUDA's packages

        current_device()
        return partial(CudaFrames, protocol=connect())
    raise DetectionError(f"{memory!r} is no kind of memory: choose one of {', '.join(get_args(Memory))}")


class FramePool:
    """Makes frames and closes them, for any number of threads.

    Arrays are copied into frames that are kept: as many as there were requests with arrays in flight at a time, each
    as large as the largest batch that it has carried. Frames for each thread would be lost with the threads, which
    ``detect_many`` starts for each call, and frames behind a lock would make requests wait for each other.

    Attributes:
        shared: whether arrays are to be carried in shared memory.
    """

    def __init__(self, memory: Memory, connect: Callable[[], Protocol]) -> None:
        """Prepare; see ``frames_factory``."""
        self._factory = frames_factory(memory, connect)
        self.shared = memory != "plain"
        self._made: weakref.WeakSet[Frames] = weakref.WeakSet()
        self._idle: list[Frames] = []
        self._lock = threading.Lock()
        self._closed = False

    def allocate(self, shape: Shape) -> Frames:
        """Return frames that the server does not know yet; CUDA's are on the current device of this thread.

        Raises:
            DetectionError: a side is below 1, or there is no room.
        """
        if min(shape) < 1:
            raise DetectionError(f"frames need a count, a height and a width of 1 or more; got {list(shape[:3])}")
        return self._factory(shape)

    def register(self, frames: Frames) -> Frames:
        """Register frames with the server if they are in shared memory, and return them; ``close`` closes them.

        Raises:
            DetectionError: the server refuses them, which frees them.
        """
        if isinstance(frames, SharedFrames):
            try:
                frames.register()
            except BaseException:
                frames.close()
                raise
        with self._lock:
            self._made.add(frames)
            closed = self._closed
        if closed:  # by another thread, meanwhile
            frames.close()
        return frames

    def take(self, nbytes: int) -> Frames | None:
        """Return kept frames that have room for an array, if there are such; smaller ones are closed.

        Args:
            nbytes: size of the array in bytes.
        """
        with self._lock:
            frames = self._idle.pop() if self._idle else None
        if frames is None or frames.nbytes >= nbytes:
            return frames
        frames.close()
        return None

    def keep(self, frames: Frames) -> None:
        """Keep frames for the next array; after a failure too: nobody waits for what the server then finds in them."""
        with self._lock:
            self._idle.append(frames)

    def register_again(self, tensor: object) -> bool:
        """Register the frames of a request's tensor with the server that now answers.

        Args:
            tensor: tensor of the request.

        Returns:
            False if the tensor is not in frames of this pool.
        """
        if not isinstance(tensor, SharedTensor):
            return False
        with self._lock:
            made = list(self._made)
        for frames in made:
            if isinstance(frames, SharedFrames) and frames.name == tensor.region:
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
