"""Frames in POSIX shared memory, for a server on this machine."""

from __future__ import annotations

import mmap
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.memory.frames import Shape
from triton_yolo.clients.memory.shared import SharedFrames, unique_name
from triton_yolo.clients.protocols.base import Protocol

FOLDER = Path("/dev/shm")  # where Linux keeps POSIX shared memory (shm_overview(7))


class SystemFrames(SharedFrames):
    """Frames in a file under /dev/shm, which a client that is killed leaves behind."""

    kind = "system"

    def __init__(self, shape: Shape, protocol: Protocol) -> None:
        """Allocate.

        Args:
            shape: count, and the shape of a frame.
            protocol: protocol to the server.

        Raises:
            DetectionError: this system has no such memory, or there is no room.
        """
        name = unique_name()
        size = int(np.prod(shape))
        path = FOLDER / name
        view = np.frombuffer(_create(path, size), np.uint8).reshape(shape)
        # Only the name is removed: the memory itself is freed with the last view of it.
        free = partial(path.unlink, missing_ok=True)
        super().__init__(shape, protocol, name, view, {"key": f"/{name}", "byte_size": size}, free)


def _create(path: Path, size: int) -> mmap.mmap:
    """Return a new file in memory.

    Not tritonclient's: that one fails to remove the file while there are views, and gets SIGBUS where there is no room.
    """
    if not (hasattr(os, "posix_fallocate") and path.parent.is_dir()):
        raise DetectionError(
            f"memory 'system' needs Linux with {path.parent}, and this is {sys.platform}: use memory='plain'"
        )
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except OSError as error:
        raise DetectionError(f"cannot make shared memory {path}: {error.strerror}") from None
    try:
        os.posix_fallocate(file, 0, size)
        return mmap.mmap(file, size)
    except OSError as error:
        path.unlink()
        raise DetectionError(
            f"no room for {size} bytes of frames in {path.parent}: {error.strerror} (Docker: raise shm_size)"
        ) from None
    finally:
        os.close(file)
