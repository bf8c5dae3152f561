"""Frames in POSIX shared memory, for a server on this machine."""

from __future__ import annotations

import mmap
import os
from functools import partial
from pathlib import Path

import numpy as np

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.frames import Shape
from triton_yolo.clients.region import unique_name
from triton_yolo.clients.shared_frames import SharedFrames
from triton_yolo.clients.transport import Transport

FOLDER = Path("/dev/shm")  # where Linux keeps POSIX shared memory (shm_overview(7))


class SystemFrames(SharedFrames):
    """Frames in a file under /dev/shm, which a client that is killed leaves behind."""

    kind = "system"
    demands = (
        "a server on this machine (containers: with the same ipc namespace and user) that allows shared memory "
        "of clients"
    )

    def __init__(self, shape: Shape, transport: Transport) -> None:
        """Allocate and register.

        Args:
            shape: count, height, width, 3.
            transport: to the server.

        Raises:
            DetectionError: there is no room, or the server does not take it.
        """
        name = unique_name()
        size = int(np.prod(shape))
        path = FOLDER / name
        view = np.frombuffer(_create(path, size), np.uint8).reshape(shape)
        # Only the name is taken away: the memory itself goes with the last view of it.
        free = partial(path.unlink, missing_ok=True)
        super().__init__(shape, transport, name, view, {"key": f"/{name}", "byte_size": size}, free)


def _create(path: Path, size: int) -> mmap.mmap:
    """A new file in memory.

    Not tritonclient's: that one fails to remove the file while there are views, and gets SIGBUS where there is no room.
    """
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
